"""The verdict: whether a config's network, run as a workload says, stays within a share of one card.

Hides which defaults fill a workload, what is refused, and how bounds become an answer. Nothing raised by a config or
a workload leaves this module: what is not known is the answer UNKNOWN with its reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from vramguard.memory.activation import (
    Prefill,
    activations,
    activations_beside,
    default_implementation,
)
from vramguard.memory.architecture import Architecture, Cache, UnprovenError
from vramguard.memory.cache import cache_bytes, cache_bytes_per_token
from vramguard.memory.expression import FormulaError
from vramguard.memory.families import architecture
from vramguard.memory.ledger import Kind, Ledger, Term
from vramguard.memory.runtime import Device, runtime
from vramguard.memory.traced import Pass, Traced, Tracing, assumptions, fragmentation, traced_rows
from vramguard.memory.verdict import Answer, Proof, Totals, Workload
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
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

MODELED_VERSION: Final = "5.23.0"  # of transformers; every moment in activation.py was read there
_AMPERE: Final = 8


@dataclass(frozen=True, slots=True)
class _Case:
    """A workload without open ends: everything that the ledger is a function of, but the context."""

    loaded: Loaded
    device: Device
    sequences: int
    implementation: str
    cached: bool  # False where the config asks for no cache, which a generation_config.json may overrule
    trace: Callable[[Pass], Traced] | None = None  # None: the pass is computed from the config, not traced

    @property
    def network(self) -> Architecture:
        return self.loaded.network

    @property
    def dtype(self) -> str:
        return self.loaded.dtype

    @property
    def element_bytes(self) -> int:
        return self.loaded.element_bytes

    def traced(self, tokens: int) -> Traced | None:
        """Ask for the pass over `tokens` tokens, where passes are traced."""
        if self.trace is None:
            return None
        asked = self.implementation if self.implementation != default_implementation(self.network) else None
        return self.trace(Pass(self.network.name, tokens, self.sequences, self.dtype, asked))


def prove(
    config: Mapping[str, object],
    workload: Workload,
    device: Device,
    budget: Fraction,
    tracing: Tracing | None = None,
) -> Proof:
    """Judge the peak of `workload` against `budget` of the card's capacity; ValueError for a budget outside 0 to 1.

    `tracing` runs forward passes: where it is given, their peaks stand in the ledger instead of computed ones.
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget {budget} is not a share of a card")
    empty = Proof(
        answer=Answer.UNKNOWN,
        reason=None,
        workload=workload,
        device=device,
        budget_fraction=_decimal(budget),
        budget_bytes=device.capacity_bytes * budget.numerator // budget.denominator,
        gpu_assumed=workload.gpu is None,
        method="analytic" if tracing is None else "trace",
    )
    trace = None if tracing is None else lru_cache(partial(tracing, config))
    try:
        network = architecture(config)
        known = replace(
            empty,
            model_type=network.model_type,
            architecture=network.name,
            parameters=network.parameters,
            active_parameters=network.active_parameters,
        )
    except (UnprovenError, FormulaError) as error:
        return replace(empty, reason=str(error))
    try:
        return _judge(config, network, known, trace)
    except (UnprovenError, FormulaError) as error:
        return replace(known, reason=str(error))


def _judge(
    config: Mapping[str, object], network: Architecture, empty: Proof, trace: Callable[[Pass], Traced] | None
) -> Proof:
    """Proof for a known network; where the dtype is open, the one that decides whatever the dtype is."""
    _refuse(network, empty.workload)
    said = empty.workload.dtype if empty.workload.dtype not in (None, "auto") else network.dtype
    if said is not None:
        return _decide(replace(_case(config, network, empty, said), trace=trace), empty)
    cases = (_case(config, network, empty, dtype) for dtype in ELEMENT_BYTES)
    proofs = [_decide(replace(case, trace=trace), empty) for case in cases]
    largest = max(proofs, key=_upper)
    if all(proof.answer is Answer.EXCEEDS for proof in proofs):
        return _open_dtype(min(proofs, key=_upper), "the one that needs least is shown")
    shown = _open_dtype(largest, "the one that needs most is shown")
    if largest.answer is Answer.FITS:
        return shown
    reason = "neither the workload nor the config names a dtype: transformers then takes the checkpoint's own"
    return replace(shown, answer=Answer.UNKNOWN, reason=reason, min_fitting_gpus=None)


def _upper(proof: Proof) -> int:
    return proof.totals.peak_upper_bytes if proof.totals else 0


def _open_dtype(proof: Proof, sentence: str) -> Proof:
    first = f"dtype is named nowhere and becomes the checkpoint's own, one of {', '.join(ELEMENT_BYTES)}: {sentence}"
    return replace(proof, assumptions=(first, *proof.assumptions))


