"""Idefics, the first: a Llama that crosses to pictures between its layers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Network,
    Stack,
    embedding,
    gated_mlp,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.blocks import attention as plain_attention
from vramguard.memory.families.decoder import decoder, dense, even_heads, headed, pre_norm
from vramguard.memory.families.fields import MAX_LAYERS, shown
from vramguard.memory.families.towers import clip

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Heads, Layer
    from vramguard.memory.families.fields import Fields


def idefics(c: Fields) -> Network:
    """Idefics: Llama before some of whose layers a gated one crosses to the picture, and keeps nothing of it."""
    vision, heads, more = c.part("vision_config"), even_heads(c), c.count("additional_vocab_size")
    text = decoder(c, pre_norm(c, [plain_attention(heads)] * c.layers, dense(c)))
    every = c.size("cross_layer_interval", MAX_LAYERS)
    if c.layers % every:  # the class builds one too few then
        raise UnprovenError(f"config: num_hidden_layers {c.layers} is no multiple of cross_layer_interval {every}")
    crossing = Stack("gated_cross_attn_layers", [_crossing(c, heads, vision.size("embed_dim"))] * (c.layers // every))
    added = embedding("embed_tokens.additional_embedding", more, heads.hidden) if more else ()
    body = replace(text, stacks=(*text.stacks, crossing)).beside(body_of(vision).within("vision_model"), added)
    if c.flag("use_resampler"):
        body = body.beside(
            _resampler(c.part("perceiver_config"), vision.size("embed_dim")).within("perceiver_resampler")
        )
    network = headed(c, body.within("model"))
    extra = linear("lm_head.additional_fc", heads.hidden, more) if more and not network.tied else ()
    return network._replace(head=(*network.head, *extra))


def _crossing(c: Fields, heads: Heads, seen: int) -> Layer:
    kinds = {"float": (1,), "vector": (1, 1, heads.hidden)}
    if c.text("alpha_type") not in kinds:
        raise UnprovenError(f"config: alpha_type is {shown(c.text('alpha_type'))}, not float or vector")
    gate = kinds[c.text("alpha_type")]
    norms = (*norm("q_layer_norm", heads.head_dim), *norm("k_layer_norm", heads.head_dim))
    attention = (
        *linear("q_proj", heads.hidden, heads.query),
        *linear("k_proj", seen, heads.key),
        *linear("v_proj", seen, heads.key),
        *linear("o_proj", heads.query, heads.hidden),
        *(norms if c.flag("qk_layer_norms") else ()),
    )
    return (
        rms_norm("input_layernorm", heads.hidden),
        Block(within("cross_attn", attention), heads.role()),
        rms_norm("post_attention_layernorm", heads.hidden),
        gated_mlp(heads.hidden, c.size("intermediate_size")),
        Block((*parameter("alpha_cross_attn", *gate), *parameter("alpha_dense", *gate))),
    )


def _resampler(c: Fields, width: int) -> Body:
    """Latents that ask about the patches."""
    head_dim = c.size("resampler_head_dim")
    inner, norms = c.size("resampler_n_heads") * head_dim, ("context_layer_norm", "latents_layer_norm")
    heads = ("q_layer_norm", "k_layer_norm") if c.flag("qk_layer_norms_perceiver") else ()
    layer = (
        *(t for name in norms for t in norm(name, width, bias=True)),
        *(t for name in heads for t in norm(name, head_dim, bias=True)),
        *(t for name in ("q_proj", "k_proj", "v_proj") for t in linear(name, width, inner)),
        *linear("output_proj", inner, width),
        *norm("ln", width, bias=True),
        *linear("fc", width, 4 * width),
        *linear("c_proj", 4 * width, width),
    )
    stack = Stack("blocks", [(Block(within("*", layer)),)] * c.size("resampler_depth", MAX_LAYERS))
    latents = parameter("latents", c.size("resampler_n_latents"), width)
    return Body(width, (stack,), (*latents, *norm("layer_norm", width, bias=True)))


BODIES: Final = {"idefics_vision": clip}
CLASSES: Final = {
    "IdeficsForVisionText2Text": idefics,
}
