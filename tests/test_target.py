"""`prove TARGET`: what a target may be, and that it proves what `check` proves."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from vramguard.cli import run
from vramguard.memory.traced import Traced
from vramguard.trace import witness

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo


class Prove(Protocol):
    def __call__(self, *words: str) -> tuple[int, dict[str, Any], str]: ...


CONFIG = json.dumps(
    {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
    }
)
TABLES = """[[{0}deployment]]
config = "m/config.json"
gpu = "t4-16gb"
dtype = "float16"

[[{0}deployment]]
config = "m/config.json"
gpu = "l4-24gb"
max_model_len = 4096
"""


@pytest.fixture
def root(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one model and two deployments of it, as the current folder."""
    project = "[project]\nname = 'p'\n" + TABLES.format("tool.vramguard.")
    root = repo({"m/config.json": CONFIG, "vramguard.toml": TABLES.format(""), "other/pyproject.toml": project})
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def prove(capsys: pytest.CaptureFixture[str]) -> Prove:
    def call(*words: str) -> tuple[int, dict[str, Any], str]:
        code = run(["prove", *words, "--output-format", "json"])
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {}, err

    return call


@pytest.mark.parametrize("target", ["m", "m/", "m/config.json", "./m/config.json", "m/../m"])
def test_a_config_and_its_folder(root: Path, prove: Prove, target: str) -> None:
    for word in (target, str(root / target)):
        code, proof, _ = prove(word)
        assert (code, proof["answer"]) == (0, "FITS")
        assert (proof["model"]["at"]["path"], proof["device"]["name"]) == ("m/config.json", "h100-sxm5-80gb")


@pytest.mark.parametrize(
    ("target", "gpu", "code"),
    [
        ("vramguard.toml:1", "t4-16gb", 1),
        ("vramguard.toml:4", "t4-16gb", 1),
        ("vramguard.toml:6", "l4-24gb", 0),
        ("vramguard.toml:999", "l4-24gb", 0),
    ],
)
@pytest.mark.usefixtures("root")
def test_a_line_of_a_deployment(prove: Prove, target: str, gpu: str, code: int) -> None:
    found, proof, _ = prove(target)
    assert (found, proof["workload"]["gpu"]) == (code, gpu)


def test_a_deployment_in_a_pyproject(root: Path, prove: Prove) -> None:
    (root / "other/m").mkdir()
    (root / "other/m/config.json").write_text(CONFIG, "utf-8")
    code, proof, _ = prove("other/pyproject.toml:8")
    assert (code, proof["workload"]["gpu"], proof["model"]["at"]["path"]) == (0, "l4-24gb", "other/m/config.json")


@pytest.mark.usefixtures("root")
def test_flags_win_over_the_deployment(prove: Prove) -> None:
    words = ["--gpu", "a100-sxm4-40gb", "--max-model-len", "1024", "--concurrency", "2", "--dtype", "float32"]
    code, proof, _ = prove("vramguard.toml:6", *words, "--budget", "0.5", "--attn-implementation", "eager")
    workload = proof["workload"]
    assert code == 0
    assert (workload["gpu"], workload["max_model_len"], workload["concurrency"]) == ("a100-sxm4-40gb", 1024, 2)
    assert (workload["dtype"], workload["attn_implementation"]) == ("float32", "eager")
    assert proof["device"]["budget_fraction"] == "0.50"
    assert prove("vramguard.toml:6", "--budget", "0.1")[0] == 1


