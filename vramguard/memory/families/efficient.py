"""BERT with something else than full attention, or with smaller Linears: fewer scores, convolutions, a transform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import blocks
from vramguard.memory.families.blocks import Block, Heads, convolution, embedding, linear, parameter, within
from vramguard.memory.families.decoder import divide, even_heads
from vramguard.memory.families.encoder import (
    PROJECTIONS,
    Head,
    attends,
    bert_head,
    bert_layer,
    dense,
    electra_head,
    embeddings,
    encoder,
    feeds,
    generates,
    layer_norm,
    masked,
    pooler,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.fields import Fields

_OFFSET: Final = 2  # rows of a table of positions before the first


def roformer(c: Fields) -> Body:
    """RoFormer: rotary positions, kept as a weight that is never learned, and embeddings that may be narrow."""
    width, hidden = _roformer_width(c), c.size("hidden_size")
    projection = dense("embeddings_project", width, hidden) if width != hidden else ()
    head_dim = divide(c, "hidden_size", "num_attention_heads")
    table = embedding("encoder.embed_positions", c.size("max_position_embeddings"), head_dim)
    tables = embeddings(c, width=width, positions=0)
    return encoder(c, [bert_layer(c)] * c.layers, tables, projection, table, buffers=())


def big_bird(c: Fields) -> Body:
    """BigBird: BERT that looks at a few blocks of a long prompt, and at all of a short one; a pooler in every class."""
    if c.text("attention_type") not in ("original_full", "block_sparse"):
        raise UnprovenError("config: attention_type is neither original_full nor block_sparse")
    attention = blocks.named_attention(
        even_heads(c), PROJECTIONS, bias=c.flag("use_bias"), output_bias=True, cached=c.flag("is_decoder")
    )
    return encoder(c, [bert_layer(c, attention=attention)] * c.layers, embeddings(c), pooler(c, "pooler"))


def nystromformer(c: Fields) -> Body:
    """Nystromformer: attention by landmarks, and a convolution of the values."""
    return _late(c, _depthwise(c, c.size("conv_kernel_size")))


def yoso(c: Fields) -> Body:
    """YOSO: attention by hashes, perhaps with a convolution of the values."""
    window = c.optional("conv_window")
    return _late(c, () if window is None else _depthwise(c, window))


def mra(c: Fields) -> Body:
    """MRA: attention at several resolutions."""
    return _late(c, ())


def fnet(c: Fields) -> Body:
    """FNet: a Fourier transform in place of attention, and a pooler."""
    hidden = c.size("hidden_size")
    if c.flag("use_tpu_fourier_optimizations"):  # it keeps tables of the transform, if scipy is installed
        raise UnprovenError("config: use_tpu_fourier_optimizations is true: what it keeps depends on what is installed")
    first, second = (Block(layer_norm(name, hidden)) for name in ("fourier.output.LayerNorm", "output.LayerNorm"))
    tables = embeddings(c, dense("projection", hidden, hidden))
    return encoder(c, [(first, feeds(c), second)] * c.layers, tables, pooler(c))


def squeezebert(c: Fields) -> Body:
    """SqueezeBERT: BERT whose Linears are convolutions of width one, in groups; a pooler in every class."""
    heads, width = even_heads(c), c.size("intermediate_size")
    hidden = heads.hidden
    if c.size("embedding_size") != hidden:
        raise UnprovenError("config: embedding_size is not hidden_size")
    projections = [_grouped(c, f"attention.{name}", f"{name[0]}_groups", hidden, hidden) for name in _QKV]
    layer = (
        Block(tuple(tensor for part in projections for tensor in part), heads.role()),
        Block(_grouped(c, "post_attention.conv1d", "post_attention_groups", hidden, hidden)),
        Block(layer_norm("post_attention.layernorm", hidden)),
        Block(_grouped(c, "intermediate.conv1d", "intermediate_groups", hidden, width)),
        Block(_grouped(c, "output.conv1d", "output_groups", width, hidden)),
        Block(layer_norm("output.layernorm", hidden)),
    )
    tables = embeddings(c)
    return encoder(c, [layer] * c.layers, tables, pooler(c), path="encoder.layers", buffers=("position_ids",))


def convbert(c: Fields) -> Body:
    """ConvBERT: half of the heads attend, a convolution with a kernel made for each token does the other half."""
    heads, hidden, narrow = _convbert_heads(c), c.size("hidden_size"), c.size("embedding_size")
    projection = dense("embeddings_project", narrow, hidden) if narrow != hidden else ()
    layer = bert_layer(c, attention=_mixed_attention(heads, c.size("conv_kernel_size")))
    groups = c.size("num_groups")
    if groups > 1:
        layer = (*layer[:2], _grouped_feeds(c, groups), *layer[3:])
    return encoder(c, [layer] * c.layers, embeddings(c, width=narrow), projection)


def mobilebert(c: Fields) -> Body:
    """MobileBERT: thin layers between bottlenecks, several MLPs in each, words of three neighbours."""
    hidden, narrow = c.size("hidden_size"), c.size("embedding_size")
    tables = within(
        "embeddings",
        embedding("word_embeddings", c.size("vocab_size"), narrow),
        embedding("position_embeddings", c.size("max_position_embeddings"), hidden),
        embedding("token_type_embeddings", c.count("type_vocab_size"), hidden),
        dense("embedding_transformation", (3 if c.flag("trigram_input") else 1) * narrow, hidden),
        layer_norm("LayerNorm", hidden),
    )
    return encoder(c, [_mobile_layer(c)] * c.layers, tables, buffers=("position_ids",))


def mobilebert_head(c: Fields) -> Head:
    """MobileBERT's head: the embedding, and a Linear over the vocabulary that makes it as wide as the layers."""
    head, narrow = bert_head(c), c.size("embedding_size")
    if narrow > c.size("hidden_size"):
        raise UnprovenError("config: embedding_size exceeds hidden_size")
    extra = linear("cls.predictions.dense", c.size("vocab_size"), c.size("hidden_size") - narrow)
    return head._replace(transform=(*head.transform, *extra), inputs=narrow)


