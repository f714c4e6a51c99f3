"""JSON: every leaf is found where it stands, and nothing hostile takes long."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import within

from vramguard.source import Document, Location, Unreadable, read

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:  # noqa: ANN401
    """Every value with its keys, collections included."""
    yield path, value
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, (*path, key))


def cut(document: Document, at: Location) -> str:
    lines = document.lines[at.line - 1 : at.end_line]
    lines[-1] = lines[-1][: at.end_column - 1]
    lines[0] = lines[0][at.column - 1 :]
    return "\n".join(lines)


def parsed(text: str | bytes) -> Document:
    document = read("config.json", text.encode() if isinstance(text, str) else text)
    assert isinstance(document, Document), document
    return document


def check_leaves(document: Document) -> None:
    for keys, value in leaves(document.value):
        span = document.places[keys].value
        assert repr(json.loads(cut(document, Location("", *span)))) == repr(value), keys
        if keys and isinstance(keys[-1], str):
            assert json.loads(cut(document, document.key_at(*keys))) == keys[-1]


@settings(max_examples=150, deadline=None)
@given(VALUES, st.sampled_from([None, 0, 3]), st.sampled_from([" , ", "\n,\t", ","]), st.booleans())
def test_the_text_at_every_value_is_the_value(value: Any, indent: int | None, comma: str, ascii_only: bool) -> None:  # noqa: ANN401, FBT001
    text = "\n\t" + json.dumps(value, indent=indent, separators=(comma, " :\t"), ensure_ascii=ascii_only) + " \n"
    document = parsed(text)
    assert repr(document.value) == repr(value)
    check_leaves(document)


def test_every_small_json_file_of_the_environment() -> None:
    found = sorted(Path(pytest.__file__).parents[1].rglob("*.json"), key=lambda path: path.stat().st_size)
    files = [path for path in found if path.stat().st_size < 60_000][:400]
    assert files
    for path in files:
        document = read(path.name, path.read_bytes(), kind="json")
        if isinstance(document, Document):
            check_leaves(document)


def test_a_key_given_twice_is_a_flaw_and_its_last_value_counts() -> None:
    document = parsed('{"a": {"b": 1,\n "b": 2}, "c": [{"d": 1, "d": [2]}]}')
    assert document.value == {"a": {"b": 2}, "c": [{"d": [2]}]}
    assert [(flaw.span[:2], flaw.message) for flaw in document.parsed.flaws] == [
        ((2, 2), 'key "b" again, first on line 1'),
        ((2, 26), 'key "d" again, first on line 2'),
    ]
    assert document.at("a", "b")[1:3] == (2, 7)


def test_numbers_that_real_configs_hold() -> None:
    value = parsed("[NaN, Infinity, -Infinity, -0, -0.0, 1e5, 1E400]").value
    assert math.isnan(value[0])
    assert value[1:3] == [math.inf, -math.inf]
    assert [repr(number) for number in value[3:]] == ["0", "-0.0", "100000.0", "inf"]


def test_columns_count_characters_beyond_the_basic_plane() -> None:
    assert parsed('{"😀é": "😀", "b": 1}').at("b")[1:3] == (1, 18)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", (1, 1), "not valid JSON: Expecting value"),
        ("\n\n", (3, 1), "not valid JSON: Expecting value"),
        ('{"a" 1}', (1, 6), "not valid JSON: Expecting ':' delimiter"),
        ('{"a": 1} // no', (1, 10), "not valid JSON: Extra data"),
        ('{"a": "x\ny"}', (1, 9), "not valid JSON: Invalid control character"),
        ("9" * 5000, (1, 1), "not valid JSON: Exceeds the limit"),
        ('{"a":\n "\\ud800"}', (2, 2), "half of a surrogate pair"),
        ('{"\\udc00": 1}', (1, 2), "half of a surrogate pair"),
        ("[" * 201 + "]" * 201, (1, 1), "refused: nested deeper than 200 levels"),
        ('{"a":1,"a":' * 300 + "1" + "}" * 300, (1, 1), "refused: nested deeper than 200 levels"),
        ("[" * 200_000, (1, 1), "refused: nested deeper than 200 levels"),
        ("[" + "1," * 1_000_001 + "1]", (1, 1), "refused: over 1,000,000 values"),
    ],
)
def test_what_cannot_be_read_says_why_and_where(text: str, place: tuple[int, int], reason: str) -> None:
    found = read("config.json", text.encode())
    assert isinstance(found, Unreadable)
    assert reason in found.reason
    assert found.at[1:3] == place
    assert "\n" not in found.reason


def test_a_whole_surrogate_pair_is_a_character() -> None:
    assert parsed('"\\ud83d\\ude00"').value == "😀"


def test_depth_is_told_by_brackets_outside_of_texts() -> None:
    text = json.dumps(["[" * 300, ']\\"[' * 300, [1] * 3])
    assert parsed(text).value[0] == "[" * 300
    deepest = parsed("[" * 200 + "]" * 200)
    assert len(deepest.places) == 200


@pytest.mark.parametrize(
    "text",
    ["1" + " " * 5_000_000, " " * 5_000_000 + "1", '"' + '\\"' * 2_000_000 + '"', '["' + "[" * 3_000_000 + '"]'],
    ids=["spaces after", "spaces before", "escapes", "brackets in a text"],
)
def test_the_scanner_is_linear(text: str) -> None:
    with within(2):
        assert () in parsed(text).places
