"""Gemma 3, 3n and 4 and VaultGemma: wide heads, windows, norms on both sides, and what 3n and 4 add to a layer.

From 3n on, the last layers may take keys and values of an earlier layer: they have no weights for them and cache
nothing. (Gemma and Gemma 2 are in llama.py.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Heads,
    attention,
    embedding,
    gated_mlp,
    head_norms,
    linear,
    norm,
    parameter,
    rms_norm,
    stacked_experts,
    within,
)
from vramguard.memory.families.decoder import (
    FULL,
    SLIDING,
    attend,
    by_layer,
    causal,
    decoder,
    dense,
    grouped_heads,
    pre_norm,
    routing,
    sandwiched,
    window,
)
from vramguard.memory.families.experts import kinds
from vramguard.memory.families.fields import MAX_LAYERS, MAX_SIZE, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.fields import Fields

NORMS: Final = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)


def gemma3(c: Fields) -> Body:
    """Gemma 3: each head's queries and keys are normed; all but every sixth layer slide."""
    bias, both_ways = c.flag("attention_bias"), c.flag("use_bidirectional_attention")
    step = c.size("sliding_window_pattern") if c.given("sliding_window_pattern") else 6
    windows = by_layer(c, _halved(c) if both_ways else window(c), lambda i: (i + 1) % step != 0)
    attends = attend(c, windows, bias=bias, output_bias=bias, head_norms=True)
    return _with_variant(decoder(c, sandwiched(c, attends, dense(c), NORMS)), both_ways=both_ways)


def vaultgemma(c: Fields) -> Body:
    """VaultGemma: Gemma 2 without the norms after attention and MLP."""
    bias = c.flag("attention_bias")
    attends = attend(c, by_layer(c, window(c), lambda i: i % 2 == 0), bias=bias, output_bias=bias)
    return decoder(c, pre_norm(c, attends, dense(c), names=("input_layernorm", "pre_feedforward_layernorm")))


def _halved(c: Fields) -> int:
    """Window of attention in both directions: on each side half of the declared tokens."""
    size = c.size("sliding_window") // 2 + 1
    if size == 1:
        raise UnprovenError("config: sliding_window is too small")
    return size


def _with_variant(body: Body, *, both_ways: bool) -> Body:
    return replace(body, variant="bidirectional" if both_ways else "")


# Layers that share keys and values (3n and 4)


class Sharing(NamedTuple):
    """Of each layer: what it is, and whether it takes the keys and values of an earlier layer of its kind."""

    kinds: Sequence[str]
    reuses: Sequence[bool]


def _sharing(c: Fields, kinds_of_layers: Sequence[str]) -> Sharing:
    first = c.layers - c.count("num_kv_shared_layers")
    if first <= 0 or {*kinds_of_layers[:first]} != {*kinds_of_layers}:
        raise UnprovenError("config: num_kv_shared_layers leaves no layer whose keys and values could be shared")
    return Sharing(kinds_of_layers, [number >= first for number in range(c.layers)])


def _borrowing(heads: Heads, size: int | None, *, bias: bool) -> Block:
    """Attention to keys and values that another layer made."""
    projections = (
        *linear("q_proj", heads.hidden, heads.query, bias=bias),
        *linear("o_proj", heads.query, heads.hidden, bias=bias),
        *norm("q_norm", heads.head_dim),
    )
    return Block(within("self_attn", projections), heads.role(size))


# 3n

_STREAMS: Final = 4


def gemma3n(c: Fields) -> Body:
    """Gemma 3n: four streams through each layer (AltUp), a low-rank path (Laurel), an embedding for each layer."""
    sharing = _sharing(c, kinds(c, "layer_types", lambda i: SLIDING if (i + 1) % 5 else FULL, (FULL, SLIDING)))
    more = (*_streams(c), _per_layer(c))
    layers: list[Layer] = [(*layer, *more) for layer in sandwiched(c, _attends(c, sharing), _widths(c), NORMS)]
    body = decoder(c, layers)
    inputs = c.size("altup_num_inputs")
    streams = inputs - 1
    joins = tuple(
        tensor._replace(copies=streams, layers=tuple(range(streams)))
        for name in ("altup_projections.*", "altup_unembed_projections.*")
        for tensor in linear(name, body.hidden, body.hidden)
        if streams
    )
    # A pass loops over the streams, of which formulas were recorded for as many as the class has.
    body = replace(body, variant="" if inputs == _STREAMS else f"{inputs} streams")
    return body.beside((*_layer_embeddings(c), *joins))


