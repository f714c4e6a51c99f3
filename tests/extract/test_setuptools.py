"""setup.py and setup.cfg: lists, tables, files, and what cannot be told."""

from __future__ import annotations

import pytest
from declared import UNKNOWN, Row, of, requirements, rows, written

from vramguard.facts import Include, Project, Unknown

HEAD = "from setuptools import setup\n"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (
            "setup(install_requires=['torch>=2', \"numpy==1.26.4\"])",
            [("torch", ">=2", False), ("numpy", "==1.26.4", True)],
        ),
        ("setup(install_requires='torch')", [("torch", "", False)]),
        (
            "setup(install_requires='''\n torch\n# why\n numpy==1 # so\n''')",
            [("torch", "", False), ("numpy", "==1", True)],
        ),
        ("setuptools.setup(setup_requires=['a'], tests_require=['b'])", [("a", "", False), ("b", "", False)]),
        ("setup(extras_require={'x': ['a'], 'y': 'b'})", [("a", "", False), ("b", "", False)]),
        ("V = '1'\nsetup(install_requires=[f'a=={V}', 'b==' + V, 'c==%s' % V])", [(n, "==1", True) for n in "abc"]),
        ("R = ['a']\nif x:\n    R.append('b')\nsetup(install_requires=R)", [("a", "", False), ("b", "", False)]),
        ("K = dict(install_requires=['a'])\nsetup(**K)", [("a", "", False)]),
        ("setup(install_requires=['a @ git+https://h/a@main'])", [("a", "git+https://h/a@main", False)]),
        ("if __name__ == '__main__':\n    setup(install_requires=['a'])", [("a", "", False)]),
        ("setup(python_requires='>=3', name='x')", []),
        ("setup(install_requires=[])", []),
        ("def run(setup):\n    return None\nrun(1)", []),
    ],
)
def test_setup_py(code: str, found: list[tuple[str, str, object]]) -> None:
    assert [row[1:4] for row in rows("setup.py", HEAD + code, "setup.py")] == found


def test_what_cannot_be_told_is_one_unknown() -> None:
    text = HEAD + "from x import NEEDED\nsetup(install_requires=NEEDED + ['a==%s' % v])\n"
    first, second = requirements("setup.py", text, "setup.py")
    assert (first.name, first.pinned, first.at.line) == ("NEEDED", Unknown("NEEDED"), 3)
    assert (second.name, second.pinned) == ("a", Unknown("'a==%s' % v"))
    assert first.reason == second.reason == "it is computed when setup.py runs"


TABLE = """
import re
from setuptools import setup
_deps = [
    "torch>=2",
    "numpy==1.26.4",
    "unused",
]
deps = {b: a for a, b in (re.findall(r"^(([^!=<>~ ]+)(?:[!=<>~ ].*)?$)", x)[0] for x in _deps)}


def deps_list(*pkgs):
    return [deps[pkg] for pkg in pkgs]


extras = {}
extras["torch"] = deps_list("torch")
extras["all"] = extras["torch"] + deps_list("numpy")
setup(install_requires=[deps["numpy"]], extras_require=extras)
"""


def test_a_lookup_table_is_told_once_and_in_its_own_place() -> None:
    assert rows("setup.py", TABLE, "setup.py") == [
        Row(6, "numpy", "==1.26.4", True, "install_requires"),
        Row(5, "torch", ">=2", False, "extras_require.torch"),
    ]
    for found in requirements("setup.py", TABLE, "setup.py"):
        assert written(TABLE, found) == found.name + found.specifier


@pytest.mark.parametrize(
    ("code", "targets"),
    [
        ("setup(install_requires=open('r.txt').read().splitlines())", ["pkg/r.txt"]),
        ("def load(p):\n    return [l for l in open(p)]\nsetup(install_requires=load('r/a.txt'))", ["pkg/r/a.txt"]),
        (
            "import os\nH = os.path.dirname(__file__)\nsetup(install_requires=open(os.path.join(H, 'r.txt')))",
            ["pkg/r.txt"],
        ),
        ("setup(install_requires=open(path))", []),
        ("setup(extras_require={'a': parse_requirements('../r.txt')})", ["r.txt"]),
        ("setup(install_requires=[str(r.req) for r in parse_requirements('r.txt', session=False)])", ["pkg/r.txt"]),
        ("setup(version=open('VERSION').read(), long_description=open('README.md').read())", []),
    ],
)
def test_files_that_setup_py_reads(code: str, targets: list[str]) -> None:
    found = of("pkg/setup.py", HEAD + code, Include)
    assert [include.target for include in found] == targets
    assert not any(include.constraint for include in found)


def test_the_project_of_a_setup_py() -> None:
    text = (
        HEAD + "setup(name='a', install_requires=['b', 'c'], setup_requires=['d'], extras_require={'e': ['a[f]', 'b']})"
    )
    (project,) = of("setup.py", text, Project)
    assert (project.form, project.name, project.dependencies, project.at.line) == ("setup.py", "a", 2, 2)


CFG = """\
[metadata]
name = a

[options]
python_requires = >=3.9
setup_requires = cython; numpy
install_requires =
    torch>=2  # why
    # numpy
    vllm==0.10.2 ; python_version < "3.13"
tests_require = mock; python_version < "3.13"

[options.extras_require]
Dev =
  pytest
all = file: all.txt,
  more.txt
"""


def test_setup_cfg() -> None:
    assert rows("setup.cfg", CFG, "setup.cfg") == [
        Row(8, "torch", ">=2", False, "install_requires"),
        Row(10, "vllm", "==0.10.2", True, "install_requires"),
        Row(6, "cython", "", False, "setup_requires"),
        Row(6, "numpy", "", False, "setup_requires"),
        Row(11, "mock", "", False, "tests_require"),
        Row(15, "pytest", "", False, "extras_require.dev"),
    ]
    assert [include.target for include in of("setup.cfg", CFG, Include)] == ["all.txt", "more.txt"]
    (project,) = of("setup.cfg", CFG, Project)
    assert (project.form, project.name, project.dependencies) == ("setup.cfg", "a", 5)


@pytest.mark.parametrize("text", ["[options]\ninstall_requires =\n  torch=2\n", "[options]\ninstall_requires = =\n"])
def test_a_line_that_nobody_reads(text: str) -> None:
    assert [row.pinned for row in rows("setup.cfg", text, "setup.cfg")] == [UNKNOWN]


@pytest.mark.parametrize("text", ["", "[options", "[options]\n  x", "= 1", "[a]\n[options]\n", "setup(", "setup(**x)"])
def test_nothing_is_said_where_nothing_is_declared(text: str) -> None:
    assert of("setup.cfg", text, Project) == []
    assert requirements("setup.py", text, "setup.py") == []
