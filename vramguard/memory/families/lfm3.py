"""LFM 3: short convolutions, windows and full attention in turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    attention,
    convolution,
    head_norms,
    linear,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import FULL, SLIDING, Stem, causal, decoder, grouped_heads, window
from vramguard.memory.families.kinds import layer_kinds

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Layer
    from vramguard.memory.families.fields import Fields

CONVOLUTION: Final = "conv"


def lfm3(c: Fields) -> Body:
    """LFM 3: attention may have a gate for each head, and norms may stand on both sides."""
    listed, size = layer_kinds(c, _kind, (FULL, SLIDING, CONVOLUTION)), window(c)
    if size is None and SLIDING in listed:
        raise UnprovenError("config: a layer slides, but sliding_window is not in force")
    mixers = _mixers(c, size)
    return decoder(c, [_layer(c, mixers[kind]) for kind in listed], stem=Stem(norm="embedding_norm"))


def _kind(number: int) -> str:
    """Kind of a layer where the config lists none: conv, conv, full, conv, then sliding, conv, full, conv."""
    return {0: SLIDING if number else CONVOLUTION, 2: FULL}.get(number % 4, CONVOLUTION)


def _mixers(c: Fields, size: int | None) -> dict[str, Block]:
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    gate = linear("g_proj", heads.hidden, heads.heads) if c.flag("use_attention_gate") else ()
    more = (*head_norms(heads.head_dim), *gate)
    full, slides = (attention(heads, s, bias=bias, output_bias=bias, norms=more) for s in (None, size))
    return {FULL: full, SLIDING: slides, CONVOLUTION: _short_convolution(c, heads.hidden)}


def _short_convolution(c: Fields, hidden: int) -> Block:
    """A gated convolution over a few tokens, which keeps as many."""
    kernel, bias = c.size("conv_L_cache"), c.flag("conv_bias")
    tensors = (
        *convolution("conv", (hidden, 1, kernel), bias=bias),
        *linear("in_proj", hidden, 3 * hidden, bias=bias),
        *linear("out_proj", hidden, hidden, bias=bias),
    )
    return Block(within("conv", tensors), cache=Cache(states=(State(hidden * kernel),)))


def _layer(c: Fields, mixer: Block) -> Layer:
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    mlp = (*linear("w1", hidden, width), *linear("w3", hidden, width), *linear("w2", width, hidden))
    parts = (rms_norm("operator_norm", hidden), mixer, rms_norm("ffn_norm", hidden), Block(within("feed_forward", mlp)))
    if not c.flag("use_sandwich_norm"):
        return parts
    before, mixes, inner, feeds = parts
    return before, mixes, rms_norm("post_operator_norm", hidden), inner, feeds, rms_norm("post_ffn_norm", hidden)


BODIES: Final = {"lfm3": lfm3}
CLASSES: Final = {"Lfm3ForCausalLM": causal(lfm3)}
