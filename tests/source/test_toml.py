"""TOML: every leaf is found where it stands, and nothing hostile takes long."""

from __future__ import annotations

import math
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import within

from vramguard.source import MAX_DIGITS, Document, Location, Unreadable, read

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    TEXT,
    st.dates(date(1900, 1, 1)),
    st.datetimes(datetime(1900, 1, 1)).map(lambda moment: moment.replace(microsecond=0)),  # noqa: DTZ001 - local ones
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=12
)


def basic(text: str) -> str:
    """The text as a basic string, its astral characters as they are."""
    escaped = "".join(
        f"\\u{ord(char):04x}" if ord(char) < 32 or ord(char) == 127 or char in '"\\' else char for char in text
    )
    return f'"{escaped}"'


def literal(value: Any) -> str:  # noqa: ANN401 - any value of TOML
    if isinstance(value, str):
        return basic(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[ # items\n\t" + " ,\n".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{ " + " , ".join(f"{basic(key)} = {literal(item)}" for key, item in value.items()) + " }"
    return value.isoformat().replace("T", " ") if isinstance(value, date) else repr(value)


def dumped(table: dict[str, Any], path: str = "") -> Iterator[str]:
    """A table as lines: its values first, its tables and arrays of tables under headers."""
    rest = []
    for key, value in table.items():
        if isinstance(value, dict) or (value and isinstance(value, list) and all(isinstance(i, dict) for i in value)):
            rest.append((key, value))
        else:
            yield f" {basic(key)}\t= {literal(value)} # é𝒳 comment\n"
    for key, value in rest:
        name = f"{path} . {basic(key)}" if path else basic(key)
        for item in value if isinstance(value, list) else [value]:
            yield f"[[{name}]]\n" if isinstance(value, list) else f"[ {name} ] # a = 1\n"
            yield from dumped(item, name)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:  # noqa: ANN401
    """Every scalar with its keys."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))
    else:
        yield path, value


def cut(document: Document, at: Location) -> str:
    """The text between two places of a document, ends exclusive."""
    lines = document.lines[at.line - 1 : at.end_line]
    lines[-1] = lines[-1][: at.end_column - 1]
    lines[0] = lines[0][at.column - 1 :]
    return "\n".join(lines)


def same(left: object, right: object) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or left == right
    return type(left) is type(right) and left == right


def parsed(text: str) -> Document:
    document = read("a.toml", text.encode())
    assert isinstance(document, Document), document
    return document


def check_leaves(document: Document) -> None:
    for keys, value in leaves(document.value):
        assert keys in document.places, keys
        assert same(tomli.loads(f"x = {cut(document, document.at(*keys))}")["x"], value), keys
        if isinstance(keys[-1], str):
            assert tomli.loads(f"{cut(document, document.key_at(*keys))} = 0") == {keys[-1]: 0}


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_the_text_at_every_leaf_is_the_leaf(table: dict[str, Any]) -> None:
    document = parsed("".join(dumped(table)))
    assert document.value == table
    check_leaves(document)


def test_every_toml_file_of_the_environment() -> None:
    files = [path for path in Path(pytest.__file__).parents[1].rglob("*.toml") if path.stat().st_size < 100_000]
    files += list(Path(__file__).parents[2].glob("*.toml")) + list(Path(__file__).parents[2].glob("*/*.toml"))
    assert files
    for path in files:
        document = read(path.name, path.read_bytes(), kind="toml")
        if isinstance(document, Document):
            check_leaves(document)


SAMPLE = '''\
title = "é𝒳" # [not.a.table]
a."b.c".d = 1
[fruit]
when = 1979-05-27 07:32:00Z
[[fruit.kind]]
names = [
  "a#b", # comment ]
  'c',
]
[fruit.kind.skin]
text = """
# [no] \\"""
x = 1"""""
[[fruit.kind]]
lit = \'\'\'it's ''\'\'\'
inline = { x.y = 2, z = [ { w = inf } ] }
[late.sub]
q = 0x1F
[late]
r = -0
'''


def test_dotted_keys_dates_arrays_of_tables_and_strings_of_many_lines() -> None:
    document = parsed(SAMPLE)
    assert document.value == tomli.loads(SAMPLE)
    check_leaves(document)
    assert document.at("fruit", "kind", 1, "inline", "z", 0, "w")[1:3] == (16, 33)
    assert document.at("fruit", "kind", 0, "skin")[1:3] == (10, 1)
    assert document.at("late")[1:3] == (19, 1)
    assert document.at("title").end_column == 13, "columns count characters"
    assert document.at("a", "b.c")[1:3] == (2, 3)


def test_a_table_without_a_header_of_its_own_stands_at_its_first_sub_table() -> None:
    assert parsed("x = 1\n[tool.vramguard]\ny = 2\n").at("tool")[1:3] == (2, 1)


def test_carriage_returns_are_line_ends() -> None:
    document = parsed('a = """x\r\ny"""\r\nb = 2\r\n')
    assert document.value == {"a": "x\ny", "b": 2}
    assert document.at("b")[1:3] == (3, 5)


@pytest.mark.parametrize("text", ["", "\n", "# only\n# comments", "\ufeff# a mark\n"])
def test_what_says_nothing_is_an_empty_table(text: str) -> None:
    assert parsed(text).value == {}
    assert parsed(text).at("absent") == Location("a.toml", 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a = 1\nb = [1", 2, "not valid TOML"),
        ("a = 1\na = 2", 2, "not valid TOML: Cannot overwrite a value"),
        ("a = 2023-13-45", 1, "not valid TOML"),
        ("a = " + "9" * 5000, 1, f"refused: an integer of over {MAX_DIGITS:,} digits"),
        ("a = [{b = 0x" + "f" * 5000 + "}]", 1, f"refused: an integer of over {MAX_DIGITS:,} digits"),
        ("a = " + "[" * 100_000, 1, "nested deeper than 200 levels"),
        (".".join("a" * 100_000) + " = 1", 1, "nested deeper than 200 levels"),
        ("a = [" + "1," * 1_000_001 + "]", 1, "refused: over 1,000,000 values"),
    ],
)
def test_what_cannot_be_read_says_why_and_where(text: str, line: int, reason: str) -> None:
    found = read("a.toml", text.encode())
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert found.at.line == line
    assert "\n" not in found.reason


def test_a_long_hexadecimal_text_is_no_integer() -> None:
    assert parsed('a = "0x' + "f" * 5000 + '"').value["a"].startswith("0xff")


@pytest.mark.parametrize(
    "text",
    [
        'a="""' + '""a' * 1_000_000 + '"""',
        "a='''" + "''a" * 1_000_000 + "'''",
        'a="' + "\\\\" * 1_500_000 + '"',
        'a="""' + "\\\\" * 1_500_000 + '"""',
        "#\n" * 1_500_000 + "a=1",
        " \t" * 1_500_000 + "\na=1",
    ],
    ids=["quotes", "apostrophes", "escapes", "escapes in many lines", "comments", "blanks"],
)
def test_the_scanner_is_linear(text: str) -> None:
    document = parsed(text)
    with within(3):
        assert ("a",) in document.places
