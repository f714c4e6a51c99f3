"""GLM 4.5 and its like: grouped heads, routed experts with shared ones beside, dense layers where the config says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Heads,
    attention,
    head_norms,
    linear,
    parameter,
    rms_norm,
)
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
from vramguard.memory.families.experts import (
    every_layer,
    feed_forward,
    grouped_experts,
    late_layers,
    mixture,
    router,
    shared_experts,
    sparse_layers,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Block, Body
    from vramguard.memory.families.fields import Fields


def glm4_moe(c: Fields) -> Body:
    """GLM 4.5 to 4.7: the first layers dense, norms of heads and biases but the output's by choice; no MTP layers."""
    attention = attend(c, everywhere(c, None), bias=c.flag("attention_bias"), head_norms=c.flag("use_qk_norm"))
    return decoder(c, pre_norm(c, attention, _after_dense(c, late_layers(c))))


def solar_open(c: Fields) -> Body:
    """Solar Open: GLM 4.5 without dense layers and norms of heads."""
    attention = attend(c, everywhere(c, None), bias=c.flag("attention_bias"))
    return decoder(c, pre_norm(c, attention, _after_dense(c, every_layer(c))))


def dots1(c: Fields) -> Body:
    """dots.llm1: norms of heads, and layers from max_window_layers on slide."""
    size, bias = window(c), c.flag("attention_bias")
    windows = by_layer(c, size, lambda i: size is not None and i >= c.count("max_window_layers"))
    attention = attend(c, windows, bias=bias, output_bias=bias, head_norms=True)
    return decoder(c, pre_norm(c, attention, _after_dense(c, late_layers(c))))


def exaone_moe(c: Fields) -> Body:
    """K-EXAONE: norms of heads, every few layers one that does not slide; experts are counted by keys of their own."""
    windows = by_layer(c, window(c), lambda i: (i + 1) % c.size("sliding_window_pattern") != 0)
    sparse = sparse_layers(c, lambda i: i >= c.count("first_k_dense_replace"))
    return decoder(c, pre_norm(c, attend(c, windows, head_norms=True), _counted(c, sparse)))


def hy_v3(c: Fields) -> Body:
    """Hunyuan 3: norms of heads, biases by choice in attention and in every MLP, the first layer dense."""
    bias = c.flag("attention_bias")
    attention = attend(c, everywhere(c, None), bias=bias, output_bias=bias, head_norms=True)
    mlp = _counted(c, sparse_layers(c, lambda i: i > 0), bias=c.flag("mlp_bias"))
    return decoder(c, pre_norm(c, attention, mlp))


def afmoe(c: Fields) -> Body:
    """AFMoE (Trinity): an output gate in attention, norms on both sides, a Linear as router with a bias beside it."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    more = (*head_norms(heads.head_dim), *linear("gate_proj", heads.hidden, heads.query))
    windows = by_layer(c, window(c), lambda i: (i + 1) % c.size("global_attn_every_n_layers") != 0)
    attends = [attention(heads, size, bias=bias, output_bias=bias, norms=more) for size in windows]
    routed, width = routing(c), c.size("moe_intermediate_size")
    gate = (*linear("router.gate", heads.hidden, routed.experts), *parameter("expert_bias", routed.experts))
    shared = shared_experts(heads.hidden, width * c.size("num_shared_experts"))
    mlp = feed_forward(
        late_layers(c, "num_dense_layers"),
        lambda: mixture(heads.hidden, width, routed, gate=gate, shared=shared),
        lambda: dense(c)[0],
    )
    before, after = (rms_norm(f"{side}_layernorm", heads.hidden) for side in ("input", "post_attention"))
    inner, outer = (rms_norm(f"{side}_mlp_layernorm", heads.hidden) for side in ("pre", "post"))
    return decoder(c, [(before, a, after, inner, m, outer) for a, m in zip(attends, mlp, strict=True)])


def laguna(c: Fields) -> Body:
    """Laguna: each layer may have its own number of heads; a gate for each head, or for each of its elements."""
    windows = by_layer(c, window(c), lambda _: False)
    attends = [_gated_attention(c, number, size) for number, size in zip(_heads_by_layer(c), windows, strict=True)]
    hidden, routed = c.size("hidden_size"), routing(c)
    gate = (*router(routed, hidden), *parameter("gate.e_score_correction_bias", routed.experts))
    shared = shared_experts(hidden, c.size("shared_expert_intermediate_size"))
    mlp = feed_forward(
        sparse_layers(c, lambda i: i > 0),
        lambda: mixture(hidden, c.size("moe_intermediate_size"), routed, gate=gate, shared=shared),
        lambda: dense(c)[0],
    )
    return decoder(c, pre_norm(c, attends, mlp))


def _after_dense(c: Fields, sparse: Sequence[bool]) -> list[Block]:
    return feed_forward(sparse, lambda: grouped_experts(c), lambda: dense(c)[0])


def _counted(c: Fields, sparse: Sequence[bool], *, bias: bool = False) -> list[Block]:
    """Experts that are counted by num_experts and num_shared_experts."""
    hidden, width = c.size("hidden_size"), c.size("moe_intermediate_size")

    def experts() -> Block:
        shared = shared_experts(hidden, width * c.size("num_shared_experts"), bias=bias)
        return mixture(hidden, width, routing(c), shared=shared)

    return feed_forward(sparse, experts, lambda: dense(c, bias=bias)[0])


def _heads_by_layer(c: Fields) -> list[int]:
    listed = c.integers("num_attention_heads_per_layer")
    if not listed:
        return [c.size("num_attention_heads")] * c.layers
    if len(listed) != c.layers:
        raise UnprovenError(f"config: num_attention_heads_per_layer has {len(listed)} entries for {c.layers} layers")
    return list(listed)


def _gated_attention(c: Fields, number: int, size: int | None) -> Block:
    kv_heads, bias, gating = c.size("num_key_value_heads"), c.flag("attention_bias"), c.raw("gating")
    if number < 1 or number % kv_heads:
        raise UnprovenError(f"config: {number} attention heads are no multiple of num_key_value_heads {kv_heads}")
    heads = Heads(c.size("hidden_size"), number, kv_heads, c.size("head_dim"))
    gates = number if gating is True or gating == "per-head" else heads.query
    more = (*head_norms(heads.head_dim), *linear("g_proj", heads.hidden, gates))
    return attention(heads, size, bias=bias, output_bias=bias, norms=more)


BODIES: Final = {
    "glm4_moe": glm4_moe,
    "solar_open": solar_open,
    "dots1": dots1,
    "exaone_moe": exaone_moe,
    "hy_v3": hy_v3,
    "afmoe": afmoe,
    "laguna": laguna,
}
CLASSES: Final = {
    "Glm4MoeForCausalLM": causal(glm4_moe),
    "SolarOpenForCausalLM": causal(solar_open),
    "Dots1ForCausalLM": causal(dots1),
    "ExaoneMoeForCausalLM": causal(exaone_moe),
    "HYV3ForCausalLM": causal(hy_v3),
    "AfmoeForCausalLM": causal(afmoe),
    "LagunaForCausalLM": causal(laguna),
}
