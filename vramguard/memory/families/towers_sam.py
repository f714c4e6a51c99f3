"""SAM's tower, which attends in windows but for a few layers, and the models that read documents with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import dense, hidden_of, two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields


def sam(c: Fields) -> Body:
    """SAM: positions relative to each head's rows and columns, and a neck of convolutions."""
    hidden, patch = hidden_of(c), c.size("patch_size")
    side, everywhere = c.size("image_size") // patch, c.integers("global_attn_indexes")
    whole, windowed = _layer(c, side), _layer(c, c.size("window_size"))
    outside = (
        *(parameter("pos_embed", 1, side, side, hidden) if c.flag("use_abs_pos") else ()),
        *convolution("patch_embed.projection", (hidden, c.size("num_channels"), patch, patch), bias=True),
        *within("neck", neck(c)),
    )
    return Body(hidden, (Stack("layers", [whole if i in everywhere else windowed for i in range(c.layers)]),), outside)


def _layer(c: Fields, side: int) -> Layer:
    """A layer that attends within a square of `side` patches."""
    hidden = c.size("hidden_size")
    head_dim = hidden // c.size("num_attention_heads")
    relative = tuple(t for axis in "hw" for t in parameter(f"rel_pos_{axis}", 2 * side - 1, head_dim))
    attention = (
        *linear("qkv", hidden, 3 * hidden, bias=c.flag("qkv_bias")),
        *dense("proj", hidden, hidden),
        *(relative if c.flag("use_rel_pos") else ()),
    )
    return (
        layer_norm("layer_norm1", hidden),
        Block(within("attn", attention)),
        layer_norm("layer_norm2", hidden),
        two_linears(hidden, _width(c), ("lin1", "lin2")),
    )


def _width(c: Fields) -> int:
    """Width of the MLP, which the older configs give as a ratio."""
    width = c.optional("mlp_dim")
    return width or int(c.size("hidden_size") * c.ratio("mlp_ratio"))


def neck(c: Fields) -> Tensors:
    """Two convolutions and a norm after each."""
    outputs = c.size("output_channels")
    return (
        *convolution("conv1", (outputs, c.size("hidden_size"), 1, 1)),
        *norm("layer_norm1", outputs, bias=True),
        *convolution("conv2", (outputs, outputs, 3, 3)),
        *norm("layer_norm2", outputs, bias=True),
    )


def sam_model(c: Fields) -> Body:
    """SAM's tower, one attribute deeper."""
    return sam(c).within("vision_encoder")


def halved_twice(names: tuple[str, str], widths: tuple[int, int, int]) -> Tensors:
    """Two convolutions that each halve both sides of the picture."""
    first, second, third = widths
    return (*convolution(names[0], (second, first, 3, 3)), *convolution(names[1], (third, second, 3, 3)))


def _upsampled(c: Fields, hidden: int) -> Tensors:
    """GOT-OCR 2: two convolutions and a Linear."""
    seen = c.part("vision_config").size("output_channels")
    shrunk = halved_twice(("conv_upsampler1", "conv_upsampler2"), (seen, 2 * seen, hidden))
    return within("multi_modal_projector", shrunk, dense("multimodal_projector", hidden, hidden))


def _two_towers(c: Fields, hidden: int) -> Tensors:
    """DeepSeek-VL with two towers: what each sees is half of the text's width."""
    seen, fine = c.part("vision_config").size("hidden_size"), c.part("high_res_vision_config")
    outputs, half = fine.size("output_channels"), hidden // 2
    return (
        *parameter("high_res_vision_alpha", 1),
        *within("high_res_vision_neck", neck(fine)),
        *within("high_res_vision_proj", halved_twice(("conv1", "conv2"), (outputs, 2 * outputs, 4 * outputs))),
        *within(
            "aligner",
            dense("vision_proj", seen, half),
            dense("high_res_vision_proj", 4 * outputs, half),
            dense("proj", hidden, hidden),
        ),
    )


def hybrid(c: Fields) -> Body:
    """DeepSeek-VL: SigLIP for what it is about, SAM for what it says."""
    body = seeing(_two_towers, Names(tower="vision_model"))(c)
    return body.beside(body_of(c.part("high_res_vision_config")).within("high_res_vision_model"))


BODIES: Final = {
    **dict.fromkeys(("got_ocr2_vision", "pp_chart2table_vision"), sam),
    "sam_vision_model": sam_model,
}
CLASSES: Final = {
    "GotOcr2ForConditionalGeneration": answers(seeing(_upsampled)),
    "DeepseekVLHybridForConditionalGeneration": answers(hybrid),
}
