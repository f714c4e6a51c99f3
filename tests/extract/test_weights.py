"""What files of weights and their indices say."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from weights import F16, Q8_0, gguf, index, safetensors

from vramguard import data
from vramguard.extract import extract
from vramguard.facts import ModelConfig, WeightFile, WeightIndex
from vramguard.source import Document, Location, Unreadable, read
from vramguard.source.heads import Head, StoredTensor, read_head

INDEX = "m/model.safetensors.index.json"


def fact(content: bytes, kind: str = "gguf", size: int | None = None) -> WeightFile | Unreadable:
    document = read_head("m", Head(content, len(content) if size is None else size), kind)
    assert isinstance(document, Document), document
    (found,) = extract(document)
    assert isinstance(found, WeightFile | Unreadable)
    return found


def indexed(text: str, path: str = INDEX) -> WeightIndex | Unreadable:
    document = read(path, text.encode())
    assert isinstance(document, Document), document
    (found,) = extract(document)
    assert isinstance(found, WeightIndex | Unreadable)
    return found


def test_safetensors() -> None:
    found = fact(safetensors({"a": (2, 3), "b": (4,)}, b="F32"), "safetensors")
    assert found == WeightFile(
        Location("m"), "safetensors", (StoredTensor("a", "BF16", (2, 3), 12), StoredTensor("b", "F32", (4,), 16))
    )
    assert (found.parameters, found.bytes) == (10, 28)


def test_gguf() -> None:
    found = fact(gguf({"general.architecture": "llama"}, {"a": (3, 64), "b": (32,)}, Q8_0))
    assert isinstance(found, WeightFile)
    assert found.tensors == (StoredTensor("a", "Q8_0", (3, 64), 204), StoredTensor("b", "Q8_0", (32,), 34))
    assert (found.format, found.values) == ("gguf", {"general.architecture": "llama"})


def test_nothing_is_said_of_a_pointer() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    for document in (read_head("m", Head(pointer, len(pointer)), "safetensors"), read(INDEX, pointer)):
        assert isinstance(document, Document)
        assert list(extract(document)) == []


def changed(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) == 1
    return content.replace(old, new)


TWO = gguf({}, {"a": (4,), "b": (4,)}, F16)
B = struct.pack("<Q", 1) + b"b" + struct.pack("<IQI", 1, 4, F16)


@pytest.mark.parametrize(
    ("content", "size", "reason"),
    [
        (changed(TWO, B, B[:-4] + struct.pack("<I", 5)), None, "tensor 'b' is of the unknown type 5"),
        (changed(TWO, B, B[:-4] + struct.pack("<I", Q8_0)), None, "tensor 'b' has rows of no multiple of Q8_0's 32"),
        (changed(TWO, B + struct.pack("<Q", 32), B + struct.pack("<Q", 4)), None, "tensors overlap at byte 4"),
        (TWO, len(TWO) - 30, "cut short: its tensors take 40 bytes, and 34 follow the header"),
        (changed(TWO, B, B[:-12] + struct.pack("<QI", 2**63, F16)), None, "cut short"),
        (gguf({}, {"a": (4,)}), 40, "cut short: its tensors take 16 bytes, and 0 follow the header"),
    ],
)
def test_a_gguf_that_cannot_be_true(content: bytes, size: int | None, reason: str) -> None:
    found = fact(content, size=size)
    assert isinstance(found, Unreadable)
    assert found.reason.startswith(reason)


def test_the_last_tensor_needs_no_padding() -> None:
    assert isinstance(fact(TWO, size=len(TWO) - 24), WeightFile)


def test_index() -> None:
    files = {"a": "model-1.safetensors", "b": "model-2.safetensors", "c": "../n/model-3.safetensors"}
    found = indexed(index(files, total_size=12, total_parameters=6.0))
    assert isinstance(found, WeightIndex)
    assert found.files == {"a": "m/model-1.safetensors", "b": "m/model-2.safetensors", "c": "n/model-3.safetensors"}
    assert (found.total_size, found.total_parameters) == (12, 6)
    assert {key: place[:3] for key, place in found.places.items()} == {
        "total_size": (INDEX, 3, 17),
        "total_parameters": (INDEX, 4, 23),
    }


@pytest.mark.parametrize("metadata", [None, [], {}, {"total_size": "12"}, {"total_size": 1.5}, {"total_size": True}])
def test_an_index_need_not_give_totals(metadata: object) -> None:
    found = indexed(json.dumps({"metadata": metadata, "weight_map": {}}))
    assert found == WeightIndex(Location(INDEX), {})


@pytest.mark.parametrize("value", [[], None, 1, {}, {"weight_map": []}, {"weight_map": {"a": 1}}])
def test_an_index_without_a_table(value: object) -> None:
    found = indexed(json.dumps(value))
    assert found == Unreadable(Location(INDEX), "its weight_map is no table from tensors to files")


@pytest.mark.parametrize("named", [{"a" * 1025: "b"}, {"a": "b" * 1025}])
def test_an_index_with_names_beyond_reason(named: dict[str, str]) -> None:
    found = indexed(index(named))
    assert found == Unreadable(Location(INDEX), "its weight_map has a name of over 1,024 characters")


def test_an_index_is_no_config_and_a_config_no_index() -> None:
    document = read("m/config.json", b'{"model_type": "llama", "weight_map": {}}')
    assert isinstance(document, Document)
    assert [type(found) for found in extract(document)] == [ModelConfig]


@given(st.integers(0, len(TWO) - 1), st.integers(0, 255))
def test_no_changed_byte_raises(place: int, byte: int) -> None:
    content = TWO[:place] + bytes([byte]) + TWO[place + 1 :]
    document = read_head("m", Head(content, len(content)), "gguf")
    if isinstance(document, Document):
        assert len(list(extract(document))) == 1


def test_types_are_those_of_the_formats_own_reader() -> None:
    witness = pytest.importorskip("gguf")
    theirs = {int(kind): (kind.name, *sizes) for kind, sizes in witness.constants.GGML_QUANT_SIZES.items()}
    assert {row.number: (row.name, row.elements, row.bytes) for row in data.ggml_types().values()} == theirs
