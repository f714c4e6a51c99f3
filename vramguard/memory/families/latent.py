"""Multi-head latent attention: keys and values are made from one small vector a token, and that is what is cached.

transformers 5.23 caches what its `past_key_values.update` receives: the normed latent as keys, the rotated part of the
keys as values, both once for all heads. It widens them to every head for each forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import Attention, Cache, Series
from vramguard.memory.families.blocks import Block, linear, norm, within
from vramguard.memory.families.experts import kinds

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Tensors
    from vramguard.memory.families.fields import Fields

# Layers whose attention an indexer narrows down to some tokens; the second is an older name.
INDEXED: Final = ("indexed_attention", "deepseek_sparse_attention")


class Latent(NamedTuple):
    """Sizes of one latent attention."""

    hidden: int
    heads: int
    query_rank: int | None  # None: queries are made from the hidden state at once
    rank: int  # of keys and values
    nope: int  # of each head's keys: the part that knows no position
    rope: int  # and the part that does, which all heads share
    value: int

    @property
    def head_dim(self) -> int:
        """Width of each head's queries and keys."""
        return self.nope + self.rope

    @property
    def output(self) -> int:
        """Width of all heads' values together."""
        return self.heads * self.value


def latent(c: Fields, value: int | None = None) -> Latent:
    """Sizes by the keys that all classes share; `value` where v_head_dim may be null."""
    return Latent(
        hidden=c.size("hidden_size"),
        heads=c.size("num_attention_heads"),
        query_rank=c.optional("q_lora_rank"),
        rank=c.size("kv_lora_rank"),
        nope=c.size("qk_nope_head_dim"),
        rope=c.size("qk_rope_head_dim"),
        value=c.size("v_head_dim") if value is None else value,
    )


def compressed_queries(sizes: Latent, rank: int, *, bias: bool) -> Tensors:
    """First half of queries that pass a latent of their own."""
    return (*linear("q_a_proj", sizes.hidden, rank, bias=bias), *norm("q_a_layernorm", rank))


def queries(sizes: Latent, *, bias: bool) -> Tensors:
    """Queries, through a latent of their own where the config gives it a rank; only that half may have a bias."""
    width = sizes.heads * sizes.head_dim
    if sizes.query_rank is None:
        return linear("q_proj", sizes.hidden, width)
    first = compressed_queries(sizes, sizes.query_rank, bias=bias)
    return (*first, *linear("q_b_proj", sizes.query_rank, width))


def latent_attention(
    sizes: Latent,
    *,
    bias: bool,
    query: Tensors | None = None,
    more: Tensors = (),
    series: tuple[Series, ...] = (),
    window: int | None = None,
) -> Block:
    """Latent attention; `more` are further weights of it, `series` what it caches beside the latent."""
    tensors = (
        *(queries(sizes, bias=bias) if query is None else query),
        *linear("kv_a_proj_with_mqa", sizes.hidden, sizes.rank + sizes.rope, bias=bias),
        *norm("kv_a_layernorm", sizes.rank),
        *linear("kv_b_proj", sizes.rank, sizes.heads * (sizes.nope + sizes.value)),
        *linear("o_proj", sizes.output, sizes.hidden, bias=bias),
        *more,
    )
    role = Attention(1, sizes.heads, sizes.heads, sizes.head_dim, window)
    return Block(within("self_attn", tensors), role, Cache(sizes.rank, sizes.rope, window, series=series))


def indexer(c: Fields) -> Tensors:
    """DeepSeek's lightning indexer, which reads the queries' latent; its keys are cached, once for all its heads."""
    heads, width = c.size("index_n_heads"), c.size("index_head_dim")
    hidden = c.size("hidden_size")
    return within(
        "indexer",
        linear("wq_b", c.size("q_lora_rank"), heads * width),
        linear("wk", hidden, width),
        norm("k_norm", width, bias=True),
        linear("weights_proj", hidden, heads),
    )


def indexed_layers(c: Fields) -> None:
    """Refuse a layer without an indexer's cache, on which transformers' forward pass fails."""
    kinds(c, "layer_types", lambda _: INDEXED[0], INDEXED)


def latent_layers(c: Fields, *, more: Tensors = ()) -> list[Block]:
    """The same latent attention in every layer."""
    return [latent_attention(latent(c), bias=c.flag("attention_bias"), more=more)] * c.layers


def indexed_attention(c: Fields, *, query: Tensors | None = None, more: Tensors = ()) -> tuple[Block, Block]:
    """Latent attention with an indexer, and without one where a layer takes the choice of an earlier layer."""
    sizes, bias = latent(c), c.flag("attention_bias")
    narrows = latent_attention(
        sizes, bias=bias, query=query, more=(*more, *indexer(c)), series=(Series(c.size("index_head_dim")),)
    )
    return narrows, latent_attention(sizes, bias=bias, query=query, more=more)
