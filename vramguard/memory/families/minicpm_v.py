"""MiniCPM-V, Kimi K2.5, HyperCLOVA X Vision and Compass: towers that merge neighbouring patches, large text models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    buffer,
    convolution,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.fields import MAX_LAYERS, Fields
from vramguard.memory.families.qwen_vl import qwen3_vision
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import attends, dense, hidden_of, siglip_layers, two_linears
from vramguard.memory.families.towers_intern import sides

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network, Tensors


def minicpm_vision(c: Fields) -> Body:
    """MiniCPM-V's tower: SigLIP's layers, and between two of them a merger that attends within windows."""
    hidden, (rows, columns) = c.size("hidden_size"), sides(c, "window_kernel_size")
    wide, width = hidden * rows * columns, c.size("intermediate_size") * rows * columns
    merger = (
        *within("self_attn", attends(hidden)),
        *norm("layer_norm1", hidden, bias=True),
        *norm("pre_norm", wide, bias=True),
        *dense("linear_1", wide, width),
        *dense("linear_2", width, hidden),
    )
    return siglip_layers(c).beside(within("vit_merger", merger))


def _merged_times(c: Fields, hidden: int) -> Tensors:
    """MiniCPM-V: four patches become one, some times over, the last time in the text's width."""
    seen, times = c.part("vision_config").size("hidden_size"), c.size("merger_times", MAX_LAYERS)
    wide = 4 * seen
    merged = (
        (*norm("pre_norm", wide, bias=True), *dense("linear_1", wide, wide), *dense("linear_2", wide, outputs))
        for outputs in (*[seen] * (times - 1), hidden)
    )
    return within("merger.mlp.*", *merged)


def kimi_vision(c: Fields) -> Body:
    """Kimi K2.5's tower: learned positions in space, computed ones in time, for three channels."""
    hidden, (tall, wide) = hidden_of(c), sides(c, "patch_size")
    projections = (*attends(hidden, ("q_proj", "k_proj", "v_proj")), *dense("proj", hidden, hidden))
    layer = (
        layer_norm("norm1", hidden),
        Block(within("attn", projections)),
        layer_norm("norm2", hidden),
        two_linears(hidden, c.size("intermediate_size")),
    )
    outside = (
        *convolution("patch_embed.proj", (hidden, 3, tall, wide), bias=True),
        *parameter(
            "patch_embed.pos_emb.position_embeddings", c.size("pos_emb_height"), c.size("pos_emb_width"), hidden
        ),
        *norm("final_layernorm", hidden, bias=True),
    )
    times = buffer("patch_embed.pos_emb.time_position_embeddings", c.size("pos_emb_time") + 1, hidden)
    return Body(hidden, (Stack("layers", [layer] * c.layers),), outside, times)


def _kimi_projector(c: Fields, hidden: int) -> Tensors:
    """Kimi K2.5: patches normed one by one, then a square of them through an MLP."""
    vision = c.part("vision_config")
    rows, columns = sides(vision, "merge_kernel_size")
    wide = vision.size("hidden_size") * rows * columns
    normed = norm("pre_norm", c.size("projection_hidden_size"), bias=True)
    return within("mm_projector", normed, dense("in_proj", wide, wide), dense("out_proj", wide, hidden))


def kimi(c: Fields) -> Network:
    """Kimi K2.5: its text model is DeepSeek-V3, which its config may call kimi_k2."""
    given = c.raw("text_config")
    if isinstance(given, dict) and given.get("model_type") == "kimi_k2":
        c.parts["text_config"] = Fields("deepseek_v3", given, c.table, f"{c.path}text_config.")
    return answers(seeing(_kimi_projector))(c)


def hyperclovax(c: Fields) -> Network:
    """HyperCLOVA X Vision: Qwen2.5-VL's tower, which its config may call by the whole model's name, and one Linear."""
    given = c.raw("vision_config")
    if isinstance(given, dict) and given.get("model_type") == "qwen2_5_vl":
        c.parts["vision_config"] = Fields("qwen2_5_vl_vision", given, c.table, f"{c.path}vision_config.")
    return answers(seeing(_one_linear, Names(tower="vision_model")))(c)


def _one_linear(c: Fields, hidden: int) -> Tensors:
    return linear("projector", c.part("vision_config").size("out_hidden_size"), hidden, bias=True)


BODIES: Final = {
    **dict.fromkeys(("minicpm_ocr_vision", "minicpmv4_6_vision", "minicpmv4_7_vision"), minicpm_vision),
    "kimi_k25_vision": kimi_vision,
    "cohere_compass_vision": qwen3_vision,
}
CLASSES: Final = {
    **dict.fromkeys(
        (
            "MiniCPMOcrForConditionalGeneration",
            "MiniCPMV4_6ForConditionalGeneration",
            "MiniCPMV4_7ForConditionalGeneration",
        ),
        answers(seeing(_merged_times)),
    ),
    "Kimi_K25ForConditionalGeneration": kimi,
    "HyperCLOVAXVisionV2ForConditionalGeneration": hyperclovax,
    "CohereCompassForConditionalGeneration": answers(seeing(lambda _, __: (), Names(tower="visual"))),
}
