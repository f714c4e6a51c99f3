"""Joins of projects with their locks: which lock counts for which, and how the two differ."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, LockedPackage, Project
from vramguard.link.environments import Environments
from vramguard.link.locked import unhashed
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


def locks(files: dict[str, str], path: str = "pyproject.toml") -> list[tuple[str | None, tuple[str, ...]]] | None:
    found, facts = environments(files)
    (project,) = [project for project in facts.of(Project) if project.at.path == path]
    held = found.locked(project)
    return None if held is None else [(lock.at.path if lock else None, differences) for lock, _, differences in held]


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
    held = "".join(f"[[packages]]\nname = '{name}'\nversion = '2.1'\n" for name in ("torch", "numpy"))
    assert locks({"pyproject.toml": PROJECT, "pylock.toml": held}) == [("pylock.toml", ())]


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
def test_locks_that_cannot_be_read_leave_it_open(name: str) -> None:
    assert locks({"pyproject.toml": PROJECT, name: "{"}) is None
    assert locks({"pyproject.toml": PROJECT, f"other/{name}": "{"}) == []
    assert locks({"a/pyproject.toml": PROJECT, f"a/{name}": "{"}, "a/pyproject.toml") is None


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


def pylock(**versions: str) -> str:
    entry = "[[packages]]\nname = '{}'\nversion = '{}'\n"
    return "".join(entry.format(name, version) for name, version in versions.items())


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        (pylock(torch="2.1", numpy="1"), [("pylock.toml", ())]),
        (pylock(torch="2.1"), [("pylock.toml", ("numpy is not in it",))]),
        (pylock(torch="1.13.1", numpy="1"), [("pylock.toml", ("torch>=2 is held as 1.13.1",))]),
        ("#    uv export --only-group docs -o pylock.toml\n" + pylock(sphinx="7"), [("pylock.toml", ())]),
        ("#    uv pip compile docs.in -o pylock.toml\n" + pylock(sphinx="7"), []),
        ("#    uv pip compile all.in -o pylock.toml\n" + pylock(torch="2.1", numpy="1"), [("pylock.toml", ())]),
    ],
)
def test_a_standard_lock_holds_what_is_declared(lock: str, held: object) -> None:
    assert locks({"pyproject.toml": PROJECT, "pylock.toml": lock}) == held


def test_a_standard_lock_with_a_name_may_hold_less() -> None:
    assert locks({"pyproject.toml": PROJECT, "pylock.docs.toml": pylock(sphinx="7")}) == [("pylock.docs.toml", ())]


def test_what_a_marker_excludes_need_not_be_locked() -> None:
    project = PROJECT.replace('"numpy"', "\"numpy ; sys_platform == 'win32'\"")
    assert locks({"pyproject.toml": project, "pylock.toml": pylock(torch="2.1")}) == [("pylock.toml", ())]


def test_any_of_several_declarations_may_be_the_one_that_holds() -> None:
    project = PROJECT.replace(
        '"torch>=2"', "\"torch<2 ; sys_platform == 'darwin'\", \"torch>=2 ; sys_platform == 'linux'\""
    )
    assert locks({"pyproject.toml": project, "pylock.toml": pylock(torch="2.1", numpy="1")}) == [("pylock.toml", ())]


PDM_HASH = "sha256:8e0cbd47f6b4bd2a3ff2d8ab6b0ba9a7f38c1aa52fbd5e32e8f4ad36c2f3a0aa"


def test_pdm_locks() -> None:
    from vramguard.extract.locks.origin import pdm_hashes

    project = {"name": "a", "version": "1", "dependencies": ["torch>=2", "numpy"]}
    fresh = f"[metadata]\ncontent_hash = '{min(pdm_hashes({'project': project}))}'\n"
    stale = f"[metadata]\ncontent_hash = '{PDM_HASH}'\n"
    names = "[[package]]\nname = 'torch'\nversion = '2.1'\n[[package]]\nname = 'numpy'\nversion = '1'\n"
    assert locks({"pyproject.toml": PROJECT, "pdm.lock": fresh}) == [("pdm.lock", ())]
    assert locks({"pyproject.toml": PROJECT, "pdm.lock": stale + names}) == [
        ("pdm.lock", ("its content-hash is that of another pyproject.toml",))
    ]
    assert locks({"pyproject.toml": PROJECT, "pdm.lock": stale}) == [
        ("pdm.lock", ("torch is not in it", "numpy is not in it"))
    ]


PIPFILE = '[packages]\ntorch = ">=2"\n'
PIPFILE_LOCK = '{{"_meta": {{"hash": {{"sha256": "{0}"}}}}, "default": {{"torch": {{"version": "=={1}"}}}}}}'
PIPFILE_HASH = "44fc6ab2d2d1ab9fd3dc30e7bf2b5bcf5b2bd7cb94a3f0e90a7f9dc9c7e0cf3f"


@pytest.mark.parametrize(
    ("version", "fresh", "differences"),
    [
        ("2.1.0", True, ()),
        ("1.13.1", True, ("torch>=2 is held as 1.13.1",)),
        ("2.1.0", False, ("its content-hash is that of another Pipfile",)),
    ],
)
def test_pipenv_locks(version: str, differences: tuple[str, ...], *, fresh: bool) -> None:
    from vramguard.extract.locks.origin import pipfile_hashes

    digest = min(pipfile_hashes({"packages": {"torch": ">=2"}})) if fresh else PIPFILE_HASH
    files = {"Pipfile": PIPFILE, "Pipfile.lock": PIPFILE_LOCK.format(digest, version)}
    assert locks(files, "Pipfile") == [("Pipfile.lock", differences)]


@pytest.mark.parametrize(("held", "expected"), [("2.1.0", [("Pipfile.lock", ())]), ("1.13.1", [])])
def test_a_lock_of_another_tool_counts_where_it_holds_all(held: str, expected: object) -> None:
    project = PROJECT.replace(', "numpy"', "")
    lock = PIPFILE_LOCK.format("00", held)
    assert locks({"pyproject.toml": project, "Pipfile.lock": lock}) == expected


PIXI = '[workspace]\nchannels = []\n[dependencies]\npytorch = "2.1.*"\n[pypi-dependencies]\nvllm = ">=0.6"\n'
CONDA = "- conda: https://h/linux-64/{0}-{1}-h0_0.conda\n"
VLLM = "- pypi: https://h/vllm.whl\n  name: vllm\n  version: 0.6.6\n"


@pytest.mark.parametrize(
    ("packages", "differences"),
    [
        (CONDA.format("pytorch", "2.1.0") + VLLM, ()),
        (CONDA.format("pytorch", "2.5.0") + VLLM, ("pytorch2.1.* is held as 2.5.0",)),
        (
            CONDA.format("pytorch", "2.1.0") + CONDA.format("py-vllm", "0.6"),
            (),
        ),  # no pip names: it says nothing of pip's
        (VLLM, ("pytorch is not in it",)),
    ],
)
def test_pixi_locks(packages: str, differences: tuple[str, ...]) -> None:
    files = {"pixi.toml": PIXI, "pixi.lock": f"version: 6\npackages:\n{packages}"}
    found = [
        (path, tuple(words.replace(" 2.1.*", "2.1.*") for words in said))
        for path, said in locks(files, "pixi.toml") or []
    ]
    assert found == [("pixi.lock", differences)]


def test_features_and_targets_of_pixi_need_not_be_locked() -> None:
    more = '[feature.cuda.dependencies]\ncupy = "*"\n[target.win-64.dependencies]\nmingw = "*"\n'
    lock = "version: 6\npackages:\n" + CONDA.format("pytorch", "2.1.0") + VLLM
    assert locks({"pixi.toml": PIXI + more, "pixi.lock": lock}, "pixi.toml") == [("pixi.lock", ())]


ENVIRONMENT = """\
channels: [conda-forge]
dependencies:
  - numpy=1.26
  - pytorch-cuda=12.1  # [linux]
  - pip:
    - torch>=2
