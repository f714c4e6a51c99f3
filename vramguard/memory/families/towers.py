"""Towers that see as CLIP's does: patches of a picture, learned positions, layers with norms before them.

A prompt of text passes no tower, so that their layers neither attend nor cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    Tensors,
    buffer,
    convolution,
    embedding,
    gated,
    gated_mlp,
    layer_norm,
    linear,
    norm,
    parameter,
    plain_mlp,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import divide

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer
    from vramguard.memory.families.fields import Fields

CLIP: Final = ("q_proj", "k_proj", "v_proj", "out_proj")


def hidden_of(c: Fields) -> int:
    """Hidden size of a tower, which its heads must divide."""
    divide(c, "hidden_size", "num_attention_heads")
    return c.size("hidden_size")


def patches(c: Fields) -> int:
    """Patches of a square picture; what is left over at its edges is cut off."""
    return (c.size("image_size") // c.size("patch_size")) ** 2


def dense(name: str, inputs: int, outputs: int) -> Tensors:
    """A Linear with a bias."""
    return linear(name, inputs, outputs, bias=True)


def attends(hidden: int, names: tuple[str, ...] = CLIP, *, bias: bool = True) -> Tensors:
    """Projections of queries, keys, values and output, all as wide as the tower."""
    return tuple(tensor for name in names for tensor in linear(name, hidden, hidden, bias=bias))


def torch_attention(hidden: int) -> Tensors:
    """PyTorch's own MultiheadAttention, whose first projections are one weight of its own."""
    fused = (*parameter("in_proj_weight", 3 * hidden, hidden), *parameter("in_proj_bias", 3 * hidden))
    return (*fused, *dense("out_proj", hidden, hidden))


def two_linears(hidden: int, width: int, names: tuple[str, str] = ("fc1", "fc2")) -> Block:
    """CLIP's MLP."""
    return plain_mlp(dense(names[0], hidden, width), dense(names[1], width, hidden))


def clip_layer(c: Fields, attention: Tensors | None = None, mlp: Block | None = None) -> Layer:
    """A layer by CLIP's names."""
    hidden = hidden_of(c)
    return (
        layer_norm("layer_norm1", hidden),
        Block(within("self_attn", attends(hidden) if attention is None else attention)),
        layer_norm("layer_norm2", hidden),
        mlp or two_linears(hidden, c.size("intermediate_size")),
    )


def vit(c: Fields, layer: Layer, embeddings: Tensors, *outside: Tensors) -> Body:
    """Layers in an encoder after embeddings of patches, and the norm after them."""
    after = norm("post_layernorm", c.size("hidden_size"), bias=True)
    weights = (*within("embeddings", embeddings), *after, *(tensor for part in outside for tensor in part))
    return Body(c.size("hidden_size"), (Stack("encoder.layers", [layer] * c.layers),), weights)


def patch_embedding(c: Fields, *, bias: bool = True) -> Tensors:
    """A convolution that makes a patch a vector."""
    patch = c.size("patch_size")
    return convolution("patch_embedding", (c.size("hidden_size"), c.size("num_channels"), patch, patch), bias=bias)


def positions(c: Fields, rows: int) -> Tensors:
    """A learned vector for each patch."""
    return embedding("position_embedding", rows, c.size("hidden_size"))


def clip_tower(c: Fields) -> Body:
    """What reads embedded patches in CLIP: a class token and positions, a norm that it misspells, layers."""
    hidden, rows = c.size("hidden_size"), patches(c) + 1
    embeddings = within("embeddings", parameter("class_embedding", hidden), positions(c, rows))
    outside = (*embeddings, *norm("pre_layrnorm", hidden, bias=True))
    ids = buffer("embeddings.position_ids", 1, rows, item=8)
    return Body(hidden, (Stack("encoder.layers", [clip_layer(c)] * c.layers),), outside, ids)


def clip(c: Fields) -> Body:
    """CLIP: a convolution embeds the patches, and a norm follows the layers."""
    patched = within("embeddings", patch_embedding(c, bias=False))
    return clip_tower(c).beside(patched, norm("post_layernorm", c.size("hidden_size"), bias=True))


def kosmos_vision(c: Fields) -> Body:
    """Kosmos-2's tower: CLIP's, one attribute deeper."""
    return clip(c).within("model")


def siglip_layers(c: Fields) -> Body:
    """Idefics 2 and 3, SmolVLM: SigLIP without its head."""
    return vit(c, clip_layer(c), (*patch_embedding(c), *positions(c, patches(c))))


def siglip(c: Fields) -> Body:
    """SigLIP: no class token; a head that pools the patches, unless the config leaves it out."""
    ids = buffer("embeddings.position_ids", 1, patches(c), item=8)
    return siglip_layers(c).beside(_pooling_head(c), Body(0, buffers=ids))


def siglip2(c: Fields) -> Body:
    """SigLIP 2 for pictures of any shape: patches come cut out, so that a Linear embeds them."""
    hidden, rows = c.size("hidden_size"), c.size("num_patches")
    inputs = c.size("num_channels") * c.size("patch_size") ** 2
    embeddings = (*dense("patch_embedding", inputs, hidden), *positions(c, rows))
    return vit(c, clip_layer(c), embeddings, _pooling_head(c))


