"""Whisper, the encoders of audio that follow it, and other decoders of text that read what an encoder heard."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.bart import BUFFER, Traits, alone, decoder_side, encoder_side, feed_forward
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Stack,
    convolution,
    embedding,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import grouped_heads
from vramguard.memory.families.seq2seq import (
    Projections,
    crosses,
    decodes,
    depth,
    even_heads,
    generator,
    joined,
    projected,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Layer, Network, Tensors
    from vramguard.memory.families.fields import Fields

WHISPER: Final = Traits(
    last_norm=True,
    key_bias=False,
    source=lambda c: c.size("max_source_positions"),
    contexts=("max_source_positions", "max_target_positions"),
)
SPEECH_TO_TEXT: Final = Traits(BUFFER, 2, last_norm=True, contexts=("max_source_positions", "max_target_positions"))


def tower(body: Body) -> Body:
    """An encoder that no token of text passes: its layers have weights and no work for a prompt."""
    stacks = tuple(
        Stack(stack.path, [tuple(Block(block.tensors) for block in layer) for layer in stack.layers])
        for stack in body.stacks
    )
    return replace(body, stacks=stacks, vocab=0, context=0)


def whisper_encoder(c: Fields) -> Body:
    """Whisper's encoder: two convolutions, of which the second halves the frames, then layers like BART's."""
    heads = even_heads(c, "d_model", "encoder_attention_heads")
    attention = Block(within("self_attn", projected(heads, key_bias=False)))
    layer = (attention, layer_norm("self_attn_layer_norm", heads.hidden), *feed_forward(c, "encoder_ffn_dim"))
    return Body(
        hidden=heads.hidden,
        stacks=(Stack("layers", [layer] * depth(c, "encoder_layers")),),
        outside=(
            *audio_convolutions(c, heads.hidden),
            *embedding("embed_positions", c.size("max_source_positions"), heads.hidden),
            *norm("layer_norm", heads.hidden, bias=True),
        ),
    )


def audio_convolutions(c: Fields, hidden: int) -> Tensors:
    """From a spectrogram to vectors, at half its rate."""
    first = convolution("conv1", (hidden, c.size("num_mel_bins"), 3), bias=True)
    return (*first, *convolution("conv2", (hidden, hidden, 3), bias=True))


def whisper(c: Fields) -> Body:
    """Whisper: its encoder hears 30 seconds, whatever was said, so that cross attention keeps as many positions."""
    return _heard(whisper_encoder(c), decoder_side(c, WHISPER))


def whisper_alone(c: Fields) -> Network:
    """Whisper's decoder alone, which drafts for a larger one."""
    return alone(c, decoder_side(c, WHISPER), "proj_out")


def speech_to_text(c: Fields) -> Body:
    """Speech2Text: convolutions with gates halve the frames; the tables of positions are computed and grow."""
    body = encoder_side(c, SPEECH_TO_TEXT)
    return _heard(tower(body).beside(_subsampler(c)), decoder_side(c, SPEECH_TO_TEXT))


