"""BLT: bytes through a local encoder, patches of them through a global transformer, and a local decoder for bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Body,
    Network,
    Stack,
    attention,
    embedding,
    gated_mlp,
    linear,
    norm,
    rms_norm,
)
from vramguard.memory.families.decoder import even_heads, window

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Heads, Layer, Tensors
    from vramguard.memory.families.fields import Fields


def blt(c: Fields) -> Body:
    """BLT: encoder and decoder cache every byte; where patches begin depends on the text, but they are not cached."""
    encoder, decoder, middle = (c.part(f"{part}_config") for part in ("encoder", "decoder", "global"))
    width, copies = encoder.size("hidden_size"), c.size("cross_attn_k")
    hashed = len(c.integers("encoder_hash_byte_group_size")) or 6
    rows = c.size("encoder_hash_byte_group_vocab") * c.size("encoder_hash_byte_group_nb_functions") * hashed
    joined = width * copies
    entry = linear("token_embedding_projection", joined, middle.size("hidden_size"))
    parts = [
        _stacked("local_encoder", encoder, _local_window(c, encoder), _encoder_ends(c, encoder), cached=True),
        _stacked("global_transformer", middle, None, entry if joined != middle.size("hidden_size") else ()),
        _stacked("local_decoder", decoder, None, _decoder_ends(decoder), cached=True),
        *([_patcher(c.part("patcher_config"))] if c.flag("patch_in_forward") else []),
    ]
    return Body(
        hidden=decoder.size("hidden_size"),
        outside=embedding("encoder_hash_tok_embedding", rows, width),
        vocab=c.size("vocab_size"),
        context=c.size("max_position_embeddings"),
    ).beside(*parts)


def _local_window(c: Fields, encoder: Fields) -> int | None:
    """Window of the encoder: the whole model's, whatever stands in its own config; the cache knows of none."""
    encoder.optional("sliding_window")
    return c.optional("local_attention_window_len")


def _stacked(name: str, c: Fields, size: int | None, more: Tensors, *, cached: bool = False) -> Body:
    """Layers as Llama's, with what stands beside them."""
    heads = _heads(c)
    attends = attention(heads)._replace(attention=heads.role(size), cache=heads.cache() if cached else None)
    layer: Layer = (
        rms_norm("input_layernorm", heads.hidden),
        attends,
        rms_norm("post_attention_layernorm", heads.hidden),
        gated_mlp(heads.hidden, c.optional("intermediate_size") or 8 * heads.hidden // 3),
    )
    return Body(heads.hidden, (Stack("layers", [layer] * c.layers),), more).within(name)


def _heads(c: Fields) -> Heads:
    heads = even_heads(c, c.optional("num_key_value_heads"))
    if heads.heads % heads.kv_heads:
        raise UnprovenError(f"config: {c.path}num_attention_heads is no multiple of num_key_value_heads")
    return heads


def _encoder_ends(c: Fields, encoder: Fields) -> Tensors:
    """Embedding of bytes, and what leads to the patches; tied, the embedding takes the head's weight with its rows."""
    rows = (c if c.flag("tie_word_embeddings") else encoder).size("vocab_size")
    hidden = encoder.size("hidden_size")
    return (*embedding("embed_tokens", rows, hidden), *_crossing(encoder, hidden))


def _decoder_ends(c: Fields) -> Tensors:
    return (*norm("norm", c.size("hidden_size")), *_crossing(c, c.size("hidden_size_global")))


def _crossing(c: Fields, entering: int) -> Tensors:
    """Attention between bytes and patches, in every layer or once, and what widens the patches for it."""
    heads = _heads(c)
    number = c.layers if c.flag("cross_attn_all_layers") else 1
    norms = (*norm("q_norm", heads.hidden), *norm("k_norm", heads.hidden))
    crosses = attention(heads, norms=norms, name="cross_attn_layers.*").tensors
    projection = linear("patch_embedding_projection", entering, heads.hidden * c.size("cross_attn_k"))
    return (*projection, *(tensor._replace(copies=number) for tensor in crosses))


def _patcher(c: Fields) -> Body:
    """A small model whose surprise at a byte ends a patch."""
    hidden, vocab = c.size("hidden_size"), c.size("vocab_size")
    more = (*embedding("embed_tokens", vocab, hidden), *norm("norm", hidden), *linear("lm_head", hidden, vocab))
    return _stacked("patcher", c, window(c), more)


def _causal(c: Fields) -> Network:
    body, tied = blt(c).within("model"), c.flag("tie_word_embeddings")
    if tied and c.part("encoder_config").size("hidden_size") != body.hidden:
        raise UnprovenError("config: tie_word_embeddings, but encoder and decoder differ in hidden_size")
    return Network(body, () if tied else linear("lm_head", body.hidden, body.vocab), tied)


BODIES: Final = {"blt": blt}
CLASSES: Final = {"BltForCausalLM": _causal}
