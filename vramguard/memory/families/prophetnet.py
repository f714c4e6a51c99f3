"""ProphetNet: a decoder that predicts several tokens at once, each from a stream of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Block, Body, Network, Stack, embedding, layer_norm, linear, norm, within
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.seq2seq import (
    Projections,
    crosses,
    decodes,
    depth,
    embeddings,
    encodes,
    even_heads,
    generator,
    joined,
    projected,
    without_encoder,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Layer
    from vramguard.memory.families.fields import Fields

NAMES: Final = Projections("query_proj", "key_proj", "value_proj", "out_proj")


def prophetnet(c: Fields) -> Body:
    """ProphetNet: relative positions beside learned ones, and an embedding for each stream."""
    decoder = _decoder(c)
    tied = c.flag("tie_word_embeddings")
    tables = embeddings(decoder.hidden, decoder.vocab, tied=tied, name="word_embeddings", shared="word_embeddings")
    return joined(_encoder(c), decoder, tables)


def _encoder(c: Fields) -> Body:
    heads = even_heads(c, "hidden_size", "num_encoder_attention_heads")
    layer = (
        encodes("self_attn", projected(heads, NAMES), heads),
        layer_norm("self_attn_layer_norm", heads.hidden),
        *_feed_forward(c, "encoder_ffn_dim"),
    )
    return _side(c, [layer] * depth(c, "num_encoder_layers"))


def _decoder(c: Fields, *, alone: bool = False) -> Body:
    heads = even_heads(c, "hidden_size", "num_decoder_attention_heads")
    tensors = projected(heads, NAMES)
    relative = linear("relative_pos_embeddings", heads.hidden, c.size("num_buckets") * heads.heads, bias=True)
    cross = crosses("cross_attn", tensors, heads)
    layer: Layer = (
        decodes("self_attn", (*tensors, *relative), heads),
        layer_norm("self_attn_layer_norm", heads.hidden),
    )
    if c.flag("add_cross_attention"):
        cross_norm = layer_norm("cross_attn_layer_norm", heads.hidden)
        layer = (*layer, without_encoder(cross) if alone else cross, cross_norm)
    body = _side(c, [(*layer, *_feed_forward(c, "decoder_ffn_dim"))] * depth(c, "num_decoder_layers"))
    return body.beside(embedding("ngram_embeddings", c.size("ngram"), heads.hidden))


def _feed_forward(c: Fields, width: str) -> Layer:
    hidden, inner = c.size("hidden_size"), c.size(width)
    up, down = linear("intermediate", hidden, inner, bias=True), linear("output", inner, hidden, bias=True)
    return (Block(within("feed_forward", up, down)), layer_norm("feed_forward_layer_norm", hidden))


def _side(c: Fields, layers: Sequence[Layer]) -> Body:
    hidden, positions = c.size("hidden_size"), c.size("max_position_embeddings")
    return Body(
        hidden=hidden,
        stacks=(Stack("layers", layers),),
        outside=(
            *embedding("position_embeddings", positions, hidden),
            *norm("embeddings_layer_norm", hidden, bias=True),
        ),
        vocab=c.size("vocab_size"),
        context=positions,
        learned_positions=True,
    )


def _alone(c: Fields) -> Network:
    """ProphetNet's decoder alone: its embedding stands beside it."""
    body = _decoder(c, alone=True).within("decoder")
    names = ["word_embeddings", "decoder.word_embeddings"]
    kept = names[:1] if c.flag("tie_word_embeddings") else names
    tables = [embedding(name, body.vocab, body.hidden) for name in kept]
    return headed(c, body.beside(*tables).within("prophetnet"))


BODIES: Final = {"prophetnet": prophetnet}
CLASSES: Final = {
    "ProphetNetForConditionalGeneration": generator(prophetnet, "prophetnet"),
    "ProphetNetForCausalLM": _alone,
}
