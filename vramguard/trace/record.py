"""What a traced pass allocated: values only, no torch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate


class TraceError(Exception):
    """The pass could not be traced; the message says why, and names the class of transformers."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """One storage made during the pass, with the tensor that the operation which made it returned."""

    bytes: int  # of the storage, as asked for: not rounded
    shape: tuple[int, ...]
    dtype: str  # "bfloat16"
    module: str  # qualified name of the innermost module whose forward was running, "" outside any
    operator: str  # "aten.mm.default"
    born: int  # operations that had ended when it was made: the position of the one that made it
    died: int | None  # position of the first operation that does not see it any more; None: alive at the end
    cache: int | None = None  # layer of the cache that holds it at the end of the pass


@dataclass(frozen=True)
class Trace:
    """Every storage of one pass in the order of birth; weights and buffers left out."""

    allocations: tuple[Allocation, ...]
    operations: int  # how many there were: positions are below it
    weights: tuple[int, ...] = ()  # bytes of each weight and buffer, tied ones once, in the order of the modules
    mask_heads: int = 0  # masks of one sequence that a fused attention kernel was given, one for all heads or each
    assumed: tuple[str, ...] = ()  # where the code looked at a value that only weights decide, and what it was told

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Bytes alive right after each operation."""
        changes = [0] * (self.operations + 1)
        for item in self.allocations:
            changes[item.born] += item.bytes
            changes[self.operations if item.died is None else item.died] -= item.bytes
        return tuple(accumulate(changes[: self.operations]))

    @property
    def peak_bytes(self) -> int:
        """Most bytes alive after any operation."""
        return max(self.levels, default=0)

    @property
    def peak_at(self) -> int:
        """Position of the first operation after which that many are alive."""
        return self.levels.index(self.peak_bytes) if self.levels else 0

    @property
    def cache_bytes(self) -> int:
        """Storage that the cache holds at the end of the pass."""
        return sum(item.bytes for item in self.allocations if item.cache is not None)

    @property
    def activation_bytes(self) -> int:
        """What the pass needs beside weights and a complete cache; 0 where its worst moment holds less than that."""
        return max(0, self.peak_bytes - self.cache_bytes)

    def live(self, at: int) -> tuple[Allocation, ...]:
        """What is alive right after the operation at that position, in the order of birth."""
        return tuple(item for item in self.allocations if item.born <= at and (item.died is None or at < item.died))

    def by_layer(self) -> dict[int, int]:
        """Bytes of the cache's storage by layer."""
        layers: dict[int, int] = defaultdict(int)
        for item in self.allocations:
            if item.cache is not None:
                layers[item.cache] += item.bytes
        return dict(layers)
