"""BLIP writes what it sees with a BERT that crosses to a tower; BLIP-2 puts a Q-Former before any language model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of, network_of
from vramguard.memory.families.audio import q_former
from vramguard.memory.families.blocks import Body, Network, embedding, named_attention, norm, parameter, within
from vramguard.memory.families.decoder import even_heads
from vramguard.memory.families.encoder import PROJECTIONS, bert_head, bert_layer, embeddings, encoder, predicts
from vramguard.memory.families.seq2seq import Projections, crosses, projected
from vramguard.memory.families.sight import overlaid
from vramguard.memory.families.towers import dense, patches

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.fields import Fields

_CROSS: Final = Projections("self.query", "self.key", "self.value", "output.dense")


def blip(c: Fields) -> Network:
    """BLIP: a BERT that writes, of whose layers each also reads the patches of one picture, and keeps their keys."""
    vision = c.part("vision_config")
    text = overlaid(c, "text_config", encoder_hidden_size=vision.size("hidden_size"))
    if not text.flag("is_decoder"):
        raise UnprovenError("config: text_config.is_decoder is false, and the class writes")
    written = predicts(text, _text(text, patches(vision) + 1).within("bert"), bert_head(text), tied=_tied(c, text))
    body = written.body.within("text_decoder").beside(body_of(vision).within("vision_model"))
    return Network(body, within("text_decoder", written.head), written.tied)


def _tied(c: Fields, text: Fields) -> bool:
    return c.flag("tie_word_embeddings") or text.flag("tie_word_embeddings")


def _text(c: Fields, seen: int) -> Body:
    heads = even_heads(c)
    read = projected(heads, _CROSS, source=c.size("encoder_hidden_size"))
    crossing = crosses("crossattention", (*read, *norm("output.LayerNorm", heads.hidden, bias=True)), heads, seen)
    layer = (*bert_layer(c, attention=named_attention(heads, PROJECTIONS)), crossing)
    return encoder(c, [layer] * c.layers, embeddings(c, types=False), buffers=("position_ids",))


def blip2(former: Callable[[Fields], Body]) -> Callable[[Fields], Network]:
    """BLIP-2: learned queries ask a tower, and what they learn are the first tokens of the language model."""

    def build(c: Fields) -> Network:
        vision, written = c.part("vision_config"), network_of(c.part("text_config"))
        asks = overlaid(c, "qformer_config", encoder_hidden_size=vision.size("hidden_size"))
        queries = former(asks)
        body = written.body.within("language_model").beside(
            parameter("query_tokens", 1, c.size("num_query_tokens"), queries.hidden),
            body_of(vision).within("vision_model"),
            queries.within("qformer"),
            dense("language_projection", queries.hidden, written.body.hidden),
        )
        return Network(body, within("language_model", written.head), written.tied)

    return build


def instruct_former(c: Fields) -> Body:
    """InstructBLIP's Q-Former: it also reads the instruction, so that it has words and a second MLP in each layer."""
    asks = replace(c, config={**c.config, "use_qformer_text_input": True})
    tables = within(
        "embeddings",
        embedding("word_embeddings", c.size("vocab_size"), c.size("hidden_size")),
        embedding("position_embeddings", c.size("max_position_embeddings"), c.size("hidden_size")),
        norm("layernorm", c.size("hidden_size"), bias=True),
    )
    return replace(q_former(asks), outside=tables)


CLASSES: Final = {
    "BlipForConditionalGeneration": blip,
    "Blip2ForConditionalGeneration": blip2(q_former),
    **dict.fromkeys(
        ("InstructBlipForConditionalGeneration", "InstructBlipVideoForConditionalGeneration"), blip2(instruct_former)
    ),
}
