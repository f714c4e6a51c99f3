"""Qwen 2 and 3, dense and with experts: Llama's layers with biased projections or with a norm for each head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Block, gated, linear, stacked_experts, within
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    everywhere,
    pre_norm,
    routing,
    window,
)
from vramguard.memory.families.experts import router

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def qwen2(c: Fields) -> Body:
    """Qwen2: queries, keys and values have a bias, the output has none."""
    return decoder(c, pre_norm(c, attend(c, _late_windows(c), bias=True), dense(c)))


def qwen3(c: Fields) -> Body:
    """Qwen3: queries and keys pass a norm; a bias is the config's choice."""
    bias = c.flag("attention_bias")
    attention = attend(c, _late_windows(c), bias=bias, output_bias=bias, head_norms=True)
    return decoder(c, pre_norm(c, attention, dense(c)))


def qwen2_moe(c: Fields) -> Body:
    """Qwen2-MoE: experts beside one that sees every token; of the first layers every other one slides."""
    slides, declared = c.flag("use_sliding_window"), window(c)
    size = declared if slides else None
    windows = by_layer(c, size, lambda i: slides and i % 2 == 0 and i < c.count("max_window_layers"))
    hidden = c.size("hidden_size")
    shared = (
        *within("shared_expert", gated(hidden, c.size("shared_expert_intermediate_size"))),
        *linear("shared_expert_gate", hidden, 1),
    )
    return decoder(c, pre_norm(c, attend(c, windows, bias=c.flag("qkv_bias")), sparse(c, shared)))


def qwen3_moe(c: Fields) -> Body:
    """Qwen3-MoE: Qwen3 with experts; all layers slide or none."""
    bias = c.flag("attention_bias")
    declared = window(c)
    windows = everywhere(c, declared if c.flag("use_sliding_window") else None)
    attention = attend(c, windows, bias=bias, output_bias=bias, head_norms=True)
    return decoder(c, pre_norm(c, attention, sparse(c)))


def _late_windows(c: Fields) -> list[int | None]:
    """Windows of Qwen2 and Qwen3: layers from max_window_layers on slide, if any do."""
    declared = window(c)
    size = declared if c.flag("use_sliding_window") else None
    return by_layer(c, size, lambda i: size is not None and i >= c.count("max_window_layers"))


def sparse(c: Fields, shared: Tensors = ()) -> list[Block]:
    """Experts in every decoder_sparse_step-th layer but those of mlp_only_layers, which have a dense MLP."""
    step, excepted, number = c.size("decoder_sparse_step"), c.integers("mlp_only_layers"), c.count("num_experts")
    routes = [number > 0 and i not in excepted and (i + 1) % step == 0 for i in range(c.layers)]
    if not any(routes):
        return dense(c)
    hidden, routed = c.size("hidden_size"), routing(c)
    experts = stacked_experts(hidden, c.size("moe_intermediate_size"), routed)
    block = Block(within("mlp", router(routed, hidden), experts, shared))
    return [block if is_sparse else plain for is_sparse, plain in zip(routes, dense(c), strict=True)]


BODIES: Final = {"qwen2": qwen2, "qwen3": qwen3, "qwen2_moe": qwen2_moe, "qwen3_moe": qwen3_moe}
CLASSES: Final = {
    "Qwen2ForCausalLM": causal(qwen2),
    "Qwen3ForCausalLM": causal(qwen3),
    "Qwen2MoeForCausalLM": causal(qwen2_moe),
    "Qwen3MoeForCausalLM": causal(qwen3_moe),
}
