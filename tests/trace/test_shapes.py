"""The table of tensors from the meta device is what the families build, name by name."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from vramguard.memory.families import architecture
from vramguard.trace.record import TraceError
from vramguard.trace.shapes import table

CATALOGUE = Path(__file__).parents[1] / "catalogue"
LLAMA: dict[str, Any] = json.loads((CATALOGUE / "meta-llama--Llama-3.2-1B-Instruct.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama--Llama-3.2-1B-Instruct",
        "Qwen--Qwen3-30B-A3B",
        "deepseek-ai--DeepSeek-V2-Lite",
        "google--gemma-3-4b-it",
        "openai-community--gpt2",
    ],
)
def test_it_is_what_a_family_builds(name: str) -> None:
    config = json.loads((CATALOGUE / f"{name}.json").read_text("utf-8"))
    found = table(config)
    network = architecture(config)
    assert sum(prod(shape) * copies for shape, _, copies in found.values()) == network.parameters
    expected = {tensor.name for tensor in network.tensors}
    assert {name.partition("#")[0] for name in found} == expected


def test_layers_of_other_shapes_stand_apart() -> None:
    config = json.loads((CATALOGUE / "meta-llama--Llama-3.2-1B-Instruct.json").read_text("utf-8"))
    assert table(config)["model.layers.*.mlp.up_proj.weight"] == [[8192, 2048], "bfloat16", 16]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000: no model has so many"),
        ({"architectures": ["pipeline"], "model_type": "x"}, "cannot build it"),
        ({"architectures": ["LlamaConfig"]}, "cannot build it"),
        ({"architectures": ["NovelForCausalLM"], "model_type": "novel"}, "has no class NovelForCausalLM"),
        ({"hidden_size": "large"}, "cannot build it"),
    ],
)
def test_what_is_no_model_of_transformers_is_said(change: dict[str, Any], words: str) -> None:
    with pytest.raises(TraceError, match=words):
        table({**LLAMA, **change})


def test_code_of_the_models_own_repository_is_not_looked_at() -> None:
    config = {**LLAMA, "auto_map": {"AutoModelForCausalLM": "nowhere/else--modeling.Model"}}
    assert table(config) == table(LLAMA)
