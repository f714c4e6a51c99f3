"""What a pyproject.toml declares, in each of its grammars; poetry's content hash against values that poetry wrote."""

from __future__ import annotations

import pytest

from vramguard.extract import extract
from vramguard.facts import Declared, Project, Requirement, Unknown
from vramguard.source import Document, read

COMMIT = "984bc11b0882ff1e5b34ba717ea357e069ceced9"


def facts(text: str) -> tuple[list[Requirement], Project]:
    document = read("pyproject.toml", text.encode())
    assert isinstance(document, Document)
    found = list(extract(document))
    (project,) = [fact for fact in found if isinstance(fact, Project)]
    return [fact for fact in found if isinstance(fact, Requirement)], project


EVERY_TABLE = """\
[build-system]
requires = ["setuptools>=64"]

[project]
name = "pricing"
requires-python = ">=3.11"
dependencies = [
    "torch==2.1.0",
    'numpy>=1.26 ; python_version < "3.14"',
]

[project.optional-dependencies]
serve = ["vllm[audio]==0.6.6"]

[dependency-groups]
lint = ["ruff"]
dev = [{ include-group = "lint" }, "pytest~=8.0"]

[tool.uv]
dev-dependencies = ["mypy==1.0"]

[tool.poetry.dependencies]
python = "^3.11"
scipy = "^1.11"

[tool.poetry.dev-dependencies]
black = "*"

[tool.poetry.group.docs.dependencies]
mkdocs = "1.6"
"""


def test_every_table_and_its_places() -> None:
    requirements, project = facts(EVERY_TABLE)
    assert [(r.section, r.name, r.specifier, r.pinned, r.at.line, r.at.column) for r in requirements] == [
        ("project.dependencies", "torch", "==2.1.0", True, 8, 5),
        ("project.dependencies", "numpy", ">=1.26", False, 9, 5),
        ("project.optional-dependencies.serve", "vllm", "==0.6.6", True, 13, 10),
        ("dependency-groups.lint", "ruff", "", False, 16, 9),
        ("dependency-groups.dev", "pytest", "~=8.0", False, 17, 36),
        ("build-system.requires", "setuptools", ">=64", False, 2, 13),
        ("tool.uv.dev-dependencies", "mypy", "==1.0", True, 20, 21),
        ("tool.poetry.dependencies", "scipy", "^1.11", False, 24, 1),
        ("tool.poetry.dev-dependencies", "black", "*", False, 27, 1),
        ("tool.poetry.group.docs.dependencies", "mkdocs", "1.6", True, 30, 1),
    ]
    assert (project.name, project.tool, project.dependencies) == ("pricing", "poetry", 9)


POETRY = [
    ('"1.2.3"', True),
    ('"1.2"', True),
    ('"==1.2.3"', True),
    ('"= 1.2.3"', True),
    ('"v1.2.3"', True),
    ('"1.2.3+cu121"', True),
    ('"^1.2"', False),
    ('"~1.2"', False),
    ('"~=1.2"', False),
    ('"*"', False),
    ('"1.*"', False),
    ('">=1,<2"', False),
    ('"1.2 || 1.3"', False),
    ('"1.2,1.3"', False),
    ('"!=1.2"', False),
    ('{ version = "1.2.3", extras = ["gpu"] }', True),
    ('{ version = "^1.2" }', False),
    ('{ extras = ["gpu"] }', False),
    (f'{{ git = "https://h/zoo.git", rev = "{COMMIT}" }}', True),
    ('{ git = "https://h/zoo.git", rev = "984bc11" }', False),
    ('{ git = "https://h/zoo.git", tag = "v1" }', False),
    ('{ git = "https://h/zoo.git", branch = "main" }', False),
    ('{ git = "https://h/zoo.git" }', False),
    ('{ path = "../zoo", develop = true }', None),
    ('{ file = "zoo.whl" }', None),
    ('{ url = "https://h/zoo.whl" }', False),
    (f'{{ url = "https://h/zoo.whl#sha256={COMMIT}{COMMIT[:24]}" }}', True),
    ("1.2", "unknown"),
    ("true", "unknown"),
    ("{ version = 1 }", False),
]


@pytest.mark.parametrize(("value", "pinned"), POETRY)
def test_poetry(value: str, pinned: object) -> None:
    requirements, _ = facts(f"[tool.poetry.dependencies]\nzoo = {value}\n")
    (found,) = requirements
    assert found.name == "zoo"
    assert ("unknown" if isinstance(found.pinned, Unknown) else found.pinned) == pinned
    assert bool(found.reason) == (pinned in (False, "unknown"))


