"""GPT-2, GPT-NeoX and Falcon: layer norms, fused projections, an MLP of two projections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import conv1d, embedding, fused_attention, layer_norm, linear, plain_mlp
from vramguard.memory.families.decoder import Family, Stem, even_heads, network
from vramguard.memory.families.fields import Nullable

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Block, Heads, Network
    from vramguard.memory.families.fields import Fields


def gpt2(c: Fields) -> Network:
    """GPT-2: learned positions, biases everywhere, weights stored the other way round."""
    heads = even_heads(c)
    hidden, width = heads.hidden, c.optional("n_inner") or 4 * heads.hidden
    layer = (
        layer_norm("ln_1", hidden),
        fused_attention("attn", conv1d("c_attn", hidden, 3 * hidden), conv1d("c_proj", hidden, hidden), heads.role()),
        layer_norm("ln_2", hidden),
        plain_mlp(width, conv1d("c_fc", hidden, width), conv1d("c_proj", width, hidden)),
    )
    stem = Stem("transformer.wte", "transformer.h", "transformer.ln_f")
    positions = embedding("transformer.wpe", c.size("max_position_embeddings"), hidden)
    return network(c, stem, [layer] * c.layers, norm=layer_norm, positions=positions)


def gpt_neox(c: Fields) -> Network:
    """GPT-NeoX: attention and MLP side by side, each after a norm of its own, the MLP always with biases."""
    heads = even_heads(c)
    hidden, width, bias = heads.hidden, c.size("intermediate_size"), c.flag("attention_bias")
    qkv = linear("query_key_value", hidden, 3 * hidden, bias=bias)
    layer = (
        layer_norm("input_layernorm", hidden),
        fused_attention("attention", qkv, linear("dense", hidden, hidden, bias=bias), heads.role()),
        layer_norm("post_attention_layernorm", hidden),
        _wide_mlp(hidden, width, bias=True),
    )
    stem = Stem("gpt_neox.embed_in", "gpt_neox.layers", "gpt_neox.final_layer_norm")
    return replace(network(c, stem, [layer] * c.layers, norm=layer_norm), parallel=c.flag("use_parallel_residual"))


def falcon(c: Fields) -> Network:
    """Falcon: one key head (7B), grouped ones (the new decoder of 40B and 180B), or one for each query head."""
    heads, new, bias = _falcon_heads(c), c.flag("new_decoder_architecture"), c.flag("bias")
    hidden, width = heads.hidden, c.optional("ffn_hidden_size") or 4 * heads.hidden
    qkv = linear("query_key_value", hidden, heads.query + 2 * heads.key, bias=bias)
    output = linear("dense", hidden, hidden, bias=bias)
    # The new decoder repeats its keys for every query head before it caches them.
    role = heads.role(broadcast=new)
    layer = (
        *_falcon_norms(c, hidden, new=new),
        fused_attention("self_attention", qkv, output, role),
        _wide_mlp(hidden, width, bias=bias),
    )
    stem = Stem("transformer.word_embeddings", "transformer.h", "transformer.ln_f")
    return replace(network(c, stem, [layer] * c.layers, norm=layer_norm), parallel=c.flag("parallel_attn"))


def _wide_mlp(hidden: int, width: int, *, bias: bool) -> Block:
    up, down = linear("dense_h_to_4h", hidden, width, bias=bias), linear("dense_4h_to_h", width, hidden, bias=bias)
    return plain_mlp(width, up, down)


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

FAMILIES: Final = {
    "gpt2": Family(
        "GPT2LMHeadModel",
        gpt2,
        {
            "vocab_size": 50257,
            "hidden_size": 768,
            "n_inner": Nullable(),
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "head_dim": Nullable(),
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
        spellings={
            "hidden_size": ("hidden_size", "n_embd"),
            "num_hidden_layers": ("num_hidden_layers", "n_layer"),
            "num_attention_heads": ("num_attention_heads", "n_head"),
            "max_position_embeddings": ("max_position_embeddings", "n_positions"),
        },
    ),
    "gpt_neox": Family(
        "GPTNeoXForCausalLM",
        gpt_neox,
        {
            "vocab_size": 50432,
            "hidden_size": 6144,
            "intermediate_size": 24576,
            "num_hidden_layers": 44,
            "num_attention_heads": 64,
            "head_dim": Nullable(),
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "attention_bias": True,
            "use_parallel_residual": True,
        },
    ),
    "falcon": Family(
        "FalconForCausalLM",
        falcon,
        {
            "vocab_size": 65024,
            "hidden_size": 4544,
            "ffn_hidden_size": Nullable(),
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "num_kv_heads": Nullable(),
            "head_dim": Nullable(),
            "max_position_embeddings": 2048,
            "tie_word_embeddings": True,
            "new_decoder_architecture": Nullable(False),
            "multi_query": Nullable(True),
            "parallel_attn": Nullable(True),
            "bias": Nullable(False),
            "num_ln_in_parallel_attn": Nullable(),
        },
        spellings={"hidden_size": ("n_embed", "hidden_size")},
    ),
}
