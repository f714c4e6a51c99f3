"""`prove --certificate`, `verify`, and VG206: a committed certificate must be the proof of what stands here today."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pytest

from vramguard import verifier
from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo

CONFIG = {
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
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: llama
spec:
  template:
    spec:
      containers:
        - name: vllm
          image: vllm/vllm-openai:v0.19.0
          args: ["--model", "m", "--max-model-len", "{length}"]
          resources: {{limits: {{nvidia.com/gpu: 1}}}}
"""


class Said(NamedTuple):
    code: int
    out: str
    err: str


class Command(Protocol):
    def __call__(self, *words: str) -> Said: ...


@pytest.fixture
def root(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a model and a Deployment of it, as the current folder."""
    root = repo({"m/config.json": json.dumps(CONFIG), "deploy.yaml": DEPLOYMENT.format(length=8192)})
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*words: str) -> Said:
        capsys.readouterr()
        return Said(run([*words]), *capsys.readouterr())

    return call


@pytest.fixture
def certified(root: Path, command: Command) -> Path:
    """The certificate of the config on one L4, committed beside it."""
    assert (
        command("prove", "m", "--gpu", "l4-24gb", "--max-model-len", "8192", "--certificate", "m/proof.json").code == 0
    )
    return root / "m/proof.json"


def stale(command: Command, *words: str) -> list[dict[str, Any]]:
    said = command("check", ".", "--select", "VG206", "--output-format", "json", *words)
    found: list[dict[str, Any]] = json.loads(said.out)["findings"]
    return found


def edited(path: Path, **changed: object) -> None:
    path.write_text(json.dumps(CONFIG | changed), "utf-8")


class TestVerify:
    def test_what_was_written_is_accepted(self, certified: Path, command: Command) -> None:
        said = command("verify", str(certified))
        assert said.code == 0
        assert "accepted: FITS" in said.out
        assert "l4-24gb" in said.out

    def test_an_excess_is_a_proof_as_well(self, root: Path, command: Command) -> None:
        written = ("--gpu", "t4-16gb", "--dtype", "float16", "--concurrency", "16", "--certificate", "proof.json")
        assert command("prove", "m", *written).code == 1
        said = command("verify", str(root / "proof.json"))
        assert (said.code, "accepted: EXCEEDS" in said.out) == (0, True)

    def test_each_reason_is_a_line(self, certified: Path, command: Command, root: Path) -> None:
        edited(root / "m/config.json", num_hidden_layers=17)
        said = command("verify", str(certified))
        assert said.code == 1
        assert said.out.count("\n") == said.out.count("refused: ") == 1
        assert "sha256" in said.out

    def test_without_its_config_half_is_said_and_nothing_is_verified(self, certified: Path, command: Command) -> None:
        moved = certified.parent.parent / "elsewhere.json"
        certified.rename(moved)
        said = command("verify", str(moved))
        assert said.code == 1
        assert "not verified: its arithmetic holds" in said.out
        assert command("verify", str(moved), "--model-config", "m/config.json").code == 0

    def test_the_budget_is_the_policys_not_the_certificates(self, certified: Path, command: Command) -> None:
        said = command("verify", str(certified), "--budget", "0.5")
        assert said.code == 1
        assert "device.budget_fraction is '0.80', and proved again '0.50'" in said.out

    def test_a_forger_who_mends_every_sum_is_refused(self, certified: Path, command: Command) -> None:
        value = json.loads(certified.read_text("utf-8"))
        row = next(row for row in value["ledger"] if row["name"] == "runtime/small_buffers")
        row["inputs"]["buffers"] -= 1
        less = 16 * row["inputs"]["elements"] * 4
        row["upper_bytes"] -= less
        for sums, key, sign in (
            (value["totals"], "runtime_bytes", -1),
            (value["totals"], "peak_upper_bytes", -1),
            (value, "headroom_bytes", 1),
        ):
            sums[key] += sign * less
        certified.write_bytes(verifier.written(value))
        said = command("verify", str(certified))
        assert said.code == 1
        assert "inputs.buffers" in said.out

    @pytest.mark.parametrize("content", [None, b"{}", b"no JSON", b'{"schema": "vramguard.proof/1"}', b"\xff\xfe"])
    def test_what_is_no_certificate_is_a_wrong_call(self, root: Path, command: Command, content: bytes | None) -> None:
        path = root / "x.json"
        if content is not None:
            path.write_bytes(content)
        said = command("verify", str(path))
        assert (said.code, said.err.count("\n")) == (2, 1)

    @pytest.mark.parametrize("path", ["/dev/zero", "m", "../../..", "\x00", "config.json/x"])
    def test_a_path_that_leads_nowhere_is_refused(self, certified: Path, command: Command, path: str) -> None:
        value = json.loads(certified.read_text("utf-8"))
        for changed in ({"of": {"config": path}}, {"config": {**value["config"], "path": path}}):
            certified.write_bytes(verifier.written(value | changed))
            assert command("verify", str(certified)).code == 1
            assert len(stale(command)) == 1


class TestProve:
    def test_nothing_is_certified_where_nothing_is_proved(self, root: Path, command: Command) -> None:
        edited(root / "m/config.json", model_type="nobody-knows")
        said = command("prove", "m", "--certificate", "proof.json")
        assert said.code == 2
        assert "nothing is proved" in said.err
        assert not (root / "proof.json").exists()

    def test_a_model_of_the_hub_has_no_certificate(self, root: Path, command: Command) -> None:
        said = command("prove", "Qwen/Qwen3-8B", "--certificate", "proof.json")
        assert (said.code, "is neither" in said.err) == (2, True)
        assert not (root / "proof.json").exists()

    def test_a_name_that_check_would_not_know_is_said(self, root: Path, command: Command) -> None:
        said = command("prove", "m", "--certificate", "answer.json")
        assert said.code == 0
        assert "`answer.certificate.json`" in said.err
        assert (root / "answer.json").exists()
        assert command("prove", "m", "--certificate", "answer.certificate.json").err == ""

    def test_the_same_is_written_every_time(self, certified: Path, command: Command) -> None:
        before = certified.read_bytes()
        command("prove", "m", "--gpu", "l4-24gb", "--max-model-len", "8192", "--certificate", str(certified))
        assert certified.read_bytes() == before
        assert verifier.written(json.loads(before)) == before


class TestStale:
    def test_a_certificate_that_holds_is_silent(self, certified: Path, command: Command) -> None:
        assert certified.exists()
        assert stale(command) == []

    def test_line_ends_of_a_checkout_are_nobodys_fault(self, certified: Path, command: Command) -> None:
        certified.write_bytes(certified.read_bytes().replace(b"\n", b"\r\n"))
        assert stale(command) == []

    def test_a_changed_config_is_said_at_its_digest(self, certified: Path, command: Command, root: Path) -> None:
        edited(root / "m/config.json", num_hidden_layers=17)
        (found,) = stale(command)
        assert found["message"].startswith(
            "this certificate is no proof of what stands here: the config.json is another"
        )
        assert "and" in found["message"]
        assert found["path"] == "m/proof.json"
        lines = certified.read_text("utf-8").split("\n")
        assert '"sha256"' in lines[found["line"] - 1]
        assert found["evidence"] == [{"path": "m/config.json", "line": 1, "what": "this is the config that it is of"}]

    def test_a_config_that_is_gone(self, certified: Path, command: Command, root: Path) -> None:
        (root / "m/config.json").unlink()
        (found,) = stale(command)
        assert "`config.json` is gone" in found["message"]
        assert certified.exists()

    def test_a_config_that_nobody_can_prove_any_more(self, certified: Path, command: Command, root: Path) -> None:
        edited(root / "m/config.json", model_type="nobody-knows")
        (found,) = stale(command)
        assert "another than the one" in found["message"]
        assert "nothing is proved" in found["message"]
        assert certified.exists()

    def test_an_edited_number_is_said(self, certified: Path, command: Command) -> None:
        certified.write_text(certified.read_text("utf-8").replace("8192", "4096"), "utf-8")
        (found,) = stale(command)
        assert "it was altered" in found["message"]

    def test_a_long_number_or_a_key_given_twice_is_refused(self, certified: Path, command: Command) -> None:
        text = certified.read_text("utf-8")
        for old, new in (("8192", "9" * 9000), ('"answer"', '"answer": "FITS", "answer"')):
            certified.write_text(text.replace(old, new, 1), "utf-8")
            assert len(stale(command)) == 1

    def test_the_policys_budget_counts(self, certified: Path, command: Command, root: Path) -> None:
        (root / "vramguard.toml").write_text("budget = 0.7\n", "utf-8")
        (found,) = stale(command)
        assert "device.budget_fraction is '0.80', and proved again '0.70'" in found["message"]
        assert certified.exists()

    def test_other_files_of_that_name_are_none_of_ours(self, root: Path, command: Command) -> None:
        (root / "proof.json").write_text('{"proof": NaN', "utf-8")
        (root / "m/certificate.json").write_text('{"schema": "other"}', "utf-8")
        assert stale(command) == []

    def test_tests_may_hold_old_ones(self, certified: Path, command: Command, root: Path) -> None:
        (root / "tests").mkdir()
        certified.rename(root / "tests/proof.json")
        assert stale(command) == []


class TestDeployment:
    @pytest.fixture
    def proof(self, root: Path, command: Command) -> Path:
        said = command("prove", "deploy.yaml:9", "--gpu-memory-utilization", "0.7", "--certificate", "proof.json")
        assert said.code == 0
        assert json.loads((root / "proof.json").read_text("utf-8"))["of"] == {"deployment": "deploy.yaml"}
        return root / "proof.json"

    def test_it_is_accepted(self, proof: Path, command: Command) -> None:
        assert command("verify", str(proof)).code == 0
        assert stale(command) == []

    def test_lines_may_move_and_others_may_join_it(self, proof: Path, command: Command, root: Path) -> None:
        other = DEPLOYMENT.format(length=4096)
        (root / "deploy.yaml").write_text(f"# moved\n{other}---\n{DEPLOYMENT.format(length=8192)}", "utf-8")
        assert command("verify", str(proof)).code == 0
        assert stale(command) == []

    def test_a_longer_context_is_said_by_its_field(self, proof: Path, command: Command, root: Path) -> None:
        (root / "deploy.yaml").write_text(DEPLOYMENT.format(length=16384), "utf-8")
        (found,) = stale(command)
        assert "workload.max_model_len is 8192, and proved again 16384" in found["message"]
        assert found["evidence"][0]["path"] == "deploy.yaml"
        assert command("verify", str(proof)).code == 1

    def test_one_that_is_gone(self, proof: Path, command: Command, root: Path) -> None:
        (root / "deploy.yaml").write_text("kind: ConfigMap\n", "utf-8")
        (found,) = stale(command)
        assert "no deployment stands in `deploy.yaml` any more" in found["message"]
        (root / "deploy.yaml").unlink()
        (found,) = stale(command)
        assert "`deploy.yaml` is gone" in found["message"]
        assert command("verify", str(proof)).code == 1

    def test_one_that_is_declared(self, root: Path, command: Command) -> None:
        table = '[[deployment]]\nconfig = "m/config.json"\ngpu = "l4-24gb"\nmax_model_len = {}\n'
        (root / "vramguard.toml").write_text(table.format(4096), "utf-8")
        assert command("prove", "vramguard.toml:1", "--certificate", "l4.proof.json").code == 0
        assert command("verify", "l4.proof.json").code == 0
        assert stale(command) == []
        (root / "vramguard.toml").write_text(table.format(2048), "utf-8")
        (found,) = stale(command)
        assert "workload.max_model_len" in found["message"]
