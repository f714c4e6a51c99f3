"""Tables to typed values: every fault is a `ConfigError` at its place, and the schema says the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from vramguard.schema import FILLED, POSITIVE, SHARE, ConfigError, decode, json_schema, option, partial, suggestion
from vramguard.source import Document, Parsed, read


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    number: int = option("A number", limit=POSITIVE)
    words: tuple[str, ...] = option("Words", (), limit=FILLED)


@dataclass(frozen=True)
class Outer:
    needs: ClassVar = ("one", "two")

    colour: Colour
    one: Inner | None = None
    two: tuple[Inner, ...] = ()
    share: Fraction | None = option("A share", None, limit=SHARE)
    names: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    anything: Mapping[str, Any] = field(default_factory=dict)
    flag: bool = False

    def __post_init__(self) -> None:
        if self.flag and self.colour is Colour.BLUE:
            raise ValueError("blue takes no flag")


def decoded(text: str) -> Outer:
    document = read("x.toml", text.encode())
    assert isinstance(document, Document), document
    return decode(Outer, document, (), document.value)


def test_a_table_becomes_what_it_says() -> None:
    text = (
        'colour = "red"\nshare = 0.25\none = {number = 1}\nflag = true\nnames.a.b = 3\n[anything]\nx = [1]\n'
        '[[two]]\nnumber = 2\nwords = ["w"]\n'
    )
    expected = Outer(Colour.RED, Inner(1), (Inner(2, ("w",)),), Fraction(1, 4), {"a": {"b": 3}}, {"x": [1]}, flag=True)
    assert decoded(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one = {number = 1}", "x.toml:1:1: `colour` is missing"),
        ('colour = "red"', "x.toml:1:1: it needs `one` or `two`"),
        ('colour = "green"\none = {number = 1}', "x.toml:1:10: `colour` is to be one of red, blue, not 'green'"),
        ('colour = "red"\none = 1', "x.toml:2:7: `one` is to be a table"),
        ('colour = "red"\none = {numbr = 1}', "x.toml:2:8: unknown key `numbr`; did you mean `number`?"),
        ('colour = "red"\none = {}', "x.toml:2:7: `number` is missing"),
        ('colour = "red"\n[[two]]\nnumber = 0', "x.toml:3:10: `two[0].number` is to be at least 1, not 0"),
        ('colour = "red"\n[two]\nnumber = 0', "x.toml:2:1: `two` is to be a list"),
        (
            'colour = "red"\none.number = 1\none.words = []',
            "x.toml:3:13: `one.words` is to be a list that is not empty",
        ),
        (
            'colour = "red"\none.number = 1\nnames.a.b = "x"',
            "x.toml:3:13: `names.a.b` is to be a whole number, not 'x'",
        ),
        ('colour = "red"\none.number = 1\nflag = 0', "x.toml:3:8: `flag` is to be true or false, not 0"),
        ('colour = "blue"\none.number = 1\nflag = true', "x.toml:1:1: blue takes no flag"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decoded(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_part_of_a_table_needs_nothing_and_skips_what_it_is_told_to() -> None:
    document = read("x.toml", b"flag = true\nelse = 1\n")
    assert isinstance(document, Document)
    assert partial(Outer, document, (), document.value, skip=frozenset({"else"})) == {"flag": True}


VALUES = st.recursive(
    st.sampled_from(["red", "blue", "", True, False, 0, 1, -1, 2, 0.5, 1.5]) | st.dates(date(2000, 1, 1)),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["number", "words", "a", "b"]), inner, max_size=2)
    ),
    max_leaves=5,
)
NEARLY = st.fixed_dictionaries(
    {"colour": st.sampled_from(["red", "green", 1])},
    optional={
        "one": VALUES | st.just({"number": 1}),
        "two": VALUES | st.just([{"number": 1, "words": ["x"]}]),
        "share": VALUES,
        "names": VALUES | st.just({"a": {"b": 1}}),
        "anything": VALUES,
        "flag": VALUES,
        "other": VALUES,
    },
)
VALIDATOR = Draft202012Validator(json_schema(Outer))


@given(NEARLY)
def test_the_schema_and_the_decoder_agree(table: dict[str, Any]) -> None:
    document = Document("x.toml", "toml", "", "", Parsed(table, dict))
    try:
        decode(Outer, document, (), table)
    except ConfigError:
        taken = False
    else:
        taken = True
    assert taken == VALIDATOR.is_valid(table)


def test_the_documentation_of_a_key_stands_in_the_schema() -> None:
    assert json_schema(Inner)["properties"]["number"] == {"type": "integer", "minimum": 1, "description": "A number"}
    assert json_schema(Inner)["required"] == ["number"]


def test_suggestions() -> None:
    assert suggestion("exclud", ["exclude", "select"]) == "; did you mean `exclude`?"
    assert suggestion("zzz", ["exclude"]) == ""
