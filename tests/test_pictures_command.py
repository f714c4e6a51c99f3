"""`--output-format html` and `markdown` of `prove` and `plan`: files, exit codes, and the numbers of the JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from llama import LLAMA_8B

from vramguard.cli import run
from vramguard.units import gib

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo

ASKED = ("m", "--dtype", "bfloat16", "--max-model-len", "4096")


@pytest.fixture
def root(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = repo({"m/config.json": json.dumps(LLAMA_8B)})
    monkeypatch.chdir(root)
    return root


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("gpu", "code"), [("h100-sxm5-80gb", 0), ("l4-24gb", 0), ("t4-16gb", 1)])
@pytest.mark.parametrize("name", ["html", "markdown"])
def test_prove(name: str, gpu: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("prove", *ASKED, "--gpu", gpu, "--output-format")
    assert run([*words, "json"]) == code
    proof = json.loads(capsys.readouterr().out)
    assert run([*words, name]) == code
    text = capsys.readouterr().out
    assert text.startswith("<!doctype html>" if name == "html" else f"### {proof['answer']}: ")
    for key in ("peak_lower_bytes", "peak_upper_bytes"):
        assert f"{proof['totals'][key]:,}" in text if name == "html" else gib(proof["totals"][key]) in text
    assert "Peak against concurrency" in text
    assert f"{proof['max_fitting_model_len']:,}" in text


def test_a_file_gets_the_page_and_the_terminal_text(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["prove", *ASKED, "--output-format", "html", "-o", "proof.html"]) == 0
    assert "Ledger of the worst GPU" in capsys.readouterr().out
    page = (root / "proof.html").read_text("utf-8")
    assert page.endswith("</html>\n")
    assert str(root) not in page


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("name", ["html", "markdown"])
def test_plan(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("plan", *ASKED, "--gpu", "l4-24gb", "--gpu", "h100-sxm5-80gb", "--gpu", "mi300x-192gb", "--output-format")
    assert run([*words, "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["gpus"]
    assert run([*words, name]) == 0
    text = capsys.readouterr().out
    for row in rows:
        assert row["gpu"] in text
        assert row["answer"] in text
        assert row["peak_upper_bytes"] is None or gib(row["peak_upper_bytes"]) in text
        for field in ("max_model_len", "concurrency"):
            assert row[field]["value"] is None or f"{row[field]['value']:,}" in text
    assert "Peak against context" in text
    assert text.count("<svg" if name == "html" else "```text") >= 2


@pytest.mark.usefixtures("root")
def test_what_is_not_known_has_a_page_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("prove", "plan"):
        assert run([command, "m", "--gpu", "mi300x-192gb", "--output-format", "html"]) == 1
        text = capsys.readouterr().out
        assert "UNKNOWN" in text
        assert "No proof, no merge." in text


def test_other_commands_have_no_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "--output-format", "html"]) == 2
    assert "html" in capsys.readouterr().err
