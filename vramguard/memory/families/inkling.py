"""Inkling: short convolutions behind keys, values, attention and MLP, and learned scores of distance in attention."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import State, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Heads,
    Network,
    Routing,
    attention,
    convolution,
    gated,
    head_norms,
    linear,
    norm,
    parameter,
    rms_norm,
    stacked,
    within,
)
from vramguard.memory.families.decoder import decoder, routing
from vramguard.memory.families.experts import feed_forward, kinds, mixture, sparse_layers, undeclared
from vramguard.memory.families.zaya import HYBRID, HYBRID_SLIDING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Body, Layer, Tensors
    from vramguard.memory.families.fields import Fields


def inkling_text(c: Fields) -> Body:
    """Inkling: its shared experts are stacked, its router chooses among them too, its MLPs end in one scale."""
    hidden, kernel = c.size("hidden_size"), c.size("conv_kernel_size")
    local = c.integers("local_layer_ids")
    listed = not c.is_null("local_layer_ids")
    found = _kinds(c, lambda i: i in local if listed else (i + 1) % 6 != 0)
    mlp = feed_forward(sparse_layers(c, lambda i: i >= undeclared(c, "dense_mlp_idx", 0)), *_mlps(c))
    ends = [Block(_short(f"{name}_sconv", hidden, kernel)) for name in ("attn", "mlp")]
    before, after = (rms_norm(f"{side}_layernorm", hidden) for side in ("input", "post_attention"))
    attends = _by_kind(c, lambda kind: _attention(c, kind, head_norms(_heads(c, kind).head_dim), kernel))
    return _normed(c, [(before, attends[k], ends[0], after, m, ends[1]) for k, m in zip(found, mlp, strict=True)])


def inkling2_text(c: Fields) -> Body:
    """Inkling 2: each layer reads a learned mixture of what earlier ones wrote; full layers mix three times."""
    hidden, kernel = c.size("hidden_size"), c.size("conv_kernel_size")
    ends = [Block(_short(f"post_{name}_convolution", hidden, kernel)) for name in ("attention", "mlp")]
    after, experts = rms_norm("post_attention_layernorm", hidden), _routed(c)
    attends = _by_kind(c, lambda kind: _clipped_attention(c, kind, kernel))
    reads = Block(parameter("mlp_input.query", hidden))
    layers = [
        (*_inputs(hidden, kind, number), attends[kind], ends[0], reads, after, experts, ends[1])
        for number, kind in enumerate(_kinds(c, lambda i: (i + 1) % 6 != 0))
    ]
    return _normed(c, layers).beside(parameter("final_input.query", hidden))


def _kinds(c: Fields, slides: Callable[[int], bool]) -> list[str]:
    return kinds(c, "layer_types", lambda i: HYBRID_SLIDING if slides(i) else HYBRID, (HYBRID, HYBRID_SLIDING))


def _by_kind(c: Fields, build: Callable[[str], Block]) -> dict[str, Block]:
    if c.size("sliding_window_size") == 1:  # transformers slices its cache at -size + 1
        raise UnprovenError(f"config: {c.path}sliding_window_size is 1")
    return {kind: build(kind) for kind in (HYBRID, HYBRID_SLIDING)}


def _heads(c: Fields, kind: str) -> Heads:
    prefix = "swa_" if kind == HYBRID_SLIDING else ""
    heads, kv_heads = c.size(f"{prefix}num_attention_heads"), c.size(f"{prefix}num_key_value_heads")
    if heads % kv_heads:
        raise UnprovenError(f"config: {c.path}{prefix}num_attention_heads is no multiple of its key heads")
    return Heads(c.size("hidden_size"), heads, kv_heads, c.size(f"{prefix}head_dim"))


def _attention(c: Fields, kind: str, more: Tensors, kernel: int) -> Block:
    heads = _heads(c, kind)
    return _relative(c, kind, (*more, *_short("k_sconv", heads.key, kernel), *_short("v_sconv", heads.key, kernel)))


def _clipped_attention(c: Fields, kind: str, kernel: int) -> Block:
    """Attention of Inkling 2: clipped, not normed, gated, with sinks; where all is seen, its taps are computed."""
    heads = _heads(c, kind)
    more = (
        *linear("gate_proj", heads.hidden, heads.query),
        *linear("sink_proj", heads.hidden, heads.heads),
        *parameter("q_l2_clip.scale", heads.heads, heads.head_dim),
        *parameter("rel_l2_clip.scale", heads.heads, c.size("d_rel")),
    )
    if kind == HYBRID_SLIDING:
        return _attention(c, kind, more, kernel)
    computed = linear("weight_proj", heads.hidden, heads.kv_heads * kernel)
    taps = (*parameter("static_weight", kernel, heads.key), *computed)
    return _relative(c, kind, (*more, *within("k_sconv", taps), *within("v_sconv", taps)))


def _relative(c: Fields, kind: str, more: Tensors) -> Block:
    """Attention that scores distances up to an extent, and what its layer's four convolutions keep, in float32."""
    heads, slides, rank = _heads(c, kind), kind == HYBRID_SLIDING, c.size("d_rel")
    size = c.size("sliding_window_size") if slides else None
    distances = (
        *linear("r_proj", heads.hidden, heads.heads * rank),
        *parameter("rel_logits_proj.proj", rank, size or c.size("rel_extent")),
    )
    kernel = c.size("conv_kernel_size")
    states = tuple(State(width * kernel, 4) for width in (heads.key, heads.key, heads.hidden, heads.hidden))
    block = attention(heads, size, norms=(*distances, *more))
    return block._replace(cache=replace(heads.cache(size), states=states))


