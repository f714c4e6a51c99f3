"""The vision tower of Qwen 3.5 and its kin, and the models that put it beside their text model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    embedding,
    layer_norm,
    linear,
    norm,
    plain_mlp,
    within,
)
from vramguard.memory.families.decoder import headed

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network, Tensors
    from vramguard.memory.families.fields import Fields


def qwen_vision(c: Fields, merges: Tensors | None = None) -> Body:
    """Qwen 3.5's tower: patches of space and time, learned positions, and a merger of neighbouring patches."""
    hidden, patch = c.size("hidden_size"), c.size("patch_size")
    outside = (
        *convolution(
            "patch_embed.proj", (hidden, c.size("in_channels"), c.size("temporal_patch_size"), patch, patch), bias=True
        ),
        *embedding("pos_embed", c.size("num_position_embeddings"), hidden),
        *(merger(c, hidden) if merges is None else merges),
    )
    return Body(hidden, (Stack("blocks", [_layer(hidden, c.size("intermediate_size"))] * c.size("depth")),), outside)


def vision_language(c: Fields) -> Body:
    """A text model with a tower beside it."""
    text, tower = body_of(c.part("text_config")), body_of(c.part("vision_config"))
    return text.within("language_model").beside(tower.within("visual"))


def conditional(c: Fields) -> Network:
    """A ...ForConditionalGeneration; whether its head is tied stands outside its text config."""
    return headed(c, vision_language(c).within("model"))


def text_only(c: Fields) -> Network:
    """A ...ForCausalLM, whose config may be that of the whole, of which it takes the text part."""
    text = c.part("text_config") if c.has_part("text_config") else c
    return headed(text, body_of(text).within("model"))


def _layer(hidden: int, width: int) -> tuple[Block, ...]:
    attends = within("attn", linear("qkv", hidden, 3 * hidden, bias=True), linear("proj", hidden, hidden, bias=True))
    up, down = linear("linear_fc1", hidden, width, bias=True), linear("linear_fc2", width, hidden, bias=True)
    return layer_norm("norm1", hidden), Block(attends), layer_norm("norm2", hidden), plain_mlp(up, down)


def merger(c: Fields, normed: int, name: str = "merger") -> Tensors:
    """Two projections of neighbouring patches side by side; the norm before them is of a patch or of all of them."""
    wide = c.size("hidden_size") * c.size("spatial_merge_size") ** 2
    return within(
        name,
        norm("norm", normed, bias=True),
        linear("linear_fc1", wide, wide, bias=True),
        linear("linear_fc2", wide, c.size("out_hidden_size"), bias=True),
    )


BODIES: Final = {
    **dict.fromkeys(("qwen3_5_vision", "qwen3_5_moe_vision", "qwen4_exp_vision"), qwen_vision),
    **dict.fromkeys(("qwen3_5", "qwen3_5_moe", "qwen4_exp"), vision_language),
}
CLASSES: Final = {
    **dict.fromkeys(("Qwen3_5ForCausalLM", "Qwen3_5MoeForCausalLM", "Qwen4ExpForCausalLM"), text_only),
    **dict.fromkeys(
        (
            "Qwen3_5ForConditionalGeneration",
            "Qwen3_5MoeForConditionalGeneration",
            "Qwen4ExpForConditionalGeneration",
        ),
        conditional,
    ),
}
