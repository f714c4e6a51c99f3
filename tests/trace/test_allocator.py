"""The replayed allocator: each of PyTorch's rules by an example computed by hand, and what holds of any sequence."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import within

from vramguard.trace.allocator import MIB, MIN_BLOCK, Allocator, replay
from vramguard.trace.record import Allocation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.trace.allocator import Block


@pytest.mark.parametrize(
    ("asked", "given_out", "segment"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),  # the large pool, where 19 MiB less 512 bytes are split off
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # 1 MiB is not worth a block of its own
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),  # 512 bytes more are
        (7_516_192_768, 7_516_192_768, 7_516_192_768),
    ],
)
def test_sizes(asked: int, given_out: int, segment: int) -> None:
    allocator = Allocator()
    block = allocator.allocate(asked)
    assert (block.size, allocator.allocated, allocator.requested) == (given_out, given_out, asked)
    assert allocator.segments == [(0, segment)]
    assert allocator.reserved == segment


def test_a_segment_is_filled_before_the_next() -> None:
    allocator = Allocator()
    blocks = [allocator.allocate(MIB) for _ in range(3)]
    assert [block.address for block in blocks] == [0, MIB, 2 * MIB]
    assert allocator.segments == [(0, 2 * MIB), (2 * MIB, 2 * MIB)]


def test_pools_do_not_lend_to_each_other() -> None:
    allocator = Allocator()
    allocator.free(allocator.allocate(20 * MIB))
    allocator.allocate(MIB)
    assert allocator.reserved == 22 * MIB


def test_the_smallest_block_that_fits_is_taken() -> None:
    allocator = Allocator()
    large, wall, small, _ = (allocator.allocate(size * MIB) for size in (6, 2, 4, 2))  # of one segment of 20 MiB
    allocator.free(large)
    allocator.free(small)
    taken = allocator.allocate(4 * MIB - 512)
    assert taken.address == small.address
    assert taken.size == 4 * MIB  # 512 bytes are not split off in the large pool
    assert allocator.allocate(5 * MIB).address == large.address
    assert wall.address == 6 * MIB
    assert allocator.reserved == 20 * MIB


def test_of_equal_blocks_the_lower_is_taken() -> None:
    allocator = Allocator()
    first, second = allocator.allocate(12 * MIB), allocator.allocate(12 * MIB)
    allocator.free(second)
    allocator.free(first)
    assert allocator.allocate(12 * MIB).address == 0


def test_neighbours_are_joined() -> None:
    allocator = Allocator()
    blocks = [allocator.allocate(5 * MIB) for _ in range(4)]
    for position in (0, 2, 1, 3):
        allocator.free(blocks[position])
    assert allocator.allocate(20 * MIB).address == 0
    assert allocator.reserved == 20 * MIB


def test_segments_are_not_joined() -> None:
    allocator = Allocator()
    for block in [allocator.allocate(10 * MIB) for _ in range(2)]:
        allocator.free(block)
    allocator.allocate(20 * MIB)
    assert allocator.reserved == 40 * MIB


def storage(size: int, born: int, died: int | None) -> Allocation:
    return Allocation(size, (size,), "uint8", "", "aten.empty", born, died)


def test_fragmentation_is_what_no_request_could_use() -> None:
    # Four of 5 MiB share a segment; when every other one is gone, 10 MiB are free but not in one piece.
    quarters = [storage(5 * MIB, position, 4 if position % 2 else None) for position in range(4)]
    found = replay([30 * MIB], [*quarters, storage(10 * MIB, 5, None)])
    assert found.reserved_bytes == (30 + 20 + 10) * MIB
    assert found.allocated_bytes == found.requested_bytes == (30 + 20) * MIB
    assert found.fragmentation_bytes == 10 * MIB


def test_what_an_operation_does_not_see_is_free_for_its_result() -> None:
    found = replay([], [storage(12 * MIB, 0, 1), storage(12 * MIB, 1, 2)])
    assert found.reserved_bytes == 12 * MIB


def test_a_storage_that_is_gone_when_its_operation_ends_takes_no_block() -> None:
    assert replay([], [storage(MIB, 3, 3)]).reserved_bytes == 0


def test_weights_cut_from_one_block() -> None:
    weights = [15 * MIB, 15 * MIB, 0, 512]
    assert replay(weights, []).reserved_bytes == (16 + 16 + 2) * MIB
    warm = replay(weights, [], warm=True)
    assert warm.reserved_bytes == (32 + 2) * MIB  # 30 MiB and 512 bytes, rounded to 2 MiB; the last is small
    assert warm.fragmentation_bytes > 0


REQUESTS = st.lists(
    st.tuples(st.integers(1, 1 << 25) | st.sampled_from([1, 512, MIB, MIB + 1, 10 * MIB]), st.integers(0, 1 << 30)),
    max_size=60,
)


def played(requests: list[tuple[int, int]]) -> tuple[Allocator, list[Block]]:
    """Allocate each size; where the second number is odd, free a live block before."""
    allocator = Allocator()
    live: list[Block] = []
    for size, choice in requests:
        if choice % 2 and live:
            allocator.free(live.pop(choice // 2 % len(live)))
        live.append(allocator.allocate(size))
    return allocator, live


def chains(live: list[Block], allocator: Allocator) -> Iterator[list[Block]]:
    """Blocks of every segment from its first to its last."""
    free = [entry[2] for pool in allocator._free.values() for entry in pool]
    for first in (block for block in (*live, *free) if block.before is None):
        chain = [first]
        while chain[-1].after is not None:
            assert chain[-1].after.before is chain[-1]
            chain.append(chain[-1].after)
        yield chain


@given(REQUESTS)
def test_blocks_tile_their_segments(requests: list[tuple[int, int]]) -> None:
    allocator, live = played(requests)
    found = sorted(chains(live, allocator), key=lambda chain: chain[0].address)
    assert [(chain[0].address, sum(block.size for block in chain)) for chain in found] == allocator.segments
    for chain in found:
        for left, right in pairwise(chain):
            assert left.address + left.size == right.address
            assert not (left.free and right.free), "free neighbours are joined"
    assert sorted(block.address for block in live) == sorted(b.address for chain in found for b in chain if not b.free)


@given(REQUESTS)
def test_counts_add_up(requests: list[tuple[int, int]]) -> None:
    allocator, live = played(requests)
    assert allocator.allocated == sum(block.size for block in live)
    assert allocator.requested == sum(block.requested for block in live)
    assert allocator.reserved == sum(size for _, size in allocator.segments)
    assert allocator.requested <= allocator.allocated <= allocator.peak_allocated <= allocator.reserved
    for block in live:
        waste = block.size - block.requested
        assert 0 <= waste < MIN_BLOCK if block.small else 0 <= waste <= MIB + MIN_BLOCK


@given(REQUESTS)
def test_all_that_is_freed_can_be_given_out_again(requests: list[tuple[int, int]]) -> None:
    allocator, live = played(requests)
    for block in live:
        allocator.free(block)
    assert allocator.allocated == allocator.requested == 0
    reserved = allocator.reserved
    for _, size in allocator.segments[:]:
        allocator.allocate(size if size > 2 * MIB else MIB)
    assert allocator.reserved == reserved


@settings(max_examples=20)
@given(st.lists(st.integers(1, 1 << 25), max_size=20), REQUESTS)
def test_a_replay_reserves_what_it_gives_out(weights: list[int], requests: list[tuple[int, int]]) -> None:
    passed = [storage(size, born, born + 1 + choice % 9) for born, (size, choice) in enumerate(requests)]
    for warm in (False, True):
        found = replay(weights, passed, warm=warm)
        assert found.reserved_bytes >= found.allocated_bytes >= found.requested_bytes >= sum(weights)
        assert found.fragmentation_bytes >= 0


def test_it_is_fast() -> None:
    random = Random(1)  # noqa: S311 - reproducible, not secret
    sizes = [
        random.choice((100, 4096, 300_000, 2 * MIB, 64 * MIB, random.randrange(1, 100 * MIB))) for _ in range(50_000)
    ]
    passed = [storage(size, born, born + random.randrange(1, 200)) for born, size in enumerate(sizes)]
    with within(5):  # 100,000 events take 0.5 s where this was written
        replay([], passed)
