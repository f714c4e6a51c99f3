"""Llama and the families that follow it: RMS norms, rotary attention with grouped heads, a gated MLP or experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import fused_attention, fused_gated_mlp, linear, rms_norm
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    everywhere,
    grouped_heads,
    pre_norm,
    routing,
    window,
)
from vramguard.memory.families.experts import mixture

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields


def llama(c: Fields) -> Body:
    """Llama: every layer attends to everything; biases are the config's choice."""
    bias = c.flag("attention_bias")
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attention, dense(c, bias=c.flag("mlp_bias"))))


def mistral(c: Fields) -> Body:
    """Mistral: no biases, and all layers slide or none."""
    return decoder(c, pre_norm(c, attend(c, everywhere(c, window(c))), dense(c)))


def mixtral(c: Fields) -> Body:
    """Mixtral: Mistral with experts in every layer."""
    hidden, routed = c.size("hidden_size"), routing(c)
    mlp = [mixture(hidden, c.size("intermediate_size"), routed)] * c.layers
    return decoder(c, pre_norm(c, attend(c, everywhere(c, window(c))), mlp))


def gemma(c: Fields) -> Body:
    """Gemma: Llama with wide heads, its MLP without biases."""
    bias = c.flag("attention_bias")
    return decoder(c, pre_norm(c, attend(c, everywhere(c, None), bias=bias, output_bias=bias), dense(c)))


def gemma2(c: Fields) -> Body:
    """Gemma 2: every other layer slides, norms stand on both sides, attention scores may be capped."""
    hidden, bias = c.size("hidden_size"), c.flag("attention_bias")
    attention = attend(c, by_layer(c, window(c), lambda i: i % 2 == 0), bias=bias, output_bias=bias)
    inner, outer = (rms_norm(f"{side}_feedforward_layernorm", hidden) for side in ("pre", "post"))
    before, after = (rms_norm(f"{side}_layernorm", hidden) for side in ("input", "post_attention"))
    return decoder(c, [(before, a, after, inner, m, outer) for a, m in zip(attention, dense(c), strict=True)])


def phi3(c: Fields) -> Body:
    """Phi-3: Mistral with its projections fused."""
    heads = grouped_heads(c)
    qkv = linear("qkv_proj", heads.hidden, heads.query + 2 * heads.key)
    output = linear("o_proj", heads.query, heads.hidden)
    attention = [fused_attention("self_attn", qkv, output, heads, size) for size in everywhere(c, window(c))]
    mlp = [fused_gated_mlp(heads.hidden, c.size("intermediate_size"))] * c.layers
    return decoder(c, pre_norm(c, attention, mlp))


BODIES: Final = {
    "llama": llama,
    "mistral": mistral,
    "mixtral": mixtral,
    "gemma": gemma,
    "gemma2": gemma2,
    "phi3": phi3,
}
CLASSES: Final = {
    "LlamaForCausalLM": causal(llama),
    "MistralForCausalLM": causal(mistral),
    "MixtralForCausalLM": causal(mixtral),
    "GemmaForCausalLM": causal(gemma),
    "Gemma2ForCausalLM": causal(gemma2),
    "Phi3ForCausalLM": causal(phi3),
}
