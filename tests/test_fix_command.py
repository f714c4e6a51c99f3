"""`check --fix`: what the lock holds is written into the files, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path

SHA = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


class TestFix:
    LOCK = (
        'version = 1\n\n[[package]]\nname = "a"\nversion = "1"\nsource = { virtual = "." }\n\n'
        '[package.metadata]\nrequires-dist = [{ name = "flask", specifier = ">=0.5" }]\n\n'
        '[[package]]\nname = "flask"\nversion = "3.0.0"\nsource = { registry = "https://pypi.org/simple" }\n'
        f'wheels = [{{ url = "https://x/flask.whl", hash = "{SHA}" }}]\n'
    )

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        project = '[project]\nname = "a"\nversion = "1"\ndependencies = ["flask>=0.5"]\n'
        (tmp_path / "pyproject.toml").write_text(project)
        (tmp_path / "uv.lock").write_text(self.LOCK)
        return tmp_path

    def test_what_the_lock_holds_is_written_and_the_rest_is_kept(
        self, root: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (root / "requirements.txt").write_bytes(b"flask [async] >=2  # web\r\n")
        assert run(["check", str(root), "--fix"]) == 0
        text = f"flask [async]==3.0.0 \\\r\n    --hash={SHA}  # web\r\n"
        assert (root / "requirements.txt").read_bytes() == text.encode()
        said = capsys.readouterr()
        assert "requirements.txt: 1 line mended" in said.err
        assert "clean" in said.out

    def test_hashes_are_not_added_where_others_would_be_missing(self, root: Path) -> None:
        (root / "requirements.txt").write_text("flask>=2\nacme-internal==1\n")
        (root / "uv.lock").write_text(
            self.LOCK + '\n[[package]]\nname = "jinja2"\nversion = "3.1"\nsource = { registry = "x" }\n'
        )
        assert run(["check", str(root), "--fix"]) == 1
        assert (root / "requirements.txt").read_text() == "flask==3.0.0\nacme-internal==1\n"

    def test_a_version_that_the_line_excludes_stays_for_a_person(self, root: Path) -> None:
        (root / "requirements.txt").write_text("flask<3\n")
        run(["check", str(root), "--fix"])
        assert (root / "requirements.txt").read_text() == "flask<3\n"

    def test_nothing_is_written_through_a_link(self, root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside") / "r.txt"
        outside.write_text("flask>=2\n")
        (root / "inner").mkdir()
        (root / "inner" / "r.txt").write_text("flask>=2\n")
        (root / "requirements.txt").symlink_to("inner/r.txt")
        assert run(["check", str(root), "--fix"]) == 1
        assert (root / "inner" / "r.txt").read_text() == "flask>=2\n"

    def test_the_report_says_what_would_be_written(self, root: Path, tmp_path: Path) -> None:
        (root / "requirements.txt").write_text("flask>=2\n")
        run(["check", str(root), "--select", "VG101", "-o", str(tmp_path / "report.json")])
        (found,) = json.loads((tmp_path / "report.json").read_text())["findings"]
        assert found["fix"]["description"] == "pin flask to 3.0.0 as the lock has it"
        (edit,) = found["fix"]["edits"]
        assert (edit["line"], edit["column"], edit["end_column"], edit["text"]) == (1, 1, 9, "flask==3.0.0")
