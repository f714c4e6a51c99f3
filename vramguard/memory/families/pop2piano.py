"""Pop2Piano: T5 that reads a spectrogram and writes notes, with an embedding of who arranges them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.families.blocks import Network, embedding, linear
from vramguard.memory.families.seq2seq import refuse_one_sided
from vramguard.memory.families.t5 import t5

if TYPE_CHECKING:
    from vramguard.memory.families.fields import Fields


def pop2piano(c: Fields) -> Network:
    """The whole: its embeddings are one whatever the config says, its head is a weight of its own."""
    refuse_one_sided(c)
    body = t5(c)
    conditioner = embedding("mel_conditioner.embedding", c.size("composer_vocab_size"), body.hidden)
    return Network(body.beside(conditioner), linear("lm_head", body.hidden, body.vocab))


CLASSES: Final = {"Pop2PianoForConditionalGeneration": pop2piano}
