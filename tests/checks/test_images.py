"""VG110, VG117 and VG120, for what the rules' own examples do not say: places, counts, severities, parameters."""

from __future__ import annotations

import pytest
from judged import problems

from vramguard.checks import Severity, load
from vramguard.checks.images import DigestCommentMismatch, UnpinnedAction, UnpinnedImage

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
A, B = "08c6903cd8c0fde910a37f88322edcfb5dd907a8", "11bd71901bbe5b1630ceea73d27597364c9af683"


def workflow(*uses: str) -> str:
    return "on: push\njobs:\n  a:\n    steps:\n" + "".join(f"    - uses: {line}\n" for line in uses)


def test_the_checks_are_registered() -> None:
    assert {"unpinned-image", "unpinned-action", "digest-comment-mismatch"} <= load().keys()


def test_one_problem_for_each_image_of_a_file() -> None:
    text = "FROM a:1 AS x\nFROM b\nFROM a:1\nFROM x\nFROM a:2\n"
    found = problems(UnpinnedImage(), {"Dockerfile": text, "other/Dockerfile": "FROM a:1\n"})
    assert [(p.at.path, p.at.line, p.values["image"], p.amount, p.subject) for p in found] == [
        ("Dockerfile", 1, "a:1", 2, "a:1"),
        ("Dockerfile", 2, "b", 1, "b"),
        ("Dockerfile", 5, "a:2", 1, "a:2"),
        ("other/Dockerfile", 1, "a:1", 1, "a:1"),
    ]
    assert "2 times" in found[0].values["more"]
    assert [link.at.line for link in found[0].evidence] == [3]
    assert found[1].values["more"] == ""


@pytest.mark.parametrize(
    ("image", "severity"), [("a:1.2.3", Severity.ERROR), ("a", None), ("a:latest", None), ("a:$X", Severity.WARNING)]
)
def test_how_much_an_image_weighs(image: str, severity: Severity | None) -> None:
    (found,) = problems(UnpinnedImage(), {"Dockerfile": f"FROM {image}\n"})
    assert found.severity is severity


def test_a_fixed_tag_may_weigh_less() -> None:
    found = problems(UnpinnedImage(tagged=Severity.NOTE), {"Dockerfile": "FROM a:1.2.3\nFROM a:1\n"})
    assert [problem.severity for problem in found] == [Severity.NOTE, None]


def test_other_classes_weigh_less_and_the_least_counts() -> None:
    files = {
        f"{kind}/Dockerfile": "FROM a:1.2.3\nFROM b\n" for kind in ("example", "test", "docs", "vendored", "training")
    }
    found = problems(UnpinnedImage(tagged=Severity.NOTE), files)
    assert {(problem.at.path.partition("/")[0], problem.severity) for problem in found} == {
        *((kind, severity) for kind in ("example", "test", "docs") for severity in (Severity.NOTE, Severity.WARNING)),
        ("training", Severity.NOTE),
        ("training", None),
    }
    assert problems(UnpinnedImage(classes=(), warnings=()), files) == []


@pytest.mark.parametrize(
    ("path", "text", "exact"),
    [
        ("Dockerfile", "FROM a:1\n", "a:1@sha256:DIGEST"),
        ("Dockerfile", "FROM a\n", "a@sha256:DIGEST"),
        ("values.yaml", "image: {repository: org/a, tag: ''}\n", "digest: sha256:DIGEST"),
    ],
)
def test_what_would_be_exact(path: str, text: str, exact: str) -> None:
    (found,) = problems(UnpinnedImage(), {path: text})
    assert found.values["exact"] == exact


def test_one_problem_for_each_action_of_a_file() -> None:
    text = workflow("a/b@v1", f"a/b@{A}", "a/b@v1", "a/c@main", "./x", "docker://d:1")
    found = problems(UnpinnedAction(), {".github/workflows/a.yml": text})
    assert [(p.at.line, p.values["action"], p.amount) for p in found] == [(5, "a/b@v1", 2), (8, "a/c@main", 1)]


def test_silence_where_another_checker_is_set_up() -> None:
    files = {".github/workflows/a.yml": workflow("a/b@v1"), "zizmor.yml": ""}
    assert problems(UnpinnedAction(), files) == []
    assert len(problems(UnpinnedAction(quiet_with=()), files)) == 1
    assert len(problems(UnpinnedAction(quiet_with=("hadolint",)), files)) == 1


def test_trusted_owners_and_names() -> None:
    files = {".github/workflows/a.yml": workflow("actions/checkout@v5", "actionsx/a@v1", "org/a@v1", "org/ab@v1")}
    found = problems(UnpinnedAction(trusted=("actions/", "org/a")), files)
    assert [problem.values["name"] for problem in found] == ["actionsx/a", "org/ab"]


