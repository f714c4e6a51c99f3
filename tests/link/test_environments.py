"""Joins: constraints with what they constrain, sources with what they were compiled to, projects with their locks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, LockedPackage, Project
from vramguard.link.environments import Environments, RequirementsFile, unhashed
from vramguard.source import Document, Location, kind_of, read

if TYPE_CHECKING:
    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def environments(files: dict[str, str]) -> tuple[Environments, Facts]:
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode()) if kind_of(path) else None
        if isinstance(document, Document):
            found += extract(document)
    facts = Facts(found, paths=files)
    return Environments(facts), facts


def installed(files: dict[str, str], path: str = "requirements.txt") -> RequirementsFile:
    (found,) = [file for file in environments(files)[0].files if file.path == path]
    return found


def exact(files: dict[str, str], path: str = "requirements.txt") -> list[str]:
    return [line.name for line in installed(files, path).requirements if line.pinned is True]


def locks(files: dict[str, str], path: str = "pyproject.toml") -> list[tuple[str | None, tuple[str, ...]]] | None:
    found, facts = environments(files)
    (project,) = [project for project in facts.of(Project) if project.at.path == path]
    held = found.locked(project)
    return None if held is None else [(lock.at.path if lock else None, differences) for lock, _, differences in held]


def test_constraints_make_lines_exact() -> None:
    files = {"requirements.txt": "-c c.txt\nTorch\nnumpy>=1\nscipy==1.0\ngit+https://h/zoo@main\n"}
    pins = {"constraints.txt": "torch==2.1.0\nnumpy<2\nzoo==1\n"}
    assert exact({"requirements.txt": files["requirements.txt"].replace("c.txt", "constraints.txt"), **pins}) == [
        "Torch",
        "scipy",
    ]


def test_constraints_reach_what_is_installed_together_and_no_further() -> None:
    files = {
        "requirements.txt": "-r requirements/base.txt\ntorch\n",
        "requirements/base.txt": "-c ../constraints.txt\nnumpy\n",
        "constraints.txt": "-r more-constraints.txt\n",
        "more-constraints.txt": "torch==2.1.0\nnumpy==1.26.4\n",
        "other-requirements.txt": "torch\n",
    }
    assert exact(files) == ["torch"]
    assert exact(files, "requirements/base.txt") == ["numpy"]
    assert exact(files, "other-requirements.txt") == []


def test_hashes_in_constraints_count() -> None:
    (line,) = installed(
        {"requirements.txt": "-c constraints.txt\na\n", "constraints.txt": f"a==1 --hash={SHA}\n"}
    ).requirements
    assert (line.pinned, line.hashed, line.reason) == (True, True, "")


def test_files_that_take_in_each_other() -> None:
    files = {
        "requirements.txt": "-r a-requirements.txt\nx\n",
        "a-requirements.txt": "-r requirements.txt\n-c constraints.txt\ny\n",
    }
    assert exact({**files, "constraints.txt": "-c requirements.txt\nx==1\n"}) == ["x"]


@pytest.mark.parametrize(
    ("files", "constraint"),
    [
        ({"base.constraints.txt": "a\n"}, True),
        ({"constraints.txt": "a\n", "requirements.txt": "-r constraints.txt\n"}, False),
        ({"pins-requirements.txt": "a\n", "requirements.txt": "-c pins-requirements.txt\nb\n"}, True),
        ({"requirements.txt": "a\n"}, False),
    ],
)
def test_what_only_constrains(files: dict[str, str], *, constraint: bool) -> None:
    assert environments(files)[0].files[0].constraint is constraint


def test_the_source_of_a_compiled_file_is_not_judged() -> None:
    both = environments({"requirements/base.in": "a\n", "requirements/base.txt": "a==1\n"})[0].files
    assert [file.path for file in both] == ["requirements/base.txt"]
    apart = environments({"requirements/base.in": "a\n", "requirements/other.txt": "a==1\n"})[0].files
    assert [file.path for file in apart] == ["requirements/base.in", "requirements/other.txt"]


def test_how_a_compiled_file_differs_from_its_source() -> None:
    source = "a\nb>=1\nc==2\nd ; sys_platform == 'win32'\nsetuptools\n./local\nE>1\nf @ https://h/f\n"
    found = environments({"requirements/base.in": source, "requirements/base.txt": "a==1\nc==1\ne==2\nf==1\n"})[
        0
    ].sources
    ((path, compiled, at, differences),) = found
    assert (path, compiled, at.line) == ("requirements/base.in", "requirements/base.txt", 2)
    assert differences == ("b is not in it", "c==2 is held as ==1")


def test_a_compiled_file_that_nobody_reads_is_given_the_doubt() -> None:
    found = environments({"requirements.in": "a\n", "requirements.txt": ""})[0]
    assert [source.differences for source in found.sources] == [()]


def test_an_exact_line_of_the_same_file_fixes_its_extras() -> None:
    (file,) = environments({"requirements.txt": "a==1\na[x]\nb==1 ; python_version < '3'\nb\n"})[0].files
    assert [line.pinned for line in file.requirements] == [True, True, True, False]


@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements_lock.txt", "requirements-lock.txt", "requirements.txt"]
)
def test_other_names_of_compiled_files(name: str) -> None:
    assert [file.path for file in environments({"requirements.in": "a\n", name: "a==1\n"})[0].files] == [name]


# What uv 0.13.9 wrote for this very project, down to the entry of its root.
UV_PROJECT = """\
[project]
name = "Root.Project"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = [
  "Six >= 1.16 , <2",
  "idna==3.*",
  "a",
  "attrs[Tests_Mypy]>=23.0 ; python_version < '3.13'",
  "colorama==0.4.6; sys_platform == 'win32'",
  "local-lib",
  "certifi>=2024.01.01,!=2024.2.2",
  "wheel @ https://example.com/wheel-0.45.1-py3-none-any.whl",
]
[project.optional-dependencies]
Fast_One = ["sniffio>=1.0.0,<2"]
[dependency-groups]
Test = ["iniconfig~=2.0", {include-group = "lint"}]
lint = ["pluggy>=1"]
[tool.uv]
dev-dependencies = ["packaging>=24"]
[tool.uv.workspace]
members = ["packages/*"]
[tool.uv.sources]
a = { workspace = true }
local-lib = { path = "lib", editable = true }
"""
UV_WROTE = """\
version = 1
revision = 5
requires-python = ">=3.11"

