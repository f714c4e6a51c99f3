"""What vLLM's encoder of pictures or sound adds, and what of its tower is loaded, by hand and by a start-up."""

from __future__ import annotations

import importlib
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
from vramguard.memory.engines.resident import resident
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
QWEN, QWEN_3, QWEN_3_5 = "Qwen--Qwen2.5-VL-7B-Instruct", "Qwen--Qwen3-VL-8B-Instruct", "Qwen--Qwen3.5-27B"

# Qwen/Qwen2-VL-7B-Instruct's tower, which is its class's default (transformers 5.23.0, configuration_qwen2_vl.py).
QWEN_2: Mapping[str, Any] = {
    "architectures": ["Qwen2VLForConditionalGeneration"],
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "max_position_embeddings": 32768,
    "model_type": "qwen2_vl",
    "num_attention_heads": 28,
    "num_hidden_layers": 28,
    "num_key_value_heads": 4,
    "torch_dtype": "bfloat16",
    "vision_config": {"depth": 32, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4, "num_heads": 16},
    "vocab_size": 152064,
}

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


def step_of(
    config: Mapping[str, Any],
    version: str = "0.19.0",
    length: int = 8192,
    **asked: Any,  # noqa: ANN401
) -> batch.Step:
    found = serving(config, version, **asked)
    return found.step_of(length, found.grid[0], found.variants[-1])


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
    # One layer: 12 states in its attention, more than four and twice the MLP's width.
    assert row.inputs["layer"] == 12 * 1152 > 4 * 1152 + 2 * 4304
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
        ("Glm4vForConditionalGeneration", {}, "preprocessor_config.json"),
        ("LlavaForConditionalGeneration", {"vision_config": {"model_type": "siglip2_vision_model"}}, "siglip2"),
        ("LlavaForConditionalGeneration", {"vision_feature_select_strategy": "class"}, "'class'"),
        ("Gemma4ForConditionalGeneration", {"audio_config": {"hidden_size": 1}}, "audio_seq_length"),
        ("Llama4ForConditionalGeneration", {"vision_config": {"pixel_shuffle_ratio": 0.25}}, "pixel_shuffle_ratio"),
        ("FuyuForCausalLM", {}, "is not modelled"),
    ],
)
def test_what_is_not_known_is_named(name: str, config: dict[str, Any], said: str) -> None:
    kind = "glm4v" if name.startswith("Glm") else "llava"
    network = replace(architecture(dict(LLAVA)), name=name, model_type=kind)
    with pytest.raises(UnprovenError, match=f"the encoder of {name} in vllm: .*{said}"):
        item_of(network, {**LLAVA, **config})


# Pictures of any shape, whose limit is in pixels


def named(step: batch.Step) -> dict[str, Term]:
    return {term.name: term for term in (*batch.activations(step), *batch.unprofiled(step))}


@pytest.mark.parametrize("name", [QWEN_3, QWEN_3_5])
@pytest.mark.parametrize("length", [4096, 262144])
def test_a_picture_has_as_many_tokens_as_its_processor_lets_it(name: str, length: int) -> None:
    row = encoder(step_of(published(name), length=length))
    # 16,777,216 pixels are 128 x 128 squares of 32 x 32, each of them 2 x 2 patches of 2 frames of 3 x 16 x 16 numbers.
    assert row.inputs["tokens"] == row.inputs["rows"] == 128 * 128
    assert row.inputs["patches"] == 4 * 128 * 128
    assert row.inputs["numbers"] == 2 * 3 * 16 * 16
    assert row.inputs["layer"] >= (20 + 1) * 1152, "rotation in float32, beside learned positions"


def test_outputs_of_inner_layers_are_kept_too() -> None:
    found = named(step_of(published(QWEN_3)))
    assert found["activations/encoder"].inputs["hidden"] == 4 * 4096
    assert found["activations/deepstack"].upper_bytes == 3 * 8192 * 4096 * 2
    plain = named(step_of(published(QWEN_3_5)))
    assert plain["activations/encoder"].inputs["hidden"] == 5120
    assert "activations/deepstack" not in plain
    text = batch.activations(step_of(published(QWEN_3), language_model_only=True))
    assert [term.name for term in text][2:] == ["activations/deepstack"]


