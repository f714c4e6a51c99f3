"""Llama and the families that follow it: RMS norms, rotary attention with grouped heads, a gated MLP or experts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import fused_attention, fused_gated_mlp, linear, rms_norm
from vramguard.memory.families.decoder import (
    LLAMA,
    Family,
    attend,
    by_layer,
    dense,
    everywhere,
    experts,
    grouped_heads,
    network,
    pre_norm,
    window,
)
from vramguard.memory.families.fields import Nullable

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network
    from vramguard.memory.families.fields import Fields


def llama(c: Fields) -> Network:
    """Llama: every layer attends to everything; biases are the config's choice."""
    bias = c.flag("attention_bias")
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return network(c, LLAMA, pre_norm(c, attention, dense(c, bias=c.flag("mlp_bias"))))


def mistral(c: Fields) -> Network:
    """Mistral: no biases, and all layers slide or none."""
    return network(c, LLAMA, pre_norm(c, attend(c, everywhere(c, window(c))), dense(c)))


def mixtral(c: Fields) -> Network:
    """Mixtral: Mistral with experts in every layer."""
    mlp = [experts(c, "intermediate_size")] * c.layers
    return network(c, LLAMA, pre_norm(c, attend(c, everywhere(c, window(c))), mlp))


def gemma(c: Fields) -> Network:
    """Gemma: Llama with wide heads, its MLP without biases."""
    bias = c.flag("attention_bias")
    return network(c, LLAMA, pre_norm(c, attend(c, everywhere(c, None), bias=bias, output_bias=bias), dense(c)))


def gemma2(c: Fields) -> Network:
    """Gemma 2: every other layer slides, norms stand on both sides, attention scores may be capped."""
    hidden, bias = c.size("hidden_size"), c.flag("attention_bias")
    attention = attend(c, by_layer(c, window(c), lambda i: i % 2 == 0), bias=bias, output_bias=bias)
    inner, outer = (rms_norm(f"{side}_feedforward_layernorm", hidden) for side in ("pre", "post"))
    before, after = (rms_norm(f"{side}_layernorm", hidden) for side in ("input", "post_attention"))
    layers = [(before, a, after, inner, m, outer) for a, m in zip(attention, dense(c), strict=True)]
    return replace(network(c, LLAMA, layers), logit_softcap=not c.is_null("attn_logit_softcapping"))


def phi3(c: Fields) -> Network:
    """Phi-3: Mistral with its projections fused."""
    heads = grouped_heads(c)
    qkv = linear("qkv_proj", heads.hidden, heads.query + 2 * heads.key)
    output = linear("o_proj", heads.query, heads.hidden)
    attention = [fused_attention("self_attn", qkv, output, heads.role(size)) for size in everywhere(c, window(c))]
    mlp = [fused_gated_mlp(heads.hidden, c.size("intermediate_size"))] * c.layers
    return network(c, LLAMA, pre_norm(c, attention, mlp))


FAMILIES: Final = {
    "llama": Family(
        "LlamaForCausalLM",
        llama,
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": Nullable(),
            "head_dim": Nullable(),
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "attention_bias": False,
            "mlp_bias": False,
        },
    ),
    "mistral": Family(
        "MistralForCausalLM",
        mistral,
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": Nullable(),
            "max_position_embeddings": 131072,
            "tie_word_embeddings": False,
            "sliding_window": Nullable(4096),
        },
    ),
    "mixtral": Family(
        "MixtralForCausalLM",
        mixtral,
        {
            "vocab_size": 32000,
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": Nullable(),
            "max_position_embeddings": 131072,
            "tie_word_embeddings": False,
            "sliding_window": Nullable(),
            "num_experts": 8,
            "num_experts_per_tok": 2,
        },
        spellings={"num_experts": ("num_experts", "num_local_experts")},
    ),
    "gemma": Family(
        "GemmaForCausalLM",
        gemma,
        {
            "vocab_size": 256000,
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "head_dim": 256,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "attention_bias": False,
        },
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        gemma2,
        {
            "vocab_size": 256000,
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "sliding_window": Nullable(4096),
            "layer_types": Nullable(),
            "attn_logit_softcapping": Nullable(50),
        },
    ),
    "phi3": Family(
        "Phi3ForCausalLM",
        phi3,
        {
            "vocab_size": 32064,
            "hidden_size": 3072,
            "intermediate_size": 8192,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": Nullable(),
            "head_dim": Nullable(),  # no field of the class, but its attention reads it
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            "sliding_window": Nullable(),
        },
    ),
}
