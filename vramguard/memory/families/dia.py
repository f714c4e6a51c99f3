"""Dia: speech from text, an encoder of bytes and a decoder that says nine channels of codes at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Body,
    Heads,
    Network,
    Stack,
    embedding,
    fused_gated_mlp,
    linear,
    norm,
    rms_norm,
)
from vramguard.memory.families.decoder import grouped_heads
from vramguard.memory.families.seq2seq import (
    Projections,
    crosses,
    decodes,
    encodes,
    joined,
    projected,
    refuse_one_sided,
)

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields

_NAMES: Final = Projections(output="o_proj")


def _encoder(c: Fields) -> Body:
    heads = grouped_heads(c)
    layer = (
        rms_norm("pre_sa_norm", heads.hidden),
        encodes("self_attention", projected(heads, _NAMES, bias=False), heads),
        rms_norm("post_sa_norm", heads.hidden),
        fused_gated_mlp(heads.hidden, c.size("intermediate_size")),
    )
    outside = (*embedding("embedding", c.size("vocab_size"), heads.hidden), *norm("norm", heads.hidden))
    return Body(
        heads.hidden, (Stack("layers", [layer] * c.layers),), outside, context=c.size("max_position_embeddings")
    )


def _decoder(c: Fields) -> Body:
    heads, source = grouped_heads(c), c.size("cross_hidden_size")
    cross = Heads(
        heads.hidden, *(c.size(f"cross_{key}") for key in ("num_attention_heads", "num_key_value_heads", "head_dim"))
    )
    layer = (
        rms_norm("pre_sa_norm", heads.hidden),
        decodes("self_attention", projected(heads, _NAMES, bias=False), heads),
        rms_norm("pre_ca_norm", heads.hidden),
        crosses("cross_attention", projected(cross, _NAMES, bias=False, source=source), cross),
        rms_norm("pre_mlp_norm", heads.hidden),
        fused_gated_mlp(heads.hidden, c.size("intermediate_size")),
    )
    codes = c.size("vocab_size") * c.size("num_channels")
    outside = (*embedding("embeddings.embed", codes, heads.hidden), *norm("norm", heads.hidden))
    stacks = (Stack("layers", [layer] * c.layers),)
    return Body(heads.hidden, stacks, outside, vocab=codes, context=c.size("max_position_embeddings"))


def dia(c: Fields) -> Network:
    """The whole; its head, for all channels together, is never tied."""
    refuse_one_sided(c)
    first, second = c.part("encoder_config"), c.part("decoder_config")
    if second.size("cross_hidden_size") != first.size("hidden_size"):
        raise UnprovenError("config: decoder_config.cross_hidden_size differs from encoder_config.hidden_size")
    body = joined(_encoder(first), _decoder(second)).within("model")
    return Network(body, linear("logits_dense", body.hidden, body.vocab))


CLASSES: Final = {"DiaForConditionalGeneration": dia}
