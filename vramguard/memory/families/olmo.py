"""OLMo and EXAONE 4: no norm before attention and MLP, but after them, or norms without weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import attention, norm, rms_norm, unscaled_norm
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    everywhere,
    grouped_heads,
    pre_norm,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Block, Body, Layer
    from vramguard.memory.families.fields import Fields


def olmo(c: Fields) -> Body:
    """OLMo: Llama whose norms have no weights."""
    bias = c.flag("attention_bias")
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, dense(c), norm=unscaled_norm), norm=unscaled_norm)


def olmo2(c: Fields) -> Body:
    """OLMo 2: norms after attention and MLP, and over all queries and keys together."""
    return decoder(c, post_norm(c, _normed(c, everywhere(c, None)), dense(c)))


def olmo3(c: Fields) -> Body:
    """OLMo 3: OLMo 2, three of four layers slide."""
    windows = by_layer(c, window(c), lambda i: (i + 1) % 4 != 0)
    return decoder(c, post_norm(c, _normed(c, windows), dense(c)))


def exaone4(c: Fields) -> Body:
    """EXAONE 4: norms after attention and MLP, and for each head; all but every n-th layer slide."""
    windows = by_layer(c, window(c), lambda i: (i + 1) % c.size("sliding_window_pattern") != 0)
    return decoder(c, post_norm(c, attend(c, windows, head_norms=True), dense(c)))


def post_norm(c: Fields, attends: Sequence[Block], feeds: Sequence[Block]) -> list[Layer]:
    """Layers with a norm after attention and one after the MLP."""
    hidden = c.size("hidden_size")
    first, second = rms_norm("post_attention_layernorm", hidden), rms_norm("post_feedforward_layernorm", hidden)
    return [(a, first, m, second) for a, m in zip(attends, feeds, strict=True)]


def _normed(c: Fields, windows: Sequence[int | None]) -> list[Block]:
    """Attention whose queries, and whose keys, pass one norm as a whole."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    norms = (*norm("q_norm", heads.query), *norm("k_norm", heads.key))
    return [attention(heads, size, bias=bias, output_bias=bias, norms=norms) for size in windows]


BODIES: Final = {"olmo": olmo, "olmo2": olmo2, "olmo3": olmo3, "exaone4": exaone4}
CLASSES: Final = {
    "OlmoForCausalLM": causal(olmo),
    "Olmo2ForCausalLM": causal(olmo2),
    "Olmo3ForCausalLM": causal(olmo3),
    "Exaone4ForCausalLM": causal(exaone4),
}
