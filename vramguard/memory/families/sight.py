"""Language models that see: a tower, a projector into the text model's width, the text model and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.decoder import headed

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.families.blocks import Body, Network, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields

    Rule = Callable[[Fields], bool]
    Projector = Callable[[Fields, int], Tensors]


class Names(NamedTuple):
    """Attributes of the base model that hold the two models."""

    text: str = "language_model"
    tower: str = "vision_tower"


USUAL = Names()


def seeing(projector: Projector, names: Names = USUAL) -> Bodies:
    """A base model: text model, tower, and a projector (of the config and the text's hidden size) between them."""

    def build(c: Fields) -> Body:
        text, tower = body_of(c.part("text_config")), body_of(c.part("vision_config"))
        return text.within(names.text).beside(tower.within(names.tower), projector(c, text.hidden))

    return build


def own_tie(c: Fields) -> bool:
    """Tied where the outer config says so, whatever stands in its text part."""
    return c.flag("tie_word_embeddings")


def either_tie(c: Fields) -> bool:
    """Tied where the outer config or its text part says so."""
    return c.flag("tie_word_embeddings") or c.part("text_config").flag("tie_word_embeddings")


def answers(body: Bodies, text: str = "language_model", *, tie: Rule = own_tie) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration: a base model, and a head that may share the weight of its text's embedding."""

    def build(c: Fields) -> Network:
        whole, tied = body(c).within("model"), tie(c)
        if tied and not any(tensor.name == f"model.{text}.embed_tokens.weight" for tensor in whole.tensors):
            raise UnprovenError(f"config: tie_word_embeddings is true, and {c.part('text_config').kind} has another embedding")
        return headed(c, whole, tied=tied)

    return build


def levels(c: Fields, key: str = "vision_feature_layer") -> int:
    """Number of the tower's layers whose outputs stand side by side: one, or as many as are listed."""
    value = c.raw(key)
    if type(value) is int:
        return 1
    if not c.integers(key):
        raise UnprovenError(f"config: {c.path}{key} names no layer")
    return len(c.integers(key))