def _short(name: str, width: int, kernel: int) -> Tensors:
    return convolution(f"{name}.conv1d", (width, 1, kernel))


def _mlps(c: Fields) -> tuple[Callable[[], Block], Callable[[], Block]]:
    """Experts and dense MLP of Inkling; its first configs call the width of the experts intermediate_size."""
    hidden, older = c.size("hidden_size"), not c.is_null("dense_intermediate_size")
    wide, narrow = (
        ("dense_intermediate_size", "intermediate_size") if older else ("intermediate_size", "moe_intermediate_size")
    )

    def experts() -> Block:
        routed, width = routing(c, "n_routed_experts"), c.size(narrow)
        always = Routing(c.size("n_shared_experts"), c.size("n_shared_experts"))
        shared = within(
            "shared_experts",
            stacked("gate_proj", always, width, hidden),
            stacked("up_proj", always, width, hidden),
            stacked("down_proj", always, hidden, width),
        )
        gate = (*parameter("gate.weight", routed.experts + always.experts, hidden), *parameter("gate.global_scale", 1))
        return mixture(hidden, width, routed, gate=gate, shared=shared)

    def dense() -> Block:
        return Block(within("mlp", gated(hidden, c.size(wide)), parameter("global_scale", 1)))

    return experts, dense


def _routed(c: Fields) -> Block:
    return mixture(c.size("hidden_size"), c.size("moe_intermediate_size"), routing(c, "n_routed_experts"))


def _inputs(hidden: int, kind: str, number: int) -> Layer:
    """What a layer of Inkling 2 reads: one mixture, or one each for queries, keys and values; the first has none."""
    slides = kind == HYBRID_SLIDING
    query = parameter("attention_input.query", *(() if slides else (3,)), hidden) if number else ()
    names = ("input_layernorm",) if slides else tuple(f"{part}_input_layernorm" for part in "qkv")
    return (Block(query), *(rms_norm(name, hidden) for name in names))


def _normed(c: Fields, layers: Sequence[Layer]) -> Body:
    """A decoder whose embedding ends in a norm."""
    return decoder(c, layers).beside(norm("embed_tokens.embed_norm", c.size("hidden_size")))


def _untied(body: Callable[[Fields], Body]) -> Callable[[Fields], Network]:
    """The head is a weight of its own, whatever the config says of tying."""

    def build(c: Fields) -> Network:
        model = body(c).within("model")
        return Network(model, linear("lm_head", model.hidden, model.vocab))

    return build


BODIES: Final = {"inkling_text": inkling_text, "inkling2_text": inkling2_text}
CLASSES: Final = {"InklingForCausalLM": _untied(inkling_text), "Inkling2ForCausalLM": _untied(inkling2_text)}
