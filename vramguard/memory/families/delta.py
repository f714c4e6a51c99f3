"""Gated delta nets beside attention: Qwen3-Next, the text models of Qwen 3.5, OLMo-Hybrid.

Most layers keep one matrix a head and the last inputs of a convolution; every fourth attends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Tensors,
    attention,
    convolution,
    gated,
    gated_mlp,
    head_norms,
    linear,
    norm,
    parameter,
    rms_norm,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import FULL, causal, decoder, grouped_heads, pre_norm, routing
from vramguard.memory.families.kinds import LINEAR, every, layer_kinds, mixed
from vramguard.memory.families.mamba import FLOAT32

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields


class Delta(NamedTuple):
    """Geometry of a gated delta net: value heads that share the keys of fewer key heads."""

    hidden: int
    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    kernel: int

    @property
    def keys(self) -> int:
        """Width of all keys together, and of all queries."""
        return self.key_heads * self.key_dim

    @property
    def values(self) -> int:
        """Width of all values together."""
        return self.value_heads * self.value_dim

    @property
    def channels(self) -> int:
        """Queries, keys and values, which are convolved."""
        return 2 * self.keys + self.values


def delta_net(g: Delta, projections: Tensors, *, output: str = "out_proj", normed: str = "norm") -> Block:
    """A delta net with the projections of its family."""
    tensors = (
        *projections,
        *convolution("conv1d", (g.channels, 1, g.kernel)),
        *(t for name in ("dt_bias", "A_log") for t in parameter(name, g.value_heads)),
        *norm(normed, g.value_dim),
        *linear(output, g.values, g.hidden),
    )
    states = State(g.channels * g.kernel), State(g.value_heads * g.key_dim * g.value_dim, FLOAT32)
    return Block(within("linear_attn", tensors), cache=Cache(states=states))


def gated_attention(c: Fields) -> Block:
    """Attention whose queries come with a gate of the same width."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    tensors = (
        *linear("q_proj", heads.hidden, 2 * heads.query, bias=bias),
        *linear("k_proj", heads.hidden, heads.key, bias=bias),
        *linear("v_proj", heads.hidden, heads.key, bias=bias),
        *linear("o_proj", heads.query, heads.hidden, bias=bias),
        *head_norms(heads.head_dim),
    )
    return Block(within("self_attn", tensors), heads.role(), heads.cache())


def sparse(c: Fields) -> Block:
    """Experts beside one that sees every token."""
    hidden, routed = c.size("hidden_size"), routing(c)
    tensors = (
        *parameter("gate.weight", routed.experts, hidden),
        *stacked_experts(hidden, c.size("moe_intermediate_size"), routed),
        *within("shared_expert", gated(hidden, c.size("shared_expert_intermediate_size"))),
        *linear("shared_expert_gate", hidden, 1),
    )
    return Block(within("mlp", tensors))


def delta_geometry(c: Fields) -> Delta:
    """Geometry by Qwen's keys."""
    return _geometry(
        c,
        c.size("linear_num_key_heads"),
        c.size("linear_num_value_heads"),
        c.size("linear_key_head_dim"),
        c.size("linear_value_head_dim"),
    )


def qwen3_next(c: Fields) -> Body:
    """Qwen3-Next: delta nets with two fused projections; experts in every decoder_sparse_step-th layer."""
    g = delta_geometry(c)
    fused = (
        *linear("in_proj_qkvz", g.hidden, g.channels + g.values),
        *linear("in_proj_ba", g.hidden, 2 * g.value_heads),
    )
    step, excepted, experts = c.size("decoder_sparse_step"), c.integers("mlp_only_layers"), c.count("num_experts")
    routes = [experts > 0 and i not in excepted and (i + 1) % step == 0 for i in range(c.layers)]
    plain, routed = gated_mlp(g.hidden, c.size("intermediate_size")), sparse(c) if any(routes) else None
    mlps = [routed if routed and each else plain for each in routes]
    return decoder(c, pre_norm(c, mixed(qwen_kinds(c), delta_net(g, fused), gated_attention(c)), mlps))


def qwen3_5(c: Fields) -> Body:
    """Qwen 3.5's text model: delta nets with four projections, a gated MLP."""
    mlp = gated_mlp(c.size("hidden_size"), c.size("intermediate_size"))
    return decoder(c, pre_norm(c, _qwen3_5_mixers(c), [mlp] * c.layers))


