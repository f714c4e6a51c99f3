"""What goes past a lock, comes from a source that can change, or from an index that nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard import engine
from vramguard.discover import WorkTree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Repo

    from vramguard.policy import Finding

PROJECT = '[project]\nname = "a"\nversion = "1"\ndependencies = []\n'
LOCK = 'version = 1\n[[package]]\nname = "a"\nversion = "1"\nsource = { virtual = "." }\n'
LOCKED = {"pyproject.toml": PROJECT, "uv.lock": LOCK}
COPIED = "FROM scratch\nWORKDIR /w\nCOPY pyproject.toml uv.lock ./\n"


def findings(repo: Repo, files: Mapping[str, str], rule: str) -> list[Finding]:
    tree = WorkTree(repo(dict(files)))
    return engine.check(tree, engine.load_policy(tree, select=(rule,))).findings


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("uv sync", ["error"]),
        ("uv sync --locked", []),
        ("uv sync --frozen && uv pip install torch==2.1.0", []),
        ("uv sync --frozen && uv pip install torch", ["error"]),
        ("uv sync --frozen && pip install -U pip", []),
        ("uv sync --frozen && pip install .", []),
        ("pip install .", ["error"]),
        ("pip install --no-deps .", []),
        ("pip install torch", []),
        ("uv add torch", ["error"]),
        ("uv lock", []),
        ("uv lock --upgrade", ["error"]),
    ],
)
def test_a_lock_holds_in_an_image_only_if_it_is_asked(repo: Repo, command: str, expected: list[str]) -> None:
    found = findings(repo, {**LOCKED, "Dockerfile": f"{COPIED}RUN {command}\n"}, "VG106")
    assert [finding.severity.label for finding in found] == expected


def test_a_pipeline_weighs_less_and_a_recipe_may_change_a_lock(repo: Repo) -> None:
    workflow = "jobs:\n  a:\n    steps:\n      - run: pip install -e .\n"
    files = {**LOCKED, ".github/workflows/a.yml": workflow, "Makefile": "lock:\n\tuv lock --upgrade\n\tuv add torch\n"}
    assert [(found.at.path, found.severity.label) for found in findings(repo, files, "VG106")] == [
        (".github/workflows/a.yml", "warning")
    ]


def test_a_project_without_a_lock_is_no_matter_of_this_rule(repo: Repo) -> None:
    files = {"pyproject.toml": PROJECT, "Dockerfile": "FROM scratch\nCOPY . /w\nWORKDIR /w\nRUN pip install .\n"}
    assert findings(repo, files, "VG106") == []


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("--extra-index-url https://a.example/simple", ["error"]),
        ("--extra-index-url https://download.pytorch.org/whl/cu121", ["warning"]),
        ("--extra-index-url https://pypi.org/simple", []),
        ("--index-url https://a.example/simple", []),
        ("--index-url http://a.example/simple", ["error"]),
        ("--index-url http://localhost:3141/simple", ["warning"]),
        ("--trusted-host a.example", ["error"]),
        ("--find-links https://data.pyg.org/whl/x.html", ["warning"]),
        ("--find-links wheels", []),
        ("--extra-index-url $INDEX", ["warning"]),
        ("--pre", ["warning"]),
    ],
)
def test_where_packages_come_from(repo: Repo, option: str, expected: list[str]) -> None:
    found = findings(repo, {"Dockerfile": f"FROM scratch\nRUN pip install torch==2.1.0 {option}\n"}, "VG112")
    assert [finding.severity.label for finding in found] == expected


def test_hashes_make_a_second_index_harmless(repo: Repo) -> None:
    command = "RUN pip install -r requirements.txt --extra-index-url https://a.example/simple\n"
    files = {"Dockerfile": f"FROM scratch\nCOPY requirements.txt .\n{command}"}
    hashed = "torch==2.1.0 --hash=sha256:" + "ab" * 32 + "\n"
    assert len(findings(repo, {**files, "requirements.txt": "torch==2.1.0\n"}, "VG112")) == 1
    assert findings(repo, {**files, "requirements.txt": hashed}, "VG112") == []


def test_a_setting_of_a_stage_is_told_once(repo: Repo) -> None:
    text = "FROM scratch\nENV PIP_TRUSTED_HOST=a.example\nRUN pip install a==1\nRUN pip install b==1\n"
    assert len(findings(repo, {"Dockerfile": text}, "VG112")) == 1


def test_a_clone_weighs_by_where_it_serves(repo: Repo) -> None:
    clone = "git clone https://github.com/a/b"
    files = {"Dockerfile": f"FROM scratch\nRUN {clone}\n", "get.sh": clone + "\ngit clone https://huggingface.co/a/b\n"}
    found = {finding.at.path: finding.severity.label for finding in findings(repo, files, "VG111")}
    assert found == {"Dockerfile": "error", "get.sh": "warning"}


def test_a_list_from_a_url(repo: Repo) -> None:
    files = {"Dockerfile": "FROM scratch\nRUN pip install -r https://a.example/r.txt\n"}
    assert [finding.at.line for finding in findings(repo, files, "VG111")] == [2]
