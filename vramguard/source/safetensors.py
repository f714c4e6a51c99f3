"""safetensors: the length of the header in eight bytes, a header in JSON, and the tensors one after the other.

As strict as the format's own reader (safetensors 0.8.0), which wants the whole file in memory; and stricter on a
tensor that is described twice, of which that reader takes the last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from vramguard.source import MAX_BYTES, MAX_VALUES, Parsed, ParseError, decode
from vramguard.source.heads import LENGTH_BYTES, MAX_NAME, StoredTensor

if TYPE_CHECKING:
    from vramguard.source.heads import Head

# Bits of one element of each type that safetensors 0.8.0 knows (enum Dtype; its error for any other lists them all).
BITS: Final[Mapping[str, int]] = {
    "F4": 4,
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("C64", "F64", "I64", "U64"), 64),
}
_METADATA: Final = "__metadata__"
_MAX: Final = 2**64 - 1  # of a dimension, and of a product of them: what the format's own reader can hold


class _Extent(NamedTuple):
    begin: int
    end: int


def parse(head: Head) -> Parsed:
    """Parse a header into its tensors, in the order of their names' appearance. Raises `ParseError`."""
    header = _header(head)
    tensors, extents = [], []
    for name, entry in header.items():
        if name != _METADATA:
            tensor, extent = _tensor(name, entry)
            tensors.append(tensor)
            extents.append(extent)
    data = head.size - LENGTH_BYTES - int.from_bytes(head.data[:LENGTH_BYTES], "little")
    _refuse_gaps(extents, data)
    return Parsed(tuple(tensors), dict)


def _header(head: Head) -> Mapping[str, Any]:
    """The header's JSON, which is an object without a key twice."""
    if head.size < LENGTH_BYTES:
        raise ParseError(f"no safetensors file: {head.size} bytes, and the length of its header takes {LENGTH_BYTES}")
    length = int.from_bytes(head.data[:LENGTH_BYTES], "little")
    if length > head.size - LENGTH_BYTES:
        raise ParseError(f"no safetensors file, or one cut short: a header of {length:,} bytes in {head.size:,}")
    if length > MAX_BYTES - LENGTH_BYTES:
        raise ParseError(f"refused: a header of {length:,} bytes, over {MAX_BYTES >> 20} MiB")
    data = head.data[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(data) < length:
        raise ParseError("cut short while it was read")
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        raise ParseError("no safetensors file: its header is no JSON object")
    header = _json(data)
    _refuse_metadata(header.get(_METADATA))
    return header


def _json(data: bytes) -> Mapping[str, Any]:
    """The object, read without the places that a text's reader keeps: nobody looks at a line of a header."""
    if data.count(b",") > MAX_VALUES:
        raise ParseError(f"refused: over {MAX_VALUES:,} values")
    try:
        found: Mapping[str, Any] = json.loads(decode(data), object_pairs_hook=_unrepeated, parse_constant=_constant)
    except ValueError as error:  # of the syntax, or an integer of more digits than Python converts
        raise ParseError(f"its header is not valid JSON: {error}".partition(";")[0]) from error
    except RecursionError as error:
        raise ParseError("its header is nested too deeply") from error
    return found


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ParseError("its header has a key twice")
    return found


def _constant(word: str) -> NoReturn:
    raise ParseError(f"its header is not valid JSON: {word}")


def _refuse_metadata(value: object) -> None:
    texts = isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())
    if value is not None and not texts:
        raise ParseError(f"the header's {_METADATA} is no table of texts")


def _tensor(name: str, entry: object) -> tuple[StoredTensor, _Extent]:
    if len(name) > MAX_NAME:
        raise ParseError(f"a tensor has a name of {len(name):,} characters")
    if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
        raise ParseError(f"the name {name!r} has half of a surrogate pair")  # no report could print it
    if not isinstance(entry, Mapping):
        raise ParseError(f"tensor {name!r} has no description")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ParseError(f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    shape = _integers(name, entry, "shape")
    begin, end = _pair(name, _integers(name, entry, "data_offsets"))
    bits = BITS[dtype] * _elements(name, shape)
    if bits != (end - begin) * 8:
        raise ParseError(f"tensor {name!r} takes {bits:,} bits, and its offsets leave {(end - begin) * 8:,}")
    return StoredTensor(name, dtype, shape, end - begin), _Extent(begin, end)


def _integers(name: str, entry: Mapping[str, object], key: str) -> tuple[int, ...]:
    value = entry.get(key)
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item <= _MAX for item in value):
        raise ParseError(f"the {key} of tensor {name!r} is no list of lengths")
    return tuple(value)


def _pair(name: str, offsets: tuple[int, ...]) -> tuple[int, int]:
    if len(offsets) != 2 or offsets[0] > offsets[1]:  # noqa: PLR2004 - a beginning and an end
        raise ParseError(f"the data_offsets of tensor {name!r} are no beginning and end")
    return offsets[0], offsets[1]


def _elements(name: str, shape: tuple[int, ...]) -> int:
    """The product of a shape, given up as soon as it outgrows what the format's reader can hold."""
    product = 1
    for length in shape:
        product *= length
        if product > _MAX:
            raise ParseError(f"tensor {name!r} has more elements than can be counted")
    return product


def _refuse_gaps(extents: list[_Extent], data: int) -> None:
    """Refuse what the format's reader does: tensors that overlap, leave a gap, or do not fill the file to its end."""
    reached = 0
    for extent in sorted(extents):
        if extent.begin != reached:
            raise ParseError(f"tensors {'overlap' if extent.begin < reached else 'leave a gap'} at byte {reached:,}")
        reached = extent.end
    if reached != data:
        fault = "cut short" if reached > data else "too long"
        raise ParseError(f"{fault}: its tensors take {reached:,} bytes, and {data:,} follow the header")
