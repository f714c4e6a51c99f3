"""VG107 and VG108: models without a commit, and locks that tell of other ones."""

from __future__ import annotations

from typing import Any

import pytest

from vramguard.checks import Severity
from vramguard.checks.models import StaleModelLock, UnpinnedModel
from vramguard.facts import Deployment, Facts, LockedModel, ModelConfig, PathClass, Unknown
from vramguard.source import Location, Unreadable

COMMIT, OTHER = "0" * 40, "1" * 40
LOCK = "vramguard.lock"


def deployed(model: Any, revision: Any = None, **more: Any) -> Deployment:  # noqa: ANN401
    path = more.pop("path", "serve.yaml")
    places = {"model": Location(path, 4)} | ({"revision": Location(path, 5)} if revision else {})
    return Deployment(Location(path, 3), declared=False, model=model, revision=revision, places=places, **more)


def row(model: str = "acme/a", revision: str | None = None, commit: str | None = COMMIT) -> LockedModel:
    return LockedModel(Location(LOCK, 7), model, revision, commit, "hub", {"model_type": "llama"}, "0" * 64)


def facts(*found: Any, lock: bool = False) -> Facts:  # noqa: ANN401
    def classify(path: str) -> PathClass:
        return PathClass(path.partition("/")[0]) if "/" in path else PathClass.SERVING

    return Facts(found, classify, paths=(LOCK,) if lock else ())


@pytest.mark.parametrize(
    ("model", "revision", "reason"),
    [
        ("acme/a", None, "it names no commit, so it is the default branch of today"),
        ("acme/a", "main", "`main` is a branch or a tag"),
        ("acme/a", COMMIT[:8], "is a shortened commit hash"),
        ("gpt2", None, "it names no commit"),
        ("hf://acme/a", None, "it names no commit"),
    ],
)
def test_a_name_without_a_full_commit(model: str, revision: str | None, reason: str) -> None:
    (problem,) = UnpinnedModel().find(facts(deployed(model, revision)))
    assert reason in problem.values["reason"]
    assert problem.severity is None
    assert problem.at.line == (5 if revision else 4)


@pytest.mark.parametrize(
    ("model", "revision"),
    [
        ("acme/a", COMMIT),
        ("/models/a", None),
        ("models/a", None),
        ("recommender", None),
        (Unknown("$MODEL"), None),
        ("acme/a", Unknown("$REVISION")),
        (None, None),
    ],
)
def test_a_commit_a_path_and_what_cannot_be_known(model: Any, revision: Any) -> None:  # noqa: ANN401
    assert not list(UnpinnedModel().find(facts(deployed(model, revision))))


def test_an_engine_that_takes_no_revision_is_not_asked_for_one() -> None:
    assert not list(UnpinnedModel().find(facts(deployed("acme/a-GGUF", engine="llama.cpp"))))


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("training/a.py", None),
        ("example/a.yaml", Severity.WARNING),
        ("docs/a.md", 0),
        ("test/a.py", 0),
        ("vendored/a", 0),
    ],
)
def test_what_nobody_serves_is_weighed_less_or_not_at_all(path: str, severity: Severity | int | None) -> None:
    found = [problem.severity for problem in UnpinnedModel().find(facts(deployed("acme/a", path=path)))]
    assert found == ([] if severity == 0 else [severity])


def test_a_lock_makes_it_a_warning_that_names_the_commit() -> None:
    flags = {"engine": "vllm"}
    (problem,) = UnpinnedModel().find(facts(deployed("acme/a", **flags), row(), lock=True))
    assert problem.severity is Severity.WARNING
    assert problem.values["pin"] == f"--revision {COMMIT}"
    assert COMMIT in problem.values["held"]
    assert [link.at.path for link in problem.evidence] == [LOCK]
    (problem,) = UnpinnedModel().find(facts(deployed("acme/a", "v1", **flags), row(), lock=True))
    assert problem.severity is None, "the lock holds another branch"
    assert "`vramguard lock`" in problem.values["find"]


def test_python_and_our_own_configuration_write_it_in_their_way() -> None:
    python = deployed("acme/a", engine="vllm", form="python")
    (problem,) = UnpinnedModel().find(facts(python, row(), lock=True))
    assert problem.values["pin"] == f'revision="{COMMIT}"'
    declared = Deployment(Location("vramguard.toml"), declared=True, model="acme/a", engine="vllm")
    (problem,) = UnpinnedModel().find(facts(declared))
    assert problem.values["pin"] == 'revision = "COMMIT"'
    assert problem.at == declared.at


