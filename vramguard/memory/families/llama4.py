"""Llama 4: layers that see chunks of the text, experts in every layer or every other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import Block, gated, gated_mlp, linear, stacked, within
from vramguard.memory.families.decoder import attend, causal, decoder, pre_norm, routing
from vramguard.memory.families.experts import feed_forward, kinds

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body
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


BODIES: Final = {"llama4_text": llama4_text}
CLASSES: Final = {"Llama4ForCausalLM": causal(llama4_text)}