@pytest.mark.parametrize(
    ("length", "tokens"), [(4096, 16384), (16384, 16384), (32768, 32768), (114688, 114688), (128000, 114688)]
)
def test_a_video_has_frames_of_the_largest_picture_while_a_prompt_holds_them(length: int, tokens: int) -> None:
    for config in (published(QWEN), QWEN_2):
        row = encoder(step_of(config, length=length))
        # 12,845,056 pixels are 128 x 128 squares of 28 x 28; 14 frames are 7 of them.
        assert (row.inputs["tokens"], row.inputs["patches"]) == (tokens, 4 * tokens)
        assert row.inputs["numbers"] == 2 * 3 * 14 * 14


def test_an_older_release_had_more_frames_of_a_video() -> None:
    assert encoder(step_of(published(QWEN), "0.10.2", 262144)).inputs["tokens"] == 8 * 16384
    with pytest.raises(UnprovenError, match=r"before 0\.13 its budget"):
        batch.activations(step_of(published(QWEN_3), "0.12.0"))
    assert encoder(step_of(published(QWEN_3), "0.13.0")).inputs["tokens"] == 16384
    # Qwen 3.5 has no older release, so that one that nobody stated is no matter.
    assert encoder(step_of(published(QWEN_3_5), "latest")).inputs["tokens"] == 16384
    found = serving(published(QWEN_3_5), "latest")
    assert {encoder(found.step_of(8192, found.grid[0], each)).inputs["patches"] for each in found.variants} == {65536}


