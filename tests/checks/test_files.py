"""Files that could not be judged, and files that say two things."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.checks import Severity
from vramguard.checks.files import Internal, RepeatedKey, Template, UnreadableFile
from vramguard.classes import classifier
from vramguard.facts import Deployment, DuplicateKey, Facts, Unknown
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


def test_the_templates_of_a_chart_are_told_of_together() -> None:
    paths = ("a/files/patch.yaml", "a/templates/pod.yaml", "b/job.yaml", "b/pod.yaml")
    rendered = [Unreadable(Location(path), "why", template=True) for path in paths]
    found = list(Template().find(Facts(rendered, paths=("a/Chart.yaml", *paths))))
    assert [(problem.at.path, problem.amount) for problem in found] == [(paths[0], 2), (paths[2], 1), (paths[3], 1)]
    assert "1 more template of this chart" in found[0].values["what"]


def deployment(path: str, **values: Any) -> Deployment:  # noqa: ANN401 - fields of Deployment
    return Deployment(Location(path, 2), declared=False, **{"model": Unknown("$MODEL"), "form": "kubernetes", **values})


def test_programs_runtimes_and_trainings_are_one_problem_each_and_files_of_configuration_one_by_one() -> None:
    made = [
        deployment("a.yaml"),
        deployment("a.py", form="python"),
        deployment("b.yaml"),
        deployment("b.py", form="python"),
        deployment("c.py", form="python", training=True),
        deployment("d.py", form="python", training=True),
        deployment("e.yaml", pattern=True),
        deployment("b.yaml"),
    ]
    found = list(Template().find(Facts(made)))
    assert [(problem.at.path, problem.amount) for problem in found] == [
        ("a.py", 2),
        ("a.yaml", 1),
        ("b.yaml", 2),
        ("c.py", 2),
        ("e.yaml", 1),
    ]
    assert sum(problem.amount for problem in found) == len(made)
    programs, runtimes = found[0].values, found[4].values
    assert "2 deployments in Python are not judged" in programs["what"]
    assert ("`$MODEL`" in programs["what"], "tool.vramguard.deployment" in programs["mend"]) == (True, True)
    assert "each service that uses it" in runtimes["what"]
    assert "render it" in found[1].values["mend"]


def test_one_program_alone_is_told_of_by_its_reason() -> None:
    (problem,) = Template().find(Facts([deployment("c.py", form="python", training=True)]))
    why = "it trains, and what decides its memory, its card among it, is not all written down"
    assert problem.values["what"] == f"the deployment of a model is not judged: {why}"
