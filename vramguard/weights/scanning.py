"""Reading tensors from end to end, once: their digests, their statistics, and what is another value than it was.

In blocks that are read, not mapped: a mapped file that somebody cuts short meanwhile would end the process. A digest is
computed in a thread of its own while the values of the same block are counted; both leave the interpreter's lock.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import TYPE_CHECKING, Final

import numpy as np

from vramguard.weights.forms import Codes, Scales, Wide, decode, form_of
from vramguard.weights.results import Change, Gap, Problem, Statistics, Tensor
from vramguard.weights.tallies import SLICE, GapTally, Tally, tally_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from io import FileIO

    import numpy.typing as npt

    from vramguard.weights.forms import Form
    from vramguard.weights.stores import Piece, Store

    _Part = tuple["_Reading", npt.NDArray[np.uint8]]  # a tensor, and its next block

_ELEMENTS: Final = 1 << 20  # of one block; a multiple of what any quantized type joins, and 8 MiB of the widest
_INLINE: Final = 1 << 16  # bytes that are hashed sooner than a thread is told to


class Scanner:
    """Reads the tensors of a store, and of another one that it is held against."""

    def __init__(self, store: Store, against: Store | None = None) -> None:
        self._new = _Files(store)
        self._old = _Files(against) if against else None
        self._pool = ThreadPoolExecutor(1)
        self.tensors: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.changes: list[Change] = []

    def run(self) -> None:
        """Read everything. A file that turns out to be cut short becomes a problem of its store."""
        with self._pool:
            others = self._old.store.pieces if self._old else {}
            for name, piece in self._new.store.pieces.items():
                self._scan(name, piece, others.get(name))
            for name, piece in others.items():
                if self._old and name not in self.before and name not in self._new.store.pieces:
                    self._alone(self._old, piece, self.before)
        self._new.close()
        if self._old:
            self._old.close()

    def _scan(self, name: str, piece: Piece, other: Piece | None) -> None:
        if self._old is None or other is None:
            self._alone(self._new, piece, self.tensors)
        elif piece.tensor.shape != other.tensor.shape:
            self._alone(self._new, piece, self.tensors)
            self._alone(self._old, other, self.before)
        else:
            self._pair(name, _Reading(self._new, piece), _Reading(self._old, other))

    def _alone(self, files: _Files, piece: Piece, found: dict[str, Tensor]) -> None:
        reading = _Reading(files, piece)
        for block in reading.blocks():
            with _Hashing(self._pool, (reading, block)):
                reading.count(block)
        if reading.whole:
            found[piece.tensor.name] = reading.tensor()

    def _pair(self, name: str, new: _Reading, old: _Reading) -> None:
        """Read both in step. Until they differ, what was seen of the one holds for the other."""
        alike, gap = new.is_like(old), new.gap_to(old)
        for block, was in zip(new.blocks(), old.blocks(), strict=False):
            same = alike and np.array_equal(block, was)
            if alike and not same:
                old.follow(new)
                alike = False
            jobs = ((new, block),) if alike else ((new, block), (old, was))
            with _Hashing(self._pool, *jobs):
                new.count(block)
                if not alike:
                    old.count(was)
                if gap is not None:
                    _add(gap, (old, was), (new, block), same=same)
        if not (new.whole and old.whole):  # a file was cut short; what the other one holds is still to be told
            self._alone(new.files, new.piece, self.tensors)
            self._alone(old.files, old.piece, self.before)
            return
        if alike:
            old.follow(new)
        self.tensors[name], self.before[name] = new.tensor(), old.tensor()
        self.changes += _change(self.before[name], self.tensors[name], gap)


def _add(gap: GapTally, old: _Part, new: _Part, *, same: bool) -> None:
    """Compare two blocks of as many elements, in slices that a core keeps at hand."""
    if same:
        gap.same(old[0].values(old[1].size))
        return
    for was, block in zip(old[0].slices(old[1]), new[0].slices(new[1]), strict=True):
        gap.add(was, block)


def _change(before: Tensor, after: Tensor, tally: GapTally | None) -> list[Change]:
    """The change of one tensor that kept its shape, if there is one."""
    if before.dtype == after.dtype and before.sha256 == after.sha256:
        return []
    gap: Gap | None = None
    if tally is not None and before.statistics is not None and after.statistics is not None:
        gap = tally.gap(before.statistics, after.statistics)
    kind = "changed" if before.dtype == after.dtype else "retyped"
    return [Change(kind, after.name, before, after, gap)]


class _Files:
    """The files of a store, of which one is open at a time; those that failed are not opened again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.failed: set[str] = set()
        self._name: str | None = None
        self._stream: FileIO | None = None

    def stream(self, name: str) -> FileIO:
        if self._stream is None or self._name != name:
            self.close()
            self._stream, self._name = self.store.open(name), name
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def fail(self, name: str, reason: str) -> None:
        self.failed.add(name)
        self.store.problems.append(Problem("unreadable", reason, name))


