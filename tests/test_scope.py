"""Which folder is the repository, and how its files are named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from vramguard.schema import ConfigError
from vramguard.scope import find_scope

if TYPE_CHECKING:
    from conftest import Repo

FILES = {
    "vramguard.toml": "",
    "a/requirements.txt": "",
    "a/b/config.json": "{}",
    "c/pyproject.toml": "[tool.vramguard]\n",
}


@pytest.fixture
def root(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = repo(FILES, commit="one")
    monkeypatch.chdir(root)
    return root


def test_the_folder_that_we_stand_in(root: Path) -> None:
    assert find_scope([])[:3] == (root, (), "")
    assert find_scope([Path()])[:3] == (root, (), "")


def test_a_folder_without_a_configuration_is_a_part_of_the_one_above_that_has(root: Path) -> None:
    assert find_scope([Path("a/b")])[:2] == (root, ("a/b",))
    assert find_scope([root / "a/requirements.txt"])[:2] == (root, ("a/requirements.txt",))
    assert find_scope([Path("a"), Path("c")])[:2] == (root, ("a", "c"))


def test_a_folder_with_a_configuration_is_its_own_root(root: Path) -> None:
    scope = find_scope([Path("c")])
    assert scope[:3] == (root / "c", (), "c")
    assert scope.shown == "c"


def test_the_search_ends_at_the_top_of_the_repository(repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "vramguard.toml").touch()
    root = repo({"a/requirements.txt": ""}, commit="one")
    assert find_scope([root / "a"])[:2] == (root / "a", ())
    assert find_scope([root / "a/requirements.txt"])[:2] == (root, ("a/requirements.txt",))


def test_what_is_not_there_or_lies_elsewhere_is_one_line(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for path in ("absent", "nul\0", "loop"):
        if path == "loop":
            (root / path).symlink_to(path)
        with pytest.raises(ConfigError, match="no such file or folder"):
            find_scope([Path(path)])
    with pytest.raises(ConfigError, match="is not in the repository"):
        find_scope([root / "a", tmp_path / "elsewhere"])


def test_a_name_that_is_no_utf_8_is_a_name(repo: Repo) -> None:
    root = repo({os.fsdecode(b"\xff/requirements.txt"): "", os.fsdecode(b"\xff/vramguard.toml"): ""}, commit="one")
    assert find_scope([root / os.fsdecode(b"\xff/requirements.txt")]).only == ("requirements.txt",)


def test_a_pipe_for_a_configuration_does_not_hang(repo: Repo) -> None:
    root = repo({"a/requirements.txt": ""}, commit="one")
    os.mkfifo(root / "a/pyproject.toml")
    os.mkfifo(root / "vramguard.toml")
    assert find_scope([root / "a"]).root == root / "a"
