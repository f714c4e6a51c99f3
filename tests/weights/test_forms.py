"""Every code of every small float, and numbers of any width, against what their specifications say."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramguard import data
from vramguard.weights.forms import Codes, Scales, Wide, decode, form_of
from vramguard.weights.tallies import tally_of

if TYPE_CHECKING:
    from vramguard.weights.results import Statistics

SMALL = ("F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "F8_E8M0")
HALVES = ("F16", "BF16")


def statistics(dtype: str, raw: bytes, *, swapped: bool = False) -> Statistics:
    form = form_of(dtype, swapped=swapped)
    assert form is not None
    tally = tally_of(form, swapped=swapped)
    tally.add(np.frombuffer(raw, np.uint8))
    return tally.statistics()


def decoded(dtype: str, raw: bytes, *, swapped: bool = False) -> list[float]:
    form = form_of(dtype, swapped=swapped)
    assert isinstance(form, Codes | Wide)
    return [float(value) for value in decode(form, np.frombuffer(raw, np.uint8), swapped=swapped)]


def half(code: int) -> float:
    return float(struct.unpack("<e", struct.pack("<H", code))[0])


def brain(code: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", code << 16))[0])


def ieee_like(code: int, exponent_bits: int, mantissa_bits: int, bias: int) -> Fraction:
    """The value that a code would have if none were special."""
    sign = -1 if code >> (exponent_bits + mantissa_bits) else 1
    exponent = code >> mantissa_bits & ((1 << exponent_bits) - 1)
    mantissa = Fraction(code & ((1 << mantissa_bits) - 1), 1 << mantissa_bits)
    if exponent == 0:
        return sign * mantissa * Fraction(2) ** (1 - bias)
    return sign * (1 + mantissa) * Fraction(2) ** (exponent - bias)


def specified(dtype: str, code: int) -> float:
    """One code of eight bits, by the tables of OCP's OFP8 and MX, and of the FNUZ paper."""
    if dtype == "F8_E8M0":
        return math.nan if code == 0xFF else float(Fraction(2) ** (code - 127))
    if dtype == "F8_E4M3":
        return math.nan if code in {0x7F, 0xFF} else float(ieee_like(code, 4, 3, 7))
    if dtype == "F8_E5M2":
        special = {0x7C: math.inf, 0xFC: -math.inf} | dict.fromkeys((0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF), math.nan)
        return special.get(code, float(ieee_like(code, 5, 2, 15)))
    if code == 0x80:
        return math.nan
    return float(ieee_like(code, 4, 3, 8) if dtype == "F8_E4M3FNUZ" else ieee_like(code, 5, 2, 16))


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.mark.parametrize("dtype", SMALL)
def test_each_of_256_codes_is_what_its_specification_says(dtype: str) -> None:
    found = decoded(dtype, bytes(range(256)))
    assert len(found) == 256
    assert [code for code in range(256) if not same(found[code], specified(dtype, code))] == []


def test_the_greatest_of_each_small_float() -> None:
    greatest = {dtype: max(x for x in decoded(dtype, bytes(range(256))) if math.isfinite(x)) for dtype in SMALL}
    assert greatest == {
        "F8_E4M3": 448.0,
        "F8_E5M2": 57344.0,
        "F8_E4M3FNUZ": 240.0,
        "F8_E5M2FNUZ": 57344.0,
        "F8_E8M0": 2.0**127,
    }


def test_two_values_stand_in_each_byte_of_f4_the_lower_half_first() -> None:
    row = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    assert decoded("F4", bytes([0x10, 0x32, 0x54, 0x76])) == row
    assert decoded("F4", bytes([0x98, 0xBA, 0xDC, 0xFE])) == [-value for value in row]
    found = statistics("F4", bytes([0x80, 0x07, 0xF1]))  # 0 -0, 6 0, .5 -6
    assert (found.values, found.zeros, found.non_finite) == (6, 3, 0)
    assert (found.min, found.max, found.mean) == (-6.0, 6.0, 0.5 / 6)


@pytest.mark.parametrize(("dtype", "witness"), [("F16", half), ("BF16", brain)])
@pytest.mark.parametrize("swapped", [False, True])
def test_each_of_65536_codes_of_a_half(dtype: str, witness: object, *, swapped: bool) -> None:
    assert callable(witness)
    raw = struct.pack((">" if swapped else "<") + "65536H", *range(65536))
    found = decoded(dtype, raw, swapped=swapped)
    assert [code for code in range(65536) if not same(found[code], witness(code))] == []
    counted = statistics(dtype, raw, swapped=swapped)
    mantissa = 10 if dtype == "F16" else 7
    assert (counted.values, counted.zeros) == (65536, 2)
    assert (counted.nan, counted.positive_inf, counted.negative_inf) == (2 * (2**mantissa - 1), 1, 1)
    assert counted.first == (2 ** (15 - mantissa) - 1) << mantissa  # +Inf is the lowest code that is not finite


