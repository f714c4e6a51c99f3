"""Tables of TOML: commands of tasks and scripts, and the indexes that packages come from."""

from __future__ import annotations

import pytest

from vramguard.extract.installs import extract
from vramguard.facts import Install, Requirement, RequirementOption
from vramguard.source import Document, read


def facts(path: str, text: str) -> list[object]:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return list(extract(document))


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "pyproject.toml",
            '[tool.hatch.envs.ci.scripts]\ntest = [\n "pip install torch==2.1.0",\n  "x",\n]\nlint = "uvx ruff"\n',
            [("pyproject", "torch==2.1.0", 3), ("pyproject", "ruff", 6)],
        ),
        (
            "pyproject.toml",
            '[tool.hatch.envs.ci]\npre-install-commands = ["pip install torch"]\n',
            [("pyproject", "torch", 2)],
        ),
        (
            "pyproject.toml",
            (
                '[tool.pdm.scripts]\na = {shell = "pip install torch"}\nb = {cmd = ["pip", "install", "numpy"]}\n'
                'c = {composite = ["pip install scipy", "b"]}\nd.help = "pip install no"\n'
            ),
            [("pyproject", name, line) for name, line in [("torch", 2), ("numpy", 3), ("scipy", 4)]],
        ),
        (
            "pyproject.toml",
            '[tool.poe.tasks]\na = "pip install torch"\nb = {sequence = [{cmd = "pip install numpy"}]}\n',
            [("pyproject", "torch", 2), ("pyproject", "numpy", 3)],
        ),
        ("pyproject.toml", '[tool.pixi.feature.a.tasks]\nx = "pip install torch"\n', [("pixi", "torch", 2)]),
        (
            "pixi.toml",
            '[tasks]\na = {cmd = "pip install -e .", cwd = "sub"}\nb = "python -m pip install torch"\n',
            [("pixi", "torch", 3)],
        ),
        ("tox.toml", '[env.a]\ndeps = ["torch==2.1.0"]\n[tool]\ntox = 1\n', [("tox", "torch==2.1.0", 2)]),
        ("pyproject.toml", '[project]\nname = "a"\ndescription = "pip install no: scripts and tasks"\n', []),
    ],
)
def test_commands_of_tables(path: str, text: str, expected: list[tuple[str, str, int]]) -> None:
    found = [fact for fact in facts(path, text) if isinstance(fact, Requirement)]
    assert [(fact.form, f"{fact.name}{fact.specifier}", fact.at.line) for fact in found] == expected


def test_a_task_has_a_place_and_a_folder() -> None:
    text = '[tasks]\na = {cmd = "pip install -e .", cwd = "sub"}\n'
    [install] = [fact for fact in facts("pixi.toml", text) if isinstance(fact, Install)]
    assert (install.place, install.local, install.option("directory")) == ("pixi.toml#a", (".",), "sub")


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "pyproject.toml",
            '[[tool.uv.index]]\nurl = "https://a.b/s"\n[[tool.uv.index]]\nurl = "https://a.b/e"\nexplicit = true\n',
            [("--index", "https://a.b/s", 2)],
        ),
        (
            "pyproject.toml",
            '[[tool.uv.index]]\nurl = "http://a.b/e"\nexplicit = true\n[[tool.uv.index]]\nurl = "u"\ndefault = true\n',
            [("--default-index", "http://a.b/e", 2), ("--default-index", "u", 5)],
        ),
        (
            "pyproject.toml",
            '[tool.uv]\nextra-index-url = ["https://a.b"]\nindex-strategy = "unsafe-any"\nprerelease = "allow"\n',
            [
                ("--index", "https://a.b", 2),
                ("--index-strategy", "unsafe-any", 3),
                ("--prerelease", "allow", 4),
            ],
        ),
        (
            "pyproject.toml",
            (
                '[[tool.poetry.source]]\nname = "a"\nurl = "https://a.b"\n[[tool.poetry.source]]\nname = "b"\n'
                'url = "https://c.d"\npriority = "supplemental"\n[[tool.poetry.source]]\nname = "e"\nurl = "https://e.f"\n'
                'priority = "explicit"\n'
            ),
            [("--index-url", "https://a.b", 3), ("--extra-index-url", "https://c.d", 6)],
        ),
        (
            "pyproject.toml",
            (
                '[[tool.pdm.source]]\nname = "pypi"\nurl = "https://a.b"\n[[tool.pdm.source]]\nurl = "https://c.d"\n'
                'verify_ssl = false\n[[tool.pdm.source]]\nurl = "https://e.f/x.html"\ntype = "find_links"\n'
            ),
            [
                ("--index-url", "https://a.b", 3),
                ("--extra-index-url", "https://c.d", 5),
                ("--find-links", "https://e.f/x.html", 8),
                ("--trusted-host", "c.d", 6),
            ],
        ),
        (
            "Pipfile",
            '[[source]]\nurl = "https://a.b"\nverify_ssl = false\n[[source]]\nurl = "https://c.d"\n',
            [("--index-url", "https://a.b", 2), ("--index-url", "https://c.d", 5), ("--trusted-host", "a.b", 3)],
        ),
        ("pyproject.toml", '[tool.uv]\nindex = "x"\n[tool.poetry]\nsource = 3\n[tool.pdm]\nsource = ["y"]\n', []),
    ],
)
def test_indexes_of_tables(path: str, text: str, expected: list[tuple[str, str, int]]) -> None:
    found = [fact for fact in facts(path, text) if isinstance(fact, RequirementOption)]
    assert sorted((fact.option, fact.value, fact.at.line) for fact in found) == sorted(expected)
