"""DeepSeek V4: one key head in a window, and beside it the text so far, compressed to an entry for every few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Attention, Cache, Series, Tensor, UnprovenError
from vramguard.memory.families.blocks import Block, gated, linear, norm, parameter, within
from vramguard.memory.families.decoder import causal, decoder, routing, window
from vramguard.memory.families.experts import mixture, undeclared
from vramguard.memory.families.fields import shown
from vramguard.memory.families.gpt_oss import sinks
from vramguard.memory.families.hyper import hyper_head, hyper_layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Body, Tensors
    from vramguard.memory.families.fields import Fields

SLIDING: Final = "sliding_attention"
SPARSE: Final = "compressed_sparse_attention"
HEAVY: Final = "heavily_compressed_attention"
_RATES: Final = {SPARSE: 4, HEAVY: 128}
_RATIOS: Final = {0: SLIDING, 4: SPARSE, 128: HEAVY}  # compress_ratios, the older way to list the layers
_HASHED: Final = 3  # first layers whose experts follow from the token's number alone


def deepseek_v4(c: Fields) -> Body:
    """DeepSeek V4: hyper-connections, sinks, grouped output projections; MTP layers of a checkpoint are not built."""
    found, hashed, copies = _kinds(c), _hashed(c), c.size("hc_mult")
    attends = {kind: _attention(c, kind) for kind in {*found}}
    layers = hyper_layers(
        c, [attends[kind] for kind in found], [_experts(c)] * c.layers, rows=(2 + copies) * copies, scales=3
    )
    rates = {kind: _rate(c, kind) for kind in (SPARSE, HEAVY) if kind in found}
    other = " ".join(f"{rate} tokens an entry of {kind}" for kind, rate in rates.items() if rate != _RATES[kind])
    body = replace(decoder(c, layers).beside(hyper_head(c)), variant=other)
    if not any(hashed):
        return body
    shape = (c.size("vocab_size"), c.size("num_experts_per_tok"))
    table = Tensor("layers.*.mlp.gate.tid2eid", shape, copies=sum(hashed), kind="buffer", item=8)
    return replace(body, buffers=(table,))


def _listed(c: Fields, key: str, rule: Callable[[int], str], known: tuple[str, ...]) -> list[str]:
    """Kind of each layer; a list may go on beyond the last layer."""
    listed = c.texts(key)
    found = [rule(i) for i in range(c.layers)] if listed is None else list(listed)[: c.layers]
    if len(found) < c.layers or {*found} - {*known}:
        raise UnprovenError(f"config: {c.path}{key} is not one of {', '.join(known)} for each layer")
    return found


def _kinds(c: Fields) -> list[str]:
    ratios = None if c.is_null("compress_ratios") else c.integers("compress_ratios")[: c.layers]
    if ratios is not None and (len(ratios) < c.layers or {*ratios} - {*_RATIOS}):
        raise UnprovenError(f"config: {c.path}compress_ratios is not 0, 4 or 128 for each layer")

    def kind(i: int) -> str:
        if ratios is not None:
            return _RATIOS[ratios[i]]
        return SPARSE if i > 1 and i % 2 else HEAVY

    return _listed(c, "layer_types", kind, (SLIDING, SPARSE, HEAVY))


def _hashed(c: Fields) -> list[bool]:
    first = _HASHED if c.is_null("num_hash_layers") else c.count("num_hash_layers")
    found = _listed(c, "mlp_layer_types", lambda i: "hash_moe" if i < first else "moe", ("hash_moe", "moe"))
    return [kind == "hash_moe" for kind in found]


def _rate(c: Fields, kind: str) -> int:
    """Tokens that become one entry."""
    older = {SPARSE: "compress_rate_csa", HEAVY: "compress_rate_hca"}[kind]
    given: object = _RATES if c.is_null("compress_rates") else c.raw("compress_rates")
    rate = given.get(kind) if isinstance(given, Mapping) else None
    rate = rate if c.is_null(older) else undeclared(c, older, 0)
    if type(rate) is not int or rate < 1:
        raise UnprovenError(f"config: {c.path}compress_rates has {shown(rate)} for {kind}")
    return rate


def _attention(c: Fields, kind: str) -> Block:
    hidden, heads, head_dim, rank = (
        c.size(key) for key in ("hidden_size", "num_attention_heads", "head_dim", "q_lora_rank")
    )
    groups, size = c.size("o_groups"), window(c)
    if heads * head_dim % groups:
        raise UnprovenError(f"config: {c.path}o_groups {groups} does not divide the width of all heads")
    out = groups * c.size("o_lora_rank")
    tensors = (
        *linear("q_a_proj", hidden, rank),
        *norm("q_a_norm", rank),
        *linear("q_b_proj", rank, heads * head_dim),
        *linear("kv_proj", hidden, head_dim),
        *norm("kv_norm", head_dim),
        *linear("o_a_proj", heads * head_dim // groups, out),
        *linear("o_b_proj", out, hidden),
        *sinks(heads),
    )
    if kind == SLIDING:
        role = Attention(1, heads, 1, head_dim, size)
        return Block(within("self_attn", tensors), role, Cache(head_dim, head_dim, size))
    compressor, series = _heavy(c) if kind == HEAVY else _sparse(c)
    # Keys are the values: a layer that compresses caches them once.
    role, cache = Attention(1, heads, 1, head_dim), Cache(head_dim, 0, size, series=series)
    return Block(within("self_attn", tensors, within("compressor", compressor)), role, cache)


def _compressor(c: Fields, width: int, series: int, rate: int) -> Tensors:
    """What makes entries of `width` from tokens, of which each counts in `series` entries."""
    hidden = c.size("hidden_size")
    return (
        *linear("kv_proj", hidden, series * width),
        *linear("gate_proj", hidden, series * width),
        *parameter("position_bias", rate, series * width),
        *norm("kv_norm", width),
    )


def _heavy(c: Fields) -> tuple[Tensors, tuple[Series, ...]]:
    """Entries of tokens that no other entry counts; what is projected of the rest waits, content and gate."""
    width, rate = c.size("head_dim"), _rate(c, HEAVY)
    return _compressor(c, width, 1, rate), (Series(width, rate), Series(2 * width, rate, rest=True))


def _sparse(c: Fields) -> tuple[Tensors, tuple[Series, ...]]:
    """Entries that overlap by one, and an indexer that chooses among them by small entries of its own."""
    width, small, rate = c.size("head_dim"), c.size("index_head_dim"), _rate(c, SPARSE)
    heads, hidden = c.size("index_n_heads"), c.size("hidden_size")
    indexer = (
        *_compressor(c, small, 2, rate),
        *linear("q_b_proj", c.size("q_lora_rank"), heads * small),
        *linear("scorer.weights_proj", hidden, heads),
    )
    tensors = (*_compressor(c, width, 2, rate), *within("indexer", indexer))
    return tensors, (*_overlapping(width, rate), *_overlapping(small, rate))


def _overlapping(width: int, rate: int) -> tuple[Series, ...]:
    """Entries, what waits for the next, and half of the last full window: its content, and its gate in float32."""
    return (
        Series(width, rate),
        Series(4 * width, rate, rest=True),
        Series(rate * width, rate, most=1),
        Series(rate * width, rate, bytes=4, most=1),
    )


def _experts(c: Fields) -> Block:
    """Experts and one that every token passes, all as wide; a router by hash has the same weight as one by score."""
    hidden, width = c.size("hidden_size"), c.size("moe_intermediate_size")
    shared = within("shared_experts", gated(hidden, width, bias=c.flag("mlp_bias")))
    return mixture(hidden, width, routing(c, "n_routed_experts"), shared=shared)


BODIES: Final = {"deepseek_v4": deepseek_v4}
CLASSES: Final = {"DeepseekV4ForCausalLM": causal(deepseek_v4)}
