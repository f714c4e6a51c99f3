"""Tables as they are found."""

from __future__ import annotations

import pytest
from datafiles import rows_of
from timed import within

from vramguard.source.table import is_number


def columns(path: str, content: str | bytes) -> dict[str, list[str]]:
    return {column.name: list(column.cells) for column in rows_of(path, content).columns}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_told_from_the_first_lines(delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (("id", "name"), ("1", "a b"), ("2", "c d"))) + "\n"
    assert columns("a.csv", text) == {"id": ["1", "2"], "name": ["a b", "c d"]}


def test_a_value_of_many_lines_is_one_value_and_has_the_line_on_which_it_begins() -> None:
    rows = rows_of("a.csv", 'id,text\n1,"one\ntwo"\n2,"three ""four"""\n')
    assert [list(column.cells) for column in rows.columns] == [["1", "2"], ["one\ntwo", 'three "four"']]
    assert list(rows.lines) == [2, 4]


def test_without_a_heading_columns_have_numbers() -> None:
    assert columns("a.csv", "1,x\n2,y\n") == {"column 1": ["1", "2"], "column 2": ["x", "y"]}


def test_a_heading_that_names_no_column_for_the_numbers_of_rows() -> None:
    assert columns("a.csv", "a,b\n1,x,y\n2,x,z\n") == {"": ["1", "2"], "a": ["x", "x"], "b": ["y", "z"]}


def test_rows_of_another_width_are_left_out() -> None:
    rows = rows_of("a.csv", "a,b\n1,x\n2\n3,y,z\n4,w\n")
    assert [list(column.cells) for column in rows.columns] == [["1", "4"], ["x", "w"]]
    assert list(rows.lines) == [2, 5]


def test_a_quote_that_does_not_close_does_not_swallow_the_file() -> None:
    text = "a,b\n" + '1,5" pipe\n2,"open\n' + "".join(f"{number},x\n" for number in range(60_000))
    assert len(rows_of("a.csv", text).keys) > 10_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_encodings(encoding: str) -> None:
    assert columns("a.csv", "name,price\ncafé,1\nthé,2\n".encode(encoding)) == {
        "name": ["café", "thé"],
        "price": ["1", "2"],
    }


def test_a_large_text_with_a_mark_is_read_from_its_beginning() -> None:
    rows = rows_of("a.csv", ("a,b\n" + "1,word\n" * 100_000).encode("utf-16"))
    assert set(rows.columns[1].cells) == {"word"}
    assert not rows.whole


def test_line_numbers_of_pieces() -> None:
    lines = ["id,text", *(f"{number},word {number}" for number in range(2, 60_000))]
    rows = rows_of("a.csv", "\n".join(lines) + "\n")
    assert not rows.whole
    assert all(int(cell) == line for cell, line in zip(rows.columns[0].cells, rows.lines, strict=True))
    assert rows.lines[-1] == 59_999


def test_pieces_of_a_file_whose_values_have_many_lines_are_not_guessed_at() -> None:
    value = '"' + "A sentence, as there are many.\n" * 30 + '"'
    rows = rows_of("a.csv", "text,label\n" + f"{value},A1\n" * 2000)
    assert set(rows.columns[1].cells) == {"A1"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        b"\xff\xfe",
        b"a" * 3_000_000,
        b"a," * 2_000_000,
        b'"' * 3_000_000,
        b'"\n' * 1_000_000,
        b"\n" * 3_000_000,
        b',"\n;\t|' * 200_000,
        (b"a," * 1_000_000 + b"\n") * 2,
    ],
)
def test_hostile_text_is_soon_done_with(content: bytes) -> None:
    with within(3):  # a second and more on a slow machine; what is quadratic takes minutes
        assert len(rows_of("a.csv", content).columns) <= 1000


@pytest.mark.parametrize(("text", "number"), [("1", True), ("-1.5e3", True), ("$1,000.00", True), ("5%", True)])
def test_numbers(text: str, *, number: bool) -> None:
    assert is_number(text) == number
    assert not is_number(f"{text} pieces")
