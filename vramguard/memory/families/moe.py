"""Mixtures that are some dense family with experts in place of its MLPs: OLMoE, Phi-MoE, MiniMax M2, ERNIE, Hunyuan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Routing,
    attention,
    gated,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    even_heads,
    everywhere,
    grouped_heads,
    headed,
    pre_norm,
    routing,
    window,
)
from vramguard.memory.families.experts import (
    feed_forward,
    mixture,
    router,
    shared_experts,
    sparse_layers,
    undeclared,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Block, Body, Heads, Network, Tensors
    from vramguard.memory.families.fields import Fields


def olmoe(c: Fields) -> Body:
    """OLMoE: queries and keys are normed over all heads together."""
    kv_heads = grouped_heads(c).kv_heads
    return decoder(c, pre_norm(c, _widely_normed(c, even_heads(c, kv_heads)), _experts_everywhere(c)))


def flex_olmo(c: Fields) -> Body:
    """FlexOlmo: OLMoE with its norms behind attention and experts."""
    hidden = c.size("hidden_size")
    after, last = (rms_norm(f"post_{side}_layernorm", hidden) for side in ("attention", "feedforward"))
    attends = _widely_normed(c, grouped_heads(c))
    return decoder(c, [(a, after, m, last) for a, m in zip(attends, _experts_everywhere(c), strict=True)])


def minimax_m2(c: Fields) -> Body:
    """MiniMax M2: queries and keys are normed over all heads together, no biases."""
    heads = grouped_heads(c)
    attends = [attention(heads, norms=_wide_norms(heads))] * c.layers
    return decoder(c, pre_norm(c, attends, _experts_everywhere(c)))


def phimoe(c: Fields) -> Body:
    """Phi-3.5-MoE: layer norms, and a router that is a Linear; all layers slide or none."""
    bias, hidden, routed = c.flag("attention_bias"), c.size("hidden_size"), routing(c, "num_local_experts")
    attends = attend(c, everywhere(c, window(c)), bias=bias, output_bias=bias)
    gate = linear("router", hidden, routed.experts)
    mlp = [mixture(hidden, c.size("intermediate_size"), routed, gate=gate)] * c.layers
    return decoder(c, pre_norm(c, attends, mlp, norm=layer_norm), norm=layer_norm)


def ernie4_5_moe(c: Fields) -> Body:
    """ERNIE 4.5: experts in every moe_layer_interval-th layer of a range; the router's correction is a parameter."""
    bias = c.flag("use_bias")
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    mlp = feed_forward(_ernie_range(c), lambda: _ernie_experts(c, bias=bias), lambda: dense(c, bias=bias)[0])
    return decoder(c, pre_norm(c, attends, mlp))


def hunyuan_v1_moe(c: Fields) -> Body:
    """Hunyuan-Large: norms of heads, a Linear as router, a shared MLP; layers may choose unequal numbers of experts."""
    heads, bias, width = grouped_heads(c), c.flag("attention_bias"), c.size("intermediate_size")
    norms = (*norm("query_layernorm", heads.head_dim), *norm("key_layernorm", heads.head_dim))
    attends = [attention(heads, bias=bias, output_bias=bias, norms=norms)] * c.layers
    shared = within("shared_mlp", gated(heads.hidden, width))
    gate = linear("gate.wg", heads.hidden, c.size("num_experts"))
    mlp = [mixture(heads.hidden, width, routed, gate=gate, shared=shared) for routed in _chosen_by_layer(c)]
    return decoder(c, pre_norm(c, attends, mlp))