def _attends(c: Fields, sharing: Sharing) -> list[Block]:
    """Attention of Gemma 3n's layers, all of one geometry."""
    heads, bias, declared = grouped_heads(c), c.flag("attention_bias"), window(c)
    found = []
    for kind, reuses in zip(*sharing, strict=True):
        size = declared if kind == SLIDING else None
        own = attention(heads, size, bias=bias, output_bias=bias, norms=head_norms(heads.head_dim))
        found.append(_borrowing(heads, size, bias=bias) if reuses else own)
    return found


def _widths(c: Fields) -> list[Block]:
    """MLPs of Gemma 3n: one width for all layers or one for each."""
    given, hidden = c.raw("intermediate_size"), c.size("hidden_size")
    widths = c.integers("intermediate_size") if isinstance(given, list) else [c.size("intermediate_size")] * c.layers
    if len(widths) != c.layers:
        raise UnprovenError(f"config: intermediate_size has {len(widths)} entries for {c.layers} layers")
    if not all(0 < width <= MAX_SIZE for width in widths):
        raise UnprovenError("config: intermediate_size has an entry that is no size")
    c.derive("intermediate_size", max(widths))  # the widest layer's moments are the worst
    return [gated_mlp(hidden, width) for width in widths]


def _streams(c: Fields) -> tuple[Block, Block]:
    hidden, streams, rank = c.size("hidden_size"), c.size("altup_num_inputs"), c.size("laurel_rank")
    altup = within(
        "altup",
        parameter("correct_output_scale", hidden),
        linear("correction_coefs", streams, streams),
        linear("prediction_coefs", streams, streams**2),
        linear("modality_router", hidden, streams),
        norm("router_norm", hidden),
    )
    low_rank = (*linear("linear_left", hidden, rank), *linear("linear_right", rank, hidden))
    return Block(altup), Block(within("laurel", low_rank, norm("post_laurel_norm", hidden)))


def _per_layer(c: Fields) -> Block:
    """What takes a layer's own embedding of the tokens in."""
    hidden, width = c.size("hidden_size"), c.size("hidden_size_per_layer_input")
    gate, back = linear("per_layer_input_gate", hidden, width), linear("per_layer_projection", width, hidden)
    return Block((*gate, *back, *norm("post_per_layer_input_norm", hidden)))


def _layer_embeddings(c: Fields) -> Tensors:
    """Embeddings of the tokens for each layer, as one table."""
    width = c.size("hidden_size_per_layer_input")
    return (
        *embedding("embed_tokens_per_layer", c.size("vocab_size_per_layer_input"), c.layers * width),
        *linear("per_layer_model_projection", c.size("hidden_size"), c.layers * width),
        *norm("per_layer_projection_norm", width),
    )


# 4


def gemma4(c: Fields) -> Body:
    """Gemma 4: layers of full attention have heads of their own; it may have experts and embeddings for each layer."""
    body = _gemma4(c, _experts(c) if c.flag("enable_moe_block") else (), own_inputs=_has_layer_inputs(c))
    return body.beside(_layer_embeddings(c)) if _has_layer_inputs(c) else body


def gemma4_unified(c: Fields) -> Body:
    """Gemma 4 without towers: no experts, no embeddings for each layer."""
    return _gemma4(c, (), own_inputs=False)


def _has_layer_inputs(c: Fields) -> bool:
    return c.count("hidden_size_per_layer_input") > 0


def _gemma4(c: Fields, experts: tuple[Block, ...], *, own_inputs: bool) -> Body:
    step = 6
    listed = kinds(c, "layer_types", lambda i: SLIDING if (i + 1) % step else FULL, (FULL, SLIDING))
    sharing = _sharing(c, [*listed[:-1], FULL])  # the last layer attends to everything, whatever the list says
    both_ways = _sees_both_ways(c)
    size = _halved(c) if both_ways else window(c)
    attends = [
        _gemma4_attention(c, heads, size if kind == SLIDING else None, kind, reuses=reuses)
        for heads, kind, reuses in zip(_gemma4_heads(c, sharing.kinds), *sharing, strict=True)
    ]
    wide = 2 if c.flag("use_double_wide_mlp") else 1
    width, hidden = c.size("intermediate_size"), c.size("hidden_size")
    feeds = [gated_mlp(hidden, width * (wide if reuses else 1)) for reuses in sharing.reuses]
    more = (*experts, *((_per_layer(c),) if own_inputs else ()))
    layers: list[Layer] = [(*layer, *more) for layer in sandwiched(c, attends, feeds, NORMS)]
    return _with_variant(decoder(c, layers), both_ways=both_ways)


