"""Rows of the ledger for what a card of a serving engine holds once its model is loaded.

Engines fuse the matrices that read the same input: queries, keys and values; gate and up. Each tensor then stands in a
block of PyTorch's allocator, which is what an engine's log reports as the model's memory.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.engines.rotary import rotary_tables
from vramguard.memory.engines.segments import rests
from vramguard.memory.engines.shards import Share, held, shares
from vramguard.memory.ledger import Term, bound, exact
from vramguard.memory.runtime import MIB
from vramguard.memory.weights import Loaded, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vramguard.memory.architecture import Tensor
    from vramguard.memory.engines.shards import Rank

ALLOCATOR: Final = "PyTorch, c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize, kSmallSize, kLargeBuffer, kRoundLarge"
_FUSED: Final = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "query": "qkv_proj", "key": "qkv_proj", "value": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
    "w1": "gate_up_proj", "w3": "gate_up_proj",
    "q_a_proj": "fused_qkv_a_proj", "kv_a_proj_with_mqa": "fused_qkv_a_proj",
    "in_proj_qkv": "in_proj_qkvz", "in_proj_z": "in_proj_qkvz",
    "in_proj_b": "in_proj_ba", "in_proj_a": "in_proj_ba",
}  # fmt: skip
_FUSED_LATER: Final = ("fused_qkv_a_proj", "in_proj_qkvz", "in_proj_ba")  # in some releases; apart in others


def block(size: int) -> int:
    """Bytes of the allocator's block for a tensor of `size` bytes that stays.

    A segment's rest is split off where it is more than 1 MiB (512 bytes for segments of 2 MiB); the largest tensors
    have a segment each, of a whole number of 2 MiB.
    """
    size = -(-size // 512) * 512
    if size <= MIB:
        return size
    segment = 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
    return size if segment - size > MIB else segment


def resident(
    config: Mapping[str, Any],
    loaded: Loaded,
    rank: Rank,
    pad: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] | None = None,
    float32: tuple[str, ...] = (),
) -> tuple[Term, ...]:
    """Weights and rotary tables of one card; raises UnprovenError (ParallelismError where sizes do not divide).

    `pad` gives the shapes that the engine's kernels ask of a card's share, at least and at most. `float32` are patterns
    of weights that the engine may keep in float32, as those of `Architecture.float32`.
    """
    found = shares(loaded.network, rank)
    if pad is not None:
        found = tuple(Share(share.least and pad[0](share.least), pad[1](share.most)) for share in found)
    least, most = (loaded._replace(network=network) for network in held(loaded.network, found))
    most = most._replace(network=replace(most.network, float32=(*most.network.float32, *float32)))
    lower = dict(_numbered(weights(least, packed=True)))
    rows: dict[tuple[str, int, int], list[tuple[Term, int]]] = defaultdict(list)
    for (name, copies, place), term in _numbered(weights(most, packed=True)):
        least_of = lower.get((name, copies, place))
        rows[_fused(name), copies, place].append((term, min(least_of.lower_bytes, term.upper_bytes) if least_of else 0))
    stacks = {tensor.name: tensor.shape[0] for tensor in most.network.tensors if _stacks(tensor)}
    found_rows = tuple(_row(name, parts, stacks.get(name.split("/")[1], 1)) for (name, _, _), parts in rows.items())
    tables = (_table(term) for term in rotary_tables(config, loaded.network, loaded.element_bytes))
    return (*found_rows, *tables, *rests([row for row in found_rows if not _one_each(row.name)]))


def _numbered(terms: Iterable[Term]) -> Iterator[tuple[tuple[str, int, int], Term]]:
    """Each row with its name, its copies, and which of several alike it is: layers of other sizes repeat a name."""
    seen: Counter[tuple[str, int]] = Counter()
    for term in terms:
        key = term.name, term.inputs["copies"]
        yield (*key, seen[key]), term
        seen[key] += 1


def _fused(name: str) -> str:
    """Name of the engine's tensor that a tensor is a part of."""
    head, dot, leaf = name.rpartition(".")
    path, _, module = head.rpartition(".")
    if module not in _FUSED or (module in _QUERY_ONLY and not path.endswith(_ATTENTION)):
        return name
    return f"{path}.{_FUSED[module]}{dot}{leaf}"


