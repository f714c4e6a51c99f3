"""Files of weights: gigabytes, of which only the header in front is ever read.

A tree gives the `Head` of such a file where it gives the bytes of a text, and extraction is a pure function of it as
of those. A format is one module here with `parse(head) -> Parsed`, named like its kind, and its name in `HEADERS`.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from math import prod
from typing import IO, NamedTuple

from vramguard.source import MAX_BYTES, POINTERS, Document, Location, ParseError, Unreadable, pointer

HEADERS = ("safetensors", "gguf")
GGUF_MAGIC = b"GGUF"
MAX_NAME = 1024  # characters of a tensor's name; ggml takes 64, and a message has to hold it
LENGTH_BYTES = 8  # of a safetensors file tell how long its header is
_POINTER_BYTES = 1024  # git-lfs takes nothing longer for a pointer


class Head(NamedTuple):
    """The beginning of a file, at least its header, and the size of the whole file in bytes."""

    data: bytes
    size: int


class StoredTensor(NamedTuple):
    """One tensor as a file of weights describes it; the shape is PyTorch's, the outermost dimension first."""

    name: str
    dtype: str  # as its format writes it: BF16, F8_E4M3, Q4_K
    shape: tuple[int, ...]
    bytes: int

    @property
    def elements(self) -> int:
        return prod(self.shape)


def take(stream: IO[bytes], size: int) -> Head:
    """The head of a file of `size` bytes from its stream: the header where that can be told, never past `MAX_BYTES`."""
    start = stream.read(LENGTH_BYTES)
    return Head(start + stream.read(_wanted(start, size) - len(start)), size)


def _wanted(start: bytes, size: int) -> int:
    if start.startswith(GGUF_MAGIC):  # it does not say how long its header is
        return max(len(start), min(size, MAX_BYTES))
    wanted = LENGTH_BYTES + int.from_bytes(start, "little")
    return wanted if wanted <= min(size, MAX_BYTES) else _POINTER_BYTES  # too long for a header: no such file


def read_head(path: str, head: Head, kind: str) -> Document | Unreadable:
    """Parse the header of one file of weights. Never raises for what it holds: that becomes `Unreadable`.

    The document's text is empty, its digest that of the header alone.
    """
    if head.data.startswith(POINTERS):
        return pointer(path, head.data)
    try:
        parsed = import_module(f"vramguard.source.{kind}").parse(head)
    except ParseError as error:
        return Unreadable(Location(path), str(error))
    return Document(path, kind, "", hashlib.sha256(head.data).hexdigest(), parsed)
