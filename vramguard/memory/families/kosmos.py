"""Kosmos-2 and 2.5, and Pix2Struct, whose tower 2.5 has: patches of any picture, placed by row and column."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.bart import sinusoids
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Network,
    Stack,
    embedding,
    layer_norm,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.fields import MAX_LAYERS
from vramguard.memory.families.seq2seq import Projections, crosses, decodes, depth, even_heads, joined, projected
from vramguard.memory.families.towers import dense

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

_WORDS: Final = Projections("query", "key", "value", "output")


class Keys(NamedTuple):
    """Names under which the two configs of the one tower hold its sizes."""

    head_dim: str
    width: str
    rows: str


def placed_vision(keys: Keys) -> Callable[[Fields], Body]:
    """Pix2Struct's tower: a Linear embeds a patch, tables its row and column; gated MLPs, no biases in the layers."""

    def build(c: Fields) -> Body:
        hidden, width, rows = c.size("hidden_size"), c.size(keys.width), c.size(keys.rows)
        heads, head_dim = c.size("num_attention_heads"), c.size(keys.head_dim)
        attention = projected(Heads(hidden, heads, heads, head_dim), _WORDS, bias=False)
        layer = (
            rms_norm("pre_attention_layer_norm", hidden),
            Block(within("attention", attention)),
            rms_norm("pre_mlp_layer_norm", hidden),
            Block(within("mlp", gated_mlp(hidden, width))),
        )
        tables = within(
            "embeddings",
            dense("patch_projection", c.size("patch_embed_hidden_size"), hidden),
            embedding("row_embedder", rows, hidden),
            embedding("column_embedder", rows, hidden),
        )
        return Body(hidden, (Stack("encoder.layer", [layer] * c.layers),), (*tables, *norm("layernorm", hidden)))

    return build


def gated_mlp(hidden: int, width: int) -> Tensors:
    """T5's gated MLP."""
    return (*linear("wi_0", hidden, width), *linear("wi_1", hidden, width), *linear("wo", width, hidden))


def _text(c: Fields, *more: Tensors, inner_norm: bool) -> Body:
    """Kosmos' text model: positions are computed once; norms stand within attention and the MLP too."""
    heads, width = even_heads(c, "embed_dim", "attention_heads"), c.size("ffn_dim")
    hidden, positions = heads.hidden, c.size("max_position_embeddings")
    attention = (*projected(heads), *(norm("inner_attn_ln", hidden, bias=True) if inner_norm else ()))
    mlp = (*dense("fc1", hidden, width), *norm("ffn_layernorm", width, bias=True), *dense("fc2", width, hidden))
    layer = (
        layer_norm("self_attn_layer_norm", hidden),
        decodes("self_attn", attention, heads),
        layer_norm("final_layer_norm", hidden),
        Block(within("ffn", mlp)),
    )
    tables = (*embedding("embed_tokens", c.size("vocab_size"), hidden), *(t for part in more for t in part))
    return Body(
        hidden=hidden,
        stacks=(Stack("layers", [layer] * c.size("layers", MAX_LAYERS)),),
        outside=(*tables, *norm("layer_norm", hidden, bias=True)),
        buffers=sinusoids("embed_positions", positions + 2, hidden),
        vocab=c.size("vocab_size"),
        context=positions,
    )


def _kosmos(c: Fields, text: Body, *, tied: bool) -> Network:
    """Text model, tower, and latent queries that ask about the patches."""
    vision, hidden = c.part("vision_config"), text.hidden
    heads = even_heads(c.part("text_config"), "embed_dim", "attention_heads")
    asks = within(
        "image_to_text_projection",
        dense("dense", vision.size("hidden_size"), hidden),
        parameter("latent_query", c.size("latent_query_num"), hidden),
        within("x_attn", projected(heads)),
    )
    body = text.within("text_model.model").beside(body_of(vision).within("vision_model"), asks)
    return Network(body, () if tied else linear("text_model.lm_head", hidden, text.vocab), tied)


def kosmos2(c: Fields) -> Network:
    """Kosmos-2: behind CLIP's tower."""
    text = c.part("text_config")
    tied = c.flag("tie_word_embeddings") or text.flag("tie_word_embeddings")
    return _kosmos(c, _text(text, inner_norm=True), tied=tied)


def kosmos25(c: Fields) -> Network:
    """Kosmos-2.5: behind Pix2Struct's tower; tokens of pictures and of text differ by a vector."""
    text = c.part("text_config")
    segments = embedding("segment_emb", 2, text.size("embed_dim"))
    return _kosmos(c, _text(text, segments, inner_norm=False), tied=text.flag("tie_word_embeddings"))


def pix2struct(c: Fields) -> Network:
    """Pix2Struct: a T5 that writes what its tower sees; the outer config says whether its head is tied."""
    text, tower = c.part("text_config"), body_of(c.part("vision_config"))
    hidden, number, vocab = text.size("hidden_size"), text.size("num_heads"), text.size("vocab_size")
    heads = Heads(hidden, number, number, text.size("d_kv"))
    if heads.query != hidden or tower.hidden != hidden:
        raise UnprovenError("config: text_config.hidden_size is not num_heads times d_kv, or not the tower's")
    tensors = within("attention", projected(heads, _WORDS, bias=False))
    bias = embedding(
        "self_attention.attention.relative_attention_bias", text.size("relative_attention_num_buckets"), number
    )
    layer = (
        decodes("self_attention", (*tensors, *norm("layer_norm", hidden)), heads),
        crosses("encoder_decoder_attention", (*tensors, *norm("layer_norm", hidden)), heads),
        Block(
            within("mlp", within("DenseReluDense", gated_mlp(hidden, text.size("d_ff"))), norm("layer_norm", hidden))
        ),
    )
    layers: list[Layer] = [(Block(bias), *layer), *[layer] * (depth(text, "num_layers") - 1)]
    outside = (*embedding("embed_tokens", vocab, hidden), *norm("final_layer_norm", hidden))
    writes = Body(hidden, (Stack("layer", layers),), outside, vocab=vocab)
    tied = c.flag("tie_word_embeddings")
    head = () if tied else linear("decoder.lm_head", hidden, vocab)
    return Network(joined(replace(tower, context=0), writes), head, tied)


BODIES: Final = {
    "kosmos_2_5_vision_model": placed_vision(Keys("head_dim", "intermediate_size", "max_num_patches")),
    "pix2struct_vision_model": placed_vision(Keys("d_kv", "d_ff", "seq_len")),
}
CLASSES: Final = {
    "Kosmos2ForConditionalGeneration": kosmos2,
    "Kosmos2_5ForConditionalGeneration": kosmos25,
    "Pix2StructForConditionalGeneration": pix2struct,
}
