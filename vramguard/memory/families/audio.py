"""Towers that hear: encoders of audio, which a prompt of text does not pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.bart import feed_forward
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
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
from vramguard.memory.families.seq2seq import Projections, even_heads, projected
from vramguard.memory.families.whisper import audio_convolutions, whisper_encoder

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def glmasr_encoder(c: Fields) -> Body:
    """GLM-ASR's encoder: Whisper's convolutions before layers with rotary positions."""
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    head_dim = c.size("head_dim") if c.given("head_dim") else hidden // heads
    geometry = Heads(hidden, heads, c.optional("num_key_value_heads") or heads, head_dim)
    width = c.size("intermediate_size")
    layer = (
        Block(within("self_attn", projected(geometry, Projections(output="o_proj"), key_bias=False))),
        Block(within("mlp", linear("fc1", hidden, width, bias=True), linear("fc2", width, hidden, bias=True))),
        layer_norm("input_layernorm", hidden),
        layer_norm("post_attention_layernorm", hidden),
    )
    outside = (*audio_convolutions(c, hidden), *norm("norm", hidden, bias=True))
    return Body(hidden, (Stack("layers", [layer] * c.layers),), outside)


def qwen3_asr_encoder(c: Fields, positions: str = "max_position_embeddings") -> Body:
    """Qwen3-ASR's encoder: three convolutions over the spectrogram as a picture, positions within a short window."""
    heads = even_heads(c, "d_model", "encoder_attention_heads")
    if heads.hidden % 2:
        raise UnprovenError(f"config: {c.path}d_model {heads.hidden} is odd")
    channels, bins = c.size("downsample_hidden_size"), c.size("num_mel_bins")
    for _ in range(3):
        bins = (bins + 1) // 2
    layer = (
        Block(within("self_attn", projected(heads))),
        layer_norm("self_attn_layer_norm", heads.hidden),
        *feed_forward(c, "encoder_ffn_dim"),
    )
    outside = (
        *norm("ln_post", heads.hidden, bias=True),
        *convolution("conv2d1", (channels, 1, 3, 3), bias=True),
        *convolution("conv2d2", (channels, channels, 3, 3), bias=True),
        *convolution("conv2d3", (channels, channels, 3, 3), bias=True),
        *linear("conv_out", channels * bins, heads.hidden),
    )
    table = buffer("positional_embedding.positional_embedding", c.size(positions), heads.hidden)
    return Body(heads.hidden, (Stack("layers", [layer] * c.layers),), outside, buffers=table)


def granite_speech_encoder(c: Fields) -> Body:
    """Granite Speech's encoder: a conformer that writes text half-way and reads it again."""
    hidden, output, context = c.size("hidden_dim"), c.size("output_dim"), c.size("context_size")
    if context > c.size("max_pos_emb"):
        raise UnprovenError(f"config: {c.path}context_size {context} is above max_pos_emb")
    half = _macaron(hidden, hidden * c.size("feedforward_mult"))
    layer = (
        Block(within("ff1", half)),
        Block(within("attn", _relative_attention(c, hidden))),
        Block(within("conv", _granite_convolution(c, hidden))),
        Block(within("ff2", half)),
        layer_norm("post_norm", hidden),
    )
    outside = (
        *linear("input_linear", c.size("input_dim"), hidden, bias=True),
        *linear("out", hidden, output, bias=True),
        *linear("out_mid", output, hidden, bias=True),
    )
    inner = hidden * c.size("conv_expansion_factor")
    buffers = (
        *buffer("attention_dists", context, context, item=8),
        *running("layers.*.conv.batch_norm", inner, copies=c.layers),
    )
    return Body(hidden, (Stack("layers", [layer] * c.layers),), outside, buffers=buffers)


def running(name: str, width: int, copies: int) -> Tensors:
    """What a batch norm keeps of the batches that it was trained with."""
    return (*buffer(f"{name}.running_mean", width, copies=copies), *buffer(f"{name}.running_var", width, copies=copies))


def q_former(c: Fields) -> Body:
    """BLIP-2's Q-Former: layers of BERT that queries pass, of which some read what an encoder gave."""
    heads = even_heads(c, "hidden_size", "num_attention_heads")
    every, width = c.size("cross_attention_frequency"), c.size("intermediate_size")
    own, cross = (_asks(heads, source) for source in (heads.hidden, c.size("encoder_hidden_size")))
    mlp = _query_mlp(heads.hidden, width, "_query")
    if c.flag("use_qformer_text_input"):
        mlp = (*_query_mlp(heads.hidden, width, ""), *mlp)
    first = (*within("attention", own), *mlp)
    layers = [(Block(first if i % every else (*first, *within("crossattention", cross))),) for i in range(c.layers)]
    return Body(heads.hidden, (Stack("encoder.layer", layers),), norm("layernorm", heads.hidden, bias=True))


