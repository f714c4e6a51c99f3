"""transformers: one process, one forward pass over the whole prompt, and no more cache than that fills."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.memory.activation import (
    Prefill,
    activations,
    activations_beside,
    default_implementation,
)
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.cache import cache_bytes, cache_bytes_per_token
from vramguard.memory.engines import Ask, Deployed, stated
from vramguard.memory.ledger import Kind, Ledger, Term, bound
from vramguard.memory.runtime import runtime
from vramguard.memory.traced import Pass, Traced, assumptions, fragmentation, traced_rows
from vramguard.memory.weights import (
    ELEMENT_BYTES,
    Loaded,
    buffers,
    load,
    loading,
    quantized_pass,
    quantizer_assumptions,
    scheme_of,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture, Cache
    from vramguard.memory.engines import Holding
    from vramguard.memory.placement import Placement
    from vramguard.memory.verdict import Workload

KINDS: Final = ("auto", "balanced", "balanced_low_0", "sequential")  # of device_map: accelerate decides
MODELED_VERSION: Final = "5.23.0"  # every moment in activation.py was read there
_AMPERE: Final = 8


def refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what this version cannot prove; the message names the feature."""
    if workload.engine_version is not None and workload.engine_version.partition(".")[0] != "5":
        raise UnprovenError(f"transformers {workload.engine_version} is not supported, 5 is")
    for name in ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"):
        value = getattr(workload, name)
        if value not in (None, 1):
            raise UnprovenError(f"{name} {value} is not supported yet for transformers")
    stated.check_positions(network, workload)


def dtypes(network: Architecture, workload: Workload) -> tuple[str, ...]:
    """The dtype that is said, else the config's; any where neither says one."""
    said = stated.dtype(workload, network.dtype)
    return tuple(ELEMENT_BYTES) if said is None else (said,)


def plan(ask: Ask, dtype: str) -> Generation:
    """Fill in what the workload leaves open; raises UnprovenError."""
    workload, network = ask.workload, ask.network
    if dtype not in ELEMENT_BYTES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(ELEMENT_BYTES)} are")
    scheme = scheme_of(ask.config, workload.quantization)
    if scheme is not None and ask.trace is not None:
        raise UnprovenError(
            f"quantization {scheme.method}: a quantizer's modules cannot be traced; use --method analytic"
        )
    loaded = load(network, dtype, scheme, ask.device.capability)
    cached = workload.kv_cache_dtype
    if cached not in (None, "auto", loaded.dtype):
        raise UnprovenError(f"kv_cache_dtype {cached} other than the model's {loaded.dtype} is not supported yet")
    asked = workload.attn_implementation or network.attn_implementation
    return Generation(
        ask=ask,
        loaded=loaded,
        implementation=asked or default_implementation(network),
        cached=ask.config.get("use_cache") is not False,
    )


