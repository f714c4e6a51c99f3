"""RoBERTa and its kin: BERT whose positions count from after the padding's number, with a head of other names."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Network, Stack, embedding, linear, parameter, within
from vramguard.memory.families.decoder import even_heads
from vramguard.memory.families.encoder import (
    PROJECTIONS,
    after_padding,
    attends,
    bert_layer,
    dense,
    embeddings,
    encoder,
    generates,
    ids,
    layer_norm,
    masked,
    pooler,
    roberta_head,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.architecture import Tensor
    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.encoder import Head
    from vramguard.memory.families.fields import Fields


def roberta(c: Fields) -> Body:
    """RoBERTa: BERT's layers and tables."""
    return encoder(c, [bert_layer(c)] * c.layers, embeddings(c), offset=after_padding(c))


def prelayernorm(c: Fields) -> Body:
    """RoBERTa-PreLayerNorm: norms stand before what they norm, and one at the end."""
    layer = bert_layer(c, norms=("attention.LayerNorm", "intermediate.LayerNorm"))
    last = layer_norm("LayerNorm", c.size("hidden_size"))
    return encoder(c, [layer] * c.layers, embeddings(c), last, offset=after_padding(c))


def xlm_roberta_xl(c: Fields) -> Body:
    """XLM-RoBERTa-XL: norms stand before what they norm, one at the end, none after the embeddings."""
    layer = bert_layer(c, norms=("attention.self_attn_layer_norm", "LayerNorm"))
    last = layer_norm("encoder.LayerNorm", c.size("hidden_size"))
    return encoder(c, [layer] * c.layers, embeddings(c, normed=False), last, offset=after_padding(c))