def test_poetry_lists_and_markers() -> None:
    requirements, project = facts(
        "[tool.poetry.dependencies]\n"
        "zoo = [\n"
        '  { version = "1.0", markers = "python_version < \'3.12\'", extras = ["b", "a"] },\n'
        '  { version = ">=2", python = ">=3.12" },\n'
        "]\n"
    )
    assert [(r.specifier, r.pinned, r.at.line) for r in requirements] == [("1.0", True, 3), (">=2", False, 4)]
    assert (requirements[0].marker, requirements[0].extras) == ("python_version < '3.12'", ("a", "b"))
    assert project.dependencies == 1


def test_poetry_says_only_where_from() -> None:
    requirements, _ = facts(
        '[project]\nname = "a"\ndependencies = ["Torch==2.1.0"]\n\n'
        '[tool.poetry.dependencies]\ntorch = { source = "pytorch" }\n'
    )
    assert [(r.name, r.section) for r in requirements] == [("Torch", "project.dependencies")]


@pytest.mark.parametrize(
    "text",
    [
        "project = 1\n",
        "[project]\nname = 3\ndependencies = 'torch'\n",
        "[project]\ndependencies = [1, [2], { a = 1 }]\n",
        "[project]\noptional-dependencies = ['torch']\n",
        "[project]\ndynamic = 7\ndependencies = [2020-01-01]\n",
        "[project.optional-dependencies]\na = 'torch'\n",
        "dependency-groups = 3\n",
        "[dependency-groups]\na = [{ include-group = 'a' }, { other = 1 }]\nb = 7\n",
        "[tool]\npoetry = 1\nuv = 2\n",
        "[tool.poetry]\ndependencies = ['torch']\ngroup = 3\n",
        "[tool.poetry.group]\ndev = 3\n",
        "[tool.poetry.dependencies]\nzoo = [1, []]\nday = 2020-01-01\n",
        "[tool.uv]\ndev-dependencies = { a = 1 }\nworkspace = { members = 'x' }\n",
        "[build-system]\nrequires = 'setuptools'\n",
        "tool = []\nproject = []\n",
    ],
)
def test_wrong_types_never_crash(text: str) -> None:
    requirements, _ = facts(text)
    assert all(isinstance(r.pinned, Unknown) or r.pinned is False for r in requirements)


def test_a_wrong_type_is_said() -> None:
    (found,), project = facts("[project]\ndependencies = 'torch'\n")
    assert found.pinned == Unknown("torch")
    assert project.declared is None


def test_local_and_malformed_strings() -> None:
    requirements, project = facts(
        '[project]\ndependencies = ["a @ {root:uri}/a", "b @ file:///srv/b", "c =1", "d @ git+https://h/d@main"]\n'
    )
    assert [r.pinned for r in requirements] == [None, None, Unknown("c =1"), False]
    assert requirements[2].reason.startswith("no tool can read it")
    assert project.dependencies == 2


def test_tables_of_tools_alone_declare_nothing() -> None:
    requirements, project = facts("[tool.ruff]\nline-length = 100\n")
    assert (requirements, project.dependencies, project.tool) == ([], 0, None)


def test_what_uv_would_repeat() -> None:
    _, project = facts(
        '[project]\nname = "a"\ndependencies = ["Six >= 1.016 , <2", "zoo[B_b,a] @ https://h/z.whl", "x===1.0-y"]\n'
        '[project.optional-dependencies]\nFast_One = ["idna==3.*"]\n'
        '[dependency-groups]\nTest = [{ include-group = "LINT" }]\nlint = ["ruff"]\n'
        '[tool.uv]\ndev-dependencies = ["mypy"]\nworkspace = { members = ["p/*"], exclude = ["p/x"] }\n'
    )
    assert set(project.declared or ()) == {
        Declared("", "six", "<2,>=1.16"),
        Declared("", "zoo[a,b-b]", None),
        Declared("", "x", "===1.0-y"),
        Declared("extra:fast-one", "idna", "==3.*"),
        Declared("group:test", "ruff", ""),
        Declared("group:lint", "ruff", ""),
        Declared("group:dev", "mypy", ""),
    }
    assert (project.members, project.excluded) == (("p/*",), ("p/x",))


@pytest.mark.parametrize(
    "text",
    [
        '[project]\nname = "a"\ndynamic = ["dependencies"]\n',
        '[project]\nname = "a"\ndependencies = ["torch=1"]\n',
        '[dependency-groups]\na = ["torch"]\n',
        '[project]\nname = "a"\n[dependency-groups]\na = [{ include-group = "b" }]\nb = [{ include-group = "a" }]\n',
        '[project]\nname = "a"\n[dependency-groups]\na = [{ include-group = "none" }]\n',
    ],
)
def test_what_cannot_be_compared(text: str) -> None:
    assert facts(text)[1].declared is None


