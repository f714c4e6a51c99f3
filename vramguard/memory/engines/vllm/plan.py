"""vLLM: weights split over a grid of cards, a pool of cache blocks that fills each card, and batches of many sequences.

What differs between releases is a `Variant`: a profile, a cache manager, a model runner. A release that is not stated
exactly is every one of them, and each row of the ledger then holds the most and the least of all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, Deployed, Holding, stated
from vramguard.memory.engines.either import widest
from vramguard.memory.engines.resident import resident
from vramguard.memory.engines.shards import Rank, ranks, shares
from vramguard.memory.engines.stated import decimal, share
from vramguard.memory.engines.vllm import batch, extras, packing, towers
from vramguard.memory.engines.vllm.layout import Kind, Options
from vramguard.memory.engines.vllm.manager import KVCache
from vramguard.memory.engines.vllm.manager import plan as lay_out
from vramguard.memory.engines.vllm.pool import assumptions, holding, utilization
from vramguard.memory.engines.vllm.profiles import cache_dtypes, implementations
from vramguard.memory.engines.vllm.specs import specs
from vramguard.memory.engines.vllm.variants import Sizes, Variant, variants
from vramguard.memory.ledger import Ledger, Term
from vramguard.memory.weights import ELEMENT_BYTES, Loaded, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.memory.architecture import Architecture, Tensor
    from vramguard.memory.engines.vllm.layout import Manager
    from vramguard.memory.verdict import Workload

GIB: Final = 1 << 30
_GROWING: Final = (Kind.FULL, Kind.LATENT)
NEWEST: Final = "0.33.0"  # the last release that was read
_DTYPES: Final = {"half": "float16", "float": "float32"}
# What `auto` comes to on a card without bfloat16: 0.10.2 to 0.33.0, config/model.py, _resolve_auto_dtype
_NEVER_HALF: Final = ("gemma2", "gemma3", "gemma3_text", "plamo2", "glm4")
_AMPERE: Final = 8


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what is not modelled; the message names the feature."""
    kinds = implementations(network.name, workload.engine_version)
    if not kinds & {"generate", "multimodal"}:
        release = workload.engine_version or f"up to {NEWEST}"
        raise UnprovenError(
            f"vllm {release} has no {network.name} of its own; its Transformers backend is not modelled"
        )
    known = cache_dtypes(workload.engine_version)
    if workload.kv_cache_dtype not in (None, "auto") and known and workload.kv_cache_dtype not in known:
        raise UnprovenError(f"vllm {workload.engine_version or NEWEST} has no kv_cache_dtype {workload.kv_cache_dtype}")
    extras.refuse(workload)
    if workload.gpu_memory_utilization is not None:
        share("gpu_memory_utilization", workload.gpu_memory_utilization)


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """What `auto` comes to: the config's, but half precision for float32 and for a config that names none."""
    said = stated.dtype(workload)
    said = _DTYPES.get(said or "", said)
    if said is not None:
        return (said,)
    return (network.dtype if network.dtype in ("float16", "bfloat16") else "bfloat16",)


def plan(ask: Ask, dtype: str) -> Serving:
    """Fill in what the workload leaves open; raises UnprovenError."""
    if dtype not in ELEMENT_BYTES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(ELEMENT_BYTES)} are")
    if ask.device.vendor != "nvidia":
        raise UnprovenError(f"vllm on {ask.device.name} is not modelled, on cards of NVIDIA it is")
    workload = ask.workload
    if dtype == "bfloat16" and ask.device.generation < _AMPERE:
        if stated.dtype(workload) is not None:
            raise UnprovenError(f"vllm refuses bfloat16 on {ask.device.name}, of compute capability below 8.0")
        dtype = "float32" if ask.network.model_type in _NEVER_HALF else "float16"
    loaded = Loaded(extras.as_vllm(ask.network), dtype, towers.named(packing.packed(ask), ask.network))
    data = workload.data_parallel_size or 1
    tensor = workload.tensor_parallel_size or 1
    spread = tensor * data if workload.enable_expert_parallel else 0
    split = ask.network.name in towers.SPLIT
    dealt = ranks(ask.network.layers, tensor, workload.pipeline_parallel_size or 1, spread, data)
    grid = tuple(rank._replace(towers=split) for rank in dealt)
    found = variants(ask, loaded)
    packing.refuse_blocks(ask, grid[0], found)
    return Serving(ask, loaded, grid, found)


