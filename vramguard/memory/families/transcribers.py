"""Canary and Cohere's transcriber: Parakeet's conformer hears, a small decoder of text writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.audio import running
from vramguard.memory.families.audio_language import overlaid
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    buffer,
    convolution,
    embedding,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import grouped_heads, headed
from vramguard.memory.families.seq2seq import Projections, crosses, decodes, joined, projected, refuse_one_sided
from vramguard.memory.families.towers import two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Network, Tensors
    from vramguard.memory.families.fields import Fields

_NAMES: Final = Projections(output="o_proj")


def parakeet(c: Fields) -> Body:
    """Parakeet's encoder: convolutions that shorten the spectrogram, then a conformer with relative positions."""
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    bias = c.flag("attention_bias")
    half = (*linear("linear1", hidden, width, bias=bias), *linear("linear2", width, hidden, bias=bias))
    norms = ("norm_feed_forward1", "norm_self_att", "norm_conv", "norm_feed_forward2", "norm_out")
    layer = (
        Block((*within("feed_forward1", half), *within("feed_forward2", half))),
        Block(within("self_attn", _relative(c, hidden, bias=bias))),
        Block(within("conv", _convolves(c, hidden))),
        *(layer_norm(name, hidden) for name in norms),
    )
    kept = running("layers.*.conv.norm", hidden, copies=c.layers)
    return Body(hidden, (Stack("layers", [layer] * c.layers),), within("subsampling", _subsampler(c, hidden)), kept)


def _relative(c: Fields, hidden: int, *, bias: bool) -> Tensors:
    heads = c.size("num_attention_heads")
    head_dim = c.optional("head_dim") or hidden // heads
    wide = heads * head_dim
    queries = (t for name in ("q_proj", "k_proj", "v_proj") for t in linear(name, hidden, wide, bias=bias))
    biases = (*parameter("bias_u", heads, head_dim), *parameter("bias_v", heads, head_dim))
    return (*queries, *linear("o_proj", wide, hidden, bias=bias), *linear("relative_k_proj", hidden, wide), *biases)


def _convolves(c: Fields, hidden: int) -> Tensors:
    bias = c.flag("convolution_bias")
    return (
        *convolution("pointwise_conv1", (2 * hidden, hidden, 1), bias=bias),
        *convolution("depthwise_conv", (hidden, 1, c.size("conv_kernel_size")), bias=bias),
        *norm("norm", hidden, bias=True),
        *convolution("pointwise_conv2", (hidden, hidden, 1), bias=bias),
    )


def _subsampler(c: Fields, hidden: int) -> Tensors:
    channels, kernel = c.size("subsampling_conv_channels"), c.size("subsampling_conv_kernel_size")
    times = c.size("subsampling_factor").bit_length() - 1
    left = c.size("num_mel_bins") // c.size("subsampling_conv_stride") ** times
    again = (
        *convolution("layers.*", (channels, 1, kernel, kernel), bias=True),
        *convolution("layers.*", (channels, channels, 1, 1), bias=True),
    )
    return (
        *convolution("layers.*", (channels, 1, kernel, kernel), bias=True),
        *(tensor._replace(copies=times - 1) for tensor in again if times > 1),
        *linear("linear", channels * left, hidden, bias=True),
    )


def _decoder(c: Fields) -> Body:
    """A decoder with norms before each part and one after the embedding."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    tensors = projected(heads, _NAMES, bias=bias)
    layer: Layer = (
        layer_norm("input_layernorm", heads.hidden),
        decodes("self_attn", tensors, heads),
        layer_norm("post_attention_layernorm", heads.hidden),
        crosses("encoder_attn", tensors, heads),
        layer_norm("final_layernorm", heads.hidden),
        two_linears(heads.hidden, c.size("intermediate_size")),
    )
    outside = (
        *embedding("embed_tokens", c.size("vocab_size"), heads.hidden),
        *norm("norm", heads.hidden, bias=True),
        *norm("embedding_layernorm", heads.hidden, bias=True),
    )
    return Body(
        heads.hidden,
        (Stack("layers", [layer] * c.layers),),
        outside,
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
        learned_positions=True,
    )


def canary(c: Fields) -> Network:
    """Canary: what it heard is as wide as its decoder, whose positions are a table that was computed."""
    refuse_one_sided(c)
    text, encoder = c.part("decoder_config"), body_of(c.part("encoder_config"))
    decoder = _decoder(text)
    if encoder.hidden != decoder.hidden or text.size("vocab_size") != c.size("vocab_size"):
        raise UnprovenError("config: decoder_config does not fit encoder_config or vocab_size")
    table = Body(0, buffers=buffer("pos_emb.positional_embedding", decoder.context, decoder.hidden))
    body = joined(encoder, decoder.beside(table))
    return headed(c, body.within("model"), "proj_out", bias=True)


def cohere_asr(c: Fields) -> Network:
    """Cohere's transcriber: learned positions, and a projection of what was heard into the decoder's width."""
    refuse_one_sided(c)
    encoder, decoder = body_of(overlaid(c, "encoder_config")), _decoder(c)
    around = (
        *embedding("pos_emb", decoder.context, decoder.hidden),
        *linear("proj", encoder.hidden, decoder.hidden, bias=True),
    )
    return headed(c, joined(encoder, decoder.beside(around)).within("model"), "proj_out", bias=True)


BODIES: Final = {"parakeet_encoder": parakeet}
CLASSES: Final = {
    "CanaryForConditionalGeneration": canary,
    "CohereAsrForConditionalGeneration": cohere_asr,
}
