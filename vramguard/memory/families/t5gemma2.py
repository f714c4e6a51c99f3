"""T5Gemma 2: an encoder that sees pictures too, and a decoder whose one attention reads both sides' tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import Block, attention, gated_mlp, head_norms, norm, parameter, within
from vramguard.memory.families.decoder import by_layer, decoder, grouped_heads, sandwiched, window
from vramguard.memory.families.seq2seq import generator, joined

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
    from vramguard.memory.families.fields import Fields

_NORMS: Final = (
    "pre_self_attn_layernorm",
    "post_self_attn_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def t5gemma2(c: Fields) -> Body:
    """T5Gemma 2: queries and keys normed, every so-many-th layer attends to everything, one embedding for all."""
    encoder, second = c.part("encoder"), c.part("decoder")
    first = encoder.part("text_config")
    for key in ("hidden_size", "vocab_size"):
        if first.size(key) != second.size(key):
            raise UnprovenError(f"config: {first.path}{key} and {second.path}{key} differ")
    text, spoken = _side(first, decodes=False).within("text_model"), _side(second, decodes=True)
    if c.flag("tie_word_embeddings"):
        spoken = replace(spoken, outside=tuple(t for t in spoken.outside if not t.name.startswith("embed_tokens.")))
    tower = body_of(encoder.part("vision_config"))
    projector = (
        *parameter("mm_input_projection_weight", tower.hidden, text.hidden),
        *norm("mm_soft_emb_norm", tower.hidden),
    )
    heard = text.beside(tower.within("vision_tower"), within("multi_modal_projector", projector))
    return joined(heard, spoken)


def _side(c: Fields, *, decodes: bool) -> Body:
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    pattern = 6 if c.raw("sliding_window_pattern") is None else c.size("sliding_window_pattern")
    windows = by_layer(c, window(c), lambda i: bool((i + 1) % pattern))
    norms = head_norms(heads.head_dim)
    attends = [attention(heads, size, bias=bias, output_bias=bias, norms=norms) for size in windows]
    if not decodes:
        attends = [block._replace(cache=None) for block in attends]
    mlp = [gated_mlp(heads.hidden, c.size("intermediate_size"))] * c.layers
    # The same projections serve the encoder's tokens, whose keys and values every layer keeps in full.
    read = (Block((), None, Cache(heads.key, heads.key, encoder=True)),) if decodes else ()
    layers = [(*layer, *read) for layer in sandwiched(c, attends, mlp, _NORMS)]
    body = decoder(c, layers)
    return body.beside(parameter("embed_tokens.eoi_embedding", heads.hidden))


BODIES: Final = {"t5gemma2": t5gemma2}
CLASSES: Final = {"T5Gemma2ForConditionalGeneration": generator(t5gemma2, head="lm_head.out_proj")}
