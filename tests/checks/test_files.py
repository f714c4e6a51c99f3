"""Files that could not be judged, and files that say two things."""

from __future__ import annotations

import pytest

from vramguard.checks import Severity
from vramguard.checks.files import Internal, RepeatedKey, Template, UnreadableFile
from vramguard.classes import classifier
from vramguard.facts import DuplicateKey, Facts
from vramguard.source import Location, Unreadable

BROKEN = Unreadable(Location("a.yaml", 3), "why")
RENDERED = Unreadable(Location("b.yaml"), "why", template=True)


def test_a_template_is_no_broken_file() -> None:
    facts = Facts([BROKEN, RENDERED])
    assert [(problem.at, problem.values) for problem in UnreadableFile().find(facts)] == [
        (BROKEN.at, {"reason": "why"})
    ]
    assert [problem.at for problem in Template().find(facts)] == [RENDERED.at]


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("a.yaml", None),
        ("train/a.yaml", None),
        ("examples/a.yaml", None),
        ("tests/a.yaml", Severity.NOTE),
        ("docs/a.yaml", Severity.NOTE),
        ("third_party/a.yaml", Severity.NOTE),
    ],
)
def test_what_is_not_served_is_a_note(path: str, severity: Severity | None) -> None:
    facts = Facts([Unreadable(Location(path), "why")], classifier({}))
    assert [problem.severity for problem in UnreadableFile().find(facts)] == [severity]


def test_a_key_given_twice_is_known_again_by_its_message() -> None:
    (problem,) = RepeatedKey().find(Facts([DuplicateKey(Location("a.yaml", 2), "key `a` again")]))
    assert (problem.subject, problem.values) == ("key `a` again", {"message": "key `a` again"})


def test_internal_findings_are_not_made_by_a_check() -> None:
    assert list(Internal().find(Facts([BROKEN]))) == []
