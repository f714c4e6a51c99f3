"""Kimi-Linear and Ling 3 (bailing_hybrid): delta nets with a decay for each channel, beside latent attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Tensors,
    convolution,
    gated_mlp,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import FULL, decoder, headed, pre_norm, routing
from vramguard.memory.families.experts import feed_forward, mixture, shared_experts, sparse_layers, undeclared
from vramguard.memory.families.kinds import LINEAR, every, layer_kinds, mixed
from vramguard.memory.families.latent import latent, latent_attention
from vramguard.memory.families.mamba import FLOAT32

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Body, Network
    from vramguard.memory.families.fields import Fields

# What linear_attn_config says, by the names of the class's own fields, over which it wins.
_NESTED: Final = {
    "head_dim": "linear_head_dim",
    "num_heads": "linear_num_heads",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}


class Channels(NamedTuple):
    """Geometry of a delta net whose queries, keys and values are equally wide."""

    hidden: int
    heads: int
    head_dim: int
    kernel: int

    @property
    def width(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim

    @property
    def cache(self) -> Cache:
        """The convolution's last inputs, and a matrix a head."""
        states = State(3 * self.width * self.kernel), State(self.width * self.head_dim, FLOAT32)
        return Cache(states=states)

    def net(self, gates: Tensors, name: str = "self_attn") -> Block:
        """The net; `gates` are those of forgetting and of the output, which each family makes in its own way."""
        tensors = (
            *(t for each in ("q_proj", "k_proj", "v_proj") for t in linear(each, self.hidden, self.width)),
            *convolution("conv1d", (3 * self.width, 1, self.kernel)),
            *gates,
            *linear("b_proj", self.hidden, self.heads),
            *norm("o_norm", self.head_dim),
            *linear("o_proj", self.width, self.hidden),
        )
        return Block(within(name, tensors), cache=self.cache)


def kimi_linear(c: Fields) -> Body:
    """Kimi-Linear: both gates pass a narrow layer; every fifth layer attends, or as linear_attn_config says."""
    c = flattened(c)
    sizes = ("hidden_size", "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim")
    g = Channels(*(c.size(key) for key in sizes))
    mixers = mixed(_kimi_kinds(c), g.net(low_rank_gates(g)), latent_attention(latent(c), bias=c.flag("attention_bias")))
    first = undeclared(c, "first_k_dense_replace", 1)
    return decoder(c, pre_norm(c, mixers, _experts(c, sparse_layers(c, lambda i: i >= first))))


def bailing_hybrid(c: Fields) -> Body:
    """Ling 3: gates in one step, latent attention with a gate for each head in every layer_group_size-th layer."""
    g = Channels(
        c.size("hidden_size"),
        undeclared(c, "linear_num_heads", c.size("num_attention_heads")),
        undeclared(c, "linear_head_dim", c.size("head_dim")),
        undeclared(c, "linear_conv_kernel_dim", c.size("short_conv_kernel_size")),
    )
    gates = (
        *linear("forget_gate.f_proj", g.hidden, g.width),
        *parameter("forget_gate.A_log", g.heads),
        *parameter("forget_gate.dt_bias", g.width),
        *linear("g_proj", g.hidden, g.width),
    )
    sizes = latent(c)._replace(query_rank=None)
    attends = latent_attention(sizes, bias=c.flag("attention_bias"), more=linear("g_proj", sizes.hidden, sizes.heads))
    mixers = mixed(layer_kinds(c, every(c.size("layer_group_size"))), g.net(gates), attends)
    return decoder(
        c, pre_norm(c, mixers, _experts(c, sparse_layers(c, lambda i: i >= c.count("first_k_dense_replace"))))
    )


def low_rank_gates(g: Channels, *, heads_only: bool = False) -> Tensors:
    """Gates of Kimi-Linear; with `heads_only` the decay has no axis beside its heads."""
    return (
        *linear("forget_gate.f_a_proj", g.hidden, g.head_dim),
        *linear("forget_gate.f_b_proj", g.head_dim, g.width),
        *parameter("forget_gate.dt_bias", g.width),
        *parameter("forget_gate.A_log", *((g.heads,) if heads_only else (1, 1, g.heads, 1))),
        *linear("g_a_proj", g.hidden, g.head_dim),
        *linear("g_b_proj", g.head_dim, g.width),
    )


def flattened(c: Fields) -> Fields:
    """The config with what its linear_attn_config says in the places of the class's own fields."""
    if not c.given("linear_attn_config"):
        return c
    nested = c.raw("linear_attn_config")
    if not isinstance(nested, Mapping):
        raise UnprovenError("config: linear_attn_config is not an object")
    return replace(c, config={**c.config, **{own: nested[key] for key, own in _NESTED.items() if key in nested}})


def _kimi_kinds(c: Fields) -> list[str]:
    """Kinds as listed, by the numbers (from 1) of linear_attn_config's lists, or every fifth layer attends."""
    nested = c.raw("linear_attn_config") if c.given("linear_attn_config") else {}
    if "full_attn_layers" not in nested or "kda_layers" not in nested:
        return layer_kinds(c, lambda i: FULL if i and i % 4 == 0 else LINEAR)
    numbers = {kind: nested[key] for kind, key in ((FULL, "full_attn_layers"), (LINEAR, "kda_layers"))}
    every_number = [n for listed in numbers.values() if isinstance(listed, list) for n in listed]
    if not all(type(n) is int for n in every_number) or sorted(every_number) != list(range(1, c.layers + 1)):
        raise UnprovenError("config: full_attn_layers and kda_layers do not list each layer once")
    return layer_kinds(c, lambda i: FULL if i + 1 in numbers[FULL] else LINEAR)


def _experts(c: Fields, sparse: Sequence[bool]) -> list[Block]:
    """Experts where a layer has them, else a dense MLP."""
    hidden, width = c.size("hidden_size"), c.size("moe_intermediate_size")

    def experts() -> Block:
        shared = shared_experts(hidden, width * c.size("n_shared_experts"))
        return mixture(hidden, width, routing(c, "num_local_experts"), shared=shared)

    return feed_forward(sparse, experts, lambda: gated_mlp(hidden, c.size("intermediate_size")))


def _causal(body: Callable[[Fields], Body]) -> Callable[[Fields], Network]:
    """The classes know no tying: the head is its own weight whatever the config says."""
    return lambda c: headed(c, body(c).within("model"), tied=False)


BODIES: Final = {"kimi_linear": kimi_linear, "bailing_hybrid": bailing_hybrid}
CLASSES: Final = {
    "KimiLinearForCausalLM": _causal(kimi_linear),
    "BailingHybridForCausalLM": _causal(bailing_hybrid),
}