[[package]]
name = "root-project"
version = "0.1.0"
source = { virtual = "." }

[package.metadata]
requires-dist = [
    { name = "a", editable = "packages/a" },
    { name = "attrs", extras = ["tests-mypy"], marker = "python_full_version < '3.13'", specifier = ">=23.0" },
    { name = "certifi", specifier = ">=2024.1.1,!=2024.2.2" },
    { name = "colorama", marker = "sys_platform == 'win32'", specifier = "==0.4.6" },
    { name = "idna", specifier = "==3.*" },
    { name = "local-lib", editable = "lib" },
    { name = "six", specifier = ">=1.16,<2" },
    { name = "sniffio", marker = "extra == 'fast-one'", specifier = ">=1.0.0,<2" },
    { name = "wheel", url = "https://example.com/wheel-0.45.1-py3-none-any.whl" },
]
provides-extras = ["fast-one"]

[package.metadata.requires-dev]
dev = [{ name = "packaging", specifier = ">=24" }]
lint = [{ name = "pluggy", specifier = ">=1" }]
test = [
    { name = "iniconfig", specifier = "~=2.0" },
    { name = "pluggy", specifier = ">=1" },
]
"""


def test_a_lock_that_uv_wrote_is_fresh() -> None:
    assert locks({"pyproject.toml": UV_PROJECT, "uv.lock": UV_WROTE}) == [("uv.lock", ())]


def test_orphan_hashes_are_counted() -> None:
    assert installed({"requirements.txt": f"a==1 \\\n # b\n --hash={SHA} \\\n --hash={SHA}\n"}).orphans == 2


PROJECT = '[project]\nname = "a"\nversion = "1"\ndependencies = ["torch>=2", "numpy"]\n'
UV = (
    "version = 1\n[[package]]\nname = 'a'\nsource = {{ virtual = '{0}' }}\n[package.metadata]\n"
    "requires-dist = [{{ name = 'numpy' }}, {{ name = 'torch', specifier = '>=2' }}]\n"
)


def test_no_lock_at_all() -> None:
    assert locks({"pyproject.toml": PROJECT}) == []
    assert locks({"pyproject.toml": PROJECT, "other/uv.lock": UV.format(".")}) == []


def test_a_fresh_lock() -> None:
    assert locks({"pyproject.toml": PROJECT, "uv.lock": UV.format(".")}) == [("uv.lock", ())]
    assert locks({"pyproject.toml": PROJECT, "pylock.toml": "packages = []\n"}) == [("pylock.toml", ())]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (("torch>=2", "torch>=2.1"), "torch>=2.1 was torch>=2"),
        (('"numpy"', '"numpy", "scipy==1.0"'), "scipy==1.0 is not in it"),
        ((', "numpy"', ""), "numpy is in it, though no longer declared"),
        (('"numpy"', '"numpy[x]"'), "numpy[x] was numpy"),
        (('"numpy"]', '"numpy"]\noptional-dependencies.x = ["idna"]'), "idna is not in it"),
    ],
)
def test_a_stale_uv_lock(change: tuple[str, str], difference: str) -> None:
    assert locks({"pyproject.toml": PROJECT.replace(*change), "uv.lock": UV.format(".")}) == [
        ("uv.lock", (difference,))
    ]


def test_what_comes_from_a_source_has_no_version_to_compare() -> None:
    lock = UV.format(".").replace("specifier = '>=2'", "git = 'https://h/torch?rev=main'")
    assert locks({"pyproject.toml": PROJECT, "uv.lock": lock}) == [("uv.lock", ())]


def test_a_dynamic_project_is_not_called_stale() -> None:
    text = PROJECT.replace('dependencies = ["torch>=2", "numpy"]', 'dynamic = ["dependencies"]')
    assert locks({"pyproject.toml": text, "uv.lock": UV.format(".")}) == [("uv.lock", ())]


POETRY_PROJECT = '[tool.poetry]\nname = "a"\n[tool.poetry.dependencies]\npython = "^3.11"\n'
POETRY_LOCK = "[[package]]\nname = 'numpy'\n[metadata]\ncontent-hash = '{0}'\n"


def test_poetry_locks() -> None:
    fresh = POETRY_LOCK.format("81b2fa642d7f2d1219cf80112ace12d689d053d81be7f7addb98144d56fc0fb2")
    assert locks({"pyproject.toml": POETRY_PROJECT, "poetry.lock": fresh}) == [("poetry.lock", ())]
    named = POETRY_PROJECT + 'torch = "2.1.0"\nnumpy = "*"\n'
    assert locks({"pyproject.toml": named, "poetry.lock": fresh}) == [("poetry.lock", ("torch is not in it",))]
    unnamed = POETRY_PROJECT + 'numpy = "*"\n'
    (found,) = locks({"pyproject.toml": unnamed, "poetry.lock": fresh}) or []
    assert found == ("poetry.lock", ("its content-hash is that of another pyproject.toml",))


ROOT = '[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/x*"]\n'


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        (UV.format("packages/a"), [("uv.lock", ())]),
        ("version = 1\n", [("uv.lock", ("it does not know this member of its workspace",))]),
    ],
)
def test_a_workspace_has_one_lock(lock: str, held: object) -> None:
    files = {"pyproject.toml": ROOT, "packages/a/pyproject.toml": PROJECT, "uv.lock": lock}
    assert locks(files, "packages/a/pyproject.toml") == held


@pytest.mark.parametrize("folder", ["packages/x1", "packages/a/b", "elsewhere", "packages"])
def test_what_is_no_member_of_the_workspace(folder: str) -> None:
    files = {"pyproject.toml": ROOT, f"{folder}/pyproject.toml": PROJECT, "uv.lock": "version = 1\n"}
    assert locks(files, f"{folder}/pyproject.toml") == []


def test_a_workspace_below_the_root_of_the_repository() -> None:
    files = {
        "ml/pyproject.toml": ROOT.replace("packages/*", "./**"),
        "ml/p/q/pyproject.toml": PROJECT,
        "ml/uv.lock": "",
    }
    assert locks(files, "ml/p/q/pyproject.toml") == [("ml/uv.lock", ("it does not know this member of its workspace",))]


def test_an_application_that_takes_the_project_in_by_its_path() -> None:
    lock = "[[package]]\nname = 'a'\nfiles = []\n[package.source]\ntype = 'directory'\nurl = '../lib'\n[metadata]\n"
    assert locks({"lib/pyproject.toml": PROJECT, "app/poetry.lock": lock}, "lib/pyproject.toml") == [
        ("app/poetry.lock", ())
    ]


@pytest.mark.parametrize("name", ["pdm.lock", "Pipfile.lock", "pixi.lock", "conda-lock.yml", "gpu.conda-lock.yml"])
def test_locks_that_are_not_read_yet_leave_it_open(name: str) -> None:
    assert locks({"pyproject.toml": PROJECT, name: "?"}) is None
    assert locks({"pyproject.toml": PROJECT, f"other/{name}": "?"}) == []
    assert locks({"a/pyproject.toml": PROJECT, f"a/{name}": "?"}, "a/pyproject.toml") is None


@pytest.mark.parametrize(
    ("requirements", "held"),
    [
        ("torch==2.1.0\nNumPy==1.26.4\nidna==3.7\n-e .\n", [(None, ())]),
        ("torch==2.1.0\n", []),
        ("torch==2.1.0\nnumpy\n", []),
    ],
)
def test_compiled_requirements_are_a_lock(requirements: str, held: object) -> None:
    assert locks({"pyproject.toml": PROJECT, "requirements.txt": requirements}) == held
    assert locks({"pyproject.toml": PROJECT, "other/requirements.txt": requirements}) == []


@pytest.mark.parametrize(
    ("hashes", "artifacts", "expected"),
    [
        ((SHA,), 1, False),
        ((SHA,), 2, True),
        ((), 0, True),
        (("md5:00",), 1, True),
        ((f"sha512:{'0' * 128}", SHA), 2, False),
        (("sha256:00",), 1, True),
    ],
)
def test_unhashed(hashes: tuple[str, ...], artifacts: int, *, expected: bool) -> None:
    at = Location("uv.lock")
    package = LockedPackage(at, "a", "1", hashes, artifacts)
    assert unhashed(package, "poetry") is expected
    assert unhashed(package, "uv") is (expected and artifacts > 0)  # none named: none fits, none is installed
    assert not unhashed(replace(package, local="."), "poetry")
    assert not unhashed(replace(package, commit="0" * 40), "poetry")


@pytest.mark.parametrize(
    ("marker", "difference"),
    [("", ("idna comes from a repository or a URL, and from the index in the lock",)), (", marker = 'no'", ())],
)
def test_uv_sees_a_dependency_move_to_a_repository(marker: str, difference: tuple[str, ...]) -> None:
    source = f'idna = {{ git = "https://example.com/idna", branch = "main"{marker} }}\n'
    assert locks({"pyproject.toml": UV_PROJECT + source, "uv.lock": UV_WROTE}) == [("uv.lock", difference)]
