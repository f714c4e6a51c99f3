"""What can be said of a network that no family knows, by a table of its tensors: what it takes at least.

The table is exact for the weights. What a forward pass takes beside them is not in it, so such a proof never answers
FITS; it answers EXCEEDS where the weights, and a cache that the table confirms, are over the budget by themselves.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vramguard.memory.ledger import Ledger, Term, bound
from vramguard.memory.verdict import Answer, Totals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.memory.verdict import Proof, Workload

_BYTES: Final = {"float16": 2, "bfloat16": 2, "float32": 4}
_LEAST: Final = 2  # bytes of an element, where no dtype is named: every engine loads what is not packed in two at least
# Keys of a config by which a layer may keep less than every token, or nothing.
_SPARING: Final = (
    "window",
    "layer_types",
    "chunk",
    "compress",
    "latent",
    "lora_rank",
    "linear",
    "ssm",
    "mamba",
    "state",
)
# What may leave weights, or the cache, off the card.
_ELSEWHERE: Final = ("cpu_offload_gb", "swap_space", "device_map", "n_gpu_layers")
CONFIRMED: Final = "kv_cache/confirmed"  # the row of a cache whose projections the table has
_SOURCE: Final = "the table of tensors in vramguard.lock"


class Row(Protocol):
    """`copies` weights of one shape."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def copies(self) -> int: ...


class _Heads(NamedTuple):
    """Layers that keep keys and values of every token, and the elements of each."""

    layers: int
    width: int
    context: int


def weigh(proof: Proof, config: Mapping[str, Any], rows: Sequence[Row]) -> Proof:
    """The proof of a network that is not known, with what its table says: EXCEEDS, or still UNKNOWN and why."""
    elements = sum(prod(row.shape) * row.copies for row in rows)
    known = replace(proof, parameters=elements)
    refused = _refused(proof.workload, config)
    if refused:
        return replace(known, reason=f"{proof.reason}; its tensors are in the lock, but {refused}")
    ledger = Ledger(tuple(_least(proof.workload, config, rows, elements)))
    least = ledger.lower_bytes()
    if least <= proof.budget_bytes:
        beside = f"its weights and cache take {least} bytes of each card at least, and what a pass takes is not known"
        return replace(known, reason=f"{proof.reason}; by the lock's table of tensors {beside}")
    totals = Totals(ledger.upper_bytes("weights"), ledger.upper_bytes("kv_cache"), 0, 0, 0, 0, least, ledger.upper_bytes())
    return replace(
        known,
        answer=Answer.EXCEEDS,
        reason=f"the peak is at least {least} bytes, the budget {proof.budget_bytes}",
        ledger=ledger,
        totals=totals,
        headroom_bytes=proof.budget_bytes - totals.peak_upper_bytes,
        assumptions=("weights by the lock's table of tensors; what a pass takes beside them is not counted",),
    )


def _refused(workload: Workload, config: Mapping[str, Any]) -> str:
    """Why not even the weights are known; empty where they are."""
    if workload.mode not in (None, "inference"):
        return f"mode {workload.mode} is not supported yet"
    if workload.quantization is not None or config.get("quantization_config") or config.get("compression_config"):
        return "a quantizer packs them"
    for name in _ELSEWHERE:
        if getattr(workload, name) is not None:
            return f"{name} may leave some of them off the card"
    return ""


def _least(workload: Workload, config: Mapping[str, Any], rows: Sequence[Row], elements: int) -> Iterator[Term]:
    dtype = workload.dtype if workload.dtype in _BYTES else config.get("dtype") or config.get("torch_dtype")
    cards = (workload.tensor_parallel_size or 1) * (workload.pipeline_parallel_size or 1)
    cards = max(cards, workload.gpus or 1) * (workload.data_parallel_size or 1)
    inputs = {"elements": elements, "bytes": _BYTES.get(str(dtype), _LEAST), "cards": cards}
    # Some card has at least the mean, however they are dealt.
    least = "ceil_div(elements * bytes, cards)"
    yield bound("weights/table", "elements * bytes", inputs, lower=least, source=_SOURCE)
    heads = _heads(config, rows)
    tokens = workload.max_model_len or (heads.context if heads else 0)
    if heads is not None and tokens:
        kept = {"layers": heads.layers, "width": heads.width, "tokens": tokens, "cards": cards}
        kept |= {"sequences": workload.concurrency or 1}
        kept |= {"bytes": inputs["bytes"] if workload.kv_cache_dtype in (None, "auto") else 1}
        whole = "2 * layers * width * tokens * sequences * bytes"
        yield bound(CONFIRMED, whole, kept, lower=f"ceil_div({whole}, cards)", source=_SOURCE)


def _heads(config: Mapping[str, Any], rows: Sequence[Row]) -> _Heads | None:
    """Keys and values by the config's usual words, where the table's projections are of that very size; else None."""
    if any(word in key and value not in (None, False, 0) for key, value in config.items() for word in _SPARING):
        return None
    layers, heads = config.get("num_hidden_layers"), config.get("num_key_value_heads")
    queries, hidden, width = (config.get(key) for key in ("num_attention_heads", "hidden_size", "head_dim"))
    whole = [value for value in (layers, heads, queries, hidden) if type(value) is int and value > 0]
    if len(whole) != 4:  # noqa: PLR2004 - all of them
        return None
    each = width if type(width) is int else whole[3] // whole[2]
    for name in ("k_proj.weight", "v_proj.weight"):
        found = [row for row in rows if row.name.endswith(f".{name}")]
        if len(found) != 1 or found[0].copies != whole[0] or found[0].shape[:1] != (whole[1] * each,):
            return None
    context = config.get("max_position_embeddings")
    return _Heads(whole[0], whole[1] * each, context if type(context) is int else 0)
