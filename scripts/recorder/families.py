"""Configs that training is recorded from: of each family one, four layers deep, whose numbers are told apart."""

from __future__ import annotations

from typing import Any, Final

TOKENS: Final = 131
SEQUENCES: Final = 11
Config = dict[str, Any]
_BASE: Final = {"num_hidden_layers": 4, "vocab_size": 1009, "max_position_embeddings": 512}
_GROUPED: Final = {
    **_BASE, "hidden_size": 345, "intermediate_size": 307, "num_attention_heads": 15, "num_key_value_heads": 5,
    "head_dim": 32,
}  # fmt: skip
_WHOLE: Final = {**_BASE, "hidden_size": 360, "num_attention_heads": 15}
_GROUPED_WHOLE: Final = {**_WHOLE, "num_key_value_heads": 5, "intermediate_size": 307}
_GPT: Final = {"n_embd": 360, "n_layer": 4, "n_head": 15, "n_inner": 307, "vocab_size": 1009, "n_positions": 512}
_TWO_KINDS: Final = {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2}


def _family(model_type: str, name: str, *parts: Config, **more: Any) -> Config:  # noqa: ANN401 - of a config
    config: Config = {"model_type": model_type, "architectures": [name]}
    for part in (*parts, more):
        config |= part
    return config


FAMILIES: Final[dict[str, Config]] = {
    config["model_type"]: config
    for config in (
        _family("llama", "LlamaForCausalLM", _GROUPED),
        _family("mistral", "MistralForCausalLM", _GROUPED, sliding_window=64),
        _family("qwen2", "Qwen2ForCausalLM", _GROUPED_WHOLE),
        _family("qwen3", "Qwen3ForCausalLM", _GROUPED),
        _family("gemma", "GemmaForCausalLM", _GROUPED),
        _family("gemma2", "Gemma2ForCausalLM", _GROUPED, _TWO_KINDS),
        _family("gemma3_text", "Gemma3ForCausalLM", _GROUPED, _TWO_KINDS),
        _family("phi", "PhiForCausalLM", _GROUPED_WHOLE),
        _family("phi3", "Phi3ForCausalLM", _GROUPED_WHOLE, pad_token_id=3, sliding_window=64),
        _family("gpt2", "GPT2LMHeadModel", _GPT),
        _family("gpt_neox", "GPTNeoXForCausalLM", _WHOLE, intermediate_size=307),
        _family("gptj", "GPTJForCausalLM", _GPT, rotary_dim=8),
        _family("opt", "OPTForCausalLM", _WHOLE, ffn_dim=307, word_embed_proj_dim=360),
        _family("bloom", "BloomForCausalLM", hidden_size=360, n_head=15, n_layer=4, vocab_size=1009),
        _family("falcon", "FalconForCausalLM", _WHOLE, ffn_hidden_size=307),
        _family("stablelm", "StableLmForCausalLM", _GROUPED_WHOLE),
        _family("starcoder2", "Starcoder2ForCausalLM", _GROUPED_WHOLE, sliding_window=64),
        _family("smollm3", "SmolLM3ForCausalLM", _GROUPED_WHOLE, pad_token_id=3),
        _family("olmo2", "Olmo2ForCausalLM", _GROUPED_WHOLE),
        _family("granite", "GraniteForCausalLM", _GROUPED_WHOLE),
        _family("cohere", "CohereForCausalLM", _GROUPED_WHOLE),
        _family("glm4", "Glm4ForCausalLM", _GROUPED, pad_token_id=3),
    )
}


def resized(config: Config) -> Config:
    """The family in another size, with other sizes in proportion to each other."""
    changes = {
        "num_hidden_layers": 7, "n_layer": 7, "vocab_size": 3001, "hidden_size": 512, "n_embd": 512,
        "intermediate_size": 1408, "ffn_dim": 1408, "n_inner": 1408, "ffn_hidden_size": 1408,
        "word_embed_proj_dim": 512,
        "num_attention_heads": 8, "n_head": 8, "num_key_value_heads": 2, "head_dim": 64, "rotary_dim": 32,
    }  # fmt: skip
    changed = {**config, **{key: value for key, value in changes.items() if key in config}}
    if "layer_types" in config:
        changed["layer_types"] = (["sliding_attention", "full_attention"] * 4)[:7]
    return changed
