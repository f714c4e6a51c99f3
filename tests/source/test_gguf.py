"""Headers of GGUF files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import within
from weights import gguf

from vramguard.source import MAX_BYTES, Document, Unreadable
from vramguard.source.gguf import Described, Gguf
from vramguard.source.heads import Head, read_head

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = gguf({"general.architecture": "llama", "llama.block_count": 2}, {"a": (3, 4)})


def read(data: bytes, size: int | None = None) -> Document | Unreadable:
    return read_head("m.gguf", Head(data, len(data) if size is None else size), "gguf")


def parsed(data: bytes) -> Gguf:
    found = read(data)
    assert isinstance(found, Document), found
    value: Gguf = found.value
    return value


def head(tensors: int = 0, values: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + rest


def pair(key: str, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + value


def described(name: str, dimensions: int = 1) -> bytes:
    lengths = struct.pack(f"<{dimensions}Q", *[1] * dimensions)
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I", dimensions) + lengths + bytes(12)


@pytest.mark.parametrize("order", ["<", ">"])
def test_values_and_tensors(order: str) -> None:
    values = {"a.text": "é", "a.number": 7, "a.flag": True, "a.real": 0.5}
    arrays = {"tokens": ["one", "two", ""], "scores": [1.0, 2.0], "none": []}
    found = parsed(gguf({**values, **arrays, "last": 1}, {"t.weight": (5, 32), "u": ()}, order=order))
    assert found.values == {**values, "last": 1}, "arrays are stepped over"
    assert found.tensors == (Described("t.weight", (32, 5), 0, 0), Described("u", (), 0, 640))
    assert found.data == 640 + 32


def test_only_the_header_is_needed() -> None:
    start = WHOLE[: WHOLE.index(b"\0" * 40)]
    found = read(start + bytes(32), 10 + 2**40)
    assert isinstance(found, Document)
    assert found.value.data == 10 + 2**40 - (len(WHOLE) - 64)


def test_alignment_is_the_files_own() -> None:
    values = {"general.alignment": 4096}
    assert parsed(gguf(values, {}) + bytes(4096)).data == len(gguf(values, {}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin with GGUF"),
        (b"GGML", "does not begin with GGUF"),
        (b"GGUF", "cut short"),
        (head(version=1), "version 1 is not known"),
        (head(version=4), "version 4 is not known"),
        (head(version=0), "version 0 is not known"),
        (head(version=9 << 24), "version 9 is not known"),
        (head(tensors=2**63), "refused: over 100,000"),
        (head(values=2**63), "refused: over 100,000"),
        (head(values=1), "cut short"),
        (head(values=1, rest=struct.pack("<Q", 2**64 - 1)), "cut short"),
        (head(values=1, rest=pair("a", 13, b"")), "the value of 'a' is of the unknown type 13"),
        (head(values=1, rest=pair("a", 9, struct.pack("<IQ", 9, 1))), "an array of type 9 is not known"),
        (head(values=1, rest=pair("a", 9, struct.pack("<IQ", 8, 2**64 - 1))), "cut short"),
        (head(values=1, rest=pair("a", 9, struct.pack("<IQQ", 8, 1, 2**60))), "cut short"),
        (head(values=1, rest=pair("a", 9, struct.pack("<IQ", 0, 2**64 - 1))), "cut short"),
        (head(values=1, rest=pair("a" * 1025, 7, b"\1")), "a name has 1,025 characters"),
        (head(tensors=1, rest=described("a" * 1025)), "a name has 1,025 characters"),
        (head(values=2, rest=pair("a", 7, b"\1") * 2), "the key 'a' stands in the header twice"),
        (head(values=1, rest=pair("general.alignment", 7, b"\1")), "no power of two"),
        (head(values=1, rest=pair("general.alignment", 4, bytes(4))), "no power of two"),
        (head(values=1, rest=pair("general.alignment", 4, b"\x30\0\0\0")), "no power of two"),
        (head(tensors=2, rest=described("a") * 2), "describes tensor 'a' twice"),
        (head(tensors=1, rest=described("a", 5)), "tensor 'a' has 5 dimensions"),
        (head(tensors=1, rest=described("a")[:-1]), "cut short"),
    ],
)
def test_what_no_loader_takes_is_said(data: bytes, reason: str) -> None:
    found = read(data)
    assert isinstance(found, Unreadable)
    assert reason in found.reason


def test_a_header_beyond_reason_is_refused() -> None:
    found = read(head(values=1), MAX_BYTES * 2)
    assert isinstance(found, Unreadable)
    assert found.reason == "refused: a header over 32 MiB"


def test_a_large_vocabulary_is_stepped_over_in_no_time() -> None:
    words = struct.pack("<Q", 5) + b"words"
    tokens = pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 1_000_000) + words * 1_000_000)
    with within(2):
        assert parsed(head(values=1, rest=tokens)).values == {}


@given(st.binary(max_size=60))
def test_no_header_raises(data: bytes) -> None:
    read(b"GGUF\3\0\0\0" + data)
    read(data)


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_no_changed_byte_raises(place: int, byte: int) -> None:
    read(WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :])
    read(WHOLE[:place])


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_formats_own_reader_agrees(tmp_path: Path, order: str) -> None:
    witness = pytest.importorskip("gguf")
    path = tmp_path / "m.gguf"
    path.write_bytes(
        gguf({"general.architecture": "x", "x.n": 3, "tokens": ["a", "b"]}, {"t": (2, 32)}, 8, order=order)
    )
    theirs = witness.GGUFReader(path)
    ours = parsed(path.read_bytes())
    assert [(t.name, tuple(map(int, t.shape)), int(t.tensor_type)) for t in theirs.tensors] == [
        (t.name, t.dimensions, t.type) for t in ours.tensors
    ]
    assert theirs.get_field("x.n").contents() == ours.values["x.n"]
    assert len(path.read_bytes()) - theirs.data_offset == ours.data


def test_what_the_formats_own_writer_writes_is_read(tmp_path: Path) -> None:
    witness, numpy = pytest.importorskip("gguf"), pytest.importorskip("numpy")
    path = tmp_path / "m.gguf"
    writer = witness.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_token_list(["a", "b", "c"])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_rope_freq_base(1e4)
    writer.add_tensor("a.weight", numpy.zeros((4, 64), numpy.float16))
    packed = witness.quants.quantize(numpy.zeros((2, 256), numpy.float32), witness.GGMLQuantizationType.Q8_0)
    writer.add_tensor("b.weight", packed, raw_dtype=witness.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = parsed(path.read_bytes())
    assert found.values == {"general.architecture": "llama", "llama.block_count": 2, "llama.rope.freq_base": 1e4}
    assert found.tensors == (Described("a.weight", (64, 4), 1, 0), Described("b.weight", (256, 2), 8, 512))
    assert found.data == 512 + 2 * 256 // 32 * 34
