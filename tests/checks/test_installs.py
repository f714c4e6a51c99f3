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


def test_commands_that_do_the_same_are_told_once(repo: Repo) -> None:
    lines = "RUN uv sync --frozen\nRUN uv pip install torch\nRUN uv pip install numpy scipy\nRUN uv pip install a b\n"
    [found] = findings(repo, {**LOCKED, "Dockerfile": COPIED + lines}, "VG106")
    assert found.at.line == 5
    assert "adds torch, numpy, scipy and 2 more to what the lock holds" in found.message
    assert "2 more commands here do the same" in found.message


def test_stages_are_told_apart(repo: Repo) -> None:
    stage = COPIED + "RUN uv sync\n"
    found = findings(repo, {**LOCKED, "Dockerfile": stage + stage}, "VG106")
    assert [finding.at.line for finding in found] == [4, 8]


def test_one_url_of_a_file_is_told_once(repo: Repo) -> None:
    clone = "git clone https://github.com/a/b\n"
    found = findings(repo, {"a.sh": clone * 3, "b.sh": clone}, "VG111")
    assert [(finding.at.path, finding.at.line) for finding in found] == [("a.sh", 1), ("b.sh", 1)]
    assert "2 more lines of this file take it in" in found[0].message


def test_a_path_with_braces_is_only_text(repo: Repo) -> None:
    files = {"setup.sh": "pip install -r 'a{0}.in'\n", "a{0}.in": "torch\n", "a{0}.txt": "torch==2.1.0\n"}
    [found] = findings(repo, files, "VG106")
    assert "a{0}.txt" in found.message


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[[tool.poetry.source]]\nname = "a"\nurl = "https://a.example"\n', []),
        (
            '[[tool.poetry.source]]\nname = "a"\nurl = "https://a.example"\npriority = "supplemental"\n',
            ["error"],
        ),
        ('[[tool.pdm.source]]\nurl = "https://a.example"\n', ["error"]),
        ('[[tool.uv.index]]\nurl = "https://a.example"\n', []),
        ('[[tool.uv.index]]\nurl = "http://a.example"\nexplicit = true\n', ["error"]),
        ('[tool.uv]\nindex-strategy = "unsafe-best-match"\n', ["error"]),
        ('[tool.uv]\nextra-index-url = ["https://a.example"]\n', []),
        ('[tool.uv]\nindex-strategy = "unsafe-first-match"\nextra-index-url = ["https://a.example"]\n', ["error"] * 2),
    ],
)
def test_indexes_of_a_manifest(repo: Repo, table: str, expected: list[str]) -> None:
    found = findings(repo, {"pyproject.toml": PROJECT + table}, "VG112")
    assert [finding.severity.label for finding in found] == expected


def test_a_lock_says_which_file_an_index_of_a_manifest_means(repo: Repo) -> None:
    table = '[[tool.pdm.source]]\nurl = "https://a.example"\n'
    assert findings(repo, {"pyproject.toml": PROJECT + table, "uv.lock": LOCK}, "VG112") == []


def test_uv_asks_one_index_after_the_other(repo: Repo) -> None:
    command = "uv pip install torch==2.1.0 --extra-index-url https://a.example/simple"
    files = {"Dockerfile": f"FROM scratch\nRUN {command}\n"}
    assert findings(repo, files, "VG112") == []
    unsafe = {"Dockerfile": f"FROM scratch\nRUN {command} --index-strategy unsafe-best-match\n"}
    assert len(findings(repo, unsafe, "VG112")) == 2


def test_an_index_of_a_manifest_leaves_the_build_open(repo: Repo) -> None:
    project = '[project]\nname = "a"\nversion = "1"\ndependencies = ["torch==2.1.0"]\n'
    source = '[[tool.pdm.source]]\nurl = "https://download.pytorch.org/whl/cu121"\n'
    assert len(findings(repo, {"pyproject.toml": project + source}, "VG115")) == 1
    assert findings(repo, {"pyproject.toml": project}, "VG115") == []


def test_a_folder_of_an_action_is_no_package(repo: Repo) -> None:
    text = 'runs:\n  using: composite\n  steps:\n    - run: pip install "$GITHUB_ACTION_PATH"\n      shell: bash\n'
    assert findings(repo, {"action.yml": text}, "VG101") == []
