"""Records in JSON, on lines and in a list."""

from __future__ import annotations

import pytest
from datafiles import rows_of
from timed import within


def test_records_on_lines_and_their_values_by_name() -> None:
    text = (
        '{"messages": [{"role": "user", "content": "hi"}, {"role": "bot", "content": null}], "n": 1}\nnoise\n{"n": 2}\n'
    )
    rows = rows_of("a.jsonl", text)
    assert {column.name: (list(column.cells), list(column.rows)) for column in rows.columns} == {
        "messages[].role": (["user", "bot"], [0, 0]),
        "messages[].content": (["hi", ""], [0, 0]),
        "n": (["1", "2"], [0, 1]),
    }
    assert list(rows.lines) == [1, 3]


def test_a_list_of_records_and_where_each_begins() -> None:
    rows = rows_of("data/a.json", '[\n  {"a": "x"},\n  {\n    "a": "y"\n  }\n]\n')
    assert list(rows.columns[0].cells) == ["x", "y"]
    assert list(rows.lines) == [2, 3]


def test_a_list_is_read_as_far_as_its_sample_goes() -> None:
    text = "[" + ",\n".join(f'{{"a": "word {number}"}}' for number in range(100_000)) + "]"
    rows = rows_of("data/a.json", text)
    assert 1000 < len(rows.keys) < 100_000
    assert not rows.whole


@pytest.mark.parametrize("text", ['{"a": {"b": 1}}', "3", "[1, 2]", "", "[", '{"a"'])
def test_what_is_no_list_of_records_has_none(text: str) -> None:
    assert rows_of("data/a.json", text).columns == ()


def test_large_files_have_lines_in_their_pieces() -> None:
    rows = rows_of("a.jsonl", "".join(f'{{"n": {number}}}\n' for number in range(1, 100_001)))
    assert not rows.whole
    assert all(int(cell) == line for cell, line in zip(rows.columns[0].cells, rows.lines, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 50_000 + "1" + "}" * 50_000 + "\n",
        '[{"a":' + "[" * 100_000,
        '{"a": ' + "9" * 200_000 + "}\n",
        "{" + ",".join(f'"{number}":{number}' for number in range(20_000)) + "}\n",
        "".join(f'{{"{number}":{number}}}\n' for number in range(20_000)),
        "[" + " " * 240_000,
    ],
)
def test_hostile_records_are_soon_done_with(text: str) -> None:
    with within(1):
        rows_of("a.jsonl", text)
        rows_of("data/a.json", text)
