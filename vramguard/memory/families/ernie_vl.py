"""ERNIE 4.5 VL: experts for text and others for images, behind one attention; a tower with a resampler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    gated,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import attend, decoder, everywhere, pre_norm, routing
from vramguard.memory.families.experts import feed_forward, router, sparse_layers
from vramguard.memory.families.qwen_vl import fused
from vramguard.memory.families.sight import USUAL, answers, seeing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Routing, Tensors
    from vramguard.memory.families.fields import Fields


def ernie_text(c: Fields) -> Body:
    """The text model: a token of text passes none of the experts for images."""
    bias = c.flag("use_bias")
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    mlp = feed_forward(
        sparse_layers(c, lambda i: i > 0), lambda: _experts(c), lambda: gated_mlp(hidden, width, bias=bias)
    )
    return decoder(c, pre_norm(c, attends, mlp))


def _experts(c: Fields) -> Block:
    hidden, routed = c.size("hidden_size"), routing(c, "moe_num_experts", "moe_k")
    text, image = _widths(c)
    shared = c.count("moe_num_shared_experts") * text
    return Block(
        within(
            "mlp",
            within("text_moe", _sparse(hidden, text, routed)),
            within("vision_moe", _sparse(hidden, image, routed._replace(chosen=0))),
            within("shared_experts", gated(hidden, shared, bias=c.flag("use_bias"))) if shared else (),
        )
    )


def _sparse(hidden: int, width: int, routed: Routing) -> Tensors:
    correction = parameter("gate.moe_statics.e_score_correction_bias", 1, routed.experts)
    return (*router(routed, hidden), *correction, *stacked_experts(hidden, width, routed))


def _widths(c: Fields) -> tuple[int, int]:
    """Widths of the experts for text and for images."""
    if c.is_null("moe_intermediate_size"):
        return 1536, 512
    widths = c.integers("moe_intermediate_size")
    if len(widths) < 2 or min(widths) < 1:  # noqa: PLR2004 - transformers takes the first two
        raise UnprovenError(f"config: {c.path}moe_intermediate_size is not two sizes")
    return widths[0], widths[1]


def ernie_vision(c: Fields) -> Body:
    """The tower: patches by a Linear, rotary positions."""
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    mlp = plain_mlp(linear("fc1", hidden, width, bias=True), linear("fc2", width, hidden, bias=True))
    layer = (layer_norm("norm1", hidden), fused(hidden), layer_norm("norm2", hidden), mlp)
    outside = (
        *linear("patch_embed.proj", c.size("in_channels") * c.size("patch_size") ** 2, hidden),
        *norm("ln", hidden, bias=True),
    )
    return Body(hidden, (Stack("blocks", [layer] * c.size("depth")),), outside)


def _resampler(c: Fields, hidden: int) -> Tensors:
    """What joins neighbouring patches, then neighbouring frames."""
    vision = c.part("vision_config")
    wide = vision.size("hidden_size") * vision.size("spatial_merge_size") ** 2
    return within(
        "resampler_model",
        within("spatial_linear", _joins(wide, wide)),
        within("temporal_linear", _joins(wide * vision.size("temporal_merge_size"), wide)),
        linear("mlp", wide, hidden, bias=True),
        norm("after_norm", hidden),
    )


def _joins(inputs: int, outputs: int) -> Tensors:
    first, second = linear("fc1", inputs, outputs, bias=True), linear("fc2", outputs, outputs, bias=True)
    return (*first, *second, *norm("ln", outputs, bias=True))


BODIES: Final = {"ernie4_5_vl_moe_text": ernie_text, "ernie4_5_vl_moe_vision": ernie_vision}
CLASSES: Final = {"Ernie4_5_VLMoeForConditionalGeneration": answers(seeing(_resampler, USUAL))}
