"""Where a value comes from: through names, attributes, containers, functions that give it, and callers that hand it
over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.link.code.program import Routine
    from vramguard.link.code.serving import Serving

_PROPERTIES: Final = frozenset({"property", "cached_property"})
_CALLERS: Final = 8  # that hand a value over


class Backward:
    """Steps back from values to what they were made of."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.code = serving.code
        self._steps: Mapping[str, Callable[[Ref], list[Ref]]] = {
            "call": self._call,
            "part": self._parts,
            "param": self._handed,
            "def": self._property,
            "item": self._held,
            "each": self._held,
            "table": self._values,
        }

    def back(self, ref: Ref) -> list[Ref]:
        """Where a value comes from, one step back: through names, functions that give it, and callers that hand it
        over.
        """
        node = ref.node
        if node.op in ("items", "grown"):
            return list(ref.inputs())
        if node.op in self._steps:
            return self._steps[node.op](ref)
        found = self._serving.behind(ref)
        return [*found, ref.to(node.inputs[0])] if node.op == "attr" and not found else found

    def _held(self, ref: Ref) -> list[Ref]:
        """Of something from a container: the container, and what a module puts under its keys."""
        base = ref.to(ref.node.inputs[0])
        puts = self.code.program.puts_in(base.routine.module, base.node.name) if base.node.op == "name" else ()
        return [*(put.to(put.node.inputs[2]) for put in puts), base]

    @staticmethod
    def _values(ref: Ref) -> list[Ref]:
        return [ref.to(number) for number in ref.node.inputs[1::2]]

    def _call(self, ref: Ref) -> list[Ref]:
        return [*self._returned(ref), *self._same(ref)]

    def _returned(self, call: Ref) -> list[Ref]:
        """What a function of the repository gives."""
        if self.code.own_class(call) is not None:
            return []
        return [one for routine in self.code.meanings.routines(call) for one in _given(routine)]

    def _same(self, call: Ref) -> list[Ref]:
        """Methods give what is made of what they are called on; functions what is made of their arguments."""
        function = call.to(call.node.inputs[0])
        if self.code.meanings.routines(call):
            return []
        base = [function.to(function.node.inputs[0])] if function.node.op == "attr" else []
        return [*base, *(call.to(number) for number in call.node.inputs[1:2])]

    def _parts(self, ref: Ref) -> list[Ref]:
        """`kind, client = make()`: what stands at that place of the tuple."""
        whole = ref.to(ref.node.inputs[0])
        found = self._returned(whole) if whole.node.op == "call" else [whole]
        position = int(ref.node.name) if ref.node.name.isdigit() else NONE
        inner = []
        for one in found:
            fits = one.node.op == "items" and 0 <= position < len(one.node.inputs)
            inner.append(one.to(one.node.inputs[position]) if fits else one)
        return inner

    def _handed(self, ref: Ref) -> list[Ref]:
        """A parameter: what callers hand over, or `Depends(…)` of its default."""
        routine, program = ref.routine, self.code.program
        around = program.parent(routine)
        shift = around.function.kind == "class"
        found: list[Ref] = []
        for position, one in enumerate(routine.function.parameters):
            if one.name != ref.node.name or (shift and not position):
                continue
            for call in self.code.meanings.callers(routine)[:_CALLERS]:
                number = call.node.argument(one.name, position - shift)
                found += [] if number == NONE else [call.to(number)]
            if one.default != NONE:
                found.append(Ref(around, one.default))
        found += [made for _, inner in self._serving.depended(routine, ref.node.name) for made in _given(inner)]
        return found

    def _property(self, ref: Ref) -> list[Ref]:
        routine = self.code.program.routine(ref.routine.module, int(ref.node.name))
        names = {self.code.written(one).rpartition(".")[2] for one, _ in self.code.decorators(routine)}
        return _given(routine) if names & _PROPERTIES else []


def _given(routine: Routine) -> list[Ref]:
    """What a function returns or yields."""
    nodes = routine.function.nodes
    return [Ref(routine, node.inputs[0]) for node in nodes if node.op in ("return", "yield") and node.inputs]
