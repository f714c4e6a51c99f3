"""Ask vLLM's own KV-cache manager about layouts at random; the answers are a test of ours.

    .venv-trace/bin/python scripts/record_vllm_manager.py VERSION FOLDER

FOLDER is an unpacked source distribution of that version. Of it only the planning of the cache is run, with stand-ins
for the rest of vLLM: what is recorded is vLLM's arithmetic, not a start-up. One version a run, for their modules have
the same names.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import json
import random
import sys
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = Path(__file__).parents[1] / "tests/memory/engines/recorded_vllm_manager.json"
CASES = 40
SEED = 20
REAL = (
    *("vllm.v1.kv_cache_interface", "vllm.v1.core.kv_cache_utils", "vllm.v1.core.kv_cache_planning"),
    *("vllm.v1.core.kv_cache_config_builder", "vllm.v1.kv_cache_layout", "vllm.v1.kv_cache_spec_registry"),
    "vllm.utils.math_utils",
)
_PLENTY = 1 << 50  # bytes of a stage that shall not decide the number of blocks
LENGTHS = (1, 17, 1000, 4096, 8192, 32768, 131072)
COUNTS = (1, 2, 3, 5, 8, 12, 13, 17, 24)
WINDOWS = (1, 128, 512, 4096)


class _SkippedError(Exception):
    """A case that ours does not answer."""


class _Anything:
    """Stands for whatever the planning imports and does not use."""

    def __getattr__(self, name: str) -> _Anything:
        return _Anything()

    def __call__(self, *_: object, **__: object) -> _Anything:
        return _Anything()


def _used() -> dict[str, dict[str, Any]]:
    """What the planning uses of other modules."""

    def size(dtype: torch.dtype) -> int:
        return int(torch.empty(0, dtype=dtype).element_size())

    def quiet(*_: object, **__: object) -> None: ...

    logger = SimpleNamespace(**dict.fromkeys(("info", "warning", "debug", "info_once", "warning_once"), quiet))
    return {
        "vllm.logger": {"init_logger": lambda _: logger},
        "vllm.utils": {"cdiv": lambda a, b: -(-a // b), "GiB_bytes": 1 << 30, "get_dtype_size": size},
        "vllm.utils.torch_utils": {"get_dtype_size": size},
        "vllm.utils.mem_utils": {"format_gib": str},
        "vllm.config": {"VllmConfig": object, "SpeculativeConfig": object},
        "vllm.v1.attention.backend": {"MultipleOf": type("MultipleOf", (), {})},
        "vllm.v1.hisparse.layout": {"get_hisparse_kv_cache_groups": lambda *_: None},
    }


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the planning in the folder and stand-ins for all else of vllm."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._used = folder, _used()

    def find_spec(self, name: str, *_: object) -> Any:  # noqa: ANN401 - a ModuleSpec or None
        if name.partition(".")[0] != "vllm":
            return None
        path = self._folder / f"{name.replace('.', '/')}.py"
        if name in REAL and path.exists():
            return importlib.util.spec_from_file_location(name, path)
        return importlib.util.spec_from_loader(name, self)

    def create_module(self, spec: Any) -> ModuleType:  # noqa: ANN401
        module = ModuleType(spec.name)
        module.__path__ = []

        def stand_in(name: str) -> _Anything:
            if name.startswith("__"):
                raise AttributeError(name)
            return _Anything()

        vars(module).update({"__getattr__": stand_in, **self._used.get(spec.name, {})})
        return module

    def exec_module(self, module: ModuleType) -> None: ...


class _Planner:
    """vLLM's planning of one version, with what differs in how it is called."""

    def __init__(self, folder: Path) -> None:
        sys.meta_path.insert(0, _Finder(folder))
        self.specs: Any = importlib.import_module("vllm.v1.kv_cache_interface")
        self.utils: Any = importlib.import_module("vllm.v1.core.kv_cache_utils")
        planning = (folder / "vllm/v1/core/kv_cache_planning.py").exists()
        self.plan: Any = importlib.import_module("vllm.v1.core.kv_cache_planning") if planning else self.utils
        self.latest = hasattr(self.plan, "get_global_kv_cache_groups")
        self.layouts = (folder / "vllm/v1/kv_cache_layout.py").exists()
        self.oldest = not hasattr(self.plan, "get_kv_cache_configs")
        self.checks: list[tuple[int, int]] = []  # memory that was looked at, and what was needed of it
        self._prepare()

    def _prepare(self) -> None:
        if hasattr(self.plan, "_check_enough_kv_cache_memory"):
            self.plan._check_enough_kv_cache_memory = lambda given, needed, *_: self.checks.append((given, needed()))  # noqa: SLF001
        else:
            self.plan.check_enough_kv_cache_memory = lambda config, specs, given: self.checks.append(
                (given, sum(spec.max_memory_usage_bytes(config) for spec in specs.values()))
            )
        registry = getattr(self.specs, "KVCacheSpecRegistry", None)
        if registry is not None:  # the managers register their specs, which are not loaded here
            names = ("FullAttentionSpec", "SlidingWindowSpec", "ChunkedLocalAttentionSpec", "MambaSpec")
            bases = [getattr(self.specs, name) for name in (*names, "CrossAttentionSpec")]
            registry.get_uniform_type_base_spec = staticmethod(
                lambda spec: next(base for base in bases if isinstance(spec, base))
            )
            registry.check_kv_cache_spec_registry = lambda *_: None
        if self.latest:
            builder: Any = importlib.import_module("vllm.v1.core.kv_cache_config_builder")
            builder.get_kv_cache_config_builder = lambda _: self.plan.DefaultKVCacheConfigBuilder()

    def config(self, case: dict[str, Any]) -> SimpleNamespace:
        """A VllmConfig as far as the planning reads it."""
        stages = len(case["bounds"]) - 1
        layout = importlib.import_module("vllm.v1.kv_cache_layout").KVCacheLayout.LBNHC if self.layouts else None
        parallel = {"decode_context_parallel_size": 1, "prefill_context_parallel_size": 1, "tensor_parallel_size": 1}
        lengths = {"max_model_len": case["tokens"], "original_max_model_len": case["tokens"]}
        return SimpleNamespace(
            model_config=SimpleNamespace(**lengths, supports_kv_cache_grouping=False),
            parallel_config=SimpleNamespace(**parallel, pipeline_parallel_size=stages),
            scheduler_config=SimpleNamespace(
                max_num_batched_tokens=case["batched"],
                disable_hybrid_kv_cache_manager=case["not_hybrid"],
                max_num_encoder_input_tokens=case["batched"],
            ),
            cache_config=SimpleNamespace(
                block_size=16,
                num_gpu_blocks_override=None,
                mamba_cache_mode=case["mode"],
                get_resolved_kv_cache_layout=lambda: layout,
                prefix_cache_retention_interval=None,
            ),
            kv_transfer_config=None,
            speculative_config=None,
            attention_config=SimpleNamespace(hisparse_config=None),
            max_in_flight_tokens=(stages + case["asynchronous"]) * case["batched"],
            num_prefill_lookahead_tokens=0,
        )

    def spec(self, one: dict[str, Any]) -> object:
        """The KVCacheSpec that one of ours stands for."""
        kind, page = one["kind"], one.get("padded") or None
        if kind == "states":
            several = "dtypes" in {field.name for field in fields(self.specs.MambaSpec)}
            dtypes = {"dtypes": (torch.int8,)} if several else {"dtype": torch.int8}
            shapes = {"shapes": ((one["state_bytes"],),), **dtypes, "page_size_padded": page}
            return self.specs.MambaSpec(block_size=one.get("block_size") or 10**6, **shapes)
        sizes = {"block_size": one["block_size"], "num_kv_heads": 1, "dtype": torch.int8}
        latent = kind == "latent"
        sizes |= {"head_size": one["token_bytes"] if latent else one["token_bytes"] // 2}
        by_flag = "use_mla" in {field.name for field in fields(self.specs.FullAttentionSpec)}
        sizes |= {"use_mla": latent} if by_flag else {}
        if latent and not by_flag:
            return self.specs.MLAAttentionSpec(**sizes, cache_dtype_str=one.get("role"))
        if kind == "sliding":
            return self.specs.SlidingWindowSpec(**sizes, sliding_window=one["window"])
        if kind == "chunked":
            return self.specs.ChunkedLocalAttentionSpec(**sizes, attention_chunk_size=one["window"])
        return (self.specs.CrossAttentionSpec if kind == "cross" else self.specs.FullAttentionSpec)(**sizes)

    def answer(self, case: dict[str, Any]) -> list[dict[str, int]] | None:
        """What each stage would have if it decided; None where vLLM refuses to start."""
        by_number = {number: one for one, numbers in case["layers"] for number in numbers}
        config, ends = self.config(case), zip(case["bounds"], case["bounds"][1:], strict=False)
        workers = [{f"{number}": self.spec(by_number[number]) for number in range(*stage)} for stage in ends]
        try:
            return [self._stage(config, workers, place, size) for place, size in enumerate(case["available"])]
        except (AssertionError, NotImplementedError, ValueError):
            return None

    def _stage(self, config: SimpleNamespace, workers: list[Any], place: int, available: int) -> dict[str, int]:
        self.checks.clear()
        memory = [available if stage == place else _PLENTY for stage in range(len(workers))]
        made = self._made(config, workers, memory)[place]
        groups = made.kv_cache_groups
        cut = self.oldest or hasattr(self.plan, "_project_kv_cache_groups_to_worker")
        if not cut and len(workers) > 1 and type(groups[0].kv_cache_spec) is self.specs.UniformTypeKVCacheSpecs:
            raise _SkippedError  # it counts the layers of all stages on each: ours refuses
        given, needed = self.checks[place if len(self.checks) > 1 else 0]
        blocks = {"available": available, "blocks": made.num_blocks}
        # What was looked at may be less than there is: the null block.
        return {**blocks, "needed": self._needed(config, made), "required": needed + available - given}

    def _needed(self, config: SimpleNamespace, made: Any) -> int:  # noqa: ANN401 - a KVCacheConfig
        """Blocks of one request."""
        if not hasattr(self.utils, "get_max_concurrency_for_kv_cache_config"):  # before 0.9.1 there is one group
            (group,) = made.kv_cache_groups
            return int(group.kv_cache_spec.max_memory_usage_bytes(config) // group.kv_cache_spec.page_size_bytes)
        concurrency = Fraction(self.utils.get_max_concurrency_for_kv_cache_config(config, made))
        needed: int = round(made.num_blocks / concurrency)
        return needed

    def _made(self, config: SimpleNamespace, workers: list[dict[str, object]], memory: list[int]) -> list[Any]:
        if self.oldest:
            pairs = zip(workers, memory, strict=True)
            return [self.plan.get_kv_cache_config(config, dict(specs), size) for specs, size in pairs]
        if self.latest:
            groups = self.plan.get_global_kv_cache_groups(config, workers)
            return list(self.plan.get_kv_cache_configs(config, workers, memory, groups))
        return list(self.plan.get_kv_cache_configs(config, workers, memory))


class _Cases:
    """Layouts at random: layers by what they keep, stages, lengths."""

    def __init__(self, planner: _Planner) -> None:
        self._random = random.Random(SEED)  # noqa: S311 - reproducible, not secret
        self._crosses = not planner.oldest  # which asks the model's processor for the encoder's length
        self._chunks = hasattr(planner.specs, "ChunkedLocalAttentionSpec")
        self._keeps_states = hasattr(planner.specs, "MambaSpec")
        names = {field.name for field in fields(planner.specs.MambaSpec)} if self._keeps_states else set()
        aligns = "mamba_cache_mode" in names
        self._modes = ("none", "none", "align") if aligns else ("none",)

    def make(self) -> dict[str, Any]:
        """One layout."""
        mode = self._pick(self._modes)
        batched = self._pick((1, 512, 2048, 8192, 16384))
        kinds = self._kinds(mode, batched)
        total = sum(count for _, count in kinds)
        order = self._random.sample(range(total), total)
        layers, taken = [], 0
        for one, count in kinds:
            layers.append((one, sorted(order[taken : taken + count])))
            taken += count
        stages = min(self._pick((1, 1, 2, 3)), total)
        return {
            "layers": sorted(layers, key=lambda layer: layer[1][0]),  # as vLLM meets them
            "bounds": [total * stage // stages for stage in range(stages + 1)],
            "available": [self._random.randrange(10**8, 8 * 10**10) for _ in range(stages)],
            "tokens": self._pick(LENGTHS),
            "batched": batched,
            "mode": mode,
            "not_hybrid": self._random.random() < 0.25,  # noqa: PLR2004 - a quarter
            "asynchronous": self._pick((False, True)),
        }

    def _pick(self, values: tuple[Any, ...]) -> Any:  # noqa: ANN401 - any of them
        return self._random.choice(values)

    def _kinds(self, mode: str, batched: int) -> list[tuple[dict[str, Any], int]]:
        base = self._pick((64, 1024, 4096))

        def count() -> int:
            return int(self._pick(COUNTS))

        full = {"kind": "full", "block_size": 16, "token_bytes": base}
        styles: dict[str, Callable[[], list[tuple[dict[str, Any], int]]]] = {
            "full": lambda: [(full, count())],
            "local": lambda: self._local(full, count),
            "sizes": lambda: [(full, count()), ({**full, "token_bytes": base * self._pick((2, 3))}, count())],
            "latent": lambda: self._latent(count()),
            "states": lambda: self._states(full, mode, count),
            "cross": lambda: self._crossed(full, batched, count()),
        }
        style = self._pick(("full", "local", "local", "local", "sizes", "latent", "states", "cross"))
        style = style if self._crosses else style.replace("cross", "local")
        return styles[style if self._keeps_states else style.replace("states", "local")]()

    def _local(self, full: dict[str, Any], count: Callable[[], int]) -> list[tuple[dict[str, Any], int]]:
        base = full["token_bytes"]
        sliding = {
            **full,
            "kind": "sliding",
            "window": self._pick(WINDOWS),
            "token_bytes": base * self._pick((1, 1, 2, 3)),
        }
        third = {**full, "kind": self._pick(("chunked" if self._chunks else "sliding", "sliding")), "window": 8192}
        kinds = [({**full, "token_bytes": base * self._pick((1, 1, 2))}, count()), (sliding, count()), (third, count())]
        return kinds[self._pick((0, 0, 0, 1)) : self._pick((2, 2, 3))]

    def _latent(self, count: int) -> list[tuple[dict[str, Any], int]]:
        latent = {"kind": "latent", "block_size": 64, "token_bytes": 1152}
        return [(latent, count), ({**latent, "token_bytes": 132, "role": "indexer"}, count)][: self._pick((1, 2, 2))]

    def _states(self, full: dict[str, Any], mode: str, count: Callable[[], int]) -> list[tuple[dict[str, Any], int]]:
        block = self._pick((32, 544, 1056))
        page = block * full["token_bytes"]
        kept = {"states": 2 if mode == "align" else 1, "least": 1}
        state = {"kind": "states", "state_bytes": page - self._pick((0, 7)), "padded": page, **kept}
        return [({**full, "block_size": block}, count()), (state, count())]

    def _crossed(self, full: dict[str, Any], batched: int, count: int) -> list[tuple[dict[str, Any], int]]:
        return [(full, count), ({**full, "kind": "cross", "window": batched, "least": 1}, count)]


def _recorded(folder: Path) -> list[dict[str, Any]]:
    planner = _Planner(folder)
    cases = _Cases(planner)
    made: list[dict[str, Any]] = []
    while len(made) < CASES:
        case = cases.make()
        try:
            made.append({**case, "stages": planner.answer(case)})
        except _SkippedError:
            continue
    return made


if __name__ == "__main__":
    asked = sys.argv[1]
    table = json.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
    table[asked] = _recorded(Path(sys.argv[2]))
    versions = sorted(table, key=lambda name: [int(part) for part in name.split(".")])
    rows = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in table[name]) + "\n]"
        for name in versions
    )
    TABLE.write_text("{\n" + rows + "\n}\n", encoding="utf-8")