def test_no_smaller_limit_of_pixels_makes_a_larger_item() -> None:
    """What vLLM computes of a square picture of any limit (qwen2_vl.py), in frames that 14 and the context allow."""
    network = architecture(dict(published(QWEN)))
    for length in (4096, 20000, 32768, 50000, 120000, 1 << 18):
        largest = item_of(network, published(QWEN), length).tokens
        for picture in range(64, 16385, 64):
            assert picture * min(7, max(1, length // picture)) <= largest
        assert largest == 16384 or largest in (length, 7 * 16384)


def test_tables_of_the_last_sizes_stay_on_the_card() -> None:
    row = named(step_of(published(QWEN), length=4096))["runtime/encoder_tables"]
    # Of each patch cosine and sine of rows and columns: 80 numbers; 64 sizes, of 4096 tokens but for the dummy.
    assert row.upper_bytes == (63 * 4 * 4096 + 4 * 16384) * 80 * 2
    assert "runtime/encoder_tables" not in named(step_of(published(QWEN_3)))
    assert "runtime/encoder_tables" not in named(step_of(QWEN_2))


@pytest.mark.parametrize("name", [QWEN, QWEN_3])
@pytest.mark.parametrize("limit", [256, 1280, 3000, 5000, 16384])
def test_batches_of_smaller_pictures_than_assumed_are_within_their_row(name: str, limit: int) -> None:
    step = step_of(published(name))
    row = named(step)["runtime/encoder_batch"]
    budget = max(8192, limit)
    profiled = _alive(step, budget // limit * limit, kept=True)  # as many as there is room for
    assert _alive(step, budget, kept=False) - profiled <= row.upper_bytes
    if limit < 8192:
        assert row.upper_bytes < _alive(step, 8192, kept=False) - step.sizes.tokens


def _alive(step: batch.Step, tokens: int, *, kept: bool) -> int:
    """Bytes of a pass over so many tokens and of its outputs; its inputs are kept over the decoder's step or not."""
    row = encoder(step)
    inputs, item = row.inputs, item_of(step.loaded.network, step.ask.config, 8192)
    layers = 4 * tokens * inputs["layer"]
    merged = 4 * tokens * 4 * item.hidden + tokens * inputs["projected"]
    given = 4 * tokens * item.numbers * 2
    passed = max(layers, merged) * 2 + (0 if kept else given)
    return max(passed, inputs["decoder"]) + (given if kept else 0) + tokens * inputs["hidden"] * 2


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1 << 18), st.integers(1, 1 << 16), st.integers(256, 40000))
def test_a_longer_context_never_takes_less_of_the_encoder(length: int, more: int, batched: int) -> None:
    for name in (QWEN, QWEN_3):
        sums = []
        for each in (length, length + more):
            step = step_of(published(name), length=each, max_num_batched_tokens=batched, max_num_seqs=64)
            sums.append(sum(term.upper_bytes for term in named(step).values()))
        assert sums[0] <= sums[1]


def test_the_limit_of_pixels_is_said() -> None:
    assert "at most 12,845,056 pixels, 16,384 tokens" in str(encoders.assumption(step_of(published(QWEN))))
    assert "--mm-processor-kwargs" in str(encoders.assumption(step_of(published(QWEN_3_5))))


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
    for config in (published(MISTRAL), published(GEMMA), published(QWEN), published(QWEN_3)):
        sums = []
        for batched in (tokens, tokens + more):
            step = step_of(config, max_num_batched_tokens=batched, max_num_seqs=64)
            sums.append(sum(term.upper_bytes for term in (*batch.activations(step), *batch.unprofiled(step))))
        assert sums[0] <= sums[1]


# What is loaded


def _settled(config: Mapping[str, Any], version: str) -> tuple[dict[str, Term], dict[str, Term]]:
    found = serving(config, version)
    rows = resident(config, found.loaded, found.grid[0], None, ())
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


# The formula of a pass, against a trace


@pytest.mark.parametrize(
    ("config", "kind", "side"),
    [(published(GEMMA), "Siglip", 0), (LLAVA, "CLIP", 0), (published(MISTRAL), "Pixtral", 448),
     (published(LLAMA), "Llama4", 0)],
)  # fmt: skip
def test_a_layer_keeps_no_more_than_the_formula_says(config: Mapping[str, Any], kind: str, side: int) -> None:
    """Transformers' towers are a lower witness: what they keep alive for a patch, vLLM's fused matrices keep too."""
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    vision = {**config["vision_config"], "num_hidden_layers": 3}
    model_config = getattr(transformers, f"{kind}VisionConfig")(**vision)
    inputs = encoder(step_of(config)).inputs
    pictures, side = 2, side or int(model_config.image_size)
    patches = pictures * ((side // int(model_config.patch_size)) ** 2 + (kind in {"CLIP", "Llama4"}))
    pixels, sizes = (pictures, 3, side, side), {"image_sizes": [(side, side)] * pictures} if kind == "Pixtral" else {}
    bytes_alive = _traced(getattr(transformers, f"{kind}VisionModel"), model_config, pixels, sizes)
    assert bytes_alive <= 2 * patches * (inputs["layer"] + inputs["masks"] * patches)


@pytest.mark.parametrize(
    ("config", "module", "kind"),
    [(QWEN_2, "qwen2_vl", "Qwen2VisionTransformerPretrainedModel"),
     (published(QWEN), "qwen2_5_vl", "Qwen2_5_VisionTransformerPretrainedModel"),
     (published(QWEN_3), "qwen3_vl", "Qwen3VLVisionModel"),
     (published(QWEN_3_5), "qwen3_5", "Qwen3_5VisionModel")],
)  # fmt: skip
def test_a_layer_of_squares_keeps_no_more_than_the_formula_says(
    config: Mapping[str, Any], module: str, kind: str
) -> None:
    """Mergers of inner layers among them: the state before the layers, positions and what was merged stay alive."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    model_class = getattr(importlib.import_module(f"transformers.models.{module}.modeling_{module}"), kind)
    deep = {"deepstack_visual_indexes": [0, 1, 2]} if module == "qwen3_vl" else {}
    inputs, model_config = (
        encoder(step_of(config)).inputs,
        model_class.config_class(**{**config["vision_config"], "depth": 3, **deep}),
    )
    pixels, grid = (2 * 32 * 32, inputs["numbers"]), torch.tensor([[1, 32, 32], [2, 16, 32]])
    bytes_alive = _traced(model_class, model_config, pixels, {"grid_thw": grid})
    assert bytes_alive <= 2 * pixels[0] * inputs["layer"]


def _traced(
    model_class: Any,  # noqa: ANN401 - transformers' classes
    config: Any,  # noqa: ANN401
    shape: tuple[int, ...],
    sizes: Mapping[str, Any],
) -> int:
    """Most bytes that the pass of a tower keeps alive, beside its weights and its pictures."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    from vramguard.trace.attention import fused
    from vramguard.trace.living import Living
    from vramguard.trace.values import Values

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), fused():
        with Values():
            model = model_class._from_config(config, dtype=torch.bfloat16).eval()
            # A tensor of numbers, so that a tower may read how its pictures are cut.
            known = {name: torch.tensor(v.tolist()) if torch.is_tensor(v) else v for name, v in sizes.items()}
        pixels = torch.empty(*shape, dtype=torch.bfloat16)
        living = Living(1 << 20, 1 << 20)
        living.ignore([*model.parameters(), *model.buffers(), pixels])
        with living, living.naming(model):
            model(pixels, **known)
    made = living.finished().allocations
    alive = (sum(a.bytes for a in made if a.born <= at and (a.died is None or a.died >= at)) for at in _births(made))
    return max(alive)


def _births(made: Any) -> set[int]:  # noqa: ANN401 - the trace's allocations
    return {allocation.born for allocation in made}
