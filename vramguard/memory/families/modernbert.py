"""Encoders with rotary positions: ModernBERT and those that took Llama's layers or BERT's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import blocks, body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    attention,
    embedding,
    fused_attention,
    gated_mlp,
    linear,
    norm,
    parameter,
    plain_mlp,
    within,
)
from vramguard.memory.families.decoder import (
    attend,
    by_layer,
    decoder,
    dense,
    even_heads,
    grouped_heads,
    headed,
    pre_norm,
)
from vramguard.memory.families.encoder import (
    bert_head,
    embeddings,
    ids,
    layer_norm,
    masked,
    predicts,
    roberta_head,
    uncached,
)
from vramguard.memory.families.llama import llama

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Heads, Layer, Tensors
    from vramguard.memory.families.encoder import Head
    from vramguard.memory.families.fields import Fields

_LONG_WINDOW: Final = 1024  # NeoMME's, which no key sets


def modernbert(c: Fields) -> Body:
    """ModernBERT: most layers see only their neighbours, and the first one has no norm before its attention."""
    heads, width, scaled = even_heads(c), c.size("intermediate_size"), c.flag("norm_bias")
    hidden, bias = heads.hidden, c.flag("attention_bias")
    qkv, output = linear("Wqkv", hidden, 3 * hidden, bias=bias), linear("Wo", hidden, hidden, bias=bias)
    mlp_bias = c.flag("mlp_bias")
    up, down = linear("Wi", hidden, 2 * width, bias=mlp_bias), linear("Wo", width, hidden, bias=mlp_bias)
    before, after = (Block(norm(name, hidden, bias=scaled)) for name in ("attn_norm", "mlp_norm"))
    attentions = [fused_attention("attn", qkv, output, heads, window) for window in _modernbert_windows(c)]
    layers: list[Layer] = [(before, attends, after, plain_mlp(up, down)) for attends in attentions]
    layers[0] = layers[0][1:]
    return Body(
        hidden,
        (Stack("layers", uncached(layers)),),
        (
            *embedding("embeddings.tok_embeddings", c.size("vocab_size"), hidden),
            *norm("embeddings.norm", hidden, bias=scaled),
            *norm("final_norm", hidden, bias=scaled),
        ),
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
        sizes={"head_dim": heads.head_dim},
    )


def eurobert(c: Fields) -> Body:
    """EuroBERT: Llama that sees the whole prompt."""
    return _encoding(llama(c))


def ultrabert(c: Fields) -> Body:
    """Ultrabert: EuroBERT of which two layers in three see only their neighbours."""
    bias = c.flag("attention_bias")
    attentions = attend(c, _ultrabert_windows(c), bias=bias, output_bias=bias)
    return _encoding(decoder(c, pre_norm(c, attentions, dense(c, bias=c.flag("mlp_bias")))))


def esmc(c: Fields) -> Body:
    """ESM C: EuroBERT for proteins, with layer norms, and norms over all queries and over all keys."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    if not heads.hidden == heads.query == heads.key:
        raise UnprovenError("config: the norms of queries and keys are hidden_size wide, but queries or keys are not")
    attends = attention(heads, bias=bias, output_bias=bias, norms=blocks.head_norms(heads.hidden))
    layers = pre_norm(c, [attends] * c.layers, dense(c, bias=c.flag("mlp_bias")), norm=blocks.layer_norm)
    return _encoding(decoder(c, layers))


def nomic_bert(c: Fields) -> Body:
    """Nomic BERT: norms follow what they norm, a gated MLP, no biases."""
    heads = grouped_heads(c)
    layer = _post_norm(attention(heads), gated_mlp(heads.hidden, c.size("intermediate_size")))
    return _bert_like(c, layer, buffers=("position_ids", "token_type_ids"))


def gte(c: Fields) -> Body:
    """GTE: Nomic BERT with biases, but for the gate's."""
    heads, width = grouped_heads(c), c.size("intermediate_size")
    mlp = (
        *linear("gate_proj", heads.hidden, width),
        *linear("up_proj", heads.hidden, width),
        *linear("down_proj", width, heads.hidden, bias=True),
    )
    layer = _post_norm(attention(heads, bias=True, output_bias=True), Block(within("mlp", mlp)))
    return _bert_like(c, layer, types=c.count("type_vocab_size") > 0)


def jina_embeddings_v3(c: Fields) -> Body:
    """Jina embeddings v3: GTE with a plain MLP."""
    heads, width = grouped_heads(c), c.size("intermediate_size")
    mlp = plain_mlp(linear("fc1", heads.hidden, width, bias=True), linear("fc2", width, heads.hidden, bias=True))
    layer = _post_norm(attention(heads, bias=True, output_bias=True), mlp)
    return _bert_like(c, layer, buffers=("position_ids", "token_type_ids"))


