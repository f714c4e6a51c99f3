"""Demand 1, for what the rules' own examples do not say: places, counts, severities, path classes, parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.checks import Severity, load
from vramguard.checks.locks import LockEntryWithoutHash, MissingLockFile, StaleLockFile
from vramguard.checks.pinning import RequirementWithoutHash, UnpinnedRequirement
from vramguard.extract import extract
from vramguard.facts import Facts, PathClass
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from vramguard.checks import Check, Problem
    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def classify(path: str) -> PathClass:
    return next((kind for kind in PathClass if path.startswith(f"{kind.value}/")), PathClass.SERVING)


def problems(check: Check, files: dict[str, str]) -> list[Problem]:
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    return list(check.find(Facts(found, classify, files)))


def test_the_checks_are_registered() -> None:
    kinds = {"unpinned-requirement", "requirement-without-hash", "missing-lock-file", "stale-lock-file"}
    assert kinds | {"lock-entry-without-hash"} <= load().keys()


def test_one_problem_for_each_unpinned_requirement() -> None:
    found = problems(
        UnpinnedRequirement(), {"requirements.txt": "a\nb==1\nC[x]>=2 # why\n-e .\ngit+https://h/d@main\ne=1\n"}
    )
    assert [(p.at.line, p.at.column, p.values["requirement"], p.subject) for p in found] == [
        (1, 1, "a", "a;"),
        (3, 1, "C[x]>=2", "c;"),
        (5, 1, "git+https://h/d@main", "d;"),
        (6, 1, "e=1", "e;"),
    ]
    assert all(p.severity is None for p in found)


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("torch[x]>=2", "torch[x]==VERSION"),
        ("torch=2", "torch==VERSION"),
        ("git+https://h/o/r", "git+https://h/o/r@COMMIT"),
        ("git+ssh://git@h/o/r.git@a/b#egg=r", "git+ssh://git@h/o/r.git@COMMIT#egg=r"),
        ("r @ git+ssh://git@h/o/r.git", "git+ssh://git@h/o/r.git@COMMIT"),
        ("https://h/r.whl#md5=00", "https://h/r.whl#sha256=DIGEST"),
    ],
)
def test_what_to_write_instead(text: str, exact: str) -> None:
    (found,) = problems(UnpinnedRequirement(), {"requirements.txt": text})
    assert found.values["exact"] == exact


def test_the_same_name_under_two_markers_is_two_subjects() -> None:
    text = "a>=1 ; python_version < '3.12'\na>=2 ; python_version >= '3.12'\n"
    assert len({p.subject for p in problems(UnpinnedRequirement(), {"requirements.txt": text})}) == 2


def test_ranges_that_a_lock_covers_are_left_to_the_lock() -> None:
    text = '[build-system]\nrequires = ["x>=1"]\n[project]\ndependencies = ["a>=1", "b =1"]\n'
    text += '[dependency-groups]\ndev = ["c"]\n'
    found = problems(UnpinnedRequirement(), {"pyproject.toml": text})
    assert [(p.values["name"], p.values["section"], p.severity) for p in found] == [
        ("x", "build-system.requires", Severity.WARNING),
        ("b", "project.dependencies", None),
    ]
    assert (
        problems(UnpinnedRequirement(build_system=Severity.ERROR), {"pyproject.toml": text})[0].severity
        is Severity.ERROR
    )


def test_constraints_weigh_less() -> None:
    files = {"constraints.txt": "urllib3<2\n", "requirements.txt": "-c constraints.txt\na==1\n"}
    assert [(p.at.path, p.severity) for p in problems(UnpinnedRequirement(), files)] == [
        ("constraints.txt", Severity.WARNING)
    ]
    assert problems(RequirementWithoutHash(), {"constraints.txt": "a==1\n"}) == []


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (UnpinnedRequirement(), "requirements.txt", "a\n"),
        (RequirementWithoutHash(), "requirements.txt", "a==1\n"),
        (MissingLockFile(), "pyproject.toml", '[project]\ndependencies = ["a"]\n'),
        (LockEntryWithoutHash(), "poetry.lock", '[[package]]\nname = "a"\n'),
    ],
)
def test_path_classes(check: Check, name: str, text: str) -> None:
    found = {kind: problems(check, {f"{kind.value}/{name}": text}) for kind in PathClass}
    judged = {kind: problem.severity for kind, listed in found.items() for problem in listed}
    assert judged == {
        PathClass.SERVING: None,
        PathClass.TRAINING: None,
        PathClass.TEST: Severity.WARNING,
        PathClass.EXAMPLE: Severity.WARNING,
        PathClass.DOCS: Severity.WARNING,
    }


def test_one_problem_for_each_file_without_hashes() -> None:
    text = f"a\nb==1\nc==1 --hash={SHA}\nd==1\nE==1\nf==1\ng @ git+https://h/g@{'0' * 40}\n"
    (found,) = problems(RequirementWithoutHash(), {"requirements.txt": text})
    # the amount counts line 1 too: to pin it is no new debt
    assert (found.at.line, found.amount, found.subject) == (2, 5, "hashes")
    assert dict(found.values) == {"count": 4, "total": 6, "names": "b, d, E and 1 more", "note": ""}


def test_a_file_without_exact_lines_says_nothing_about_hashes() -> None:
    assert problems(RequirementWithoutHash(), {"requirements.txt": "a\nb>=1\n-r base.txt\n"}) == []


def test_hash_lines_that_pip_ignores_are_told() -> None:
    (found,) = problems(RequirementWithoutHash(), {"requirements.txt": f"a==1 \\\n# b\n --hash={SHA}\n --hash={SHA}\n"})
    assert found.values["note"] == "; 2 `--hash` lines belong to no requirement, so pip ignores them"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ('[project]\nname = "a"\ndependencies = ["b"]\n', "uv lock"),
        ('[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\nb = "1"\n', "poetry lock"),
        ('[project]\nname = "a"\ndependencies = ["b"]\n[tool.pdm]\n', "pdm lock"),
    ],
)
def test_one_problem_for_a_project_without_a_lock(text: str, command: str) -> None:
    (found,) = problems(MissingLockFile(), {"pyproject.toml": text})
    assert dict(found.values) == {"name": "a", "dependencies": "1 dependency", "command": command}


def test_a_project_of_paths_alone_needs_no_lock() -> None:
    assert problems(MissingLockFile(), {"pyproject.toml": '[tool.poetry.dependencies]\nb = { path = "b" }\n'}) == []


def test_a_stale_lock_names_what_differs() -> None:
    names = ", ".join(f'"p{n}"' for n in range(5))
    files = {
        "ml/pyproject.toml": f'[project]\nname = "a"\ndependencies = [{names}]\n',
        "ml/uv.lock": '[[package]]\nname = "a"\nsource = { virtual = "." }\n',
    }
    (found,) = problems(StaleLockFile(), files)
    assert (found.at.path, found.amount, found.values["folder"]) == ("ml/pyproject.toml", 5, "ml")
    assert found.values["differences"] == "p0 is not in it; p1 is not in it; p2 is not in it and 2 more"
    assert [link.at.path for link in found.evidence] == ["ml/pyproject.toml", "ml/uv.lock"]


LIBRARY = {"pyproject.toml": '[project]\nname = "a"\ndependencies = ["b"]\n'}
DOCS_LOCK = {"docs/uv.lock": 'version = 1\n\n[[package]]\nname = "a"\nsource = { editable = ".." }\n'}


def test_a_lock_elsewhere_is_to_blame_for_its_own_age() -> None:
    (found,) = problems(StaleLockFile(), {**LIBRARY, **DOCS_LOCK})
    assert (found.at.path, found.at.line, found.severity) == ("docs/uv.lock", 3, Severity.WARNING)


def test_the_lock_of_the_documentation_is_none_for_what_serves() -> None:
    assert len(problems(MissingLockFile(), {**LIBRARY, **DOCS_LOCK})) == 1
    application = {"app/uv.lock": DOCS_LOCK["docs/uv.lock"]}
    assert problems(MissingLockFile(), {**LIBRARY, **application}) == []
    docs = {f"docs/{path}": text for path, text in {**LIBRARY, "site/uv.lock": DOCS_LOCK["docs/uv.lock"]}.items()}
    assert problems(MissingLockFile(), docs) == []


def test_one_problem_for_a_lock_without_hashes() -> None:
    text = "".join(f'[[package]]\nname = "p{n}"\nversion = "1"\n' for n in range(5))
    (found,) = problems(LockEntryWithoutHash(), {"poetry.lock": text})
    assert (found.at.line, found.amount) == (1, 5)
    assert dict(found.values) == {"count": 5, "total": 5, "names": "p0, p1, p2 and 2 more", "command": "poetry lock"}


def test_a_file_that_is_taken_in_from_elsewhere_is_not_known() -> None:
    lines = "-r https://example.com/all.txt\n-r gone.txt\n-r base.txt\n-c https://example.com/pins.txt\n"
    found = problems(UnpinnedRequirement(), {"requirements.txt": lines, "base.txt": "a==1\n"})
    assert [(problem.at.line, problem.values["requirement"]) for problem in found] == [
        (1, "-r https://example.com/all.txt"),
        (2, "-r gone.txt"),
    ]
