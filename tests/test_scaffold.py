"""What `init` writes: valid, enough to start with, and never over somebody's file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import tomli
import yaml

from vramguard import scaffold, settings
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [name for name, _ in scaffold.FILES]


def test_writes_once_and_then_leaves_everything_as_it_is(tmp_path: Path) -> None:
    assert list(scaffold.write(tmp_path)) == [f"{name}: written" for name in NAMES]
    before = {name: (tmp_path / name).read_bytes() for name in NAMES}
    assert list(scaffold.write(tmp_path)) == [f"{name}: there already, left as it is" for name in NAMES]
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == before


def test_shows_what_to_add_to_files_that_are_there(tmp_path: Path) -> None:
    hooks = tmp_path / ".pre-commit-config.yaml"
    hooks.write_text("repos: []\n", "utf-8")
    lines = list(scaffold.write(tmp_path))
    assert f"{hooks.name}: there already; add to it:" in lines
    assert "      - id: vramguard" in [line.removeprefix("    ") for line in lines]
    assert hooks.read_text("utf-8") == "repos: []\n"


def test_follows_no_link_out_of_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    root.mkdir()
    (root / "vramguard.toml").symlink_to(tmp_path / "outside.toml")
    assert next(iter(scaffold.write(root))) == "vramguard.toml: there already, but no regular file; left as it is"
    assert not (tmp_path / "outside.toml").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / ".github").write_text("a file", "utf-8")
    with pytest.raises(ConfigError, match=r"cannot write `.*vramguard\.yml`: "):
        list(scaffold.write(tmp_path))


def test_every_key_that_the_configuration_shows_is_one(tmp_path: Path) -> None:
    assert tomli.loads(scaffold.CONFIGURATION) == {}
    shown = re.sub(r"^# (?=[\[\w]+.* ?[=\]])", "", scaffold.CONFIGURATION, flags=re.MULTILINE)
    (tmp_path / "models").mkdir()
    found = settings.load({"vramguard.toml": shown.encode()}.get)
    assert (len(found.deployments), len(found.settings.waiver)) == (1, 1)
    assert found.baseline == "vramguard-baseline.json"
    assert found.settings.budget is not None


def test_the_workflow_and_the_hook_are_yaml() -> None:
    workflow = yaml.safe_load(scaffold.WORKFLOW)
    steps = workflow["jobs"]["gate"]["steps"]
    assert steps[0]["with"]["fetch-depth"] == 0
    assert steps[1]["with"]["diff-base"] == "${{ github.event.pull_request.base.sha }}"
    assert yaml.safe_load(scaffold.HOOK)["repos"][0]["hooks"] == [{"id": "vramguard"}]


def test_the_baseline_is_named_only_in_a_file_that_is_ours(tmp_path: Path) -> None:
    list(scaffold.write(tmp_path))
    path = tmp_path / "vramguard.toml"
    assert scaffold.use_baseline(tmp_path, "b.json") == "vramguard.toml: names the baseline"
    assert settings.load({"vramguard.toml": path.read_bytes()}.get).baseline == "b.json"
    path.write_text("budget = 0.5\n", "utf-8")
    assert scaffold.use_baseline(tmp_path, "b.json") == 'add `baseline = "b.json"` to your configuration'
    assert path.read_text("utf-8") == "budget = 0.5\n"
