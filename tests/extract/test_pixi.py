"""pixi's tables, in pixi.toml and in pyproject.toml."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, Row, of, rows

from vramguard.facts import Channels, Project

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


@pytest.mark.parametrize(
    ("value", "specifier", "pinned"),
    [
        ('"*"', "*", False),
        ('">=1.26,<2"', ">=1.26,<2", False),
        ('"1.26.4"', "1.26.4", False),
        ('"==1.26.4"', "==1.26.4", False),
        ('"1.26.*"', "1.26.*", False),
        ('"==1.26.4=py311_0"', "==1.26.4=py311_0", True),
        ('{version = "==1.26.4", build = "py311_0"}', "==1.26.4=py311_0", True),
        ('{version = ">=1", channel = "pytorch"}', ">=1", False),
        ('{channel = "pytorch"}', "*", False),
        ('{path = "../numpy"}', "../numpy", None),
        ('{git = "https://h/o/r", branch = "main"}', "git+https://h/o/r@main", False),
        ("2", "", UNKNOWN),
    ],
)
def test_packages_of_conda(value: str, specifier: str, pinned: object) -> None:
    text = f"[dependencies]\nnumpy = {value}\n"
    assert rows("pixi.toml", text, "pixi") == [Row(2, "numpy", specifier, pinned, "dependencies")]


@pytest.mark.parametrize(
    ("value", "specifier", "pinned"),
    [
        ('"*"', "", False),
        ('"==2.1.0"', "==2.1.0", True),
        ('{version = "==2.1.0", extras = ["x"]}', "==2.1.0", True),
        ('{path = ".", editable = true}', ".", None),
        (f'{{git = "https://h/o/r", rev = "{COMMIT}"}}', f"git+https://h/o/r@{COMMIT}", True),
        ('{url = "https://h/t.whl"}', "https://h/t.whl", False),
        ("[]", None, None),
    ],
)
def test_packages_of_an_index(value: str, specifier: str | None, pinned: object) -> None:
    found = rows("pixi.toml", f"[pypi-dependencies]\ntorch = {value}\n", "pixi")
    assert found == ([Row(2, "torch", specifier, pinned, "pypi-dependencies")] if specifier is not None else [])


TABLES = """\
[BASE.workspace]
name = "serving"
channels = ["nvidia", {channel = "conda-forge", priority = 1}]
[BASE.dependencies]
a = "*"
[BASE.target.linux-64.dependencies]
b = "*"
[BASE.feature.cuda]
channels = ["pytorch"]
channel-priority = "disabled"
[BASE.feature.cuda.dependencies]
c = "*"
[BASE.feature.cuda.target.linux-64.pypi-dependencies]
d = "*"
[BASE.package.host-dependencies]
e = "*"
"""


@pytest.mark.parametrize(("path", "base"), [("pixi.toml", ""), ("pyproject.toml", "tool.pixi.")])
def test_tables(path: str, base: str) -> None:
    text = TABLES.replace("BASE.", base)
    assert {(row.name, row.section) for row in rows(path, text, "pixi")} == {
        ("a", f"{base}dependencies"),
        ("b", f"{base}target.linux-64.dependencies"),
        ("c", f"{base}feature.cuda.dependencies"),
        ("d", f"{base}feature.cuda.target.linux-64.pypi-dependencies"),
        ("e", f"{base}package.host-dependencies"),
    }
    assert [(found.channels, found.priority) for found in of(path, text, Channels)] == [
        (("nvidia", "conda-forge"), "strict"),
        (("pytorch",), "disabled"),
    ]
    (project,) = of(path, text, Project)
    assert (project.tool, project.dependencies) == ("pixi", 5)
