"""SeamlessM4T: one decoder of text for what was read and for what was heard, the latter by a conformer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.audio import running
from vramguard.memory.families.bart import sinusoids
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
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
from vramguard.memory.families.decoder import divide, headed
from vramguard.memory.families.fields import shown
from vramguard.memory.families.seq2seq import crosses, decodes, depth, encodes, even_heads, projected, refuse_one_sided

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def text_to_text(c: Fields) -> Network:
    """SeamlessM4T that reads and writes."""
    refuse_one_sided(c)
    encoder, decoder = _text_side(c, "encoder").within("text_encoder"), _text_side(c, "decoder").within("text_decoder")
    sides = () if c.flag("tie_word_embeddings") else ("text_encoder.", "text_decoder.")
    tables = [embedding(f"{side}embed_tokens", decoder.vocab, decoder.hidden) for side in sides]
    whole = decoder.beside(encoder, embedding("shared", decoder.vocab, decoder.hidden), *tables)
    return headed(c, replace(whole, stacks=(*encoder.stacks, *decoder.stacks)))


def speech_to_text(c: Fields) -> Network:
    """SeamlessM4T that hears and writes."""
    refuse_one_sided(c)
    decoder = _text_side(c, "decoder").within("text_decoder")
    sides = ("",) if c.flag("tie_word_embeddings") else ("", "text_decoder.")
    names = ["text_decoder.embed_tokens" if side else "shared" for side in sides]
    tables = [embedding(name, decoder.vocab, decoder.hidden) for name in names]
    return headed(c, decoder.beside(_conformer(c).within("speech_encoder"), *tables))


def _text_side(c: Fields, side: str) -> Body:
    """Encoder or decoder of text, its embedding left out."""
    heads = even_heads(c, "hidden_size", f"{side}_attention_heads")
    tensors = projected(heads)
    first, second, last = (layer_norm(f"{n}_layer_norm", heads.hidden) for n in ("self_attn", "cross_attention", "ffn"))
    width = c.size(f"{side}_ffn_dim")
    up, down = linear("fc1", heads.hidden, width, bias=True), linear("fc2", width, heads.hidden, bias=True)
    mlp = (Block(within("ffn", up, down)), last)
    if side == "encoder":
        layer: Layer = (encodes("self_attn", tensors, heads), first, *mlp)
    else:
        cross = crosses("cross_attention", tensors, heads)
        layer = (decodes("self_attn", tensors, heads), first, cross, second, *mlp)
    context = c.size("max_position_embeddings")
    return Body(
        hidden=heads.hidden,
        stacks=(Stack("layers", [layer] * depth(c, f"{side}_layers")),),
        outside=norm("layer_norm", heads.hidden, bias=True),
        buffers=sinusoids("embed_positions", context + 2, heads.hidden),
        vocab=c.size("vocab_size"),
        context=context,
    )


def _conformer(c: Fields) -> Body:
    """What hears: a conformer, an MLP, and an adapter that shortens what was heard."""
    hidden, width = c.size("hidden_size"), c.size("speech_encoder_intermediate_size")
    number, inputs = depth(c, "speech_encoder_layers"), c.size("feature_projection_input_dim")
    projection = (*norm("layer_norm", inputs, bias=True), *linear("projection", inputs, hidden, bias=True))
    outside = (
        *within("feature_projection", projection),
        *norm("encoder.layer_norm", hidden, bias=True),
        *within("intermediate_ffn", _two(hidden, width)),
        *norm("inner_layer_norm", hidden, bias=True),
    )
    stacks = [Stack("encoder.layers", [_conformer_layer(c, hidden, width)] * number)]
    if c.flag("add_adapter"):
        stacks.append(Stack("adapter.layers", [_adapter(c, hidden, width)] * c.count("num_adapter_layers")))
    return Body(hidden, tuple(stacks), outside, _conformer_buffers(c, number))


def _conformer_buffers(c: Fields, layers: int) -> Tensors:
    """The first version keeps a table of relative positions, and what its batch norms have seen."""
    if c.kind == "seamless_m4t_v2":
        return ()
    hidden, kind = c.size("hidden_size"), c.text("position_embeddings_type")
    rows = 2 * c.size("max_source_positions") - 1
    table = buffer("encoder.embed_positions.pe", 1, rows, hidden) if kind == "relative" else ()
    return (*table, *running("encoder.layers.*.conv_module.batch_norm", hidden, copies=layers))


def _conformer_layer(c: Fields, hidden: int, width: int) -> Layer:
    kernel = c.size("conv_depthwise_kernel_size")
    if kernel % 2 == 0:
        raise UnprovenError(f"config: conv_depthwise_kernel_size {kernel} is even")
    inner = "depthwise_layer_norm" if c.kind == "seamless_m4t_v2" else "batch_norm"
    module = (
        *norm("layer_norm", hidden, bias=True),
        *convolution("pointwise_conv1", (2 * hidden, hidden, 1)),
        *convolution("depthwise_conv", (hidden, 1, kernel)),
        *norm(inner, hidden, bias=True),
        *convolution("pointwise_conv2", (hidden, hidden, 1)),
    )
    norms = [layer_norm(f"{n}_layer_norm", hidden) for n in ("ffn1", "self_attn", "ffn2", "final")]
    halves = [Block(within(name, _two(hidden, width))) for name in ("ffn1", "ffn2")]
    attention = within("self_attn", _attention(hidden), _positions(c, hidden))
    return (*norms, *halves, Block(attention), Block(within("conv_module", module)))


def _positions(c: Fields, hidden: int) -> Tensors:
    """Weights of relative positions in one layer."""
    kind, heads = c.text("position_embeddings_type"), c.size("speech_encoder_attention_heads")
    head_dim = divide(c, "hidden_size", "speech_encoder_attention_heads")
    if kind == "relative_key" and c.kind == "seamless_m4t_v2":
        rows = c.size("left_max_position_embeddings") + c.size("right_max_position_embeddings") + 1
        return embedding("distance_embedding", rows, head_dim)
    if kind == "relative" and c.kind == "seamless_m4t":
        biases = (parameter(f"pos_bias_{name}", heads, head_dim) for name in "uv")
        return (*linear("linear_pos", hidden, hidden), *(tensor for bias in biases for tensor in bias))
    if kind == "rotary" and c.kind == "seamless_m4t":
        return ()
    raise UnprovenError(f"config: position_embeddings_type is {shown(kind)}, which is not supported for {c.kind}")


def _attention(hidden: int) -> Tensors:
    names = ("linear_q", "linear_k", "linear_v", "linear_out")
    return tuple(tensor for name in names for tensor in linear(name, hidden, hidden, bias=True))


def _adapter(c: Fields, hidden: int, width: int) -> Layer:
    shape = (2 * hidden, hidden, c.size("adaptor_kernel_size"))
    norms = (layer_norm(f"{name}_layer_norm", hidden) for name in ("residual", "self_attn", "ffn"))
    convolutions = (convolution(f"{name}_conv", shape, bias=True) for name in ("residual", "self_attn"))
    attention, mlp = within("self_attn", _attention(hidden)), within("ffn", _two(hidden, width))
    return (*norms, *(Block(part) for part in (*convolutions, attention, mlp)))


def _two(hidden: int, width: int) -> Tensors:
    up = linear("intermediate_dense", hidden, width, bias=True)
    return (*up, *linear("output_dense", width, hidden, bias=True))


CLASSES: Final = {
    "SeamlessM4TForTextToText": text_to_text,
    "SeamlessM4TForSpeechToText": speech_to_text,
    "SeamlessM4Tv2ForTextToText": text_to_text,
    "SeamlessM4Tv2ForSpeechToText": speech_to_text,
}
