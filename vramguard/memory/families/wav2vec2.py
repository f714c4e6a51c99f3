"""wav2vec 2.0, which hears the wave itself, and SpeechT5, which reads what such an encoder heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.families.bart import sinusoids
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    convolution,
    embedding,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import crosses, decodes, depth, even_heads, joined, projected, refuse_one_sided

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Heads, Layer, Tensors
    from vramguard.memory.families.fields import Fields


def wav2vec2(c: Fields) -> Body:
    """wav2vec 2.0: convolutions over the wave, one that stands for positions, layers; perhaps an adapter after them."""
    heads = even_heads(c, "hidden_size", "num_attention_heads")
    layer = (*_layer(heads, c.size("intermediate_size")), *_attention_adapter(c))
    outside = (
        *_masked(c),
        *within("feature_extractor", features(c)),
        *feature_projection(c),
        *within("encoder", positions(c), norm("layer_norm", heads.hidden, bias=True)),
        *within("adapter", _adapter(c)),
    )
    return Body(heads.hidden, (Stack("encoder.layers", [layer] * c.layers),), outside)


def _layer(heads: Heads, width: int) -> Layer:
    return (
        Block(within("attention", projected(heads))),
        layer_norm("layer_norm", heads.hidden),
        _feed_forward(heads.hidden, width),
        layer_norm("final_layer_norm", heads.hidden),
    )


def _feed_forward(hidden: int, width: int) -> Block:
    up = linear("intermediate_dense", hidden, width, bias=True)
    return Block(within("feed_forward", up, linear("output_dense", width, hidden, bias=True)))


def _masked(c: Fields) -> Tensors:
    """What stands for a stretch that training masks."""
    masks = c.number("mask_time_prob") > 0 or c.number("mask_feature_prob") > 0
    return parameter("masked_spec_embed", c.size("hidden_size")) if masks else ()


def features(c: Fields) -> Tensors:
    """Convolutions over the wave; the first is normed over time, or each over its channels."""
    widths, kernels = c.integers("conv_dim"), c.integers("conv_kernel")
    if not widths or len({len(widths), len(kernels), len(c.integers("conv_stride"))}) > 1 or min(*widths, *kernels) < 1:
        raise UnprovenError(f"config: {c.path}conv_dim, conv_kernel and conv_stride do not go together")
    kind = c.text("feat_extract_norm")
    if kind not in ("group", "layer"):
        raise UnprovenError(f"config: {c.path}feat_extract_norm is {shown(kind)}, which is not known")
    tensors: Tensors = ()
    for i, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
        shape = (width, widths[i - 1] if i else 1, kernel)
        tensors += convolution("conv_layers.*.conv", shape, bias=c.flag("conv_bias"))
        if i == 0 or kind == "layer":
            tensors += norm("conv_layers.*.layer_norm", width, bias=True)
    return tensors


def feature_projection(c: Fields) -> Tensors:
    """From the last convolution's width to the layers'."""
    width, hidden = c.integers("conv_dim")[-1], c.size("hidden_size")
    return within(
        "feature_projection", norm("layer_norm", width, bias=True), linear("projection", width, hidden, bias=True)
    )


def positions(c: Fields) -> Tensors:
    """A wide convolution that stands for positions, its weight kept as a direction and a length for each place."""
    hidden, kernel, groups = c.size("hidden_size"), c.size("num_conv_pos_embeddings"), _groups(c)
    conv = "pos_conv_embed.conv"
    weight = f"{conv}.parametrizations.weight.original"
    return (
        Tensor(f"{conv}.bias", (hidden,), kind="conv"),
        Tensor(f"{weight}0", (1, 1, kernel), kind="conv"),
        Tensor(f"{weight}1", (hidden, hidden // groups, kernel), kind="conv"),
    )


def _groups(c: Fields) -> int:
    groups = c.size("num_conv_pos_embedding_groups")
    if c.size("hidden_size") % groups:
        raise UnprovenError(f"config: {c.path}hidden_size is no multiple of num_conv_pos_embedding_groups {groups}")
    return groups


def _adapter(c: Fields) -> Tensors:
    """Convolutions that shorten what was heard, if add_adapter."""
    if not c.flag("add_adapter"):
        return ()
    hidden, output = c.size("hidden_size"), c.optional("output_hidden_size") or c.size("hidden_size")
    around = (*linear("proj", hidden, output, bias=True), *norm("proj_layer_norm", output, bias=True))
    shape = (2 * output, output, c.size("adapter_kernel_size"))
    layers = convolution("layers.*.conv", shape, bias=True) * c.count("num_adapter_layers")
    return (*(around if output != hidden else ()), *layers)


def _attention_adapter(c: Fields) -> Layer:
    """A small MLP in each layer for one language, where norms stand before what they norm."""
    width = c.optional("adapter_attn_dim") if c.flag("do_stable_layer_norm") else None
    if width is None:
        return ()
    hidden = c.size("hidden_size")
    around = (*norm("norm", hidden, bias=True), *linear("linear_1", hidden, width, bias=True))
    return (Block(within("adapter_layer", around, linear("linear_2", width, hidden, bias=True))),)


def speecht5(c: Fields) -> Network:
    """SpeechT5 that listens: wav2vec 2.0's encoder with relative positions, and a decoder of text."""
    refuse_one_sided(c)
    return headed(c, joined(_hearing(c), _telling(c)).within("speecht5"), "text_decoder_postnet.lm_head")


def _hearing(c: Fields) -> Body:
    heads = even_heads(c, "hidden_size", "encoder_attention_heads")
    before = (
        *_masked(c),
        *within("feature_encoder", features(c)),
        *feature_projection(c),
        *positions(c),
    )
    relative = embedding("embed_positions.pe_k", 2 * c.size("encoder_max_relative_position"), heads.head_dim)
    after = (*norm("layer_norm", heads.hidden, bias=True), *relative)
    table = sinusoids("prenet.pos_sinusoidal_embed", _rows(c, "max_speech_positions"), heads.hidden)
    layers = [_layer(heads, c.size("encoder_ffn_dim"))] * depth(c, "encoder_layers")
    outside = (*within("prenet", before), *within("wrapped_encoder", after))
    return Body(heads.hidden, (Stack("wrapped_encoder.layers", layers),), outside, table)


def _telling(c: Fields) -> Body:
    heads = even_heads(c, "hidden_size", "decoder_attention_heads")
    layer = (
        decodes("self_attn", projected(heads), heads),
        layer_norm("self_attn_layer_norm", heads.hidden),
        crosses("encoder_attn", projected(heads), heads),
        layer_norm("encoder_attn_layer_norm", heads.hidden),
        _feed_forward(heads.hidden, c.size("decoder_ffn_dim")),
        layer_norm("final_layer_norm", heads.hidden),
    )
    return Body(
        hidden=heads.hidden,
        stacks=(Stack("wrapped_decoder.layers", [layer] * depth(c, "decoder_layers")),),
        outside=embedding("prenet.embed_tokens", c.size("vocab_size"), heads.hidden),
        buffers=sinusoids("prenet.embed_positions", _rows(c, "max_text_positions"), heads.hidden),
        vocab=c.size("vocab_size"),
        context=c.size("max_text_positions"),
    )


def _rows(c: Fields, key: str) -> int:
    """Rows of a computed table: its positions count from the one after the padding's, and it keeps two in reserve."""
    return c.size(key) + c.count("pad_token_id") + 1 + 2


BODIES: Final = {"wav2vec2": wav2vec2}
CLASSES: Final = {"SpeechT5ForSpeechToText": speecht5}
