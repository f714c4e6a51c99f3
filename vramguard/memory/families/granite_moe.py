"""Granite with experts: a shared MLP by choice, and in the newest one sinks and sliding layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Block, attention, linear, parameter, plain_mlp, rms_norm
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    everywhere,
    grouped_heads,
    routing,
    window,
)
from vramguard.memory.families.experts import mixture, router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Layer
    from vramguard.memory.families.fields import Fields


def granitemoe(c: Fields) -> Body:
    """Granite MoE: experts in every layer, biases of attention by choice."""
    return decoder(c, _granite(c, _everywhere(c)))


def granitemoeshared(c: Fields) -> Body:
    """Granite MoE with an MLP that every token passes, where the config gives it a width."""
    return decoder(c, _granite(c, _everywhere(c), shared=c.count("shared_intermediate_size")))


def granitemoe_swa(c: Fields) -> Body:
    """Granite MoE of which every fourth layer sees everything, from the first on; heads have sinks."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    sinks = parameter("sinks", heads.heads)
    windows = by_layer(c, window(c), lambda i: i % 4 != 0)
    attends = [attention(heads, size, bias=bias, output_bias=bias, norms=sinks) for size in windows]
    return decoder(c, _granite(c, attends, shared=c.count("shared_intermediate_size")))


def _everywhere(c: Fields) -> list[Block]:
    bias = c.flag("attention_bias")
    return attend(c, everywhere(c, None), bias=bias, output_bias=bias)


def _granite(c: Fields, attends: Sequence[Block], shared: int = 0) -> list[Layer]:
    hidden, routed = c.size("hidden_size"), routing(c, "num_local_experts")
    experts = mixture(
        hidden,
        c.size("intermediate_size"),
        routed,
        gate=router(routed, hidden, "router"),
        name="block_sparse_moe",
    )
    up, down = linear("input_linear", hidden, 2 * shared), linear("output_linear", shared, hidden)
    beside = (plain_mlp(up, down, name="shared_mlp"),) if shared else ()
    before, after = (rms_norm(f"{side}_layernorm", hidden) for side in ("input", "post_attention"))
    return [(before, block, after, experts, *beside) for block in attends]


BODIES: Final = {
    "granitemoe": granitemoe,
    "granitemoeshared": granitemoeshared,
    "granitemoe_swa": granitemoe_swa,
}
CLASSES: Final = {
    "GraniteMoeForCausalLM": causal(granitemoe),
    "GraniteMoeSharedForCausalLM": causal(granitemoeshared),
    "GraniteMoeSWAForCausalLM": causal(granitemoe_swa),
}
