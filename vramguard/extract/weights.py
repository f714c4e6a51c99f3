"""Files of weights: what the header of a safetensors or GGUF file describes, and which file an index names for what."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.facts import WeightFile, WeightIndex
from vramguard.source import Unreadable
from vramguard.source.heads import MAX_NAME, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document
    from vramguard.source.gguf import Described, Gguf

_NUMBERS = ("total_size", "total_parameters")  # of an index's metadata


class _FlawError(Exception):
    """A header that cannot be true; the message says why."""


def extract(document: Document) -> Iterator[WeightFile | WeightIndex | Unreadable]:
    """The fact that the file states, or why its header cannot be true."""
    read = {"safetensors": _safetensors, "gguf": _gguf}.get(document.kind, _index)
    try:
        yield read(document)
    except _FlawError as flaw:
        yield Unreadable(document.at(), str(flaw))


def _safetensors(document: Document) -> WeightFile:
    return WeightFile(document.at(), "safetensors", document.value)


def _gguf(document: Document) -> WeightFile:
    header: Gguf = document.value
    sized = [(tensor.offset, _sized(tensor)) for tensor in header.tensors]
    reached = 0
    for offset, tensor in sorted(sized):
        if offset < reached:
            raise _FlawError(f"tensors overlap at byte {offset:,}")
        reached = offset + tensor.bytes
    if reached > header.data:
        raise _FlawError(f"cut short: its tensors take {reached:,} bytes, and {header.data:,} follow the header")
    return WeightFile(document.at(), "gguf", tuple(tensor for _, tensor in sized), header.values)


def _sized(tensor: Described) -> StoredTensor:
    """A tensor with its bytes, which depend on its type's blocks."""
    row = data.ggml_types().get(tensor.type)
    if row is None:
        raise _FlawError(f"tensor {tensor.name!r} is of the unknown type {tensor.type}")
    if tensor.dimensions and tensor.dimensions[0] % row.elements:
        raise _FlawError(f"tensor {tensor.name!r} has rows of no multiple of {row.name}'s {row.elements} elements")
    taken = prod(tensor.dimensions) // row.elements * row.bytes
    return StoredTensor(tensor.name, row.name, tensor.dimensions[::-1], taken)


def _index(document: Document) -> WeightIndex:
    value = document.value
    named = value.get("weight_map") if isinstance(value, Mapping) else None
    if not isinstance(named, Mapping) or not all(isinstance(file, str) for file in named.values()):
        raise _FlawError("its weight_map is no table from tensors to files")
    if any(len(name) > MAX_NAME for pair in named.items() for name in pair):
        raise _FlawError(f"its weight_map has a name of over {MAX_NAME:,} characters")
    folder = posixpath.dirname(document.path)
    paths = {file: posixpath.normpath(posixpath.join(folder, file)) for file in set(named.values())}
    metadata = value.get("metadata")
    given = metadata if isinstance(metadata, Mapping) else {}
    numbers = {key: _whole(given.get(key)) for key in _NUMBERS}
    places = {key: document.at("metadata", key) for key, number in numbers.items() if number is not None}
    files = {name: paths[file] for name, file in named.items()}
    return WeightIndex(document.at(), files, **numbers, places=places)


def _whole(value: object) -> int | None:
    """A count; older writers of an index gave it as a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None
