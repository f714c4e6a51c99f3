"""XLM and FlauBERT (one list for each kind of module), XLNet and Funnel (scores by distance, from weights by head)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Network,
    Stack,
    buffer,
    embedding,
    linear,
    named_attention,
    parameter,
    within,
)
from vramguard.memory.families.decoder import even_heads, headed
from vramguard.memory.families.encoder import dense, layer_norm

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def xlm(c: Fields) -> Body:
    """XLM: attentions, MLPs and norms stand in four lists; keys and values live to the end of a pass, and no longer."""
    if not c.flag("is_encoder"):
        raise UnprovenError("config: is_encoder is false, which the class refuses")
    heads, positions, vocab = even_heads(c), c.size("max_position_embeddings"), c.size("vocab_size")
    hidden, languages = heads.hidden, c.size("n_langs")
    attention = named_attention(heads, ("q_lin", "k_lin", "v_lin", "out_lin"), cached=False)
    feeds = Block((*dense("lin1", hidden, 4 * hidden), *dense("lin2", 4 * hidden, hidden)))
    # A norm is itself the item of its list, so that its weight has no name between the number and `weight`.
    norm = Block(tuple(t._replace(name=t.name.removeprefix("norm.")) for t in layer_norm("norm", hidden)))
    lists = {"attentions": attention, "layer_norm1": norm, "ffns": feeds, "layer_norm2": norm}
    outside = (
        *embedding("position_embeddings", positions, hidden),
        *embedding("embeddings", vocab, hidden),
        *(embedding("lang_embeddings", languages, hidden) if languages > 1 and c.flag("use_lang_emb") else ()),
        *layer_norm("layer_norm_emb", hidden),
    )
    stacks = tuple(Stack(name, [(block,)] * c.layers) for name, block in lists.items())
    table = buffer("position_ids", 1, positions, item=8)
    return Body(hidden, stacks, outside, table, vocab=vocab, context=positions, learned_positions=True)


def xlm_lm(c: Fields) -> Network:
    """XLM's head: the embedding with a bias."""
    if c.flag("asm"):
        raise UnprovenError("config: asm is true, an adaptive softmax that is not supported")
    return headed(c, xlm(c).within("transformer"), "pred_layer.proj", bias=True)


def xlnet(c: Fields) -> Body:
    """XLNet: weights of projections by head, and a memory of each layer's input in place of keys and values."""
    hidden, heads, vocab = c.size("hidden_size"), c.size("num_attention_heads"), c.size("vocab_size")
    geometry = Heads(hidden, heads, heads, c.optional("d_head") or hidden // heads)
    width, head_dim = c.size("d_inner"), geometry.head_dim
    attention = within(
        "rel_attn",
        *(parameter(name, hidden, heads, head_dim) for name in "qkvor"),
        *(parameter(f"r_{name}_bias", heads, head_dim) for name in "rsw"),
        parameter("seg_embed", 2, heads, head_dim),
        layer_norm("layer_norm", hidden),
    )
    feeds = within(
        "ff", layer_norm("layer_norm", hidden), dense("layer_1", hidden, width), dense("layer_2", width, hidden)
    )
    layer = (Block(attention, geometry.role(), _memory(c, hidden)), Block(feeds))
    outside = (*embedding("word_embedding", vocab, hidden), *parameter("mask_emb", 1, 1, hidden))
    return Body(hidden, (Stack("layer", [layer] * c.layers),), outside, vocab=vocab)


def _memory(c: Fields, hidden: int) -> Cache | None:
    """What a layer remembers: the first reuse_len tokens of its input, and of them the last mem_len."""
    if not c.flag("use_mems_eval"):
        return None
    kept = [length for key in ("mem_len", "reuse_len") if (length := 0 if c.is_null(key) else c.count(key))]
    return Cache(hidden, window=min(kept) + 1 if kept else None)


def funnel(c: Fields) -> Body:
    """Funnel: blocks of layers, each of half as many tokens as the one before, then a decoder of them all."""
    hidden, sizes, repeats = c.size("hidden_size"), c.integers("block_sizes"), c.integers("block_repeats")
    if not sizes or min((*sizes, *repeats)) < 1 or len(repeats or sizes) != len(sizes):
        raise UnprovenError("config: block_sizes and block_repeats are not lists of as many positive integers")
    layer, vocab = _funnel_layer(c), c.size("vocab_size")
    repeated = sum(size * (times - 1) for size, times in zip(sizes, repeats, strict=True)) if repeats else 0
    again = [(Block((), layer[0].attention),)] * repeated
    stacks = (
        *(Stack("encoder.blocks.*", [layer] * size) for size in sizes),
        Stack("encoder.repeats", again),
        Stack("decoder.layers", [layer] * c.count("num_decoder_layers")),
    )
    tables = (embedding("word_embeddings", vocab, hidden), layer_norm("layer_norm", hidden))
    return Body(hidden, stacks, within("embeddings", *tables), vocab=vocab)


def _funnel_layer(c: Fields) -> tuple[Block, ...]:
    hidden, heads, head_dim, width = c.size("hidden_size"), c.size("n_head"), c.size("d_head"), c.size("d_inner")
    geometry = Heads(hidden, heads, heads, head_dim)
    attention = within(
        "attention",
        linear("q_head", hidden, geometry.query),
        dense("k_head", hidden, geometry.query),
        dense("v_head", hidden, geometry.query),
        dense("post_proj", geometry.query, hidden),
        *(parameter(f"r_{name}_bias", heads, head_dim) for name in "wrs"),
        parameter("r_kernel", hidden, heads, head_dim),
        parameter("seg_embed", 2, heads, head_dim),
        layer_norm("layer_norm", hidden),
    )
    feeds = (dense("linear_1", hidden, width), dense("linear_2", width, hidden), layer_norm("layer_norm", hidden))
    return (Block(attention, geometry.role()), Block(within("ffn", *feeds)))


CLASSES: Final = {
    "XLMWithLMHeadModel": xlm_lm,
    "FlaubertWithLMHeadModel": xlm_lm,
    "XLNetLMHeadModel": lambda c: headed(c, xlnet(c).within("transformer"), "lm_loss", bias=True),
    "FunnelForMaskedLM": lambda c: headed(c, funnel(c).within("funnel"), bias=True),
}
