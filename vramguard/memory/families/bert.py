"""BERT and those that differ from it in the tables before its layers, or in a switch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Block, Network, Stack, embedding, within
from vramguard.memory.families.decoder import even_heads
from vramguard.memory.families.encoder import (
    Head,
    attends,
    bert_layer,
    dense,
    electra_head,
    embeddings,
    encoder,
    generates,
    layer_norm,
    masked,
    pooler,
    refuse_decoder,
    roberta_head,
)
from vramguard.memory.families.fields import MAX_LAYERS

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields


def bert(c: Fields) -> Body:
    """BERT: norms follow what they norm, biases everywhere."""
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c))


def ernie(c: Fields) -> Body:
    """ERNIE: BERT with a table of tasks, if use_task_id."""
    task = embedding("task_type_embeddings", c.size("task_type_vocab_size"), c.size("hidden_size"))
    more = (task,) if c.flag("use_task_id") else ()
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, *more))


def roc_bert(c: Fields) -> Body:
    """RoCBERT: words have tables of how they sound and look too, which a Linear joins if concat_input."""
    hidden, joined = c.size("hidden_size"), c.size("hidden_size")
    tables: list[Tensors] = []
    for key, prefix in (("enable_pronunciation", "pronunciation"), ("enable_shape", "shape")):
        width = c.size(f"{prefix}_embed_dim")
        tables.append(embedding(f"{prefix}_embed", c.size(f"{prefix}_vocab_size"), width))
        joined += width if c.flag(key) else 0
    if c.flag("concat_input"):
        tables.append(dense("map_inputs_layer", joined, hidden))
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, *tables))


def layoutlm(c: Fields) -> Body:
    """LayoutLM: BERT with tables of where a word stands on its page, and a pooler in every class."""
    places, hidden = c.size("max_2d_position_embeddings"), c.size("hidden_size")
    tables = [embedding(f"{axis}_position_embeddings", places, hidden) for axis in "xyhw"]
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, *tables), pooler(c), buffers=("position_ids",))


def tapas(c: Fields) -> Body:
    """TAPAS: BERT with one table of token types for each of what a table's cell is."""
    rows, hidden = c.integers("type_vocab_sizes"), c.size("hidden_size")
    if not rows or min(rows) < 1:
        raise UnprovenError("config: type_vocab_sizes is not a list of positive integers")
    tables = [embedding(f"token_type_embeddings_{number}", row, hidden) for number, row in enumerate(rows)]
    body = encoder(c, [bert_layer(c)] * c.layers, embeddings(c, *tables, types=False), buffers=())
    # Positions count from each cell's start, and those after the last one share its row.
    return replace(body, learned_positions=not c.flag("reset_position_index_per_cell"))


def bert_generation(c: Fields) -> Body:
    """BERT for generation: no types of token."""
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, types=False), buffers=("position_ids",))


def megatron_bert(c: Fields) -> Body:
    """Megatron-BERT: norms stand before what they norm, and one at the end."""
    layer, last = bert_layer(c, norms=("attention.ln", "ln")), layer_norm("encoder.ln", c.size("hidden_size"))
    return encoder(c, [layer] * c.layers, embeddings(c, normed=False), last, buffers=("position_ids",))


def electra(c: Fields) -> Body:
    """ELECTRA: BERT with embeddings that may be narrower than the layers."""
    width, hidden = c.size("embedding_size"), c.size("hidden_size")
    projection = dense("embeddings_project", width, hidden) if width != hidden else ()
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, width=width), projection)


def rembert(c: Fields) -> Body:
    """RemBERT: BERT with narrow embeddings for the input and a wide table for the output."""
    width = c.size("input_embedding_size")
    projection = dense("encoder.embedding_hidden_mapping_in", width, c.size("hidden_size"))
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c, width=width), projection, buffers=("position_ids",))


def distilbert(c: Fields) -> Body:
    """DistilBERT: BERT without types of token, under names of its own."""
    heads, width = even_heads(c), c.size("hidden_dim")
    names = ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin")
    layer = (
        attends(c, heads, names),
        Block(layer_norm("sa_layer_norm", heads.hidden)),
        Block((*dense("ffn.lin1", heads.hidden, width), *dense("ffn.lin2", width, heads.hidden))),
        Block(layer_norm("output_layer_norm", heads.hidden)),
    )
    tables = embeddings(c, types=False)
    return encoder(c, [layer] * c.layers, tables, path="transformer.layer", buffers=("position_ids",))