def stale(*found: Any, lock: bool = True) -> list[tuple[str, str, Severity | None]]:  # noqa: ANN401
    problems = StaleModelLock().find(facts(*found, lock=lock))
    return [(f"{problem.at.path}:{problem.at.line}", problem.values["what"], problem.severity) for problem in problems]


def test_a_lock_that_says_what_is_deployed() -> None:
    assert stale(deployed("acme/a"), row()) == []
    assert stale(deployed("acme/a", COMMIT), row()) == []
    assert stale(deployed("acme/a"), lock=False) == [], "no lock at all is no stale one"


def test_a_model_that_it_lacks() -> None:
    lacking = [("serve.yaml:4", "`vramguard.lock` has no row for `acme/b`", None)]
    assert stale(deployed("acme/b"), deployed("acme/a"), row()) == lacking
    assert stale(deployed("acme/b", path="example/a.yaml"))[0][2] is Severity.WARNING
    assert stale(deployed("acme/b", path="test/a.yaml")) == []


def test_a_model_of_which_it_tells_another_revision() -> None:
    words = f"`vramguard.lock` holds `acme/a`, and this deployment asks for `acme/a@{OTHER}`"
    assert stale(deployed("acme/a", OTHER), deployed("acme/a"), row()) == [("serve.yaml:5", words, None)]


def test_a_row_that_nothing_names() -> None:
    words = "the lock holds `acme/a@v1`, which no deployment names"
    assert stale(deployed("acme/a"), row(), row(revision="v1", commit=OTHER)) == [
        (f"{LOCK}:7", words, Severity.WARNING)
    ]


def test_what_cannot_be_told_is_not_said() -> None:
    broken = Unreadable(Location(LOCK), "row 1 of the lock: …")
    assert stale(deployed("acme/b"), broken, row()) == [], "VG001 says that the lock cannot be read"
    own = ModelConfig(Location("m/config.json"), {"model_type": "llama"}, "")
    declared = Deployment(Location("vramguard.toml"), declared=True, model="acme/b", config="m/config.json")
    assert stale(own, declared) == [], "the repository itself says what it is"


@pytest.mark.parametrize("values", [{"holds": "", "engine": "nim"}, {"form": "kaito", "engine": "vllm"}])
def test_a_name_that_its_maker_or_a_preset_pins_is_not_asked_for_a_commit(values: dict[str, Any]) -> None:
    assert not list(UnpinnedModel().find(facts(deployed("meta/llama-3.1-8b-instruct", **values))))


@pytest.mark.parametrize(
    ("values", "pin"),
    [
        ({"form": "kubernetes", "engine": "vllm"}, "--revision COMMIT"),
        ({"form": "python", "engine": "vllm"}, 'revision="COMMIT"'),
        ({"form": "truss", "engine": "tensorrt-llm"}, "revision: COMMIT"),
        ({"form": "ray", "engine": "vllm"}, "--revision COMMIT"),
        ({"form": "ome", "engine": "sglang"}, "hf://acme/a@COMMIT"),
        ({"form": "kserve", "engine": "kserve"}, "--model_revision=COMMIT"),
        ({"form": "compose", "engine": "fastchat"}, "--revision COMMIT"),
    ],
)
def test_the_commit_is_written_as_the_place_writes_it(values: dict[str, Any], pin: str) -> None:
    (problem,) = UnpinnedModel().find(facts(deployed("acme/a", **values)))
    assert problem.values["pin"] == pin


def test_overlays_of_one_manifest_are_one_problem() -> None:
    assert len(list(UnpinnedModel().find(facts(deployed("acme/a"), deployed("acme/a"))))) == 1


def test_the_fix_says_where_an_engine_takes_its_revision() -> None:
    engine = Deployment(Location("a.yaml"), declared=False, form="kubernetes", engine="vllm", model="acme/a")
    (found,) = UnpinnedModel().find(Facts([engine]))
    assert (found.values["pin"], found.values["where"]) == ("--revision COMMIT", "among the engine's arguments")
