"""Headers of safetensors files, as the format's own reader takes and refuses them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights import framed, safetensors

from vramguard.source import MAX_BYTES, MAX_VALUES, Document, Location, Unreadable
from vramguard.source.heads import Head, StoredTensor, read_head
from vramguard.source.safetensors import BITS

A = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}
B = {"dtype": "U8", "shape": [2, 1], "data_offsets": [4, 6]}


def read(data: bytes, size: int | None = None) -> Document | Unreadable:
    return read_head("m.safetensors", Head(data, len(data) if size is None else size), "safetensors")


def header(*, data: int = 0, **entries: Any) -> bytes:  # noqa: ANN401 - a value of JSON
    return framed(json.dumps(entries).encode(), bytes(data))


def test_tensors_are_told_by_name_type_shape_and_bytes() -> None:
    found = read(safetensors({"a": (2, 3), "b": ()}, b="F64"))
    assert isinstance(found, Document)
    assert found.value == (StoredTensor("a", "BF16", (2, 3), 12), StoredTensor("b", "F64", (), 8))
    assert [tensor.elements for tensor in found.value] == [6, 1]
    assert (found.text, found.at("a"), dict(found.places)) == ("", Location("m.safetensors"), {})


def test_only_the_header_is_needed() -> None:
    whole = safetensors({"a": (1000, 1000)})
    start = whole[: whole.index(b"\0" * 64)]
    assert read(start, len(whole)) == read(whole[: len(start)], len(whole))
    assert isinstance(read(start, len(whole)), Document)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes, and the length of its header takes 8"),
        (b"\1\0\0", "3 bytes"),
        (framed(b"{}", length=2**64 - 1), "a header of 18,446,744,073,709,551,615 bytes in 10"),
        (framed(b"{}", length=3), "cut short"),
        (framed(b"[]"), "no JSON object"),
        (framed(b"\xef\xbb\xbf{}"), "no JSON object"),
        (framed(b"{"), "not valid JSON"),
        (framed(b"{}\0\0"), "binary, not text"),
        (framed(b'{"\xff": 1}'), "not UTF-8 text"),
        (framed(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "nested too deeply"),
        (framed(b'{"a": [' + b"," * (MAX_VALUES + 1)), "refused: over 1,000,000 values"),
        (header(**{"a" * 1025: A}, data=4), "a name of 1,025 characters"),
        (framed(b'{"a": NaN}'), "not valid JSON: NaN"),
        (framed(b'{"\\ud800": {}}'), "half of a surrogate pair"),
        (framed(b'{"a": {"shape": [' + b"9" * 5000 + b"]}}"), "not valid JSON"),
        (framed(b'{"a": {"dtype": "U8", "dtype": "U8"}}'), "a key twice"),
        (framed(b'{"a": 1, "a": 1}'), "a key twice"),
        (header(a=1), "'a' has no description"),
        (header(a={**A, "dtype": "I3"}, data=4), "unknown dtype 'I3'"),
        (header(a={**A, "dtype": ["U8"]}, data=4), "unknown dtype"),
        (header(a={**A, "shape": [-1]}, data=4), "no list of lengths"),
        (header(a={**A, "shape": [4.0]}, data=4), "no list of lengths"),
        (header(a={**A, "shape": [True]}, data=4), "no list of lengths"),
        (header(a={**A, "shape": None}, data=4), "no list of lengths"),
        (header(a={**A, "shape": [2**64]}, data=4), "no list of lengths"),
        (header(a={**A, "shape": [2**40, 2**40]}, data=4), "more elements than can be counted"),
        (header(a={**A, "shape": [2**63, 2, 0], "data_offsets": [0, 0]}), "more elements than can be counted"),
        (header(a={**A, "shape": [3]}, data=4), "takes 24 bits, and its offsets leave 32"),
        (header(a={"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}, data=2), "takes 12 bits"),
        (header(a={**A, "data_offsets": [4, 0]}, data=4), "no beginning and end"),
        (header(a={**A, "data_offsets": [4]}, data=4), "no beginning and end"),
        (header(a={**A, "data_offsets": "0-4"}, data=4), "no list of lengths"),
        (header(a={**A, "data_offsets": [2, 6]}, data=6), "leave a gap at byte 0"),
        (header(a=A, b={**B, "data_offsets": [3, 5]}, data=5), "overlap at byte 4"),
        (header(a=A, b=B, data=5), "cut short: its tensors take 6 bytes, and 5 follow"),
        (header(a=A, b=B, data=7), "too long: its tensors take 6 bytes, and 7 follow"),
        (header(a=A, __metadata__={"x": 1}, data=4), "__metadata__ is no table of texts"),
        (header(a=A, __metadata__=[], data=4), "__metadata__ is no table of texts"),
    ],
)
def test_what_no_loader_takes_is_said(data: bytes, reason: str) -> None:
    found = read(data)
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert not found.template


def test_a_header_beyond_reason_is_refused_unread() -> None:
    found = read(framed(b"", length=MAX_BYTES), 2**40)
    assert isinstance(found, Unreadable)
    assert found.reason == "refused: a header of 33,554,432 bytes, over 32 MiB"


def test_a_file_that_shrinks_while_it_is_read() -> None:
    found = read(framed(b"{}", length=100), 1000)
    assert isinstance(found, Unreadable)
    assert found.reason == "cut short while it was read"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**65) | st.floats() | st.sampled_from(["U8", "F4", "", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "BF16", "F4", "X"]) | JSON,
        "shape": st.lists(st.integers(0, 4), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(0, 8), min_size=2, max_size=2) | JSON,
    }
)
FILES = st.builds(
    lambda header, data: framed(json.dumps(header).encode(), bytes(data)),
    st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRY | JSON, max_size=3),
    st.integers(0, 16),
)


@given(st.binary(max_size=40) | FILES)
def test_no_header_raises(data: bytes) -> None:
    found = read(data)
    if isinstance(found, Document) and found.value is not None:  # None: a pointer stands in the file's place
        assert sum(tensor.bytes for tensor in found.value) <= len(data)


@given(FILES)
def test_the_formats_own_reader_agrees(data: bytes) -> None:
    witness = pytest.importorskip("safetensors")
    try:
        theirs = {(name, entry["dtype"], tuple(entry["shape"])) for name, entry in witness.deserialize(data)}
    except witness.SafetensorError:
        theirs = None
    found = read(data)
    ours = {tensor[:3] for tensor in found.value} if isinstance(found, Document) else None
    assert ours == theirs


@pytest.mark.parametrize("dtype", BITS)
def test_the_formats_own_reader_knows_the_type_by_the_same_size(dtype: str) -> None:
    witness = pytest.importorskip("safetensors")
    ((name, entry),) = witness.deserialize(safetensors({"a": (8,)}, dtype))
    assert (name, entry["dtype"], len(entry["data"])) == ("a", dtype, BITS[dtype])


def test_the_formats_own_reader_knows_no_other_type() -> None:
    witness = pytest.importorskip("safetensors")
    with pytest.raises(witness.SafetensorError) as raised:
        witness.deserialize(header(a={**A, "dtype": "none"}, data=4))
    listed = str(raised.value).partition("expected one of")[2].partition(" at line")[0]
    assert {word.strip(" `") for word in listed.split(",")} == set(BITS)
