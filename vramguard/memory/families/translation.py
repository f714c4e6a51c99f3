"""Translation models after BART: M2M-100 and NLLB with experts, Marian and FSMT with a vocabulary for each language."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families.bart import BUFFER, LEARNED, Traits, alone, base, decoder_side, encoder_side, side
from vramguard.memory.families.blocks import Block, Body, Network, embedding, layer_norm, linear, within
from vramguard.memory.families.decoder import headed
from vramguard.memory.families.seq2seq import (
    crosses,
    decodes,
    depth,
    embeddings,
    encodes,
    even_heads,
    generator,
    joined,
    numbered_experts,
    projected,
    refuse_one_sided,
)

if TYPE_CHECKING:
    from vramguard.memory.families.blocks import Layer, Tensors
    from vramguard.memory.families.fields import Fields

M2M_100: Final = Traits(BUFFER, offset=2, last_norm=True)
MARIAN: Final = Traits()
_EXPERTS: Final = 2048  # no checkpoint has as many


def nllb_moe(c: Fields) -> Body:
    """NLLB-MoE: M2M-100 with experts in every so-many-th layer, each expert a module of its own, two for a token."""
    sides = [_nllb_side(c, name) for name in ("encoder", "decoder")]
    tied = c.flag("tie_word_embeddings")
    return joined(sides[0], sides[1], embeddings(sides[1].hidden, sides[1].vocab, tied=tied))


def _nllb_side(c: Fields, name: str) -> Body:
    heads = even_heads(c, "d_model", f"{name}_attention_heads")
    tensors, step = projected(heads), c.count(f"{name}_sparse_step")
    around = [layer_norm(f"{part}_layer_norm", heads.hidden) for part in ("self_attn", "cross_attention", "ff")]
    if name == "encoder":
        before: Layer = (encodes("self_attn", tensors, heads), around[0])
    else:
        cross = crosses("cross_attention", tensors, heads)
        before = (decodes("self_attn", tensors, heads), around[0], cross, around[1])
    dense = _nllb_mlp(c, f"{name}_ffn_dim")
    count = depth(c, f"{name}_layers")
    sparse = [step > 0 and (i + 1) % step == 0 for i in range(count)]
    experts = _nllb_experts(c, dense) if any(sparse) else ()
    mlps = (Block(within("ffn", experts if is_sparse else dense)) for is_sparse in sparse)
    return side(c, [(*before, mlp, around[2]) for mlp in mlps], M2M_100, "max_position_embeddings")


def _nllb_mlp(c: Fields, width: str) -> Tensors:
    hidden, inner = c.size("d_model"), c.size(width)
    return (*linear("fc1", hidden, inner, bias=True), *linear("fc2", inner, hidden, bias=True))


def _nllb_experts(c: Fields, expert: Tensors) -> Tensors:
    number = c.size("num_experts", _EXPERTS)
    router = linear("router.classifier", c.size("d_model"), number, bias=c.flag("router_bias"))
    return (*router, *numbered_experts(number, 2, expert))


def marian(c: Fields) -> Body:
    """Marian: no norm but those of the layers; the languages may have a vocabulary each."""
    encoder, decoder = encoder_side(c, MARIAN), _marian_decoder(c)
    shares, tied = c.flag("share_encoder_decoder_embeddings"), c.flag("tie_word_embeddings")
    tables: Tensors = embedding("shared", encoder.vocab, encoder.hidden) if shares else ()
    if not (shares and tied):
        own = embedding("encoder.embed_tokens", encoder.vocab, encoder.hidden)
        tables = (*tables, *own, *embedding("decoder.embed_tokens", decoder.vocab, decoder.hidden))
    return joined(encoder, replace(decoder, vocab=encoder.vocab) if shares else decoder, tables)


def _marian_decoder(c: Fields) -> Body:
    body = decoder_side(c, MARIAN)
    return replace(body, vocab=c.optional("decoder_vocab_size") or body.vocab)


def _marian_alone(c: Fields) -> Network:
    """Marian's decoder alone: an untied head has the other vocabulary's size."""
    body, tied = alone(c, _marian_decoder(c)).body, c.flag("tie_word_embeddings")
    return Network(body, () if tied else linear("lm_head", body.hidden, c.size("vocab_size")), tied)


def fsmt(c: Fields) -> Network:
    """FSMT: a vocabulary for each language, a head inside the decoder, and five beams unless the config says one."""
    refuse_one_sided(c)
    if c.size("num_beams") != 1:  # the class's own default; each beam keeps a cache
        raise UnprovenError(f"config: num_beams is {c.size('num_beams')}, which is not supported")
    c.raw("decoder")  # older configs have one, which the class drops
    traits = Traits(LEARNED, offset=c.count("pad_token_id") + 1)
    encoder, decoder = encoder_side(c, traits), decoder_side(c, traits)
    target, tied = c.size("tgt_vocab_size"), c.flag("tie_word_embeddings")
    tables = embedding("encoder.embed_tokens", target if tied else c.size("src_vocab_size"), encoder.hidden)
    if not tied:
        tables = (*tables, *embedding("decoder.embed_tokens", target, decoder.hidden))
    body = replace(joined(encoder, decoder, tables), vocab=target, learned_positions=False)  # tables grow with a prompt
    return headed(c, body.within("model"), "model.decoder.output_projection")


BODIES: Final = {"m2m_100": base(M2M_100), "nllb-moe": nllb_moe, "marian": marian}
CLASSES: Final = {
    "M2M100ForConditionalGeneration": generator(base(M2M_100)),
    "NllbMoeForConditionalGeneration": generator(nllb_moe),
    "MarianMTModel": generator(marian, biased=True),
    "MarianForCausalLM": _marian_alone,
    "FSMTForConditionalGeneration": fsmt,
}
