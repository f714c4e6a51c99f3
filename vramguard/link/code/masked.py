"""Masks right at a model's answer: what takes it from there never hears that it was none, wherever it goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Exposure, UserSink
from vramguard.link.code.outputs import Way, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.outputs import Layer
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.outputs import Outputs
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row

_NUMBERS: Final = ("number", "any", "vector")
# Where numbers are made to learn from, or to say how well something was learned.
_LEARNING: Final = re.compile(
    r"train|eval|metric|loss|dataset|preproc|bench|experiment|offline|attention|score_?card|test|notebook|augment",
    re.IGNORECASE,
)
_EMBEDDED: Final = frozenset({"last_hidden_state", "pooler_output", "text_embeds", "image_embeds"})


class Masked:
    """Finds functions that answer with a masked answer of a model."""

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs
        self.code = outputs.code

    def found(self) -> Iterator[Exposure]:
        """Each mask once, in repositories that serve something."""
        if not self.outputs.surfaces:
            return
        for call, row, reached in self.outputs.flows:
            if row["kind"] not in _NUMBERS or row.get("weak") or self._is_learning(call):
                continue
            for edge, layer in (*self._masks(reached), *self._blanks(call, row, reached)):
                way = Way(call, row, reached, edge.value, edge.user, None, None)
                sink = UserSink(edge.user.at, "", "", self.code.name(edge.user.routine))
                yield Exposure(layer.at, self.outputs.output(way), sink, self.outputs.steps(way)[:-1], (layer,))

    def _is_learning(self, place: Ref) -> bool:
        words = f"{place.routine.path} {self.code.name(place.routine)}"
        return _LEARNING.search(words) is not None

    def _masks(self, reached: Reached) -> Iterator[tuple[Edge, Layer]]:
        """`return torch.nan_to_num(self.encoder(x))`"""
        for edge in reached.edges:
            last = self.code.written(edge.user).rpartition(".")[2] if edge.user.node.op == "call" else ""
            if last == "nan_to_num" and not self._is_learning(edge.user) and self._leaves(edge.user):
                yield from ((edge, layer) for layer in self.outputs.masks.at(edge.user))

    @staticmethod
    def _leaves(masked: Ref) -> bool:
        """Whether what was masked is given, or kept in an object."""
        nodes = masked.routine.function.nodes
        users = [nodes[number].op for number in masked.routine.users.get(masked.number, ())]
        return "return" in users or "store" in users or "setitem" in users

    def _blanks(self, call: Ref, row: Row, reached: Reached) -> Iterator[tuple[Edge, Layer]]:
        """`except Exception: return []` around the making of a vector."""
        here = [edge for edge in reached.edges if edge.user.routine is call.routine]
        left = next((edge for edge in here if edge.user.node.op == "return"), None)
        if left is not None and (row["kind"] == "vector" or any(edge.user.node.name in _EMBEDDED for edge in here)):
            yield from ((left, layer) for layer in self.outputs.masks.swallowed(call))


def masked(facts: Facts) -> tuple[Exposure, ...]:
    """Every mask right at a model's answer. `at` is the mask's place."""
    return facts.once("masked-answers", lambda facts: tuple(Masked(joined(facts)).found()))
