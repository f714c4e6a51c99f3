"""Beam: sliding attention with a gate, norms on both sides, experts after the first layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import attention, gated_mlp, head_norms, linear, parameter, rms_norm
from vramguard.memory.families.decoder import by_layer, causal, decoder, grouped_heads, routing, window
from vramguard.memory.families.experts import feed_forward, mixture, sparse_layers

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields


def beam(c: Fields) -> Body:
    """Beam: five layers of six slide, never the last; attention's output passes a gate with a bias for each head."""
    hidden, heads, bias = c.size("hidden_size"), grouped_heads(c), c.flag("attention_bias")
    windows = by_layer(c, window(c), lambda i: bool((i + 1) % 6) and i + 1 < c.layers)
    gate = (*linear("gate_proj", hidden, heads.query), *parameter("gate_bias", heads.heads))
    norms = (*head_norms(heads.head_dim), *gate)
    attends = [attention(heads, size, bias=bias, output_bias=bias, norms=norms) for size in windows]
    mlps = feed_forward(
        sparse_layers(c, lambda i: i >= 3),  # noqa: PLR2004
        lambda: mixture(hidden, c.size("moe_intermediate_size"), routing(c)),
        lambda: gated_mlp(hidden, c.size("intermediate_size")),
    )
    before, after, inner, outer = (
        rms_norm(f"{name}_layernorm", hidden)
        for name in ("input", "post_attention", "pre_feedforward", "post_feedforward")
    )
    return decoder(c, [(before, a, after, inner, m, outer) for a, m in zip(attends, mlps, strict=True)])


BODIES: Final = {"beam": beam}
CLASSES: Final = {"BeamForCausalLM": causal(beam)}