@pytest.mark.parametrize("dtype", [*SMALL, *HALVES])
def test_every_code_alone_is_counted_as_what_it_is(dtype: str) -> None:
    size = 2 if dtype in HALVES else 1
    every = range(0, 1 << 8 * size, 1 if size == 1 else 257)
    for code in every:
        (value,) = decoded(dtype, code.to_bytes(size, "little"))
        found = statistics(dtype, code.to_bytes(size, "little"))
        assert found.values == 1
        assert found.nan == math.isnan(value)
        assert found.positive_inf == (value == math.inf)
        assert found.negative_inf == (value == -math.inf)
        assert found.first == (None if math.isfinite(value) else 0)
        assert found.zeros == (value == 0)
        assert found.mean == (value if math.isfinite(value) else None)


@settings(max_examples=60)
@given(
    dtype=st.sampled_from([*SMALL, *HALVES, "F32", "F64"]),
    raw=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 50)),
)
def test_what_is_not_finite_is_counted_and_found_however_the_bytes_come(
    dtype: str, raw: bytes, cuts: list[int]
) -> None:
    size = {"F32": 4, "F64": 8}.get(dtype, 2 if dtype in HALVES else 1)
    raw = raw[: len(raw) // size * size]
    form = form_of(dtype)
    assert form is not None
    tally = tally_of(form, swapped=False)
    rest = np.frombuffer(raw, np.uint8)
    for cut in cuts:
        block, rest = rest[: cut * size], rest[cut * size :]
        if block.size:
            tally.add(block)
    if rest.size:
        tally.add(rest)
    found = tally.statistics()
    values = witnessed(dtype, raw)
    assert found.values == len(values)
    assert found.nan == sum(map(math.isnan, values))
    assert (found.positive_inf, found.negative_inf) == (values.count(math.inf), values.count(-math.inf))
    assert found.first == next((at for at, value in enumerate(values) if not math.isfinite(value)), None)
    finite = [value for value in values if math.isfinite(value)]
    assert found.zeros == sum(value == 0 for value in finite)
    assert (found.min, found.max) == ((min(finite), max(finite)) if finite else (None, None))


def witnessed(dtype: str, raw: bytes) -> list[float]:
    """The values by Python's own `struct`, and by the specifications above."""
    if dtype in {"F32", "F64"}:
        code = "f" if dtype == "F32" else "d"
        return list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))
    if dtype in HALVES:
        return [(half if dtype == "F16" else brain)(code) for (code,) in struct.iter_unpack("<H", raw)]
    return [specified(dtype, code) for code in raw]


@pytest.mark.parametrize("swapped", [False, True])
def test_every_kind_of_nan_of_wide_floats_is_one(*, swapped: bool) -> None:
    order = ">" if swapped else "<"
    codes = [0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC0DEAD, 0x7F800000, 0xFF800000, 0x80000000, 1]
    found = statistics("F32", struct.pack(f"{order}9I", *codes), swapped=swapped)
    assert (found.nan, found.positive_inf, found.negative_inf, found.zeros, found.first) == (5, 1, 1, 1, 0)
    assert (found.min, found.max) == (0.0, 2.0**-149)
    wide = [0x7FF0000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 0xFFF0000000000000, 0x8000000000000000]
    found = statistics("F64", struct.pack(f"{order}5Q", *wide), swapped=swapped)
    assert (found.nan, found.positive_inf, found.negative_inf, found.zeros) == (2, 1, 1, 1)


def test_of_a_complex_number_both_parts_are_values_and_the_element_is_told() -> None:
    found = statistics("C64", struct.pack("<6f", 1, 2, 3, math.nan, math.inf, 0))
    assert (found.values, found.nan, found.positive_inf, found.first, found.zeros) == (6, 1, 1, 1, 1)
    assert (found.mean, found.max) == (1.5, 3.0)


def test_what_has_no_values_that_are_read() -> None:
    for dtype in ("I8", "U64", "BOOL", "F6_E2M3", "F6_E3M2", "Q8_1", "Q8_K", "no such"):
        assert form_of(dtype) is None


def test_every_type_of_scales_is_a_type_of_ggml_and_its_scales_stand_in_the_block() -> None:
    lengths = {"f16": 2, "f16-nibbles": 8, "e8m0": 1, "e4m3": 1}
    rows = data.load("ggml_scales")["type"]
    assert len({row["name"] for row in rows}) == len(rows)
    for row in rows:
        form = form_of(row["name"])
        assert isinstance(form, Scales)
        assert all(0 <= offset <= form.bytes - lengths[kind] for kind, offset in form.fields)
    left_out = {row.name for row in data.ggml_types().values()} - {row["name"] for row in rows}
    assert {name for name in left_out if form_of(name) is None} == {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64"}