_QUERY_ONLY: Final = frozenset(("query", "key", "value"))
_ATTENTION: Final = ("attention", "attn", "self")


def _stacks(tensor: Tensor) -> bool:
    return tensor.kind == "experts" and len(tensor.shape) == 3  # noqa: PLR2004


def _row(name: str, parts: Sequence[tuple[Term, int]], stack: int) -> Term:
    """One tensor of the engine, in its copies: at least its bytes, at most its block.

    A quantizer's rows have a copy for each of a `stack` of experts, which are one tensor of the engine, and whose block
    is no more than 1 MiB larger: `rounding` counts that.
    """
    first, copies = parts[0][0], parts[0][0].inputs["copies"]
    if stack > 1 and name.count("/") > 1 and copies % stack == 0:
        return _stacked_row(first, parts[0][1], stack)
    sizes = {_input(term, place): -(-term.upper_bytes // copies) for place, (term, _) in enumerate(parts)}
    total, lower = sum(sizes.values()), sum(least for _, least in parts)
    apart = sum(block(size) for size in sizes.values()) if name.rpartition(".")[0].endswith(_FUSED_LATER) else 0
    unsplit = 0 if _one_each(name) else max(block(total), apart) - total
    if not unsplit and lower == copies * total:
        return first if len(parts) == 1 else exact(name, f"copies * ({' + '.join(sizes)})", {"copies": copies, **sizes})
    inputs = {"copies": copies, **sizes, "unsplit": unsplit, "least": lower}
    said = " + ".join((*sizes, "unsplit"))
    return bound(name, f"copies * ({said})", inputs, lower="least", source=ALLOCATOR)


def _stacked_row(term: Term, least: int, stack: int) -> Term:
    layers, each = term.inputs["copies"] // stack, -(-term.upper_bytes // term.inputs["copies"])
    inputs = {"copies": layers, "stack": stack, "expert": each}
    formula = "copies * stack * expert"
    if least == layers * stack * each:
        return exact(term.name, formula, inputs)
    return bound(term.name, formula, {**inputs, "least": least}, lower="least", source=ALLOCATOR)


def _one_each(name: str) -> bool:
    """Whether a row has one copy for each expert: engines stack them, one tensor for a layer."""
    return ".experts." in name and name.count("*") > 1


def _input(term: Term, place: int) -> str:
    """A name of the ledger's grammar for a part."""
    module = term.name.partition("/")[2].rpartition(".")[0].rpartition(".")[2]
    name = re.sub(r"[^a-z0-9_]", "", module.lower())
    return f"{name}_bytes" if name and name[0].isalpha() else f"part_{place}_bytes"


def _table(term: Term) -> Term:
    inputs = {**term.inputs, "unsplit": block(term.upper_bytes) - term.upper_bytes}
    return bound(term.name, f"{term.formula} + unsplit", inputs, lower=str(term.lower_formula), source=term.source)


def rounding(rows: Sequence[Term], tensors: int) -> Iterator[Term]:
    """What blocks may hold beyond `block`: of those below 10 MiB one may be the last of its segment of 20 MiB.

    `tensors` are others that stay, such as those of the cache; 64 transient ones and an unfinished segment of each pool
    (20 and 2 MiB) come to them. Experts that are rows of their own are stacked, one tensor for each layer.
    """
    counted = [term for term in rows if "copies" in term.inputs and not _one_each(term.name)]
    shared = sum(term.inputs["copies"] for term in counted if MIB < _each(term) < 10 * MIB)
    stacked = sum(_one_each(term.name) or "stack" in term.inputs for term in rows)
    inputs = {"shared_segments": shared, "tensors": tensors, "stacked": stacked}
    formula = "(shared_segments // 2 + (1 + stacked) * tensors + 64 + 22) * 1048576"
    yield bound("runtime/allocator_rounding", formula, inputs, source=ALLOCATOR)


def _each(term: Term) -> int:
    return term.upper_bytes // term.inputs["copies"]