"""
CONDA_LOCK = "version: 1\nmetadata:\n  sources: [{0}]\npackage:\n"
ENTRY = "- name: {0}\n  version: {1}\n  manager: {2}\n"


@pytest.mark.parametrize(
    ("lock", "held"),
    [
        (ENTRY.format("numpy", "1.26.4", "conda") + ENTRY.format("torch", "2.1.0", "pip"), ()),
        (ENTRY.format("numpy", "1.26.4", "conda") + ENTRY.format("vllm", "1", "pip"), ("torch is not in it",)),
        (ENTRY.format("numpy", "1.26.4", "conda") + ENTRY.format("pytorch", "2.1.0", "conda"), ()),
        (ENTRY.format("numpy", "2.1.0", "conda"), ("numpy=1.26 is held as 2.1.0",)),
    ],
)
def test_conda_environments(lock: str, held: tuple[str, ...]) -> None:
    files = {"environment.yml": ENVIRONMENT, "conda-lock.yml": CONDA_LOCK.format("environment.yml") + lock}
    assert locks(files, "environment.yml") == [("conda-lock.yml", held)]
    assert environments(files)[0].left_to_lock("environment.yml")


def test_a_conda_lock_of_another_environment() -> None:
    lock = CONDA_LOCK.format("other.yml") + ENTRY.format("scipy", "1", "conda")
    files = {"environment.yml": ENVIRONMENT, "conda-lock.yml": lock}
    assert locks(files, "environment.yml") == []
    assert not environments(files)[0].left_to_lock("environment.yml")


EXPLICIT = "@EXPLICIT\nhttps://h/{0}/numpy-{1}-h0_0.conda#00\n"


@pytest.mark.parametrize(
    ("linux", "darwin", "differences"),
    [
        ("1.26.4", "1.26.4", ()),
        ("1.26.3", "1.26.4", ()),
        ("2.0", "2.0", ("numpy=1.26 is held as 2.0",)),
    ],
)
def test_explicit_lists_of_conda(linux: str, darwin: str, differences: tuple[str, ...]) -> None:
    files = {
        "environment.yml": ENVIRONMENT,
        "conda-linux-64.lock": EXPLICIT.format("linux-64", linux),
        "conda-osx-64.lock": EXPLICIT.format("osx-64", darwin),
    }
    assert locks(files, "environment.yml") == [("conda-linux-64.lock", differences), ("conda-osx-64.lock", differences)]


def test_a_list_may_be_of_any_of_several_environments() -> None:
    files = {"a-environment.yml": ENVIRONMENT, "b-environment.yml": ENVIRONMENT}
    lock = {"conda-linux-64.lock": EXPLICIT.format("linux-64", "2.0")}
    assert locks({**files, **lock}, "a-environment.yml") == [("conda-linux-64.lock", ())]


SETUP = 'from setuptools import setup\nsetup(name="a", install_requires=["torch>=2"])\n'


@pytest.mark.parametrize(
    ("files", "held"),
    [
        ({}, []),
        ({"requirements.txt": "torch==2.1.0\n"}, [(None, ())]),
        ({"requirements.txt": "numpy==2.1.0\n"}, []),
        ({"uv.lock": "version = 1\n"}, [("uv.lock", ())]),
        ({"Pipfile.lock": PIPFILE_LOCK.format("00", "2.1.0")}, [("Pipfile.lock", ())]),
        ({"Pipfile.lock": PIPFILE_LOCK.format("00", "1.0")}, []),
    ],
)
def test_which_lock_counts_for_a_setup_py(files: dict[str, str], held: object) -> None:
    assert locks({"setup.py": SETUP, **files}, "setup.py") == held


OVERRIDES = '[tool.uv]\nconstraint-dependencies = ["idna<4"]\noverride-dependencies = ["numpy<2"]\n'
MANIFEST = """\
[manifest]
constraints = [{ name = 'idna', specifier = '<4' }]
overrides = [{ name = 'numpy', specifier = '<2' }]
"""
GONE = "is in it, though no longer declared"


@pytest.mark.parametrize(
    ("table", "manifest", "differences"),
    [
        (OVERRIDES, MANIFEST, ()),
        (OVERRIDES, "", ("the constraint idna<4 is not in it", "the override numpy<2 is not in it")),
        ("", MANIFEST, (f"the constraint idna<4 {GONE}", f"the override numpy<2 {GONE}")),
        (OVERRIDES.replace("<4", "<3"), MANIFEST, ("the constraint idna<3 was idna<4",)),
    ],
)  # fmt: skip
def test_uv_repeats_constraints_and_overrides(table: str, manifest: str, differences: tuple[str, ...]) -> None:
    files = {"pyproject.toml": PROJECT + table, "uv.lock": manifest + UV.format(".").replace("version = 1\n", "", 1)}
    assert locks(files) == [("uv.lock", differences)]


def test_constraints_are_the_roots_own() -> None:
    member = PROJECT + OVERRIDES
    files = {"pyproject.toml": ROOT, "packages/a/pyproject.toml": member, "uv.lock": UV.format("packages/a")}
    assert locks(files, "packages/a/pyproject.toml") == [("uv.lock", ())]


@pytest.mark.parametrize(
    ("version", "manifest", "differences"),
    [("1.26", "", ()), ("2.1", "", ("numpy<2 is held as 2.1",)), ("2.1", MANIFEST, ())],
)
def test_a_version_in_uv_lock_that_nobody_asked_for(version: str, manifest: str, differences: tuple[str, ...]) -> None:
    project = PROJECT.replace('"numpy"', '"numpy<2"') + (OVERRIDES if manifest else "")
    lock = manifest + UV.format(".").replace("version = 1\n", "", 1).replace("'numpy' }", "'numpy', specifier = '<2' }")
    lock += f"[[package]]\nname = 'numpy'\nversion = '{version}'\nsource = {{ registry = 'https://h' }}\n"
    assert locks({"pyproject.toml": project, "uv.lock": lock}) == [("uv.lock", differences)]


@pytest.mark.parametrize(
    ("then", "now", "fresh"),
    [
        (">=2", ">=2.0", True),
        ("~=2.1", "~=2.1.0", False),
        ("==2.0.*", "==2.0.0.*", False),
        ("!=2.0,>=1", ">=1.0,!=2", True),
    ],
)
def test_versions_that_are_written_otherwise(then: str, now: str, *, fresh: bool) -> None:
    lock = UV.format(".").replace("'>=2'", f"'{then}'")
    found = locks({"pyproject.toml": PROJECT.replace("torch>=2", f"torch{now}"), "uv.lock": lock}) or []
    assert (not found[0][1]) is fresh


def test_poetry_holds_another_version_than_asked() -> None:
    lock = POETRY_LOCK.replace("'numpy'", "'numpy'\nversion = '2.1'")
    project = POETRY_PROJECT + 'numpy = "^1.26"\n'
    from vramguard.extract.poetry import content_hashes

    digest = min(
        content_hashes({"tool": {"poetry": {"name": "a", "dependencies": {"python": "^3.11", "numpy": "^1.26"}}}})
    )
    assert locks({"pyproject.toml": project, "poetry.lock": lock.format(digest)}) == [
        ("poetry.lock", ("numpy^1.26 is held as 2.1",))
    ]


def test_an_optional_dependency_of_poetry_need_not_be_compiled() -> None:
    project = POETRY_PROJECT + 'numpy = "^1.26"\ntorch = { version = "^2", optional = true }\n'
    assert locks({"pyproject.toml": project, "requirements.txt": "numpy==1.26.4\n"}) == [(None, ())]


def test_who_takes_a_project_in_takes_in_none_of_its_groups() -> None:
    project = PROJECT + '[dependency-groups]\ntest = ["pytest>=8"]\n[project.optional-dependencies]\nx = ["ray>=2"]\n'
    lock = (
        "version = 1\n[[package]]\nname = 'a'\nsource = { editable = '../lib' }\ndependencies = [{ name = 'numpy' }]\n"
    )
    held = "[[package]]\nname = '{}'\nversion = '{}'\nsource = {{ registry = 'https://h' }}\n"
    lock += held.format("pytest", "7.4") + held.format("ray", "1.0")
    assert locks({"lib/pyproject.toml": project, "app/uv.lock": lock}, "lib/pyproject.toml") == [("app/uv.lock", ())]
    older = lock + held.format("torch", "1.13.1")
    assert locks({"lib/pyproject.toml": project, "app/uv.lock": older}, "lib/pyproject.toml") == [
        ("app/uv.lock", ("torch>=2 is held as 1.13.1",))
    ]


def test_a_source_of_conda_lock_on_the_machine_that_locked() -> None:
    lock = CONDA_LOCK.format("/home/me/work/environment.yml") + ENTRY.format("scipy", "1", "conda")
    found = locks({"environment.yml": ENVIRONMENT, "conda-lock.yml": lock}, "environment.yml")
    assert found == [("conda-lock.yml", ("numpy is not in it",))]  # conda's torch is pip's, of which it says nothing
