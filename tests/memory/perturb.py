"""Configs to test with: the default of a class, and seeded changes of sizes, switches, layer patterns and parts.

Not every change is one that transformers accepts; whoever asks builds the model and leaves out what it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Any

from vramguard.memory.families import recorded

Config = dict[str, Any]

LAYERS = re.compile(
    r"(num_hidden_layers|n_layers?|num_layers|(encoder|decoder)_layers|num_decoder_layers|depth|num_blocks)"
)
HEADS = re.compile(r"(num_attention_heads|n_heads?|num_heads|(encoder|decoder)_attention_heads)")
KV_HEADS = re.compile(r"(num_key_value_heads|num_kv_heads)")
HEAD_DIM = re.compile(r"(head_dim|d_kv|attention_head_dim)")
HIDDEN = re.compile(r"(hidden_size|d_model|n_embd|n_embed|dim)")
# Ids, ranges, rates and what does not shape a network.
LEFT_ALONE = re.compile(
    r".*(token_id|token_index|_id|_idx|initializer\w*|rope_(theta|parameters|scaling\w*)|eps\w*|epsilon|dropout\w*"
    r"|version|max_window_layers|num_beams|\w*length_penalty|num_return\w*|return_dict"
    r"|output_(attentions|hidden_states|scores|\w*logits)|use_cache|chunk_size_feed_forward"
    r"|is_encoder_decoder|is_decoder|add_cross_attention|torchscript|use_return_dict|pretraining_tp|alibi"
    r"|reorder_and_upcast_attn|has_lora_adapter)"
)
# Working configs of classes whose default fails or is too empty to build; keys laid over the default.
INDEXER: Config = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 64,
    "indexer_compress_ratio": 4,
    "eos_token_id": 2,
}
WORKING: dict[str, Config] = {
    "moonshine_streaming": {"num_key_value_heads": 8},
    "perception_lm": {
        "vision_config": {
            "architecture": "vit_pe_core_large_patch14_336",
            "model_args": {
                "embed_dim": 1024,
                "depth": 23,
                "img_size": [448, 448],
                "global_pool": "",
                "init_values": 0.1,
                "ref_feat_shape": [32, 32],
                "use_post_transformer_norm": False,
            },
        }
    },
    "diffusion_gemma": {"text_config": {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704}},
    "hunyuan_vl": {
        "text_config": {
            "head_dim": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [16, 16, 16, 16]},
        }
    },
    "gemma4": {"vision_config": {}, "audio_config": {}},
    "gemma4_unified": {"vision_config": {}, "audio_config": {}},
    "fsmt": {"num_beams": 1},
    "aya_vision": {
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "patch_size": 14,
            "image_size": 384,
            "num_hidden_layers": 26,
            "num_attention_heads": 16,
            "vision_use_head": False,
        }
    },
    "ovis2": {"hidden_size": 4096},
    "molmo2": {"adapter_config": {"text_hidden_size": 4096, "vision_feature_layer": [1, -2]}},
    "cohere_compass": {
        "text_config": {
            "rope_parameters": {
                kind: {"rope_type": "default", "rope_theta": 10_000.0}
                for kind in ("full_attention", "sliding_attention")
            }
        }
    },
    "deepseek_ocr2": {
        "text_config": {
            "mlp_layer_types": ["dense", "sparse"],
            "num_hidden_layers": 2,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1408,
        }
    },
    "chameleon": {"vocabulary_map": {"<image>": 3, "IMGIMGAZ": 5, "IMGIMGBZ": 6}},
    "Emu3ForConditionalGeneration": {"vocabulary_map": {"<image>": 3, "<|extra_200|>": 4}},
    "granite4_vision": {"downsample_rate": "4/8", "deepstack_layer_map": [[-2, 3], [-5, 6], [4, 9]]},
    "qwen4_exp_text": INDEXER,
    "qwen4_exp": {"text_config": INDEXER},
    "ReformerModelWithLMHead": {"is_decoder": True, "attn_layers": ["local", "local"], "pad_token_id": 0},
    "granite_speech": {"has_lora_adapter": False},
    "granite_speech_plus": {"has_lora_adapter": False},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "xmod": {"default_language": "en_XX"},
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10_000.0} for kind in ("full_attention", "sliding_attention")
        }
    },
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
    "hunyuan_v1_dense": {"head_dim": 128},
    "deepseek_v2": {"num_experts_per_tok": 6, "moe_intermediate_size": 1408},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6, "first_k_dense_replace": 1},
    "hunyuan_v1_moe": {"head_dim": 128, "num_experts": 16, "moe_topk": 2},
    "dbrx": {"attn_config": {"kv_n_heads": 8, "rope_theta": 500000.0}},
}


Fit = Callable[[Random, Config], Config]


def _listed(key: str, *kinds: Any) -> Fit:  # noqa: ANN401 - a value of JSON
    """A list of layers of mixed kinds, in most configs."""
    return lambda random, fields: (
        {key: random.choices(kinds, k=fields["num_hidden_layers"])} if random.random() < 0.7 else {}
    )


def _mamba_heads(
    inner: str = "mamba_n_heads",
    head_dim: str = "mamba_d_head",
    expand: str = "mamba_expand",
    groups: str = "mamba_n_groups",
) -> Fit:
    """As many heads as make up the inner width."""
    return lambda random, fields: {
        head_dim: (size := random.choice([8, 16, 32])),
        inner: (heads := max(1, fields[expand] * fields["hidden_size"] // size)),
        groups: random.choice([n for n in (1, 1, 2, 4, 8) if heads % n == 0]),
    }


SHARED_BY_SIDES = ("hidden_size", "vocab_size", "num_attention_heads", "num_key_value_heads")


def _own(part: Config, kind: str, key: str) -> Any:  # noqa: ANN401 - a value of JSON
    """A key of a part, or its default."""
    return part.get(key, recorded()["configs"][kind]["fields"][key])


# What makes the keys of a type fit each other, laid over the changes.
FITTED: dict[str, tuple[Fit, ...]] = {
    "t5gemma2": (
        lambda _, fields: {
            "decoder": fields["decoder"]
            | {key: _own(fields["encoder"]["text_config"], "t5gemma2_text", key) for key in SHARED_BY_SIDES}
        },
    ),
    "nemotron3_diarization": (
        lambda _, fields: {
            "streaming_config": {
                "num_speakers": _own(fields["head_config"], "Nemotron3DiarizationHeadConfig", "num_speakers"),
                "subsampling_factor": (rate := fields["audio_config"].get("subsampling_factor", 8)),
            },
            "head_config": fields["head_config"]
            | {
                "audio_hidden_size": _own(fields["audio_config"], "nemotron3_diarization_audio", "hidden_size"),
                "subsampling_factor": rate,
            },
            "chunk_length": 340,
            "chunk_right_context": 40,
        },
    ),
    "nemotron3_5_transcribe_audio": (
        lambda _, fields: {
            "asr_config": fields["asr_config"]
            | {"subsampling_factor": fields["diarization_config"]["head_config"]["subsampling_factor"]}
        },
    ),
    "nemotron3_5_transcribe_word_timestamp": (lambda _, fields: {"blank_token_id": fields["vocab_size"] - 1},),
    "granite_docling": (
        lambda _, fields: {
            "vision_config": fields["vision_config"]
            | {"out_hidden_size": fields["text_config"].get("hidden_size", 1024)}
        },
    ),
    "granite4_vision": (
        # The Q-Former has heads of 64.
        lambda random, fields: {
            "vision_config": fields["vision_config"]
            | {"num_attention_heads": (heads := random.choice([2, 4])), "hidden_size": 64 * heads},
            "deepstack_layer_map": [[-2, 1]] * random.randint(0, 3),
        },
    ),
    **dict.fromkeys(
        ("deepseek_ocr2_text", "unlimited_ocr_text"),
        (
            lambda random, fields: {
                "mlp_layer_types": random.choices(["sparse", "dense"], k=fields["num_hidden_layers"])
            },
        ),
    ),
    "pp_formulanet": (
        lambda _, fields: {
            "vision_config": fields["vision_config"]
            | {
                "decoder_hidden_size": fields["text_config"].get("d_model", 512),
                "post_conv_in_channels": fields["vision_config"].get("output_channels", 256),
            }
        },
    ),
    "pix2struct": (
        lambda random, fields: {
            "text_config": fields["text_config"]
            | {"hidden_size": 96, "num_heads": (heads := random.choice([2, 4, 6])), "d_kv": 96 // heads},
            "vision_config": fields["vision_config"] | {"hidden_size": 96},
        },
    ),
    "molmo2": (
        lambda random, fields: {
            "vision_config": fields["vision_config"] | {"num_hidden_layers": 6},
            "adapter_config": fields["adapter_config"]
            | {
                "text_hidden_size": fields["text_config"].get("hidden_size", 4096),
                "vision_feature_layer": random.sample(range(-6, 6), random.randint(1, 3)),
            },
        },
    ),
    "aria_text": (lambda _, fields: {"moe_topk": min(fields["moe_topk"], fields["moe_num_experts"])},),
    "idefics": (
        lambda random, _: {
            "num_hidden_layers": (every := random.choice([1, 2, 3])) * random.randint(1, 3),
            "cross_layer_interval": every,
            "alpha_type": random.choice(["float", "vector"]),
            "additional_vocab_size": random.choice([0, 2]),
        },
    ),
    "ovis2": (lambda _, fields: {"hidden_size": fields["text_config"].get("hidden_size", 4096)},),
    "glm5_next_text": (
        _listed("layer_types", "linear_attention", "full_attention", "indexed_attention"),
        _listed("mlp_layer_types", "sparse", "dense"),
        _listed("indexer_types", "full", "shared"),
        lambda random, fields: {
            "qk_rope_head_dim": 0,
            "num_key_value_heads": fields["num_attention_heads"],
            "index_kpool": random.choice([1, 4, 16]),
            "index_topk": 64,
        },
    ),
    "beam": (
        _listed("layer_types", "sliding_attention", "full_attention"),
        _listed("mlp_layer_types", "sparse", "dense"),
    ),
    "qwen4_exp_text": (
        lambda random, fields: {
            "linear_num_value_heads": fields["linear_num_key_heads"] * 2,
            "layer_types": ["linear_attention", *random.choices(["linear_attention", "indexed_attention"], k=3)],
            "num_hidden_layers": 4,
            "indexer_head_dim": 256,
            "indexer_kv_heads": 1,
            "indexer_budget": 4 * fields["indexer_compress_ratio"],
            "ple_layer_ids": random.choice([None, [1]]),
            "ple_embed_dim": (fields["ngram_size"] - 1) * fields["heads_per_ngram"] * random.choice([4, 8]),
        },
    ),
    "recurrent_gemma": (
        lambda random, fields: {
            "block_types": random.choices(["recurrent", "attention"], k=3),
            "lru_width": random.choice([None, 12 * fields["num_attention_heads"]]),
        },
    ),
    "xlstm": (
        lambda random, fields: {
            "num_blocks": None,
            "hidden_size": 128 * fields["num_heads"],
            "weight_mode": random.choice(["single", "fused"]),
        },
    ),
    "squeezebert": (
        lambda _, fields: {"embedding_size": fields["hidden_size"]},
        lambda random, _: {f"{name}_groups": random.choice([1, 2, 4]) for name in ("q", "k", "v", "output")},
        lambda _, fields: {"intermediate_size": 8 * fields["hidden_size"]},
    ),
    "mobilebert": (
        lambda random, fields: {"intra_bottleneck_size": random.choice([8, 16]) * fields["num_attention_heads"]},
    ),
    "funnel": (
        lambda random, _: random.choice(
            [{}, {"block_sizes": [1, 2]}, {"block_sizes": [2, 1, 3], "block_repeats": [1, 2, 1]}]
        ),
    ),
    "reformer": (
        lambda random, fields: {
            "attn_layers": random.choices(["local", "lsh"], k=random.randint(1, 5)),
            "axial_pos_embds_dim": [fields["hidden_size"] // 4, fields["hidden_size"] - fields["hidden_size"] // 4],
        },
    ),
    "perceiver": (
        lambda random, _: {
            "d_latents": (latent := random.choice([64, 128])),
            "d_model": 8 * random.choice([5, 16]),
            **random.choice([{}, {"v_channels": latent}, {"v_channels": latent, "qk_channels": 64}]),
            "num_blocks": random.choice([1, 2]),
        },
    ),
    "lfm2": (
        _listed("layer_types", "conv", "full_attention"),
        lambda random, _: {"full_attn_idxs": random.sample(range(6), 3)} if random.random() < 0.5 else {},
    ),
    "lfm2_moe": (
        lambda random, fields: {
            "layer_types": random.choices(["conv", "full_attention"], k=fields["num_hidden_layers"]),
            "num_dense_layers": random.randint(0, 3),
        },
    ),
    **dict.fromkeys(
        ("olmo_hybrid", "minimax", "kimi_linear", "bailing_hybrid"),
        (_listed("layer_types", "linear_attention", "full_attention"),),
    ),
    **dict.fromkeys(
        ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"),
        (
            _listed("layer_types", "linear_attention", "full_attention"),
            lambda random, fields: {
                "linear_num_value_heads": fields["linear_num_key_heads"] * random.choice([1, 2, 4]),
                "full_attention_interval": random.randint(1, 4),
            },
        ),
    ),
    "deberta": (
        lambda random, _: {
            "pos_att_type": random.choice([None, "c2p|p2c", ["p2c"], ["c2p"]]),
            "talking_head": random.random() < 0.2,
            "max_relative_positions": random.choice([-1, 32]),
            "type_vocab_size": random.choice([0, 2]),
        },
    ),
    "deberta-v2": (
        lambda random, _: {
            "pos_att_type": random.choice([None, "c2p|p2c", ["p2c"], ["c2p"]]),
            "share_att_key": random.random() < 0.5,
            "position_buckets": random.choice([-1, 256]),
            "norm_rel_ebd": random.choice(["none", "layer_norm"]),
            "conv_kernel_size": random.choice([0, 3]),
            "max_relative_positions": random.choice([-1, 32]),
            "type_vocab_size": random.choice([0, 2]),
            **random.choice([{}, {"embedding_size": 24}]),
        },
    ),
    "modernbert": (
        _listed("layer_types", "full_attention", "sliding_attention"),
        lambda random, _: random.choice([{}, {"global_attn_every_n_layers": 2}]),
    ),
    "ultrabert": (_listed("layer_types", "full_attention", "sliding_attention"),),
    "neomme": (_listed("layer_types", "full_attention", "sliding_attention"),),
    "gpt_neo": (
        lambda random, fields: {
            "attention_types": [
                [["global", "local"], fields["num_layers"] // 2],
                [[random.choice(["global", "local"])], fields["num_layers"] % 2],
            ]
        },
    ),
    "mamba2": (_mamba_heads("num_heads", "head_dim", "expand", "n_groups"),),
    "bamba": (
        _mamba_heads(),
        lambda random, _: {"attn_layer_indices": random.sample(range(8), random.randint(0, 4))},
    ),
    "falcon_h1": (_mamba_heads(), lambda *_: {"mamba_d_ssm": None}),
    "granitemoehybrid": (
        _mamba_heads(),
        _listed("layer_types", "linear_attention", "full_attention", "mamba", "attention"),
    ),
    "jamba": (
        lambda random, _: {
            "attn_layer_period": (attends := random.randint(1, 4)),
            "attn_layer_offset": random.randrange(attends),
            "expert_layer_period": (routes := random.randint(1, 4)),
            "expert_layer_offset": random.randrange(routes),
        },
    ),
    "nemotron_h": (
        lambda random, _: (
            {"hybrid_override_pattern": "".join(random.choices("M*E-", k=5))}
            if random.random() < 0.5
            else {"layers_block_type": random.choices(["mamba", "attention", "moe", "mlp"], k=5)}
        ),
    ),
    "zamba": (_listed("layers_block_type", "linear_attention", "hybrid"), lambda *_: {"n_mamba_heads": 2}),
    "zamba2": (
        _mamba_heads("n_mamba_heads", "mamba_headdim", groups="mamba_ngroups"),
        lambda random, fields: {
            "layers_block_type": random.choices(["mamba", "hybrid"], k=fields["num_hidden_layers"]),
            "num_mem_blocks": random.choice([1, 2, 3]),
        },
    ),
}
FITTED["hunyuan_vl_text"] = (
    lambda _, fields: {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [fields["head_dim"] // 2]}
    },
)
FITTED["step3p5"] = (
    _listed("layer_types", "sliding_attention", "full_attention"),
    lambda random, fields: {
        "sliding_window": 32,
        **random.choice(
            [
                {"mlp_layer_types": random.choices(["sparse", "dense"], k=fields["num_hidden_layers"])},
                {"moe_layers_enum": "1,3", "attention_other_setting": {"num_attention_heads": 24}},
                {"num_sliding_attention_heads": 2 * fields["num_attention_heads"], "gating": "elementwise"},
            ]
        ),
    },
)
FITTED["diffusion_gemma_text"] = (
    lambda random, fields: {
        **random.choice([{}, {"global_head_dim": 48, "num_global_key_value_heads": 1}]),
        "layer_types": random.choices(["sliding_attention", "full_attention"], k=fields["num_hidden_layers"]),
    },
)
FITTED["muse_spark"] = (
    lambda _, fields: {
        "audio_config": fields["audio_config"] | {"out_hidden_size": fields["text_config"].get("hidden_size", 8192)}
    },
)
FITTED["muse_spark_audio"] = (
    lambda random, _fields: {
        "num_hidden_layers": 2,
        "patch_sizes": [16, random.choice([4, 6])],
        "hidden_sizes": [32, 64],
        "depths": [random.choice([0, 1, 2]), 2],
    },
)
FITTED["muse_spark_text"] = (
    _listed("layer_types", "sliding_attention", "full_attention"),
    _listed("mlp_layer_types", "sparse", "dense"),
)
FITTED["muse_glimmer_text"] = (_listed("layer_types", "sliding_attention", "full_attention"),)
FITTED["inkling2"] = (
    lambda _, fields: {
        "vision_config": fields["vision_config"] | {"text_hidden_size": fields["text_config"].get("hidden_size", 4608)}
    },
)
FITTED["inkling_vision"] = (lambda random, _: {"num_hidden_layers": random.choice([12, 24, 31])},)
FITTED["fun_asr_nano"] = (
    lambda _, fields: {
        "adaptor_config": fields["adaptor_config"]
        | {"hidden_size": (hidden := fields["text_config"]["hidden_size"]), "intermediate_size": hidden // 4}
    },
)
FITTED["dia"] = (
    lambda _, fields: {
        "decoder_config": fields["decoder_config"]
        | {"cross_hidden_size": fields["encoder_config"].get("hidden_size", 1024), "num_channels": 9}
    },
)
FITTED["canary"] = (
    lambda _, fields: {
        "encoder_config": fields["encoder_config"]
        | {"hidden_size": fields["decoder_config"].get("hidden_size", 1024), "num_attention_heads": 1},
        "vocab_size": fields["decoder_config"].get("vocab_size", 16384),
    },
)
FITTED["cosmos3_edge_text"] = (
    lambda _, fields: {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [fields["head_dim"] // 2 - 2, 1, 1],
        }
    },
)
FITTED["ernie4_5_vl_moe_text"] = (
    _listed("mlp_layer_types", "sparse", "dense"),
    lambda _, fields: {
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5e5,
            "mrope_section": [(size := fields["hidden_size"] // fields["num_attention_heads"]) // 8] * 2 + [size // 4],
        }
    },
)
FITTED["mistral_large4_text"] = (
    _listed("mlp_layer_types", "sparse", "dense"),
    _listed("no_rope_layers", 0, 1),
    lambda random, fields: {
        "index_topk_pattern": "F" + "".join(random.choices("FS", k=fields["num_hidden_layers"] - 1))
    },
)
# Layers of every kind in a few of them, laid over the default where caches are traced.
MIXED: dict[str, Config] = {
    "bamba": {"num_hidden_layers": 4, "attn_layer_indices": [1]},
    "granitemoehybrid": {"num_hidden_layers": 3, "layer_types": ["mamba", "attention", "mamba"]},
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"num_hidden_layers": 4, "full_attn_idxs": [1, 3]},
    "kimi_linear": {"num_hidden_layers": 5},
    "bailing_hybrid": {"num_hidden_layers": 3, "layer_group_size": 2},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"]},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "hybrid", "mamba"]},
}

# Types that list which layers slide.
WINDOWED = (
    *("cohere2", "cohere_compass_text", "cwm", "exaone4", "flint", "gemma3_text", "gemma3n_text", "gemma4_text"),
    *(
        "gemma4_unified_text",
        "granite_swa",
        "kolibri1",
        "mellum",
        "ministral",
        "modernbert-decoder",
        "olmo3",
        "smollm3",
    ),
    *("t5_gemma_module", "vaultgemma"),
)
_SLIDING_OR_FULL = ("sliding_attention", "full_attention")


def _one_of(*choices: Config) -> Fit:
    """Any of some changes."""
    return lambda random, _: random.choice(choices)


def _shared_keys(random: Random, fields: Config) -> Config:
    """Some of the last layers take keys and values of an earlier one."""
    return {"num_kv_shared_layers": random.randint(0, max(0, fields["num_hidden_layers"] - 2))}


_GEMMA4: tuple[Fit, ...] = (
    _shared_keys,
    _one_of({}, {"global_head_dim": 48}, {"global_head_dim": 24, "num_global_key_value_heads": 1}),
    _one_of({}, {}, {"use_bidirectional_attention": "all"}),
    _one_of({}, {}, {"per_layer_config": {"0": {"head_dim": 40}}}),
)
FITTED |= {kind: (*FITTED.get(kind, ()), _listed("layer_types", *_SLIDING_OR_FULL)) for kind in WINDOWED}
FITTED["gemma3n_text"] += (_shared_keys, _listed("intermediate_size", 32, 64))
FITTED["gemma4_text"] += (
    *_GEMMA4,
    _one_of({}, {"hidden_size_per_layer_input": 0}),
    _one_of({}, {"enable_moe_block": True, "num_experts": 6, "top_k_experts": 2, "moe_intermediate_size": 24}),
)
FITTED["gemma4_unified_text"] += _GEMMA4
FITTED["mellum"] += (_listed("mlp_layer_types", "sparse", "dense"),)
FITTED["flint"] += (_listed("mlp_only_layers", 0, 1, 2, 3, 4),)
FITTED["smollm3"] += (_one_of({"sliding_window": 64}, {"sliding_window": 64, "use_sliding_window": True}),)
FITTED["lfm3"] = (_listed("layer_types", "conv", *_SLIDING_OR_FULL),)
FITTED["gemma3n_audio"] = (
    lambda random, _: {
        "conf_num_hidden_layers": random.randint(1, 3),
        "conf_attention_chunk_size": random.choice([12, 96]),
        "sscp_conv_channel_size": random.choices([8, 16, 24], k=2),
        "sscp_conv_kernel_size": random.choices([[3, 3], [2, 5], [4, 1]], k=2),
        "sscp_conv_stride_size": random.choices([[2, 2], [1, 3], [2, 1]], k=2),
    },
)
FITTED["perception_lm"] = (
    lambda random, fields: {
        "vision_config": {
            "model_type": "timm_wrapper",
            "architecture": f"vit_pe_core_{random.choice(['large_patch14_336', 'gigantic_patch14_448'])}",
            "model_args": fields["vision_config"]["model_args"]
            | {
                "embed_dim": 64 * random.randint(1, 4),
                "depth": random.randint(1, 4),
                "img_size": random.choices([14, 100, 224, 448], k=2),
            },
        }
    },
)
FITTED["dots3_note_text"] = (
    lambda _, fields: {"num_key_value_heads": fields["num_attention_heads"], "n_group": 1, "topk_group": 1},
)
FITTED["dots3_note_vision_encoder"] = (
    lambda random, fields: {
        "mlp_layer_types": random.choices(["sparse", "dense"], k=fields["num_hidden_layers"]),
        "adapter_in_dim": fields["hidden_size"],
        "adapter_merge_size": fields["spatial_merge_size"],
    },
)
FITTED["dots3_note"] = (
    lambda _, fields: {
        f"{sense}_config": fields[f"{sense}_config"]
        | {"adapter_out_dim": _own(fields["text_config"], "dots3_note_text", "hidden_size")}
        for sense in ("vision", "audio")
    },
)
FITTED["dots3_note_audio_encoder"] = (lambda _, fields: {"adapter_input_size": fields["hidden_size"]},)
FITTED["moonshine_streaming"] = (lambda _, fields: {"num_key_value_heads": fields["num_attention_heads"]},)
MIXED |= {
    kind: {"num_hidden_layers": 4, "sliding_window": 16, "layer_types": [*_SLIDING_OR_FULL] * 2} for kind in WINDOWED
}
MIXED["mellum"]["mlp_layer_types"] = ["dense", "sparse", "sparse", "dense"]
MIXED["modernbert-decoder"] = {"num_hidden_layers": 4, "local_attention": 32}
# Each layer has an input of its own: as many layers as tell their number from a constant.
_FIVE = {"num_hidden_layers": 5, "num_kv_shared_layers": 2, "layer_types": [*_SLIDING_OR_FULL * 2, "full_attention"]}
MIXED["gemma3n_text"] |= _FIVE | {"activation_sparsity_pattern": [0.95, 0.0, 0.95, 0.0, 0.95]}
_GEMMA4_EXPERTS = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704}
MIXED["gemma4_text"] |= _FIVE | _GEMMA4_EXPERTS
MIXED["gemma3n"] = {"text_config": MIXED["gemma3n_text"]}
MIXED["gemma4"] = {"text_config": MIXED["gemma4_text"]}
MIXED["cohere_compass"] = {"text_config": WORKING["cohere_compass_text"] | MIXED["cohere_compass_text"]}
# The tower's default counts the experts of each of its 42 layers.
MIXED["dots3_note"] = {"vision_config": {"num_hidden_layers": 2, "mlp_layer_types": ["dense", "sparse"]}}
MIXED["lfm3"] = {
    "num_hidden_layers": 4,
    "sliding_window": 16,
    "layer_types": ["conv", "sliding_attention", "full_attention", "conv"],
}
MIXED |= {kind: {"num_hidden_layers": 2, "sliding_window": 16} for kind in ("doge", "ministral3", "starcoder2")}
MIXED["gpt_neo"] = {"num_layers": 4, "attention_types": [[["global", "local"], 2]]}
MIXED["nemotron_h"] = {"layers_block_type": ["mamba", "mlp", "attention", "moe", "mamba"]}
MIXED["glm4_moe"] = {"head_dim": 128}  # the default splits 4096 among 96 heads
# A prompt longer than their tables of positions makes them grow.
MIXED |= {kind: {"max_position_embeddings": 64} for kind in ("m2m_100", "nllb-moe", "fsmt", "xglm")}
MIXED |= {kind: {"max_position_embeddings": 64} for kind in ("seamless_m4t", "seamless_m4t_v2")}
# Dense layers among those of experts, which the default has none of.
MIXED |= {
    kind: {"num_hidden_layers": 4, "mlp_only_layers": [1, 3]} for kind in ("qwen2_moe", "qwen3_moe", "qwen3_next")
}
MIXED["qwen3_vl_moe"] = {"text_config": MIXED["qwen3_moe"]}
MIXED |= {kind: {"num_hidden_layers": 4, "first_k_dense_replace": 2} for kind in ("deepseek_v2", "mistral4")}
# Its code clamps by clip_qkv always.
MIXED["dbrx"] = {"attn_config": {"kv_n_heads": 8, "rope_theta": 500000.0, "clip_qkv": 8.0}}
MIXED["hrm_text"] = {"num_hidden_layers": 2}
MIXED["moshi"] = {"num_hidden_layers": 2, "sliding_window": 16}
MIXED["t5gemma2"] = {
    "encoder": {"text_config": {"num_hidden_layers": 2, "sliding_window": 16}},
    "decoder": {"num_hidden_layers": 7, "sliding_window": 24},
}
MIXED["t5gemma"] = {
    "encoder": {"num_hidden_layers": 2, "sliding_window": 16},
    "decoder": {"num_hidden_layers": 3, "sliding_window": 24},
}
# Their default for rotary positions does not fit their default head_dim.
_GLM_V = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}
MIXED |= {kind: {"text_config": _GLM_V} for kind in ("glm4v", "glm46v", "glmga")}
MIXED["glm4v_moe"] = {"text_config": _GLM_V | {"head_dim": 128}}
MIXED["inkling_mm_model"] = {"vision_config": {"num_hidden_layers": 24}, "text_config": {"num_hidden_layers": 6}}
MIXED["step3p7"] = {
    "text_config": {
        "num_hidden_layers": 4,
        "sliding_window": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_sliding_attention_heads": 96,
    }
}
MIXED["qwen3_omni_moe_thinker"] = {"text_config": {"head_dim": 128} | MIXED["qwen3_moe"]}


def _working(model_type: str, name: str) -> Config:
    return WORKING.get(name, WORKING.get(model_type, {}))


def base(model_type: str, name: str) -> Config:
    """Default config of a class, in as few keys as say so."""
    return {"model_type": model_type, "architectures": [name], **_working(model_type, name)}


def shallow(config: Config, layers: int = 4) -> Config:
    """Fewer layers, where the config counts them with one number; patterns of layers are left alone."""
    return _with_layers({**config, **MIXED.get(config["model_type"], {})}, config["model_type"], layers)


def _with_layers(config: Config, kind: str, layers: int) -> Config:
    row = recorded()["configs"].get(kind)
    if row is None:
        return config
    changed = dict(config)
    listed = any(isinstance(row["fields"].get(key), list) for key in ("layer_types", "layers_block_type"))
    for key, value in row["fields"].items():
        if LAYERS.fullmatch(key) and isinstance(value, int) and not listed and not any("layer" in k for k in config):
            changed[key] = min(value, layers)
    for key, spec in row.get("parts", {}).items():
        given = changed.get(key)
        if given is None and spec.get("optional"):
            continue
        inner = dict(given) if isinstance(given, dict) else dict(spec.get("defaults", {}))
        kind_of = inner.get("model_type", spec["type"])
        changed[key] = _with_layers(inner, kind_of, layers)
        if spec["open"]:
            changed[key].setdefault("model_type", kind_of)
    return changed


def perturbed(model_type: str, name: str, seed: str) -> Config:
    """A changed config; the same seed gives the same one."""
    random = Random(f"{model_type} {name} {seed}")  # noqa: S311 - reproducible, not secret
    return {
        "model_type": model_type,
        "architectures": [name],
        **_changes(model_type, random, _working(model_type, name)),
    }


def _changes(kind: str, random: Random, given: Config) -> Config:  # noqa: C901 - one branch for each kind of key
    row = recorded()["configs"].get(kind)
    if row is None:
        return given
    fields: Config = {**row["fields"], **given}
    changed = dict(given)
    heads = random.choice([1, 2, 4, 6, 8, 12])
    kv_heads = random.choice([n for n in range(1, heads + 1) if heads % n == 0])
    head_dim = random.choice([8, 16, 32, 64])
    scale = random.choice([1, 1, 2, 3])
    shape = random.random() < 0.75  # else only switches and layers change

    def geometry(key: str, value: Any) -> Config:  # noqa: ANN401 - a value of JSON
        if HEADS.fullmatch(key) and isinstance(value, int):
            return {key: heads}
        if KV_HEADS.fullmatch(key):
            return {key: random.choice([kv_heads, heads])}
        if HEAD_DIM.fullmatch(key) and (value is not None or random.random() < 0.3):
            return {key: head_dim}
        return {key: heads * head_dim * scale} if HIDDEN.fullmatch(key) and isinstance(value, int) else {}

    for key, value in fields.items():
        if LEFT_ALONE.fullmatch(key) or key in row.get("parts", {}):
            continue
        if LAYERS.fullmatch(key):
            if isinstance(value, int) and not isinstance(value, bool):
                changed[key] = random.randint(1, 6)
        elif any(pattern.fullmatch(key) for pattern in (HEADS, KV_HEADS, HEAD_DIM, HIDDEN)):
            if shape:
                changed |= geometry(key, value)
        elif random.random() < 0.25:
            changed |= _changed(key, value, random)
    for key, spec in row.get("parts", {}).items():
        if spec.get("optional") and key not in given:
            continue
        inner = given.get(key) or spec.get("defaults", {})
        kind_of = inner.get("model_type", spec["type"])
        changed[key] = _changes(kind_of, random, inner) | ({"model_type": kind_of} if spec["open"] else {})
    for fit in FITTED.get(kind, ()):
        changed |= fit(random, {**fields, **changed})
    return changed


def _changed(key: str, value: Any, random: Random) -> Config:  # noqa: ANN401 - a value of JSON
    if isinstance(value, bool):
        return {key: not value}
    if isinstance(value, int) and value > 0:
        return {key: random.choice([max(1, value // 2), value, value * 2, max(1, value // 4), value + 8])}
    return {}
