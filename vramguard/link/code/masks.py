"""What makes a bad answer look like a good one: masks of NaN, and handlers that answer with nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Layer
from vramguard.link.code.program import Ref
from vramguard.link.code.spelling import spelled
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

_GIVES: Final = ("return", "setitem", "store")
_FAILED: Final = re.compile(r"err|fail|exception|status|success|message|detail|reason|warning|ok$|valid", re.IGNORECASE)
_MOST: Final = 60  # nodes of a test that are looked at
_ASKS: Final = ("call", "attr", "compare", "and", "or", "unary")


class Masks:
    """Finds masks on the ways of answers."""

    def __init__(self, code: Code) -> None:
        self.code = code

    def at(self, after: Ref) -> Iterator[Layer]:
        """Of a place on a way: `nan_to_num(x)`, `x or 0.0`."""
        node = after.node
        if node.op == "call" and self.code.row("mask", after) is not None:
            yield Layer(after.at, "mask", "call", self.code.written(after))
        elif node.op == "or" and len(node.inputs) == 2:  # noqa: PLR2004 - `x or 0.0`
            other = after.to(node.inputs[1])
            if other.node.op == "const" and other.node.name in ("0", "0.0"):
                yield Layer(after.at, "mask", "or", f"or {other.node.name}")

    def replaced(self, routine: Routine, values: frozenset[int]) -> Iterator[Layer]:
        """Of a function that an answer comes through: `0.0 if isnan(x) else x`, `if isna(x): row[k] = None`."""
        function = routine.function
        for number in routine.all_of("if"):
            ref = Ref(routine, number)
            test = ref.to(ref.node.inputs[0])
            if any(self._is_empty(ref.to(one)) for one in ref.node.inputs[1:]) and self._asks(test, values):
                yield Layer(ref.at, "mask", "if", self._chosen(ref))
        for number, node in enumerate(function.nodes):
            block = function.blocks[node.block]
            if node.op not in _GIVES or not node.inputs or block.kind not in ("if", "else") or block.test == NONE:
                continue
            test = Ref(routine, block.test)
            if self._is_empty(Ref(routine, node.inputs[-1])) and self._asks(test, values):
                given = spelled(Ref(routine, node.inputs[-1]))
                words = f"if {'' if block.holds else 'not '}{spelled(test)}: {given}"
                yield Layer(Ref(routine, number).at, "mask", "if", words)

    @staticmethod
    def _chosen(ref: Ref) -> str:
        test, then, other = (spelled(ref.to(number), inside=True) for number in ref.node.inputs)
        return f"{then} if {test} else {other}"

    def _asks(self, test: Ref, values: frozenset[int]) -> bool:
        """Whether a test asks the answer for NaN, and not what was chosen by it."""
        pending, asked = [test.number], set[int]()
        while pending and len(asked) < _MOST:
            asked.add(pending[-1])
            node = test.to(pending.pop()).node
            pending += [one for one in node.inputs if node.op in _ASKS and one not in (*asked, NONE)]
        return not values.isdisjoint(asked) and self.code.guards.kind(test, values) == "finite"

    def swallowed(self, ref: Ref, names: tuple[str, ...] = ()) -> Iterator[Layer]:
        """Handlers around a place that answer with nothing, or with zero, as if it were the model's answer. `names`:
        what it goes by, as a key of a table.
        """
        function = ref.routine.function
        handlers = frozenset(ref.routine.handlers(ref.node.block))
        for number, node in enumerate(function.nodes if handlers else ()):
            if handlers.isdisjoint(ref.routine.blocks[node.block]) or node.op not in _GIVES:
                continue
            given = ref.to(node.inputs[-1]) if node.inputs else None
            if given is not None and (self._is_blank(given) or self._holds_blank(given, names)):
                words = f"except: {'return ' * (node.op == 'return')}{spelled(given)}"
                yield Layer(ref.to(number).at, "mask", "except", words)

    def _is_empty(self, ref: Ref) -> bool:
        return (ref.node.op, ref.node.name) == ("const", "None") or self._is_blank(ref)

    def _holds_blank(self, table: Ref, names: tuple[str, ...]) -> bool:
        """`{"predictions": []}`: a table with nothing where the answer stands, that does not say that it failed."""
        if table.node.op != "table":
            return False
        pairs = zip(table.node.inputs[::2], table.node.inputs[1::2], strict=True)
        held = {table.to(key).node.name.strip("'\""): table.to(one) for key, one in pairs if key != NONE}
        if any(_FAILED.search(key) for key in held):
            return False
        return any(key in held and self._is_blank(held[key]) for key in names)

    def _is_blank(self, ref: Ref) -> bool:
        """Zero, or a list of nothing or of zeros."""
        node = ref.node
        if node.op == "const":
            return node.name in ("0", "0.0")
        if node.op == "if":
            return any(self._is_blank(ref.to(number)) for number in node.inputs[1:])
        return node.op == "items" and all(map(self._is_blank, ref.inputs()))