def _asks(heads: Heads, source: int) -> Tensors:
    inner = within(
        "attention",
        linear("query", heads.hidden, heads.hidden, bias=True),
        linear("key", source, heads.hidden, bias=True),
        linear("value", source, heads.hidden, bias=True),
    )
    return (
        *inner,
        *within("output", linear("dense", heads.hidden, heads.hidden, bias=True), _named_norm(heads.hidden)),
    )


def _query_mlp(hidden: int, width: int, suffix: str) -> Tensors:
    up = linear(f"intermediate{suffix}.dense", hidden, width, bias=True)
    return (*up, *within(f"output{suffix}", linear("dense", width, hidden, bias=True), _named_norm(hidden)))


def _named_norm(hidden: int) -> Tensors:
    return norm("LayerNorm", hidden, bias=True)


def _macaron(hidden: int, width: int) -> Tensors:
    """Half of a conformer's MLP."""
    up, down = linear("up_proj", hidden, width, bias=True), linear("down_proj", width, hidden, bias=True)
    return (*norm("pre_norm", hidden, bias=True), *up, *down)


def _relative_attention(c: Fields, hidden: int) -> Tensors:
    heads = c.size("num_heads")
    head_dim = c.optional("dim_head") or hidden // heads
    inner = heads * head_dim
    return (
        *norm("pre_norm", hidden, bias=True),
        *linear("to_q", hidden, inner),
        *linear("to_kv", hidden, 2 * inner),
        *linear("to_out", inner, hidden, bias=True),
        *embedding("rel_pos_emb", 2 * c.size("max_pos_emb") + 1, head_dim),
    )


def _granite_convolution(c: Fields, hidden: int) -> Tensors:
    inner = hidden * c.size("conv_expansion_factor")
    return (
        *norm("norm", hidden, bias=True),
        *convolution("up_conv", (2 * inner, hidden, 1), bias=True),
        *convolution("depth_conv.conv", (inner, 1, c.size("conv_kernel_size"))),
        *norm("batch_norm", inner, bias=True),
        *convolution("down_conv", (hidden, inner, 1), bias=True),
    )


def vibevoice_encoder(c: Fields) -> Body:
    """VibeVoice's tokenizer: stages of causal convolutions, each of which halves the rate and doubles the width."""
    filters, kernel = c.size("num_filters"), c.size("kernel_size")
    ratios, depths = c.integers("downsampling_ratios"), c.integers("depths")
    if not ratios or len(depths) <= len(ratios) or min(ratios) < 1 or min(depths) < 0:
        raise UnprovenError(f"config: {c.path}depths and downsampling_ratios do not go together")
    widths = [filters * 2**i for i in range(len(ratios) + 1)]
    stem = convolution("stem.conv.conv", (filters, c.size("channels"), kernel), bias=True)
    head = convolution("head.conv", (c.size("hidden_size"), widths[-1], kernel), bias=True)
    stacks = [Stack("stem.stage", [_convnext(c, filters)] * depths[0])]
    outside: Tensors = (*stem, *head)
    for ratio, narrow, wide, layers in zip(ratios, widths, widths[1:], depths[1:], strict=False):
        outside += convolution("conv_layers.*.conv.conv", (wide, narrow, 2 * ratio), bias=True)
        stacks.append(Stack("conv_layers.*.stage", [_convnext(c, wide)] * layers))
    return Body(c.size("hidden_size"), tuple(stacks), outside)


def _convnext(c: Fields, width: int) -> Layer:
    inner = c.size("ffn_expansion") * width
    ffn = (*linear("linear1", width, inner, bias=True), *linear("linear2", inner, width, bias=True))
    tensors = (
        *norm("norm", width),
        *norm("ffn_norm", width),
        *within("ffn", ffn),
        *parameter("gamma", width),
        *parameter("ffn_gamma", width),
        *convolution("mixer.conv", (width, 1, c.size("kernel_size")), bias=True),
    )
    return (Block(tensors),)


BODIES: Final = {
    "blip_2_qformer": q_former,
    "qwen2_audio_encoder": whisper_encoder,
    "voxtral_encoder": whisper_encoder,
    "audioflamingo3_encoder": whisper_encoder,
    "moss_transcribe_diarize_audio": whisper_encoder,
    "glmasr_encoder": glmasr_encoder,
    "qwen3_asr_encoder": qwen3_asr_encoder,
    "granite_speech_encoder": granite_speech_encoder,
    "granite_speech_plus_encoder": granite_speech_encoder,
    "vibevoice_acoustic_tokenizer_encoder": vibevoice_encoder,
}
