"""What stands on the way of an answer: conditions, validators, models of the repository, masks."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts.outputs import Layer
from vramguard.link.code.questions import derived, parameters
from vramguard.link.code.siblings import asks_a_sibling, keys, subjects_of
from vramguard.link.code.spelling import spelled
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.link.code.guards import Guard
    from vramguard.link.code.outputs import Outputs, Way
    from vramguard.link.code.program import Ref, Routine


# Tests for the end of a text that is still being written: they say nothing of what was written.
_OVER: Final = re.compile(r"\b(eos|bos|pad|eot)_(token|id)", re.IGNORECASE)


class _Held(NamedTuple):
    """The values of a function that are an answer, and those of them that are the answer as it came one way."""

    values: frozenset[int]
    mine: frozenset[int]

    def gives(self, call: Ref) -> bool:
        """Whether a call is given the answer, or something that is made of it."""
        given = [ref.number for inner in call.inputs() for ref in subjects_of(inner, self.values, whole=True)]
        return not given or not self.mine.isdisjoint(given)


class Layers:
    """Looks along the ways of a program."""

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs
        self.code = outputs.code

    def on(self, way: Way) -> list[Layer]:
        """What stands on a way: conditions, validators, models, masks."""
        found: list[Layer] = []
        inner: set[Routine] = set()  # models that hold the answer already
        names = fields(way)
        for ref, after in pairwise(way.path):
            found += (
                *self._at(way, ref, after, inner),
                *self.outputs.masks.at(after),
                *self.outputs.masks.swallowed(ref, names),
            )
        for routine in dict.fromkeys(ref.routine for ref in way.path):
            found += self.outputs.masks.replaced(routine, way.reached.values(routine))
        found += [self._layer(guard) for guard in self.guards(way)]
        found += self._declared(way, inner)
        part = self.outputs.chains.structured(way.output) if way.row["kind"] == "text" else None
        if part is not None:
            found.append(Layer(part.at, "schema", "call", self.code.written(part)))
        return list(dict.fromkeys(found))

    def guards(self, way: Way) -> Iterator[Guard]:
        """The conditions on a way, in each function those that hold where the answer leaves it."""
        path = way.path
        names = frozenset((*fields(way), *(key for ref in path for key in keys(ref))))
        along = way.reached.along(way.state or way.reached.states(way.value)[0])
        crossed = [(ref, after) for ref, after in pairwise(path) if after.routine is not ref.routine]
        entered = {ref for pair in crossed for ref in pair}
        for routine in dict.fromkeys(after.routine for _, after in crossed if after.node.op == "param"):
            yield from self._of_parameters(self.code.guards.refusals(routine, along[routine]), names)
        for number, (ref, after) in enumerate(pairwise(path)):
            last = number + 2 == len(path)
            if last or after.routine is not ref.routine or path[number + 2].routine is not ref.routine:
                leave = after if after.routine is ref.routine else ref
                held = _Held(way.reached.values(ref.routine), along[ref.routine])
                yield from self._guarding(leave, held, names, entered)

    def _guarding(self, leave: Ref, held: _Held, names: frozenset[str], entered: set[Ref]) -> Iterator[Guard]:
        """The guards where an answer leaves a function, but for those of other answers and of other parts of what holds
        it; of the calls before it those that the way itself does not go through.
        """
        guards = self.code.guards
        for guard in guards.conditions(leave, held.values):
            subjects = list(subjects_of(guard.test, held.values))
            asked = {ref.number for ref in subjects} or {guard.test.number} & held.values
            other = held.mine.isdisjoint(asked)
            over = _OVER.search(spelled(guard.test)) is not None
            if not other and not over and not asks_a_sibling(self.code, guard, held.values, names):
                yield guard
        for call in guards.before(leave):
            if call in entered or not held.gives(call):
                continue
            yield from self._of_parameters(guards.refusing(call, held.values), names)

    def _of_parameters(self, guards: Iterable[Guard], names: frozenset[str]) -> Iterator[Guard]:
        """Those of the guards of what a function is given that are not of other parts of it."""
        for guard in guards:
            inside = derived(guard.test.routine, parameters(guard.test.routine))
            if not asks_a_sibling(self.code, guard, inside, names):
                yield guard

    def _asked_of(self, call: Ref, given: Ref, model: Routine, inner: set[Routine]) -> str:
        """What a model asks of the fields that an answer goes to, else what it asks of any of them."""
        words = {word for word, number in call.node.arguments() if number == given.number}
        named = words and not words & {"", "*", "**"}
        return self.outputs.models.asks_of(model, words, inner) if named else self.outputs.models.asks(model)

    def _at(self, way: Way, ref: Ref, after: Ref, inner: set[Routine]) -> Iterator[Layer]:
        """What a place on the way does to the value. `inner`: models that hold it already."""
        if after.node.op != "call":
            return
        made = self.outputs.models.made(after)
        validator = self.code.row("validator", after) if made is None else None
        if validator is not None:
            excludes = {"nan", "inf"} if "finite" in validator["checks"] else set[str]()
            kind = "schema" if "schema" in validator["checks"] or "closed" in validator["checks"] else "bounds"
            yield Layer(after.at, kind, "call", self.code.written(after), frozenset(excludes))
        if made is not None:
            parses = way.row["kind"] == "text" and not way.row.get("structured") and self.outputs.models.parses(after)
            kind = "schema" if parses else self._asked_of(after, ref, made, inner)
            inner.add(made)
            yield Layer(after.at, kind, "call", made.function.name)

    def _layer(self, guard: Guard) -> Layer:
        form = guard.form
        return Layer(guard.at, guard.kind, form, spelled(guard.test), guard.excludes, guard.leaves)

    def _declared(self, way: Way, inner: set[Routine]) -> Iterator[Layer]:
        """The model of the response that a handler declares: what it asks of what is no model yet."""
        model = None if way.surface is None else self.outputs.models.response_model(way.surface)
        if model is None or way.surface is None:
            return
        classes = set(self.outputs.models.classes(model))
        part = way.state.part.strip(".[]") if way.state is not None else ""
        if classes & inner:
            kinds = {self.outputs.models.asks(one) for one in classes & inner} & {"model"}
        elif part:
            kinds = {self.outputs.models.asks_of(one, {part}, inner) for one in classes}
        else:
            kinds = {self.outputs.models.asks(*classes)}
        kind = next((kind for kind in ("model", "schema") if kind in kinds), "shape")
        named = next(self.outputs.models.classes(model), None)  # a class of the same module is no name there
        yield Layer(model.at, kind, "response", named.function.name if named else self.code.written(model))


def fields(way: Way) -> tuple[str, ...]:
    """Keys, keywords, attributes and names that the answer goes under."""
    found: list[str] = []
    path = way.path
    for ref, after in pairwise(path):
        node = after.node
        nodes = ref.routine.function.nodes
        if after.routine is not ref.routine:
            continue
        if node.op == "table":
            found += [
                nodes[key].name.strip("'\"")
                for key, value in _pairs(node.inputs)
                if value == ref.number and key != NONE
            ]
        elif node.op == "call":
            found += [word for word, number in node.arguments() if number == ref.number and word not in ("", "*", "**")]
        elif node.op in ("store", "attr"):
            found.append(node.name)
        names = ref.routine.function.names.items()
        found += [name for name, values in names if ref.number in values and name.isidentifier()]
    return tuple(dict.fromkeys(found))


def _pairs(inputs: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return zip(inputs[::2], inputs[1::2], strict=True)
