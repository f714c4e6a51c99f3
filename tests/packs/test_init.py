"""`vramguard init --pack`: what it writes is there, judged by our own rules, and written over by --force alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from packed import REPOSITORIES, facts_of

from vramguard import engine
from vramguard.cli import Exit, run
from vramguard.discover import WorkTree
from vramguard.packs import FOLDER, PACKS, planned

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo

ALL = [option for pack in PACKS for option in ("--pack", pack)]


@pytest.fixture
def here(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = repo({**REPOSITORIES["many"]}, commit="serve")
    monkeypatch.chdir(root)
    return root


def found(root: Path) -> dict[str, list[str]]:
    """What our rules find in a repository, by rule: the places."""
    tree = WorkTree(root)
    places: dict[str, list[str]] = {}
    for one in engine.check(tree, engine.load_policy(tree)).findings:
        places.setdefault(one.id, []).append(f"{one.at.path}:{one.at.line} {one.message}")
    return places


@pytest.mark.parametrize("name", REPOSITORIES)
@pytest.mark.parametrize("packs", [(pack,) for pack in PACKS] + [PACKS], ids="+".join)
def test_our_own_rules_find_nothing_in_what_is_written(
    name: str, packs: tuple[str, ...], repo: Repo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = repo({**REPOSITORIES[name]}, commit="serve")
    monkeypatch.chdir(root)
    assert run(["init", *(option for pack in packs for option in ("--pack", pack))]) == Exit.CLEAN
    after = found(root)
    ours = (f"{FOLDER}/", ".github/")
    assert {rule: at for rule, places in after.items() if (at := [one for one in places if one.startswith(ours)])} == {}
    if "prometheus" in packs:
        assert not {"VG603", "VG604", "VG605", "VG606", "VG609", "VG610"} & set(after)
    if {"istio", "envoy-gateway"} & set(packs):
        assert not [rule for rule in after if rule.startswith("VG4")]
    assert capsys.readouterr().out


def test_the_missing_alerts_are_those_that_the_pack_brings(
    here: Path, repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    alert = "groups: [{name: a, rules: [{alert: Busy, expr: 'rate(process_cpu_seconds_total[1m]) > 0.9'}]}]\n"
    repo({"monitoring/alerts.yml": alert})
    assert "VG604" in found(here)
    assert run(["init", "--pack", "prometheus"]) == Exit.CLEAN
    assert "VG604" not in found(here)
    assert "rules.yml: written" in capsys.readouterr().out


def test_nothing_is_written_over_but_by_force(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", *ALL]) == Exit.CLEAN
    rules = here / FOLDER / "prometheus/rules.yml"
    text = rules.read_text("utf-8")
    rules.write_text("groups: []\n", "utf-8")
    capsys.readouterr()
    assert run(["init", *ALL]) == Exit.CLEAN
    out = capsys.readouterr().out
    assert f"{FOLDER}/prometheus/rules.yml: there already, left as it is (--force overwrites it)" in out
    assert f"{FOLDER}/istio/llama.yaml: there already, as it is written today" in out
    assert rules.read_text("utf-8") == "groups: []\n"
    assert run(["init", "--force", *ALL]) == Exit.CLEAN
    assert f"{FOLDER}/prometheus/rules.yml: overwritten" in capsys.readouterr().out
    assert rules.read_text("utf-8") == text


def test_it_writes_no_more_than_the_pack(here: Path) -> None:
    assert run(["init", "--pack", "istio", "--pack", "istio"]) == Exit.CLEAN
    assert not (here / "vramguard.toml").exists()
    assert sorted(path.name for path in (here / FOLDER).iterdir()) == ["istio"]


def test_a_link_out_of_the_repository_is_not_followed(
    here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (here / "ops").symlink_to(outside)
    assert run(["init", "--pack", "istio", "--force"]) == Exit.CLEAN
    assert "a link leads out of the repository" in capsys.readouterr().out
    assert list(outside.iterdir()) == []


def test_mistakes_of_the_command_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", "--pack", "prometeus"]) == Exit.USAGE
    assert run(["init", "--force"]) == Exit.USAGE
    assert "--pack" in capsys.readouterr().err
    assert not (here / "vramguard.toml").exists()


def test_every_pack_has_a_planner() -> None:
    for pack in PACKS:
        assert planned(facts_of({"README.md": "none"}), pack).notes
