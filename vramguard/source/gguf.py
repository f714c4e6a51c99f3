"""GGUF: key-value pairs and descriptions of tensors in front, the tensors behind.

As the specification has it (ggml, docs/gguf.md), versions 2 and 3, in either byte order. Arrays are measured and
skipped: a tokenizer's vocabulary says nothing about memory.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.source import MAX_BYTES, Parsed, ParseError
from vramguard.source.heads import GGUF_MAGIC, MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.source.heads import Head

Scalar = int | float | bool | str

# Codes of `struct` for the specification's types of scalars, by number.
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_MAX_ENTRIES = 100_000  # of tensors, and of values; models of a trillion parameters have some thousands
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_ALIGNMENT = "general.alignment"
_DEFAULT_ALIGNMENT = 32


class Described(NamedTuple):
    """A tensor as its header describes it: the innermost dimension first, the type by its number in ggml."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int  # from the beginning of the tensors


class Gguf(NamedTuple):
    """A header: its scalar values, its tensors, and the bytes that its file has for them."""

    values: Mapping[str, Scalar]
    tensors: tuple[Described, ...]
    data: int


def parse(head: Head) -> Parsed:
    """Parse a header into a `Gguf`. Raises `ParseError`."""
    if not head.data.startswith(GGUF_MAGIC):
        raise ParseError("no GGUF file: it does not begin with GGUF")
    reader = _Reader(head)
    tensors, pairs = reader.integer("Q"), reader.integer("Q")
    if max(tensors, pairs) > _MAX_ENTRIES:
        raise ParseError(f"refused: over {_MAX_ENTRIES:,} tensors or values")
    values = _values(reader, pairs)
    described = _described(reader, tensors)
    alignment = values.get(_ALIGNMENT, _DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise ParseError(f"{_ALIGNMENT} is {alignment!r}, no power of two")
    start = -(-reader.offset // alignment) * alignment
    return Parsed(Gguf(values, described, max(0, head.size - start)), dict)


class _Reader:
    """A place in a header, and what can be read there."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._order = "<"
        self.offset = len(GGUF_MAGIC)
        version = self.integer("I")
        if version and not version & 0xFFFF:  # a small number with its bytes the other way round
            self._order, self.offset = ">", len(GGUF_MAGIC)
            version = self.integer("I")
        if version not in _VERSIONS:
            raise ParseError(f"GGUF version {version} is not known")

    def skip(self, length: int) -> int:
        """Step over so many bytes, and return where they began."""
        start, self.offset = self.offset, self.offset + length
        if self.offset > len(self._head.data):
            cut = len(self._head.data) >= self._head.size
            raise ParseError("cut short" if cut else f"refused: a header over {MAX_BYTES >> 20} MiB")
        return start

    def scalar(self, code: str) -> Scalar:
        form = self._order + code
        (value,) = struct.unpack_from(form, self._head.data, self.skip(struct.calcsize(form)))
        return value  # type: ignore[no-any-return]

    def integer(self, code: str) -> int:
        return int(self.scalar(code))

    def name(self) -> str:
        """A key, or what a tensor is called."""
        name = self.text()
        if len(name) > MAX_NAME:
            raise ParseError(f"a name has {len(name):,} characters")
        return name

    def text(self) -> str:
        length = self.integer("Q")
        start = self.skip(length)
        return self._head.data[start : start + length].decode("utf-8", "replace")

    def skip_array(self) -> None:
        kind, count = self.integer("I"), self.integer("Q")
        if kind in _SCALARS:
            self.skip(struct.calcsize(self._order + _SCALARS[kind]) * count)
        elif kind == _STRING:
            self._skip_texts(count)
        else:
            raise ParseError(f"an array of type {kind} is not known")

    def _skip_texts(self, count: int) -> None:
        """Step over texts, of which a vocabulary has hundreds of thousands: no call for each."""
        length_of, data, offset = struct.Struct(f"{self._order}Q").unpack_from, self._head.data, self.offset
        last = len(data) - 8
        for _ in range(count):
            if offset > last:
                offset = len(data) + 1
                break
            offset += 8 + length_of(data, offset)[0]
        self.skip(offset - self.offset)


def _values(reader: _Reader, count: int) -> dict[str, Scalar]:
    """The values that are no arrays, by their keys."""
    values: dict[str, Scalar] = {}
    seen = set()
    for _ in range(count):
        key, kind = reader.name(), reader.integer("I")
        if key in seen:
            raise ParseError(f"the key {key!r} stands in the header twice")
        seen.add(key)
        if kind == _ARRAY:
            reader.skip_array()
        elif kind == _STRING:
            values[key] = reader.text()
        elif kind in _SCALARS:
            values[key] = reader.scalar(_SCALARS[kind])
        else:
            raise ParseError(f"the value of {key!r} is of the unknown type {kind}")
    return values


def _described(reader: _Reader, count: int) -> tuple[Described, ...]:
    found: dict[str, Described] = {}
    for _ in range(count):
        name, number = reader.name(), reader.integer("I")
        if number > _MAX_DIMENSIONS:
            raise ParseError(f"tensor {name!r} has {number:,} dimensions")
        if name in found:
            raise ParseError(f"the header describes tensor {name!r} twice")
        dimensions = tuple(reader.integer("Q") for _ in range(number))
        found[name] = Described(name, dimensions, reader.integer("I"), reader.integer("Q"))
    return tuple(found.values())
