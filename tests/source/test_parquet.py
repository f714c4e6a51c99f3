"""Parquet files, with pyarrow and without it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from datafiles import fact_of, rows_of, signs_of

from vramguard.source import parquet, sampling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def written(values: Mapping[str, Sequence[object]]) -> bytes:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    stream = io.BytesIO()
    writer.write_table(pa.table(dict(values)), stream)
    return stream.getvalue()


def test_text_and_numbers_are_read_and_nothing_else() -> None:
    rows = rows_of("a.parquet", written({"text": ["a", None], "n": [1, 2], "image": [b"x", b"y"], "list": [[1], [2]]}))
    assert {column.name: list(column.cells) for column in rows.columns} == {"text": ["a", ""], "n": ["1", "2"]}
    assert rows.whole


def test_its_rows_are_judged_as_any_others() -> None:
    names = ["Blue shoe", "Page Not Found", "Red shoe", "Page Not Found", "404 - Page not found"]
    sign = signs_of("a.parquet", written({"name": names}))["error-page"]
    assert (sign.rows, sign.of, sign.lines) == (3, 5, ())


@pytest.mark.parametrize("data", [b"PAR1", b"PAR1" + b"\0" * 100 + b"PAR1", b"no such file"])
def test_what_is_no_parquet_file_says_nothing(data: bytes) -> None:
    assert rows_of("a.parquet", data).columns == ()
    assert rows_of("a.parquet", data).unread == ""


def test_a_text_that_is_none_says_nothing() -> None:
    pa = pytest.importorskip("pyarrow")
    broken = pa.array([b"\xcc\x28"], pa.binary()).view(pa.string())
    assert rows_of("a.parquet", written({"text": broken})).columns == ()


def test_without_the_extra_nothing_but_the_mark_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"PAR1" + b"\0" * 1000 + b"PAR1"
    for module in (parquet, sampling):
        monkeypatch.setattr(module, "has_parquet", lambda: False)
    assert len(sampling.sampled(io.BytesIO(data), len(data), "parquet").blocks[0].data) == 4
    assert fact_of("a.parquet", data).unread == "pyarrow is not installed"
