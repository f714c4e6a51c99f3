"""T5Gemma: an encoder and a decoder of Gemma 2's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import gated_mlp, rms_norm
from vramguard.memory.families.decoder import by_layer, decoder, grouped_heads, window
from vramguard.memory.families.seq2seq import Projections, crosses, decodes, generator, joined, projected

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Block, Body, Heads, Layer
    from vramguard.memory.families.fields import Fields

NAMES: Final = Projections(output="o_proj")


def t5gemma(c: Fields) -> Body:
    """T5Gemma: every part of a layer between two norms; every other layer slides, on both sides."""
    encoder = c.part("encoder")
    return joined(_side(encoder), _side(c.part("decoder"), source=encoder.size("hidden_size")))


def _side(c: Fields, source: int | None = None) -> Body:
    """Encoder, or the decoder of an encoder whose hidden size is `source`."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    own = projected(heads, NAMES, bias=bias)
    mlp = _between("feedforward", gated_mlp(heads.hidden, c.size("intermediate_size")), heads)
    layers: list[Layer] = []
    for size in by_layer(c, window(c), lambda i: i % 2 == 0):
        attends = decodes("self_attn", own, heads, size)
        if source is None:
            layers.append((*_between("self_attn", attends._replace(cache=None), heads), *mlp))
        else:
            cross = crosses("cross_attn", projected(heads, NAMES, bias=bias, source=source), heads)
            layers.append((*_between("self_attn", attends, heads), *_between("cross_attn", cross, heads), *mlp))
    return decoder(c, layers)


def _between(name: str, block: Block, heads: Heads) -> Layer:
    """Part of a layer between its two norms."""
    return rms_norm(f"pre_{name}_layernorm", heads.hidden), block, rms_norm(f"post_{name}_layernorm", heads.hidden)


BODIES: Final = {"t5gemma": t5gemma}
CLASSES: Final = {"T5GemmaForConditionalGeneration": generator(t5gemma, head="lm_head.out_proj")}
