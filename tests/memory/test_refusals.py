"""What is not understood is refused by name: no config crashes the builders, none passes by a guess."""

from __future__ import annotations

import re
from time import process_time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import perturb, scores
from timed import within

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import MODULES, architecture, recorded
from vramguard.memory.families.fields import MAX_LAYERS

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Config = dict[str, Any]

REFUSED: list[tuple[Config, str]] = [
    ({"model_type": None}, "model_type is missing"),
    ({"model_type": "clip"}, "model_type 'clip'"),
    ({"model_type": ["llama"]}, "model_type"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "LlamaForSequenceClassification"),
    ({"architectures": ["MistralForCausalLM"]}, "MistralForCausalLM"),
    ({"architectures": ["MyForCausalLM"], "auto_map": {"AutoModelForCausalLM": "modeling.MyForCausalLM"}}, "MyFor"),
    ({"architectures": "LlamaForCausalLM"}, "architectures"),
    ({"vocab_size": None}, "vocab_size is null"),
    ({"vocab_size": "40"}, "vocab_size"),
    ({"hidden_size": 32.0}, "hidden_size"),
    ({"hidden_size": float("nan")}, "hidden_size"),
    ({"hidden_size": True}, "hidden_size"),
    ({"hidden_size": 10**12}, "hidden_size"),
    ({"num_hidden_layers": MAX_LAYERS + 1}, "num_hidden_layers"),
    ({"num_hidden_layers": 0}, "num_hidden_layers"),
    ({"num_hidden_layers": -3}, "num_hidden_layers"),
    ({"num_attention_heads": 5}, "hidden_size 4096 is no multiple of num_attention_heads 5"),
    ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ({"num_key_value_heads": 0}, "num_key_value_heads"),
    ({"tie_word_embeddings": "false"}, "tie_word_embeddings"),
    ({"tie_word_embeddings": 0}, "tie_word_embeddings"),
    ({"attention_bias": None}, "attention_bias is null"),
    ({"dtype": "int4"}, "dtype is 'int4'"),
    ({"torch_dtype": ["bfloat16"]}, "torch_dtype"),
    ({"sliding_window": 16}, "sliding_window"),
    ({"layer_types": ["sliding_attention"] * 3}, "layer_types"),
    ({"attention_chunk_size": 16}, "attention_chunk_size"),
    ({"per_layer_config": {"0": {"intermediate_size": 8}}}, "per_layer_config"),
    ({"text_config": {"hidden_size": 8}}, "text_config"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder"),
    ({"is_causal": False}, "is_causal"),
    ({"fusion_config": {"mlp": True}}, "fusion_config"),
    ({"output_hidden_states": True}, "output_hidden_states"),
    ({"attn_implementation": {"": "eager"}}, "attn_implementation"),
    ({"attn_implementation": "e" * 100_000}, "attn_implementation"),
    ({"num_beams": 4}, "num_beams is 4"),
    ({"num_return_sequences": 2}, "num_return_sequences is 2"),
    ({"output_scores": True}, "output_scores is True"),
    ({"cache_implementation": "static"}, "cache_implementation is 'static'"),
    ({"experts_implementation": "batched_mm"}, "experts_implementation is 'batched_mm'"),
    ({"experts_implementation": "eager"}, "experts_implementation is 'eager'"),
    ({"_experts_implementation": ["eager"]}, "_experts_implementation"),
    ({"hidden_act": "xielu"}, "hidden_act is 'xielu'"),
    ({"hidden_act": ["silu"]}, "hidden_act"),
]
PERCEPTION: dict[str, Any] = {
    "architecture": "vit_pe_core_large_patch14_336",
    "model_args": {
        "embed_dim": 64,
        "depth": 2,
        "img_size": [28, 28],
        "global_pool": "",
        "init_values": 0.1,
        "use_post_transformer_norm": False,
    },
}
REFUSED_ELSEWHERE: list[tuple[str, Config, str]] = [
    ("mistral", {"num_key_value_heads": None}, "num_key_value_heads is null"),
    ("mistral", {"sliding_window": 1}, "sliding_window is 1"),
    ("mistral", {"layer_types": ["full_attention"] * 3}, "layer_types"),
    ("mixtral", {"num_experts_per_tok": 9}, "num_experts_per_tok 9"),
    ("mixtral", {"num_local_experts": 0}, "num_experts"),
    ("qwen2", {"layer_types": ["full_attention"] * 2}, "2 entries for 32 layers"),
    ("qwen2", {"layer_types": ["chunked_attention"] * 32}, "chunked_attention"),
    ("qwen2", {"layer_types": ["sliding_attention"] * 32}, "sliding_window is not in force"),
    ("qwen2", {"layer_types": "full_attention"}, "layer_types"),
    ("qwen2_moe", {"decoder_sparse_step": 0}, "decoder_sparse_step"),
    ("qwen2_moe", {"mlp_only_layers": [1.0]}, "mlp_only_layers"),
    ("gemma", {"head_dim": None}, "head_dim is null"),
    ("gemma2", {"sliding_window": None}, "sliding_window is not in force"),
    ("gpt2", {"n_embd": 30}, "hidden_size 30 is no multiple"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention"),
    ("gpt2", {"head_dim": 5}, "head_dim"),
    ("gpt_neox", {"head_dim": 6}, "head_dim"),
    ("falcon", {"multi_query": False, "num_kv_heads": 2}, "num_kv_heads"),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 3}, "num_kv_heads 3"),
    ("falcon", {"new_decoder_architecture": True, "parallel_attn": False}, "do not go together"),
    ("falcon", {"num_ln_in_parallel_attn": 2}, "do not go together"),
    ("falcon", {"alibi": True}, "alibi"),
    ("gemma3n", {"vision_config": {"architecture": "resnet50"}}, "vision_config.architecture 'resnet50'"),
    ("gemma3n", {"vision_config": {"model_args": {"depth": 2}}}, "vision_config.model_args"),
    ("gemma3n", {"audio_config": {"sscp_conv_kernel_size": [[3, 3]]}}, "audio_config.sscp_conv_kernel_size"),
    ("gemma3n", {"audio_config": {"sscp_conv_kernel_size": [[3, 999], [3, 3]]}}, "sscp_conv_kernel_size is wider"),
    ("gemma3n", {"audio_config": {"sscp_conv_channel_size": [0, 8]}}, "sscp_conv_channel_size has [0, 8]"),
    ("fast_vlm", {"vision_config": {"hidden_size": 8}}, "vision_config.architecture 'resnet50'"),
    ("fast_vlm", {"vision_config": {"architecture": "fastvit_mci3", "hidden_size": 3072}}, "model_args is {}"),
    *(
        ("perception_lm", {"vision_config": PERCEPTION | {"model_args": PERCEPTION["model_args"] | changes}}, named)
        for changes, named in (
            ({"embed_dim": 100}, "model_args.embed_dim 100 is no multiple of 64"),
            ({"depth": 0}, "model_args.depth is 0"),
            ({"img_size": 448}, "model_args.img_size is 448"),
            ({"img_size": [448, 13]}, "holds no patch of 14"),
            ({"global_pool": "map"}, "asks for a head"),
            ({"init_values": None}, "model_args.init_values is None"),
            ({"swiglu_mlp": True}, "model_args.swiglu_mlp"),
        )
    ),
    ("moonshine_streaming", {}, "num_key_value_heads"),
    ("moonshine_streaming", {"num_key_value_heads": 8, "encoder_config": {"frame_ms": 0.01}}, "encoder_config.frame"),
]