def mpnet(c: Fields) -> Body:
    """MPNet: BERT without types of token, with a bias by distance that all layers share."""
    heads = even_heads(c)
    names = ("attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o")
    layer = bert_layer(c, norms=("attention.LayerNorm", "output.LayerNorm"), attention=attends(c, heads, names))
    bias = embedding("encoder.relative_attention_bias", c.size("relative_attention_num_buckets"), heads.heads)
    # Positions count from the one after the padding's, whose row is always 1 whatever pad_token_id says.
    return encoder(c, [layer] * c.layers, embeddings(c, types=False), bias, offset=2, buffers=("position_ids",))


def albert(c: Fields) -> Body:
    """ALBERT: narrow embeddings, and layers that share the weights of their group, mostly of a single one."""
    heads, width, narrow = even_heads(c), c.size("intermediate_size"), c.size("embedding_size")
    hidden, groups, inner = heads.hidden, c.size("num_hidden_groups"), c.size("inner_group_num", MAX_LAYERS)
    names = ("attention.query", "attention.key", "attention.value", "attention.dense")
    attention = attends(c, heads, names)
    shared = within(
        "encoder.albert_layer_groups.*.albert_layers.*",
        (*attention.tensors, *layer_norm("attention.LayerNorm", hidden)),
        (*dense("ffn", hidden, width), *dense("ffn_output", width, hidden)),
        layer_norm("full_layer_layer_norm", hidden),
    )
    weights = tuple(tensor._replace(copies=groups * inner) for tensor in shared)
    projection = dense("encoder.embedding_hidden_mapping_in", narrow, hidden)
    # The layers stand here without weights: a token passes each, however few groups there are.
    layer = (Block((), attention.attention),) * inner
    body = encoder(c, [layer] * c.layers, embeddings(c, width=narrow), projection, weights)
    variant = "inner groups" if inner > 1 else ""  # the output of each stays alive
    return replace(body, stacks=(Stack("encoder.layers", [layer] * c.layers),), variant=variant)


def distilbert_head(c: Fields) -> Head:
    """DistilBERT's head."""
    hidden = c.size("hidden_size")
    transform = (*dense("vocab_transform", hidden, hidden), *layer_norm("vocab_layer_norm", hidden))
    return Head(transform, "vocab_projector", hidden)


def albert_head(c: Fields) -> Head:
    """ALBERT's head: down to the width of the embedding."""
    width = c.size("embedding_size")
    transform = within("predictions", dense("dense", c.size("hidden_size"), width), layer_norm("LayerNorm", width))
    return Head(transform, "predictions.decoder", width, "predictions.bias")


def bert_generation_head(c: Fields) -> Head:
    """BERT for generation's head: the embedding with a bias, and no transform."""
    return Head((), "lm_head.decoder", c.size("hidden_size"), "lm_head.bias")


def rembert_lm(c: Fields) -> Network:
    """RemBERT's head, a table of its own: it is wider than the embedding, and nothing ties them."""
    body, width = rembert(c).within("rembert"), c.size("output_embedding_size")
    transform = (*dense("dense", body.hidden, width), *layer_norm("LayerNorm", width))
    return Network(body, within("cls.predictions", transform, dense("decoder", width, body.vocab)))


def rembert_masked(c: Fields) -> Network:
    """RemBERT's head under layers that may not be a decoder's."""
    refuse_decoder(c)
    return rembert_lm(c)


CLASSES: Final = {
    "BertForMaskedLM": masked(bert, "bert"),
    "BertLMHeadModel": generates(bert, "bert"),
    "ErnieForMaskedLM": masked(ernie, "ernie"),
    "ErnieForCausalLM": generates(ernie, "ernie"),
    "RoCBertForMaskedLM": masked(roc_bert, "roc_bert"),
    "RoCBertForCausalLM": generates(roc_bert, "roc_bert"),
    "LayoutLMForMaskedLM": masked(layoutlm, "layoutlm"),
    "TapasForMaskedLM": masked(tapas, "tapas"),
    "BertGenerationDecoder": generates(bert_generation, "bert", bert_generation_head),
    "MegatronBertForMaskedLM": masked(megatron_bert, "bert"),
    "MegatronBertForCausalLM": generates(megatron_bert, "bert"),
    "ElectraForMaskedLM": masked(electra, "electra", electra_head),
    "ElectraForCausalLM": generates(electra, "electra", electra_head),
    "RemBertForMaskedLM": rembert_masked,
    "RemBertForCausalLM": rembert_lm,
    "DistilBertForMaskedLM": masked(distilbert, "distilbert", distilbert_head),
    "MPNetForMaskedLM": masked(mpnet, "mpnet", roberta_head),
    "AlbertForMaskedLM": masked(albert, "albert", albert_head),
}
