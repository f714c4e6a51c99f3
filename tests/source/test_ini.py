"""setup.cfg and tox.ini, as configparser reads them."""

from __future__ import annotations

import configparser
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.source import Document, read
from vramguard.source.ini import parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[a]\nb = c\n", {"a": {"b": ["c"]}}),
        ("[a]\nB: c d\n", {"a": {"b": ["c d"]}}),
        ("[a]\nb =\n  c\n\n  # no\n  ; no\n  d\ne=f", {"a": {"b": ["c", "d"], "e": ["f"]}}),
        ("[a]\nb = c # kept\n", {"a": {"b": ["c # kept"]}}),
        ("[testenv:x]\ndeps =\n\tpytest\n", {"testenv:x": {"deps": ["pytest"]}}),
        ("b = c\n[a]\n", {"a": {}}),
        ("[a]\n  b = c\n  d = e\n", {"a": {"b": ["c"], "d": ["e"]}}),
        ("[a]\nb = c=d\n", {"a": {"b": ["c=d"]}}),
        ("", {}),
    ],
)
def test_sections_keys_and_lines(text: str, value: object) -> None:
    assert parse(text).value == value


def test_places() -> None:
    text = "[options]\ninstall_requires =\n    torch\n\n    numpy==1 \nx = y\n"
    document = read("setup.cfg", text.encode())
    assert isinstance(document, Document)
    assert document.at("options", "install_requires", 1)[1:] == (5, 5, 5, 13)
    assert document.key_at("options", "install_requires")[1:] == (2, 1, 2, 17)
    assert document.at("options", "x", 0)[1:] == (6, 5, 6, 6)


names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
values = st.lists(
    st.text(string.ascii_letters + "=<>.[]! ", min_size=1, max_size=8).map(str.strip).filter(bool), max_size=3
)


@given(st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=3))
def test_as_configparser_reads_it(written: dict[str, dict[str, list[str]]]) -> None:
    text = "".join(
        f"[{section}]\n"
        + "".join(f"{key} =" + "".join(f"\n  {line}" for line in lines) + "\n" for key, lines in keys.items())
        for section, keys in written.items()
    )
    parser = configparser.RawConfigParser(default_section="?")
    parser.read_string(text)
    theirs = {s: {k: [line for line in v.split("\n") if line] for k, v in parser[s].items()} for s in parser.sections()}
    assert parse(text).value == theirs


@given(st.text(st.sampled_from("[]=:#; \t\nab"), max_size=40))
def test_no_text_is_too_strange(text: str) -> None:
    parsed = parse(text)
    assert all(span.key.line <= text.count("\n") + 1 for span in parsed.locate().values())