@pytest.mark.parametrize(
    ("model_type", "changes", "named"), [*(("llama", *case) for case in REFUSED), *REFUSED_ELSEWHERE]
)
def test_refuses_and_names_the_reason(model_type: str, changes: Config, named: str) -> None:
    with pytest.raises(UnprovenError, match=re.escape(named)):
        architecture({"model_type": model_type, **changes})


# Sizes that fit nothing, and words and numbers that some class knows beside them.
GARBAGE: SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([*range(-1, 9), MAX_LAYERS, 10**9, 10**12])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["full_attention", "sliding_attention", "auto", "global"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
OTHER_KEYS = ("architectures", "dtype", "torch_dtype", "attn_implementation", "layer_types", "per_layer_config")
SECONDS = 5


def changed(data: st.DataObject, kind: str, config: Config) -> Config:
    """A config with garbage under some of the keys that its class declares, or inside one of its parts."""
    row = recorded()["configs"][kind]
    keys = sorted({*row["fields"], *row.get("names", ()), *row.get("parts", ()), *OTHER_KEYS})
    garbage = data.draw(st.dictionaries(st.sampled_from(keys), GARBAGE, max_size=3))
    if not row.get("parts") or data.draw(st.booleans()):
        return {**config, **garbage}
    part = data.draw(st.sampled_from(sorted(row["parts"])))
    spec, given = row["parts"][part], config.get(part)
    inner = dict(given) if isinstance(given, dict) else dict(spec.get("defaults", {}))
    if spec["open"]:
        others = st.sampled_from(sorted({*MODULES} & {*recorded()["configs"]}))
        inner["model_type"] = data.draw(st.just(inner.get("model_type", spec["type"])) | others)
    return {**config, part: changed(data, str(inner.get("model_type", spec["type"])), inner)}


@given(st.data(), st.sampled_from(scores.pairs()))
@settings(max_examples=500, deadline=None)
def test_any_value_under_any_key_is_a_network_or_unproven(data: st.DataObject, pair: tuple[str, str]) -> None:
    kind = "gpt2" if pair[0] == "gpt-sw3" else pair[0]
    config = changed(data, kind, perturb.base(*pair))
    started, message = process_time(), "a network"
    try:
        network = architecture(config)
    except UnprovenError as unproven:
        message = str(unproven)
    else:
        assert network.parameters > 0
        assert all(tensor.copies > 0 and min(tensor.shape, default=1) >= 0 for tensor in network.tensors)
        assert all(min(group.layers, group.heads, group.kv_heads, group.head_dim) > 0 for group in network.attention)
    assert 0 < len(message) < 400
    assert process_time() - started < SECONDS


def test_the_deepest_network_allowed_takes_no_time() -> None:
    config: Config = {"model_type": "qwen2_moe", "num_hidden_layers": MAX_LAYERS, "use_sliding_window": True}
    with within(2):
        assert architecture(config).layers == MAX_LAYERS


def test_accepts_what_changes_nothing() -> None:
    """Keys and spellings of real configs: the class's first spelling, what older versions wrote, what v5 writes."""
    config: Config = {"model_type": "llama", "num_hidden_layers": 2}
    inert: Config = {
        "architectures": ["LLaMAForCausalLM"],
        "auto_map": {"AutoModelForCausalLM": "m.LlamaForCausalLM"},
        "cache_implementation": "hybrid",
        "num_beams": 1,
        "pretraining_tp": 1,
        "quantization_config": None,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0},
        "rope_theta": 10000.0,
        "sliding_window": None,
        "torch_dtype": None,
        "use_cache": False,
    }
    assert architecture({**config, **inert}) == architecture(config)


def test_reads_dtype_before_torch_dtype() -> None:
    llama: Config = {"model_type": "llama"}
    assert architecture(llama).dtype is None
    assert architecture({**llama, "torch_dtype": "float16"}).dtype == "float16"
    assert architecture({**llama, "torch_dtype": "float16", "dtype": "bfloat16"}).dtype == "bfloat16"
