"""`vramguard attest` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
import venv as stdlib
from typing import TYPE_CHECKING, Any

import pytest
from attest.environments import Venv, write

from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Venv:
    """A venv with one distribution, in a folder with its lock, where the command is called."""
    made = Venv(tmp_path / "venv")
    made.install("alpha")
    write(tmp_path / "requirements.txt", f"alpha==1.0 --hash=sha256:{'1' * 64}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    return made


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = run(["attest", "--output-format", "json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_clean_is_0_and_a_difference_is_1(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["attest", "--env", "venv"]) == 0
    assert "no difference" in capsys.readouterr().out
    write(venv.site / "alpha/__init__.py", "changed")
    assert run(["attest", "--env", "venv"]) == 1
    out = capsys.readouterr().out
    assert "1 difference" in out
    assert "alpha 1.0, lib/python3.11/site-packages/alpha/__init__.py: its sha256 is not that of RECORD" in " ".join(
        out.split()
    )


def test_json_says_all(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    write(venv.site / "extra.py", "")
    code, found = as_json(capsys, "--env", "venv")
    assert (code, found["schema"]) == (1, "vramguard.attestation/1")
    assert found["environment"] == {
        "path": "venv",
        "implementation": "cpython",
        "python": "3.11.7",
        "sites": ["lib/python3.11/site-packages"],
    }
    assert [(item["name"], item["version"], item["files"]) for item in found["distributions"]] == [("alpha", "1.0", 2)]
    assert [(lock["path"], lock["packages"]) for lock in found["locks"]] == [("requirements.txt", 1)]
    (item,) = found["differences"]
    assert (item["kind"], item["path"]) == ("extra", "lib/python3.11/site-packages/extra.py")


@pytest.mark.usefixtures("venv")
def test_an_expected_digest(capsys: pytest.CaptureFixture[str]) -> None:
    _, found = as_json(capsys, "--env", "venv")
    expected = [word for key in ("digest", "bytecode_digest") for word in ("--expect", found[key])]
    assert run(["attest", "--env", "venv", *expected]) == 0
    assert run(["attest", "--env", "venv", "--expect", f"sha256:{'0' * 64}"]) == 1
    assert "sha256:0000" in capsys.readouterr().out


def test_output_goes_to_a_file_and_text_to_the_terminal(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["attest", "--env", "venv", "--output-format", "json", "-o", "found.json"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert json.loads((venv.root.parent / "found.json").read_text("utf-8"))["differences"] == []


def test_the_environment_is_the_active_one_else_that_of_the_running_python(
    venv: Venv, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRTUAL_ENV", str(venv.root))
    assert as_json(capsys)[1]["environment"]["path"] == str(venv.root)
    monkeypatch.delenv("VIRTUAL_ENV")
    monkeypatch.setattr(sys, "prefix", str(venv.root))
    assert as_json(capsys)[1]["environment"]["path"] == str(venv.root)


MISTAKES = {
    "environment": (["--env", "gone"], "no such environment: `gone`"),
    "no environment": (["--env", "."], "it has no folder site-packages"),
    "lock": (["--env", "venv", "--lock", "gone.lock"], "no lock `gone.lock`"),
    "broken lock": (["--env", "venv", "--lock", "poetry.lock"], "cannot read `poetry.lock`"),
    "both": (["--env", "venv", "--lock", "requirements.txt", "--no-lock"], "exclude each other"),
    "digest": (["--env", "venv", "--expect", "sha256:12"], "`sha256:12` is no digest"),
    "output": (["--env", "venv", "-o", "gone/x.json"], "cannot write"),
}


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.usefixtures("venv")
def test_a_mistake_is_one_line_and_2(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    words, said = MISTAKES[name]
    if "poetry.lock" in words:
        write(tmp_path / "poetry.lock", "[[")
    assert run(["attest", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_no_lock_and_other_locks_are_said(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    folder = venv.root.parent
    write(folder / "poetry.lock", '[[package]]\nname = "alpha"\nversion = "1.0"\nfiles = []\n[metadata]\n')
    assert as_json(capsys, "--env", "venv")[1]["other_locks"] == ["requirements.txt"]
    assert run(["attest", "--env", "venv"]) == 0
    assert "not taken for the lock: requirements.txt" in capsys.readouterr().out
    (folder / "poetry.lock").unlink()
    (folder / "requirements.txt").unlink()
    assert [item["kind"] for item in as_json(capsys, "--env", "venv")[1]["differences"]] == ["no-lock"]
    assert run(["attest", "--env", "venv", "--no-lock"]) == 0


def test_names_of_files_cannot_command_a_terminal(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("\x1b[31mred.py", "line\nbreak.py", "\u202egpj.py"):
        write(venv.site / name, "")
    write(venv.site / "hook\x1b].pth", "import os; '\x1b[2J'\n")
    assert run(["attest", "--env", "venv"]) == 1
    out = capsys.readouterr().out
    assert "\\x1b[31mred.py" in out
    assert "line\\nbreak.py" in out
    assert not {"\x1b", "\u202e"} & set(out)
    code, found = as_json(capsys, "--env", "venv")
    assert (code, {item["kind"] for item in found["differences"]}) == (1, {"extra", "startup-hook"})


def test_many_differences_of_one_kind_are_cut_in_text_only(venv: Venv, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(50):
        write(venv.site / f"m{number}.py", "")
    assert run(["attest", "--env", "venv"]) == 1
    assert "... and 30 more, in JSON" in capsys.readouterr().out
    assert len(as_json(capsys, "--env", "venv")[1]["differences"]) == 50


def test_nothing_of_the_environment_is_executed(venv: Venv, tmp_path: Path) -> None:
    """Every way in which a Python that started there would run something leaves a mark if it is taken."""
    mark = f"open({str(tmp_path / 'ran')!r}, 'w')"
    write(venv.site / "hook.pth", f"import os; {mark}\n")
    for name in ("sitecustomize.py", "alpha/__init__.py", "packaging/__init__.py", "typer.py"):
        write(venv.site / name, mark)
    command = [sys.executable, "-m", "vramguard", "attest", "--env", str(venv.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("registry")
def test_a_fresh_venv_of_a_hashed_lock_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held = {
        "packaging==26.3": "d7193f7c8e4e93f444fde0262bf90af30e16fa0ad0ad44cb553c87339b23cd1c",
        "mdurl==0.1.2": "84008a41e51615a49fc9966191ff91509e3c40b939176e643fd50a5c2196b8f8",
        "markdown-it-py==4.3.0": "7aa1511a46c39138de78d9eba92ce47e63124d8003fc98b3a351909e04239efa",
    }
    lines = "".join(f"{package} --hash=sha256:{digest}\n" for package, digest in held.items())
    write(tmp_path / "requirements.txt", lines)
    stdlib.create(tmp_path / "fresh", with_pip=True)
    pip = [str(tmp_path / "fresh/bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "-r", str(tmp_path / "requirements.txt")], check=True, capture_output=True)
    monkeypatch.chdir(tmp_path)
    assert run(["attest", "--env", "fresh"]) == 0, capsys.readouterr().out