@pytest.mark.parametrize(
    "words",
    [
        ["-tp", "2"],
        ["-pp", "2"],
        ["--quantization", "awq"],
        ["--engine-version", "4.40.0"],
    ],
)
@pytest.mark.usefixtures("root")
def test_what_is_not_proved_yet_is_unknown_and_exits_1(prove: Prove, words: list[str]) -> None:
    code, proof, _ = prove("m", *words)
    assert (code, proof["answer"]) == (1, "UNKNOWN")
    assert words[-1] in proof["reason"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "`nothing` is no config.json, no folder that holds one, and no FILE:LINE of a deployment"),
        (["."], "is no config.json"),
        (["org/model"], "is no config.json"),
        (["vramguard.toml:0"], "no deployment at `vramguard.toml:0`; `vramguard inspect` lists them"),
        (["m", "--gpu", "h100-sxm5-80g"], "unknown GPU `h100-sxm5-80g`; did you mean `h100-sxm5-80gb`?"),
        (["m", "--budget", "1.5"], "Invalid value for '--budget': `1.5` is not above 0 and at most 1"),
        (["m", "--budget", "nan"], "`nan` is no number such as 0.80"),
        (["m", "--budget", "abc"], "`abc` is no number such as 0.80"),
        (["m", "--budget", "0"], "is not above 0"),
        (["m", "--max-model-len", "0"], "--max-model-len"),
        (["m", "--engine", "vlm"], "--engine"),
        (["m", "--config", "gone.toml"], "no configuration in `gone.toml`"),
    ],
)
@pytest.mark.usefixtures("root")
def test_nothing_to_prove_is_one_line_and_exits_2(prove: Prove, words: list[str], said: str) -> None:
    code, proof, error = prove(*words)
    assert (code, proof) == (2, {})
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("root")
def test_a_trace_without_its_extra_is_one_line_and_exits_2(prove: Prove, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(witness, "version", version)
    code, proof, error = prove("m", "--method", "trace")
    assert (code, proof) == (2, {})
    expected = "--method trace runs torch, which is not installed: pip install 'vramguard[trace]'"
    assert error == f"vramguard: error: {expected}\n"
    assert prove("m", "--method", "analytic")[0] == 0


@pytest.mark.parametrize("target", ["m", "vramguard.toml:9"])
@pytest.mark.usefixtures("root")
def test_a_trace_stands_in_the_proof(prove: Prove, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr(witness, "require", lambda: None)
    seen = Traced(1 << 30, 0, 2 << 30, 3 << 30, mask_heads=0, source="torch 0, transformers 0")
    monkeypatch.setattr(witness, "witness", lambda _config, _run: seen)
    _, proof, _ = prove(target, "--method", "trace", "--max-model-len", "1024", "--dtype", "bfloat16")
    assert proof["method"] == "trace"
    rows = {row["name"]: row for row in proof["ledger"]}
    assert rows["activations/traced"]["source"] == seen.source
    assert rows["runtime/fragmentation"]["upper_bytes"] == 1 << 30
    assert proof["max_fitting_model_len"] is None


@pytest.mark.parametrize("text", ["[]", "{", "\0", "null", '{"a": 1}', "{{ x }}"])
def test_a_config_that_is_none_is_unknown(root: Path, prove: Prove, text: str) -> None:
    (root / "m/config.json").write_text(text, "utf-8")
    code, proof, _ = prove("m")
    assert (code, proof["answer"]) == (1, "UNKNOWN")


def test_equals_the_proof_in_checks_report(
    root: Path,
    prove: Prove,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for folder, prefix in ((root, ""), (root.parent, "repo/")):
        monkeypatch.chdir(folder)
        run(["check", f"{prefix}.", "--output-format", "json"])
        proofs = json.loads(capsys.readouterr().out)["proofs"]
        assert [proof["workload"]["gpu"] for proof in proofs[:2]] == ["t4-16gb", "l4-24gb"]
        assert prove(f"{prefix}vramguard.toml:1")[1] == proofs[0]
        assert prove(f"{prefix}vramguard.toml:6")[1] == proofs[1]
        assert proofs[0]["model"]["at"]["path"] == f"{prefix}m/config.json"


def test_a_config_without_a_repository_around_it(tmp_path: Path, prove: Prove, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blob").write_text(CONFIG, "utf-8")
    (tmp_path / "snapshot/config.json").symlink_to("../blob")
    monkeypatch.chdir(tmp_path)
    assert prove("snapshot")[1]["answer"] == "FITS", "the layout of Hugging Face's cache"
