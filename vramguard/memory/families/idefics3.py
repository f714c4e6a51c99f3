"""Idefics 2 and 3, SmolVLM and Aria: SigLIP's tower without its head, and what shortens its output before the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    gated,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.fields import MAX_LAYERS, MAX_SIZE, shown
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import attends, dense, torch_attention

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields

NAMES: Final = Names("text_model", "vision_model")


def _shuffled(c: Fields, hidden: int) -> Tensors:
    """Idefics 3: a square of patches side by side, through one Linear."""
    inputs = c.part("vision_config").size("hidden_size") * c.size("scale_factor") ** 2
    return linear("connector.modality_projection.proj", inputs, hidden)


def _perceived(c: Fields, hidden: int) -> Tensors:
    """Idefics 2: a gated MLP, then latents that ask about what it gave."""
    seen, width = c.part("vision_config").size("hidden_size"), c.part("text_config").size("intermediate_size")
    projection = (
        *linear("gate_proj", seen, width),
        *linear("up_proj", seen, width),
        *linear("down_proj", width, hidden),
    )
    latents = perceiver(c.part("perceiver_config"), hidden)
    return within("connector", within("modality_projection", projection), latents.within("perceiver_resampler").tensors)


def perceiver(c: Fields, hidden: int) -> Body:
    """Idefics 2's resampler, as wide as the text model whatever its own config says."""
    heads, kv_heads, head_dim = c.size("resampler_n_heads"), c.size("num_key_value_heads"), c.size("resampler_head_dim")
    attention = (
        *linear("q_proj", hidden, heads * head_dim),
        *linear("k_proj", hidden, kv_heads * head_dim),
        *linear("v_proj", hidden, kv_heads * head_dim),
        *linear("o_proj", heads * head_dim, hidden),
    )
    layer = (
        *(rms_norm(name, hidden) for name in ("input_latents_norm", "input_context_norm", "post_attention_layernorm")),
        Block(within("self_attn", attention)),
        Block(within("mlp", gated(hidden, 4 * hidden))),
    )
    depth = c.size("resampler_depth", MAX_LAYERS)
    outside = (*parameter("latents", c.size("resampler_n_latents"), hidden), *norm("norm", hidden))
    return Body(hidden, (Stack("layers", [layer] * depth),), outside)


def _queried(c: Fields, hidden: int) -> Tensors:
    """Aria: learned queries ask about the patches, as many as the largest picture takes."""
    seen = c.part("vision_config").size("hidden_size")
    cross = (
        *attends(seen, ("q_proj", "k_proj", "v_proj"), bias=False),
        *within("multihead_attn", torch_attention(seen)),
        *dense("linear", seen, seen),
        *norm("layer_norm", seen, bias=True),
        *norm("layer_norm_kv", seen, bias=True),
    )
    return within(
        "multi_modal_projector",
        parameter("query", _queries(c), seen),
        within("cross_attn", cross),
        norm("layer_norm", seen, bias=True),
        within("feed_forward", linear("linear_in", seen, hidden), linear("linear_out", hidden, hidden)),
    )


def _queries(c: Fields) -> int:
    """Most queries of any number of patches."""
    table = c.raw("projector_patch_to_query_dict")
    table = {"1225": 128, "4900": 256} if table is None else table
    most = (
        max(table.values(), default=0) if isinstance(table, dict) and all(type(n) is int for n in table.values()) else 0
    )
    if not 0 < most < MAX_SIZE:
        raise UnprovenError(f"config: projector_patch_to_query_dict is {shown(table)}, not a table of numbers")
    return int(most)


CLASSES: Final = {
    "Idefics3ForConditionalGeneration": answers(seeing(_shuffled, NAMES), NAMES.text),
    "SmolVLMForConditionalGeneration": answers(seeing(_shuffled, NAMES), NAMES.text),
    "Idefics2ForConditionalGeneration": answers(seeing(_perceived, NAMES), NAMES.text),
    "AriaForConditionalGeneration": answers(seeing(_queried)),
}
