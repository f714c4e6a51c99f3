"""PyTorch's caching allocator over a sequence of requests: what it reserves of the card, beyond what it has given out.

A block that is freed stays the allocator's and is joined with its free neighbours; a request takes the smallest free
block of its pool that is large enough, and what remains is split off where it is worth keeping. Only where no block
fits is a new segment taken from CUDA, and none is given back. One stream, no graph capture, default settings.

Read from PyTorch 2.13: c10/core/AllocatorConfig.h (the sizes), c10/cuda/CUDACachingAllocator.cpp (round_size, get_pool,
get_free_block, get_allocation_size, should_split, try_merge_blocks).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vramguard.trace.record import Allocation

MIB: Final = 1 << 20
MIN_BLOCK: Final = 512  # kMinBlockSize: every request is rounded up to a multiple of it
SMALL: Final = MIB  # kSmallSize: the largest request that the small pool serves
SMALL_SEGMENT: Final = 2 * MIB  # kSmallBuffer
MIN_LARGE: Final = 10 * MIB  # kMinLargeAlloc: from here on a request has a segment of its own size
LARGE_SEGMENT: Final = 20 * MIB  # large_segment_size: for what is below that
ROUND_LARGE: Final = 2 * MIB  # kRoundLarge: what a segment of its own size is rounded up to


class Block:
    """A stretch of one segment; `before` and `after` are its neighbours there."""

    __slots__ = ("address", "after", "before", "free", "requested", "size", "small")

    def __init__(self, address: int, size: int, *, small: bool) -> None:
        self.address, self.size, self.small = address, size, small
        self.before: Block | None = None
        self.after: Block | None = None
        self.free = True
        self.requested = 0  # bytes that were asked for


class Allocator:
    """The allocator's state. Segments lie at rising addresses: of two equally small blocks the older one is taken."""

    def __init__(self) -> None:
        self.reserved = self.allocated = self.requested = 0  # bytes: taken from CUDA, in blocks given out, asked for
        self.peak_allocated = self.peak_requested = 0
        self.segments: list[tuple[int, int]] = []  # address and size
        self._free: dict[bool, list[tuple[int, int, Block]]] = {True: [], False: []}
        self._end = 0

    def allocate(self, size: int) -> Block:
        """Give out a block of at least `size` bytes, a positive number."""
        rounded = _up(size, MIN_BLOCK)
        block = self._best(rounded) or self._segment(rounded)
        self._split(block, rounded)
        block.free, block.requested = False, size
        self.allocated += block.size
        self.requested += size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.peak_requested = max(self.peak_requested, self.requested)
        return block

    def free(self, block: Block) -> None:
        """Take a block back."""
        self.allocated -= block.size
        self.requested -= block.requested
        block.free = True
        for other in (block.before, block.after):
            if other is not None and other.free:
                self._remove(other)
                block = _joined(block, other)
        self._insert(block)

    def _best(self, size: int) -> Block | None:
        """Take the smallest free block of the pool that is large enough; of equal ones that at the lowest address."""
        free = self._free[size <= SMALL]
        position = bisect_left(free, (size, -1))
        return free.pop(position)[2] if position < len(free) else None

    def _segment(self, size: int) -> Block:
        length = _segment_length(size)
        block = Block(self._end, length, small=size <= SMALL)
        self.segments.append((self._end, length))
        self._end += length
        self.reserved += length
        return block

    def _split(self, block: Block, size: int) -> None:
        """Keep the front of a block and free the rest, where the rest is worth it."""
        rest = block.size - size
        if rest < MIN_BLOCK if block.small else rest <= SMALL:
            return
        block.size = size
        tail = Block(block.address + size, rest, small=block.small)
        tail.before, tail.after = block, block.after
        if block.after is not None:
            block.after.before = tail
        block.after = tail
        self._insert(tail)

    def _insert(self, block: Block) -> None:
        insort(self._free[block.small], (block.size, block.address, block))

    def _remove(self, block: Block) -> None:
        free = self._free[block.small]
        del free[bisect_left(free, (block.size, block.address))]


@dataclass(frozen=True, slots=True)
class Replay:
    """What the allocator came to."""

    reserved_bytes: int  # of the card, at the end: nothing is given back
    allocated_bytes: int  # most in blocks that were given out at once
    requested_bytes: int  # most that was asked for at once

    @property
    def fragmentation_bytes(self) -> int:
        """Reserved beyond the blocks of the worst moment: free, but of no use to any request that came."""
        return self.reserved_bytes - self.allocated_bytes


def replay(weights: Iterable[int], allocations: Sequence[Allocation], *, warm: bool = False) -> Replay:
    """Allocate weights of these bytes, each by itself and in order, then all that a traced pass does.

    `warm`: as from_pretrained with a device_map does, ask first for one block as large as all weights and free it, so
    that the weights are cut from it (transformers 5.23, modeling_utils.caching_allocator_warmup).
    """
    allocator = Allocator()
    sizes = [size for size in weights if size]
    if warm and sizes:
        allocator.free(allocator.allocate(sum(sizes)))
    for size in sizes:
        allocator.allocate(size)
    blocks: dict[int, Block] = {}
    for number, born in _events(allocations):
        if born:
            blocks[number] = allocator.allocate(allocations[number].bytes)
        else:
            allocator.free(blocks.pop(number))
    return Replay(allocator.reserved, allocator.peak_allocated, allocator.peak_requested)


def _events(allocations: Sequence[Allocation]) -> Iterator[tuple[int, bool]]:
    """Number of an allocation and whether it is born or dies, in order: what an operation does not see dies before."""
    events: list[tuple[int, bool, int]] = []
    for number, item in enumerate(allocations):
        if item.died is None or item.died > item.born:
            events.append((item.born, True, number))
            if item.died is not None:
                events.append((item.died, False, number))
    return ((number, born) for _, born, number in sorted(events))


def _segment_length(size: int) -> int:
    """What CUDA is asked for when no free block serves a rounded request (get_allocation_size)."""
    if size <= SMALL:
        return SMALL_SEGMENT
    return LARGE_SEGMENT if size < MIN_LARGE else _up(size, ROUND_LARGE)


def _joined(first: Block, second: Block) -> Block:
    """Two neighbours as one block."""
    low, high = (first, second) if first.address < second.address else (second, first)
    low.size += high.size
    low.after = high.after
    if high.after is not None:
        high.after.before = low
    return low


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
