"""JetMoe: attention is a mixture too; each chosen expert brings one set of query heads to the same keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Attention, Cache, UnprovenError
from vramguard.memory.families.blocks import Block, linear, parameter, stacked, within
from vramguard.memory.families.decoder import causal, decoder, pre_norm, routing

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Routing, Tensors
    from vramguard.memory.families.fields import Fields


def jetmoe(c: Fields) -> Body:
    """JetMoe: keys are repeated for each chosen expert after they are cached."""
    hidden, routed = c.size("hidden_size"), routing(c, "num_local_experts")
    mlp = Block(within("mlp", _experts(routed, hidden, 2 * c.size("intermediate_size"), c.size("intermediate_size"))))
    return decoder(c, pre_norm(c, [_attention(c, routed)] * c.layers, [mlp] * c.layers))


def _attention(c: Fields, routed: Routing) -> Block:
    hidden, kv_heads, head_dim = c.size("hidden_size"), c.size("num_key_value_heads"), c.size("kv_channels")
    heads, width = kv_heads * routed.chosen, c.derive("key_width", kv_heads * head_dim)
    if c.optional("num_attention_heads") not in (None, heads):
        raise UnprovenError("config: num_attention_heads is not num_key_value_heads times num_experts_per_tok")
    tensors = (*within("experts", _experts(routed, hidden, width, width)), *linear("kv_proj", hidden, 2 * width))
    return Block(within("self_attention", tensors), Attention(1, heads, heads, head_dim), Cache(width, width))


def _experts(routed: Routing, hidden: int, up: int, down: int) -> Tensors:
    """Experts of two projections, the first `up` wide, with one bias for all that they give."""
    return (
        *parameter("bias", hidden),
        *stacked("input_linear.weight", routed, up, hidden),
        *stacked("output_linear.weight", routed, hidden, down),
        *linear("router.layer", hidden, routed.experts),
    )


BODIES: Final = {"jetmoe": jetmoe}
CLASSES: Final = {"JetMoeForCausalLM": causal(jetmoe)}
