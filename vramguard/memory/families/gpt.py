"""GPT-2, GPT-NeoX and Falcon: layer norms, fused projections, an MLP of two projections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import conv1d, embedding, fused_attention, layer_norm, linear, plain_mlp
from vramguard.memory.families.decoder import Stem, causal, decoder, even_heads

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Block, Body, Heads
    from vramguard.memory.families.fields import Fields


def gpt2(c: Fields) -> Body:
    """GPT-2: learned positions, biases everywhere, weights stored the other way round."""
    heads = even_heads(c)
    hidden, width = heads.hidden, c.optional("n_inner") or 4 * heads.hidden
    layer = (
        layer_norm("ln_1", hidden),
        fused_attention("attn", conv1d("c_attn", hidden, 3 * hidden), conv1d("c_proj", hidden, hidden), heads),
        layer_norm("ln_2", hidden),
        plain_mlp(conv1d("c_fc", hidden, width), conv1d("c_proj", width, hidden)),
    )
    positions = embedding("wpe", c.size("max_position_embeddings"), hidden)
    body = decoder(c, [layer] * c.layers, stem=Stem("wte", "h", "ln_f"), norm=layer_norm, positions=positions)
    return replace(body, sizes={**body.sizes, "n_inner": width})


def gpt_neox(c: Fields) -> Body:
    """GPT-NeoX: attention and MLP side by side, each after a norm of its own, the MLP always with biases."""
    heads = even_heads(c)
    hidden, width, bias = heads.hidden, c.size("intermediate_size"), c.flag("attention_bias")
    qkv = linear("query_key_value", hidden, 3 * hidden, bias=bias)
    layer = (
        layer_norm("input_layernorm", hidden),
        fused_attention("attention", qkv, linear("dense", hidden, hidden, bias=bias), heads),
        layer_norm("post_attention_layernorm", hidden),
        _wide_mlp(hidden, width, bias=True),
    )
    stem = Stem("embed_in", "layers", "final_layer_norm")
    body = decoder(c, [layer] * c.layers, stem=stem, norm=layer_norm)
    return replace(body, variant="parallel" if c.flag("use_parallel_residual") else "")


def falcon(c: Fields) -> Body:
    """Falcon: one key head (7B), grouped ones (the new decoder of 40B and 180B), or one for each query head."""
    if c.given("n_embed") and c.raw("n_embed") is not None:  # an older name, which wins over the present one
        width = c.derive("hidden_size", c.size("n_embed"))
        c = replace(c, config={**c.config, "hidden_size": width})
    heads, new, bias = _falcon_heads(c), c.flag("new_decoder_architecture"), c.flag("bias")
    hidden, width = heads.hidden, c.optional("ffn_hidden_size") or 4 * heads.hidden
    qkv = linear("query_key_value", hidden, heads.query + 2 * heads.key, bias=bias)
    attention = fused_attention("self_attention", qkv, linear("dense", hidden, hidden, bias=bias), heads)
    if new:  # it repeats its keys for every query head before it caches them
        every = heads._replace(kv_heads=heads.heads)
        attention = attention._replace(attention=every.role(), cache=every.cache())
    layer = (*_falcon_norms(c, hidden, new=new), attention, _wide_mlp(hidden, width, bias=bias))
    stem = Stem("word_embeddings", "h", "ln_f")
    body = decoder(c, [layer] * c.layers, stem=stem, norm=layer_norm)
    parallel = "parallel" if c.flag("parallel_attn") else ""
    kind = "new" if new else "multi_query" if c.flag("multi_query") else ""
    sizes = {**body.sizes, "ffn_hidden_size": width, "num_kv_heads": heads.kv_heads}
    return replace(body, variant=" ".join(filter(None, (kind, parallel))), sizes=sizes)


def _wide_mlp(hidden: int, width: int, *, bias: bool) -> Block:
    up, down = linear("dense_h_to_4h", hidden, width, bias=bias), linear("dense_4h_to_h", width, hidden, bias=bias)
    return plain_mlp(up, down)


def _falcon_heads(c: Fields) -> Heads:
    heads = c.size("num_attention_heads")
    kv_heads = c.optional("num_kv_heads") or heads
    if c.flag("new_decoder_architecture"):
        if heads % kv_heads:
            raise UnprovenError(f"config: num_attention_heads {heads} is no multiple of num_kv_heads {kv_heads}")
        return even_heads(c, kv_heads)
    if c.flag("multi_query"):
        return even_heads(c, 1)
    if kv_heads != heads:
        raise UnprovenError("config: num_kv_heads differs from num_attention_heads, which only the new decoder can do")
    return even_heads(c)


def _falcon_norms(c: Fields, hidden: int, *, new: bool) -> list[Block]:
    """Norms of a layer; UnprovenError for switches with which transformers builds a model that cannot run."""
    parallel = c.flag("parallel_attn")
    number = c.optional("num_ln_in_parallel_attn") or (2 if new else 1)
    names = _FALCON_NORMS.get((new, parallel, number))
    if names is None:
        raise UnprovenError(
            f"config: new_decoder_architecture {new}, parallel_attn {parallel} and num_ln_in_parallel_attn {number} "
            "do not go together"
        )
    return [layer_norm(name, hidden) for name in names]


# By new_decoder_architecture, parallel_attn and num_ln_in_parallel_attn.
_FALCON_NORMS: Final = {
    (True, True, 1): ("input_layernorm",),
    (True, True, 2): ("ln_attn", "ln_mlp"),
    (False, True, 1): ("input_layernorm",),
    (False, False, 1): ("input_layernorm", "post_attention_layernorm"),
    (False, False, 2): ("input_layernorm", "post_attention_layernorm"),
}

BODIES: Final = {"gpt2": gpt2, "gpt_neox": gpt_neox, "falcon": falcon}
CLASSES: Final = {
    "GPT2LMHeadModel": causal(gpt2, "transformer"),
    "GPTNeoXForCausalLM": causal(gpt_neox, "gpt_neox"),
    "FalconForCausalLM": causal(falcon, "transformer"),
}
