"""Cohere's Command models: attention and MLP side by side after one layer norm without bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor
from vramguard.memory.families.blocks import attention, rms_norm
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    everywhere,
    grouped_heads,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Block, Body
    from vramguard.memory.families.fields import Fields


def cohere(c: Fields) -> Body:
    """Command R: queries and keys may pass a norm with a scale for each head."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    per_head = {"q_norm.weight": heads.heads, "k_norm.weight": heads.kv_heads} if c.flag("use_qk_norm") else {}
    norms = tuple(Tensor(name, (number, heads.head_dim), kind="norm") for name, number in per_head.items())
    blocks = [attention(heads, size, bias=bias, output_bias=bias, norms=norms) for size in everywhere(c, None)]
    return _parallel(c, blocks)


def cohere2(c: Fields) -> Body:
    """Command R7B and A: all but every fourth layer slide."""
    return _windowed(c, c.size("sliding_window_pattern") if c.given("sliding_window_pattern") else 4)


def cohere_compass(c: Fields) -> Body:
    """Compass's text model: Command A, sliding only where layer_types says so."""
    return _windowed(c, 1)


def _windowed(c: Fields, pattern: int) -> Body:
    bias = c.flag("attention_bias")
    windows = by_layer(c, window(c), lambda i: (i + 1) % pattern != 0)
    return _parallel(c, attend(c, windows, bias=bias, output_bias=bias))


def _parallel(c: Fields, attends: Sequence[Block]) -> Body:
    before = rms_norm("input_layernorm", c.size("hidden_size"))
    return decoder(c, [(before, a, m) for a, m in zip(attends, dense(c), strict=True)])


BODIES: Final = {"cohere": cohere, "cohere2": cohere2, "cohere_compass_text": cohere_compass}
CLASSES: Final = {
    "CohereForCausalLM": causal(cohere),
    "Cohere2ForCausalLM": causal(cohere2),
    "CohereCompassForCausalLM": causal(cohere_compass),
}
