"""Molmo 2: text, tower and adapter each with a config of its own, which older configs call otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Body,
    Stack,
    attention,
    embedding,
    head_norms,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import decoder, dense, grouped_heads, headed, pre_norm
from vramguard.memory.families.fields import Fields, shown
from vramguard.memory.families.sight import overlaid
from vramguard.memory.families.towers import clip_layer

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network, Tensors


def molmo2_text(c: Fields) -> Body:
    """Molmo 2's text model: Qwen3 or OLMo by its norms; tokens of pictures have embeddings, and no logits."""
    heads, kind = grouped_heads(c), c.text("qk_norm_type")
    norms = {
        "qwen3": head_norms(heads.head_dim),
        "olmo": (*norm("q_norm", heads.query), *norm("k_norm", heads.key)),
    }
    if kind not in norms:
        raise UnprovenError(f"config: {c.path}qk_norm_type is {shown(kind)}, not qwen3 or olmo")
    attends = [attention(heads, bias=c.flag("attention_bias"), norms=norms[kind])] * c.layers
    body = decoder(c, pre_norm(c, attends, dense(c)))
    table = embedding("embed_tokens", body.vocab + c.count("additional_vocab_size"), body.hidden)
    return replace(body, outside=(*table, *(t for t in body.outside if t.kind != "embedding")))


def molmo2_vision(c: Fields) -> Body:
    """Molmo 2's tower: CLIP's layers under one learned vector a patch; a Linear embeds patches."""
    patch = _renamed(c, "image_patch_size", "patch_size")
    tables = parameter("positional_embedding", _positions(c, patch), c.size("hidden_size"))
    patched = linear("patch_embedding", patch**2 * c.size("num_channels"), c.size("hidden_size"), bias=True)
    layer = clip_layer(c, _projections(c, c.size("hidden_size")))
    return Body(c.size("hidden_size"), (Stack("layers", [layer] * c.layers),), (*tables, *patched))


def _renamed(c: Fields, older: str, key: str) -> int:
    """Read a size whose older name wins."""
    return c.size(older if c.given(older) else key)


def _positions(c: Fields, patch: int) -> int:
    key = "image_num_pos" if c.given("image_num_pos") else "num_position_embeddings"
    if not c.is_null(key):
        return c.size(key)
    key = "image_default_input_size" if c.given("image_default_input_size") else "image_size"
    sides = (378, 378) if c.is_null(key) else c.integers(key)
    if len(sides) < 2 or min(sides) < 1:  # noqa: PLR2004 - height and width
        raise UnprovenError(f"config: {c.path}{key} is {shown(c.raw(key))}, not a height and a width")
    return (sides[0] // patch) * (sides[1] // patch)


def _projections(c: Fields, inputs: int) -> Tensors:
    """Projections of attention to vectors of the width `inputs`."""
    heads, bias = grouped_heads(c), c.flag("attention_bias")
    return (
        *linear("q_proj", inputs, heads.query, bias=bias),
        *linear("k_proj", inputs, heads.key, bias=bias),
        *linear("v_proj", inputs, heads.key, bias=bias),
        *linear("o_proj", heads.query, heads.hidden, bias=bias),
    )


def _adapter(c: Fields, hidden: int) -> Tensors:
    """Pools neighbouring patches of some layers by attention, then a gated MLP."""
    seen, width, bias = c.size("hidden_size"), c.size("intermediate_size"), c.flag("mlp_bias")
    if c.size("text_hidden_size") != hidden:
        raise UnprovenError(f"config: {c.path}text_hidden_size is not the text's hidden_size {hidden}")
    projector = (
        *linear("gate_proj", seen, width, bias=bias),
        *linear("up_proj", seen, width, bias=bias),
        *linear("down_proj", width, hidden),
    )
    pooling = _projections(c, seen * len(_features(c)))
    return within("multi_modal_projector", within("image_pooling_2d", pooling), within("image_projector", projector))


def _features(c: Fields) -> tuple[int, ...]:
    """Layers of the tower whose outputs stand side by side."""
    key = "vit_layers" if c.given("vit_layers") else "vision_feature_layer"
    return (24, 18) if c.is_null(key) else c.integers(key)


def _tower(c: Fields) -> Fields:
    """Config of the tower; an older one is under another name, and counts layers that are never built."""
    features, older = _features(c.part("adapter_config")), c.raw("vit_config")
    if older is not None and c.is_null("vision_config"):
        if not isinstance(older, dict):
            raise UnprovenError(f"config: vit_config is {shown(older)}, not an object")
        c.parts["vision_config"] = Fields("molmo2_vision", older, c.table, f"{c.path}vision_config.")
    layers = c.part("vision_config").layers
    if not features or not all(-layers <= layer < layers or older is not None for layer in features):
        raise UnprovenError(f"config: adapter_config.vision_feature_layer does not name some of {layers} layers")
    if older is not None:
        return overlaid(c, "vision_config", num_hidden_layers=max(layer % layers for layer in features) + 1)
    return c.part("vision_config")


def molmo2(c: Fields) -> Network:
    """Molmo 2, whose head is never its embedding."""
    text = body_of(c.part("text_config"))
    tower = body_of(_tower(c)).within("vision_tower")
    whole = text.within("language_model").beside(tower, _adapter(c.part("adapter_config"), text.hidden))
    return headed(c, whole.within("model"), tied=False)


BODIES: Final = {"molmo2_text": molmo2_text, "molmo2_vision": molmo2_vision}
CLASSES: Final = {"Molmo2ForConditionalGeneration": molmo2}
