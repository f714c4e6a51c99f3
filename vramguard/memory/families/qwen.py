"""Qwen 2 and 3, dense and with experts: Llama's layers with biased projections or with a norm for each head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.decoder import (
    LLAMA,
    Family,
    attend,
    by_layer,
    dense,
    everywhere,
    experts,
    network,
    pre_norm,
    window,
)
from vramguard.memory.families.fields import Nullable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.memory.families.blocks import Block, Network
    from vramguard.memory.families.fields import Fields


def qwen2(c: Fields) -> Network:
    """Qwen2: queries, keys and values have a bias, the output has none."""
    return network(c, LLAMA, pre_norm(c, attend(c, _late_windows(c), bias=True), dense(c)))


def qwen3(c: Fields) -> Network:
    """Qwen3: queries and keys pass a norm; a bias is the config's choice."""
    bias = c.flag("attention_bias")
    attention = attend(c, _late_windows(c), bias=bias, output_bias=bias, head_norms=True)
    return network(c, LLAMA, pre_norm(c, attention, dense(c)))


def qwen2_moe(c: Fields) -> Network:
    """Qwen2-MoE: experts beside one that sees every token; of the first layers every other one slides."""
    slides = c.flag("use_sliding_window")
    size = window(c) if slides else None
    windows = by_layer(c, size, lambda i: slides and i % 2 == 0 and i < c.count("max_window_layers"))
    mlp = _sparse(c, c.size("shared_expert_intermediate_size"))
    return network(c, LLAMA, pre_norm(c, attend(c, windows, bias=c.flag("qkv_bias")), mlp))


def qwen3_moe(c: Fields) -> Network:
    """Qwen3-MoE: Qwen3 with experts; all layers slide or none."""
    bias = c.flag("attention_bias")
    windows = everywhere(c, window(c) if c.flag("use_sliding_window") else None)
    attention = attend(c, windows, bias=bias, output_bias=bias, head_norms=True)
    return network(c, LLAMA, pre_norm(c, attention, _sparse(c)))


def _late_windows(c: Fields) -> list[int | None]:
    """Windows of Qwen2 and Qwen3: layers from max_window_layers on slide, if any do."""
    size = window(c) if c.flag("use_sliding_window") else None
    return by_layer(c, size, lambda i: size is not None and i >= c.count("max_window_layers"))


def _sparse(c: Fields, shared_width: int = 0) -> list[Block]:
    """Experts in every decoder_sparse_step-th layer but those of mlp_only_layers, which have a dense MLP."""
    step, excepted, number = c.size("decoder_sparse_step"), c.integers("mlp_only_layers"), c.count("num_experts")
    routed = [number > 0 and i not in excepted and (i + 1) % step == 0 for i in range(c.layers)]
    if not any(routed):
        return dense(c)
    block = experts(c, "moe_intermediate_size", shared_width)
    return [block if sparse else plain for sparse, plain in zip(routed, dense(c), strict=True)]


_DENSE: Final[Mapping[str, int | bool | Nullable]] = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": Nullable(32),
    "head_dim": Nullable(),  # no field of Qwen2's classes, but their attention reads it
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": Nullable(4096),
    "max_window_layers": 28,
    "layer_types": Nullable(),
}
_SPARSE: Final[Mapping[str, int | bool | Nullable]] = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "head_dim": Nullable(),
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
    "sliding_window": Nullable(4096),
    "decoder_sparse_step": 1,
    "mlp_only_layers": Nullable(),
}

FAMILIES: Final = {
    "qwen2": Family("Qwen2ForCausalLM", qwen2, _DENSE),
    "qwen3": Family("Qwen3ForCausalLM", qwen3, {**_DENSE, "head_dim": 128, "attention_bias": False}),
    "qwen2_moe": Family(
        "Qwen2MoeForCausalLM",
        qwen2_moe,
        {
            **_SPARSE,
            "intermediate_size": 5632,
            "num_attention_heads": 16,
            "num_key_value_heads": Nullable(16),
            "num_experts": 60,
            "num_experts_per_tok": 4,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "qkv_bias": True,
            "max_window_layers": 28,
            "layer_types": Nullable(),
        },
    ),
    "qwen3_moe": Family(
        "Qwen3MoeForCausalLM",
        qwen3_moe,
        {
            **_SPARSE,
            "intermediate_size": 6144,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
            "attention_bias": False,
        },
        spellings={"num_experts": ("num_local_experts", "num_experts")},
    ),
}
