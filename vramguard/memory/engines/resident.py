"""Rows of the ledger for what a card of a serving engine holds once its model is loaded.

Engines fuse the matrices that read the same input: queries, keys and values; gate and up. Each tensor then stands in a
block of PyTorch's allocator, which is what an engine's log reports as the model's memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.rotary import rotary_tables
from vramguard.memory.engines.shards import held, shares
from vramguard.memory.ledger import Term, bound
from vramguard.memory.runtime import MIB
from vramguard.memory.weights import Loaded, weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.memory.engines.shards import Rank

ALLOCATOR: Final = "PyTorch, c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize, kSmallSize, kLargeBuffer, kRoundLarge"
_FUSED: Final = {
    "q_proj": "qkv_proj", "k_proj": "qkv_proj", "v_proj": "qkv_proj",
    "query": "qkv_proj", "key": "qkv_proj", "value": "qkv_proj",
    "gate_proj": "gate_up_proj", "up_proj": "gate_up_proj",
    "w1": "gate_up_proj", "w3": "gate_up_proj",
}  # fmt: skip


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


def resident(config: Mapping[str, Any], loaded: Loaded, rank: Rank) -> tuple[Term, ...]:
    """Weights and rotary tables of one card; raises UnprovenError (ParallelismError where sizes do not divide)."""
    least, most = (loaded._replace(network=network) for network in held(loaded.network, shares(loaded.network, rank)))
    lower = {term.name: term for term in weights(least)}
    rows: dict[str, list[tuple[Term, int]]] = defaultdict(list)
    for term in weights(most):
        found = lower.get(term.name)
        rows[_fused(term.name)].append((term, found.lower_bytes if found else 0))
    found_rows = tuple(_row(name, parts) for name, parts in rows.items())
    return (*found_rows, *(_table(term) for term in rotary_tables(config, loaded.network, loaded.element_bytes)))


def _fused(name: str) -> str:
    """Name of the engine's tensor that a tensor is a part of."""
    head, dot, leaf = name.rpartition(".")
    path, _, module = head.rpartition(".")
    if module not in _FUSED or (module in _QUERY_ONLY and not path.endswith(_ATTENTION)):
        return name
    return f"{path}.{_FUSED[module]}{dot}{leaf}"


_QUERY_ONLY: Final = frozenset(("query", "key", "value"))
_ATTENTION: Final = ("attention", "attn", "self")


def _row(name: str, parts: Sequence[tuple[Term, int]]) -> Term:
    """One tensor of the engine, in its copies: at least its bytes, at most its block."""
    copies = parts[0][0].inputs["copies"]
    if any(term.inputs["copies"] != copies for term, _ in parts):
        raise UnprovenError(f"{name}: its parts are not in the same layers")
    sizes = {_input(term, place): -(-term.upper_bytes // copies) for place, (term, _) in enumerate(parts)}
    total = sum(sizes.values())
    inputs = {"copies": copies, **sizes, "unsplit": block(total) - total, "least": sum(lower for _, lower in parts)}
    said = " + ".join((*sizes, "unsplit"))
    return bound(name, f"copies * ({said})", inputs, lower="least", source=ALLOCATOR)


def _input(term: Term, place: int) -> str:
    """A name of the ledger's grammar for a part."""
    module = term.name.rpartition(".")[0].rpartition(".")[2]
    name = re.sub(r"[^A-Za-z0-9_]", "", module)
    return f"{name}_bytes" if name and not name[0].isdigit() else f"part_{place}_bytes"


def _table(term: Term) -> Term:
    inputs = {**term.inputs, "unsplit": block(term.upper_bytes) - term.upper_bytes}
    return bound(term.name, f"{term.formula} + unsplit", inputs, lower=str(term.lower_formula), source=term.source)


def rounding(rows: Sequence[Term], tensors: int) -> Iterator[Term]:
    """What blocks may hold beyond `block`: of those below 10 MiB one may be the last of its segment of 20 MiB.

    `tensors` are others that stay, such as those of the cache; 64 transient ones and an unfinished segment of each pool
    (20 and 2 MiB) come to them.
    """
    shared = sum(term.inputs["copies"] for term in rows if "copies" in term.inputs and MIB < _each(term) < 10 * MIB)
    inputs = {"shared_segments": shared, "tensors": tensors}
    yield bound(
        "runtime/allocator_rounding", "(shared_segments // 2 + tensors + 64 + 22) * 1048576", inputs, source=ALLOCATOR
    )


def _each(term: Term) -> int:
    return term.upper_bytes // term.inputs["copies"]
