"""PyTorch's caching allocator, replayed over tensors that stay: what their blocks hold beyond `resident.block`.

Of tensors below 10 MiB several share a segment of 20, and one that leaves no more than 1 MiB of it holds that as well.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

from vramguard.memory.ledger import bound
from vramguard.memory.runtime import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory.ledger import Term

_SOURCE: Final = "PyTorch, c10/cuda/CUDACachingAllocator.cpp: get_free_block (best fit), should_split, kLargeBuffer"
_MOST: Final = 100_000  # tensors that are replayed


def rests(rows: Sequence[Term]) -> Iterator[Term]:
    """A row of what the last tensors of shared segments hold beside their own, as layers are built in order."""
    sizes = list(_sequence(rows))
    if not sizes or len(sizes) > _MOST:
        return
    beyond = _allocated(sizes) - sum(sizes)
    if beyond > 0:
        yield bound("weights/segment_rests", "rests", {"rests": beyond}, source=_SOURCE)


def _sequence(rows: Sequence[Term]) -> Iterator[int]:
    """Bytes of each tensor that shares a segment: layer by layer, each in the order of its rows."""
    found = [(row.inputs["copies"], row.upper_bytes // row.inputs["copies"]) for row in rows if "copies" in row.inputs]
    shared = [(copies, size) for copies, size in found if MIB < size < 10 * MIB]
    for place in range(max((copies for copies, _ in shared), default=0)):
        yield from (size for copies, size in shared if place < copies)


def _allocated(sizes: Sequence[int]) -> int:
    """Bytes of the blocks that tensors of these sizes get, one after the other, none of them given back."""
    free: list[int] = []
    total = 0
    for asked in sizes:
        size = -(-asked // 512) * 512
        place = bisect_left(free, size)
        room = free.pop(place) if place < len(free) else 20 * MIB
        split = room - size > MIB
        if split:
            insort(free, room - size)
        total += size if split else room
    return total
