"""`vramguard lock`, from deployments to the file, and `check` that stands on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hub.conftest import COMMIT

from vramguard.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Repo
    from hub.conftest import Cached
    from hub.server import HubServer

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "id2label": {"0": "a"},
    "intermediate_size": 14336,
    "max_position_embeddings": 8192,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rope_scaling": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def deployments(*models: str) -> str:
    """A configuration that deploys these models, each `ID` or `ID@REVISION`."""
    tables = []
    for model in models:
        name, _, revision = model.partition("@")
        tables.append(f'[[deployment]]\nmodel = "{name}"\n' + (f'revision = "{revision}"\n' if revision else ""))
    return "\n".join(tables)


def rows(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "vramguard.lock").read_text())["models"]
    return found


def test_every_deployed_model_is_locked(repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    held = server.publish("acme/a", LLAMA, files={"model.safetensors.index.json": b'{"metadata": {"total_size": 9}}'})
    server.publish("acme/b", {"model_type": "gpt2"}, branches=("main", "v1"))
    files = {"vramguard.toml": deployments("acme/b@v1", "acme/a", "ACME/A", "models/own")}
    root = repo({**files, "models/own/config.json": json.dumps(LLAMA)})
    assert run(["lock", str(root)]) == 0
    first, second = rows(root)
    assert (first["model"], first["revision"], first["commit"]) == ("acme/a", None, held.commit)
    assert (second["model"], second["revision"]) == ("acme/b", "v1")
    assert first["weights"]["total_size"] == 9
    assert first["config"] == {key: value for key, value in LLAMA.items() if key != "id2label"}
    text = (root / "vramguard.lock").read_text()
    assert text.endswith("}\n")
    assert capsys.readouterr().out.splitlines()[-1] == "vramguard.lock: 2 models"
    asked = server.asked.total()
    assert run(["lock", str(root)]) == 0
    assert (root / "vramguard.lock").read_text() == text
    assert server.asked.total() == asked, "a model that is locked is not asked for again"
    assert run(["lock", "--check", str(root)]) == 0


def test_a_lock_keeps_adds_removes_and_upgrades(
    repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    old = server.publish("acme/a", LLAMA)
    server.publish("acme/b", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a", "acme/b")})
    assert run(["lock", str(root)]) == 0
    new = server.publish("acme/a", {**LLAMA, "vocab_size": 32000})
    server.publish("acme/c", LLAMA)
    repo({"vramguard.toml": deployments("acme/a", "acme/c")})
    capsys.readouterr()
    assert run(["lock", "--check", str(root)]) == 1
    assert "not in vramguard.lock: acme/c" in capsys.readouterr().out
    assert run(["lock", str(root)]) == 0
    said = capsys.readouterr().out
    assert "Added acme/c" in said
    assert "Removed acme/b" in said
    assert [row["commit"] for row in rows(root) if row["model"] == "acme/a"] == [old.commit]
    assert run(["lock", "--upgrade", "ACME/a", str(root)]) == 0
    assert f"Updated acme/a {old.commit[:12]} -> {new.commit[:12]}" in capsys.readouterr().out
    assert [row["commit"] for row in rows(root) if row["model"] == "acme/a"] == [new.commit]
    assert run(["lock", "--upgrade", "acme/d", str(root)]) == 2
    assert "the lock has no `acme/d` to upgrade" in capsys.readouterr().err


def test_one_that_fails_does_not_keep_the_others_out(
    repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.publish("acme/a", LLAMA)
    server.publish("acme/b", LLAMA, gated=True)
    root = repo({"vramguard.toml": deployments("acme/a", "acme/b")})
    assert run(["lock", str(root)]) == 1
    assert [row["model"] for row in rows(root)] == ["acme/a"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("vramguard: error: `acme/b` is gated: accept its terms at ")


def test_an_upgrade_that_fails_keeps_the_row(repo: Repo, server: HubServer) -> None:
    held = server.publish("acme/a", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a")})
    assert run(["lock", str(root)]) == 0
    server.models.clear()
    assert run(["lock", "--upgrade", "acme/a", str(root)]) == 1
    assert [row["commit"] for row in rows(root)] == [held.commit]


def test_offline_the_cache_is_asked(
    repo: Repo, cached: Cached, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached("acme/a", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a", "acme/b")})
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    assert run(["lock", str(root)]) == 1
    assert "`acme/b` is not in the cache" in capsys.readouterr().err
    (row,) = rows(root)
    assert (row["commit"], row["source"]) == (COMMIT, "cache")


def test_a_folder_of_this_machine(repo: Repo, tmp_path: Path) -> None:
    model = tmp_path / "llama"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(LLAMA))
    root = repo({"vramguard.toml": deployments(str(model))})
    assert run(["lock", "--model", str(model), str(root)]) == 0
    (row,) = rows(root)
    assert (row["model"], row["commit"], row["source"]) == (str(model), None, "local")
    assert run(["check", "--select", "VG2", str(root)]) == 0


def test_a_model_that_is_given_stays_while_nothing_names_it(repo: Repo, server: HubServer) -> None:
    server.publish("acme/a", LLAMA)
    root = repo({"README.md": "x"})
    assert run(["lock", "--model", "acme/a@main", str(root)]) == 0
    assert [row["revision"] for row in rows(root)] == ["main"]
    assert run(["lock", "--model", "acme/a@", str(root)]) == 2
    assert run(["lock", str(root)]) == 0
    assert rows(root) == []


def test_nothing_to_lock_writes_nothing(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    root = repo({"README.md": "x"})
    assert run(["lock", str(root)]) == 0
    assert "no deployment here names a model of the hub" in capsys.readouterr().out
    assert not (root / "vramguard.lock").exists()


@pytest.mark.parametrize("broken", ["<<<<<<< HEAD\n{}", '{"schema": "vramguard.lock/2", "models": []}'])
def test_a_lock_that_cannot_be_read_is_not_written_over(
    repo: Repo, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = repo({"vramguard.toml": deployments("acme/a"), "vramguard.lock": broken})
    assert run(["lock", str(root)]) == 2
    assert "mend it, or delete it" in capsys.readouterr().err
    assert (root / "vramguard.lock").read_text() == broken


def test_custom_code_is_written_down_and_never_run(repo: Repo, server: HubServer, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')"
    config = {**LLAMA, "auto_map": {"AutoConfig": "modeling.Config"}}
    server.publish("acme/a", config, files={"modeling.py": code.encode()})
    root = repo({"vramguard.toml": deployments("acme/a")})
    assert run(["lock", str(root)]) == 0
    assert not any("modeling.py" in path for path in server.asked)
    assert not trap.exists()


def test_check_proves_by_the_lock_without_a_network(
    repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    held = server.publish("acme/a", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a")})
    assert run(["check", "--select", "VG2", str(root)]) == 1
    assert "run `vramguard lock --model acme/a`" in " ".join(capsys.readouterr().out.split())
    run(["lock", str(root)])
    asked = server.asked.total()
    capsys.readouterr()
    assert run(["check", "--select", "VG2", "--output-format", "json", str(root)]) == 0
    (proof,) = json.loads(capsys.readouterr().out)["proofs"]
    assert proof["answer"] == "FITS"
    assert proof["model"]["config_sha256"] == rows(root)[0]["config_sha256"]
    assert proof["model"]["at"]["path"].endswith("vramguard.lock")
    assert run(["check", "--select", "VG107", str(root)]) == 0, "a warning: the lock does not pin what is loaded"
    assert held.commit in capsys.readouterr().out
    assert server.asked.total() == asked


def test_online_asks_and_says_why_not(repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    held = server.publish("acme/a", LLAMA)
    server.publish("acme/b", LLAMA, gated=True)
    root = repo({"vramguard.toml": deployments("acme/a", "acme/b")})
    assert run(["check", "--online", "--select", "VG2", "--output-format", "json", str(root)]) == 1
    report = json.loads(capsys.readouterr().out)
    (finding,) = report["findings"]
    assert "is gated: accept its terms" in finding["message"]
    assert finding["message"].endswith("run `vramguard lock --model acme/b`")
    first = next(proof for proof in report["proofs"] if proof["model"]["id"] == "acme/a")
    assert first["answer"] == "FITS"
    assert f"config from the hub: acme/a@{held.commit}" in first["assumptions"]
    assert run(["prove", "acme/a", "--online"]) == 0


def test_the_cache_proves_too_and_says_so(
    repo: Repo, cached: Cached, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached("acme/a", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a")})
    assert run(["check", "--select", "VG2", "--output-format", "json", str(root)]) == 0
    (proof,) = json.loads(capsys.readouterr().out)["proofs"]
    assert f"config from the Hugging Face cache of this machine: acme/a@{COMMIT}" in proof["assumptions"]
    monkeypatch.chdir(root)
    assert run(["prove", "acme/a", "--gpu", "t4"]) == 1
    assert "EXCEEDS" in capsys.readouterr().out
    assert run(["prove", "acme/nowhere"]) == 2
    assert "as a model of the hub: no config.json of `acme/nowhere`" in capsys.readouterr().err


NOVEL: dict[str, Any] = {"architectures": ["NovelForCausalLM"], "model_type": "novel", "torch_dtype": "bfloat16"}


def test_a_network_that_nobody_knows_is_locked_and_said(
    repo: Repo, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.publish("acme/novel", NOVEL)
    root = repo({"vramguard.toml": deployments("acme/novel")})
    assert run(["lock", str(root)]) == 0
    said = capsys.readouterr().err
    assert said.startswith("vramguard: note: `acme/novel`: ")
    assert 'pip install "vramguard[trace]"' in said or "has no class NovelForCausalLM" in said
    assert rows(root)[0]["tensors"] is None
    assert run(["check", "--select", "VG202", str(root)]) == 1


def test_a_table_of_tensors_decides_what_no_family_knows(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"model": "acme/novel", "revision": None, "commit": COMMIT, "source": "hub", "config_sha256": "0" * 64}
    tensors = {"model.layers.*.up": [[65536, 8192], "bfloat16", 80]}
    lock = {"schema": "vramguard.lock/1", "models": [{**row, "config": NOVEL, "weights": None, "tensors": tensors}]}
    toml = deployments("acme/novel") + 'gpu = "a100-sxm4-80gb"\n'
    root = repo({"vramguard.toml": toml, "vramguard.lock": json.dumps(lock)})
    assert run(["check", "--select", "VG2", str(root)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "VG201" in said
    assert "needs at least 80.00 GiB" in said
    assert "VG202" not in said
    assert run(["lock", "--check", str(root)]) == 0


def test_inspect_lists_rows_and_where_a_config_comes_from(
    repo: Repo, cached: Cached, capsys: pytest.CaptureFixture[str]
) -> None:
    cached("acme/a", LLAMA)
    root = repo({"vramguard.toml": deployments("acme/a", "acme/b")})
    run(["lock", "--offline", str(root)])
    repo({"vramguard.toml": deployments("acme/a", "gpt2")})
    capsys.readouterr()
    assert run(["inspect", "--output-format", "json", str(root)]) == 0
    facts = json.loads(capsys.readouterr().out)["facts"]
    (row,) = (fact for fact in facts if fact["kind"] == "locked-model")
    assert (row["model"], row["commit"], row["model_type"]) == ("acme/a", COMMIT, "llama")
    assert "config" not in row
    (config,) = (fact for fact in facts if fact["kind"] == "model-config")
    assert (config["model"], config["origin"]) == ("gpt2", "catalogue")
