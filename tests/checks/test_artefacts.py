"""VG109, and what VG107 says of things that are no deployment."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.checks import Severity
from vramguard.checks.artefacts import RemoteCode
from vramguard.checks.models import UnpinnedModel
from vramguard.facts import Artefact, Deployment, Facts, PathClass, Unknown
from vramguard.source import Location

COMMIT = "0" * 40


def classify(path: str) -> PathClass:
    return PathClass(path.partition("/")[0]) if "/" in path else PathClass.SERVING


def artefact(name: str = "acme/a", line: int = 3, path: str = "app.py", **more: Any) -> Artefact:  # noqa: ANN401
    return Artefact(Location(path, line), "tokenizer", "python", name, **more)


def deployed(line: int = 3, **more: Any) -> Deployment:  # noqa: ANN401
    places = {"trust_remote_code": Location("app.py", line + 1)}
    return Deployment(Location("app.py", line), declared=False, form="python", model="acme/a", places=places, **more)


def test_each_name_once_in_a_file() -> None:
    found = [artefact(), artefact(line=5), artefact("acme/b", 6), artefact("ACME/A", 7), artefact(path="b.py")]
    problems = list(UnpinnedModel().find(Facts(found)))
    assert [(problem.at.path, problem.at.line) for problem in problems] == [("app.py", 3), ("app.py", 6), ("b.py", 3)]


def test_what_a_deployment_says_already_is_not_said_again() -> None:
    (problem,) = UnpinnedModel().find(Facts([deployed(), artefact(line=8), artefact(line=9, revision=COMMIT)]))
    assert problem.at.line == 3


@pytest.mark.parametrize(
    ("path", "severity"),
    [("training/a.py", [None]), ("example/a.py", [Severity.WARNING]), ("test/a.py", []), ("docs/a.py", [])],
)
def test_paths_weigh_as_they_are_used(path: str, severity: list[Severity | None]) -> None:
    facts = Facts([artefact(path=path, trusted=True), artefact("acme/b", 4, path)], classify)
    assert [problem.severity for problem in RemoteCode().find(facts)] == severity
    assert [problem.severity for problem in UnpinnedModel().find(facts)] == severity


def test_where_code_is_run_only_that_is_said() -> None:
    facts = Facts([artefact(trusted=True, trusted_at=Location("app.py", 4)), deployed(8, trust_remote_code=True)])
    (problem,) = RemoteCode().find(facts)
    assert problem.at.line == 4
    assert not list(UnpinnedModel().find(facts))


@pytest.mark.parametrize("revision", [COMMIT, Unknown("$REVISION")])
def test_a_commit_is_enough_and_a_variable_may_be_one(revision: Any) -> None:  # noqa: ANN401
    facts = Facts([deployed(trust_remote_code=True, revision=revision), artefact(trusted=True, revision=revision)])
    assert not list(RemoteCode().find(facts))


def test_a_code_revision_fixes_the_code_and_not_the_weights() -> None:
    facts = Facts([deployed(trust_remote_code=True, code_revision=COMMIT)])
    assert not list(RemoteCode().find(facts))
    assert len(list(UnpinnedModel().find(facts))) == 1


@pytest.mark.parametrize(
    ("more", "pin"),
    [
        ({"source": "mlflow", "revision": "@champion"}, "models:/a/VERSION"),
        ({"source": "mlflow", "revision": "Staging"}, "models:/a/VERSION"),
        ({"source": "bucket", "revision": "latest"}, "s3://b/a/VERSION"),
        ({"source": "torch-hub"}, "acme/a:COMMIT"),
        ({}, 'revision="COMMIT"'),
    ],
)
def test_how_it_would_be_pinned(more: dict[str, Any], pin: str) -> None:
    names = {"@champion": "models:/a@champion", "Staging": "models:/a/Staging", "latest": "s3://b/a/latest"}
    (problem,) = UnpinnedModel().find(Facts([artefact(names.get(more.get("revision", ""), "acme/a"), **more)]))
    assert problem.values["pin"] == pin
