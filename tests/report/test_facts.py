"""`inspect`: the contract `vramguard.facts/1`, and the list for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vramguard.facts import (
    Deployment,
    Include,
    Lock,
    LockedPackage,
    ModelConfig,
    Project,
    Requirement,
    Unknown,
    WeightFile,
    WeightIndex,
)
from vramguard.report import facts as shown
from vramguard.source import Location, Unreadable
from vramguard.source.heads import StoredTensor

if TYPE_CHECKING:
    from report.conftest import Make

    from vramguard.facts import Fact

AT = Location("requirements.txt", 3, 1, 3, 9)


def entry(fact: Fact, prefix: str = "") -> dict[str, Any]:
    document = json.loads(shown.render([fact], prefix))
    assert document["schema"] == "vramguard.facts/1"
    (found,) = document["facts"]
    assert isinstance(found, dict)
    return found


def test_requirement() -> None:
    fact = Requirement(AT, "torch", ">=2", pinned=False, hashed=False, form="requirements", reason="a range: >=2")
    found = entry(fact, "examples/a")
    assert found["kind"] == "requirement"
    assert (found["path"], found["line"], found["column"]) == ("examples/a/requirements.txt", 3, 1)
    assert {key: found[key] for key in ("name", "specifier", "pinned", "hashed", "form")} == {
        "name": "torch",
        "specifier": ">=2",
        "pinned": False,
        "hashed": False,
        "form": "requirements",
    }


def test_not_knowable_is_neither_true_nor_null() -> None:
    unknown = Unknown("torch==${VERSION}")
    fact = Requirement(AT, "torch", "", pinned=unknown, hashed=False, form="requirements")
    assert entry(fact)["pinned"] == {"unknown": "torch==${VERSION}"}


def test_deployment() -> None:
    places = {"gpu": Location("vramguard.toml", 5, 7, 5, 20)}
    fact = Deployment(Location("vramguard.toml", 3), True, config="m/config.json", gpu="h100", places=places)
    found = entry(fact, "sub")
    names = (
        "engine model revision gpus tensor_parallel_size pipeline_parallel_size max_model_len dtype quantization "
        "kv_cache_dtype gpu_memory_utilization max_num_seqs attn_implementation engine_version "
        "max_num_batched_tokens concurrency"
    )
    assert [found[name] for name in names.split()] == [None] * 16
    assert (found["kind"], found["gpu"], found["config"]) == ("deployment", "h100", "sub/m/config.json")
    assert found["at"] == {"gpu": {"path": "sub/vramguard.toml", "line": 5, "column": 7}}


def test_collections_are_counted() -> None:
    packages = (
        LockedPackage(AT, "a", "1", ("sha256:00",), 2),
        LockedPackage(AT, "b", "1", (), 1),
        LockedPackage(AT, "c", None, (), 0, local="."),
    )
    found = entry(Lock(Location("poetry.lock"), "poetry", packages, content_hash="abc"))
    assert {key: found[key] for key in ("packages", "hashed", "local")} == {"packages": 3, "hashed": 1, "local": 1}
    project = entry(Project(Location("pyproject.toml"), "a", "poetry", 4, frozenset({"x"})))
    assert (project["dependencies"], "content_hash" in project) == (4, False)
    config = entry(ModelConfig(Location("config.json"), {"model_type": "llama", "vocab_size": 1}, "0" * 64))
    assert (config["kind"], config["model_type"], "vocab_size" in config) == ("model-config", "llama", False)


def test_weights_are_summed_up() -> None:
    tensors = (
        StoredTensor("a", "BF16", (2, 3), 12),
        StoredTensor("b", "BF16", (1,), 2),
        StoredTensor("c", "F32", (4,), 16),
    )
    found = entry(WeightFile(Location("m/model.safetensors"), "safetensors", tensors), "sub")
    assert (found["kind"], found["path"]) == ("weight-file", "sub/m/model.safetensors")
    assert {key: found[key] for key in ("format", "architecture", "tensors", "parameters", "bytes")} == {
        "format": "safetensors",
        "architecture": None,
        "tensors": 3,
        "parameters": 11,
        "bytes": 30,
    }
    assert found["bytes_by_dtype"] == {"BF16": 14, "F32": 16}
    gguf = entry(WeightFile(Location("m.gguf"), "gguf", (), {"general.architecture": "llama", "tokenizer.x": "long"}))
    assert (gguf["architecture"], gguf["bytes"], "tokenizer.x" in gguf) == ("llama", 0, False)
    files = {"a": "m/1.safetensors", "b": "m/2.safetensors", "c": "m/2.safetensors"}
    index = entry(WeightIndex(Location("m/model.safetensors.index.json"), files, 30))
    assert {key: index[key] for key in ("kind", "tensors", "files", "total_size", "total_parameters")} == {
        "kind": "weight-index",
        "tensors": 3,
        "files": 2,
        "total_size": 30,
        "total_parameters": None,
    }


def test_other_kinds() -> None:
    assert entry(Include(AT, Unknown("https://x"), constraint=True))["target"] == {"unknown": "https://x"}
    found = entry(Unreadable(AT, "no TOML", template=True))
    assert (found["kind"], found["reason"], found["template"]) == ("unreadable", "no TOML", True)


def test_list_for_people(make: type[Make]) -> None:
    console = make.console(60)
    facts: list[Fact] = [
        Requirement(AT, "torch", ">=2", pinned=False, hashed=False, form="requirements", reason="a range: >=2"),
        Include(Location("requirements.txt", 4), "base\x1b[31m.txt", constraint=False),
        WeightFile(Location("m.gguf"), "gguf", (StoredTensor("a", "Q8_0", (32,), 34),)),
    ]
    shown.print_facts(facts, "sub", console)
    assert make.written(console) == (
        "sub/requirements.txt:3:1: requirement\n"
        "    name torch; specifier >=2; pinned false; hashed false;\n"
        "    form requirements; reason a range: >=2\n"
        "sub/requirements.txt:4:1: include\n"
        "    target base\\x1b[31m.txt\n"
        "sub/m.gguf:1:1: weight-file\n"
        "    format gguf; tensors 1; parameters 32; bytes 34;\n"
        "    bytes_by_dtype Q8_0 34\n"
        "\n"
        "vramguard: 1 include, 1 requirement, 1 weight-file\n"
    )


def test_nothing_to_read(make: type[Make]) -> None:
    console = make.console()
    shown.print_facts([], "", console)
    assert make.written(console) == "nothing to read in .\n"
