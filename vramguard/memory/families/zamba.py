"""Zamba 1 and 2: Mamba mixers in every layer, and one to a few transformer blocks that several layers share.

The shared weights stand in the first layers that use them; what is cached, each layer keeps for itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Heads,
    attention,
    gated,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import Stem, causal, decoder
from vramguard.memory.families.experts import undeclared
from vramguard.memory.families.kinds import HYBRID, LINEAR, layer_kinds
from vramguard.memory.families.mamba import GroupedKeys, Selective, grouped, grouped_mixer, time_step_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.fields import Fields

_STEM: Final = Stem(norm="final_layernorm")
# Zamba 2's layers, however many the config says there are: another number is refused.
_ZAMBA2: Final = (LINEAR, *(*[LINEAR] * 5, HYBRID) * 7, *[LINEAR] * 4, HYBRID, *[LINEAR] * 3, HYBRID, LINEAR, LINEAR)


class _Shared(NamedTuple):
    """A block that several layers share: its weights, and those that each of its layers adds to it."""

    attention: Block
    rest: Tensors


def zamba(c: Fields) -> Body:
    """Zamba: Mamba 1 with heads; one shared block, which sees the embedding beside the hidden state."""
    hidden, heads = c.size("hidden_size"), _wide_heads(c)
    period, offset = c.size("attn_layer_period"), c.count("attn_layer_offset")
    kinds = layer_kinds(c, lambda i: _zamba_kind(i, period, offset), (LINEAR, HYBRID))
    feeds = within("feed_forward", gated(hidden, c.size("intermediate_size")))
    shared = _Shared(_attention(heads, hidden), (*_norms(heads, hidden), *feeds))
    return decoder(c, _layers(c, kinds, _zamba_mixer(c), [shared], "shared_transf"), stem=_STEM)


def zamba2(c: Fields) -> Body:
    """Zamba 2: Mamba 2; blocks shared in turn, each with adapters of its MLP for every layer that uses it."""
    hidden, heads = c.size("hidden_size"), _wide_heads(c)
    if c.is_null("layer_types") and c.layers != len(_ZAMBA2):
        raise UnprovenError(f"config: layers_block_type is null, which makes {len(_ZAMBA2)} layers, not {c.layers}")
    kinds = layer_kinds(c, lambda i: _ZAMBA2[i], (LINEAR, HYBRID))
    shares = tuple(i for i, kind in enumerate(kinds) if kind == HYBRID)
    if c.given("hybrid_layer_ids") and c.integers("hybrid_layer_ids") != shares:
        raise UnprovenError("config: hybrid_layer_ids differs from layers_block_type")
    uses, blocks = len(shares), c.size("num_mem_blocks")
    turns = [len(range(block, uses, blocks)) for block in range(min(blocks, uses))]
    shared = [_zamba2_block(c, heads, hidden, own) for own in turns]
    body = decoder(c, _layers(c, kinds, _zamba2_mixer(c), shared, "shared_transformer"), stem=_STEM)
    return replace(body, context=16384) if c.flag("use_long_context") else body


def _zamba_kind(layer: int, period: int, offset: int) -> str:
    """The third layer shares, then the offset-th of each period counted from there."""
    shares = layer == 2 if layer < 3 else (layer - 3) % period == offset  # noqa: PLR2004
    return HYBRID if shares else LINEAR


def _wide_heads(c: Fields) -> Heads:
    """Geometry of an attention twice as wide as the hidden state: it sees the embedding too."""
    hidden, heads = c.size("hidden_size"), c.size("num_attention_heads")
    wide = _own_size(c, "attention_hidden_size") or 2 * hidden
    if wide != 2 * hidden:
        raise UnprovenError(f"config: attention_hidden_size is not twice hidden_size, which is {2 * hidden}")
    kv_heads = c.optional("num_key_value_heads") or heads
    if heads % kv_heads:
        raise UnprovenError(f"config: num_attention_heads {heads} is no multiple of num_key_value_heads {kv_heads}")
    return Heads(wide, heads, kv_heads, _own_size(c, "attention_head_dim") or wide // heads)


def _own_size(c: Fields, key: str) -> int | None:
    return c.optional(key) if c.given(key) else None


def _attention(heads: Heads, hidden: int, adapters: Tensors = ()) -> Block:
    """The shared attention, which projects from its wide input to the hidden state."""
    block = attention(heads, norms=adapters)
    output = within("self_attn", linear("o_proj", heads.query, hidden))
    return block._replace(tensors=(*(t for t in block.tensors if "o_proj" not in t.name), *output))


def _norms(heads: Heads, hidden: int) -> Tensors:
    return (*norm("input_layernorm", heads.hidden), *norm("pre_ff_layernorm", hidden))


def _layers(c: Fields, kinds: Sequence[str], mixer: Block, shared: Sequence[_Shared], name: str) -> list[Layer]:
    """Layers by kind; the weights stand where they are used first, but in each layer where the config ties nothing."""
    hidden, tied = c.size("hidden_size"), c.flag("tie_word_embeddings")
    own: Layer = (rms_norm("input_layernorm", hidden), mixer)
    inner = Block(within("mamba_decoder", *(block.tensors for block in own)), cache=mixer.cache)
    join = Block(linear("linear", hidden, hidden))
    layers: list[Layer] = []
    for use in (kinds[: i + 1].count(HYBRID) for i in range(len(kinds))):
        if kinds[len(layers)] == LINEAR:
            layers.append(own)
            continue
        block = shared[(use - 1) % len(shared)]
        weights = within(name, block.attention.tensors, block.rest) if use <= len(shared) or not tied else ()
        layers.append((block.attention._replace(tensors=weights), join, inner))
    return layers


def _zamba_mixer(c: Fields) -> Block:
    """Mamba 1's mixer whose time step and state are projected for each head, by weights of its own."""
    hidden, heads, rank = c.size("hidden_size"), c.size("n_mamba_heads"), time_step_rank(c, "mamba_dt_rank")
    g = Selective(hidden, c.size("mamba_expand") * hidden, c.size("mamba_d_state"), c.size("mamba_d_conv"), rank)
    width, rest = divmod(g.inner, heads)
    if rest:
        raise UnprovenError(f"config: n_mamba_heads {heads} does not divide {g.inner} channels")
    tensors = (
        *g.ends(bias=c.flag("mamba_proj_bias"), conv_bias=c.flag("mamba_conv_bias")),
        *parameter("x_proj_weight", heads, rank + 2 * g.state, width),
        *parameter("dt_proj_weight", heads, width, rank),
        *parameter("dt_proj_bias", heads, width),
        *parameter("A_log", heads, width, g.state),
        *parameter("D", heads, width),
    )
    return Block(within("mamba", tensors), cache=g.cache)


