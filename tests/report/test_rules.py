"""The rules as a list, as pages, and as docs/rules.md."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

from vramguard.checks import Severity
from vramguard.policy import Example
from vramguard.report import rules as shown

if TYPE_CHECKING:
    from pathlib import Path

    from report.conftest import Make


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Kind:
    """Things must not be `many`."""

    many: tuple[str, ...] = ("a", "b|c")
    share: Fraction = Fraction(4, 5)

    def find(self, _: object) -> tuple[()]:
        return ()


def test_docs_are_up_to_date(make: type[Make], project: Path) -> None:
    assert (project / "docs" / "rules.md").read_text("utf-8") == shown.markdown(make.rules.values())


def test_page(make: type[Make]) -> None:
    rule = replace(
        make.rules["VG101"],
        check=Kind(),
        message="{count} of {size:gib} are <many>",
        why="Because\nit is.\n",
        fix="Make it *one*.",
        examples=(Example({"a.toml": "x = 1\n"}, {"a.md": "```\n"}, "One"),),
    )
    assert shown.page(rule) == (
        "# VG101 unpinned-requirement\n\n"
        "*error*: {count} of {size} are &lt;many>\n\n"
        "**Why.** Because it is.\n\n"
        "**Fix.** Make it \\*one\\*.\n\n"
        "**Parameters.** Things must not be `many`.\n\n"
        "| parameter | value |\n|---|---|\n| `many` | a, b\\|c |\n| `share` | 0.80 |\n\n"
        "**One**\n\n"
        "Rejected: `a.toml`\n\n```toml\nx = 1\n```\n\n"
        "Passes: `a.md`\n\n````text\n```\n````"
    )


def test_markdown_has_every_rule_and_an_anchor_for_it(make: type[Make]) -> None:
    text = shown.markdown(make.rules.values())
    for rule in make.rules.values():
        assert f"| [{rule.id}](#{rule.id.lower()}) | {rule.name} | {rule.severity.label} |" in text
        assert f'<a id="{rule.id.lower()}"></a>\n\n### {rule.id} {rule.name}\n' in text


def test_json(make: type[Make]) -> None:
    document = json.loads(shown.render(make.rules.values()))
    assert document["schema"] == "vramguard.rules/1"
    by_id = {entry["id"]: entry for entry in document["rules"]}
    assert set(by_id) == set(make.rules)
    assert by_id["VG101"]["severity"] == "error"
    assert by_id["VG201"]["parameters"]["budget"] == "0.80"
    assert by_id["VG101"]["examples"][0]["bad"] == {"requirements.txt": "torch\n"}


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (Fraction(4, 5), "0.80"),
        (Fraction(1, 3), "1/3"),
        (Severity.ERROR, "error"),
        (Colour.RED, "red"),
        (True, "true"),
        ((), "none"),
        (None, "none"),
        (frozenset({"b", "a"}), "a, b"),
        ({"a": 1}, "a: 1"),
        (12, "12"),
    ],
)
def test_words_for_values(value: object, word: str) -> None:
    assert shown.word(value) == word


def test_list(make: type[Make]) -> None:
    console = make.console(60)
    shown.print_rules([make.rules["VG101"], make.rules["VG005"]], console)
    assert make.written(console) == (
        "The gate itself: what could not be judged, and exemptions\n"
        "that do not hold\n"
        "  VG005  warning  duplicate-key\n"
        "\n"
        "Every dependency exact, with the hash of what will run\n"
        "  VG101  error    unpinned-requirement\n"
        "\n"
        "`vramguard rules ID` shows a rule's page.\n"
    )


@pytest.mark.parametrize("width", [40, 80])
def test_every_page_prints(make: type[Make], width: int) -> None:
    for rule in make.rules.values():
        console = make.console(width)
        shown.print_rule(rule, console)
        text = make.written(console)
        after = len(f"{rule.id} {rule.name}")  # a name may end in a severity
        first = text[: text.index(rule.severity.label, after)].split()  # on two lines where they do not fit on one
        assert first == [rule.id, rule.name]
        assert " ".join(rule.why.split()) in " ".join(text.split())
        assert text.count("  Rejected  ") == sum(len(example.bad) for example in rule.examples)
