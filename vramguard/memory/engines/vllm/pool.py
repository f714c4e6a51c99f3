"""What vLLM takes of a card at start, and what of it is left for the cache."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.engines import Holding
from vramguard.memory.engines.vllm import batch
from vramguard.memory.engines.vllm.profiles import measured
from vramguard.memory.weights import quantizer_assumptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory.engines.shards import Rank
    from vramguard.memory.engines.vllm.manager import KVCache
    from vramguard.memory.engines.vllm.plan import Serving
    from vramguard.memory.engines.vllm.variants import Variant
    from vramguard.memory.ledger import Term

_MEASURED_RANKS: Final = 4
# Rows that torch's peak does not count where the memory outside of it is measured by itself.
_UNCOUNTED: Final = (
    "runtime/model_runner_buffers",
    "runtime/allocator_rounding",
    "runtime/sampler_state",
    "runtime/latent_workspace",
)


# Rows that may stand before the baseline (buffers of all-reduce) or come after the profile run (what the builders of
# attention metadata make: v1/attention/backends/flashinfer.py, mla_attention.py), and so outside of the share.
_EARLY_OR_LATE: Final = ("runtime/all_reduce", "runtime/flashinfer_workspace", "runtime/latent_workspace")


class _Room(NamedTuple):
    """Bytes of cache on one rank as one variant counts them, and what it holds outside of its share."""

    cache: KVCache
    lower: int
    upper: int
    outside: int
    reserved: int
    admitted: bool | None = True  # whether as much is free at start as is requested; None: between the bounds


def utilization(serving: Serving, variant: Variant) -> str:
    """The share of the card, as it is stated or by default."""
    return serving.ask.workload.gpu_memory_utilization or variant.profile.gpu_memory_utilization


def holding(serving: Serving, tokens: int) -> Holding:
    """The most that is taken, and the cache between the bounds of every variant and rank."""
    ways = product(serving.variants, serving.grid, serving.cache_dtypes)
    rooms = [_room(serving, tokens, rank, variant, dtype) for variant, rank, dtype in ways]
    workload = serving.ask.workload
    least = min(rooms, key=lambda room: room.lower)
    blocks = min(_blocks(workload.num_gpu_blocks_override, room.cache, room.lower) for room in rooms)
    concurrency = least.cache.max_concurrency(blocks, tokens) if least.cache.groups else Fraction(0)
    explicit = workload.kv_cache_memory_bytes is not None or workload.num_gpu_blocks_override is not None
    most = max(rooms, key=lambda room: room.reserved)
    return Holding(
        reserved_bytes=most.reserved,
        outside_bytes=max(room.outside for room in rooms),
        lower_bytes=max(least.lower, 0),
        upper_bytes=max(room.upper for room in rooms),
        tokens=least.cache.capacity(blocks, tokens) if least.cache.groups else 0,
        concurrency=(concurrency.numerator, concurrency.denominator),
        starts=_starts(rooms, tokens),
        utilization=None if explicit else utilization(serving, serving.variants[-1]),
        refusal=_refusal(serving, tokens),
    )


def _blocks(override: int | None, cache: KVCache, available: int) -> int:
    return cache.blocks(available) if override is None else override


def _starts(rooms: Sequence[_Room], tokens: int) -> bool | None:
    if all(room.admitted and room.lower >= room.cache.required(tokens) for room in rooms):
        return True
    barred = (room.admitted is False or room.upper < room.cache.required(tokens) for room in rooms)
    return False if all(barred) else None


def _refusal(serving: Serving, tokens: int) -> str | None:
    longest = _longest(serving.ask.config, serving.network.context)
    if not longest or tokens <= longest:
        return None
    return (
        f"max_model_len {tokens:,} is above the {longest:,} positions of its config, "
        "which vLLM refuses unless VLLM_ALLOW_LONG_MAX_MODEL_LEN is set"
    )


def _longest(config: Any, context: int) -> int:  # noqa: ANN401 - JSON
    """Positions that the config allows, a scaling of them included (vLLM, config/model.py: _get_and_verify_max_len)."""
    inner = config.get("text_config")
    config = inner if isinstance(inner, dict) else config
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    factor = scaling.get("factor") if isinstance(scaling, dict) else None
    if isinstance(factor, int | float) and not isinstance(factor, bool) and 1 < factor < 10**6:
        return int(context * Fraction(factor))
    return context


def _room(serving: Serving, tokens: int, rank: Rank, variant: Variant, dtype: str) -> _Room:
    step = serving.step_of(tokens, rank, variant)
    cache = serving.cache_of(rank, variant, step.sizes, dtype)
    held = (*step.resident, *batch.activations(step), *batch.runtime(step, cache))
    workload = serving.ask.workload
    outside = _outside(step, held) | {term.name: term.upper_bytes for term in batch.kernels(step)}
    inside = [term for term in held if term.name not in outside]
    beyond = sum(outside.values()) + batch.encoder_outside(step)
    if workload.kv_cache_memory_bytes is not None or workload.num_gpu_blocks_override is not None:
        asked = workload.kv_cache_memory_bytes or (workload.num_gpu_blocks_override or 0) * cache.bytes_per_block
        taken = asked + sum(term.upper_bytes for term in (*held, *batch.kernels(step)))
        return _Room(cache, asked, asked, taken, taken)
    share = Fraction(utilization(serving, variant)) * serving.ask.device.capacity_bytes
    requested = ceil(share)
    graphs = _graphs_inside(held) if profile_counts_graphs(variant) else 0
    doubtful, beside = _either(step), sum(term.upper_bytes for term in inside if term.name in _EARLY_OR_LATE)
    lower = requested - sum(term.upper_bytes for term in inside) - graphs - doubtful
    # Weights that stay on the host leave their bytes to the cache.
    weights = sum(term.lower_bytes for term in step.resident)
    upper = requested - sum(term.lower_bytes for term in inside) + min(serving.offload_bytes, weights)
    beyond += doubtful + beside
    return _Room(cache, lower, upper, beyond, requested + beyond, _admitted(step, held, requested))


def _either(step: batch.Step) -> int:
    """Bytes that were measured on one side of another baseline: here they may stand on both.

    Communicators were measured before it and count as growth where the baseline is older than they; handles of cuBLAS
    were measured as growth, and stand before the baseline since that is taken after them.
    """
    if step.variant.profile.baseline == "libraries":
        return measured("non_torch", "1").upper_bytes
    if step.variant.profile.baseline == "context" and step.ranks != "1":
        return measured("start", step.ranks).upper_bytes - measured("start", "1").lower_bytes
    return 0


def _admitted(step: batch.Step, held: Sequence[Term], requested: int) -> bool | None:
    """Whether vLLM finds as much free as it is to take, or refuses (v1/worker/utils.py, request_memory)."""
    if step.variant.profile.baseline == "everything":
        return True  # there is no such check yet (0.8.5, v1/worker/gpu_worker.py, Worker.init_device)
    start = next(term for term in held if term.name == "runtime/start")
    free = step.device.capacity_bytes - requested
    return True if start.upper_bytes <= free else None if start.lower_bytes <= free else False


def profile_counts_graphs(variant: Variant) -> bool:
    """Whether an estimate of what graphs take is subtracted from the cache."""
    return variant.profile.graphs_within_v2 if variant.runner == "v2" else variant.profile.graphs_within_v1


def _graphs_inside(held: Sequence[Term]) -> int:
    """The most that the estimate may be: what graphs take, and what it was seen to be too large by."""
    taken = next((term.upper_bytes for term in held if term.name == "runtime/cuda_graphs"), None)
    return 0 if taken is None else taken - measured("graphs_beyond_estimate", "any").lower_bytes


def _outside(step: batch.Step, held: Sequence[Term]) -> dict[str, int]:
    """Rows that a variant holds on top of its share, at most, by name."""
    profile = step.variant.profile
    rows = {term.name: term.upper_bytes for term in held}
    found = {}
    if profile.baseline != "everything":
        found["runtime/start"] = rows["runtime/start"]
        if profile.consumed == "peak":
            found |= {name: rows[name] for name in _UNCOUNTED if name in rows}
    if "runtime/kv_connector" in rows:  # while serving, long after the profile run
        found["runtime/kv_connector"] = rows["runtime/kv_connector"]
    if "runtime/cuda_graphs" in rows:
        beyond = measured("graphs_beyond_estimate", "any").upper_bytes
        found["runtime/cuda_graphs"] = beyond if profile_counts_graphs(step.variant) else rows["runtime/cuda_graphs"]
    if step.variant.runner == "v2" and not profile.v2_samples_at_profile:
        found["sampling"] = step.loaded.network.vocab * profile.sampled_bytes(step.sizes.sequences)
    return found


def assumptions(serving: Serving, tokens: int) -> Iterator[str]:
    """What a proof of vLLM rests on, in sentences: first what nobody stated."""
    workload = serving.ask.workload
    if workload.engine_version is None:
        yield "engine_version is not stated; each row is the largest of every release from 0.10.1 to 0.33"
    elif len(serving.variants) > 1:
        ways = f"the {len(serving.variants)} ways in which it may behave"
        yield f"vllm {workload.engine_version}: each row is the largest of {ways}"
    yield from _unstated(serving, tokens)
    yield from _asked(serving, tokens)
    yield from _ASSUMPTIONS
    if workload.attn_implementation == "flashinfer":
        yield "graphs with FlashInfer take no more than with FlashAttention, with which they were measured"
    if workload.kv_connector is not None:
        yield f"{workload.kv_connector} moves the cache in place by UCX's defaults, and by no other backend of NIXL"
    if serving.grid[0].towers and serving.grid[0].tensor_parallel > 1:
        yield "the tower is split as the language model is: --mm-encoder-tp-mode is not data"
    if (workload.data_parallel_size or 1) > 1:
        yield "experts are exchanged by all-gather and reduce-scatter, not by an all-to-all with buffers of its own"
    if (workload.tensor_parallel_size or 1) > _MEASURED_RANKS:
        yield f"communicators take no more than among {_MEASURED_RANKS} ranks, which is where they were measured"
    if not serving.ask.device.name.startswith("h100"):
        yield "context, graphs and libraries were measured on H100 80GB only, and are taken to be no larger here"


def _asked(serving: Serving, tokens: int) -> Iterator[str]:
    """What the checkpoint and the deployment ask for, and what it means."""
    workload = serving.ask.workload
    yield from quantizer_assumptions(serving.loaded)
    seen = batch.encoder_assumption(serving.step_of(tokens, serving.grid[0], serving.variants[-1]))
    if seen is not None:
        yield seen
    if len(serving.cache_dtypes) > 1:
        yield "the checkpoint asks for a cache in fp8, which some releases obey: both ways are bounded"
    if workload.swap_space is not None:
        yield f"swap_space {workload.swap_space} is memory of the host: no byte of the card is saved by it"
    if serving.network.tied:
        yield "tied weights are equal in the checkpoint"


def _unstated(serving: Serving, tokens: int) -> Iterator[str]:
    workload = serving.ask.workload
    if workload.dtype in (None, "auto"):
        yield f"dtype is not stated; {serving.loaded.dtype} is assumed, as vLLM takes it"
    if workload.max_model_len is None:
        yield f"max_model_len is not stated; the config's full context of {tokens} is assumed"
    if workload.concurrency is None:
        yield "concurrency is not stated; one sequence of the full context at a time is demanded, others wait"
    if workload.max_num_seqs is None or workload.max_num_batched_tokens is None:
        yield f"the batch is not stated; the defaults of `vllm serve` on {serving.ask.device.name} are assumed"
    if workload.gpu_memory_utilization is None and workload.kv_cache_memory_bytes is None:
        yield f"gpu_memory_utilization is not stated; {utilization(serving, serving.variants[-1])} is assumed"


_ASSUMPTIONS: Final = (
    "sole tenant of the card: no other process, display or MIG neighbour uses its memory",
    "no leak: nothing but what a batch needs is kept from one to the next",
    "prefix caching and chunked prefill as the release has them by default; no log-probabilities of the prompt",
    "layers are dealt to pipeline stages by default, not by VLLM_PP_LAYER_PARTITION",
    "graphs, communicators and libraries take no more than in the start-up logs that the measured rows name",
    "experts are loaded evenly: no card is sent more tokens than a batch has",
)
