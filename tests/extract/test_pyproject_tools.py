"""The tables of a pyproject.toml that belong to tools: uv's sources, PDM, Hatch, Rye, Flit, setuptools' files."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, of, rows

from vramguard.facts import Include, Project

PATH = "pyproject.toml"
COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


@pytest.mark.parametrize(
    ("source", "specifier", "pinned"),
    [
        ('{ git = "https://h/o/r", rev = "COMMIT" }', "git+https://h/o/r@COMMIT", True),
        ('{ git = "https://h/o/r", rev = "984bc11" }', "git+https://h/o/r@984bc11", False),
        ('{ git = "https://h/o/r", tag = "v1" }', "git+https://h/o/r@v1", False),
        ('{ git = "https://h/o/r", branch = "main" }', "git+https://h/o/r@main", False),
        ('{ git = "https://h/o/r" }', "git+https://h/o/r", False),
        ('{ url = "https://h/t.whl" }', "https://h/t.whl", False),
        ('{ path = "../own" }', "../own", None),
        ("{ workspace = true }", "", None),
        ('{ index = "pytorch" }', ">=2", False),
        ('[{ index = "a", marker = "x" }, { index = "b" }]', ">=2", False),
        ('[{ path = "a", marker = "x" }, { git = "https://h/o/r", branch = "m" }]', "git+https://h/o/r@m", False),
        ("3", ">=2", False),
    ],
)
def test_where_uv_takes_a_name_from(source: str, specifier: str, pinned: object) -> None:
    text = f'[project]\ndependencies = ["Own_Package[x]>=2", "other"]\n[tool.uv.sources]\nown-package = {source}\n'
    first, second = rows(PATH, text.replace("COMMIT", COMMIT), "pyproject")
    assert (first.name, first.specifier, first.pinned) == ("Own_Package", specifier.replace("COMMIT", COMMIT), pinned)
    assert (second.name, second.pinned) == ("other", False)


OVERRIDES = '[tool.pdm.resolution.overrides]\na = "1.2"\nb = ">=1"\nc = "https://h/c.whl"\nd = 3'
FLIT = '[tool.flit.metadata]\nrequires = ["a"]\ndev-requires = ["b"]\n[tool.flit.metadata.requires-extra]\nx = ["c"]'
GROUP = '[tool.pdm.dev-dependencies]\nx = ["a", "-e file:///${PROJECT_ROOT}/b#egg=b"]'
HOOK = '[tool.hatch.build.targets.wheel.hooks.h]\ndependencies = ["a"]'


@pytest.mark.parametrize(
    ("table", "section", "found"),
    [
        ('[tool.uv]\ndev-dependencies = ["a"]', "tool.uv.dev-dependencies", {"a": False}),
        ('[tool.uv]\noverride-dependencies = ["a==1"]', "tool.uv.override-dependencies", {"a": True}),
        ('[tool.uv]\nconstraint-dependencies = ["a<1"]', "tool.uv.constraint-dependencies", {"a": False}),
        ('[tool.uv]\nbuild-constraint-dependencies = ["a"]', "tool.uv.build-constraint", {"a": False}),
        ('[tool.uv.extra-build-dependencies]\na = ["b", {x = "c"}]', "tool.uv.extra-build", {"b": False}),
        (GROUP, "tool.pdm.dev-dependencies.x", {"a": False, "b": None}),
        (OVERRIDES, "tool.pdm.resolution.overrides", {"a": True, "b": False, "c": False, "d": UNKNOWN}),
        ('[tool.hatch.envs.x]\ndependencies = ["a"]', "tool.hatch.envs.x.dependencies", {"a": False}),
        ('[tool.hatch.envs.x]\nextra-dependencies = ["a==1"]', "tool.hatch.envs.x.extra", {"a": True}),
        ('[tool.hatch.envs.x]\ndependencies = ["a @ {root:uri}/a"]', "tool.hatch.envs.x", {"a": None}),
        (HOOK, "tool.hatch.build.targets.wheel.hooks.h.dependencies", {"a": False}),
        ('[tool.rye]\ndev-dependencies = ["a"]', "tool.rye.dev-dependencies", {"a": False}),
        (FLIT, "tool.flit.metadata.", {"a": False, "b": False, "c": False}),
    ],
)
def test_tables_of_tools(table: str, section: str, found: dict[str, object]) -> None:
    listed = rows(PATH, table + "\n", "pyproject")
    assert {row.name: row.pinned for row in listed} == found
    assert all(row.section.startswith(section) for row in listed)


def test_files_that_setuptools_and_hatch_read() -> None:
    text = """\
[project]
dynamic = ["dependencies", "optional-dependencies"]
[tool.setuptools.dynamic]
dependencies = { file = ["requirements.txt", "more.txt"] }
optional-dependencies.dev = { file = "requirements/dev.txt" }
version = { file = "VERSION" }
[tool.hatch.metadata.hooks.requirements_txt]
files = ["hatch.txt"]
[tool.hatch.metadata.hooks.requirements_txt.optional-dependencies]
x = ["../x.txt"]
"""
    found = of(f"pkg/{PATH}", text, Include)
    assert [(include.target, include.at.line) for include in found] == [
        ("pkg/requirements.txt", 4),
        ("pkg/more.txt", 4),
        ("pkg/requirements/dev.txt", 5),
        ("pkg/hatch.txt", 8),
        ("x.txt", 10),
    ]


def test_what_only_limits_or_builds_is_no_dependency_of_the_project() -> None:
    text = """\
[project]
name = "own"
dependencies = ["a", "local"]
[build-system]
requires = ["b"]
[tool.uv]
constraint-dependencies = ["c"]
override-dependencies = ["d"]
[tool.uv.sources]
local = { workspace = true }
[tool.hatch.build]
dependencies = ["e"]
"""
    (project,) = of(PATH, text, Project)
    assert project.dependencies == 1
