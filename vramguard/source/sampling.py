"""Files of data: of one that is large, pieces spread over it are read, never the whole.

A tree gives the `Sample` of such a file where it gives the bytes of a text, and extraction is a pure function of it.
A format is one module here with `rows(sample, path) -> Rows`, named like its kind, and its name in `DATA`.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, NamedTuple

from vramguard.source import MAX_BYTES, POINTERS, Document, Location, Parsed, ParseError, Unreadable, pointer

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA = ("table", "records", "parquet")
# What 2 s for 100 MB leave: a file is read whole up to `WHOLE`; of a larger one its beginning and `PIECES` pieces.
WHOLE = 256 << 10
FIRST = 96 << 10
PIECE = 16 << 10
PIECES = 8
# Up to here the lines between the pieces are counted, so that evidence names them: more than GitHub takes of one file.
COUNTED = 128 << 20
START = 4096  # characters of a text that tell whether it is the file, or what came in its place
_CHUNK = 1 << 20
_MOST_COLUMNS = 1000  # that are looked at


class Block(NamedTuple):
    """A piece of a file: its bytes, the offset of the first, and the line that it is on (None: nobody counted)."""

    data: bytes
    offset: int
    line: int | None


class Sample(NamedTuple):
    """What is read of a file of `size` bytes."""

    blocks: tuple[Block, ...]
    size: int

    @property
    def whole(self) -> bool:
        """Whether that is all of it."""
        return sum(len(block.data) for block in self.blocks) >= self.size


class Column(NamedTuple):
    """The values under one name, as text, and the number of the row of each."""

    name: str
    cells: Sequence[str]
    rows: Sequence[int]


class Rows(NamedTuple):
    """The rows that were read: `lines` has the line of each (None: not counted), `keys` what makes two the same."""

    columns: tuple[Column, ...]
    lines: Sequence[int | None]
    keys: Sequence[str | Sequence[str]]
    whole: bool
    start: str = ""  # of the file's text
    unread: str = ""  # why nothing was read


def has_parquet() -> bool:
    """Whether the extra is there with which Parquet files are read."""
    return find_spec("pyarrow") is not None


def sampled(stream: IO[bytes], size: int, kind: str) -> Sample:
    """The sample of a file of `size` bytes, from its stream: all of it, or its beginning and pieces spread over it."""
    if kind == "parquet":  # says at its end what stands where
        return Sample((Block(stream.read(size if has_parquet() and size <= MAX_BYTES else len(b"PAR1")), 0, 1),), size)
    if size <= WHOLE:
        return Sample((Block(stream.read(WHOLE + 1), 0, 1),), size)
    first = stream.read(FIRST)
    return Sample((Block(first, 0, 1), *_pieces(stream, size, first)), size)


def _pieces(stream: IO[bytes], size: int, first: bytes) -> list[Block]:
    line: int | None = first.count(b"\n") + 1
    at, found = len(first), list[Block]()
    for number in range(1, PIECES + 1):
        target = FIRST + (size - FIRST - PIECE) * number // PIECES
        line = _skip(stream, target - at, line if size <= COUNTED else None)
        data = stream.read(PIECE)
        found.append(Block(data, target, line))
        line = None if line is None else line + data.count(b"\n")
        at = target + len(data)
    return found


def _skip(stream: IO[bytes], count: int, line: int | None) -> int | None:
    """Go on by this many bytes; the line that is reached where lines are counted."""
    if line is None and stream.seekable():
        stream.seek(count, 1)
        return None
    while count > 0 and (data := stream.read(min(count, _CHUNK))):
        count -= len(data)
        line = None if line is None else line + data.count(b"\n")
    return line


def read_sample(path: str, sample: Sample, kind: str) -> Document | Unreadable:
    """Parse the sample of one file of data; its value is `Rows`. Never raises for what it holds.

    A file that is no such data says nothing: most of them are no concern of ours. The document's text is empty.
    """
    first = sample.blocks[0].data
    if first.startswith(POINTERS):
        return pointer(path, first)
    try:
        value = import_module(f"vramguard.source.{kind}").rows(sample, path)
    except ParseError:
        value = Rows((), (), (), whole=False)
    except RecursionError as error:
        return Unreadable(Location(path), str(error))
    return Document(path, kind, "", hashlib.sha256(first).hexdigest(), Parsed(value, dict))


def narrowed(columns: Sequence[Column]) -> tuple[Column, ...]:
    """No more columns than anybody looks at."""
    return tuple(columns[:_MOST_COLUMNS])
