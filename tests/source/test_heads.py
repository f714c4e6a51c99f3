"""How much of a file of weights is read, and what may stand in its place."""

from __future__ import annotations

import io

import pytest
from weights import framed, gguf, safetensors

from vramguard.source import MAX_BYTES, Document, Location, Parsed, Unreadable, kind_of, read
from vramguard.source.heads import Head, read_head, take

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 16060556376\n"
POINTERS = [
    LFS,
    LFS.replace(b"git-lfs", b"hawser"),
    b"/annex/objects/SHA256E-s16060556376--00.safetensors\n",
    b"# xet version 0\nfilesize = 16060556376\nhash = '00'\n",
]


class Endless(io.RawIOBase):
    """A file that never ends, and counts what is read of it."""

    def __init__(self, start: bytes) -> None:
        self._start = io.BytesIO(start)
        self.taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "read to its end"
        self.taken += size
        return self._start.read(size).ljust(size, b"\0")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("m/model.safetensors", "safetensors"),
        ("MODEL.GGUF", "gguf"),
        ("m/model.safetensors.index.json", "json"),
        ("m/diffusion_pytorch_model.safetensors.index.json", "json"),
        ("index.json", None),
        ("model.safetensors.bak", None),
    ],
)
def test_the_kind_of_a_file(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


@pytest.mark.parametrize(
    ("start", "size", "taken"),
    [
        (safetensors({"a": (2**20,)})[:200], 2**40, 8 + len(safetensors({"a": (2**20,)})) - 8 - 2**21),
        (framed(b"", length=2**63), 2**40, 1024),
        (framed(b"", length=MAX_BYTES), 2**40, 1024),
        (framed(b"", length=0), 2**40, 8),
        (LFS, 2**40, 1024),
        (gguf({}, {}), 2**40, MAX_BYTES),
        (gguf({}, {}), 1000, 1000),
        (b"GGUF", 4, 8),
    ],
)
def test_no_more_than_the_header_is_read(start: bytes, size: int, taken: int) -> None:
    stream = Endless(start)
    head = take(stream, size)  # type: ignore[arg-type]
    assert (stream.taken, len(head.data), head.size) == (taken, taken, size)


def test_a_file_shorter_than_it_says() -> None:
    assert take(io.BytesIO(b"abc"), 3) == Head(b"abc", 3)


@pytest.mark.parametrize("kind", ["safetensors", "gguf"])
@pytest.mark.parametrize("data", POINTERS)
def test_a_pointer_is_not_the_file(data: bytes, kind: str) -> None:
    found = read_head("m", take(io.BytesIO(data), len(data)), kind)
    assert isinstance(found, Document)
    assert (found.kind, found.value, dict(found.places)) == ("pointer", None, {})


@pytest.mark.parametrize("data", POINTERS)
def test_an_index_may_be_a_pointer_and_a_config_may_not(data: bytes) -> None:
    found = read("m/model.safetensors.index.json", data)
    assert isinstance(found, Document)
    assert found.kind == "pointer"
    assert isinstance(read("m/config.json", data), Unreadable)


def test_the_digest_is_of_the_header() -> None:
    found = read_head("m", Head(framed(b"{}"), 10), "safetensors")
    assert isinstance(found, Document)
    assert found.parsed == Parsed((), dict)
    assert found.sha256 != read_head("m", Head(framed(b"{} "), 11), "safetensors").sha256  # type: ignore[union-attr]
    assert found.at() == Location("m")