def neomme(c: Fields) -> Body:
    """NeoMME: text and patches of images, norms without weights, gates on attention, embeddings of low rank."""
    heads, vocab, rank = grouped_heads(c), c.size("vocab_size"), c.size("embedding_rank")
    hidden, width = heads.hidden, c.size("intermediate_size")
    bias, mlp_bias, patch = c.flag("attention_bias"), c.flag("mlp_bias"), 3 * c.size("patch_size") ** 2
    up, down = linear("up_proj", hidden, width, bias=mlp_bias), linear("down_proj", width, hidden, bias=mlp_bias)
    layers = [
        (Block(parameter("lambdas", 2)), _gated_attention(heads, window, bias=bias), plain_mlp(up, down))
        for window in _neomme_windows(c)
    ]
    outside = (
        *embedding("embed_tokens.word_embeddings", vocab, rank),
        *linear("embed_tokens.embedding_projection", rank, hidden),
        *layer_norm("patch_embeddings.norm", patch),
        *linear("patch_embeddings.up_proj", patch, 2 * hidden),
        *linear("patch_embeddings.down_proj", 2 * hidden, hidden, bias=True),
        *embedding("value_embeddings", vocab, heads.key),
    )
    stacks = (Stack("layers", uncached(layers)),)
    return Body(hidden, stacks, outside, vocab=vocab, context=c.size("max_position_embeddings"))


def _encoding(body: Body) -> Body:
    """A decoder's body, as an encoder that caches nothing."""
    return replace(body, stacks=tuple(Stack(stack.path, uncached(stack.layers)) for stack in body.stacks))


def _post_norm(attends: Block, feeds: Block) -> tuple[Block, ...]:
    hidden = attends.tensors[0].shape[1]
    first, second = (blocks.layer_norm(f"post_{part}_layernorm", hidden) for part in ("attention", "mlp"))
    return (attends, first, feeds, second)


def _bert_like(c: Fields, layer: tuple[Block, ...], *, types: bool = True, buffers: tuple[str, ...] = ()) -> Body:
    """Equal layers under BERT's tables, but for that of positions."""
    return Body(
        c.size("hidden_size"),
        (Stack("layers", uncached([layer] * c.layers)),),
        embeddings(c, positions=0, types=types),
        ids(c, *buffers),
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
    )


def _gated_attention(heads: Heads, window: int | None, *, bias: bool) -> Block:
    """NeoMME's attention: what it gives is scaled by head, gated and projected."""
    projections = (
        linear("q_proj", heads.hidden, heads.query, bias=bias),
        linear("k_proj", heads.hidden, heads.key, bias=bias),
        linear("v_proj", heads.hidden, heads.key, bias=bias),
        parameter("exclusive_self_attention.alpha", heads.heads),
        linear("output_projection.gate_proj", heads.hidden, heads.query),
        linear("output_projection.o_proj", heads.query, heads.hidden, bias=bias),
    )
    return Block(within("self_attn", *projections), heads.role(window))


def _modernbert_windows(c: Fields) -> list[int | None]:
    """Tokens to each side that a layer sees; sliding_window, where a config has it, stands for half of the other."""
    size = c.optional("sliding_window") or c.size("local_attention") // 2
    every = c.size("global_attn_every_n_layers") if c.given("global_attn_every_n_layers") else 3
    return by_layer(c, size, lambda i: i % every != 0)


def _ultrabert_windows(c: Fields) -> list[int | None]:
    """Windows as an older key lists them, or as layer_types does, or of two layers in three."""
    size = c.size("sliding_window")
    if not c.given("attention_windows"):
        return by_layer(c, size, lambda i: (i + 1) % 3 != 0)
    listed = [window or None for window in c.integers("attention_windows")]
    size = next((window for window in listed if window), size)
    if not c.is_null("layer_types"):
        return by_layer(c, size, lambda _: True)
    if len(listed) != c.layers:
        raise UnprovenError(f"config: attention_windows has {len(listed)} entries for {c.layers} layers")
    return [size if window else None for window in listed]


def _neomme_windows(c: Fields) -> list[int | None]:
    """Every sixth layer and the last one see everything; of those that slide, every other one sees further."""
    short, last = c.optional("sliding_window"), c.layers - 1
    windows = by_layer(c, short, lambda i: (i + 1) % 6 != 0 and i != last)
    if None not in windows:
        raise UnprovenError("config: layer_types has no full_attention, which NeoMME needs")
    sliding = [number for number, window in enumerate(windows) if window is not None]
    return [_LONG_WINDOW if number in sliding[1::2] else window for number, window in enumerate(windows)]


def modernbert_lm(c: Fields) -> Network:
    """ModernBERT's head: a Linear, a norm and the embedding."""
    body = modernbert(c).within("model")
    transform = _prediction(c, "head")
    network = headed(c, body, "decoder", bias=c.flag("decoder_bias"))
    return network._replace(head=(*transform, *network.head))