def _zamba2_mixer(c: Fields) -> Block:
    """Mamba 2's mixer, convolved with a bias whatever the config says."""
    inner, heads = c.size("mamba_expand") * c.size("hidden_size"), c.size("n_mamba_heads")
    head_dim = undeclared(c, "mamba_headdim", inner // heads)
    g = grouped(c, inner, head_dim, GroupedKeys("n_mamba_heads", "mamba_ngroups", "mamba_d_state", "mamba_d_conv"))
    return grouped_mixer("mamba", g, bias=c.flag("add_bias_linear"), conv_bias=True)


def _zamba2_block(c: Fields, heads: Heads, hidden: int, uses: int) -> _Shared:
    """A shared block that `uses` layers use, with an adapter for each of them."""
    width, rank, bias = c.optional("intermediate_size") or 4 * hidden, c.size("adapter_rank"), c.flag("add_bias_linear")
    adapters: Tensors = ()
    if c.flag("use_shared_attention_adapter"):
        adapted = [_adapters(f"linear_{each}_adapter_list", heads.hidden, rank, heads.hidden, uses) for each in "qkv"]
        adapters = tuple(tensor for each in adapted for tensor in each)
    feeds = within(
        "feed_forward",
        linear("gate_up_proj", hidden, 2 * width, bias=bias),
        linear("down_proj", width, hidden, bias=bias),
        _adapters("gate_up_proj_adapter_list", hidden, rank, 2 * width, uses),
    )
    return _Shared(_attention(heads, hidden, adapters), (*_norms(heads, hidden), *feeds))


def _adapters(name: str, inputs: int, rank: int, outputs: int, copies: int) -> Tensors:
    down, up = linear(f"{name}.*.*", inputs, rank), linear(f"{name}.*.*", rank, outputs)
    return tuple(tensor._replace(copies=copies) for tensor in (*down, *up))


BODIES: Final = {"zamba": zamba, "zamba2": zamba2}
CLASSES: Final = {"ZambaForCausalLM": causal(zamba), "Zamba2ForCausalLM": causal(zamba2)}
