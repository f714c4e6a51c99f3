"""Florence-2: a BART that writes what a tower of stages sees; of its layers every second attends between channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
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
    within,
)
from vramguard.memory.families.fields import shown
from vramguard.memory.families.sight import answers, seeing
from vramguard.memory.families.towers import dense

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def davit(c: Fields) -> Body:
    """Florence-2's tower: each stage narrows the picture by a convolution and widens the vectors."""
    widths, depths = c.integers("embed_dim"), c.integers("depths")
    patches, first = c.integers("patch_size"), c.raw("patch_prenorm")
    lists = (depths, patches, c.integers("num_heads"), c.integers("num_groups"), first)
    if not widths or not all(isinstance(each, list | tuple) and len(each) == len(widths) for each in lists):
        raise UnprovenError(f"config: {c.path}embed_dim and the other lists do not count the same stages")
    if not all(isinstance(flag, bool) for flag in first):
        raise UnprovenError(f"config: {c.path}patch_prenorm is {shown(first)}, not a list of booleans")
    stacks: list[Stack] = []
    outside: Tensors = ()
    inputs = c.size("in_channels")
    for width, layers, patch, before in zip(widths, depths, patches, first, strict=True):
        outside += within(
            "convs.*",
            convolution("conv", (width, inputs, patch, patch), bias=True),
            norm("norm", inputs if before else width, bias=True),
        )
        stacks.append(Stack("blocks.*", [_block(c, width)] * layers))
        inputs = width
    return Body(widths[-1], tuple(stacks), outside)


def _block(c: Fields, width: int) -> Layer:
    """Attention within windows, then between channels, each after a convolution for every channel."""
    bias, wide = c.flag("qkv_bias"), int(width * c.ratio("mlp_ratio"))
    attention = (*linear("qkv", width, 3 * width, bias=bias), *dense("proj", width, width))
    mlp = (*dense("fc1", width, wide), *dense("fc2", wide, width))

    def half(name: str) -> Tensors:
        return (
            *(t for n in (1, 2) for t in convolution(f"conv{n}", (width, 1, 3, 3), bias=True)),
            *(t for n in (1, 2) for t in layer_norm(f"norm{n}", width).tensors),
            *within(f"{name}_attn", attention),
            *within("ffn", mlp),
        )

    return (Block((*within("spatial_block", half("window")), *within("channel_block", half("channel")))),)


def _projector(c: Fields, _: int) -> Tensors:
    """Positions by row and column, and a Linear to a width that the text model must have."""
    vision = c.part("vision_config")
    seen, rows, outputs = (
        vision.integers("embed_dim")[-1],
        vision.size("max_position_embeddings"),
        vision.size("projection_dim"),
    )
    return within(
        "multi_modal_projector",
        linear("image_projection", seen, outputs),
        norm("image_proj_norm", outputs, bias=True),
        embedding("image_position_embed.row_embeddings", rows, seen // 2),
        embedding("image_position_embed.column_embeddings", rows, seen - seen // 2),
    )


def florence2(c: Fields) -> Body:
    """Florence-2: the projector also keeps a table of times."""
    vision = c.part("vision_config")
    body = seeing(_projector)(c)
    times, width = vision.size("max_temporal_embeddings"), vision.integers("embed_dim")[-1]
    table = buffer("multi_modal_projector.visual_temporal_embed.pos_idx_to_embed", times, width)
    return body.beside(Body(0, buffers=table))


BODIES: Final = {"florence_vision": davit}
CLASSES: Final = {"Florence2ForConditionalGeneration": answers(florence2, embedding="shared")}
