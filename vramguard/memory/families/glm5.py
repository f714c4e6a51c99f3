"""GLM-5 Next: Kimi's delta nets beside indexed latent attention, on several residual streams, with a vision tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Series, UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Stack,
    convolution,
    gated,
    gated_mlp,
    head_norms,
    linear,
    norm,
    parameter,
    rms_norm,
    within,
)
from vramguard.memory.families.decoder import FULL, decoder, divide, headed
from vramguard.memory.families.deepseek import glm_indexers
from vramguard.memory.families.experts import feed_forward, grouped_experts, sparse_layers
from vramguard.memory.families.hyper import hyper_layers
from vramguard.memory.families.kimi import Channels, flattened, low_rank_gates
from vramguard.memory.families.kinds import LINEAR, every, layer_kinds
from vramguard.memory.families.latent import INDEXED, Latent, indexer, latent_attention

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Network, Tensors
    from vramguard.memory.families.fields import Fields


def glm5_text(c: Fields) -> Body:
    """GLM-5 Next's text model: attention without positions in every fourth layer; its indexer pools 16 keys."""
    c = c if c.is_null("linear_attn_config") else flattened(c)
    g = Channels(
        *(c.size(key) for key in ("hidden_size", "linear_num_heads", "linear_head_dim", "linear_conv_kernel_dim"))
    )
    net = g.net(low_rank_gates(g, heads_only=True))
    narrows, follows = _attention(c, indexed=True), _attention(c, indexed=False)
    kinds = layer_kinds(c, every(4), (LINEAR, FULL, *INDEXED))
    mixers = [
        net if kind == LINEAR else narrows if indexes == "full" else follows
        for kind, indexes in zip(kinds, glm_indexers(c), strict=True)
    ]
    mlp = feed_forward(
        sparse_layers(c, lambda i: i >= 3),  # noqa: PLR2004
        lambda: grouped_experts(c),
        lambda: gated_mlp(g.hidden, c.size("intermediate_size")),
    )
    streams = c.size("hc_mult")
    return decoder(c, hyper_layers(c, mixers, mlp, rows=(2 + streams) * streams, scales=3))


def glm5_vision(c: Fields) -> Body:
    """GLM-5 Next's tower: RMS norms, a norm of each head's queries and keys, a convolution before the merger."""
    hidden, patch, bias = c.size("hidden_size"), c.size("patch_size"), c.flag("attention_bias")
    merge, out, width = c.size("spatial_merge_size"), c.size("out_hidden_size"), c.size("projection_intermediate_size")
    attends = (
        *linear("qkv", hidden, 3 * hidden, bias=bias),
        *linear("proj", hidden, hidden, bias=bias),
        *head_norms(divide(c, "hidden_size", "num_heads")),
    )
    layer = (
        rms_norm("norm1", hidden),
        Block(within("attn", attends)),
        rms_norm("norm2", hidden),
        gated_mlp(hidden, c.size("intermediate_size"), bias=bias),
    )
    kernel = (c.size("temporal_patch_size"), patch, patch)
    outside = (
        *convolution("patch_embed.proj", (hidden, c.size("in_channels"), *kernel), bias=True),
        *within("merger", linear("proj", out, out), norm("post_projection_norm", out, bias=True), gated(out, width)),
        *convolution("downsample", (out, hidden, merge, merge), bias=True),
        *norm("post_layernorm", hidden),
    )
    return Body(hidden, (Stack("blocks", [layer] * c.size("depth")),), outside)


def glm5(c: Fields) -> Body:
    """The text model with its tower."""
    if c.is_null("text_config"):  # then the class takes what else the config says for it
        own = c.table[c.kind]["fields"]
        stray = [key for key in c.table["glm5_next_text"]["fields"] if key not in own and c.given(key)]
        if stray:
            raise UnprovenError(f"config: {stray[0]} stands outside of text_config")
    text, tower = body_of(c.part("text_config")), body_of(c.part("vision_config"))
    return text.within("language_model").beside(tower.within("visual"))


def _conditional(c: Fields) -> Network:
    return headed(c, glm5(c).within("model"))


def _attention(c: Fields, *, indexed: bool) -> Block:
    """Latent attention; an indexer caches a key, a gate and a mark of validity for each token."""
    if c.count("qk_rope_head_dim"):
        raise UnprovenError("config: qk_rope_head_dim is not 0, which is all that transformers supports")
    heads, rank = c.size("num_attention_heads"), c.size("q_lora_rank")
    if c.optional("num_key_value_heads") not in (None, heads):
        raise UnprovenError("config: num_key_value_heads is not num_attention_heads")
    sizes = Latent(c.size("hidden_size"), heads, rank, c.size("kv_lora_rank"), c.size("qk_nope_head_dim"), 0, 0)
    sizes = sizes._replace(value=c.size("v_head_dim"))
    more: Tensors = (*indexer(c), *_pooling(c)) if indexed else ()
    series = (Series(2 * c.size("index_head_dim") + 1),) if indexed else ()
    return latent_attention(sizes, bias=c.flag("attention_bias"), more=more, series=series)


def _pooling(c: Fields) -> Tensors:
    width = c.size("index_head_dim")
    return within(
        "indexer",
        parameter("index_kpool_compress_ape", c.size("index_kpool"), width),
        parameter("index_kpool_compress_gate", width, c.size("hidden_size")),
    )


BODIES: Final = {"glm5_next_text": glm5_text, "glm5_next_vision": glm5_vision, "glm5_next": glm5}
CLASSES: Final = {"Glm5NextForConditionalGeneration": _conditional}
