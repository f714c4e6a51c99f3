"""Step 3.7: sliding layers with heads of their own, a gate for each head's output, experts from the fourth layer on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    attention,
    buffer,
    convolution,
    embedding,
    gated,
    gated_mlp,
    head_norms,
    layer_norm,
    linear,
    norm,
    parameter,
    within,
)
from vramguard.memory.families.decoder import FULL, SLIDING, decoder, grouped_heads, pre_norm, routing, window
from vramguard.memory.families.experts import feed_forward, mixture, undeclared
from vramguard.memory.families.fields import MAX_LAYERS, shown
from vramguard.memory.families.sight import Names, answers, seeing
from vramguard.memory.families.towers import attends, patches, two_linears

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields


def step_text(c: Fields) -> Body:
    """The text model; a checkpoint's MTP layers are not built, though its lists may count them."""
    kinds = _listed(c, "layer_types", (FULL, SLIDING)) or [FULL] * c.layers
    size = window(c)
    if SLIDING in kinds and size is None:
        raise UnprovenError(f"config: {c.path}layer_types has a layer that slides, but sliding_window is null")
    heads = _heads(c, kinds)
    attention_of = [
        _attention(c, count, size if kind == SLIDING else None) for count, kind in zip(heads, kinds, strict=True)
    ]
    hidden, bias = c.size("hidden_size"), c.flag("mlp_bias")
    mlp = feed_forward(
        [kind == "sparse" for kind in _sparse(c)],
        lambda: _experts(c, bias=bias),
        lambda: gated_mlp(hidden, c.size("intermediate_size"), bias=bias),
    )
    return decoder(c, pre_norm(c, attention_of, mlp))


def _listed(c: Fields, key: str, known: tuple[str, ...]) -> list[str] | None:
    """Kinds of layers, without those of the MTP layers that may follow."""
    given = c.texts(key)
    if given is None:
        return None
    if len(given) == c.layers + undeclared(c, "num_nextn_predict_layers", 0):
        given = given[: c.layers]
    if len(given) != c.layers or {*given} - {*known}:
        raise UnprovenError(f"config: {c.path}{key} is not one of {' and '.join(known)} for each layer")
    return [*given]


def _sparse(c: Fields) -> list[str]:
    listed = _listed(c, "mlp_layer_types", ("sparse", "dense"))
    if listed is not None:
        return listed
    given: Any = c.raw("moe_layers_enum")
    numbers = given.split(",") if isinstance(given, str) else range(3, c.layers) if given is None else given
    try:
        routed = {int(number) for number in numbers if str(number).strip()}
    except (TypeError, ValueError):
        raise UnprovenError(f"config: {c.path}moe_layers_enum is {shown(given)}, not numbers of layers") from None
    return ["sparse" if i in routed else "dense" for i in range(c.layers)]


def _heads(c: Fields, kinds: list[str]) -> list[int]:
    """Heads of each layer: as per_layer_config has them in a config that transformers saved, else by kind."""
    usual = c.size("num_attention_heads")
    if c.given("per_layer_config"):
        found: Any = c.raw("per_layer_config") or {}
        return [_saved(c, found, i, usual) for i in range(c.layers)]
    sliding = c.optional("num_sliding_attention_heads")
    if sliding is None:
        other: Any = c.raw("attention_other_setting") or {}
        sliding = other.get("num_attention_heads", usual) if isinstance(other, dict) else None
        if type(sliding) is not int or not 0 < sliding <= MAX_LAYERS:
            raise UnprovenError(f"config: {c.path}attention_other_setting is {shown(other)}")
    return [sliding if kind == SLIDING else usual for kind in kinds]


def _saved(c: Fields, found: Any, layer: int, usual: int) -> int:  # noqa: ANN401 - JSON
    changes = found.get(str(layer), {}) if isinstance(found, dict) else None
    if not isinstance(changes, dict) or {*changes} - {"num_attention_heads"}:
        raise UnprovenError(f"config: {c.path}per_layer_config is not supported for layer {layer}")
    value = changes.get("num_attention_heads", usual)
    if type(value) is not int or not 0 < value <= MAX_LAYERS:
        raise UnprovenError(f"config: {c.path}per_layer_config has {shown(value)} heads for layer {layer}")
    return value


def _attention(c: Fields, count: int, size: int | None) -> Block:
    usual, bias = grouped_heads(c), c.flag("attention_bias")
    if count % usual.kv_heads:
        raise UnprovenError(f"config: {c.path}num_sliding_attention_heads is no multiple of num_key_value_heads")
    heads = usual._replace(heads=count)
    each = not c.given("gating") or c.raw("gating") is True or c.raw("gating") == "per-head"
    gate = linear("g_proj", heads.hidden, heads.heads if each else heads.query)
    return attention(heads, size, bias=bias, output_bias=bias, norms=(*head_norms(heads.head_dim), *gate))


def _experts(c: Fields, *, bias: bool) -> Block:
    hidden, shared = c.size("hidden_size"), c.size("share_expert_dim")
    # The class declares num_local_experts and takes it for another name of n_routed_experts, which then wins over it.
    c = replace(c, config={key: value for key, value in c.config.items() if key != "num_local_experts"})
    weights = within("shared_experts", gated(hidden, shared, bias=bias))
    return mixture(hidden, c.size("moe_intermediate_size"), routing(c, "n_routed_experts"), shared=weights)


def step_vision(c: Fields) -> Body:
    """The tower: layer scales, and two convolutions that halve the sides and double the width."""
    hidden, layers, _ = (
        c.size(older if c.given(older) else key)
        for older, key in (("width", "hidden_size"), ("layers", "num_hidden_layers"), ("heads", "num_attention_heads"))
    )
    width = int(hidden * c.ratio("mlp_ratio"))
    layer = (
        layer_norm("layernorm_before", hidden),
        Block(within("self_attn", attends(hidden))),
        layer_norm("layernorm_after", hidden),
        two_linears(hidden, width),
        Block((*parameter("lambda_1", hidden), *parameter("lambda_2", hidden))),
    )
    patch, rows = c.size("patch_size"), patches(c)
    outside = (
        *convolution("embeddings.patch_embedding", (hidden, c.size("num_channels"), patch, patch)),
        *embedding("embeddings.position_embedding", rows, hidden),
        *norm("pre_layernorm", hidden, bias=True),
        *convolution("downsampler1", (2 * hidden, hidden, 3, 3), bias=True),
        *convolution("downsampler2", (4 * hidden, 2 * hidden, 3, 3), bias=True),
    )
    ids = buffer("embeddings.position_ids", 1, rows, item=8)
    return Body(hidden, (Stack("layers", [layer] * layers),), outside, ids)


def _projector(c: Fields, hidden: int) -> Tensors:
    vision = c.part("vision_config")
    seen = vision.size("width" if vision.given("width") else "hidden_size")
    return linear("multi_modal_projector", 4 * seen, hidden, bias=c.flag("projector_bias"))


BODIES: Final = {"step3p5": step_text, "step3p5_vision": step_vision}
CLASSES: Final = {"Step3p7ForConditionalGeneration": answers(seeing(_projector, Names(tower="vision_model")))}
