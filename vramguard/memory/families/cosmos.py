"""Cosmos 3: Omni is Qwen3-VL; Edge has a text model without gates and a SigLIP tower for pictures of any shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import linear, norm, plain_mlp, within
from vramguard.memory.families.decoder import attend, decoder, everywhere, pre_norm
from vramguard.memory.families.fields import Fields
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import clip_layer, dense, positions, vit

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Tensors


def edge_text(c: Fields) -> Body:
    """Cosmos 3 Edge's text model: Llama with an MLP of two projections."""
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    bias, mlp_bias = c.flag("attention_bias"), c.flag("mlp_bias")
    mlp = plain_mlp(linear("fc1", hidden, width, bias=mlp_bias), linear("fc2", width, hidden, bias=mlp_bias))
    attends = attend(c, everywhere(c, None), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, [mlp] * c.layers))


def edge_vision(c: Fields) -> Body:
    """Cosmos 3 Edge's tower: SigLIP 2 without its head."""
    inputs = c.size("num_channels") * c.size("patch_size") ** 2
    embeddings = (*dense("patch_embedding", inputs, c.size("hidden_size")), *positions(c, c.size("num_patches")))
    return vit(c, clip_layer(c), embeddings)


def _merger(c: Fields, hidden: int) -> Tensors:
    vision, middle = c.part("vision_config"), c.size("projector_hidden_size")
    seen = vision.size("hidden_size")
    wide = seen * vision.size("spatial_merge_size") ** 2
    return within(
        "projector",
        norm("norm", seen, bias=True),
        dense("linear_fc1", wide, middle),
        dense("linear_fc2", middle, hidden),
    )


def omni(c: Fields) -> Body:
    """Cosmos 3 Omni: Qwen3-VL, whatever its config calls the tower."""
    given = c.raw("vision_config")
    if isinstance(given, dict):
        c.parts["vision_config"] = Fields("qwen3_vl_vision", given, c.table, f"{c.path}vision_config.")
    return seeing(lambda _c, _hidden: (), Names(tower="visual"))(c)


BODIES: Final = {"cosmos3_edge_text": edge_text, "cosmos3_edge_vision": edge_vision}
CLASSES: Final = {
    "Cosmos3EdgeForConditionalGeneration": answers(seeing(_merger, Names(tower="visual")), tie=lambda _: False),
    "Cosmos3OmniForConditionalGeneration": answers(omni),
}