def video_llama3_vision(c: Fields) -> Body:
    """VideoLLaMA 3: SigLIP with rotary positions in place of learned ones."""
    return vit(c, clip_layer(c), patch_embedding(c))


def _pooling_head(c: Fields) -> Tensors:
    return pooling_head(c) if c.flag("vision_use_head") else ()


def pooling_head(c: Fields) -> Tensors:
    """One learned query that pools the patches."""
    hidden = c.size("hidden_size")
    return within(
        "head",
        parameter("probe", 1, 1, hidden),
        within("attention", torch_attention(hidden)),
        norm("layernorm", hidden, bias=True),
        two_linears(hidden, c.size("intermediate_size")).tensors,
    )


def blip(c: Fields) -> Body:
    """BLIP's tower: CLIP's with queries, keys and values in one projection; it sees three channels."""
    hidden, patch, rows = hidden_of(c), c.size("patch_size"), patches(c) + 1
    # BLIP always has the bias, BLIP-2 by choice.
    bias = c.flag("qkv_bias") if c.kind != "blip_vision_model" else True
    embeddings = (
        *parameter("class_embedding", 1, 1, hidden),
        *convolution("patch_embedding", (hidden, 3, patch, patch), bias=True),
        *parameter("position_embedding", 1, rows, hidden),
    )
    attention = (*linear("qkv", hidden, 3 * hidden, bias=bias), *dense("projection", hidden, hidden))
    return vit(c, clip_layer(c, attention), embeddings)


def pixtral(c: Fields) -> Body:
    """Pixtral: rotary positions in two dimensions, RMS norms, gated MLPs, no biases."""
    hidden, patch = hidden_of(c), c.size("patch_size")
    layer = (
        rms_norm("attention_norm", hidden),
        Block(within("attention", attends(hidden, ("q_proj", "k_proj", "v_proj", "o_proj"), bias=False))),
        rms_norm("ffn_norm", hidden),
        gated_mlp(hidden, c.size("intermediate_size"), name="feed_forward"),
    )
    outside = (
        *convolution("patch_conv", (hidden, c.size("num_channels"), patch, patch)),
        *norm("ln_pre", hidden),
    )
    return Body(hidden, (Stack("transformer.layers", [layer] * c.layers),), outside)


def ovis2_vision(c: Fields) -> Body:
    """Ovis 2's tower: gated MLPs and RMS norms; its head gives each patch a distribution over visual words."""
    hidden, bias = hidden_of(c), c.flag("qkv_bias")
    layer = (
        rms_norm("rms_norm1", hidden),
        Block(within("attention", attends(hidden, bias=bias))),
        rms_norm("rms_norm2", hidden),
        Block(within("ffn", gated(hidden, c.size("intermediate_size"), bias=c.flag("mlp_bias")))),
    )
    embeddings = (*patch_embedding(c), *positions(c, patches(c)), *norm("rms_norm", hidden))
    outside = (*within("embeddings", embeddings), *norm("rms_norm", hidden))
    tower = Body(
        hidden,
        (Stack("encoder.layers", [layer] * c.layers),),
        outside,
        buffer("embeddings.position_ids", 1, patches(c), item=8),
    )
    words = c.size("vocab_size") - c.count("num_visual_indicator_tokens")
    head = linear("head_linear", hidden * c.size("hidden_stride") ** 2, words)
    return tower.within("transformer").beside(head, norm("head_norm", words, bias=True))


def janus_vision(c: Fields) -> Body:
    """Janus: SigLIP whose MLP's width is a ratio; queries and keys may pass a norm as wide as the tower."""
    hidden, bias = hidden_of(c), c.flag("attention_bias")
    normed = c.flag("use_qk_norm")
    norms = (*norm("q_norm", hidden, bias=True), *norm("k_norm", hidden, bias=True)) if normed else ()
    attention = (
        *attends(hidden, ("q_proj", "k_proj", "v_proj"), bias=bias),
        *dense("projection_layer", hidden, hidden),
        *norms,
    )
    width = int(hidden * c.ratio("mlp_ratio"))  # a product of floats, as transformers takes it
    layer = clip_layer(c, attention, two_linears(hidden, width))
    body = vit(c, layer, (*patch_embedding(c), *positions(c, patches(c))))
    return body.beside(Body(0, buffers=buffer("embeddings.position_ids", 1, patches(c), item=8)))


BODIES: Final = {
    "clip_vision_model": clip,
    "kosmos_2_vision_model": kosmos_vision,
    "siglip_vision_model": siglip,
    "siglip2_vision_model": siglip2,
    **dict.fromkeys(("idefics2_vision", "idefics3_vision", "smolvlm_vision"), siglip_layers),
    **dict.fromkeys(
        ("blip_vision_model", "blip_2_vision_model", "instructblip_vision_model", "instructblipvideo_vision_model"),
        blip,
    ),
    "pixtral": pixtral,
    "video_llama_3_vision": video_llama3_vision,
    "ovis2_vision": ovis2_vision,
    "janus_vision_model": janus_vision,
}
