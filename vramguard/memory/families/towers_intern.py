"""InternVL's tower, and LFM3's, whose layers are convolutions but for a few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    head_norms,
    layer_norm,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import FULL, divide
from vramguard.memory.families.fields import shown
from vramguard.memory.families.kinds import layer_kinds
from vramguard.memory.families.towers import attends, dense, hidden_of, two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

CONV: Final = "conv"
NORMS: Final = {"layer_norm": layer_norm, "rms_norm": rms_norm}


def sides(c: Fields, key: str) -> tuple[int, int]:
    """Height and width: two numbers, or one for both."""
    if type(c.raw(key)) is int:
        return (c.size(key), c.size(key))
    both = c.integers(key)
    if len(both) != 2 or min(both) < 1:  # noqa: PLR2004 - height and width
        raise UnprovenError(f"config: {c.path}{key} is {shown(c.raw(key))}, not a height and a width")
    return (both[0], both[1])


def intern(c: Fields) -> Body:
    """InternVL: learned scales on both branches of a layer, norms of a kind that the config names."""
    return _intern(c, "encoder.layer")


def qianfan(c: Fields) -> Body:
    """Qianfan-OCR: InternVL's, its layers one attribute higher."""
    return _intern(c, "layers")


def _intern(c: Fields, layers: str) -> Body:
    hidden, (height, width), (tall, wide) = hidden_of(c), sides(c, "image_size"), sides(c, "patch_size")
    rows = (height // tall) * (width // wide) + 1
    embeddings = (
        *parameter("cls_token", 1, 1, hidden),
        *(parameter("mask_token", 1, 1, hidden) if c.flag("use_mask_token") else ()),
        *(parameter("position_embeddings", 1, rows, hidden) if c.flag("use_absolute_position_embeddings") else ()),
        *convolution("patch_embeddings.projection", (hidden, c.size("num_channels"), tall, wide), bias=True),
    )
    last = () if c.flag("use_mean_pooling") else norm("layernorm", hidden, bias=True)
    return Body(
        hidden, (Stack(layers, [_intern_layer(c, hidden)] * c.layers),), (*within("embeddings", embeddings), *last)
    )


def _intern_layer(c: Fields, hidden: int) -> Layer:
    if c.text("norm_type") not in NORMS:
        raise UnprovenError(f"config: {c.path}norm_type is {shown(c.text('norm_type'))}, not layer_norm or rms_norm")
    normed = NORMS[c.text("norm_type")]
    attention = (
        *attends(hidden, ("q_proj", "k_proj", "v_proj"), bias=c.flag("attention_bias")),
        *dense("projection_layer", hidden, hidden),
        *(head_norms(hidden) if c.flag("use_qk_norm") else ()),
    )
    return (
        normed("layernorm_before", hidden),
        Block(within("attention", attention)),
        normed("layernorm_after", hidden),
        two_linears(hidden, c.size("intermediate_size")),
        Block((*parameter("lambda_1", hidden), *parameter("lambda_2", hidden))),
    )


def lfm3_vision(c: Fields) -> Body:
    """LFM3-VL's tower: short convolutions over the picture, attention in every second layer from the third on."""
    kinds = layer_kinds(c, lambda i: CONV if i < 2 or i % 2 else FULL, (CONV, FULL))  # noqa: PLR2004 - the first two
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    mlp = (*linear("w1", hidden, width), *linear("w3", hidden, width), *linear("w2", width, hidden))
    mixers = {CONV: _short_convolution(c, hidden), FULL: _grouped_attention(c, hidden)}
    layers = [
        (
            Block(mixers[kind]),
            rms_norm("operator_norm", hidden),
            Block(within("feed_forward", mlp)),
            rms_norm("ffn_norm", hidden),
        )
        for kind in kinds
    ]
    inputs = c.size("in_channels") * c.size("temporal_patch_size") * c.size("patch_size") ** 2
    return Body(
        hidden, (Stack("layers", layers),), (*linear("patch_embed", inputs, hidden), *norm("embedding_norm", hidden))
    )


def _short_convolution(c: Fields, hidden: int) -> Tensors:
    kernel = c.size("conv_kernel_size")
    return within(
        "conv",
        linear("in_proj", hidden, 3 * hidden),
        convolution("spatial_conv", (hidden, 1, kernel, kernel)),
        linear("out_proj", hidden, hidden),
    )


def _grouped_attention(c: Fields, hidden: int) -> Tensors:
    heads, head_dim = c.size("num_attention_heads"), divide(c, "hidden_size", "num_attention_heads")
    keys = c.size("num_key_value_heads") * head_dim
    return within(
        "self_attn",
        linear("q_proj", hidden, heads * head_dim),
        linear("k_proj", hidden, keys),
        linear("v_proj", hidden, keys),
        linear("out_proj", heads * head_dim, hidden),
        head_norms(head_dim),
    )


BODIES: Final = {"internvl_vision": intern, "qianfan_ocr_vision": qianfan, "lfm3_vl_vision": lfm3_vision}
