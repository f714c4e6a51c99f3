"""A Pipfile's packages."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, Row, of, requirements, rows

from vramguard.facts import Project

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("value", "specifier", "pinned"),
    [
        ('"*"', "*", False),
        ('"==2.1.0"', "==2.1.0", True),
        ('"2.1.0"', "2.1.0", True),
        ('"~=2.1"', "~=2.1", False),
        ('">=2,<3"', ">=2,<3", False),
        ('{version = "==2.1.0", extras = ["x"]}', "==2.1.0", True),
        ('{extras = ["x"]}', "*", False),
        ('{git = "https://h/o/r", ref = "main"}', "git+https://h/o/r@main", False),
        ('{git = "https://h/o/r"}', "git+https://h/o/r", False),
        (f'{{git = "https://h/o/r.git", ref = "{COMMIT}"}}', f"git+https://h/o/r.git@{COMMIT}", True),
        ('{path = ".", editable = true}', ".", None),
        ('{file = "https://h/t.whl"}', "https://h/t.whl", False),
        (f'{{file = "https://h/t.whl#sha256={SHA}"}}', f"https://h/t.whl#sha256={SHA}", True),
        ('{file = "./t.whl"}', "./t.whl", None),
        ("2", "", UNKNOWN),
        ('"2 3"', "", UNKNOWN),
    ],
)
def test_values(value: str, specifier: str, pinned: object) -> None:
    assert rows("Pipfile", f"[packages]\ntorch = {value}\n", "pipfile") == [
        Row(2, "torch", specifier, pinned, "packages")
    ]


def test_categories_and_the_project() -> None:
    text = """\
[[source]]
url = "https://pypi.org/simple"
[requires]
python_version = "3.11"
[scripts]
run = "python x.py"
[packages]
a = "*"
[dev-packages]
b = {version = "*", markers = "os_name == 'nt'", sys_platform = "== 'win32'"}
[docs]
A = "==1"
"""
    assert [(row.name, row.section) for row in rows("Pipfile", text, "pipfile")] == [
        ("a", "packages"),
        ("b", "dev-packages"),
        ("A", "docs"),
    ]
    assert requirements("Pipfile", text, "pipfile")[1].marker == "os_name == 'nt' and sys_platform == 'win32'"
    (project,) = of("Pipfile", text, Project)
    assert (project.form, project.tool, project.dependencies, project.at.line) == ("pipfile", "pipenv", 2, 7)
