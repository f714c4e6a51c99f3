"""Phi-4 multimodal: Phi-3 whose base model also holds a SigLIP tower and a conformer that hears."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    embedding,
    layer_norm,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import causal
from vramguard.memory.families.llama import phi3
from vramguard.memory.families.towers import clip_layer, dense, patch_embedding, patches, pooling_head, positions, vit

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def phi4_multimodal(c: Fields) -> Body:
    """Phi-3 with towers; two pairs of projections take in what was heard, with an image beside it and without."""
    text, vision, audio = phi3(c), c.part("vision_config"), c.part("audio_config")
    seen, heard, hidden = vision.size("hidden_size"), audio.size("hidden_size"), text.hidden
    image = (
        *dense("img_projection_up", seen, hidden),
        *dense("img_projection_down", hidden, hidden),
        *parameter("global_img_feature_extensor", 1, 1, seen),
        *parameter("sub_img_feature_extensor", 1, 1, 1, seen),
    )
    frames = heard * audio.size("downsample_rate")
    sound = tuple(
        tensor
        for beside in ("speech", "vision_speech")
        for tensor in (
            *dense(f"up_proj_for_{beside}", frames, hidden),
            *dense(f"down_proj_for_{beside}", hidden, hidden),
        )
    )
    images = body_of(vision).within("img_processor").beside(image).within("image_embed")
    sounds = body_of(audio).within("encoder").beside(sound).within("audio_embed")
    return text.beside(images.within("embed_tokens_extend"), sounds.within("embed_tokens_extend"))


def vision_tower(c: Fields) -> Body:
    """SigLIP, always with its head."""
    return vit(c, clip_layer(c), (*patch_embedding(c), *positions(c, patches(c))), pooling_head(c))


def audio_tower(c: Fields) -> Body:
    """A conformer: a MLP on both sides of attention and convolution, a table of biases by distance for all layers."""
    hidden, heads, distance = c.size("hidden_size"), c.size("num_attention_heads"), c.size("bias_max_distance")
    outside = (
        *within("embed", _subsampler(c, hidden)),
        *embedding(
            "relative_attention_bias_layer.bias_values", distance * (1 if c.flag("bias_symmetric") else 2), heads
        ),
    )
    return Body(hidden, (Stack("encoders", [_conformer_layer(c, hidden)] * c.size("num_blocks")),), outside)


def _subsampler(c: Fields, hidden: int) -> Tensors:
    """Convolutions that halve time and frequencies until `time_reduction` is reached, depthwise from the second on."""
    channels, reduction, frequencies = c.size("nemo_conv_channels"), c.size("time_reduction"), c.size("input_size")
    if reduction % 2:
        raise UnprovenError(f"config: {c.path}time_reduction {reduction} is odd")
    times = reduction.bit_length() - 1
    for _ in range(times):
        frequencies = (frequencies + 1) // 2
    again = (
        *convolution("conv.*", (channels, 1, 3, 3), bias=True),
        *convolution("conv.*", (channels, channels, 1, 1), bias=True),
    )
    return (
        *convolution("conv.*", (channels, 1, 3, 3), bias=True),
        *(tensor._replace(copies=times - 1) for tensor in again if times > 1),
        *dense("out", channels * frequencies, hidden),
    )


def _conformer_layer(c: Fields, hidden: int) -> tuple[Block, ...]:
    heads = c.size("num_attention_heads")
    wide = heads * (c.optional("head_dim") or hidden // heads)
    queries = (tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in dense(name, hidden, wide))
    return (
        Block(within("feed_forward_in", _feed_forward(c, hidden))),
        Block(within("self_attn", tuple(queries), dense("o_proj", wide, hidden))),
        Block(within("conv", _convolves(c, hidden))),
        Block(within("feed_forward_out", _feed_forward(c, hidden))),
        layer_norm("layer_norm_att", hidden),
        layer_norm("layer_norm", hidden),
    )


def _feed_forward(c: Fields, hidden: int) -> Tensors:
    width = c.size("intermediate_size")
    return (
        *norm("layer_norm", hidden, bias=True),
        *dense("gate_up_proj", hidden, 2 * width),
        *dense("down_proj", width, hidden),
    )


def _convolves(c: Fields, hidden: int) -> Tensors:
    """A pointwise convolution with a gate, one over time for each channel, and a pointwise one back."""
    gate, multiple = c.size("ext_pw_out_channel"), hidden * c.size("depthwise_multiplier")
    separated = c.size("depthwise_separable_out_channel")
    return (
        *norm("layer_norm", hidden, bias=True),
        *parameter("glu.b1", 1, gate, 1),
        *parameter("glu.b2", 1, gate, 1),
        *convolution("glu.ext_pw_conv_1d", (2 * gate, hidden, 1), bias=True),
        *convolution("dw_sep_conv_1d.dw_conv", (multiple, 1, c.size("kernel_size")), bias=True),
        *convolution("dw_sep_conv_1d.pw_conv", (separated, multiple, 1), bias=True),
        *convolution("ext_pw_conv_1d", (gate, hidden, 1), bias=True),
    )


BODIES: Final = {
    "phi4_multimodal": phi4_multimodal,
    "phi4_multimodal_vision": vision_tower,
    "phi4_multimodal_audio": audio_tower,
}
CLASSES: Final = {"Phi4MultimodalForCausalLM": causal(phi4_multimodal)}
