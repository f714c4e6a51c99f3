"""Mamba 1 and 2 and Falcon-Mamba: no attention, each layer a state-space mixer that keeps two states of a sequence.

The mixers are blocks of their own: the hybrids interleave them with attention (hybrid.py, zamba.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Cache, State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    Tensors,
    buffer,
    convolution,
    embedding,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import Stem, causal
from vramguard.memory.families.experts import undeclared

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Layer
    from vramguard.memory.families.fields import Fields

_STEM: Final = Stem("embeddings", "layers", "norm_f")
FLOAT32: Final = 4  # bytes of a recurrent state, whatever the model's dtype: the scans accumulate in it


class Selective(NamedTuple):
    """Geometry of a Mamba 1 mixer."""

    hidden: int
    inner: int
    state: int
    kernel: int
    rank: int  # of the time step's projection

    @property
    def cache(self) -> Cache:
        """The convolution's last inputs, and the scan's state."""
        return Cache(states=(State(self.inner * self.kernel), State(self.inner * self.state, FLOAT32)))

    def ends(self, *, bias: bool, conv_bias: bool) -> Tensors:
        """Convolution and the projections on both sides."""
        return (
            *convolution("conv1d", (self.inner, 1, self.kernel), bias=conv_bias),
            *linear("in_proj", self.hidden, 2 * self.inner, bias=bias),
            *linear("out_proj", self.inner, self.hidden, bias=bias),
        )


class Grouped(NamedTuple):
    """Geometry of a Mamba 2 mixer: heads that share the state's inputs and outputs in groups."""

    hidden: int
    heads: int
    head_dim: int
    groups: int
    state: int
    kernel: int

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.head_dim

    @property
    def channels(self) -> int:
        """Channels that are convolved: the heads' inputs, and two vectors a group."""
        return self.inner + 2 * self.groups * self.state

    @property
    def projection(self) -> int:
        """Width of the input projection: gate, channels and a time step for each head."""
        return self.inner + self.channels + self.heads


class GroupedKeys(NamedTuple):
    """Names of a Mamba 2 mixer's keys in one family."""

    heads: str
    groups: str
    state: str
    kernel: str


def selective_mixer(name: str, g: Selective, *, bias: bool, conv_bias: bool, norms: Tensors = ()) -> Block:
    """Mamba 1's mixer; `norms` are further weights of it."""
    tensors = (
        *g.ends(bias=bias, conv_bias=conv_bias),
        *linear("x_proj", g.inner, g.rank + 2 * g.state),
        *linear("dt_proj", g.rank, g.inner, bias=True),
        *parameter("A_log", g.inner, g.state),
        *parameter("D", g.inner),
        *norms,
    )
    return Block(within(name, tensors), cache=g.cache)


def grouped_mixer(
    name: str, g: Grouped, *, bias: bool, conv_bias: bool, output_bias: bool | None = None, normed: bool = True
) -> Block:
    """Mamba 2's mixer; its output has a bias of its own choice in Falcon-H1, which may also lack the norm."""
    tensors = (
        *convolution("conv1d", (g.channels, 1, g.kernel), bias=conv_bias),
        *linear("in_proj", g.hidden, g.projection, bias=bias),
        *(t for each in ("dt_bias", "A_log", "D") for t in parameter(each, g.heads)),
        *(norm("norm", g.inner) if normed else ()),
        *linear("out_proj", g.inner, g.hidden, bias=bias if output_bias is None else output_bias),
    )
    states = State(g.channels * g.kernel), State(g.inner * g.state, FLOAT32)
    return Block(within(name, tensors), cache=Cache(states=states))


def grouped(c: Fields, inner: int, head_dim: int, keys: GroupedKeys) -> Grouped:
    """Geometry of a family; UnprovenError where the heads do not make up `inner`."""
    geometry = Grouped(c.size("hidden_size"), c.size(keys.heads), head_dim, *(c.size(key) for key in keys[1:]))
    c.derive("inner_channels", inner)
    if geometry.inner != inner:
        raise UnprovenError(f"config: {keys.heads} {geometry.heads} of {head_dim} do not make up {inner} channels")
    if geometry.heads % geometry.groups:
        raise UnprovenError(f"config: {keys.heads} {geometry.heads} is no multiple of {keys.groups} {geometry.groups}")
    return geometry


def automatic(c: Fields, key: str, derived: int) -> int:
    """Read a size, `derived` where the config says "auto"."""
    return c.derive(key, derived if c.raw(key) == "auto" else c.size(key))


def time_step_rank(c: Fields, key: str) -> int:
    """Rank of the time step's projection: a sixteenth of the hidden size unless the config says otherwise."""
    return automatic(c, key, -(-c.size("hidden_size") // 16))


def stateful(
    c: Fields, layers: Sequence[Layer], stem: Stem = _STEM, norm: Callable[[str, int], Block] = rms_norm
) -> Body:
    """Layers between an embedding and a norm, of a class that declares no number of positions."""
    hidden, vocab = c.size("hidden_size"), c.size("vocab_size")
    outside = (*embedding(stem.embedding, vocab, hidden), *norm(stem.norm, hidden).tensors)
    return Body(hidden, (Stack(stem.layers, layers),), outside, vocab=vocab)


def mamba(c: Fields) -> Body:
    """Mamba: a norm and a mixer a layer."""
    inner = undeclared(c, "intermediate_size", c.size("expand") * c.size("hidden_size"))
    rank = time_step_rank(c, "time_step_rank")
    g = Selective(c.size("hidden_size"), inner, c.size("state_size"), c.size("conv_kernel"), rank)
    mixer = selective_mixer("mixer", g, bias=c.flag("use_bias"), conv_bias=c.flag("use_conv_bias"))
    return stateful(c, [(rms_norm("norm", g.hidden), mixer)] * c.layers)


def falcon_mamba(c: Fields) -> Body:
    """Falcon-Mamba: Mamba whose norms of time step and state have no weights but tables of ones."""
    body = mamba(c)
    state, inner = c.size("state_size"), undeclared(c, "intermediate_size", c.size("expand") * body.hidden)
    widths = {"dt_layernorm": inner, "b_layernorm": state, "c_layernorm": state}
    tables = (buffer(f"layers.*.mixer.{name}.weight", width, copies=c.layers) for name, width in widths.items())
    return replace(body, buffers=tuple(table for each in tables for table in each))


def mamba2(c: Fields) -> Body:
    """Mamba 2: Mamba with heads, whose mixer norms its output."""
    inner = c.size("expand") * c.size("hidden_size")
    g = grouped(c, inner, c.size("head_dim"), GroupedKeys("num_heads", "n_groups", "state_size", "conv_kernel"))
    mixer = grouped_mixer("mixer", g, bias=c.flag("use_bias"), conv_bias=c.flag("use_conv_bias"))
    return stateful(c, [(rms_norm("norm", g.hidden), mixer)] * c.layers)


BODIES: Final = {"mamba": mamba, "falcon_mamba": falcon_mamba, "mamba2": mamba2}
CLASSES: Final = {
    "MambaForCausalLM": causal(mamba, "backbone"),
    "FalconMambaForCausalLM": causal(falcon_mamba, "backbone"),
    "Mamba2ForCausalLM": causal(mamba2, "backbone"),
}
