"""DeBERTa: BERT whose scores add a term for the distance between two tokens, from a table that all layers share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Network,
    convolution,
    embedding,
    linear,
    parameter,
    within,
)
from vramguard.memory.families.decoder import even_heads
from vramguard.memory.families.encoder import (
    attends,
    bert_head,
    bert_layer,
    dense,
    encoder,
    layer_norm,
    predicts,
    refuse_decoder,
)
from vramguard.memory.families.fields import shown

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def deberta(c: Fields) -> Body:
    """DeBERTa: one projection without bias, and biases of its own for queries and values."""
    heads, kinds = even_heads(c), _distances(c)
    hidden = heads.hidden
    talks = ("head_logits_proj", "head_weights_proj") if c.flag("talking_head") else ()
    tensors = within(
        "attention.self",
        linear("in_proj", hidden, 3 * hidden),
        parameter("q_bias", hidden),
        parameter("v_bias", hidden),
        *(linear(name, heads.heads, heads.heads) for name in talks),
        linear("pos_proj", hidden, hidden) if "c2p" in kinds else (),
        dense("pos_q_proj", hidden, hidden) if "p2c" in kinds else (),
    )
    attention = Block((*tensors, *dense("attention.output.dense", hidden, hidden)), heads.role())
    return _body(c, attention, 2 * _span(c))


def deberta_v2(c: Fields) -> Body:
    """DeBERTa v2 and v3: three projections, distances in buckets, a norm of their table, perhaps a convolution."""
    heads, kinds = even_heads(c), () if c.flag("share_att_key") else _distances(c)
    hidden = heads.hidden
    if c.optional("attention_head_size") not in (None, heads.head_dim):
        raise UnprovenError("config: attention_head_size is not hidden_size over num_attention_heads")
    path = "attention.self"
    names = (f"{path}.query_proj", f"{path}.key_proj", f"{path}.value_proj", "attention.output.dense")
    positions = (
        dense(f"{path}.pos_key_proj", hidden, hidden) if "c2p" in kinds else (),
        dense(f"{path}.pos_query_proj", hidden, hidden) if "p2c" in kinds else (),
    )
    norms = c.text("norm_rel_ebd") if c.given("norm_rel_ebd") else "none"
    normed = "layer_norm" in [name.strip() for name in norms.lower().split("|")]
    norm = layer_norm("encoder.LayerNorm", hidden) if normed else ()
    body = _body(c, attends(c, heads, names, *positions), 2 * (_positive(c, "position_buckets") or _span(c)))
    return body.beside(norm, _convolution(c, hidden))


def _body(c: Fields, attention: Block, distances: int) -> Body:
    """BERT's layers with their own attention, a table of distances and one of positions, either of which may lack."""
    hidden, width, types = c.size("hidden_size"), _width(c), c.count("type_vocab_size")
    placed, positions = c.flag("position_biased_input"), c.size("max_position_embeddings")
    tables = within(
        "embeddings",
        embedding("word_embeddings", c.size("vocab_size"), width),
        embedding("position_embeddings", positions, width) if placed else (),
        embedding("token_type_embeddings", types, width) if types else (),
        linear("embed_proj", width, hidden) if width != hidden else (),
        layer_norm("LayerNorm", hidden),
    )
    relative = embedding("encoder.rel_embeddings", distances, hidden) if c.flag("relative_attention") else ()
    layers = [bert_layer(c, attention=attention)] * c.layers
    body = encoder(c, layers, tables, relative, buffers=("position_ids",))
    return replace(body, learned_positions=placed)


def _width(c: Fields) -> int:
    """Width of the embeddings."""
    return c.optional("embedding_size") or c.size("hidden_size")


def _distances(c: Fields) -> tuple[str, ...]:
    """What the scores know of distances: c2p, p2c, both or nothing."""
    kinds = c.raw("pos_att_type") or []
    kinds = [kind.strip() for kind in kinds.lower().split("|")] if isinstance(kinds, str) else kinds
    if not isinstance(kinds, list):
        raise UnprovenError(f"config: pos_att_type is {shown(kinds)}, not a list of strings")
    return tuple(kinds) if c.flag("relative_attention") else ()


def _span(c: Fields) -> int:
    """Distances to one side that have a row of their own."""
    return _positive(c, "max_relative_positions") or c.size("max_position_embeddings")


def _positive(c: Fields, key: str) -> int | None:
    """Read an integer that stands for nothing if it is not positive."""
    value = c.raw(key)
    if value is not None and (type(value) is not int or value > 0):
        return c.size(key)
    return None


def _convolution(c: Fields, hidden: int) -> Tensors:
    """A convolution beside the first layer."""
    kernel, groups = _positive(c, "conv_kernel_size"), c.optional("conv_groups") or 1
    if kernel is None:
        return ()
    if hidden % groups:
        raise UnprovenError(f"config: hidden_size {hidden} is no multiple of conv_groups {groups}")
    weights = convolution("conv", (hidden, hidden // groups, kernel), bias=True)
    return within("encoder.conv", weights, layer_norm("LayerNorm", hidden))


def _masked(c: Fields, body: Body) -> Network:
    """BERT's head; or, where it is not `legacy`, one that reads the embedding's own table."""
    refuse_decoder(c)
    body = body.within("deberta")
    if c.flag("legacy"):
        return predicts(c, body, bert_head(c, _width(c)))
    transform = (*dense("dense", body.hidden, body.hidden), *layer_norm("LayerNorm", body.hidden))
    head = within("lm_predictions.lm_head", transform, parameter("bias", body.vocab))
    return Network(replace(body, variant="tied head"), head, tied=True)


BODIES: Final = {"deberta": deberta, "deberta-v2": deberta_v2}
CLASSES: Final = {
    "DebertaForMaskedLM": lambda c: _masked(c, deberta(c)),
    "DebertaV2ForMaskedLM": lambda c: _masked(c, deberta_v2(c)),
}
