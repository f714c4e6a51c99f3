"""What an audit says, and what it never calls clean: against a service of our own, through pip-audit itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from audit.server import CANARY, OsvServer, advisory, serving

from vramguard.audit import asking, audited
from vramguard.audit.asking import Asking, Service
from vramguard.audit.kept import Kept
from vramguard.cli import run
from vramguard.extract import extract
from vramguard.facts import Facts, Unaudited, Vulnerability
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vramguard.facts import Fact

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
LOCK = "".join(
    f'[[package]]\nname = "{name}"\nversion = "{version}"\nfiles = [{{ file = "x.whl", hash = "{SHA}" }}]\n\n'
    for name, version in (("flask", "0.5"), ("numpy", "1.26.4"))
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OsvServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as found:
        found.known["flask", "0.5"] = [advisory("PYSEC-2019-179", "flask", "1.0")]
        yield found


def facts_of(path: str = "poetry.lock", text: str = LOCK) -> Facts:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    return Facts(extract(document))


@pytest.fixture(autouse=True)
def minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute ends within a test: answers are told by the minute in which they were asked for."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    monkeypatch.setattr("vramguard.audit.asking._now", lambda: now)


def said(server: OsvServer, path: str = "poetry.lock", text: str = LOCK) -> list[Fact]:
    return list(audited(facts_of(path, text), Service(server.url)))


def test_a_vulnerable_version_is_named_at_its_place_in_the_lock(server: OsvServer) -> None:
    (found,) = said(server)
    assert isinstance(found, Vulnerability)
    assert (found.name, found.version, found.fixed) == ("flask", "0.5", ("1.0",))
    assert found.ids == ("PYSEC-2019-179", "CVE-PYSEC-2019-179")
    assert (found.at.path, found.at.line) == ("poetry.lock", 1)


def test_a_clean_lock_is_clean_once_the_canary_was_reported(server: OsvServer) -> None:
    server.known.pop(("flask", "0.5"))
    assert said(server) == []
    assert server.asked[0] == CANARY
    assert set(server.asked[1:]) == {("flask", "0.5"), ("numpy", "1.26.4")}


@pytest.mark.parametrize("mood", ["404", "500", "malformed", "silent"])
def test_a_service_that_does_not_answer_is_no_audit(server: OsvServer, mood: str) -> None:
    server.mood = mood
    (found,) = said(server)
    assert isinstance(found, Unaudited)
    assert found.packages == ("flask 0.5", "numpy 1.26.4")
    assert ("its silence says nothing" in found.reason) is (mood == "silent")


def test_a_slow_service_is_no_audit(server: OsvServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.mood = "slow"
    monkeypatch.setattr(asking, "TIMEOUT", 3.0)
    (found,) = said(server)
    assert isinstance(found, Unaudited)
    assert "not done after 3 seconds" in found.reason


def test_nobody_there_is_no_audit(server: OsvServer) -> None:
    (found,) = audited(facts_of(), Service("http://127.0.0.1:9/v1/query"))
    assert isinstance(found, Unaudited)
    assert "pip-audit gave no answer" in found.reason
    assert server.asked == []


def test_without_pip_audit_nothing_is_audited(server: OsvServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _: None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    (found,) = said(server)
    assert isinstance(found, Unaudited)
    assert "pip-audit is not installed" in found.reason


def test_a_skipped_package_is_not_audited(server: OsvServer) -> None:
    (found,) = said(server, "requirements.txt", "nonsense===not-a-version\n")
    assert isinstance(found, Unaudited)
    assert found.packages == ("nonsense not-a-version",)


def test_two_versions_of_one_package_are_both_asked(server: OsvServer) -> None:
    second = '[[package]]\nname = "flask"\nversion = "3.0"\nfiles = []\n'
    (found,) = said(server, text=LOCK + second)
    assert isinstance(found, Vulnerability)
    assert {("flask", "0.5"), ("flask", "3.0")} <= set(server.asked)


def test_an_answer_holds_for_a_day(server: OsvServer) -> None:
    first = said(server)
    asked = len(server.asked)
    assert said(server) == first
    assert len(server.asked) == asked
    kept = Kept(Service(server.url))
    yesterday = (datetime.now(UTC) - timedelta(hours=25)).strftime("%Y-%m-%d %H:%M UTC")
    answer = kept.get(("flask", "0.5"))
    assert answer is not None
    kept.put([asking.Answer(answer.package, yesterday, answer.advisories)])
    assert said(server) == first
    assert len(server.asked) == asked + 2  # the canary, and the one that had lapsed


def test_a_failure_is_not_kept(server: OsvServer) -> None:
    server.mood = "500"
    assert isinstance(said(server)[0], Unaudited)
    server.mood = "good"
    assert isinstance(said(server)[0], Vulnerability)


def test_a_broken_cache_is_none(server: OsvServer, tmp_path: Path) -> None:
    first = said(server)
    (path,) = (tmp_path / "cache" / "vramguard" / "audit").glob("*.json")
    for text in (
        "",
        "[]",
        '{"answers": [[1]]}',
        '{"answers": [["a", "b", "c", []]]}',
        '{"answers": [[[], {}, "2026-01-01 00:00 UTC", []]]}',
    ):
        path.write_text(text)
        assert said(server) == first


def check(root: Path, *options: str) -> tuple[int, list[dict[str, object]]]:
    output = root.parent / "report.json"
    code = run(["check", str(root), "--select", "VG118", "--select", "VG119", "-o", str(output), *options])
    return code, json.loads(output.read_text())["findings"]


def test_the_command_asks_only_where_it_is_told_to(server: OsvServer, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "poetry.lock").write_text(LOCK)
    assert check(root) == (0, [])
    assert server.asked == []
    code, (found,) = check(root, "--osv-url", server.url)
    assert (code, found["id"], found["severity"]) == (1, "VG118", "error")
    assert "mended in 1.0" in str(found["message"])


def test_an_advisory_without_a_mended_version_is_a_warning(server: OsvServer, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "poetry.lock").write_text(LOCK)
    server.known["flask", "0.5"] = [advisory("PYSEC-2019-179", "flask")]
    code, (found,) = check(root, "--audit", "--osv-url", server.url)
    assert (code, found["severity"]) == (0, "warning")


def test_an_advisory_is_accepted_by_its_name_for_a_time(server: OsvServer, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "poetry.lock").write_text(LOCK)
    waiver = '[[waiver]]\nrules = ["VG118"]\npaths = ["poetry.lock"]\nreason = "not reachable"\nadvisories = ["{}"]\n'
    until = "until = 2099-01-01\n"
    (root / "vramguard.toml").write_text(waiver.format("CVE-PYSEC-2019-179") + until)
    assert check(root, "--osv-url", server.url) == (0, [])
    (root / "vramguard.toml").write_text(waiver.format("PYSEC-1999-1") + until)
    assert check(root, "--osv-url", server.url)[0] == 1
    (root / "vramguard.toml").write_text(waiver.format("CVE-PYSEC-2019-179"))
    assert run(["check", str(root)]) == 2


@pytest.mark.parametrize("version", ["1\n-r /etc/passwd", "1 ; x", "-r", "\ud800", ""])
def test_what_is_no_version_is_never_asked_for(version: str) -> None:
    package = ("x", version)
    answer = Asking(Service("http://127.0.0.1:9/")).answers([package])[package]
    assert answer.skipped
    assert not answer.advisories
