"""GLM-4.1V, 4.5V, 4.6V and GLM-OCR: a GLM text model and a tower that joins neighbouring patches by a convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    attention,
    convolution,
    embedding,
    fused_gated_mlp,
    gated,
    gated_mlp,
    head_norms,
    linear,
    norm,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import (
    attend,
    decoder,
    even_heads,
    everywhere,
    grouped_heads,
    pre_norm,
    sandwiched,
)
from vramguard.memory.families.experts import feed_forward, grouped_experts, late_layers
from vramguard.memory.families.sight import Names, answers, either_tie, seeing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Heads, Tensors
    from vramguard.memory.families.fields import Fields

NORMS: Final = ("input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm")

# Text


def glm4v_text(c: Fields) -> Body:
    """GLM-4.1V's text model: GLM-4 without a head_dim of its own, its queries, keys and values biased."""
    return _glm4(c, even_heads(c, c.optional("num_key_value_heads")), bias=True)


def glm_ocr_text(c: Fields) -> Body:
    """GLM-OCR's text model: GLM-4 without biases."""
    return _glm4(c, grouped_heads(c), bias=False)


def _glm4(c: Fields, heads: Heads, *, bias: bool) -> Body:
    mlp = [fused_gated_mlp(heads.hidden, c.size("intermediate_size"))] * c.layers
    return decoder(c, sandwiched(c, [attention(heads, bias=bias)] * c.layers, mlp, NORMS))


def glm4v_moe_text(c: Fields) -> Body:
    """GLM-4.5V's text model: experts beside shared ones in all but the first layers."""
    attends = attend(c, everywhere(c, None), bias=c.flag("attention_bias"))
    width = c.size("intermediate_size")
    mlp = feed_forward(late_layers(c), lambda: grouped_experts(c), lambda: gated_mlp(c.size("hidden_size"), width))
    return decoder(c, pre_norm(c, attends, mlp))


# Towers


class _Layer(NamedTuple):
    """What differs between the layers of the towers."""

    width: int  # of the MLP
    bias: bool  # of the MLP
    output_bias: bool
    norms: Tensors = ()  # of queries and keys


def glm4v_vision(c: Fields) -> Body:
    """GLM-4V's tower: learned positions; its MLP is as wide as the text, its merger as wide as intermediate_size."""
    hidden, positions = c.size("hidden_size"), (c.size("image_size") // c.size("patch_size")) ** 2
    outside = (
        *embedding("embeddings.position_embedding", positions, hidden),
        *norm("post_conv_layernorm", hidden),
    )
    layer = _Layer(c.size("out_hidden_size"), bias=False, output_bias=False)
    return _tower(c, layer, c.size("intermediate_size")).beside(outside)


def glm_ocr_vision(c: Fields) -> Body:
    """GLM-OCR's tower: rotary positions only, each head's queries and keys normed, biases everywhere or nowhere."""
    norms, bias = head_norms(c.size("hidden_size") // c.size("num_heads")), c.flag("attention_bias")
    layer = _Layer(c.size("intermediate_size"), bias=bias, output_bias=bias, norms=norms)
    return _tower(c, layer, c.size("out_hidden_size") * c.size("in_channels"))


def _tower(c: Fields, layer: _Layer, merged: int) -> Body:
    hidden, output, patch, side = (
        c.size(key) for key in ("hidden_size", "out_hidden_size", "patch_size", "spatial_merge_size")
    )
    kernel = (c.size("temporal_patch_size"), patch, patch)
    outside = (
        *convolution("patch_embed.proj", (hidden, c.size("in_channels"), *kernel), bias=True),
        *within("merger", linear("proj", output, output), norm("post_projection_norm", output, bias=True)),
        *within("merger", gated(output, merged)),
        *convolution("downsample", (output, hidden, side, side), bias=True),
        *norm("post_layernorm", hidden),
    )
    qkv = linear("qkv", hidden, 3 * hidden, bias=c.flag("attention_bias"))
    attends = within("attn", qkv, linear("proj", hidden, hidden, bias=layer.output_bias), layer.norms)
    mlp = gated_mlp(hidden, layer.width, bias=layer.bias)
    blocks = (rms_norm("norm1", hidden), Block(attends), rms_norm("norm2", hidden), mlp)
    return Body(hidden, (Stack("blocks", [blocks] * c.size("depth")),), outside)


glm4v = seeing(lambda _c, _hidden: (), Names(tower="visual"))

BODIES: Final = {
    "glm4v_text": glm4v_text,
    "glm4v_moe_text": glm4v_moe_text,
    "glm_ocr_text": glm_ocr_text,
    **dict.fromkeys(("glm4v_vision", "glm4v_moe_vision"), glm4v_vision),
    "glm_ocr_vision": glm_ocr_vision,
    **dict.fromkeys(("glm4v", "glm4v_moe", "glm46v", "glmga", "glm_ocr"), glm4v),
}
CLASSES: Final = {
    **dict.fromkeys(
        ("Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration", "GlmOcrForConditionalGeneration"),
        answers(glm4v, tie=either_tie),
    ),
    "Glm46VForConditionalGeneration": answers(glm4v),
}
