"""What vLLM's encoder of pictures or sound adds, and what of its tower is loaded, by hand and by a start-up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st
from memory.engines.serving import GIB, device

from vramguard.memory import Workload
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask
from vramguard.memory.engines.vllm import batch, encoders, towers
from vramguard.memory.engines.vllm.items import item_of
from vramguard.memory.engines.vllm.plan import Serving, plan
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.ledger import Term

HERE = Path(__file__).parent
CATALOGUE = HERE.parents[1] / "catalogue"
RECEIPTS = HERE.parent / "receipts" / "receipts.toml"
GEMMA, MISTRAL = "google--gemma-3-4b-it", "mistralai--Mistral-Small-3.1-24B-Instruct-2503"
LLAMA = "meta-llama--Llama-4-Scout-17B-16E-Instruct"

# llava-hf/llava-1.5-7b-hf: LlavaConfig's defaults but the words and the context (transformers 5.23.0,
# models/llava/configuration_llava.py).
LLAVA: Mapping[str, Any] = {
    "architectures": ["LlavaForConditionalGeneration"],
    "model_type": "llava",
    "text_config": {"model_type": "llama", "max_position_embeddings": 4096, "vocab_size": 32064},
    "torch_dtype": "float16",
    "vision_config": {
        "hidden_size": 1024,
        "image_size": 336,
        "intermediate_size": 4096,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
    "vision_feature_layer": -2,
    "vision_feature_select_strategy": "default",
}


def published(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CATALOGUE / f"{name}.json").read_text(encoding="utf-8"))
    return config


def serving(config: Mapping[str, Any], version: str = "0.19.0", **asked: Any) -> Serving:  # noqa: ANN401
    workload = Workload(engine="vllm", engine_version=version, max_model_len=8192, **asked)
    ask = Ask(config, architecture(dict(config)), workload, device(asked.get("gpu") or "h100-sxm5-80gb"))
    return plan(ask, str(config.get("torch_dtype") or "bfloat16"))


def step_of(config: Mapping[str, Any], version: str = "0.19.0", **asked: Any) -> batch.Step:  # noqa: ANN401
    found = serving(config, version, **asked)
    return found.step_of(8192, found.grid[0], found.variants[-1])


def encoder(step: batch.Step) -> Term:
    (row,) = (term for term in batch.activations(step) if term.name == "activations/encoder")
    return row


# The profile run


def test_a_start_up_with_pictures_is_within_the_bound() -> None:
    (receipt,) = (
        row for row in tomli.loads(RECEIPTS.read_text("utf-8"))["receipt"] if row.get("config") == f"{MISTRAL}.json"
    )
    found = sum(term.upper_bytes for term in batch.activations(step_of(published(MISTRAL))))
    assert receipt["activation"] <= found / GIB <= receipt["activation"] + 0.35


def test_pictures_of_one_size_fill_the_budget() -> None:
    row = encoder(step_of(published(GEMMA)))
    # 8192 tokens are 32 pictures of 256 tokens; each is 64 x 64 patches of 3 x 14 x 14 numbers.
    assert row.inputs["patches"] == 32 * 64 * 64
    assert row.inputs["rows"] == row.inputs["tokens"] == 8192
    # One layer keeps the state, its norm, and twice the MLP's width: 2 x 1152 + 2 x 4304 numbers.
    assert row.inputs["layer"] == 2 * 1152 + 2 * 4304
    # The decoder's step is larger, so that only outputs and inputs stay.
    assert row.upper_bytes == 8192 * 2560 * 2 + 32 * 3 * 896 * 896 * 2


def test_pictures_of_any_size_are_whole_ones_of_the_largest() -> None:
    row = encoder(step_of(published(MISTRAL)))
    # 55 x 55 tokens each, two of them in 8192, of 110 x 110 patches.
    assert row.inputs["patches"] == 2 * 110 * 110
    assert row.inputs["masks"] == 1, "rows of the mask are a multiple of 8 numbers"
    assert encoder(step_of(published(MISTRAL), max_num_batched_tokens=3100)).inputs["masks"] == 2
    assert encoder(step_of(published(MISTRAL), "0.33.0")).inputs["masks"] == 0


def test_a_mask_over_all_patches_outgrows_the_decoder() -> None:
    row = encoder(step_of(published(MISTRAL), max_num_batched_tokens=16384, max_num_seqs=16))
    patches = 5 * 110 * 110
    assert row.upper_bytes > 2 * patches * patches * 2 - row.inputs["decoder"]


def test_one_picture_may_be_more_than_a_batch() -> None:
    small = encoder(step_of(published(LLAMA), max_num_batched_tokens=2048, max_num_seqs=256))
    assert small.inputs["tokens"] == 17 * (144 + 16), "16 tiles and the whole, of 144 tokens and what is between"
    assert small.inputs["patches"] == 17 * (24 * 24 + 1)


def test_tiles_are_counted_by_the_grids_of_the_config() -> None:
    config = {
        **LLAVA,
        "architectures": ["LlavaNextForConditionalGeneration"],
        "model_type": "llava_next",
        "image_grid_pinpoints": [[336, 672], [672, 672], [336, 1344]],
        "vision_feature_layer": [-24, -1],
    }
    item = item_of(architecture(dict(config)), config)
    assert item.tokens == 576 + 48 * (48 + 1), "two by two tiles, each row of patches with its end"
    assert item.profiled_patches == 5 * 577
    assert item.least_tokens == 576
    assert item.kept == (25 + 2) * 1024


def test_nothing_is_encoded_where_nobody_may_look() -> None:
    only_text = step_of(published(GEMMA), language_model_only=True)
    assert [term.name for term in batch.activations(only_text)] == ["activations/step", "activations/beyond_formula"]
    assert batch.unprofiled(only_text) == ()
    assert encoders.assumption(only_text) is None
    text = step_of(published("Qwen--Qwen3-8B"))
    assert not encoders.takes(text)


def test_what_the_processors_class_decides_is_said() -> None:
    assert "at most 4 crops" in str(encoders.assumption(step_of(published(GEMMA))))
    assert encoders.assumption(step_of(published(MISTRAL))) is None


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("Qwen2_5_VLForConditionalGeneration", {}, "preprocessor_config.json"),
        ("LlavaForConditionalGeneration", {"vision_config": {"model_type": "siglip2_vision_model"}}, "siglip2"),
        ("LlavaForConditionalGeneration", {"vision_feature_select_strategy": "class"}, "'class'"),
        ("Gemma4ForConditionalGeneration", {"audio_config": {"hidden_size": 1}}, "audio_seq_length"),
        ("Llama4ForConditionalGeneration", {"vision_config": {"pixel_shuffle_ratio": 0.25}}, "pixel_shuffle_ratio"),
        ("FuyuForCausalLM", {}, "is not modelled"),
    ],
)
def test_what_is_not_known_is_named(name: str, config: dict[str, Any], said: str) -> None:
    kind = "qwen2_5_vl" if name.startswith("Qwen") else "llava"
    network = replace(architecture(dict(LLAVA)), name=name, model_type=kind)
    with pytest.raises(UnprovenError, match=f"the encoder of {name} in vllm: .*{said}"):
        item_of(network, {**LLAVA, **config})


# Beyond the profile run


def test_smaller_pictures_pass_more_patches_than_were_profiled() -> None:
    (row,) = batch.unprofiled(step_of(published(MISTRAL)))
    assert row.inputs["patches"] == 8192 * 4
    assert row.upper_bytes > 2 * (8192 * 4) ** 2 * 2 - row.inputs["profiled"]
    (row,) = batch.unprofiled(step_of(published(GEMMA)))
    assert row.upper_bytes == 0, "every picture has as many patches for a token"


def test_merging_counts_where_the_decoder_is_small() -> None:
    step = step_of(published(GEMMA), "0.33.0", max_num_seqs=1, max_num_batched_tokens=256)
    (row,) = batch.unprofiled(step)
    assert row.inputs["batched"] * row.inputs["hidden"] * (3 * 2 + 9) == 256 * 2560 * 15


def test_a_runner_that_profiles_no_encoder_has_it_outside_its_share() -> None:
    found = [serving(published(GEMMA), version) for version in ("0.26.0", "0.33.0")]
    outside = {}
    for each in found:
        for variant in each.variants:
            step = each.step_of(8192, each.grid[0], variant)
            profile = variant.profile
            seen = variant.runner == "v1" or profile.v2_encodes_at_profile
            outside[seen] = encoders.outside_bytes(step, 0)
            if not seen:
                assert outside[seen] >= encoder(step).upper_bytes
    assert True in outside


@settings(max_examples=25, deadline=None)
@given(st.integers(256, 20000), st.integers(1, 4000))
def test_a_larger_batch_never_takes_less(tokens: int, more: int) -> None:
    for config in (published(MISTRAL), published(GEMMA)):
        sums = []
        for batched in (tokens, tokens + more):
            step = step_of(config, max_num_batched_tokens=batched, max_num_seqs=64)
            sums.append(sum(term.upper_bytes for term in (*batch.activations(step), *batch.unprofiled(step))))
        assert sums[0] <= sums[1]


# What is loaded


def _settled(config: Mapping[str, Any], version: str) -> tuple[dict[str, Term], dict[str, Term]]:
    found = serving(config, version)
    rows = found.step_of(8192, found.grid[0], found.variants[-1]).resident
    before = {term.name: term for term in rows}
    return before, {term.name: term for term in towers.settle(rows, found.network, config, found.variants)}


def test_a_tower_stands_up_to_the_layer_that_is_looked_at() -> None:
    before, after = _settled(LLAVA, "0.19.0")
    layer = "weights/model.vision_tower.encoder.layers.*.mlp.fc1.weight"
    assert (before[layer].inputs["copies"], after[layer].inputs["copies"]) == (24, 23)
    assert after[layer].upper_bytes * 24 == before[layer].upper_bytes * 23
    gone = before.keys() - after.keys()
    assert {name.rpartition(".")[0] for name in gone} == {"weights/model.vision_tower.post_layernorm"}
    whole = {**LLAVA, "vision_feature_layer": -1}
    assert _settled(whole, "0.19.0")[1][layer].inputs["copies"] == 24


def test_a_pooling_head_is_loaded_by_older_releases_only() -> None:
    config = published(GEMMA)
    config["vision_config"] = {**config["vision_config"]}
    config["vision_config"].pop("vision_use_head", None)
    for version, lower, upper in (("0.19.0", 0, 0), ("0.12.0", 1, 1), ("latest", 0, 1)):
        before, after = _settled(config, version)
        heads = [name for name in before if ".head." in name]
        assert heads
        for name in heads:
            term = after.get(name)
            assert (term.lower_bytes if term else 0) == lower * before[name].lower_bytes
            assert (term.upper_bytes if term else 0) == upper * before[name].upper_bytes


def test_a_list_that_leaves_the_tower_alone_has_vllms_names() -> None:
    config = published("RedHatAI--Mistral-Small-3.1-24B-Instruct-2503-quantized.w8a8")
    found = serving(config)
    scheme = towers.named(found.loaded.scheme, found.network)
    assert scheme is not None
    choose = scheme.rule.chooser(found.loaded.quantized)
    taken = {tensor.name: choose(tensor.name.rpartition(".")[0], tensor) for tensor in found.network.tensors}
    assert taken["model.vision_tower.transformer.layers.*.attention.q_proj.weight"] is None
    assert taken["model.multi_modal_projector.linear_1.weight"] is None
    assert taken["model.language_model.layers.*.self_attn.q_proj.weight"] is not None
    text = serving(published("Qwen--Qwen3-8B"))
    assert towers.named(text.loaded.scheme, text.network) is None