def _refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what this version cannot prove; the message names the feature."""
    if workload.engine not in (None, "transformers"):
        raise UnprovenError(f"engine {workload.engine} is not supported yet, transformers is")
    if workload.mode not in (None, "inference"):
        raise UnprovenError(f"mode {workload.mode} is not supported yet, inference is")
    if workload.engine_version is not None and workload.engine_version.partition(".")[0] != "5":
        raise UnprovenError(f"transformers {workload.engine_version} is not supported, 5 is")
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        value = getattr(workload, name)
        if value not in (None, 1):
            raise UnprovenError(f"{name} {value} is not supported yet")
    if (workload.gpus or 1) > 1 and workload.device_map not in (None, "cuda", "cuda:0"):
        raise UnprovenError(f"device_map {workload.device_map} over {workload.gpus} GPUs is not supported yet")
    _refuse_sizes(network, workload)


def _refuse_sizes(network: Architecture, workload: Workload) -> None:
    for name in ("gpus", "max_model_len", "concurrency"):
        value = getattr(workload, name)
        if value is not None and value < 1:
            raise UnprovenError(f"{name} {value} is not a positive number")
    tokens = workload.max_model_len
    if network.learned_positions and tokens is not None and tokens > network.context:
        what = f"the {network.context} positions that {network.model_type} has learned"
        raise UnprovenError(f"max_model_len {tokens} is above {what}")
    if not network.context and tokens is None:
        raise UnprovenError(f"neither the workload nor the config of a {network.model_type} names a context")


def _case(config: Mapping[str, object], network: Architecture, proof: Proof, dtype: str) -> _Case:
    if dtype not in ELEMENT_BYTES:
        raise UnprovenError(f"dtype {dtype} is not supported: {', '.join(ELEMENT_BYTES)} are")
    scheme = scheme_of(config, proof.workload.quantization)
    if scheme is not None and proof.method == "trace":
        raise UnprovenError(
            f"quantization {scheme.method}: a quantizer's modules cannot be traced; use --method analytic"
        )
    loaded = load(network, dtype, scheme, proof.device.capability)
    cached = proof.workload.kv_cache_dtype
    if cached not in (None, "auto", loaded.dtype):
        raise UnprovenError(f"kv_cache_dtype {cached} other than the model's {loaded.dtype} is not supported yet")
    asked = proof.workload.attn_implementation or network.attn_implementation
    return _Case(
        loaded=loaded,
        device=proof.device,
        sequences=proof.workload.concurrency or 1,
        implementation=asked or default_implementation(network),
        cached=config.get("use_cache") is not False,
    )


def _decide(case: _Case, empty: Proof) -> Proof:
    tokens = empty.workload.max_model_len or case.network.context
    ledger = _ledger(case, tokens)
    totals = _totals(ledger)
    answer, reason = _answer(totals, empty.budget_bytes)
    weights = ledger.lower_bytes("weights")
    spills = empty.workload.device_map in _SPILLING
    return replace(
        empty,
        answer=answer,
        reason=reason,
        workload=_resolved(empty.workload, case, tokens),
        model_weight_bytes=weights,
        kv_cache_bytes_per_token=cache_bytes_per_token(case.network, 8 * case.element_bytes),
        ledger=ledger,
        totals=totals,
        headroom_bytes=empty.budget_bytes - totals.peak_upper_bytes,
        max_fitting_model_len=_longest(case, empty.budget_bytes, tokens) if case.trace is None else None,
        min_fitting_gpus=1 if answer is Answer.FITS else None,
        spill_bytes=max(0, weights - case.device.capacity_bytes) if spills else 0,
        assumptions=(*_defaulted(empty.workload, case, tokens), *assumptions(case.traced(tokens)), *_ASSUMPTIONS),
    )


# accelerate places what does not fit a card on the CPU, then on disk, and says so in a log line only.
_SPILLING: Final = ("auto", "balanced", "balanced_low_0", "sequential")


def _answer(totals: Totals, budget_bytes: int) -> tuple[Answer, str | None]:
    if totals.peak_upper_bytes <= budget_bytes:
        return Answer.FITS, None
    if totals.peak_lower_bytes > budget_bytes:
        return Answer.EXCEEDS, f"the peak is at least {totals.peak_lower_bytes} bytes, the budget {budget_bytes}"
    return Answer.UNKNOWN, (
        f"the peak lies between {totals.peak_lower_bytes} and {totals.peak_upper_bytes} bytes, "
        f"the budget of {budget_bytes} between them"
    )


def _ledger(case: _Case, tokens: int) -> Ledger:
    cache, traced = tuple(_cache(case, tokens)), case.traced(tokens)
    serving = (*cache, *_activations(case, tokens, cache), *quantized_pass(case.loaded, tokens * case.sequences))
    serving_bytes = sum(term.upper_bytes for term in serving)
    kept, held = () if traced is None else (fragmentation(traced),), tuple(weights(case.loaded))
    beside = (*runtime(case.network, case.device, held), *buffers(case.network), *kept)
    return Ledger((*held, *serving, *beside, loading(case.loaded, serving_bytes)))


def _cache(case: _Case, tokens: int) -> Iterator[Term]:
    source = "transformers 5.23.0, cache_utils.py (DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer)"
    for group in cache_bytes(case.network, tokens, case.sequences, 8 * case.element_bytes):
        name = f"kv_cache/{_cache_name(group.cache)}"
        if len(case.network.caches) > 1:
            name += f"_{group.cache.layers}_layers"
        same = group.tensor.formula == group.storage.formula
        kind, lower = (Kind.EXACT, None) if same else (Kind.BOUND, group.tensor.formula)
        if not case.cached:
            kind, lower = Kind.BOUND, "0"
        yield Term(name, group.storage.formula, group.storage.inputs, kind, source, lower)


def _cache_name(cache: Cache) -> str:
    if not (cache.keys or cache.values):
        return "state"
    if cache.window is not None:
        return f"sliding_{cache.window}"
    return "encoder" if cache.encoder else "full"


def _activations(case: _Case, tokens: int, cache: tuple[Term, ...]) -> tuple[Term, ...]:
    ampere = case.device.generation >= _AMPERE
    run = Prefill(
        architecture=case.network,
        tokens=tokens,
        sequences=case.sequences,
        element_bytes=case.element_bytes,
        implementation=case.implementation,
        fused_kernels=ampere or case.dtype != "bfloat16",
        grouped_kernels=ampere and case.dtype != "float32",
        multiprocessors=case.device.multiprocessors,
    )
    traced = case.traced(tokens)
    if traced is None:
        return activations(run)
    run = replace(run, mask_heads=traced.mask_heads)
    return activations_beside(run, traced_rows(traced, run, cache))


def _totals(ledger: Ledger) -> Totals:
    return Totals(
        weights_bytes=ledger.upper_bytes("weights"),
        kv_cache_bytes=ledger.upper_bytes("kv_cache"),
        activation_bytes=ledger.upper_bytes("activations"),
        runtime_bytes=ledger.upper_bytes("runtime"),
        peak_lower_bytes=ledger.lower_bytes(),
        peak_upper_bytes=ledger.upper_bytes(),
    )


def _longest(case: _Case, budget_bytes: int, limit: int) -> int:
    """Largest context, up to the config's own (`limit` where it names none), whose upper bound is within the budget.

    0 if none is.

    The bound does not fall as the context grows, so bisection finds it.
    """
    low, high = 0, case.network.context or limit
    if _ledger(case, high).upper_bytes() <= budget_bytes:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if _ledger(case, middle).upper_bytes() <= budget_bytes:
            low = middle
        else:
            high = middle - 1
    return low


def _resolved(workload: Workload, case: _Case, tokens: int) -> Workload:
    return replace(
        workload,
        engine="transformers",
        mode="inference",
        gpu=case.device.name,
        gpus=workload.gpus or 1,
        tensor_parallel_size=1,
        pipeline_parallel_size=1,
        dtype=case.dtype,
        quantization=case.loaded.scheme.method if case.loaded.scheme else None,
        kv_cache_dtype=case.dtype,
        max_model_len=tokens,
        concurrency=case.sequences,
        attn_implementation=case.implementation,
        engine_version=workload.engine_version or MODELED_VERSION,
    )


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


def _defaulted(workload: Workload, case: _Case, tokens: int) -> Iterator[str]:
    """One sentence for each value that nobody stated, or that means less than it seems to."""
    if workload.gpu is None:
        yield f"gpu is not stated; {case.device.name} is assumed"
    if workload.engine is None:
        yield "engine is not stated; transformers is assumed"
    if workload.engine_version is None:
        yield f"engine_version is not stated; transformers {MODELED_VERSION} is assumed"
    elif workload.engine_version != MODELED_VERSION:
        yield f"transformers {workload.engine_version} allocates as {MODELED_VERSION}, which was read"
    if workload.dtype in (None, "auto") and case.network.dtype is not None:
        yield f"dtype is not stated; the config's {case.dtype} is assumed"
    if workload.attn_implementation is None:
        yield f"attn_implementation is not stated; {case.implementation} is assumed"
    yield from quantizer_assumptions(case.loaded)
    if case.network.tied:
        yield "tied weights are equal in the checkpoint: transformers 5 keeps both where they differ"
    yield from _load(workload, case, tokens)
    for name in ("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"):
        if getattr(workload, name) is not None:
            yield f"{name} {getattr(workload, name)} has no effect on transformers"


def _load(workload: Workload, case: _Case, tokens: int) -> Iterator[str]:
    if workload.max_model_len is None:
        yield f"max_model_len is not stated; the config's full context of {tokens} is assumed"
    elif 0 < case.network.context < tokens:
        yield f"max_model_len {tokens} is above the config's {case.network.context}, which no code enforces"
    if workload.concurrency is None:
        yield "concurrency is not stated; one sequence at a time, not padded, is assumed"
    else:
        yield f"concurrency: at most {case.sequences} at a time; one is not padded, several are one padded batch"
    if (workload.gpus or 1) > 1:
        yield f"of {workload.gpus} GPUs one is used: tensor_parallel_size is 1"


def _decimal(share: Fraction) -> str:
    """Exact decimal of at least two places where there is one, else the fraction itself."""
    for places in range(2, 19):
        scaled = share * 10**places
        if scaled.denominator == 1:
            whole, rest = divmod(scaled.numerator, 10**places)
            return f"{whole}.{rest:0{places}d}"
    return str(share)
