"""Decoders that try out a mechanism: differential attention, masks made from values, layers passed in cycles."""

from __future__ import annotations

from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Stack,
    attention,
    embedding,
    gated,
    gated_mlp,
    head_norms,
    linear,
    parameter,
    rms_norm,
    unscaled_norm,
    within,
)
from vramguard.memory.families.decoder import (
    Stem,
    causal,
    decoder,
    dense,
    everywhere,
    grouped_heads,
    pre_norm,
    routing,
    window,
)
from vramguard.memory.families.fields import MAX_LAYERS

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def diffllama(c: Fields) -> Body:
    """DiffLlama: each layer attends twice, and four vectors weigh the second against the first."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    if heads.kv_heads % 2:
        raise UnprovenError("config: num_key_value_heads is odd, which diffllama cannot do")
    names = ("lambda_q1", "lambda_k1", "lambda_q2", "lambda_k2")
    vectors = tuple(tensor for name in names for tensor in parameter(name, heads.head_dim))
    block = attention(heads, bias=bias, output_bias=bias, norms=vectors)
    return decoder(c, pre_norm(c, [block] * c.layers, dense(c)))


def doge(c: Fields) -> Body:
    """Doge: a mask from each head's values, residuals with a scale, and perhaps experts of one row each."""
    hidden, has_experts = c.size("hidden_size"), c.flag("is_moe")
    experts = _doge_experts(c) if has_experts else ()
    mlp = within("mlp", gated(hidden, c.size("intermediate_size"), bias=c.flag("mlp_bias")), experts)
    layers: list[Layer] = [
        (
            rms_norm("input_layernorm", hidden),
            attends,
            Block(parameter("input_residual", hidden)),
            rms_norm("post_attention_layernorm", hidden),
            Block(mlp),
            Block(parameter("post_attention_residual", hidden)),
        )
        for attends in _doge_attention(c)
    ]
    return replace(decoder(c, layers), variant="moe" if has_experts else "")


def _doge_attention(c: Fields) -> list[Block]:
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    more = (
        *head_norms(heads.head_dim),
        *parameter("A", heads.kv_heads),
        *linear("dt_proj", heads.key, heads.kv_heads, bias=bias),
    )
    return [attention(heads, size, bias=bias, output_bias=bias, norms=more) for size in everywhere(c, window(c))]


def _doge_experts(c: Fields) -> Tensors:
    """Experts of a pair of vectors each, found by two halves of a key."""
    hidden, routed = c.size("hidden_size"), routing(c)
    keys = isqrt(routed.experts)
    if keys * keys < routed.chosen:
        raise UnprovenError("config: num_experts_per_tok exceeds the experts that keys can name")
    idle = hidden * (routed.experts - routed.chosen)
    tables = (*embedding("down_embed", routed.experts, hidden), *embedding("up_embed", routed.experts, hidden))
    return (*linear("router_gate", hidden, 2 * keys), *(table._replace(idle=idle) for table in tables))


def hrm_text(c: Fields) -> Body:
    """HRM: two stacks, the low one passed several times for each time of the high one; each pass has its own cache."""
    high, low = c.size("H_cycles", MAX_LAYERS), c.size("L_cycles", MAX_LAYERS)
    number = _layers_per_stack(c, high * (low + 1))
    hidden, bias, heads = c.size("hidden_size"), c.flag("attention_bias"), c.size("num_attention_heads")
    geometry = Heads(hidden, heads, heads, c.size("head_dim"))
    gate = linear("gate_proj", hidden, geometry.query, bias=bias)
    attends = attention(geometry, bias=bias, output_bias=bias, norms=gate)
    layer = (attends, gated_mlp(hidden, c.size("intermediate_size"), bias=c.flag("mlp_bias")))
    again = Block((), attends.attention, attends.cache)
    slow, fast = (*layer, *[again] * (high - 1)), (*layer, *[again] * (high * low - 1))
    body = decoder(c, [fast] * number, stem=Stem(layers="L_module.layers"), norm=unscaled_norm)
    return body.beside(Body(hidden, (Stack("H_module.layers", [slow] * number),)), parameter("z_L_init", hidden))


def _layers_per_stack(c: Fields, passes: int) -> int:
    """Layers of each stack. num_hidden_layers counts them too, or all passes, where the config has been saved."""
    number = c.layers if c.is_null("num_layers_per_stack") else c.size("num_layers_per_stack", MAX_LAYERS)
    if number * passes > MAX_LAYERS:
        raise UnprovenError("config: H_cycles and L_cycles make too many layers")
    if not c.is_null("num_layers_per_stack") and c.layers != number * passes:
        raise UnprovenError(f"config: num_hidden_layers is not {number * passes}, the passes through all layers")
    return number


BODIES: Final = {"diffllama": diffllama, "doge": doge, "hrm_text": hrm_text}
CLASSES: Final = {
    "DiffLlamaForCausalLM": causal(diffllama),
    "DogeForCausalLM": causal(doge),
    "HrmTextForCausalLM": causal(hrm_text),
}
