"""JSON5: what JSON does not have, where every value stands, and hostile text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.source import Document, Location, ParseError, read
from vramguard.source.json5 import parse

TEXT = """\
// what merges itself
{
  extends: ['config:recommended',], /* all
  of it */
  "automerge": true, // a comment
  packageRules: [{ matchPackageNames: ["torch"], automerge: false, },],
  'prHourlyLimit': 0x10,
  url: "https://example.com/a",
}
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def test_values_and_places() -> None:
    found = read("renovate.json5", TEXT.encode())
    assert isinstance(found, Document)
    assert found.kind == "json5"
    assert found.value == {
        "extends": ["config:recommended"],
        "automerge": True,
        "packageRules": [{"matchPackageNames": ["torch"], "automerge": False}],
        "prHourlyLimit": "0x10",
        "url": "https://example.com/a",
    }
    assert found.at("automerge") == Location("renovate.json5", 5, 16, 5, 20)
    assert found.key_at("packageRules", 0, "automerge") == Location("renovate.json5", 6, 50, 6, 59)


@pytest.mark.parametrize("text", ["", "{", "[1", "{a 1}", "{a:}", "{} {}", "]", "[1 2]", "'open", "{a: 1,, b: 2}"])
def test_what_is_no_json5(text: str) -> None:
    with pytest.raises(ParseError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a:" * 5000, "/*" * 100_000, '"' + "\\\\" * 200_000, "a" * 500_000 + ":"]
)
def test_hostile_text_is_refused_quickly(text: str) -> None:
    with pytest.raises(ParseError):
        parse(text)


@given(VALUES)
def test_json_means_the_same(value: object) -> None:
    assert parse(json.dumps(value)).value == value