def cohere2_moe(c: Fields) -> Body:
    """Cohere 2 with experts: attention and MLP side by side behind one norm; the first layers may be dense."""
    hidden, bias, first = c.size("hidden_size"), c.flag("attention_bias"), undeclared(c, "first_k_dense_replace", 0)

    def slides(i: int) -> bool:
        key, number = ("prefix_dense_", i) if i < first else ("", i - first)
        return (number + 1) % c.size(f"{key}sliding_window_pattern") != 0

    attends = attend(c, by_layer(c, window(c), slides), bias=bias, output_bias=bias)
    width, always = c.size("intermediate_size"), c.count("num_shared_experts")
    shared = shared_experts(hidden, width * always) if always else ()
    mlp = feed_forward(
        sparse_layers(c, lambda i: i >= first),
        lambda: mixture(hidden, width, routing(c), shared=shared),
        lambda: gated_mlp(hidden, c.optional("prefix_dense_intermediate_size") or width),
    )
    before = rms_norm("input_layernorm", hidden)
    return decoder(c, [(before, a, m) for a, m in zip(attends, mlp, strict=True)])


def _wide_norms(heads: Heads) -> Tensors:
    """Norms over all heads together."""
    return (*norm("q_norm", heads.query), *norm("k_norm", heads.key))


def _widely_normed(c: Fields, heads: Heads) -> list[Block]:
    bias = c.flag("attention_bias")
    return [attention(heads, bias=bias, output_bias=bias, norms=_wide_norms(heads))] * c.layers


def _experts_everywhere(c: Fields) -> list[Block]:
    return [mixture(c.size("hidden_size"), c.size("intermediate_size"), routing(c))] * c.layers


def _ernie_range(c: Fields) -> list[bool]:
    first, last, every = c.count("moe_layer_start_index"), c.raw("moe_layer_end_index"), c.size("moe_layer_interval")
    if type(last) is not int or last < -1:
        raise UnprovenError("config: moe_layer_end_index is not the number of a layer")
    end = c.layers - 1 if last == -1 else last
    return [(i + 1) % every == 0 and first <= i <= end for i in range(c.layers)]


def _ernie_experts(c: Fields, *, bias: bool) -> Block:
    hidden, width, routed = c.size("hidden_size"), c.size("moe_intermediate_size"), routing(c)
    gate = (*router(routed, hidden), *parameter("gate.moe_statics.e_score_correction_bias", 1, routed.experts))
    always = c.count("moe_num_shared_experts")
    shared = shared_experts(hidden, width * always, bias=bias) if always else ()
    return mixture(hidden, width, routed, gate=gate, shared=shared)


def _chosen_by_layer(c: Fields) -> list[Routing]:
    experts, chosen = c.size("num_experts"), c.raw("moe_topk")
    if not isinstance(chosen, list):
        return [routing(c, "num_experts", "moe_topk")] * c.layers
    numbers = c.integers("moe_topk")[: c.layers]
    if len(numbers) < c.layers or not all(0 < number <= experts for number in numbers):
        raise UnprovenError("config: moe_topk is not a number of experts for each layer")
    return [Routing(experts, number) for number in numbers]


def _ernie_causal(c: Fields) -> Network:
    return headed(c, ernie4_5_moe(c).within("model"), bias=c.flag("use_bias"))


def _phimoe_causal(c: Fields) -> Network:
    return headed(c, phimoe(c).within("model"), bias=c.flag("lm_head_bias"))


BODIES: Final = {
    "olmoe": olmoe,
    "flex_olmo": flex_olmo,
    "minimax_m2": minimax_m2,
    "phimoe": phimoe,
    "ernie4_5_moe": ernie4_5_moe,
    "hunyuan_v1_moe": hunyuan_v1_moe,
    "cohere2_moe": cohere2_moe,
}
CLASSES: Final = {
    "OlmoeForCausalLM": causal(olmoe),
    "FlexOlmoForCausalLM": causal(flex_olmo),
    "MiniMaxM2ForCausalLM": causal(minimax_m2),
    "PhimoeForCausalLM": _phimoe_causal,
    "Ernie4_5_MoeForCausalLM": _ernie_causal,
    "HunYuanMoEV1ForCausalLM": causal(hunyuan_v1_moe),
    "Cohere2MoeForCausalLM": causal(cohere2_moe),
}
