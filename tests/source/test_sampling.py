"""How much of a file of data is read, and which lines its pieces are on."""

from __future__ import annotations

import io
from typing import IO, cast

import pytest

from vramguard.source import Document, kind_of
from vramguard.source.sampling import COUNTED, FIRST, PIECE, PIECES, WHOLE, read_sample, sampled


class Counting(io.BytesIO):
    """A file that counts what is read of it at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "read to its end"
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


class Endless(io.RawIOBase):
    """A file of any size whose every line is the same, and whose beginning is skipped by seeking."""

    def __init__(self) -> None:
        self.taken = self.at = 0

    def read(self, size: int = -1, /) -> bytes:
        self.taken += size
        return b"12345,7\n" * (size // 8)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        assert whence == 1
        self.at += offset
        return self.at


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("data/a.csv", "table"),
        ("A.TSV", "table"),
        ("a.jsonl", "records"),
        ("b.ndjson", "records"),
        ("x.parquet", "parquet"),
        ("data/products.json", "records"),
        ("alpaca_data.json", "records"),
        ("sft_train.json", "records"),
        ("data/config.json", "json"),
        ("products.json", None),
        ("package.json", None),
    ],
)
def test_the_kind_of_a_file_of_data(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


def test_a_list_of_records_that_is_named_is_a_configuration() -> None:
    assert kind_of("data/llama.json", explicit=True) == "json"


def test_a_small_file_is_read_whole() -> None:
    sample = sampled(io.BytesIO(b"a,b\n1,2\n"), 8, "table")
    assert sample.whole
    assert [block.data for block in sample.blocks] == [b"a,b\n1,2\n"]


def test_of_a_large_file_pieces_are_read_each_with_its_line() -> None:
    lines = [f"{number},value {number}\n".encode() for number in range(1, 200_001)]
    data = b"".join(lines)
    stream = Counting(data)
    sample = sampled(stream, len(data), "table")
    assert not sample.whole
    assert stream.most <= 1 << 20
    assert [len(block.data) for block in sample.blocks] == [FIRST, *[PIECE] * PIECES]
    for block in sample.blocks:
        assert data[block.offset : block.offset + len(block.data)] == block.data
        assert block.line == data.count(b"\n", 0, block.offset) + 1
    last = sample.blocks[-1]
    assert last.offset + len(last.data) == len(data), "the end is seen"


def test_of_a_huge_file_nobody_reads_what_is_between() -> None:
    stream = Endless()
    sample = sampled(cast("IO[bytes]", stream), 1 << 40, "table")
    assert stream.taken == FIRST + PIECES * PIECE
    assert {block.line for block in sample.blocks} == {1, None}
    assert COUNTED < 1 << 40


def test_the_sample_is_the_same_each_time() -> None:
    data = b"".join(b"%d,%d\n" % (number, number) for number in range(100_000))
    assert sampled(io.BytesIO(data), len(data), "table") == sampled(io.BytesIO(data), len(data), "table")
    assert len(data) > WHOLE


def test_a_file_that_is_kept_elsewhere_says_nothing() -> None:
    data = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    document = read_sample("a.csv", sampled(io.BytesIO(data), len(data), "table"), "table")
    assert isinstance(document, Document)
    assert document.kind == "pointer"
