"""Qwen 2, 2.5 and 3 VL: a Qwen text model and a tower whose neighbouring patches are merged into one token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    plain_mlp,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import attend, decoder, dense, even_heads, everywhere, pre_norm
from vramguard.memory.families.fields import Fields
from vramguard.memory.families.qwen import qwen2, sparse
from vramguard.memory.families.sight import answers, either_tie
from vramguard.memory.families.towers_qwen import conditional, merger, qwen_vision, vision_language

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.decoder import Bodies

# Text


def qwen2_vl_text(c: Fields) -> Body:
    """Qwen2-VL's text model: Qwen2, which knows no head_dim of its own."""
    even_heads(c)
    return qwen2(c)


def qwen3_vl_text(c: Fields) -> Body:
    """Qwen3-VL's text model: Qwen3 without windows."""
    return decoder(c, pre_norm(c, _normed(c), dense(c)))


def qwen3_vl_moe_text(c: Fields) -> Body:
    """Qwen3-VL-MoE's text model: Qwen3-MoE without windows."""
    return decoder(c, pre_norm(c, _normed(c), sparse(c)))


def _normed(c: Fields) -> list[Block]:
    bias = c.flag("attention_bias")
    return attend(c, everywhere(c, None), bias=bias, output_bias=bias, head_norms=True)


# Towers


def qwen2_vision(c: Fields) -> Body:
    """Qwen2-VL's tower: its hidden_size is that of the text, its own width is embed_dim."""
    width = c.size("embed_dim")
    up = linear("fc1", width, wide := width * c.size("mlp_ratio"), bias=True)
    mlp = plain_mlp(up, linear("fc2", wide, width, bias=True))
    layer = (layer_norm("norm1", width), fused(width), layer_norm("norm2", width), mlp)
    merges = sequential_merger(c, norm("merger.ln_q", width, bias=True), width, c.size("hidden_size"))
    return _rotary_tower(c, width, layer, merges)


def qwen2_5_vision(c: Fields) -> Body:
    """Qwen2.5-VL's tower: RMS norms and a gated MLP; most of its layers attend within windows of the image."""
    return windowed_tower(c, linear("attn.qkv", c.size("hidden_size"), 3 * c.size("hidden_size"), bias=True))


def windowed_tower(c: Fields, queries: Tensors) -> Body:
    """Qwen2.5-VL's tower and those like it, with the projections of their own for queries, keys and values."""
    width = c.size("hidden_size")
    attends = Block((*queries, *linear("attn.proj", width, width, bias=True)))
    layer = (
        rms_norm("norm1", width),
        attends,
        rms_norm("norm2", width),
        gated_mlp(width, c.size("intermediate_size"), bias=True),
    )
    return _rotary_tower(c, width, layer, sequential_merger(c, norm("merger.ln_q", width), width))


def qwen3_vision(c: Fields) -> Body:
    """Qwen3-VL's tower: that of Qwen 3.5, with more mergers for inner layers that the text's first ones take in."""
    deep = merger(c, c.size("hidden_size") * c.size("spatial_merge_size") ** 2, "deepstack_merger_list.*")
    return qwen_vision(c).beside(repeated(deep, len(c.integers("deepstack_visual_indexes"))))


def repeated(tensors: Tensors, times: int) -> Tensors:
    """The same weights for each of some layers, or none."""
    return tuple(tensor._replace(copies=times) for tensor in tensors if times)


def fused(width: int) -> Block:
    """Attention of a tower, its queries, keys and values in one projection."""
    return Block(within("attn", linear("qkv", width, 3 * width, bias=True), linear("proj", width, width, bias=True)))


def patches(c: Fields, width: int) -> Tensors:
    """Embedding of patches of space and time, without a bias."""
    patch = c.size("patch_size")
    return convolution("patch_embed.proj", (width, c.size("in_channels"), c.size("temporal_patch_size"), patch, patch))


def _rotary_tower(c: Fields, width: int, layer: Layer, merges: Tensors) -> Body:
    return Body(width, (Stack("blocks", [layer] * c.size("depth")),), (*patches(c, width), *merges))


def sequential_merger(
    c: Fields, first: Tensors, width: int, outputs: int | None = None, name: str = "merger"
) -> Tensors:
    """Two projections of neighbouring patches side by side, in a list called mlp, after a norm `first`."""
    wide = width * c.size("spatial_merge_size") ** 2
    out = linear(f"{name}.mlp.*", wide, outputs or c.size("out_hidden_size"), bias=True)
    return (*first, *linear(f"{name}.mlp.*", wide, wide, bias=True), *out)


# The whole


def flat(c: Fields) -> Fields:
    """The text part of a config which may hold the keys of the text itself, as Qwen's own do."""
    if c.raw("text_config") is not None:
        # A config that was saved both ways: nothing reads these of the whole any more.
        c.read.update(("sliding_window", "layer_types"))
    elif "text_config" not in c.parts:
        kind = c.table[c.kind]["parts"]["text_config"]["type"]
        text, own = c.table[kind], c.table[c.kind]["fields"]
        # What the outer class declares does not reach the text.
        keys = {*text["fields"], *text.get("names", {})} - {*own}
        given = {key: value for key, value in c.config.items() if key in keys}
        c.parts["text_config"] = Fields(kind, given, c.table, c.path, c.read)
    return c.part("text_config")


def flattened(body: Bodies) -> Bodies:
    """A base model whose text part may stand in the config itself."""

    def build(c: Fields) -> Body:
        flat(c)
        return body(c)

    return build


BODIES: Final = {
    **dict.fromkeys(("qwen2_vl_text", "qwen2_5_vl_text"), qwen2_vl_text),
    "qwen3_vl_text": qwen3_vl_text,
    "qwen3_vl_moe_text": qwen3_vl_moe_text,
    "qwen2_vl_vision": qwen2_vision,
    "qwen2_5_vl_vision": qwen2_5_vision,
    **dict.fromkeys(("qwen3_vl_vision", "qwen3_vl_moe_vision"), qwen3_vision),
    **dict.fromkeys(("qwen3_vl", "qwen3_vl_moe"), vision_language),
}
CLASSES: Final = {
    **dict.fromkeys(
        ("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration"),
        answers(flattened(vision_language), tie=either_tie),
    ),
    **dict.fromkeys(("Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration"), conditional),
}
