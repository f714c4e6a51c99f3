"""Llama 4: layers that see chunks of the text, experts in every layer or every other one; a tower for images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    buffer,
    gated,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    stacked,
    within,
)
from vramguard.memory.families.decoder import attend, decoder, divide, headed, pre_norm, routing
from vramguard.memory.families.experts import feed_forward, kinds

if TYPE_CHECKING:
    from vramguard.memory.architecture import Tensor
    from vramguard.memory.families.fields import Fields

CHUNKED: Final = "chunked_attention"


def llama4_text(c: Fields) -> Body:
    """Llama 4: its router is a Linear, its experts are stored the other way round beside one that every token passes.

    The forward pass of transformers runs every expert for every token, with zeros where it was not chosen.
    """
    bias = c.flag("attention_bias")
    attends = attend(c, _chunks(c), bias=bias, output_bias=bias)
    hidden, wide = c.size("hidden_size"), c.size("intermediate_size_mlp")
    mlp = feed_forward(_sparse(c), lambda: _experts(c), lambda: gated_mlp(hidden, wide, name="feed_forward"))
    return decoder(c, pre_norm(c, attends, mlp))


def _chunks(c: Fields) -> list[int | None]:
    """Chunk of each layer; its cache is that of a sliding layer."""
    # A list, even of zeros, says which layers rotate their positions: those see chunks, the others everything.
    rotated = c.integers("no_rope_layers")
    every = c.size("no_rope_layer_interval")
    if rotated and len(rotated) != c.layers:
        raise UnprovenError(f"config: no_rope_layers has {len(rotated)} entries for {c.layers} layers")

    def kind(i: int) -> str:
        return CHUNKED if (rotated[i] if rotated else (i + 1) % every) else "full_attention"

    found, size = kinds(c, "layer_types", kind, (CHUNKED, "full_attention")), c.optional("attention_chunk_size")
    if CHUNKED in found and size in (None, 1):
        raise UnprovenError(f"config: a layer sees chunks, but attention_chunk_size is {size}")
    return [size if kind == CHUNKED else None for kind in found]


def _sparse(c: Fields) -> list[bool]:
    if not c.is_null("moe_layers"):
        return [i in c.integers("moe_layers") for i in range(c.layers)]
    step = c.size("interleave_moe_layer_step")
    return [(i + 1) % step == 0 for i in range(c.layers)]


def _experts(c: Fields) -> Block:
    hidden, width, routed = c.size("hidden_size"), c.size("intermediate_size"), routing(c, "num_local_experts")
    tensors = (
        *linear("router", hidden, routed.experts),
        *stacked("experts.gate_up_proj", routed, hidden, 2 * width),
        *stacked("experts.down_proj", routed, width, hidden),
        *within("shared_expert", gated(hidden, width)),
    )
    return Block(within("feed_forward", tensors))


# With images


def llama4_vision(c: Fields) -> Body:
    """Llama 4's tower: patches by a Linear, one class token at the end, a table of complex angles for its positions."""
    hidden, side = c.size("hidden_size"), c.size("image_size") // c.size("patch_size")
    heads, rows = c.size("num_attention_heads"), side**2 + 1
    outside = (
        *parameter("class_embedding", hidden),
        *parameter("positional_embedding_vlm", rows, hidden),
        *linear("patch_embedding.linear", c.size("num_channels") * c.size("patch_size") ** 2, hidden),
        *norm("layernorm_pre", hidden, bias=True),
        *norm("layernorm_post", hidden, bias=True),
        *within("vision_adapter.mlp", _adapter(c)),
    )
    angles = buffer("rotary_embedding.freqs_ci", rows, 1, hidden // heads // 4 * 2, item=8)  # complex
    return Body(hidden, (Stack("model.layers", [_vision_layer(c)] * c.layers),), outside, angles)


def _vision_layer(c: Fields) -> tuple[Block, ...]:
    hidden, width = c.size("hidden_size"), c.size("intermediate_size")
    wide = divide(c, "hidden_size", "num_attention_heads") * c.size("num_attention_heads")
    projections = (t for name in ("q_proj", "k_proj", "v_proj") for t in linear(name, hidden, wide, bias=True))
    return (
        layer_norm("input_layernorm", hidden),
        Block(within("self_attn", tuple(projections), linear("o_proj", wide, hidden, bias=True))),
        layer_norm("post_attention_layernorm", hidden),
        plain_mlp(linear("fc1", hidden, width, bias=True), linear("fc2", width, hidden, bias=True)),
    )


def _adapter(c: Fields) -> tuple[Tensor, ...]:
    """Projections of neighbouring patches side by side, which are as wide as the layers' MLP."""
    middle, output = c.size("projector_input_dim"), c.size("projector_output_dim")
    return (*linear("fc1", c.size("intermediate_size"), middle), *linear("fc2", output, output))


def llama4_conditional(c: Fields) -> Network:
    """The whole: its language model is a class with a head, which is tied as the text part says."""
    text, vision = c.part("text_config"), c.part("vision_config")
    language = llama4_causal(text)
    projector = linear("multi_modal_projector.linear_1", vision.size("vision_output_dim"), language.body.hidden)
    body = language.body.within("language_model").beside(body_of(vision).within("vision_model"), projector)
    return Network(body, within("language_model", language.head), language.tied)


def llama4_causal(c: Fields) -> Network:
    """The text model with a head; of a whole config it takes the text part."""
    text = c.part("text_config") if c.has_part("text_config") else c
    return headed(text, body_of(text).within("model"))


BODIES: Final = {"llama4_text": llama4_text, "llama4_vision_model": llama4_vision}
CLASSES: Final = {
    "Llama4ForCausalLM": llama4_causal,
    "Llama4ForConditionalGeneration": llama4_conditional,
}