def xmod(c: Fields) -> Body:
    """X-MOD: XLM-RoBERTa with an adapter for each language in every layer."""
    hidden, languages = c.size("hidden_size"), dict.fromkeys(c.texts("languages") or ())
    width = c.derive("adapter_width", hidden // c.size("adapter_reduction_factor"))
    if not width:
        raise UnprovenError("config: adapter_reduction_factor exceeds hidden_size")
    norm = layer_norm("output.adapter_layer_norm", hidden) if c.flag("adapter_layer_norm") else ()
    adapters = [
        within(f"output.adapter_modules.{name}", dense("dense1", hidden, width), dense("dense2", width, hidden))
        for name in languages
    ]
    last = layer_norm("encoder.LayerNorm", hidden) if c.flag("pre_norm") else ()
    layer = bert_layer(c, norm, *adapters)
    return encoder(c, [layer] * c.layers, embeddings(c), last, offset=after_padding(c))


def longformer(c: Fields) -> Body:
    """Longformer: RoBERTa with projections of their own for the tokens that attend to everything."""
    heads = even_heads(c)
    names = (f"attention.self.{name}_global" for name in ("query", "key", "value"))
    attention = attends(c, heads, PROJECTIONS, *(dense(name, heads.hidden, heads.hidden) for name in names))
    layer = bert_layer(c, attention=attention)
    return encoder(c, [layer] * c.layers, embeddings(c), offset=after_padding(c), buffers=())


def luke(c: Fields) -> Body:
    """LUKE: RoBERTa with a table of entities, which a prompt of text does not look into, and a pooler."""
    heads, width, types = even_heads(c), c.size("entity_emb_size"), c.count("type_vocab_size")
    hidden = heads.hidden
    aware = ("w2e_query", "e2w_query", "e2e_query") if c.flag("use_entity_aware_attention") else ()
    more = (dense(f"attention.self.{name}", hidden, hidden) for name in aware)
    layer = bert_layer(c, attention=attends(c, heads, PROJECTIONS, *more))
    entities = within(
        "entity_embeddings",
        embedding("entity_embeddings", c.size("entity_vocab_size"), width),
        linear("entity_embedding_dense", width, hidden) if width != hidden else (),
        embedding("position_embeddings", c.size("max_position_embeddings"), hidden),
        embedding("token_type_embeddings", types, hidden),
        layer_norm("LayerNorm", hidden),
    )
    outside = (embeddings(c), entities, pooler(c))
    return encoder(c, [layer] * c.layers, *outside, offset=after_padding(c), buffers=())


def luke_masked(c: Fields) -> Network:
    """LUKE's heads: one for words, which has a table of its own, and one for entities, which shares theirs."""
    body, head, tied = luke(c).within("luke"), roberta_head(c), c.flag("tie_word_embeddings")
    words = linear(head.decoder, head.inputs, body.vocab, bias=not tied)  # the tied bias is lm_head's own
    rows, width = c.size("entity_vocab_size"), c.size("entity_emb_size")
    entities = within(
        "entity_predictions",
        parameter("bias", rows),
        within("transform", dense("dense", body.hidden, width), layer_norm("LayerNorm", width)),
        () if tied else linear("decoder", width, rows),
    )
    return Network(body, (*head.transform, *parameter(head.bias, body.vocab), *words, *entities), tied)


def ibert(c: Fields) -> Body:
    """I-BERT: RoBERTa whose Linears and tables are modules of its own, each with a buffer for a quantized copy."""
    body = roberta(c)
    copies = (copy for tensor in body.tensors for copy in _quantized(tensor))
    return replace(
        body,
        stacks=tuple(Stack(stack.path, [_own_modules(layer) for layer in stack.layers]) for stack in body.stacks),
        outside=_own(body.outside),
        buffers=(*ids(c, "position_ids"), *copies),
    )


def _own_modules(layer: Layer) -> Layer:
    return tuple(block._replace(tensors=_own(block.tensors)) for block in layer)


def _own(tensors: Tensors) -> Tensors:
    """Weights of modules that no quantizer knows."""
    return tuple(t._replace(kind="parameter") if t.kind in ("linear", "embedding") else t for t in tensors)


def _quantized(weight: Tensor) -> Tensors:
    """Buffers that I-BERT keeps for one weight."""
    if weight.kind not in ("linear", "embedding"):
        return ()
    copy = weight._replace(name=f"{weight.name}_integer", kind="buffer")
    module, _, part = weight.name.rpartition(".")
    return (copy, copy._replace(name=f"{module}.fc_scaling_factor")) if part == "bias" else (copy,)


def esm(c: Fields) -> Body:
    """ESM: proteins; norms stand before what they norm, positions are learned or rotary, contacts have a head."""
    hidden, kind = c.size("hidden_size"), c.text("position_embedding_type")
    layer = bert_layer(c, norms=("attention.LayerNorm", "LayerNorm"))
    learned, before = kind == "absolute", c.flag("emb_layer_norm_before")
    tables = embeddings(
        c,
        layer_norm("layer_norm", hidden) if before else (),
        positions=None if learned else 0,
        types=False,
        normed=False,
    )
    last = layer_norm("encoder.emb_layer_norm_after", hidden)
    contacts = dense("contact_head.regression", c.layers * c.size("num_attention_heads"), 1)
    offset = after_padding(c) if learned else 0
    body = encoder(c, [layer] * c.layers, tables, last, contacts, offset=offset, buffers=("position_ids",))
    return replace(body, learned_positions=learned)


def esm_masked(c: Fields) -> Network:
    """ESM's head, whose bias is always its own."""
    body, head, tied = esm(c).within("esm"), roberta_head(c), c.flag("tie_word_embeddings")
    decoder = () if tied else linear(head.decoder, head.inputs, body.vocab)
    return Network(body, (*head.transform, *parameter(head.bias, body.vocab), *decoder), tied)


def head_first(c: Fields) -> Head:
    """RoBERTa's head, in a class that builds it before its body."""
    return roberta_head(c)._replace(first=True)


def _rows(
    name: str, prefix: str, body: Bodies, head: Callable[[Fields], Head] = roberta_head
) -> dict[str, Callable[[Fields], Network]]:
    """Both classes of a family."""
    return {f"{name}ForMaskedLM": masked(body, prefix, head), f"{name}ForCausalLM": generates(body, prefix, head)}


CLASSES: Final = {
    **_rows("Roberta", "roberta", roberta),
    **_rows("XLMRoberta", "roberta", roberta, head_first),
    **_rows("Camembert", "roberta", roberta, head_first),
    **_rows("Data2VecText", "data2vec_text", roberta),
    **_rows("RobertaPreLayerNorm", "roberta_prelayernorm", prelayernorm),
    **_rows("XLMRobertaXL", "roberta", xlm_roberta_xl),
    **_rows("Xmod", "roberta", xmod),
    "LongformerForMaskedLM": masked(longformer, "longformer", roberta_head),
    "LukeForMaskedLM": luke_masked,
    "IBertForMaskedLM": masked(ibert, "ibert", roberta_head),
    "EsmForMaskedLM": esm_masked,
}
