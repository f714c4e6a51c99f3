"""MiniMax M3 VL: its text model with a CLIP-like tower, whose patches are projected first and joined then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Body, Stack, convolution, norm, within
from vramguard.memory.families.sight import answers, either_tie, seeing
from vramguard.memory.families.towers import clip_layer, dense

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def vision(c: Fields) -> Body:
    """The tower: patches of space and time, rotary positions."""
    hidden, patch = c.size("hidden_size"), c.size("patch_size")
    kernel = (c.size("temporal_patch_size"), patch, patch)
    outside = (
        *convolution("embeddings.proj", (hidden, c.size("num_channels"), *kernel)),
        *norm("pre_layrnorm", hidden, bias=True),
    )
    return Body(hidden, (Stack("layers", [clip_layer(c)] * c.layers),), outside)


def _projector(c: Fields, hidden: int) -> Tensors:
    part, middle = c.part("vision_config"), c.size("projector_hidden_size")
    return within(
        "multi_modal_projector",
        dense("linear_1", part.size("hidden_size"), middle),
        dense("linear_2", middle, hidden),
        dense("merge_linear_1", hidden * part.size("spatial_merge_size") ** 2, middle),
        dense("merge_linear_2", middle, hidden),
    )


BODIES: Final = {"minimax_m3_vl_vision": vision}
CLASSES: Final = {"MiniMaxM3SparseForConditionalGeneration": answers(seeing(_projector), tie=either_tie)}