LEGACY = """\
[tool.poetry]
name = "pricing"
version = "1.0.0"
description = ""
authors = []

[tool.poetry.dependencies]
python = "^3.11"
torch = { version = "2.1.0", source = "pytorch" }
numpy = "^1.26"

[tool.poetry.extras]
gpu = ["torch"]

[[tool.poetry.source]]
name = "pytorch"
url = "https://download.pytorch.org/whl/cu121"
priority = "explicit"
"""
GROUP = '\n[tool.poetry.group.dev.dependencies]\npytest = ">=8,<9"\n'
PEP621 = (
    """\
[project]
name = "pricing"
version = "1.0.0"
requires-python = ">=3.11,<4"
dependencies = ["torch==2.1.0", "numpy>=1.26 ; python_version < '3.14'"]

[project.optional-dependencies]
serve = ["vllm==0.10.2"]
"""
    + GROUP
)
GROUPS = '\n[dependency-groups]\nlint = ["ruff==0.17.6", { include-group = "types" }]\ntypes = ["mypy>=2"]\n'
MIXED = """\
[project]
name = "pricing"
version = "1.0.0"
requires-python = ">=3.11"

[tool.poetry.dependencies]
torch = "2.1.0"
"""

LOCKED = """\
[project]
name = "demo"
version = "0.1.0"
requires-python = ">=3.11,<4"
dependencies = ["idna>=3.4", "six==1.16.0 ; python_version < '3.14'"]
[project.optional-dependencies]
extra = ["attrs~=23.0"]
[dependency-groups]
dev = ["iniconfig>=2"]
[tool.poetry.group.docs.dependencies]
pluggy = {version = "^1.5", optional = true}
"""

# What `Locker(path, pyproject)._content_hash` of the named poetry releases gives for these very texts.
WRITTEN = [
    (LEGACY, ("1.8.5", "2.0.0", "2.5.1"), "34128035f454150dba6869d661d354c4d052724442134889f3448c2c3eed8441"),
    (LEGACY + GROUP, ("1.8.5", "2.0.0", "2.5.1"), "d3293417322c304a434bc9e2f45fc60c8a856a687d87f9968f9f7e571575ecc0"),
    (PEP621, ("2.0.0", "2.5.1"), "b5c0bb1a472ee090b43efdeb909de9754d3812ad581f7715a01c56533a0f9fc5"),
    (PEP621 + GROUPS, ("2.0.0",), "b5c0bb1a472ee090b43efdeb909de9754d3812ad581f7715a01c56533a0f9fc5"),
    (PEP621 + GROUPS, ("2.5.1",), "a522b409bce5e6b221f7af59d8b303c7feca883e6f8c8c32fb96f59b53a508aa"),
    (LOCKED, ("2.5.1",), "03417f4cfccf8c8a4d2aa05b2f3dd28085e2515654a537cc90d976e9aa76149e"),  # by `poetry lock`
    (MIXED, ("1.8.5",), "88eb09c5abd69eba87b0cd316121c10dc442664b817cf18548dd15d478cedb5d"),
    (MIXED, ("2.0.0", "2.5.1"), "dccd83e54c476cafe3d22bbcf0c9fe27e78179a2a1b47e55c5913e6ab1345e54"),
]


@pytest.mark.parametrize(("text", "versions", "digest"), WRITTEN)
def test_content_hashes_that_poetry_wrote(text: str, versions: tuple[str, ...], digest: str) -> None:
    assert digest in facts(text)[1].content_hash, versions


def test_a_hash_that_leaves_out_the_projects_own_dependencies_is_no_proof() -> None:
    """Poetry 1.8.5 never looked at `[project]`; a lock that it wrote covers none of these."""
    assert "584c91224716da32cb766d164122d46a968411bcc3d086749d538679d8a7ab95" not in facts(PEP621)[1].content_hash


@pytest.mark.parametrize(
    "change", [("2.1.0", "2.1.1"), (">=3.11,<4", ">=3.12"), (">=8,<9", ">=8"), ("0.10.2", "0.6.6")]
)
def test_any_change_of_what_is_declared_changes_the_hash(change: tuple[str, str]) -> None:
    before, after = (
        {digest for digest in facts(text)[1].content_hash if not digest.startswith("sha256:")}  # those are pdm's
        for text in (PEP621, PEP621.replace(*change))
    )
    assert before.isdisjoint(after)


def test_what_does_not_matter_to_a_lock_does_not_change_the_hash() -> None:
    assert (
        facts(PEP621)[1].content_hash == facts(PEP621.replace('"1.0.0"', '"1.0.1"') + "\n[tool.ruff]\n")[1].content_hash
    )