def roformer_head(c: Fields) -> Head:
    """BERT's head, down to the width of the embedding."""
    return bert_head(c, _roformer_width(c))


def _roformer_width(c: Fields) -> int:
    return c.optional("embedding_size") or c.size("hidden_size")


def _late(c: Fields, more: Tensors) -> Body:
    """BERT with an attention of its own, whose positions begin at two."""
    layer = bert_layer(c, attention=attends(c, even_heads(c), PROJECTIONS, more))
    return encoder(c, [layer] * c.layers, embeddings(c, positions=c.size("max_position_embeddings") + _OFFSET))


def _depthwise(c: Fields, kernel: int) -> Tensors:
    """A convolution along the tokens, one for each head."""
    return convolution("attention.self.conv", (c.size("num_attention_heads"), 1, kernel, 1))


def _grouped(c: Fields, name: str, key: str, inputs: int, outputs: int) -> Tensors:
    """A convolution of width one, in as many groups as the key says."""
    groups = c.size(key)
    if inputs % groups or outputs % groups:
        raise UnprovenError(f"config: {key} {groups} does not divide {inputs} and {outputs} channels")
    return convolution(name, (outputs, inputs // groups, 1), bias=True)


def _convbert_heads(c: Fields) -> Heads:
    """Heads that attend; together they are half as wide as the layer."""
    hidden = c.size("hidden_size")
    heads = c.derive("attending_heads", max(1, c.size("num_attention_heads") // c.size("head_ratio")))
    if hidden % (2 * heads):
        raise UnprovenError(f"config: hidden_size {hidden} is no multiple of twice the {heads} heads that attend")
    return Heads(hidden, heads, heads, hidden // heads // 2)


def _mixed_attention(heads: Heads, kernel: int) -> Block:
    hidden, half = heads.hidden, heads.query
    tensors = within(
        "attention.self",
        *(dense(name, hidden, half) for name in _QKV),
        parameter("key_conv_attn_layer.bias", half, 1),
        convolution("key_conv_attn_layer.depthwise", (hidden, 1, kernel)),
        convolution("key_conv_attn_layer.pointwise", (half, hidden, 1)),
        dense("conv_kernel_layer", half, heads.heads * kernel),
        dense("conv_out_layer", hidden, half),
    )
    return Block((*tensors, *dense("attention.output.dense", hidden, hidden)), heads.role())


def _grouped_feeds(c: Fields, groups: int) -> Block:
    """Two Linears in groups, each group's weight the other way round."""
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    if hidden % groups or width % groups:
        raise UnprovenError(f"config: num_groups {groups} does not divide {hidden} and {width}")
    up, down = (groups, hidden // groups, width // groups), (groups, width // groups, hidden // groups)
    return Block(
        (
            *within("intermediate.dense", parameter("weight", *up), parameter("bias", width)),
            *within("output.dense", parameter("weight", *down), parameter("bias", hidden)),
        )
    )


def _mobile_layer(c: Fields) -> Layer:
    """A layer of MobileBERT, `thin` between its bottlenecks, as wide as all without them."""
    hidden, squeezes, width = c.size("hidden_size"), c.flag("use_bottleneck"), c.size("intermediate_size")
    thin = c.size("intra_bottleneck_size") if squeezes else hidden
    mlp = (*dense("intermediate.dense", thin, width), *_normed("output", width, thin))
    more = c.size("num_feedforward_networks") - 1
    return (
        _mobile_attention(c, thin),
        Block(layer_norm("attention.output.LayerNorm", thin)),
        Block(mlp),
        *([Block(tuple(t._replace(name=f"ffn.*.{t.name}", copies=more) for t in mlp))] if more else []),
        *(_bottlenecks(c, thin) if squeezes else []),
    )


def _mobile_attention(c: Fields, thin: int) -> Block:
    """Attention of what a bottleneck lets through; values may be made of what is before it."""
    heads, seen = c.size("num_attention_heads"), thin if c.flag("use_bottleneck_attention") else c.size("hidden_size")
    if thin % heads:
        raise UnprovenError(f"config: num_attention_heads {heads} does not divide {thin}")
    inputs = dict(zip(PROJECTIONS, (thin, thin, seen, thin), strict=True))
    weights = tuple(tensor for name, width in inputs.items() for tensor in dense(name, width, thin))
    return Block(weights, Heads(thin, heads, heads, thin // heads).role())


def _bottlenecks(c: Fields, thin: int) -> list[Block]:
    """Into a layer, perhaps another into its queries and keys, and out of it."""
    hidden = c.size("hidden_size")
    ways = ("input", "attention") if c.flag("key_query_shared_bottleneck") else ("input",)
    into = [_normed(f"bottleneck.{way}", hidden, thin) for way in ways]
    return [Block(part) for part in (*into, _normed("output.bottleneck", thin, hidden))]


def _normed(name: str, inputs: int, outputs: int) -> Tensors:
    """A Linear and a norm (which may be no more than a scale and a bias)."""
    return within(name, dense("dense", inputs, outputs), layer_norm("LayerNorm", outputs))


_QKV: Final = ("query", "key", "value")
CLASSES: Final = {
    "RoFormerForMaskedLM": masked(roformer, "roformer", roformer_head),
    "RoFormerForCausalLM": generates(roformer, "roformer", roformer_head),
    "BigBirdForMaskedLM": masked(big_bird, "bert"),
    "BigBirdForCausalLM": generates(big_bird, "bert"),
    "NystromformerForMaskedLM": masked(nystromformer, "nystromformer"),
    "YosoForMaskedLM": masked(yoso, "yoso"),
    "MraForMaskedLM": masked(mra, "mra"),
    "FNetForMaskedLM": masked(fnet, "fnet"),
    "SqueezeBertForMaskedLM": masked(squeezebert, "transformer"),
    "ConvBertForMaskedLM": masked(convbert, "convbert", electra_head),
    "MobileBertForMaskedLM": masked(mobilebert, "mobilebert", mobilebert_head),
}