class _Reading:
    """One tensor while it is read."""

    def __init__(self, files: _Files, piece: Piece) -> None:
        self.files, self.piece = files, piece
        self._form: Form | None = form_of(piece.tensor.dtype, swapped=piece.swapped)
        self._tally: Tally | None = tally_of(self._form, swapped=piece.swapped) if self._form else None
        self.digest = hashlib.sha256()
        self._left = piece.tensor.bytes

    @property
    def whole(self) -> bool:
        """Whether all of it was read."""
        return not self._left

    def blocks(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Its bytes, block by block, each in the place of the last; what fails is a problem of the store."""
        tensor, name = self.piece.tensor, self.piece.file
        if name in self.files.failed:
            return
        try:
            if tensor.bytes:
                yield from self._read(self.files.stream(name), tensor.elements)
        except OSError as error:
            self.files.fail(name, error.strerror or str(error))

    def _read(self, stream: FileIO, elements: int) -> Iterator[npt.NDArray[np.uint8]]:
        # A block of a quantized type, and the bits of any other, divide this length.
        length = min(self._left, _ELEMENTS * self._left // elements)
        buffer = bytearray(length)
        stream.seek(self.piece.begin)
        while self._left:
            view = memoryview(buffer)[: min(length, self._left)]
            _fill(stream, view)
            self._left -= len(view)
            yield np.frombuffer(view, np.uint8)

    def count(self, block: npt.NDArray[np.uint8]) -> None:
        if self._tally is not None:
            self._tally.add(block)

    def is_like(self, other: _Reading) -> bool:
        """Whether equal bytes mean equal values."""
        return (self.piece.tensor.dtype, self.piece.swapped) == (other.piece.tensor.dtype, other.piece.swapped)

    def gap_to(self, other: _Reading) -> GapTally | None:
        """A tally of how the two differ, where the values of both can be read."""
        if not isinstance(self._form, Codes | Wide) or not isinstance(other._form, Codes | Wide):
            return None
        return GapTally(self._parts) if self._parts == other._parts else None

    @property
    def _parts(self) -> int:
        return self._form.parts if isinstance(self._form, Wide) else 1

    def follow(self, other: _Reading) -> None:
        """Take over what was seen of another one, whose bytes so far are the same."""
        self.digest, self._tally = other.digest.copy(), deepcopy(other._tally)

    def values(self, size: int) -> int:
        """How many values so many bytes hold."""
        tensor = self.piece.tensor
        return size * tensor.elements // tensor.bytes * self._parts

    def slices(self, block: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.float64]]:
        """The values of a block, some at a time."""
        assert isinstance(self._form, Codes | Wide)  # noqa: S101 - gap_to has seen to that
        tensor = self.piece.tensor
        step = max(1, SLICE * tensor.bytes // tensor.elements)
        for start in range(0, block.size, step):
            yield decode(self._form, block[start : start + step], swapped=self.piece.swapped)

    def tensor(self) -> Tensor:
        stored = self.piece.tensor
        found: Statistics | None = self._tally.statistics() if self._tally else None
        return Tensor(
            stored.name,
            stored.dtype,
            stored.shape,
            stored.elements,
            stored.bytes,
            self.piece.file,
            self.digest.hexdigest(),
            "none" if self._form is None else "scales" if isinstance(self._form, Scales) else "values",
            found,
        )


def _fill(stream: FileIO, view: memoryview) -> None:
    """Read until the view is full. Raises `OSError` where the file ends before."""
    filled = 0
    while filled < len(view):
        got = stream.readinto(view[filled:])
        if not got:
            raise OSError(0, "cut short while it was read")
        filled += got


class _Hashing:
    """Digests of blocks, computed beside what stands in the `with`."""

    def __init__(self, pool: ThreadPoolExecutor, *jobs: _Part) -> None:
        self._pool, self._jobs = pool, jobs
        self._running: Future[None] | None = None

    def __enter__(self) -> None:
        if sum(block.size for _, block in self._jobs) >= _INLINE:
            self._running = self._pool.submit(self._hash)
        else:
            self._hash()

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self._running.result()

    def _hash(self) -> None:
        for reading, block in self._jobs:
            reading.digest.update(block.data)
