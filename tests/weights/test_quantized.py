"""The scales of GGUF's quantized blocks, and GGUF's own floats in either order of bytes."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from weighed import gguf_of

from vramguard import data
from vramguard.weights import review

if TYPE_CHECKING:
    from pathlib import Path

TYPES = {row.name: row for row in data.ggml_types().values()}
ROWS = {
    row["name"]: [(str(kind), int(offset)) for kind, offset in row["scales"]]
    for row in data.load("ggml_scales")["type"]
}
FIELDS = [(name, kind, offset) for name, fields in ROWS.items() for kind, offset in fields]
HALVES = {"nan": 0x7E00, "+inf": 0x7C00, "-inf": 0xFC00, "-nan": 0xFC01}


def written(block: bytearray, kind: str, offset: int, code: int, order: str = "<") -> None:
    """Write one scale into a block."""
    if kind == "f16":
        struct.pack_into(f"{order}H", block, offset, code)
    elif kind == "f16-nibbles":
        for place in range(4):
            struct.pack_into(f"{order}H", block, offset + 2 * place, (code >> 4 * place & 15) << 12 | 0x0ABC)
    else:
        block[offset] = code


def bad_codes(kind: str) -> dict[str, int]:
    return {"e8m0": {"nan": 0xFF}, "e4m3": {"nan": 0x7F}}.get(kind, HALVES)


def quantized(name: str, blocks: list[bytes], order: str = "<") -> bytes:
    row = TYPES[name]
    return gguf_of({"q": (row.number, (len(blocks), row.elements), b"".join(blocks))}, order=order)


@pytest.mark.parametrize(("name", "kind", "offset"), FIELDS)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_scale_that_is_not_finite_is_found_where_it_stands(
    tmp_path: Path, name: str, kind: str, offset: int, order: str
) -> None:
    path, row = tmp_path / "m.gguf", TYPES[name]
    good = bytes(row.bytes)
    for word, code in bad_codes(kind).items():
        block = bytearray(good)
        written(block, kind, offset, code, order)
        path.write_bytes(quantized(name, [good, good, bytes(block), good, bytes(block)], order))
        (tensor,) = review(path).side.tensors
        found = tensor.statistics
        assert tensor.examined == "scales"
        assert found is not None
        assert found.values == 5 * len(ROWS[name])
        counted = (found.nan, found.positive_inf, found.negative_inf)
        assert counted == (2 * ("nan" in word), 2 * (word == "+inf"), 2 * (word == "-inf"))
        assert tensor.index(found.first or 0) == (2, 0)
        assert (found.min, found.zeros) == (None, None)


@pytest.mark.parametrize("name", ROWS)
def test_any_other_byte_of_a_block_may_be_anything(tmp_path: Path, name: str) -> None:
    block = bytearray(b"\xff" * TYPES[name].bytes)
    for kind, offset in ROWS[name]:
        written(block, kind, offset, 0x3C00 if kind.startswith("f16") else 0x38)
    path = tmp_path / "m.gguf"
    path.write_bytes(quantized(name, [bytes(block)] * 3))
    found = review(path)
    assert found.problems == ()
    assert [tensor.statistics and tensor.statistics.non_finite for tensor in found.side.tensors] == [0]


def test_what_a_review_says_of_a_scale(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(quantized("Q8_0", [bytes(34), b"\0\x7c" + bytes(32)]))
    (problem,) = review(path).problems
    assert (problem.kind, problem.message) == ("non-finite", "1 +Inf of 2 scales, the first at [1, 0]")


def test_a_type_without_known_scales_is_not_examined(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(quantized("Q8_K", [b"\xff" * 292]))
    found = review(path)
    assert [(tensor.examined, tensor.statistics) for tensor in found.side.tensors] == [("none", None)]


def test_quantized_tensors_are_compared_by_their_bytes(tmp_path: Path) -> None:
    new, old = tmp_path / "new.gguf", tmp_path / "old.gguf"
    old.write_bytes(quantized("Q8_0", [bytes(34)]))
    new.write_bytes(quantized("Q8_0", [b"\0<" + bytes(32)]))
    (change,) = review(new, old).changes
    assert (change.kind, change.gap) == ("changed", None)
    assert (review(old, old).changes, review(old, old).unchanged) == ((), 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "code"), [("F32", "f"), ("F64", "d"), ("F16", "e")])
def test_floats_in_either_order_of_bytes(tmp_path: Path, order: str, kind: str, code: str) -> None:
    path = tmp_path / "m.gguf"
    raw = struct.pack(f"{order}4{code}", 1, -2, math.nan, 0.5)
    path.write_bytes(gguf_of({"w": (TYPES[kind].number, (2, 2), raw)}, order=order))
    (tensor,) = review(path).side.tensors
    found = tensor.statistics
    assert found is not None
    assert (tensor.shape, tensor.dtype, found.min, found.max, found.nan) == ((2, 2), kind, -2.0, 1.0, 1)
    assert tensor.index(found.first or 0) == (1, 0)
    other = tmp_path / "other.gguf"
    turned = "<>"[order == "<"]
    raw = struct.pack(f"{turned}4{code}", 1, -2, math.nan, 0.5)
    other.write_bytes(gguf_of({"w": (TYPES[kind].number, (2, 2), raw)}, order=turned))
    (change,) = review(path, other).changes
    assert change.gap is not None
    assert (change.kind, change.gap.differing) == ("changed", 0)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "Q1_0"])
def test_gguf_itself_makes_no_number_of_such_a_block(name: str) -> None:
    """The witness: its own reader turns the block into NaN or infinity, and no other scale of the block does."""
    quants: Any = pytest.importorskip("gguf.quants")
    numpy: Any = pytest.importorskip("numpy")
    row = TYPES[name]
    kind_of = type_of(name)
    for kind, offset in ROWS[name]:
        block = bytearray(b"\x01" * row.bytes)
        for other_kind, other in ROWS[name]:
            written(block, other_kind, other, 0x3C00 if other_kind.startswith("f16") else 0x38)
        fine = quants.dequantize(numpy.frombuffer(bytes(block), numpy.uint8).reshape(1, -1), kind_of)
        assert numpy.isfinite(fine).all()
        if kind.startswith("f16"):
            written(block, kind, offset, 0x7E00)
            with numpy.errstate(all="ignore"):
                broken = quants.dequantize(numpy.frombuffer(bytes(block), numpy.uint8).reshape(1, -1), kind_of)
            assert numpy.isnan(broken).any()


def type_of(name: str) -> Any:  # noqa: ANN401 - an enumeration of a package that may be absent
    return pytest.importorskip("gguf").GGMLQuantizationType[name]
