"""Models that read documents: PaddleOCR-VL and HunYuan-OCR, small text models with CLIP-like towers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Body, Stack, buffer, convolution, norm, parameter, within
from vramguard.memory.families.decoder import attend, decoder, dense, everywhere, pre_norm
from vramguard.memory.families.dense import hunyuan
from vramguard.memory.families.qwen_vl import flattened
from vramguard.memory.families.sight import Names, answers, either_tie, seeing
from vramguard.memory.families.towers import clip_layer, patch_embedding, patches, positions, siglip_layers
from vramguard.memory.families.towers import dense as biased

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def paddle_text(c: Fields) -> Body:
    """PaddleOCR-VL's text model: Llama, its biases one choice."""
    bias = c.flag("use_bias")
    return decoder(c, pre_norm(c, attend(c, everywhere(c, None), bias=bias, output_bias=bias), dense(c, bias=bias)))


def paddle_vision(c: Fields) -> Body:
    """PaddleOCR-VL's tower: SigLIP without its head, one attribute deeper."""
    ids = buffer("embeddings.position_ids", 1, patches(c), item=8)
    return siglip_layers(c).beside(Body(0, buffers=ids)).within("vision_model")


def _paddle_projector(c: Fields, hidden: int) -> Tensors:
    vision = c.part("vision_config")
    seen = vision.size("hidden_size")
    wide = seen * vision.size("spatial_merge_size") ** 2
    return within(
        "projector",
        norm("pre_norm", seen, bias=True),
        biased("linear_1", wide, wide),
        biased("linear_2", wide, hidden),
    )


def hunyuan_vision(c: Fields) -> Body:
    """HunYuan-OCR's tower: positions for the largest image, a convolutional merger with marks around an image.

    What it gives is as wide as the text, which the whole config tells it.
    """
    hidden, rows = c.size("hidden_size"), (c.size("max_image_size") // c.size("patch_size")) ** 2 + 1
    outside = within("embeddings", patch_embedding(c), positions(c, rows))
    layers = [clip_layer(c, _hunyuan_attention(c))] * c.layers
    return Body(hidden, (Stack("layers", layers),), outside)


def _hunyuan_attention(c: Fields) -> Tensors:
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    wide = heads * (c.optional("head_dim") or hidden // heads)
    queries = tuple(tensor for name in ("q_proj", "k_proj", "v_proj") for tensor in biased(name, hidden, wide))
    return (*queries, *biased("o_proj", wide, hidden))


def _merger(c: Fields, hidden: int) -> Tensors:
    vision = c.part("vision_config")
    seen, side = vision.size("hidden_size"), vision.size("spatial_merge_size")
    return within(
        "vision_tower.patch_merger",
        convolution("proj_conv", (2 * seen, seen, side, side), bias=True),
        convolution("proj_out", (4 * seen, 2 * seen, 1, 1), bias=True),
        biased("mlp", 4 * seen, hidden),
        parameter("image_newline", 4 * seen),
        *(parameter(f"image_{mark}", hidden) for mark in ("begin", "end", "sep")),
        norm("before_rms", seen),
        norm("after_rms", hidden),
    )


paddle = flattened(seeing(_paddle_projector, Names(tower="visual")))

BODIES: Final = {
    "paddleocr_vl_text": paddle_text,
    "paddleocr_vl_vision": paddle_vision,
    "hunyuan_vl_text": hunyuan,
    "hunyuan_vl_vision": hunyuan_vision,
}
CLASSES: Final = {
    "PaddleOCRVLForConditionalGeneration": answers(paddle, tie=either_tie),
    "HunYuanVLForConditionalGeneration": answers(flattened(seeing(_merger)), tie=either_tie),
}