@dataclass(frozen=True)
class Serving(Deployed):
    """One engine at work; `grid` has one card of each pipeline stage."""

    ask: Ask
    loaded: Loaded
    grid: tuple[Rank, ...]
    variants: tuple[Variant, ...]
    _memo: dict[tuple[object, ...], Any] = field(default_factory=dict)

    @property
    def network(self) -> Architecture:
        """What runs."""
        return self.loaded.network

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the whole model's weights, each once."""
        return sum(term.lower_bytes for term in weights(self.loaded, packed=True))

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token in every layer that keeps all of them, keys and values each once."""
        variant = self.variants[-1]
        options = self._options(variant, variant.sizes(self.ask, self.tokens), self.cache_dtypes[0])
        layers = specs(self.network, self.ask.config, variant.manager, options)
        return sum(each.spec.token_bytes * each.copies for each in layers if each.spec.kind in _GROWING)

    @property
    def offload_bytes(self) -> int:
        """Bytes of weights that each card leaves on the host, at most."""
        return int(decimal("cpu_offload_gb", self.ask.workload.cpu_offload_gb or "0") * GIB)

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """Demand of one card of each stage."""
        return tuple(self._ledger(tokens, rank) for rank in self.grid)

    def _ledger(self, tokens: int, rank: Rank) -> Ledger:
        rows = (self._rows(tokens, rank, variant, dtype) for variant in self.variants for dtype in self.cache_dtypes)
        serving = (*self._resident(rank), *widest(rows))
        return Ledger((*serving, *packing.loading(self.ask, self.loaded, rank, self.variants, serving)))

    @property
    def cache_dtypes(self) -> tuple[str, ...]:
        """What --kv-cache-dtype may come to: `auto` is fp8 in some releases where the checkpoint asks for it."""
        said = self.ask.workload.kv_cache_dtype or "auto"
        asked = self.loaded.scheme is not None and self.loaded.scheme.cache_bits == 8  # noqa: PLR2004 - bits of fp8
        return ("auto", "fp8") if said == "auto" and asked else (said,)

    def _rows(self, tokens: int, rank: Rank, variant: Variant, dtype: str) -> tuple[Term, ...]:
        step = self.step_of(tokens, rank, variant)
        cache = self.cache_of(rank, variant, step.sizes, dtype)
        passes = (*batch.activations(step), *batch.unprofiled(step))
        return (*cache.terms(tokens, self.sequences), *passes, *batch.runtime(step, cache))

    def step_of(self, tokens: int, rank: Rank, variant: Variant) -> batch.Step:
        sizes = variant.sizes(self.ask, tokens)
        tensors = self._once(("tensors", rank), lambda: _tensors(self.network, rank))
        eager = bool(self.ask.workload.enforce_eager)
        held, card = self._resident(rank), self.ask.device
        sees = "multimodal" in implementations(self.network.name, self.ask.workload.engine_version)
        packed = sees and self._once(("tower",), lambda: packing.packs_tower(self.loaded))
        return batch.Step(self.loaded, card, rank, variant, sizes, tensors, tokens, held, eager, self.ask, sees, packed)

    def _resident(self, rank: Rank) -> tuple[Term, ...]:
        found: tuple[Term, ...] = self._once(
            ("resident", rank), lambda: _resident(self.ask, self.loaded, rank, self.variants)
        )
        return found

    def cache_of(self, rank: Rank, variant: Variant, sizes: Sizes, dtype: str) -> KVCache:
        options = self._options(variant, sizes, dtype)
        found: KVCache = self._once(
            ("cache", rank, variant.manager, options),
            lambda: _laid_out(self.ask, self.network, rank, variant.manager, options),
        )
        return found

    def _options(self, variant: Variant, sizes: Sizes, dtype: str) -> Options:
        workload = self.ask.workload
        return Options(
            max_num_batched_tokens=sizes.tokens,
            dtype_bytes=self.loaded.element_bytes,
            kv_cache_dtype=dtype,
            block_size=workload.block_size,
            disable_hybrid_kv_cache_manager=bool(workload.disable_hybrid_kv_cache_manager),
            speculative_tokens=sizes.drafts,
            async_scheduling=variant.profile.async_scheduling,
            concurrent_batches=variant.profile.batches(len(self.grid), variant.runner),
            capability=self.ask.device.generation,
        )

    def _once(self, key: tuple[object, ...], build: Callable[[], Any]) -> Any:  # noqa: ANN401 - what `build` gives
        """What does not depend on the context, built once."""
        if key not in self._memo:
            self._memo[key] = build()
        return self._memo[key]

    def holding(self, tokens: int) -> Holding | None:
        """What vLLM takes of the card that has least room."""
        return holding(self, tokens)

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        workload = self.ask.workload
        variant = max(self.variants, key=lambda each: each.sizes(self.ask, tokens))
        sizes = variant.sizes(self.ask, tokens)
        grid = self.grid[0].tensor_parallel * len(self.grid) * (workload.data_parallel_size or 1)
        cached = workload.kv_cache_dtype
        return replace(
            workload,
            engine="vllm",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or grid,
            tensor_parallel_size=self.grid[0].tensor_parallel,
            pipeline_parallel_size=len(self.grid),
            dtype=self.loaded.dtype,
            quantization=self.loaded.scheme.method if self.loaded.scheme else None,
            kv_cache_dtype=self.loaded.dtype if cached in (None, "auto") else cached,
            max_model_len=tokens,
            concurrency=self.sequences,
            max_num_seqs=sizes.sequences,
            max_num_batched_tokens=sizes.tokens,
            gpu_memory_utilization=utilization(self, variant),
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """One sentence for each value that nobody stated; then what always is."""
        yield from assumptions(self, tokens)


def _tensors(network: Architecture, rank: Rank) -> tuple[Tensor, ...]:
    return tuple(share.most for share in shares(network, rank))


def _resident(ask: Ask, loaded: Loaded, rank: Rank, found: tuple[Variant, ...]) -> tuple[Term, ...]:
    network, workload = loaded.network, ask.workload
    return (
        *towers.settle(
            resident(ask.config, loaded, rank, packing.padding(loaded, ask.device, found), extras.float32(network)),
            network,
            ask.config,
            found,
        ),
        *extras.unused(network, rank, loaded.element_bytes),
        *extras.absorbed(loaded, rank, found),
        *extras.adapters(workload, network, rank, loaded.element_bytes, found),
        *extras.draft(workload, network, loaded, rank),
    )


def _laid_out(ask: Ask, network: Architecture, rank: Rank, manager: Manager, options: Options) -> KVCache:
    layers = specs(network, ask.config, manager, options, rank.tensor_parallel)
    return lay_out(extras.with_drafts(ask.workload, network, layers), manager, options, rank)
