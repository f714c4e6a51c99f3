"""ZAYA: convolutions mix queries and keys of neighbouring tokens, and values come half from the token before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import State
from vramguard.memory.families.blocks import (
    Block,
    convolution,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import decoder, grouped_heads, headed, routing, window
from vramguard.memory.families.experts import kinds, mixture

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Heads, Network, Tensors
    from vramguard.memory.families.fields import Fields

HYBRID: Final = "hybrid"
HYBRID_SLIDING: Final = "hybrid_sliding"


def zaya(c: Fields) -> Body:
    """ZAYA: a router of three layers that also reads the one before it, and a class of tokens that no expert gets."""
    heads, size = grouped_heads(c), window(c)
    found = kinds(c, "layer_types", lambda _: HYBRID, (HYBRID, HYBRID_SLIDING))
    layers = [
        (
            rms_norm("input_layernorm", heads.hidden),
            _attention(c, heads, size if kind == HYBRID_SLIDING else None),
            _scaling("post_attention_residual_scale", heads.hidden),
            rms_norm("post_attention_layernorm", heads.hidden),
            _experts(c, first=number == 0),
            _scaling("post_mlp_residual_scale", heads.hidden),
        )
        for number, kind in enumerate(found)
    ]
    return decoder(c, layers).beside(_affine("input_hidden_states", heads.hidden))


def _affine(name: str, hidden: int) -> Tensors:
    return (*parameter(f"{name}_scale", hidden), *parameter(f"{name}_bias", hidden))


def _scaling(name: str, hidden: int) -> Block:
    return Block(within(name, _affine("hidden_states", hidden), _affine("residual", hidden)))


def _attention(c: Fields, heads: Heads, size: int | None) -> Block:
    bias, channels = c.flag("attention_bias"), heads.query + heads.key
    first, second = c.size("cca_time0"), c.size("cca_time1")
    mixes = within(
        "qkv_proj",
        linear("q_proj", heads.hidden, heads.query, bias=bias),
        linear("k_proj", heads.hidden, heads.key, bias=bias),
        linear("v_proj_current", heads.hidden, heads.key // 2, bias=bias),
        linear("v_proj_delayed", heads.hidden, heads.key // 2, bias=bias),
        convolution("conv_qk_depthwise", (channels, 1, first), bias=True),
        convolution("conv_qk_grouped", (channels, heads.head_dim, second), bias=True),
    )
    output = linear("o_proj", heads.query, heads.hidden, bias=bias)
    tensors = within("self_attn", mixes, output, parameter("qk_norm.temp", heads.kv_heads))
    # What the convolutions read of earlier tokens, and the last token's half of its values.
    states = (State(channels * (first + second - 2)), State(heads.key // 2))
    return Block(tensors, heads.role(size), replace(heads.cache(size), states=states))


def _experts(c: Fields, *, first: bool) -> Block:
    hidden, inner, routed = c.size("hidden_size"), c.size("router_hidden_size"), routing(c)
    scores = within(
        "router_mlp",
        norm("norm", inner),
        linear("fc1", inner, inner, bias=True),
        linear("fc2", inner, inner, bias=True),
        linear("out_proj", inner, routed.experts + 1),
    )
    gate = within(
        "gate",
        linear("down_proj", hidden, inner, bias=True),
        () if first else parameter("router_states_scale", inner),
        scores,
    )
    return mixture(hidden, c.size("moe_intermediate_size"), routed, gate=gate)


def _causal(c: Fields) -> Network:
    return headed(c, zaya(c).within("model"), bias=c.flag("lm_head_bias"))


BODIES: Final = {"zaya": zaya}
CLASSES: Final = {"ZayaForCausalLM": _causal}