def _subsampler(c: Fields) -> Tensors:
    kernels, hidden = c.integers("conv_kernel_sizes"), c.size("d_model")
    if len(kernels) != c.size("num_conv_layers"):
        raise UnprovenError("config: conv_kernel_sizes is not as long as num_conv_layers says")
    middle, inputs = c.size("conv_channels"), c.size("input_feat_per_channel") * c.size("input_channels")
    tensors: Tensors = ()
    for i, kernel in enumerate(kernels):
        outputs = 2 * hidden if i == len(kernels) - 1 else middle
        tensors += convolution("conv.conv_layers.*", (outputs, inputs if i == 0 else middle // 2, kernel), bias=True)
    return tensors


def _heard(encoder: Body, decoder: Body) -> Body:
    """Base model of a tower and a decoder of text, with the decoder's embedding."""
    tables = embedding("embed_tokens", decoder.vocab, decoder.hidden)
    return joined(encoder, decoder.beside(tables))


def moonshine(c: Fields) -> Body:
    """Moonshine: three convolutions over the wave itself, rotary positions, norms without a bias, a decoder with gates.

    The encoder's attention writes its own number of heads into the config, from which the decoder then reads it.
    """
    heads, hidden = _moonshine_heads(c), c.size("hidden_size")
    bias, width = c.flag("attention_bias"), c.size("intermediate_size")
    tensors = projected(heads, Projections(output="o_proj"), bias=bias, output_bias=False)
    norms = [Block(norm(f"{n}norm", hidden)) for n in ("input_layer", "post_attention_layer", "final_layer")]
    encoder_layer = (Block(within("self_attn", tensors)), *norms[:2], _two(hidden, width, width))
    decoder_layer = (
        decodes("self_attn", tensors, heads),
        crosses("encoder_attn", tensors, heads),
        *norms,
        _two(hidden, 2 * width, width),
    )
    decoder = Body(
        hidden=hidden,
        stacks=(Stack("layers", [decoder_layer] * depth(c, "decoder_num_hidden_layers")),),
        outside=norm("norm", hidden),
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
    )
    return _heard(_moonshine_encoder(c, [encoder_layer] * depth(c, "encoder_num_hidden_layers")), decoder)


def _moonshine_heads(c: Fields) -> Heads:
    hidden, heads = c.size("hidden_size"), c.size("encoder_num_attention_heads")
    head_dim = c.size("head_dim") if c.given("head_dim") else hidden // heads
    return Heads(hidden, heads, c.optional("encoder_num_key_value_heads") or heads, head_dim)


def _moonshine_encoder(c: Fields, layers: Sequence[Layer]) -> Body:
    hidden = c.size("hidden_size")
    outside = (
        *convolution("conv1", (hidden, 1, 127)),
        *convolution("conv2", (2 * hidden, hidden, 7), bias=True),
        *convolution("conv3", (hidden, 2 * hidden, 3), bias=True),
        *norm("groupnorm", hidden, bias=True),
        *norm("layer_norm", hidden),
    )
    return Body(hidden, (Stack("layers", layers),), outside)


def moonshine_streaming(c: Fields) -> Body:
    """Moonshine that listens as it goes: the tower has sizes of its own, and the decoder gives its frames positions."""
    hidden, ears, bias = c.size("hidden_size"), c.part("encoder_config"), c.flag("attention_bias")
    heads = _streaming_heads(c)
    tensors = projected(heads, Projections(output="o_proj"), bias=bias, output_bias=False)
    norms = [Block(norm(f"{n}norm", hidden)) for n in ("input_layer", "post_attention_layer", "final_layer")]
    width, heard = c.size("intermediate_size"), ears.size("hidden_size")
    layer = (
        decodes("self_attn", tensors, heads),
        crosses("encoder_attn", tensors, heads),
        *norms,
        _two(hidden, 2 * width, width),
    )
    decoder = Body(
        hidden=hidden,
        stacks=(Stack("layers", [layer] * c.layers),),
        outside=(
            *norm("norm", hidden),
            *embedding("pos_emb", c.size("max_position_embeddings"), heard),
            *(linear("proj", heard, hidden) if heard != hidden else ()),
        ),
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
    )
    return _heard(_streaming_encoder(ears), decoder)


def _streaming_heads(c: Fields) -> Heads:
    """Geometry of Moonshine's streaming decoder, which splits queries into as many heads as keys."""
    heads = grouped_heads(c)
    if not c.given("num_key_value_heads") or heads.kv_heads != heads.heads:
        raise UnprovenError("config: num_key_value_heads is not num_attention_heads")
    return heads


def _streaming_encoder(c: Fields) -> Body:
    """Frames of the wave itself through a Linear and two convolutions; norms have a scale that is called gamma."""
    heads, hidden, bias = grouped_heads(c), c.size("hidden_size"), c.flag("attention_bias")
    frame = round(c.size("sample_rate") * c.ratio("frame_ms") / 1000)
    if frame < 1:
        raise UnprovenError(f"config: {c.path}frame_ms is less than a sample")
    width = c.size("intermediate_size")
    layer = (
        Block(within("self_attn", projected(heads, Projections(output="o_proj"), bias=bias))),
        *(Block(parameter(f"{n}_layernorm.gamma", hidden)) for n in ("input", "post_attention")),
        _two(hidden, width, width),
    )
    embeds = within(
        "embedder",
        parameter("comp.log_k"),
        convolution("conv1", (2 * hidden, hidden, 5), bias=True),
        convolution("conv2", (hidden, 2 * hidden, 5), bias=True),
        linear("linear", frame, hidden),
    )
    return Body(hidden, (Stack("layers", [layer] * c.layers),), (*embeds, *parameter("final_norm.gamma", hidden)))


def _two(hidden: int, up: int, down: int) -> Block:
    return Block(within("mlp", linear("fc1", hidden, up, bias=True), linear("fc2", down, hidden, bias=True)))


BODIES: Final = {"whisper": whisper, "speech_to_text": speech_to_text, "moonshine": moonshine}
CLASSES: Final = {
    "WhisperForConditionalGeneration": generator(whisper, head="proj_out"),
    "WhisperForCausalLM": whisper_alone,
    "Speech2TextForConditionalGeneration": generator(speech_to_text),
    "MoonshineForConditionalGeneration": generator(moonshine, head="proj_out"),
    "MoonshineStreamingForConditionalGeneration": generator(moonshine_streaming, head="proj_out"),
}