@dataclass(frozen=True)
class Generation(Deployed):
    """One `generate()` at a time; its batch is what `concurrency` says."""

    ask: Ask
    loaded: Loaded
    implementation: str
    cached: bool  # False where the config asks for no cache, which a generation_config.json may overrule

    @property
    def network(self) -> Architecture:
        """What runs."""
        return self.loaded.network

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the weights, packed as they are."""
        return sum(term.lower_bytes for term in weights(self.loaded))

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of one more token in every layer of full attention."""
        return cache_bytes_per_token(self.network, self._kv_bits)

    @property
    def _kv_bits(self) -> int:
        return 8 * self.loaded.element_bytes

    @property
    def _cards(self) -> int:
        return self.ask.workload.gpus or 1

    @cached_property
    def _placement(self) -> Placement | None:
        """Where `device_map` puts the weights over several cards; None where one card is meant to take them all."""
        if self._cards == 1 or self.ask.workload.device_map not in KINDS:
            return None
        return self._placed(self.ask.device.capacity_bytes - self.ask.device.context_upper_bytes)

    def _placed(self, least_free: int) -> Placement:
        """Place the weights on cards of which each has between `least_free` bytes and all but its context."""
        from vramguard.memory.placement import Memory, place  # reads the tables of every class's modules

        free = least_free, self.ask.device.capacity_bytes - self.ask.device.context_lower_bytes
        memory = Memory(free=(free,) * self._cards)
        return place(self.loaded, self.ask.config, str(self.ask.workload.device_map), memory)

    @cached_property
    def _over(self) -> int:
        """Weights that all cards together cannot hold."""
        return max(0, self.model_weight_bytes - self._cards * self.ask.device.capacity_bytes)

    @cached_property
    def spill_bytes(self) -> int:
        """Weights that `device_map` leaves on no card, without failing, at least."""
        if self.ask.workload.device_map not in KINDS:
            return 0
        try:
            if self._placement is not None:
                return self._placement.spilled.lower_bytes
            device = self.ask.device
            free = device.capacity_bytes - device.context_lower_bytes
            return self._placed(free).spilled.lower_bytes if self._over else 0
        except UnprovenError:  # a class whose modules are not known, or a card that a few bytes decide about
            return self._over

    @property
    def offload_bytes(self) -> int:
        """What `device_map` spills where several cards share the rest; one card has to take everything."""
        return self.spill_bytes if self._cards > 1 else 0

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """The one card's, or those of the cards that `device_map` fills."""
        whole = self._whole(tokens)
        try:
            placement = self._placement
        except UnprovenError:  # which card takes what; but what no card can take is known
            if not self._over:
                raise
            held = {"whole": whole.upper_bytes("weights"), "over": self._over}
            return (Ledger((bound("weights/spilled", "whole", held, lower="over"), *whole.group("runtime"))),)
        if placement is None:
            return (whole,)
        return tuple(self._card(tokens, whole, placement, card) for card in placement.cards)

    def _card(self, tokens: int, whole: Ledger, placement: Placement, card: int) -> Ledger:
        """Of one card of several, which run one after the other: its weights, its layers' cache, the largest moment."""
        share, layers = placement.cards[card], placement.cached_layers(self.network, card)
        spilled = placement.spilled
        held = {"card": share.upper_bytes, "certain": share.lower_bytes}
        source = "accelerate 1.15.0, utils/modeling.py (infer_auto_device_map); memory/placement.py"
        rows = [bound("weights/placed", "card", held, lower="certain", source=source)]
        if spilled.upper_bytes:
            inputs = {"spilled": spilled.upper_bytes, "certain": spilled.lower_bytes}
            rows.append(bound("weights/spilled", "spilled", inputs, lower="certain", source=source))
        for term in whole.group("kv_cache"):
            inputs = {**term.inputs, "here": min(layers, term.inputs["layers"])}
            # Of a group of layers those that stand here, at most; which of them is not counted.
            formula = f"ceil_div(({term.formula}) * here, layers)"
            rows.append(bound(term.name, formula, inputs, source=term.source))
        rows += whole.group("activations")
        moved = self._run(tokens).inputs
        rows.append(bound("activations/moved", "sequences * tokens * hidden * bytes", moved, source=source))
        return Ledger((*rows, *whole.group("runtime")))

    def _whole(self, tokens: int) -> Ledger:
        """As if one card took everything."""
        cache, traced = tuple(self._cache(tokens)), self.traced(tokens)
        unpacked = quantized_pass(self.loaded, tokens * self.sequences)
        serving = (*cache, *self._activations(tokens, cache), *unpacked)
        serving_bytes = sum(term.upper_bytes for term in serving)
        kept, held = () if traced is None else (fragmentation(traced),), tuple(weights(self.loaded))
        beside = (*runtime(self.network, self.ask.device, held), *buffers(self.network), *kept)
        return Ledger((*held, *serving, *beside, loading(self.loaded, serving_bytes)))

    def holding(self, _tokens: int) -> Holding | None:
        """Nothing is reserved."""
        return None

    def traced(self, tokens: int) -> Traced | None:
        """Ask for the pass over `tokens` tokens, where passes are traced."""
        if self.ask.trace is None:
            return None
        asked = self.implementation if self.implementation != default_implementation(self.network) else None
        return self.ask.trace(Pass(self.network.name, tokens, self.sequences, self.loaded.dtype, asked))

    def _cache(self, tokens: int) -> Iterator[Term]:
        source = "transformers 5.23.0, cache_utils.py (DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer)"
        for group in cache_bytes(self.network, tokens, self.sequences, self._kv_bits):
            name = f"kv_cache/{_cache_name(group.cache)}"
            if len(self.network.caches) > 1:
                name += f"_{group.cache.layers}_layers"
            same = group.tensor.formula == group.storage.formula
            kind, lower = (Kind.EXACT, None) if same else (Kind.BOUND, group.tensor.formula)
            if not self.cached:
                kind, lower = Kind.BOUND, "0"
            yield Term(name, group.storage.formula, group.storage.inputs, kind, source, lower)

    def _activations(self, tokens: int, cache: tuple[Term, ...]) -> tuple[Term, ...]:
        run, traced = self._run(tokens), self.traced(tokens)
        if traced is None:
            return activations(run)
        run = replace(run, mask_heads=traced.mask_heads)
        return activations_beside(run, traced_rows(traced, run, cache))

    def _run(self, tokens: int) -> Prefill:
        device, dtype = self.ask.device, self.loaded.dtype
        ampere = device.generation >= _AMPERE
        return Prefill(
            architecture=self.network,
            tokens=tokens,
            sequences=self.sequences,
            element_bytes=self.loaded.element_bytes,
            implementation=self.implementation,
            fused_kernels=ampere or dtype != "bfloat16",
            grouped_kernels=ampere and dtype != "float32",
            multiprocessors=device.multiprocessors,
        )

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        workload = self.ask.workload
        return replace(
            workload,
            engine="transformers",
            mode="inference",
            gpu=self.ask.device.name,
            gpus=workload.gpus or 1,
            tensor_parallel_size=1,
            pipeline_parallel_size=1,
            dtype=self.loaded.dtype,
            quantization=self.loaded.scheme.method if self.loaded.scheme else None,
            kv_cache_dtype=self.loaded.dtype,
            max_model_len=tokens,
            concurrency=self.sequences,
            attn_implementation=self.implementation,
            engine_version=workload.engine_version or MODELED_VERSION,
        )

    def assumptions(self, tokens: int) -> Iterator[str]:
        """One sentence for each value that nobody stated, or that means less than it seems to; then what always is."""
        workload = self.ask.workload
        if workload.engine is None:
            yield "engine is not stated; transformers is assumed"
        if workload.engine_version is None:
            yield f"engine_version is not stated; transformers {MODELED_VERSION} is assumed"
        elif workload.engine_version != MODELED_VERSION:
            yield f"transformers {workload.engine_version} allocates as {MODELED_VERSION}, which was read"
        if workload.dtype in (None, "auto") and self.network.dtype is not None:
            yield f"dtype is not stated; the config's {self.loaded.dtype} is assumed"
        if workload.attn_implementation is None:
            yield f"attn_implementation is not stated; {self.implementation} is assumed"
        yield from quantizer_assumptions(self.loaded)
        if self.network.tied:
            yield "tied weights are equal in the checkpoint: transformers 5 keeps both where they differ"
        yield from self._load(tokens)
        for name in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"):
            if getattr(workload, name) is not None:
                yield f"{name} {getattr(workload, name)} has no effect on transformers"
        yield from assumptions(self.traced(tokens))
        yield from _ASSUMPTIONS

    def _load(self, tokens: int) -> Iterator[str]:
        workload = self.ask.workload
        if workload.max_model_len is None:
            yield f"max_model_len is not stated; the config's full context of {tokens} is assumed"
        elif 0 < self.network.context < tokens:
            yield f"max_model_len {tokens} is above the config's {self.network.context}, which no code enforces"
        if workload.concurrency is None:
            yield "concurrency is not stated; one sequence at a time, not padded, is assumed"
        else:
            yield f"concurrency: at most {self.sequences} at a time; one is not padded, several are one padded batch"
        if self._cards > 1 and workload.device_map in KINDS:
            yield f"device_map {workload.device_map} fills {workload.gpus} equal cards, whose passes run one by one"
        elif self._cards > 1:
            yield f"of {workload.gpus} GPUs one is used: tensor_parallel_size is 1"


def _cache_name(cache: Cache) -> str:
    if not (cache.keys or cache.values):
        return "state"
    if cache.window is not None:
        return f"sliding_{cache.window}"
    return "encoder" if cache.encoder else "full"


_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no leak: nothing but the weights, the cache and one forward pass is kept from one request to the next",
    "one process, one CUDA stream, no CUDA graphs, no torch.compile",
    "generate() without gradients: logits of the last token only, no attention weights, no hidden states returned",
    "generate() draws one answer to a prompt, one beam and the default cache, whatever generation_config.json says",
    "loading: the checkpoint is in the model's dtype and is read tensor by tensor",
    "cuDNN's attention, which PyTorch may prefer from Hopper on, needs no more workspace than the rows for its others",
    "the prompt may be as long as the context and is read in one pass",
    "no adapter or draft model is loaded beside the model",
    "prompts are text: no picture and no sound passes a tower, whose weights are counted",
)
