"""Text that cannot act on what shows it."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.facts import Unknown
from vramguard.report.escape import plain, to_json, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字 🦙", "plain é 漢字 🦙"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\n\tb", "a\\r\\n\\tb"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\x9b31m", "\\u009b31m"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("\u200b\u2028\ufeff\u00a0", "\\u200b\\u2028\\ufeff\\u00a0"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_visible_text_is_printable_and_stays_as_it_is(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert visible(shown) == shown
    shown.encode("utf-8")


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(st.characters()), st.lists))
def test_json_is_ascii_and_strict(value: object) -> None:
    text = to_json(value)
    text.encode("ascii")
    read = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    repr(read).encode("utf-8")  # no lone surrogate survives


def test_plain_values() -> None:
    value = {"b": {"y", "x"}, "a": (1, Fraction(4, 5)), "u": Unknown("${X}"), "n": float("inf")}
    assert plain(value) == {"b": ["x", "y"], "a": [1, "4/5"], "u": {"unknown": "${X}"}, "n": "inf"}
