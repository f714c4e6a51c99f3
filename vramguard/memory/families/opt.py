"""OPT and its kin from fairseq: biased projections, two Linears beside them, tables of positions that begin at two."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.blocks import (
    Block,
    Body,
    Heads,
    Network,
    Stack,
    buffer,
    embedding,
    layer_norm,
    linear,
    named_attention,
    within,
)
from vramguard.memory.families.decoder import Stem, causal, decoder, even_heads

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

_OFFSET: Final = 2  # rows of a table of positions before the first
_PROJECTIONS: Final = ("q_proj", "k_proj", "v_proj", "out_proj")
_STEM: Final = Stem(norm="layer_norm")


def opt(c: Fields) -> Body:
    """OPT: embeddings may be narrower than the layers, and biases, norms' weights and the last norm may be missing."""
    hidden, vocab, positions = c.size("hidden_size"), c.size("vocab_size"), c.size("max_position_embeddings")
    narrow, normed = _embedded(c), c.flag("layer_norm_elementwise_affine")
    last = normed and c.flag("do_layer_norm_before") and not c.flag("_remove_final_layer_norm")
    layer = _layer(even_heads(c), c.size("ffn_dim"), bias=c.flag("enable_bias"), normed=normed)
    outside = (
        *embedding("embed_tokens", vocab, narrow),
        *embedding("embed_positions", positions + _OFFSET, hidden),
        *(_projections(narrow, hidden) if narrow != hidden else ()),
        *(layer_norm("final_layer_norm", hidden).tensors if last else ()),
    )
    stacks = (Stack("layers", [layer] * c.layers),)
    return Body(hidden, stacks, outside, vocab=vocab, context=positions, learned_positions=True).within("decoder")


def opt_lm(c: Fields) -> Network:
    """OPT's head reads what is as wide as the embeddings."""
    body, tied = opt(c).within("model"), c.flag("tie_word_embeddings")
    return Network(body, () if tied else linear("lm_head", _embedded(c), body.vocab), tied)


def xglm(c: Fields) -> Body:
    """XGLM: positions are a computed table, which grows with the prompt."""
    layers = [_layer(even_heads(c), c.size("ffn_dim"))] * c.layers
    body = decoder(c, layers, stem=_STEM, norm=layer_norm)
    return replace(body, buffers=buffer("embed_positions.weights", body.context + _OFFSET, body.hidden))


def biogpt(c: Fields) -> Body:
    """BioGPT: OPT's layers under learned positions."""
    layers = [_layer(even_heads(c), c.size("intermediate_size"))] * c.layers
    return decoder(c, layers, stem=_STEM, norm=layer_norm, positions=_positions(c))


def trocr(c: Fields) -> Body:
    """TrOCR's decoder: norms follow, and every layer could attend to an encoder, of which a prompt of text has none."""
    if not c.flag("use_learned_position_embeddings"):  # its table stays on the CPU when the model moves to a GPU
        raise UnprovenError("config: use_learned_position_embeddings is false, with which the model runs on no GPU")
    heads, width = even_heads(c), c.size("decoder_ffn_dim")
    seen = c.optional("cross_attention_hidden_size") or heads.hidden
    layer = (*_layer(heads, width), _unused_attention(heads, seen), layer_norm("encoder_attn_layer_norm", heads.hidden))
    normed = c.flag("layernorm_embedding")
    stem, norm = Stem(norm="layernorm_embedding"), layer_norm if normed else _no_norm
    return decoder(c, [layer] * c.layers, stem=stem, norm=norm, positions=_positions(c)).within("decoder")


def _embedded(c: Fields) -> int:
    """Width of the embeddings."""
    return c.optional("word_embed_proj_dim") or c.size("hidden_size")


def _positions(c: Fields) -> Tensors:
    return embedding("embed_positions", c.size("max_position_embeddings") + _OFFSET, c.size("hidden_size"))


def _projections(narrow: int, hidden: int) -> Tensors:
    return (*linear("project_in", narrow, hidden), *linear("project_out", hidden, narrow))


def _layer(heads: Heads, width: int, *, bias: bool = True, normed: bool = True) -> Layer:
    """Attention, then two Linears; where norms are not `normed` they have no weights."""
    attention = named_attention(heads, _PROJECTIONS, bias=bias)
    norm = layer_norm if normed else _no_norm
    return (
        norm("self_attn_layer_norm", heads.hidden),
        attention._replace(tensors=within("self_attn", attention.tensors)),
        norm("final_layer_norm", heads.hidden),
        Block((*linear("fc1", heads.hidden, width, bias=bias), *linear("fc2", width, heads.hidden, bias=bias))),
    )


def _unused_attention(heads: Heads, seen: int) -> Block:
    """Attention to an encoder whose states are `seen` wide, where there is no encoder."""
    names = dict(zip(_PROJECTIONS, (heads.hidden, seen, seen, heads.hidden), strict=True))
    projections = (linear(name, inputs, heads.hidden, bias=True) for name, inputs in names.items())
    return Block(within("encoder_attn", *projections))


def _no_norm(_name: str, _width: int) -> Block:
    return Block(())


BODIES: Final = {"opt": opt, "xglm": xglm, "biogpt": biogpt, "trocr": trocr}
CLASSES: Final = {
    "OPTForCausalLM": opt_lm,
    "XGLMForCausalLM": causal(xglm),
    "BioGptForCausalLM": causal(biogpt, "biogpt", "output_projection"),
    "TrOCRForCausalLM": causal(trocr, head="output_projection"),
}