def _sees_both_ways(c: Fields) -> bool:
    """Whether all tokens attend in both directions; "vision" is for those of an image only."""
    value = c.raw("use_bidirectional_attention")
    if value not in (None, "vision", "all"):
        raise UnprovenError(f"config: {c.path}use_bidirectional_attention is {shown(value)}")
    return bool(value == "all")


def _gemma4_heads(c: Fields, kinds_of_layers: Sequence[str]) -> list[Heads]:
    """Geometry of each layer: that of per_layer_config in a config that transformers 5 saved, else by its kind."""
    usual = grouped_heads(c)
    if c.given("per_layer_config"):
        overrides = _overrides(c)
    else:
        wide = {"head_dim": c.size("global_head_dim") if c.given("global_head_dim") else 512}
        if c.flag("attention_k_eq_v") and c.optional("num_global_key_value_heads"):
            wide["kv_heads"] = c.size("num_global_key_value_heads")
        overrides = {i: wide for i, kind in enumerate(kinds_of_layers) if kind == FULL}
    found = [usual._replace(**overrides.get(number, {})) for number in range(c.layers)]
    if any(heads.heads % heads.kv_heads for heads in found):
        raise UnprovenError("config: num_attention_heads is no multiple of a layer's num_key_value_heads")
    return found


_OVERRIDES: Final = {"head_dim": "head_dim", "num_key_value_heads": "kv_heads"}


def _overrides(c: Fields) -> dict[int, dict[str, int]]:
    """Geometry that a config gives to single layers; null gives none, and full attention is like the rest."""
    given, found = {} if c.is_null("per_layer_config") else c.raw("per_layer_config"), {}
    if not isinstance(given, dict):
        raise UnprovenError(f"config: {c.path}per_layer_config is {shown(given)}, not an object")
    for number, changes in given.items():
        if not (number.isdecimal() and len(number) <= len(str(MAX_LAYERS)) and int(number) < c.layers):
            raise UnprovenError(f"config: {c.path}per_layer_config has {shown(number)}, which is no layer")
        if not isinstance(changes, dict) or {*changes} - {*_OVERRIDES}:
            raise UnprovenError(f"config: {c.path}per_layer_config changes {shown(changes)}, which is not supported")
        if not all(type(value) is int and 0 < value <= MAX_SIZE for value in changes.values()):
            raise UnprovenError(f"config: {c.path}per_layer_config has {shown(changes)}, not sizes")
        found[int(number)] = {_OVERRIDES[key]: value for key, value in changes.items()}
    return found


def _gemma4_attention(c: Fields, heads: Heads, size: int | None, kind: str, *, reuses: bool) -> Block:
    """Attention of one layer; keys may serve as values, and both are cached all the same."""
    bias = c.flag("attention_bias")
    if reuses:
        return _borrowing(heads, size, bias=bias)
    block = attention(heads, size, bias=bias, output_bias=bias, norms=head_norms(heads.head_dim))
    if kind == FULL and c.flag("attention_k_eq_v"):
        block = block._replace(tensors=tuple(t for t in block.tensors if ".v_proj." not in t.name))
    return block


def _experts(c: Fields) -> tuple[Block, ...]:
    """Experts that a layer has beside its MLP."""
    hidden, routed = c.size("hidden_size"), routing(c, "num_experts", "top_k_experts")
    router = within(
        "router",
        linear("proj", hidden, routed.experts),
        parameter("scale", hidden),
        parameter("per_expert_scale", routed.experts),
    )
    names = ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")
    norms = (rms_norm(name, hidden) for name in names)
    return Block((*router, *stacked_experts(hidden, c.size("moe_intermediate_size"), routed))), *norms


BODIES: Final = {
    "gemma3_text": gemma3,
    "gemma3n_text": gemma3n,
    "gemma4_text": gemma4,
    "gemma4_unified_text": gemma4_unified,
    "vaultgemma": vaultgemma,
}
CLASSES: Final = {
    "Gemma3ForCausalLM": causal(gemma3),
    "Gemma3nForCausalLM": causal(gemma3n),
    "Gemma4ForCausalLM": causal(gemma4),
    "Gemma4UnifiedForCausalLM": causal(gemma4_unified),
    "VaultGemmaForCausalLM": causal(vaultgemma),
}
