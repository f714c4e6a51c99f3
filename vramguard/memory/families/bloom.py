"""BLOOM and MPT: positions are a slope added to the scores (ALiBi), so that there is no table of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Body,
    Heads,
    Stack,
    embedding,
    fused_attention,
    layer_norm,
    linear,
    norm,
    plain_mlp,
    rms_norm,
)
from vramguard.memory.families.decoder import causal, even_heads

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def bloom(c: Fields) -> Body:
    """BLOOM: biases everywhere, and a norm right after the embedding."""
    hidden = c.optional("n_embed") or c.size("hidden_size")
    heads, width, vocab = c.size("num_attention_heads"), 4 * hidden, c.size("vocab_size")
    if hidden % heads:
        raise UnprovenError(f"config: hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    geometry = Heads(hidden, heads, heads, hidden // heads)
    qkv, output = linear("query_key_value", hidden, 3 * hidden, bias=True), linear("dense", hidden, hidden, bias=True)
    up, down = linear("dense_h_to_4h", hidden, width, bias=True), linear("dense_4h_to_h", width, hidden, bias=True)
    layer = (
        layer_norm("input_layernorm", hidden),
        fused_attention("self_attention", qkv, output, geometry),
        layer_norm("post_attention_layernorm", hidden),
        plain_mlp(up, down),
    )
    outside = (
        *embedding("word_embeddings", vocab, hidden),
        *norm("word_embeddings_layernorm", hidden, bias=True),
        *norm("ln_f", hidden, bias=True),
    )
    # Older configs declare a context, which the class does not know.
    context = c.optional("seq_length") or 0
    sizes = {"hidden_size": hidden, "head_dim": geometry.head_dim}
    return Body(hidden, (Stack("h", [layer] * c.layers),), outside, vocab=vocab, context=context, sizes=sizes)


def mpt(c: Fields) -> Body:
    """MPT: no biases, no matter what no_bias says; slopes are made for max_seq_len positions and no more."""
    heads, vocab = even_heads(c), c.size("vocab_size")
    hidden, width = heads.hidden, 4 * heads.hidden  # expansion_ratio is not read
    layer = (
        rms_norm("norm_1", hidden),
        fused_attention("attn", linear("Wqkv", hidden, 3 * hidden), linear("out_proj", hidden, hidden), heads),
        rms_norm("norm_2", hidden),
        plain_mlp(linear("up_proj", hidden, width), linear("down_proj", width, hidden), name="ffn"),
    )
    outside = (*embedding("wte", vocab, hidden), *norm("norm_f", hidden))
    return Body(
        hidden,
        (Stack("blocks", [layer] * c.layers),),
        outside,
        vocab=vocab,
        context=c.size("max_seq_len"),
        learned_positions=True,
        sizes={"head_dim": heads.head_dim},
    )


BODIES: Final = {"bloom": bloom, "mpt": mpt}
CLASSES: Final = {"BloomForCausalLM": causal(bloom, "transformer"), "MptForCausalLM": causal(mpt, "transformer")}
