"""dots 3 Note's text model: latent attention with a gate for each head, of two sizes: indexed, and sliding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import Series, UnprovenError
from vramguard.memory.families.blocks import gated_mlp, linear, norm
from vramguard.memory.families.decoder import FULL, SLIDING, causal, decoder, pre_norm, routing
from vramguard.memory.families.experts import (
    feed_forward,
    kinds,
    mixture,
    shared_experts,
    sparse_layers,
    undeclared,
)
from vramguard.memory.families.fields import shown
from vramguard.memory.families.latent import INDEXED, indexer, latent, latent_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.families.blocks import Block, Body
    from vramguard.memory.families.fields import Fields

# Sizes of the sliding layers, each under its name with swa_ before it, and what the class takes where it is absent.
_SLIDING_SIZES: Final = {
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "q_lora_rank": 1024,
    "kv_lora_rank": 1024,
    "head_dim": 256,
    "qk_nope_head_dim": 192,
    "v_head_dim": 128,
}


def dots3_note_text(c: Fields) -> Body:
    """Text model of dots 3 Note: layers are sized one by one (per_layer_config), or sliding ones by their own keys."""
    window = undeclared(c, "sliding_window_size", 512) if c.is_null("sliding_window") else c.size("sliding_window")
    if window < 2:  # noqa: PLR2004 - transformers slices its cache at -window + 1
        raise UnprovenError(f"config: {c.path}sliding_window is {window}")
    found = _kinds(c)
    attends = [_attention(c, own, kind, window) for own, kind in zip(_sized(c, found), found, strict=True)]
    return decoder(c, pre_norm(c, attends, _mlp(c, _sparse(c))))


def _sized(c: Fields, found: Sequence[str]) -> list[Fields]:
    """The config as each layer sees it."""
    if c.is_null("per_layer_config"):
        sliding = _sliding(c) if SLIDING in found else c
        return [sliding if kind == SLIDING else c for kind in found]
    own = by_layer(c)
    if unknown := sorted({key for sizes in own.values() for key in sizes} - {*_SLIDING_SIZES, "qk_rope_head_dim"}):
        raise UnprovenError(f"config: {c.path}per_layer_config has {unknown[0][:40]!r}, which is not supported")
    return [replace(c, config={**c.config, **own.get(i, {})}) for i in range(c.layers)]


def by_layer(c: Fields) -> dict[int, Mapping[str, Any]]:
    """What per_layer_config says of single layers, by their numbers."""
    given = c.raw("per_layer_config")
    if not isinstance(given, Mapping) or not all(isinstance(sizes, Mapping) for sizes in given.values()):
        raise UnprovenError(f"config: {c.path}per_layer_config is {shown(given)}, not an object of objects")
    if not all(str(number).isdecimal() for number in given):
        raise UnprovenError(f"config: {c.path}per_layer_config has a key that is no layer's number")
    return {int(number): sizes for number, sizes in given.items()}


def _kinds(c: Fields) -> list[str]:
    """Layers that slide, and whether the others have an indexer, on which use_dsa has the last word."""
    slides = c.flag("use_sliding_window") if c.given("use_sliding_window") else True
    # Null, or absent where layers are sized one by one, leaves a list of layers as it is.
    keeps = c.is_null("use_dsa") and (c.given("use_dsa") or c.given("per_layer_config"))
    indexed = True if c.is_null("use_dsa") else c.flag("use_dsa")
    rest = INDEXED[0] if indexed else FULL
    listed = kinds(
        c,
        "layer_types",
        lambda i: rest if not slides or i < 2 or i % 4 == 1 else SLIDING,  # noqa: PLR2004 - the class's own pattern
        (*INDEXED, FULL, SLIDING),
    )
    if keeps:
        return [INDEXED[0] if kind in INDEXED else kind for kind in listed]
    return [SLIDING if kind == SLIDING else rest for kind in listed]


def _attention(c: Fields, own: Fields, kind: str, window: int) -> Block:
    sizes = latent(own)
    if own.size("num_key_value_heads") != sizes.heads:
        raise UnprovenError(f"config: {c.path}num_key_value_heads is not num_attention_heads")
    own.size("q_lora_rank")
    indexed = kind in INDEXED
    return latent_attention(
        sizes,
        bias=c.flag("attention_bias"),
        more=(
            *norm("k_rope_only_layernorm", sizes.rope),
            *linear("g_proj", sizes.hidden, sizes.heads),
            *(indexer(c) if indexed else ()),
        ),
        series=(Series(c.size("index_head_dim"), bytes=4),) if indexed else (),  # turned by a float32 angle
        window=window if kind == SLIDING else None,
    )


def _sliding(c: Fields) -> Fields:
    """The config as all sliding layers see it."""
    sizes = {key: undeclared(c, f"swa_{key}", default) for key, default in _SLIDING_SIZES.items()}
    sizes["qk_rope_head_dim"] = undeclared(c, "swa_qk_rope_head_dim", sizes["head_dim"] - sizes["qk_nope_head_dim"])
    if sizes["head_dim"] != sizes["qk_nope_head_dim"] + sizes["qk_rope_head_dim"]:
        raise UnprovenError(f"config: {c.path}swa_head_dim is not the sum of its parts")
    return replace(c, config={**c.config, **sizes})


def _sparse(c: Fields) -> list[bool]:
    first = undeclared(c, "first_k_dense_replace", 1)
    if isinstance(c.raw("moe_layer_freq"), list):
        listed = c.integers("moe_layer_freq")
        if len(listed) < c.layers:
            raise UnprovenError(f"config: {c.path}moe_layer_freq has {len(listed)} entries for {c.layers} layers")
        return sparse_layers(c, lambda i: i >= first and bool(listed[i]))
    step = c.size("moe_layer_freq") if c.given("moe_layer_freq") else 1
    return sparse_layers(c, lambda i: i >= first and i % step == 0)


def _mlp(c: Fields, sparse: Sequence[bool]) -> list[Block]:
    hidden = c.size("hidden_size")

    def experts() -> Block:
        wide = undeclared(c, "moe_shared_expert_intermediate_size", c.size("shared_experts_intermediate_size"))
        shared = shared_experts(hidden, wide * c.size("n_shared_experts"))
        return mixture(hidden, c.size("moe_intermediate_size"), routing(c, "n_routed_experts"), shared=shared)

    return feed_forward(sparse, experts, lambda: gated_mlp(hidden, c.size("intermediate_size")))


BODIES: Final = {"dots3_note_text": dots3_note_text}
CLASSES: Final = {"Dots3NoteForCausalLM": causal(dots3_note_text)}
