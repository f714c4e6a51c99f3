"""Gemma 3n whole: its text model, timm's MobileNet V5 for pictures, a conformer for sound, and embeddings of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    buffer,
    convolution,
    embedding,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.fields import MAX_LAYERS, MAX_SIZE, shown
from vramguard.memory.families.gemma_vl import conditional, convolves, half_step

if TYPE_CHECKING:
    from vramguard.memory.architecture import Tensor
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def gemma3n(c: Fields) -> Body:
    """Gemma 3n: pictures and sound have tokens of their own, whose embeddings are projected like what towers give."""
    text = body_of(c.part("text_config"))
    whole = text.within("language_model")
    for sense in ("vision", "audio"):
        part = c.part(f"{sense}_config")
        whole = whole.beside(body_of(part).within(f"{sense}_tower"), _embedder(f"embed_{sense}", part, text.hidden))
    return whole


def _embedder(name: str, c: Fields, hidden: int) -> Tensors:
    seen = c.size("hidden_size")
    return within(
        name,
        embedding("embedding", c.size("vocab_size"), seen),
        norm("hard_embedding_norm", seen),
        norm("soft_embedding_norm", seen),
        linear("embedding_projection", seen, hidden),
    )


def audio(c: Fields) -> Body:
    """Gemma 3n's ear: a conformer that attends within chunks of the sound, after two convolutions."""
    hidden = c.size("hidden_size")
    layer: Layer = (
        Block((*half_step("ffw_layer_start", hidden, linear), *half_step("ffw_layer_end", hidden, linear))),
        Block(within("attention", _hears(c))),
        Block(within("lconv1d", convolves(hidden, c.size("conf_conv_kernel_size"), linear))),
        rms_norm("norm", hidden),
    )
    layers = c.size("conf_num_hidden_layers", MAX_LAYERS)
    outside = within("subsample_conv_projection", _subsampler(c))
    return Body(hidden, (Stack("conformer", [layer] * layers),), outside, _mask(c, layers))


def _hears(c: Fields) -> Tensors:
    hidden, heads = c.size("hidden_size"), c.size("conf_num_attention_heads")
    wide = hidden // heads * heads
    projections = (tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in linear(name, hidden, wide))
    position = linear("relative_position_embedding.pos_proj", hidden, wide)
    return (
        *within("attn", tuple(projections), position, parameter("per_dim_scale", hidden // heads)),
        *linear("post", hidden, hidden),
        *norm("pre_attn_norm", hidden),
        *norm("post_norm", hidden),
    )


def _mask(c: Fields, layers: int) -> Tensors:
    """Which frames of its context a frame of a chunk attends to."""
    chunk = c.size("conf_attention_chunk_size")
    context = chunk + max(0, c.count("conf_attention_context_left") - 1) + c.count("conf_attention_context_right")
    return buffer("conformer.*.attention.attn.local_causal_valid_mask", chunk, context, copies=layers, item=1)


def _subsampler(c: Fields) -> Tensors:
    """Two convolutions, each over the frequencies with one more on either side, and a projection of what is left."""
    channels = (1, *_two_sizes(c, "sscp_conv_channel_size", c.raw("sscp_conv_channel_size")))
    frequencies = c.size("input_feat_size")
    tensors: list[Tensor] = []
    for number in range(2):
        given, made = channels[number : number + 2]
        high, wide = _of_convolution(c, "sscp_conv_kernel_size", number)
        _, stride = _of_convolution(c, "sscp_conv_stride_size", number)
        if wide > frequencies + 2:
            raise UnprovenError(f"config: {c.path}sscp_conv_kernel_size is wider than what it goes over")
        frequencies = (frequencies + 2 - wide) // stride + 1
        name = f"conv_{number}"
        tensors += [*convolution(f"{name}.conv", (made, given, high, wide)), *norm(f"{name}.norm", made)]
    return (*tensors, *linear("input_proj_linear", channels[-1] * frequencies, c.size("hidden_size")))


def _of_convolution(c: Fields, key: str, number: int) -> tuple[int, int]:
    """A size over time and one over frequencies."""
    value = c.raw(key)
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - the class has two convolutions
        raise UnprovenError(f"config: {c.path}{key} is {shown(value)}, not one for each of two convolutions")
    return _two_sizes(c, key, value[number])


def _two_sizes(c: Fields, key: str, value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(one) is int for one in value):  # noqa: PLR2004
        raise UnprovenError(f"config: {c.path}{key} has {shown(value)}, not two sizes")
    first, second = value
    if not (0 < first <= MAX_SIZE and 0 < second <= MAX_SIZE):
        raise UnprovenError(f"config: {c.path}{key} has {shown(value)}, not two sizes")
    return first, second


BODIES: Final = {"gemma3n": gemma3n, "gemma3n_audio": audio}
CLASSES: Final = {"Gemma3nForConditionalGeneration": conditional(gemma3n)}