def qwen3_5_moe(c: Fields) -> Body:
    """Qwen 3.5's text model with experts in every layer."""
    return decoder(c, pre_norm(c, _qwen3_5_mixers(c), [sparse(c)] * c.layers))


def olmo_hybrid(c: Fields) -> Body:
    """OLMo-Hybrid: delta nets after a norm, attention before one; all queries, and all keys, share a norm."""
    hidden, heads, bias = c.size("hidden_size"), grouped_heads(c), c.flag("attention_bias")
    norms = (*norm("q_norm", heads.query), *norm("k_norm", heads.key))
    attends = attention(heads, bias=bias, output_bias=bias, norms=norms)
    g, mlp = _olmo_geometry(c), gated_mlp(hidden, c.size("intermediate_size"))
    widths = {"q": g.keys, "k": g.keys, "v": g.values, "a": g.value_heads, "b": g.value_heads, "g": g.values}
    projections = tuple(t for name, width in widths.items() for t in linear(f"{name}_proj", hidden, width))
    net = delta_net(g, projections, output="o_proj", normed="o_norm")
    before, after, last = (
        rms_norm(f"{name}_layernorm", hidden) for name in ("input", "post_attention", "post_feedforward")
    )
    kinds = layer_kinds(c, lambda i: FULL if i % 4 == 3 or (c.layers < 4 and i == c.layers - 1) else LINEAR)  # noqa: PLR2004
    if len({*kinds}) == 1:
        raise UnprovenError("config: layer_types has one kind of layers only, which transformers refuses")
    layers = [(before, net, after, mlp) if kind == LINEAR else (attends, after, mlp, last) for kind in kinds]
    return replace(decoder(c, layers), variant="repeated keys" if g.key_heads < g.value_heads else "")


def qwen_kinds(c: Fields) -> list[str]:
    """Kinds of Qwen's layers: every fourth attends, or as full_attention_interval says."""
    step = c.size("full_attention_interval") if c.given("full_attention_interval") else 4
    return layer_kinds(c, every(step))


def delta_projections(g: Delta) -> Tensors:
    """Projections of Qwen 3.5."""
    return (
        *linear("in_proj_qkv", g.hidden, g.channels),
        *linear("in_proj_z", g.hidden, g.values),
        *linear("in_proj_b", g.hidden, g.value_heads),
        *linear("in_proj_a", g.hidden, g.value_heads),
    )


def _qwen3_5_mixers(c: Fields) -> list[Block]:
    g = delta_geometry(c)
    return mixed(qwen_kinds(c), delta_net(g, delta_projections(g)), gated_attention(c))


def _olmo_geometry(c: Fields) -> Delta:
    """OLMo's keys may be null: as many heads as attention has, three quarters of the hidden size wide together."""
    heads = c.size("num_attention_heads")
    key_heads, value_heads = (
        c.derive(key, c.optional(key) or heads) for key in ("linear_num_key_heads", "linear_num_value_heads")
    )
    key_dim = c.optional("linear_key_head_dim") or 3 * c.size("hidden_size") // (4 * key_heads)
    if not key_dim:
        raise UnprovenError("config: linear_key_head_dim, three quarters of hidden_size a head, is 0")
    value_dim = c.derive("linear_value_head_dim", c.optional("linear_value_head_dim") or 2 * key_dim)
    return _geometry(c, key_heads, value_heads, c.derive("linear_key_head_dim", key_dim), value_dim)


def _geometry(c: Fields, key_heads: int, value_heads: int, key_dim: int, value_dim: int) -> Delta:
    if value_heads % key_heads:
        raise UnprovenError(
            f"config: linear_num_value_heads {value_heads} is no multiple of linear_num_key_heads {key_heads}"
        )
    return Delta(c.size("hidden_size"), key_heads, value_heads, key_dim, value_dim, c.size("linear_conv_kernel_dim"))


BODIES: Final = {
    "qwen3_next": qwen3_next,
    "qwen3_5_text": qwen3_5,
    "qwen3_5_moe_text": qwen3_5_moe,
    "olmo_hybrid": olmo_hybrid,
}
CLASSES: Final = {
    "Qwen3NextForCausalLM": causal(qwen3_next),
    "Qwen3_5ForCausalLM": causal(qwen3_5),
    "Qwen3_5MoeForCausalLM": causal(qwen3_5_moe),
    "OlmoHybridForCausalLM": causal(olmo_hybrid),
}
