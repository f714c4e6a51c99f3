"""Language models that see: a tower, a projector into the text model's width, the text model and its head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.families import body_of
from vramguard.memory.families.blocks import Block
from vramguard.memory.families.decoder import headed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vramguard.memory.families.blocks import Body, Layer, Network, Tensors
    from vramguard.memory.families.decoder import Bodies
    from vramguard.memory.families.fields import Fields

    Rule = Callable[[Fields], bool]
    Projector = Callable[[Fields, int], Tensors]


class Names(NamedTuple):
    """Attributes of the base model that hold the two models."""

    text: str = "language_model"
    tower: str = "vision_tower"


USUAL: Final = Names()


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


def answers(
    body: Bodies, text: str = "language_model", *, tie: Rule = own_tie, embedding: str = "embed_tokens"
) -> Callable[[Fields], Network]:
    """A ...ForConditionalGeneration: a base model, and a head that may share the weight of its text's embedding."""

    def build(c: Fields) -> Network:
        whole, tied = body(c).within("model"), tie(c)
        if tied and not any(tensor.name == f"model.{text}.{embedding}.weight" for tensor in whole.tensors):
            kind = c.part("text_config").kind
            raise UnprovenError(f"config: tie_word_embeddings is true, and {kind} has no {embedding} to tie to")
        return headed(c, whole, tied=tied)

    return build


def overlaid(c: Fields, key: str, **values: object) -> Fields:
    """A part of which the outer class sets some fields itself."""
    c.parts[key] = replace(c.part(key), config={**c.part(key).config, **values})
    return c.parts[key]


def silent(layers: Sequence[Layer]) -> list[Layer]:
    """Layers of a text model that serve in a tower: no token of the prompt passes them."""
    return [tuple(Block(block.tensors) for block in layer) for layer in layers]


def levels(c: Fields, key: str = "vision_feature_layer") -> int:
    """Number of the tower's layers whose outputs stand side by side: one, or as many as are listed."""
    value = c.raw(key)
    if type(value) is int:
        return 1
    if not c.integers(key):
        raise UnprovenError(f"config: {c.path}{key} names no layer")
    return len(c.integers(key))
