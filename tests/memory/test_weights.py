"""Checkpoints as transformers saves them contradict no config of their own, and every changed config is noticed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from memory import perturb

from vramguard import engine
from vramguard.discover import WorkTree
from vramguard.facts import ModelConfig
from vramguard.link.tensors import differences
from vramguard.link.weights import weights_of
from vramguard.memory import UnprovenError
from vramguard.memory.families import architecture, recorded

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

if TYPE_CHECKING:
    from pathlib import Path

    from vramguard.engine import Report

SMALL = {"vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SMALL |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
MODELS: dict[str, dict[str, Any]] = {
    "llama": SMALL,
    "gemma2": SMALL | {"head_dim": 8},  # tied
    "mixtral": SMALL | {"num_local_experts": 4},
    "qwen3_moe": SMALL | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    "phi3": SMALL | {"pad_token_id": 0},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 128, "n_positions": 64},  # tied
    "gpt_neox": {key: value for key, value in SMALL.items() if key != "num_key_value_heads"},
    "gemma3": {  # sees
        "text_config": SMALL | {"head_dim": 8, "pad_token_id": 0},
        "vision_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        | {"image_size": 28, "patch_size": 14},
    },
}
FORMS: dict[str, dict[str, Any]] = {
    "one": {},
    "sharded": {"max_shard_size": "20KB"},
    "as-built": {"save_original_format": False},
}


def judged(root: Path) -> Report:
    tree = WorkTree(root)
    return engine.check(tree, engine.load_policy(tree, select=("VG001", "VG211")))


def saved(kind: str, root: Path, dtype: Any = None) -> dict[str, Any]:  # noqa: ANN401 - a type of torch
    """A tiny model of random weights in every form; its config."""
    mapping = transformers.AutoModelForImageTextToText if kind == "gemma3" else transformers.AutoModelForCausalLM
    model = mapping.from_config(transformers.AutoConfig.for_model(kind, **MODELS[kind]), dtype=dtype or torch.bfloat16)
    for form, options in FORMS.items():
        model.save_pretrained(root / form, **options)
    config: dict[str, Any] = json.loads((root / "one/config.json").read_text("utf-8"))
    return config


@pytest.mark.parametrize("kind", MODELS)
def test_what_transformers_saves_is_what_it_built(kind: str, tmp_path: Path) -> None:
    config = saved(kind, tmp_path)
    report = judged(tmp_path)
    assert [finding.message for finding in report.findings] == []
    configs = [fact for fact in report.facts if isinstance(fact, ModelConfig)]
    assert len(configs) == len(FORMS)
    for fact in configs:
        weights = weights_of(fact, report.facts)
        assert weights is not None
        assert weights.bytes == 2 * weights.parameters
        try:
            assert weights.parameters == architecture(config).parameters
        except UnprovenError:
            assert kind == "gemma3"


@pytest.mark.parametrize("kind", MODELS)
def test_a_cut_or_lost_file_and_an_edited_index_are_seen(kind: str, tmp_path: Path) -> None:
    saved(kind, tmp_path)
    last = max((tmp_path / "sharded").glob("*.safetensors"))
    last.unlink()
    file = tmp_path / "one/model.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    index = tmp_path / "as-built/model.safetensors.index.json"
    files = {"a": "model.safetensors"}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": files}), "utf-8")
    found = sorted((finding.id, finding.at.path) for finding in judged(tmp_path).findings)
    assert found == [
        ("VG001", "one/model.safetensors"),
        ("VG211", "as-built/model.safetensors.index.json"),
        ("VG211", "as-built/model.safetensors.index.json"),
        ("VG211", "sharded/model.safetensors.index.json"),
    ]


CHANGES = [
    ("llama", {"hidden_size": 16}),
    ("llama", {"num_hidden_layers": 1}),
    ("llama", {"num_hidden_layers": 3}),
    ("llama", {"vocab_size": 64}),
    ("llama", {"num_key_value_heads": 1}),
    ("llama", {"attention_bias": True}),
    ("gemma2", {"intermediate_size": 32}),
    ("mixtral", {"num_local_experts": 2}),
    ("qwen3_moe", {"moe_intermediate_size": 8}),
    ("phi3", {"intermediate_size": 32}),
    ("gpt2", {"n_positions": 32}),
    ("gpt_neox", {"num_hidden_layers": 1}),
]


@pytest.mark.parametrize(("kind", "change"), CHANGES)
def test_a_config_that_was_edited_is_seen(kind: str, change: dict[str, Any], tmp_path: Path) -> None:
    config = saved(kind, tmp_path)
    for form in FORMS:
        (tmp_path / form / "config.json").write_text(json.dumps(config | change), "utf-8")
    found = [(finding.id, finding.at.path) for finding in judged(tmp_path).findings]
    assert found == [("VG211", f"{form}/config.json") for form in sorted(FORMS)]


def test_weights_twice_as_wide_are_seen(tmp_path: Path) -> None:
    config = saved("llama", tmp_path, torch.float32)
    assert judged(tmp_path).findings == []
    for form in FORMS:
        (tmp_path / form / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}), "utf-8")
    assert len(judged(tmp_path).findings) == len(FORMS)


def stored(model: Any) -> dict[str, tuple[int, ...]]:  # noqa: ANN401 - a model of transformers
    """Names and shapes of the file that transformers would write for a model, which needs no memory for that."""
    from transformers.core_model_loading import revert_weight_conversion

    tied = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    buffers = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    tensors = dict(model.named_parameters()) | buffers
    kept = {name: tensor for name, tensor in tensors.items() if name not in (model._keys_to_ignore_on_save or ())}
    return {name: tuple(tensor.shape) for name, tensor in revert_weight_conversion(model, kept).items()}


CLASSES = [(kind, name) for name, row in recorded()["classes"].items() for kind in row["types"]]


@pytest.mark.parametrize(("kind", "name"), CLASSES)
def test_no_class_that_is_proved_contradicts_itself(kind: str, name: str) -> None:
    config = perturb.shallow(perturb.base(kind, name))
    try:
        network = architecture(config)
    except UnprovenError:
        pytest.skip("not proved")
    cls = getattr(transformers, name)
    try:
        made = transformers.AutoConfig.for_model(**config)
        with torch.device("meta"):
            model = cls(made if isinstance(made, cls.config_class) else made.get_text_config())
    except Exception as error:  # noqa: BLE001 - whatever transformers has against this config is not our subject
        pytest.skip(f"not built: {error}")
    held = stored(model)
    assert list(differences(held, network)) == []
    assert list(differences(dict.fromkeys(held), network)) == []
