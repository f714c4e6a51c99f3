"""Muse Glimmer and Muse Spark: gated attention over a window in three of four layers, a tower, and in Spark an ear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    attention,
    convolution,
    embedding,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    rms_norm,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import by_layer, decoder, dense, grouped_heads, routing, sandwiched, window
from vramguard.memory.families.experts import feed_forward, kinds, router, sparse_layers
from vramguard.memory.families.gemma import NORMS
from vramguard.memory.families.sight import answers, seeing
from vramguard.memory.families.towers import attends, two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def glimmer_text(c: Fields) -> Body:
    """Muse Glimmer's text model: norms on both sides; its embedding ends in a norm without weights."""
    return decoder(c, sandwiched(c, _gated(c), dense(c), NORMS))


def spark_text(c: Fields) -> Body:
    """Muse Spark's text model: experts narrower than the rest, and a gate for each residual path."""
    hidden = c.size("hidden_size")
    mlp = feed_forward(
        sparse_layers(c, lambda _: True), lambda: _experts(c), lambda: gated_mlp(hidden, c.size("intermediate_size"))
    )
    around = (
        *(rms_norm(name, hidden) for name in NORMS if name != "post_attention_layernorm"),
        *(Block(parameter(f"post_{part}_residual_gate.gate", hidden)) for part in ("attention", "feedforward")),
    )
    return decoder(c, [(attends, feeds, *around) for attends, feeds in zip(_gated(c), mlp, strict=True)])


def _gated(c: Fields) -> list[Block]:
    """Attention of each layer with a gate for its output; counted from the last layer, every fourth one is full."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    gate = linear("gate_proj", heads.hidden, heads.query)
    windows = by_layer(c, window(c), lambda i: (c.layers - 1 - i) % 4 != 0)
    return [attention(heads, size, bias=bias, output_bias=bias, norms=gate) for size in windows]


def _experts(c: Fields) -> Block:
    hidden, narrow, routed = c.size("hidden_size"), c.size("moe_hidden_size"), routing(c, "num_local_experts")
    return Block(
        within(
            "mlp",
            router(routed, hidden),
            linear("pre_expert_proj", hidden, narrow),
            norm("pre_expert_norm", narrow),
            stacked_experts(narrow, c.size("moe_intermediate_size"), routed),
            norm("experts.post_expert_norm", narrow),
            linear("post_expert_proj", narrow, hidden),
        )
    )


def muse_vision(c: Fields) -> Body:
    """The tower: patches of space and time by a Linear, a grid of positions, most layers within windows."""
    hidden = c.size("hidden_size")
    kinds(c, "layer_types", lambda _: "full_attention", ("full_attention", "window_attention"))  # changes no weight
    names = ("q_proj", "k_proj", "v_proj", "proj")
    layer = (
        layer_norm("norm1", hidden),
        Block(within("attn", attends(hidden, names))),
        layer_norm("norm2", hidden),
        two_linears(hidden, c.size("intermediate_size")),
    )
    outside = (
        *within(
            "patch_embedder",
            linear("patch_embedding", 3 * c.size("patch_temporal") * c.size("patch_size") ** 2, hidden),
            embedding("position_embedding_table", c.size("pos_emb_height") * c.size("pos_emb_width"), hidden),
        ),
        *norm("ln_pre", hidden, bias=True),
        *norm("ln_post", hidden, bias=True),
    )
    return Body(hidden, (Stack("layers", [layer] * c.layers),), outside)


def spark_audio(c: Fields) -> Body:
    """The ear: stages that each join some neighbouring frames and pass them through convolutions."""
    steps, widths, depths = (c.integers(key) for key in ("patch_sizes", "hidden_sizes", "depths"))
    if not len(steps) == len(widths) == len(depths) == c.layers or min((*steps, *widths), default=0) < 1:
        raise UnprovenError(f"config: {c.path}patch_sizes, hidden_sizes and depths are not sizes of each layer")
    ratio, output = c.ratio("mlp_ratio"), c.size("out_hidden_size")
    stages = []
    for step, before, width, depth in zip(steps, (1, *widths), widths, depths, strict=False):
        blocks = within("conv_blocks.*", _convolves(width, int(width * ratio), c.size("conv_kernel_size")))
        patches = (*linear("proj", step * before, width, bias=True), *norm("norm", width))
        repeated = tuple(tensor._replace(copies=depth) for tensor in blocks if depth > 0)
        stages.append((Block((*within("patch_embedder", patches), *repeated)),))
    outside = (
        *norm("norm", widths[-1]),
        *linear("proj", widths[-1], output, bias=True),
        *norm("post_proj_norm", output),
    )
    return Body(output, (Stack("layers", stages),), outside)


def _convolves(width: int, wide: int, kernel: int) -> Tensors:
    return (
        *convolution("conv", (width, 1, kernel), bias=True),
        *norm("norm", width),
        *two_linears(width, wide).tensors,
    )


def _adapter(c: Fields, hidden: int) -> Tensors:
    """Neighbouring patches side by side, as wide as the config says, through two projections and one more."""
    middle = c.size("projector_hidden_size")
    return (
        *linear("vision_adapter.fc1", c.size("out_hidden_size"), middle),
        *linear("vision_adapter.fc2", middle, middle),
        *linear("vision_projection", middle, hidden),
    )


glimmer = seeing(_adapter)


def spark(c: Fields) -> Body:
    """Muse Spark: Muse Glimmer's parts, and an ear."""
    return glimmer(c).beside(body_of(c.part("audio_config")).within("audio_tower"))


BODIES: Final = {
    "muse_glimmer_text": glimmer_text,
    "muse_spark_text": spark_text,
    **dict.fromkeys(("muse_glimmer_vision", "muse_spark_vision"), muse_vision),
    "muse_spark_audio": spark_audio,
}
CLASSES: Final = {
    "MuseGlimmerForConditionalGeneration": answers(glimmer),
    "MuseSparkForConditionalGeneration": answers(spark, tie=lambda _: False),
}
