"""A deployment of SGLang: what each card needs for the workload, and what the process takes whatever it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from math import ceil, floor
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.cache import cache_bytes_per_token
from vramguard.memory.engines import Ask, Deployed, Holding
from vramguard.memory.engines.resident import resident, rounding
from vramguard.memory.engines.sglang import held, pool, words
from vramguard.memory.engines.sglang.cells import Cells, cells
from vramguard.memory.engines.sglang.profiles import (
    PROFILES,
    Asked,
    Defaults,
    Profile,
    cards,
    defaults,
    implemented,
    profiles,
    thousandths,
)
from vramguard.memory.engines.shards import Rank, ranks
from vramguard.memory.engines.stated import check_positions, decimal, share
from vramguard.memory.ledger import Ledger, Term, bound
from vramguard.memory.runtime import MIB
from vramguard.memory.weights import ELEMENT_BYTES, Loaded, buffers, load, scheme_of, weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.quantization import Scheme
    from vramguard.memory.verdict import Workload

_FORMATS: Final = ("fp8", "gptq", "awq", "compressed-tensors")
_KV_BYTES: Final = {"fp8_e5m2": 1, "fp8_e4m3": 1, "bf16": 2, "bfloat16": 2}
_DTYPES: Final = {"half": "float16", "float": "float32"}
_LARGEST_PAGE: Final = 128  # of any attention backend
_LEAST_VISION: Final = Fraction(95, 100) * Fraction(8, 10)
_ABSORBED: Final = "SGLang 0.5.10, srt/models/deepseek_common/deepseek_weight_loader.py, post_load_weights (w_kc, w_vc)"


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what SGLang is not modelled for; the message names the feature."""
    read = profiles(workload.engine_version) if workload.engine_version is not None else PROFILES[-1:]
    if not implemented(network.name, read):
        raise UnprovenError(f"sglang {read[0].name} has no class of its own for {network.name}")
    if workload.cpu_offload_gb is not None and decimal("cpu_offload_gb", workload.cpu_offload_gb):
        raise UnprovenError("cpu_offload_gb is not supported yet for sglang")
    check_positions(network, workload)


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """The dtype that is said, else the config's, float32 halved (model_config.py, _get_and_verify_dtype)."""
    if workload.dtype is not None and workload.dtype != "auto":
        return (_DTYPES.get(workload.dtype, workload.dtype),)
    said = network.dtype or "float32"
    half = "bfloat16" if network.model_type.startswith("gemma") else "float16"
    return (half if said == "float32" else said,)


def plan(ask: Ask, dtype: str) -> Serving:
    """Fill in what the workload leaves open; raises UnprovenError."""
    workload, network = ask.workload, ask.network
    if dtype not in ELEMENT_BYTES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(ELEMENT_BYTES)} are")
    if not ask.device.generation:
        raise UnprovenError(f"sglang on {ask.device.name} is not supported yet, NVIDIA's cards are")
    parallel = workload.tensor_parallel_size or 1
    return Serving(
        ask=ask,
        loaded=load(network, dtype, _scheme(ask), ask.device.capability),
        kv_bytes=_kv_bytes(ask, dtype),
        grid=ranks(
            network.layers,
            parallel,
            workload.pipeline_parallel_size or 1,
            parallel if workload.enable_expert_parallel else 0,
        ),
        read=profiles(workload.engine_version),
        share=_stated(workload),
    )


def _stated(workload: Workload) -> Fraction | None:
    """--mem-fraction-static, where it is stated."""
    said = workload.gpu_memory_utilization
    found = None if said is None else share("mem_fraction_static", said)
    if found == 1:
        raise UnprovenError(f"mem_fraction_static {said} is not below 1")
    return found


def _scheme(ask: Ask) -> Scheme | None:
    scheme = scheme_of(ask.config, ask.workload.quantization)
    if scheme is None:
        return None
    if scheme.method not in _FORMATS or scheme.on_the_fly:
        how = "while loading " if scheme.on_the_fly else ""
        raise UnprovenError(f"quantization {scheme.method} {how}is not supported yet for sglang")
    return replace(scheme, refused=None, unpacks=False)  # those are transformers'; SGLang's kernels take packed weights


def _kv_bytes(ask: Ask, dtype: str) -> int:
    """Bytes of a number in the cache; a checkpoint that asks for fewer bits is refused where its format is read."""
    asked = ask.workload.kv_cache_dtype
    if asked not in (None, "auto", dtype):
        if asked not in _KV_BYTES:
            raise UnprovenError(f"kv_cache_dtype {asked} is not supported yet for sglang: {', '.join(_KV_BYTES)} are")
        return _KV_BYTES[asked]
    return ELEMENT_BYTES[dtype]


