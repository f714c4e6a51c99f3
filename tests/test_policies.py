"""Every example of every shipped rule: `bad` raises that rule, `good` does not; generated, not written."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from vramguard import engine, policy
from vramguard.checks import CHECKS
from vramguard.source.sampling import Sample, sampled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.policy import Example, Finding, Rule

RULES = policy.load_rules()
# One compares two policies, two speak of what a service answers (tests/audit): a set of files shows nothing of either.
UNSHOWN = {"VG003", "VG118", "VG119"}
BESIDE = {"VG000": ("VG101",), "VG002": ("VG101",)}  # a suppression needs a rule that it suppresses
CASES = [
    pytest.param(rule, example, id=f"{rule.id}-{number}-{example.title or 'plain'}")
    for rule in RULES
    for number, example in enumerate(rule.examples)
]


class Files:
    """A tree in memory."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = {path: text.encode() for path, text in files.items()}

    def paths(self) -> list[str]:
        return sorted(self._files)

    def read(self, path: str) -> bytes | None:
        return self._files.get(path)

    def head(self, path: str) -> None:
        """No example is a file of weights: an example is text."""

    def sample(self, path: str, kind: str) -> Sample | None:
        data = self._files.get(path)
        return None if data is None else sampled(BytesIO(data), len(data), kind)


def findings(rule: Rule, files: Mapping[str, str]) -> list[Finding]:
    """What the engine finds in the files with only this rule selected, and what it needs beside it."""
    tree = Files(files)
    found = engine.check(tree, engine.load_policy(tree, select=(rule.id, *BESIDE.get(rule.id, ())))).findings
    return [finding for finding in found if finding.id not in BESIDE.get(rule.id, ())]


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_the_bad_example_breaks_the_rule(rule: Rule, example: Example) -> None:
    found = findings(rule, example.bad)
    assert {finding.id for finding in found} == {rule.id}
    assert all(finding.at.path in example.bad and finding.message and finding.help for finding in found)


@pytest.mark.parametrize(("rule", "example"), CASES)
def test_the_good_example_keeps_the_rule(rule: Rule, example: Example) -> None:
    assert example.good
    assert findings(rule, example.good) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_complete(rule: Rule) -> None:
    assert rule.examples or rule.id in UNSHOWN
    assert rule.why.strip()
    assert rule.fix.strip()
    assert rule.name == rule.name.lower().replace(" ", "-")


def test_names_are_as_unique_as_ids() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_kind_of_check_is_used() -> None:
    assert {type(part.check) for rule in RULES for part in rule.parts} == set(CHECKS.values())
