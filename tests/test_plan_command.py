"""`vramguard plan`: exit codes, the table, and what programs read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from llama import LLAMA_8B

from vramguard.cli import run
from vramguard.data import gpus

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo

VLLM = ("--engine", "vllm", "--engine-version", "0.19.0")


@pytest.fixture
def root(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    tables = '[[deployment]]\nconfig = "m/config.json"\ngpu = "l4-24gb"\nmax_model_len = 4096\n'
    packed = {**LLAMA_8B, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}
    files = {"m/config.json": json.dumps(LLAMA_8B), "q/config.json": json.dumps(packed), "vramguard.toml": tables}
    root = repo(files)
    monkeypatch.chdir(root)
    return root


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run(["plan", *words])
    out = capsys.readouterr()
    return code, out.out + out.err


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, text = planned(capsys, *words, "--output-format", "json")
    return code, json.loads(text)


@pytest.mark.usefixtures("root")
class TestPlan:
    def test_every_card_has_a_row(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, plan = as_json(capsys, "m", *VLLM)
        assert code == 0
        assert plan["schema"] == "vramguard.plan/1"
        assert {row["gpu"] for row in plan["gpus"]} == set(gpus())
        assert plan["asked"] == ["h100-sxm5-80gb"]
        assert plan["assumed"]
        sizes = [row["capacity_bytes"] for row in plan["gpus"]]
        assert sizes == sorted(sizes)

    def test_some_cards_only(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, plan = as_json(capsys, "m", *VLLM, "--gpu", "l4", "--gpu", "h100")
        assert code == 0
        assert [row["gpu"] for row in plan["gpus"]] == ["l4-24gb", "h100-sxm5-80gb"]
        small, large = plan["gpus"]
        assert small["answer"] == "EXCEEDS"
        assert small["cards"]["value"] == 3
        assert large["max_model_len"] == {"value": 131072, "limit": "config", "next": None, "reason": None}
        assert large["gpu_memory_utilization"]["value"] == "0.762"
        assert {one["quantization"]: one["answer"] for one in large["quantizations"]}["fp8"] == "FITS"

    def test_what_does_not_fit_as_it_stands_exits_1(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert as_json(capsys, "m", "--gpu", "l4")[0] == 1
        assert as_json(capsys, "m", "--gpu", "mi300x-192gb")[0] == 1

    @pytest.mark.parametrize("words", [("m", "--gpu", "h1000"), ("nowhere",), ("m", "--engine", "none"), ()])
    def test_bad_usage_exits_2(self, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
        assert planned(capsys, *words)[0] == 2

    def test_a_deployment_by_its_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, plan = as_json(capsys, "vramguard.toml:1")
        assert code == 0
        assert plan["asked"] == ["l4-24gb"]
        assert plan["workload"]["max_model_len"] == 4096
        (row,) = [row for row in plan["gpus"] if row["gpu"] == "l4-24gb"]
        assert row["max_model_len"]["value"] > 4096

    def test_a_packed_checkpoint_is_not_packed_again(self, capsys: pytest.CaptureFixture[str]) -> None:
        _, plan = as_json(capsys, "q", *VLLM, "--gpu", "h100")
        assert plan["quantized"]
        assert plan["needs_checkpoint"] == plan["gpus"][0]["quantizations"] == []

    def test_the_table_is_readable_at_80_columns(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        code, text = planned(capsys, "m", *VLLM)
        assert code == 0
        assert max(map(len, text.splitlines())) <= 80
        assert "\x1b" not in text
        (line,) = [line for line in text.splitlines() if line.startswith("> h100-sxm5-80gb")]
        assert line.split()[2:] == ["79.1", "fits", "131,072+", "2", "0.762", "1", "all"]
        assert "\nFITS: the peak is at most" in text

    def test_the_chosen_format_goes_to_a_file(self, capsys: pytest.CaptureFixture[str], root: Path) -> None:
        code, text = planned(capsys, "m", "--gpu", "h100", "--output-format", "json", "-o", "plan.json")
        assert code == 0
        assert "h100-sxm5-80gb" in text
        assert json.loads((root / "plan.json").read_text("utf-8"))["fits"]