@dataclass(frozen=True)
class Serving(Deployed):
    """One server, on as many cards as its grid has."""

    ask: Ask
    loaded: Loaded
    kv_bytes: int
    grid: tuple[Rank, ...]
    read: tuple[Profile, ...]
    share: Fraction | None = None  # --mem-fraction-static
    _held: dict[Rank, tuple[Term, ...]] = field(default_factory=dict, compare=False)  # whatever the share

    @property
    def network(self) -> Architecture:
        """What runs."""
        return self.loaded.network

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the weights, each once."""
        return sum(term.lower_bytes for term in weights(self.loaded))

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token in every layer of full attention."""
        return cache_bytes_per_token(self.network, 8 * self.kv_bytes)

    @property
    def at_once(self) -> int:
        """Sequences in one pass, at most: as many as are admitted, else as are asked for or captured."""
        captured = max((max(made.graphs, default=1) for _, made in self.made), default=1)
        return self.ask.workload.max_num_seqs or max(self.sequences, captured)

    @property
    def page(self) -> int:
        """Tokens of a page, at most."""
        return self.ask.workload.block_size or _LARGEST_PAGE

    @cached_property
    def made(self) -> tuple[tuple[Profile, Defaults], ...]:
        """What each version that this may be decides, for the card at both ends of what its memory may be told as."""
        workload, rank = self.ask.workload, self.grid[0]
        asked = Asked(workload.max_num_batched_tokens, workload.max_num_seqs, bool(workload.enforce_eager))
        latent = "kv_lora_rank" in self.network.sizes
        ends = cards(self.ask.device.capacity_bytes, rank.tensor_parallel, rank.stages, latent=latent)
        return tuple((profile, defaults(profile, card, asked)) for profile in self.read for card in ends)

    @cached_property
    def fraction(self) -> tuple[Fraction, Fraction]:
        """Least and most of --mem-fraction-static."""
        if self.share is not None:
            return self.share, self.share
        # A reserve larger than the card leaves less than nothing: SGLang says that there is not enough memory.
        found = [max(made.fraction, Fraction(0)) for _, made in self.made]
        return min(found) * _vision_factor(self.ask.config), max(found)

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """One card of each stage."""
        return tuple(
            Ledger(
                (*self._weights[rank], *pool.rows(self._cells[rank], self._need(tokens)), *self._beside(rank, tokens))
            )
            for rank in self.grid
        )

    @property
    def _weights(self) -> dict[Rank, tuple[Term, ...]]:
        for rank in self.grid:
            if rank not in self._held:
                self._held[rank] = (*resident(self.ask.config, self.loaded, rank), *self._absorbed(rank))
        return self._held

    def _absorbed(self, rank: Rank) -> Iterator[Term]:
        """Latent attention keeps the matrix that expands latents a second time, in two parts and unquantized."""
        sizes = self.network.sizes
        if "kv_lora_rank" in sizes:
            group = self.network.attention[0]
            inputs = {
                "layers": rank.layers[1] - rank.layers[0], "heads": group.heads // rank.tensor_parallel,
                "latent": sizes["kv_lora_rank"], "bytes": self.loaded.element_bytes,
                "width": sizes.get("qk_nope_head_dim", group.head_dim) + sizes.get("v_head_dim", group.head_dim),
            }  # fmt: skip
            formula = "layers * heads * width * latent * bytes"
            yield bound("weights/absorbed_latents", formula, inputs, source=_ABSORBED)

    @cached_property
    def _cells(self) -> dict[Rank, Cells]:
        return {rank: cells(self.network, rank) for rank in self.grid}

    def _need(self, tokens: int) -> pool.Need:
        return pool.Need(self.sequences, tokens, self.page, self.kv_bytes, min(self.network.windows, default=None))

    def _pass(self, rank: Rank, tokens: int) -> held.Pass:
        chunks, most = [made.chunk for _, made in self.made], self.rooms[rank].tokens[1]
        return held.Pass(
            network=self.network,
            rank=rank,
            element_bytes=self.loaded.element_bytes,
            tokens=max(chunks),
            least=min(*chunks, tokens),
            sequences=self.at_once,
            pool=most,
            slots=(most + 1) * self.kv_bytes,
        )

    def _beside(self, rank: Rank, tokens: int) -> Iterator[Term]:
        """Everything but weights and pool."""
        run, device = self._pass(rank, tokens), self.ask.device
        yield from held.activations(run)
        yield from held.started(self.network, rank, device)
        yield from held.libraries(run, device)
        graphs = [tuple(held.graphs(run, *made, tokens)) for made in self.made]
        yield from max(graphs, key=lambda terms: sum(term.upper_bytes for term in terms))
        yield from held.tables(run, tokens, self.ask.workload.max_num_seqs)
        yield from buffers(self.network)
        layers = rank.layers[1] - rank.layers[0]
        # A layer's experts are one tensor, also where a format's rows count each of them.
        apart = [t for t in self._weights[rank] if ".experts." not in t.name or t.upper_bytes < layers * 10 * MIB]
        yield from rounding(apart, 2 * layers)

    @cached_property
    def rooms(self) -> dict[Rank, pool.Room]:
        """What SGLang leaves for each card's pool: its fraction of what is free at first, less what it loads."""
        capacity, (least, most) = self.ask.device.capacity_bytes, self.fraction
        found = {}
        for rank in self.grid:
            before, loaded = held.started(self.network, rank, self.ask.device), self._weights[rank]
            lower = floor(least * (capacity - sum(term.upper_bytes for term in before))) - held.LOADED_WITH_WEIGHTS
            upper = ceil(most * (capacity - sum(term.lower_bytes for term in before)))
            lower -= sum(term.upper_bytes for term in loaded)
            upper -= sum(term.lower_bytes for term in loaded)
            found[rank] = pool.room(self._cells[rank], self._need(1), lower, upper)
        return found

    def holding(self, tokens: int) -> Holding | None:
        """The fraction of the card, and all that is outside of it."""
        rooms, outside = self.rooms.values(), self._outside(tokens)
        lower, upper = min(room.tokens[0] for room in rooms), min(room.tokens[1] for room in rooms)
        states = min((room.sequences for room in rooms if room.sequences is not None), default=None)
        whole = -(-tokens // self.page) * self.page
        few = states is not None and states * whole < lower
        return Holding(
            reserved_bytes=self._reserved(outside),
            outside_bytes=outside,
            lower_bytes=min(room.bytes[0] for room in rooms),
            upper_bytes=min(room.bytes[1] for room in rooms),
            tokens=lower,
            concurrency=(states or 0, 1) if few else (lower, whole),
            starts=True if lower >= whole and states != 0 else None if upper >= tokens else False,
            utilization=thousandths(self.fraction[1]),
            refusal=None if upper else "Not enough memory. Please try to increase --mem-fraction-static.",
            reserved_at=lambda share: replace(self, share=share).reserved(tokens),
        )

    def reserved(self, tokens: int) -> int:
        """Bytes that the fullest card holds, at most."""
        return self._reserved(self._outside(tokens))

    def _reserved(self, outside: int) -> int:
        capacity = self.ask.device.capacity_bytes
        return min(capacity, ceil(capacity * self.fraction[1]) + outside)

    def _outside(self, tokens: int) -> int:
        """Bytes beside the pool, which grow with it: lists of its slots, tables of what it has room for."""
        return max(
            pool.padding(self._cells[rank], self._need(tokens)) + sum(t.upper_bytes for t in self._beside(rank, tokens))
            for rank in self.grid
        )

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in; of several values the one that needs most."""
        workload, rank = self.ask.workload, self.grid[0]
        return replace(
            workload,
            engine="sglang",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or rank.tensor_parallel * rank.stages,
            tensor_parallel_size=rank.tensor_parallel,
            pipeline_parallel_size=rank.stages,
            dtype=self.loaded.dtype,
            quantization=self.loaded.scheme.method if self.loaded.scheme else None,
            kv_cache_dtype=workload.kv_cache_dtype if self.kv_bytes == 1 else self.loaded.dtype,
            max_model_len=tokens,
            concurrency=self.sequences,
            max_num_seqs=self.at_once,
            max_num_batched_tokens=max(made.chunk for _, made in self.made),
            gpu_memory_utilization=thousandths(self.fraction[1]),
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What the ledgers rest on, in sentences."""
        return words.assumptions(self, tokens)


def _vision_factor(config: Mapping[str, Any]) -> Fraction:
    """By how much a vision tower may lower the fraction (server_args.py, adjust_mem_fraction_for_vlm).

    It need not: some classes are served without their tower unless that is asked for.
    """
    vision = config.get("vision_config")
    if not isinstance(vision, dict):
        return Fraction(1)
    layers, hidden = vision.get("num_hidden_layers", 24), vision.get("hidden_size")
    if not (isinstance(layers, int) and isinstance(hidden, int)):
        return _LEAST_VISION  # the class's own sizes, which the config does not tell
    factor = 1 - (Fraction(layers * hidden * hidden, 24 * 1024 * 1024) - 1) / 10
    return max(_LEAST_VISION, Fraction(95, 100) * min(Fraction(105, 100), factor))