def ultrabert_lm(c: Fields) -> Network:
    """Ultrabert's head: two Linears with a waist between them, and the embedding."""
    network = headed(c, ultrabert(c).within("model"), "head.decoder")
    return network._replace(head=(*_waist(c, "head"), *network.head))


def esmc_lm(c: Fields) -> Network:
    """ESM C's head, a table of its own."""
    body, head = esmc(c).within("esmc"), roberta_head(c)
    return Network(body, (*head.transform, *linear(head.decoder, head.inputs, body.vocab, bias=True)))


def eurobert_lm(c: Fields) -> Network:
    """EuroBERT's head, whose bias is the MLPs'."""
    return headed(c, eurobert(c).within("model"), bias=c.flag("mlp_bias"))


def nomic_lm(c: Fields) -> Network:
    """Nomic BERT's head: BERT's; the class ties it, though it declares no key for that."""
    head = bert_head(c, norm="layer_norm")
    return predicts(
        c,
        nomic_bert(c).within("nomic_bert"),
        head,
        tied=not c.given("tie_word_embeddings") or c.flag("tie_word_embeddings"),
    )


def neomme_lm(c: Fields) -> Network:
    """NeoMME's head: the embedding's two weights, the other way round."""
    body, tied = neomme(c).within("model"), c.flag("tie_word_embeddings")
    rank = c.size("embedding_rank")
    own = (*linear("unembedding_projection", rank, body.hidden), *linear("lm_head", rank, body.vocab))
    return Network(body, () if tied else own, tied)


def modernvbert_lm(c: Fields) -> Network:
    """ModernVBERT: a tower's patches, joined and projected, before ModernBERT."""
    text = _text(c, "modernbert")
    network = headed(c, _seeing(c, ()), bias=text.flag("decoder_bias"))
    return network._replace(head=(*_prediction(text, "projection_head"), *network.head))


def ultravbert_lm(c: Fields) -> Network:
    """UltraVBERT: ModernVBERT with Ultrabert, and a norm of what the tower sees."""
    text = _text(c, "ultrabert")
    network = headed(c, _seeing(c, norm("connector.norm", text.size("hidden_size"))))
    return network._replace(head=(*_waist(text, "projection_head"), *network.head))


def _text(c: Fields, kind: str) -> Fields:
    """The text model's config, whose own keys the head reads too."""
    text = c.part("text_config")
    if text.kind != kind:
        raise UnprovenError(f"config: text_config.model_type is {text.kind}, not {kind}")
    return text


def _seeing(c: Fields, more: Tensors) -> Body:
    """A text model beside a tower and a Linear that joins patches."""
    text, vision = body_of(c.part("text_config")), body_of(c.part("vision_config"))
    joined = vision.hidden * c.size("pixel_shuffle_factor") ** 2
    connector = linear("connector.modality_projection", joined, text.hidden)
    body = text.within("text_model").beside(vision.within("vision_model"), connector, more)
    return body.within("model")


def _prediction(c: Fields, name: str) -> Tensors:
    hidden = c.size("hidden_size")
    weights = linear("dense", hidden, hidden, bias=c.flag("classifier_bias"))
    return within(name, weights, norm("norm", hidden, bias=c.flag("norm_bias")))


def _waist(c: Fields, name: str) -> Tensors:
    hidden, width = c.size("hidden_size"), c.size("prediction_head_size")
    return within(name, linear("linear1", hidden, width), linear("linear2", width, hidden))


def gte_head(c: Fields) -> Head:
    """GTE's head: RoBERTa's, with no bias but the decoder's."""
    return roberta_head(c, bias="")


def jina_head(c: Fields) -> Head:
    """Jina's head: RoBERTa's, in a class that builds it before its body."""
    return roberta_head(c)._replace(first=True)


BODIES: Final = {
    "modernbert": modernbert,
    "eurobert": eurobert,
    "ultrabert": ultrabert,
    "esmc": esmc,
    "neomme": neomme,
}
CLASSES: Final = {
    "ModernBertForMaskedLM": modernbert_lm,
    "EuroBertForMaskedLM": eurobert_lm,
    "UltrabertForMaskedLM": ultrabert_lm,
    "EsmcForMaskedLM": esmc_lm,
    "NomicBertForMaskedLM": nomic_lm,
    "GteForMaskedLM": masked(gte, "gte", gte_head),
    "JinaEmbeddingsV3ForMaskedLM": masked(jina_embeddings_v3, "roberta", jina_head),
    "NeoMMEForMaskedLM": neomme_lm,
    "ModernVBertForMaskedLM": modernvbert_lm,
    "UltraVBertForMaskedLM": ultravbert_lm,
}
