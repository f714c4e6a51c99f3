"""`vramguard receipts`: a log beside the proof, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from vramguard.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGS: Final = Path(__file__).parent / "logs"
MODEL: Final = str(Path(__file__).parents[1] / "catalogue" / "meta-llama--Llama-3.1-8B-Instruct.json")
PIPELINE: Final = str(LOGS / "vllm-0.19-pp2.log")


def versions() -> Iterator[Path]:
    yield from sorted(LOGS.glob("vllm-0*.log"))


def test_every_bound_holds_of_a_real_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["receipts", PIPELINE, "--model", MODEL, "--output-format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "vramguard.receipts/1"
    terms = {(row["term"], row["unit"]): row for row in found["terms"]}
    assert {term for term, _ in terms} >= {"weights", "activations", "runtime", "graphs", "reserved", "cache"}
    assert all(row["holds"] for row in terms.values())


def test_a_bound_that_does_not_hold_is_exit_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(Path(PIPELINE).read_text("utf-8").replace("took 7.51 GiB", "took 9.51 GiB"), "utf-8")
    assert run(["receipts", str(log), "--model", MODEL]) == 1
    assert "weights, GiB" in capsys.readouterr().out


@pytest.mark.parametrize("log", list(versions()), ids=lambda log: log.name)
def test_without_a_model_what_was_measured_is_shown(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["receipts", str(log)]) == 0
    assert "GiB" in capsys.readouterr().out


def test_what_is_no_log_or_predicts_nothing_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("nothing of an engine\n", "utf-8")
    assert run(["receipts", str(other)]) == 2
    assert "has no line of a start-up of vLLM or SGLang" in capsys.readouterr().err
    assert run(["receipts", str(tmp_path / "gone.log")]) == 2
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "novel", "architectures": ["NovelForCausalLM"]}', "utf-8")
    capsys.readouterr()
    assert run(["receipts", PIPELINE, "--model", str(config)]) == 2
    assert "nothing is predicted for" in capsys.readouterr().err


def test_sglang_prints_what_became_less_free(capsys: pytest.CaptureFixture[str]) -> None:
    catalogue, log = Path(MODEL).parent, Path(__file__).parents[1] / "memory" / "receipts" / "sglang"
    model = str(catalogue / "Qwen--Qwen3-8B.json")
    assert run(["receipts", str(log / "qwen3_8b_b200.log"), "--model", model, "--gpu", "b200"]) == 0
    assert "fails" not in capsys.readouterr().out
