"""The rules on locks, for what their own examples do not say: places, counts, severities, parameters, folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from judged import SHA, WEIGHTS, problems, weights

from vramguard.checks import Severity, load
from vramguard.checks.locks import LockEntryWithoutHash, MissingLockFile, StaleLockFile

if TYPE_CHECKING:
    from vramguard.checks import Check


def test_the_checks_are_registered() -> None:
    assert {"missing-lock-file", "stale-lock-file", "lock-entry-without-hash"} <= load().keys()


@pytest.mark.parametrize(
    ("check", "name", "text"),
    [
        (MissingLockFile(), "pyproject.toml", '[project]\ndependencies = ["a"]\n'),
        (LockEntryWithoutHash(), "poetry.lock", '[[package]]\nname = "a"\n'),
    ],
)
def test_path_classes(check: Check, name: str, text: str) -> None:
    assert weights(check, name, text) == WEIGHTS


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
    assert dict(found.values) == {"name": "a", "dependencies": "1 dependency", "command": command, "note": ""}


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


PROJECT = {"pyproject.toml": '[project]\nname = "a"\ndependencies = ["b"]\n'}
UV_LOCK = {"uv.lock": 'version = 1\n[[package]]\nname = "a"\nsource = { virtual = "." }\n'}


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (UV_LOCK, ": of uv.lock, the kind is not accepted here"),
        ({"requirements.txt": f"b==1 --hash={SHA}\n"}, ": of compiled requirements, the kind is not accepted here"),
        ({}, ""),
    ],
)
def test_poetry_lock_or_nothing(files: dict[str, str], note: str) -> None:
    (found,) = problems(MissingLockFile(accepted=("poetry",)), {**PROJECT, **files})
    assert (found.values["command"], found.values["note"]) == ("poetry lock", note)


def test_what_is_accepted_is_enough() -> None:
    poetry = {"poetry.lock": "[[package]]\nname = 'b'\n[metadata]\n"}
    assert problems(MissingLockFile(accepted=("poetry",)), {**PROJECT, **poetry, **UV_LOCK}) == []
    assert problems(MissingLockFile(), {**PROJECT, **UV_LOCK}) == []


SETUP = {"setup.py": 'from setuptools import setup\nsetup(name="a", install_requires=["b"])\n'}
PIPFILE = {"Pipfile": '[packages]\nb = "*"\n'}


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({**PROJECT, **SETUP}, "pyproject.toml"),
        ({**SETUP, "setup.cfg": "[options]\ninstall_requires =\n    b\n"}, "setup.cfg"),
        ({**SETUP, **PIPFILE}, "Pipfile"),
        ({**SETUP, "pyproject.toml": '[build-system]\nrequires = ["setuptools==80.0"]\n'}, "setup.py"),
        ({**PROJECT, **UV_LOCK, **PIPFILE}, "Pipfile"),
    ],
)
def test_one_problem_for_each_folder(files: dict[str, str], path: str) -> None:
    assert [found.at.path for found in problems(MissingLockFile(), files)] == [path]


@pytest.mark.parametrize(
    ("accepted", "command"),
    [
        (MissingLockFile().accepted, "pip-compile --generate-hashes -o requirements.txt setup.py"),
        (("poetry",), "poetry lock"),
    ],
)
def test_uv_locks_no_setup_py(accepted: tuple[str, ...], command: str) -> None:
    (found,) = problems(MissingLockFile(accepted=accepted), {f"tools/{path}": text for path, text in SETUP.items()})
    assert found.values["command"] == command


def test_a_package_that_is_locked_twice_is_counted_once() -> None:
    text = "".join(f'[[package]]\nname = "p"\nversion = "{version}"\n' for version in (1, 2))
    (found,) = problems(LockEntryWithoutHash(), {"poetry.lock": text})
    assert (found.amount, found.values["count"], found.values["total"], found.values["names"]) == (2, 1, 1, "p")


def test_a_setup_py_is_locked_with_the_project_beside_it() -> None:
    assert problems(MissingLockFile(), {**PROJECT, **SETUP, **UV_LOCK}) == []


def test_the_lines_of_a_conda_environment_are_judged_one_by_one() -> None:
    assert problems(MissingLockFile(), {"environment.yml": "channels: [a]\ndependencies:\n  - numpy\n"}) == []


def test_a_setup_py_that_reads_a_file_leaves_it_to_the_file() -> None:
    text = (
        "from setuptools import setup\nsetup(name='a', install_requires=open('requirements.txt').read().splitlines())\n"
    )
    assert problems(MissingLockFile(), {"setup.py": text, "requirements.txt": "b\n"}) == []
