"""LFM2: short convolutions, whose last inputs are all that they keep, beside attention; dense and with experts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    convolution,
    linear,
    norm,
    parameter,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import FULL, Stem, decoder, grouped_heads, headed, pre_norm, routing
from vramguard.memory.families.kinds import layer_kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Body, Network
    from vramguard.memory.families.fields import Fields

_CONV: Final = "conv"


def lfm2(c: Fields) -> Body:
    """LFM2: all layers attend but those that full_attn_idxs leaves out; the MLP's width is rounded."""
    given = None if c.is_null("full_attn_idxs") else c.integers("full_attn_idxs")
    mixers = _mixers(c, lambda i: FULL if given is None or i in given else _CONV)
    return _body(c, mixers, [_mlp(c, _width(c))] * c.layers)


def lfm2_moe(c: Fields) -> Body:
    """LFM2 with experts in all but its first layers."""
    hidden, dense = c.size("hidden_size"), c.count("num_dense_layers")
    mlps = [_mlp(c, c.size("intermediate_size"))] * min(dense, c.layers)
    if dense < c.layers:
        routed = routing(c)
        experts = stacked_experts(hidden, c.size("moe_intermediate_size"), routed)
        router = parameter("gate.weight", routed.experts, hidden)
        mlps += [Block(within("feed_forward", router, experts))] * (c.layers - dense)
    if c.texts("layer_types") is None:
        raise UnprovenError("config: layer_types is null, from which lfm2_moe builds no layer")
    return _body(c, _mixers(c, lambda _: FULL), mlps)


def _body(c: Fields, mixers: list[Block], mlps: list[Block]) -> Body:
    layers = pre_norm(c, mixers, mlps, names=("operator_norm", "ffn_norm"))
    return decoder(c, layers, stem=Stem(norm="embedding_norm"))


def _mixers(c: Fields, rule: Callable[[int], str]) -> list[Block]:
    hidden, heads, bias, kernel = c.size("hidden_size"), grouped_heads(c), c.flag("conv_bias"), c.size("conv_L_cache")
    attends = (
        *linear("q_proj", hidden, heads.query),
        *linear("k_proj", hidden, heads.key),
        *linear("v_proj", hidden, heads.key),
        *linear("out_proj", heads.query, hidden),
        *(t for name in ("q_layernorm", "k_layernorm") for t in norm(name, heads.head_dim)),
    )
    convolves = (
        *convolution("conv", (hidden, 1, kernel), bias=bias),
        *linear("in_proj", hidden, 3 * hidden, bias=bias),
        *linear("out_proj", hidden, hidden, bias=bias),
    )
    blocks = {
        FULL: Block(within("self_attn", attends), heads.role(), heads.cache()),
        _CONV: Block(within("conv", convolves), cache=Cache(states=(State(hidden * kernel),))),
    }
    return [blocks[kind] for kind in layer_kinds(c, rule, tuple(blocks))]


def _mlp(c: Fields, width: int) -> Block:
    hidden = c.size("hidden_size")
    tensors = (*linear("w1", hidden, width), *linear("w3", hidden, width), *linear("w2", width, hidden))
    return Block(within("feed_forward", tensors))


def _width(c: Fields) -> int:
    """Width of the MLP: two thirds of what the config says, scaled and rounded up, unless it says not to."""
    width = c.size("block_ff_dim" if c.given("block_ff_dim") else "intermediate_size")
    if c.flag("block_auto_adjust_ff_dim"):
        multiple, scale = c.size("block_multiple_of"), c.ratio("block_ffn_dim_multiplier")
        width = -(-int(scale * (2 * width // 3)) // multiple) * multiple
    return c.derive("adjusted_ff_dim", width)


def _causal(body: Callable[[Fields], Body]) -> Callable[[Fields], Network]:
    """The head, which an older key may tie."""

    def build(c: Fields) -> Network:
        tied = c.flag("tie_embedding" if c.given("tie_embedding") else "tie_word_embeddings")
        return headed(c, body(c).within("model"), tied=tied)

    return build


BODIES: Final = {"lfm2": lfm2, "lfm2_moe": lfm2_moe}
CLASSES: Final = {"Lfm2ForCausalLM": _causal(lfm2), "Lfm2MoeForCausalLM": _causal(lfm2_moe)}