def test_hooks_are_judged_where_they_are_asked_for() -> None:
    files = {".pre-commit-config.yaml": "repos: [{repo: 'https://github.com/a/b', rev: v1}]\n"}
    assert problems(UnpinnedAction(), files) == []
    assert len(problems(UnpinnedAction(forms=("pre-commit",)), files)) == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("v4", "v4.2.2"),
        ("v4.2.2", "tag=v4.2.2"),
        ("v4.2.2", "4.2.2"),
        ("v4.2.2", "the tested one"),
        ("v4.2.2", "v4.2.2, was v4.2.1"),
        ("v4.2.2", "zizmor: ignore[x] 3"),
        ("v4.2.2", "vramguard: ignore[VG117] until=2027-01-31 because"),
    ],
)
def test_comments_that_agree_or_say_nothing(one: str, two: str) -> None:
    files = {".github/workflows/a.yml": workflow(f"a/b@{A} # {one}", f"a/b@{A} # {two}")}
    assert problems(DigestCommentMismatch(), files) == []


@pytest.mark.parametrize(
    ("one", "two"), [("v4", "v5"), ("v4.2.1", "v4.2.2"), ("v4.2", "tag=v4.3.1"), ("v4", "frozen: v5.0")]
)
def test_comments_that_contradict(one: str, two: str) -> None:
    files = {".github/workflows/a.yml": workflow(f"a/b@{A} # {one}", f"a/b/sub@{A} # {two}")}
    (found,) = problems(DigestCommentMismatch(), files)
    assert found.at.line == 6
    assert [link.at.line for link in found.evidence] == [5]


@pytest.mark.parametrize(("version", "count"), [("v5.0.0", 1), ("v5.0", 0), ("v5", 0), ("", 0)])
def test_one_release_at_two_commits(version: str, count: int) -> None:
    files = {
        ".github/workflows/a.yml": workflow(f"a/b@{A} # {version}", f"a/b@{B} # {version}", f"c/d@{B} # {version}")
    }
    assert len(problems(DigestCommentMismatch(), files)) == count


@pytest.mark.parametrize(
    ("one", "two", "count"),
    [
        ("1.2.3", "1.2.4", 1),
        ("1.2.3", "latest", 0),
        ("1.2.3-slim", "1.2.3", 0),
        ("3.11", "3.11.4", 0),
        ("3.11", "3.12.1", 1),
    ],
)
def test_one_digest_under_two_tags(one: str, two: str, count: int) -> None:
    text = f"FROM docker.io/a:{one}@sha256:{HEX}\nFROM a:{two}@sha256:{HEX}\n"
    assert len(problems(DigestCommentMismatch(), {"Dockerfile": text})) == count


@pytest.mark.parametrize(
    ("comment", "count"), [("v1.2.3", 0), ("1.2", 0), ("v1.2.4", 1), ("why 2 of these", 1), ("", 0)]
)
def test_a_comment_beside_a_tag(comment: str, count: int) -> None:
    text = f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: a:1.2.3@sha256:{HEX} # {comment}\n"
    found = problems(DigestCommentMismatch(), {"pod.yaml": text})
    assert len(found) == count


@pytest.mark.parametrize(
    ("path", "text", "severity"),
    [
        ("run.sh", "docker run a:latest\n", Severity.WARNING),
        ("Makefile", "a:\n\tdocker run a:latest\n", Severity.WARNING),
        (".github/workflows/a.yml", "jobs: {a: {container: 'a:latest'}}\n", Severity.WARNING),
        ("Dockerfile", "FROM a:latest\n", None),
    ],
)
def test_what_a_pipeline_or_a_person_starts_weighs_less(path: str, text: str, severity: Severity | None) -> None:
    (found,) = problems(UnpinnedImage(), {path: text})
    assert found.severity == severity


@pytest.mark.parametrize(
    ("tag", "words"),
    [("latest", "moves to each new build"), ("bookworm", "names no one release"), ("v1.2.3", "can be moved")],
)
def test_what_is_said_of_a_tag(tag: str, words: str) -> None:
    (found,) = problems(UnpinnedImage(), {"Dockerfile": f"FROM a:{tag}\n"})
    assert words in found.values["reason"]


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("values.yaml", "image: {repository: org/a, tag: v1.2.3}\n", "beside `repository`"),
        ("kustomization.yaml", "images: [{name: a, newTag: v1.2.3}]\n", "in the place of `newTag:`"),
        ("Dockerfile", "FROM a:v1.2.3\n", ""),
    ],
)
def test_a_key_of_its_own_is_told(path: str, text: str, words: str) -> None:
    (found,) = problems(UnpinnedImage(), {path: text, "Chart.yaml": "name: a\n"})
    assert (words in found.values["keys"]) if words else found.values["keys"] == ""
