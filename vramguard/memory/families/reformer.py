"""Reformer and Perceiver: attention that never compares all tokens with all, by chunks and hashes or by latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Attention, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    embedding,
    linear,
    parameter,
    within,
)
from vramguard.memory.families.encoder import dense, layer_norm, refuse_decoder
from vramguard.memory.families.fields import MAX_LAYERS

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def reformer(c: Fields) -> Body:
    """Reformer: layers that attend within chunks or by hashes, on two streams; positions may be two short tables."""
    hidden, vocab, kinds = c.size("hidden_size"), c.size("vocab_size"), c.texts("attn_layers") or ()
    if not kinds or {*kinds} - {"local", "lsh"}:
        raise UnprovenError("config: attn_layers is not a list of local and lsh")
    tables = (embedding("word_embeddings", vocab, hidden), _positions(c, hidden))
    return Body(
        hidden,
        (Stack("encoder.layers", [_reformer_layer(c, kind) for kind in kinds]),),
        (*within("embeddings", *tables), *layer_norm("encoder.layer_norm", 2 * hidden)),
        vocab=vocab,
        context=c.size("max_position_embeddings"),
        learned_positions=True,
    )


def _positions(c: Fields, hidden: int) -> Tensors:
    """A row of vectors for each axis, which are joined; or the usual table."""
    if not c.flag("axial_pos_embds"):
        return embedding("position_embeddings.embedding", c.size("max_position_embeddings"), hidden)
    shape, widths = c.integers("axial_pos_shape"), c.integers("axial_pos_embds_dim")
    if len(shape) != len(widths) or sum(widths) != hidden or min((*shape, *widths)) < 1:
        raise UnprovenError("config: axial_pos_shape and axial_pos_embds_dim do not make up hidden_size")
    axes = enumerate(zip(shape, widths, strict=True))
    return tuple(
        tensor
        for axis, (length, width) in axes
        for tensor in parameter("position_embeddings.weights.*", *_along(axis, length, len(shape)), width)
    )


def _along(axis: int, length: int, axes: int) -> list[int]:
    return [length if number == axis else 1 for number in range(axes)]


def _reformer_layer(c: Fields, kind: str) -> Layer:
    """One layer; where it hashes, queries and keys are the same."""
    hidden, heads, head_dim = c.size("hidden_size"), c.size("num_attention_heads"), c.size("attention_head_size")
    width, feed = heads * head_dim, c.size("feed_forward_size")
    names = ("query", "key", "value") if kind == "local" else ("query_key", "value")
    attention = within(
        "attention",
        layer_norm("layer_norm", hidden),
        *(linear(f"self_attention.{name}", hidden, width) for name in names),
        linear("output.dense", width, hidden),
    )
    feeds = within(
        "feed_forward",
        layer_norm("layer_norm", hidden),
        dense("dense.dense", hidden, feed),
        dense("output.dense", feed, hidden),
    )
    return (Block(attention, Attention(1, heads, heads, head_dim)), Block(feeds))


def reformer_masked(c: Fields) -> Network:
    """Reformer's head, which reads both streams and shares nothing.

    There is none here for a decoder: it caches hashes beside its inputs, and keeps these padded to whole chunks.
    """
    refuse_decoder(c)
    body = reformer(c).within("reformer")
    head = (linear("decoder", 2 * body.hidden, body.vocab), parameter("bias", body.vocab))
    return Network(body, within("lm_head", *head))


def perceiver(c: Fields) -> Body:
    """Perceiver: latents read the tokens, layers of latents follow, and each position reads the latents."""
    hidden, latent, positions = c.size("d_model"), c.size("d_latents"), c.size("max_position_embeddings")
    vocab, number, blocks = c.size("vocab_size"), c.size("num_self_attends_per_block", MAX_LAYERS), c.size("num_blocks")
    layer, reads = _self_attention(c, latent), _reading(c, latent, hidden)
    # The decoder's channels are the class's own.
    answers = _perceiver_layer(_Channels(hidden, latent, 8 * 32, hidden), 8, 1, crosses=True)
    passed = [reads[1:], *[layer[1:]] * (number * (blocks - 1)), answers[1:]]
    tables = (embedding("embeddings", vocab, hidden), embedding("position_embeddings", positions, hidden))
    outside = (
        *within("input_preprocessor", *tables),
        *parameter("embeddings.latents", c.size("num_latents"), latent),
        *within("encoder.cross_attention", reads[0].tensors),
        *parameter("decoder.output_position_encodings.position_embeddings", positions, hidden),
        *within("decoder.decoding_cross_attention", answers[0].tensors),
    )
    stacks = (Stack("encoder.self_attends", [layer] * number), Stack("encoder.passed", passed))
    return Body(hidden, stacks, outside, vocab=vocab, context=positions, learned_positions=True)


def perceiver_masked(c: Fields) -> Network:
    """Perceiver's head: the embedding, whatever the config says, with a bias."""
    body = perceiver(c).within("perceiver")
    return Network(body, parameter("embedding_decoder.bias", body.vocab), tied=True)


class _Channels(NamedTuple):
    """Widths of one attention: of what asks and what is read, of keys, and of values."""

    asking: int
    read: int
    keys: int
    values: int


def _reading(c: Fields, latent: int, hidden: int) -> Layer:
    """The layer in which latents read the tokens."""
    shapes = {"q": latent, "kv": hidden}
    shape = c.text("cross_attention_shape_for_attention")
    keys = c.optional("qk_channels") or shapes.get(shape)
    if keys is None:
        raise UnprovenError("config: cross_attention_shape_for_attention is neither q nor kv")
    channels = _Channels(latent, hidden, keys, c.optional("v_channels") or keys)
    heads, widening = c.size("num_cross_attention_heads"), c.size("cross_attention_widening_factor")
    return _perceiver_layer(channels, heads, widening, crosses=True)


def _self_attention(c: Fields, latent: int) -> Layer:
    """A layer of latents."""
    keys = c.optional("qk_channels") or latent
    values = c.optional("v_channels") or keys
    if values != latent:
        raise UnprovenError(f"config: the values of a latent are {values} wide, not d_latents {latent}")
    heads, widening = c.size("num_self_attention_heads"), c.size("self_attention_widening_factor")
    return _perceiver_layer(_Channels(latent, latent, keys, values), heads, widening, crosses=False)


def _perceiver_layer(channels: _Channels, heads: int, widening: int, *, crosses: bool) -> Layer:
    """All weights of a layer, and how it attends."""
    asking, read, keys, values = channels
    if keys % heads or values % heads:
        raise UnprovenError(f"config: {heads} heads do not divide {keys} channels of keys or {values} of values")
    attention = (
        *within("self", layer_norm("layernorm1", asking), layer_norm("layernorm2", read) if crosses else ()),
        *within("self", dense("query", asking, keys), dense("key", read, keys), dense("value", read, values)),
        *dense("output.dense", values, asking),
    )
    feeds = within("mlp", dense("dense1", asking, widening * asking), dense("dense2", widening * asking, asking))
    weights = (*within("attention", attention), *layer_norm("layernorm", asking), *feeds)
    return (Block(weights), Block((), Attention(1, heads, heads, keys // heads)))


CLASSES: Final = {
    "ReformerForMaskedLM": reformer_masked,
    "PerceiverForMaskedLM": perceiver_masked,
}
