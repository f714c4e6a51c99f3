"""Decoders whose heads have a sink, a learned score that draws attention to nothing: gpt-oss and MiMo V2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Attention, Cache, UnprovenError
from vramguard.memory.families.blocks import Block, attention, linear, parameter, stacked, within
from vramguard.memory.families.decoder import by_layer, causal, decoder, dense, grouped_heads, pre_norm, routing, window
from vramguard.memory.families.experts import feed_forward, mixture, sparse_layers

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def sinks(heads: int) -> Tensors:
    """One learned score for each head."""
    return parameter("sinks", heads)


def gpt_oss(c: Fields) -> Body:
    """gpt-oss: every other layer slides; router and experts have biases, and experts are stored the other way round."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    attends = [
        attention(heads, size, bias=bias, output_bias=bias, norms=sinks(heads.heads))
        for size in by_layer(c, window(c), lambda i: i % 2 == 0)
    ]
    hidden, width, routed = heads.hidden, c.size("intermediate_size"), routing(c)
    tensors = (
        *parameter("router.weight", routed.experts, hidden),
        *parameter("router.bias", routed.experts),
        *stacked("experts.gate_up_proj", routed, hidden, 2 * width),
        *stacked("experts.gate_up_proj_bias", routed, 2 * width),
        *stacked("experts.down_proj", routed, width, hidden),
        *stacked("experts.down_proj_bias", routed, hidden),
    )
    return decoder(c, pre_norm(c, attends, [Block(within("mlp", tensors))] * c.layers))


def mimo_v2_flash(c: Fields) -> Body:
    """MiMo V2: sliding layers have sinks and twice the key heads; values are narrower than keys."""
    size = window(c)
    if not c.is_null("sliding_window_size"):  # an older name, which counts the token itself apart
        size = c.size("sliding_window_size") + 1
    windows = by_layer(c, size, lambda i: i > 0 and (i + 1) % 6 != 0)
    hidden, width = c.size("hidden_size"), c.size("moe_intermediate_size")
    mlp = feed_forward(
        sparse_layers(c, lambda i: i > 0),
        lambda: mixture(hidden, width, routing(c, "n_routed_experts")),
        lambda: dense(c)[0],
    )
    return decoder(c, pre_norm(c, [_narrow_values(c, window) for window in windows], mlp))


def _narrow_values(c: Fields, window: int | None) -> Block:
    hidden, heads, bias = c.size("hidden_size"), c.size("num_attention_heads"), c.flag("attention_bias")
    kv_heads = c.size("num_key_value_heads") * (1 if window is None else 2)
    if heads % kv_heads:
        raise UnprovenError(f"config: num_attention_heads {heads} is no multiple of {kv_heads} key heads")
    width, value = c.size("head_dim"), c.size("v_head_dim")
    tensors = (
        *linear("q_proj", hidden, heads * width, bias=bias),
        *linear("k_proj", hidden, kv_heads * width, bias=bias),
        *linear("v_proj", hidden, kv_heads * value, bias=bias),
        *linear("o_proj", heads * value, hidden),
        *(sinks(heads) if window is not None else ()),
    )
    role = Attention(1, heads, kv_heads, width, window)
    return Block(within("self_attn", tensors), role, Cache(kv_heads * width, kv_heads * value, window))


BODIES: Final = {"gpt_oss": gpt_oss, "mimo_v2_flash": mimo_v2_flash}
CLASSES: Final = {"GptOssForCausalLM": causal(gpt_oss), "MiMoV2FlashForCausalLM": causal(mimo_v2_flash)}
