"""MiniMax M3's text model: some layers choose blocks of the text by an indexer of their own kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import Series, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    attention,
    fused_gated_mlp,
    head_norms,
    linear,
    within,
)
from vramguard.memory.families.decoder import causal, decoder, grouped_heads, pre_norm, routing
from vramguard.memory.families.experts import feed_forward, kinds, mixture, sparse_layers
from vramguard.memory.families.fields import shown

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Body, Heads
    from vramguard.memory.families.fields import Fields

SPARSE: Final = "minimax_m3_sparse"
_FULL: Final = "full_attention"
# Older names, inside sparse_attention_config, which win over the class's own.
_OLDER: Final = {"index_n_heads": "sparse_num_index_heads", "index_head_dim": "sparse_index_dim"}


def minimax_m3_text(c: Fields) -> Body:
    """MiniMax M3: norms of heads; dense and shared MLPs keep gate and up projection as one."""
    heads, older = grouped_heads(c), _older(c)
    plain, narrows = attention(heads, norms=head_norms(heads.head_dim)), _indexed(_newer(c, older), heads)
    listed = _by_layer(c, older.get("sparse_attention_freq"), "sparse_attention_config.sparse_attention_freq")
    found = kinds(c, "layer_types", lambda i: SPARSE if listed and listed[i] else _FULL, (SPARSE, _FULL))
    attends = [narrows if kind == SPARSE else plain for kind in found]
    sparse = _sparse(c)
    dense = fused_gated_mlp(heads.hidden, c.size("dense_intermediate_size"))
    return decoder(c, pre_norm(c, attends, feed_forward(sparse, lambda: _experts(c), lambda: dense)))


def _experts(c: Fields) -> Block:
    hidden = c.size("hidden_size")
    shared = fused_gated_mlp(hidden, c.size("shared_intermediate_size"), name="shared_experts")
    return mixture(hidden, c.size("intermediate_size"), routing(c), shared=shared.tensors)


def _indexed(c: Fields, heads: Heads) -> Block:
    """Attention whose indexer caches its keys beside the others, once for all its heads."""
    number, width = c.size("index_n_heads"), c.size("index_head_dim")
    indexer = within(
        "indexer",
        linear("q_proj", heads.hidden, number * width),
        linear("k_proj", heads.hidden, width),
        head_norms(width),
    )
    block = attention(heads, norms=(*head_norms(heads.head_dim), *indexer))
    return block._replace(cache=replace(heads.cache(), series=(Series(width),)))


def _older(c: Fields) -> Mapping[str, Any]:
    given = None if c.is_null("sparse_attention_config") else c.raw("sparse_attention_config")
    if given is not None and not isinstance(given, Mapping):
        raise UnprovenError(f"config: {c.path}sparse_attention_config is {shown(given)}, not an object")
    return given or {}


def _newer(c: Fields, older: Mapping[str, Any]) -> Fields:
    """The config with the older names' values under the class's own."""
    return replace(c, config={**c.config, **{key: older[name] for key, name in _OLDER.items() if name in older}})


def _by_layer(c: Fields, value: object, key: str) -> list[bool]:
    """One number for each layer, of which all but 0 are true; empty where there is no list."""
    if value is None:
        return []
    if not isinstance(value, list) or len(value) != c.layers or not all(isinstance(item, int) for item in value):
        raise UnprovenError(f"config: {c.path}{key} is not a number for each of {c.layers} layers")
    return [bool(item) for item in value]


def _sparse(c: Fields) -> list[bool]:
    listed = _by_layer(c, None if c.is_null("moe_layer_freq") else c.raw("moe_layer_freq"), "moe_layer_freq")
    return sparse_layers(c, lambda i: listed[i] if listed else True)


BODIES: Final = {"minimax_m3_vl_text": minimax_m3_text}
CLASSES: Final = {"MiniMaxM3VLForCausalLM": causal(minimax_m3_text)}
