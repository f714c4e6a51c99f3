"""Models' answers on their way to people, and the layers that they pass."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Exposure, Layer, ModelOutput, Step, UserSink
from vramguard.link.code import program
from vramguard.link.code.flow import Reached
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Row, Table
from vramguard.link.code.surfaces import Surface, surfaces
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge
    from vramguard.link.code.guards import Guard
    from vramguard.link.code.program import Routine

_STEPS: Final = 8  # of a way that are shown
_MODELS: Final = (
    "pydantic.**BaseModel",
    "pydantic.**RootModel",
    "sqlmodel.SQLModel",
    "msgspec.Struct",
    "langchain**.BaseModel",
)


@dataclass(frozen=True)
class Way:
    """An answer that reaches people, as places of the program. `last`: the act that hands it over."""

    output: Ref
    row: Row
    reached: Reached
    value: Ref  # what is handed over
    last: Ref
    surface: Surface | None
    sink: Row | None

    @property
    def path(self) -> list[Ref]:
        """From the model's call to what hands its answer over."""
        return [*self.reached.path(self.value), self.last]


class Outputs:
    """The ways of a program, and what stands on them."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.surfaces: Mapping[Routine, Surface] = surfaces(code)
        self._models = Table([{"call": list(_MODELS)}])

    def ways(self) -> Iterator[Way]:
        """Every way of an answer to people, one for each call and handler."""
        for call, row in self.code.calls("output"):
            if self._is_inner(call):
                continue
            reached = self.code.flow.forward(call, self._ends)
            seen: set[tuple[Routine, int]] = set()
            for edge in reached.edges:
                for way in self._ended(call, row, reached, edge):
                    key = way.last.routine, 0 if way.surface else way.last.number
                    if key not in seen:
                        seen.add(key)
                        yield way

    def _ends(self, edge: Edge) -> bool:
        """Whether what takes a value is another model: what goes on from there is that one's answer."""
        user = edge.user
        if user.node.op != "call" or edge.position <= 0:
            return False
        row = self.code.row("output", user)
        return row is not None and not row.get("weak")

    def _is_inner(self, call: Ref) -> bool:
        """Whether a model calls a part of itself: the method of a module is no answer, but its caller's call is."""
        owner = self.code.program.owner(call.routine)
        name = call.routine.function.name
        if owner is None or name not in (
            "forward",
            "call",
            "training_step",
            "validation_step",
            "__init__",
            "configure_model",
        ):
            return False
        return any(base.startswith(("torch.", "pytorch_lightning.", "lightning.", "keras.", "tensorflow.", "transformers.", "flax."))
                   for base in self.code.meanings.bases(owner))  # fmt: skip

    def _ended(self, call: Ref, row: Row, reached: Reached, edge: Edge) -> Iterator[Way]:
        user = edge.user
        surface = self.surfaces.get(user.routine)
        if user.node.op in ("return", "yield") and surface is not None and not surface.row.get("stream"):
            yield Way(call, row, reached, edge.value, user, surface, None)
        elif user.node.op == "call" and edge.position > 0:
            sink = self.code.row("sink", user)
            if sink is not None and self._gives(user, edge, sink) and self._is_within(user.routine, sink):
                yield Way(call, row, reached, edge.value, user, None, sink)

    @staticmethod
    def _gives(user: Ref, edge: Edge, sink: Row) -> bool:
        given = sink.get("gives")
        if given is None:
            return True
        keyword = user.node.keywords[edge.position - 1]
        place = sum(1 for word in user.node.keywords[: edge.position - 1] if not word)
        return (keyword in given) if keyword else (place in given)

    def _is_within(self, routine: Routine, sink: Row) -> bool:
        bases = sink.get("within")
        if not bases:
            return True
        owner = self.code.program.owner(routine)
        found = self.code.meanings.bases(owner) if owner is not None else frozenset()
        return Table([{"call": bases}]).among(found) is not None

    def layers(self, way: Way) -> list[Layer]:
        """What stands on a way: conditions, validators, models, masks."""
        found: list[Layer] = []
        path = way.path
        for number, ref in enumerate(path[:-1]):
            after = path[number + 1]
            found += self._at(way, ref, after)
            if (
                number + 2 == len(path)
                or after.routine is not ref.routine
                or path[number + 2].routine is not ref.routine
            ):
                values = way.reached.values(ref.routine)
                leave = after if after.routine is ref.routine else ref
                found += [self._layer(guard) for guard in self.code.guards.of(leave, values)]
        found += self._declared(way)
        return list(dict.fromkeys(found))

    def _at(self, way: Way, ref: Ref, after: Ref) -> Iterator[Layer]:
        """What a place on the way does to the value."""
        node = after.node
        if node.op == "call":
            validator = self.code.row("validator", after)
            if validator is not None:
                excludes = {"nan", "inf"} if "finite" in validator["checks"] else set[str]()
                kind = "schema" if "schema" in validator["checks"] or "closed" in validator["checks"] else "bounds"
                yield Layer(after.at, kind, "call", self.code.written(after), frozenset(excludes))
            elif self.code.row("mask", after) is not None:
                yield Layer(after.at, "mask", "call", self.code.written(after))
            made = self.code.own_class(after)
            if made is not None and self._models.among(self.code.meanings.bases(made)) is not None:
                yield Layer(after.at, "model", "call", made.function.name)
        elif node.op == "or" and len(node.inputs) == 2:  # noqa: PLR2004 - `x or 0.0`
            other = after.to(node.inputs[1])
            if other.node.op == "const" and other.node.name in ("0", "0.0"):
                yield Layer(after.at, "mask", "or", f"or {other.node.name}")

    def _layer(self, guard: Guard) -> Layer:
        form = guard.form
        return Layer(guard.at, guard.kind, form, self.code.written(guard.test), guard.excludes, guard.leaves)

    def _declared(self, way: Way) -> Iterator[Layer]:
        """The model of the response that a handler declares."""
        model = None if way.surface is None else self.response_model(way.surface)
        if model is not None and way.surface is not None:
            yield Layer(model.at, "model", "response", self.code.written(model))

    def response_model(self, surface: Surface) -> Ref | None:
        """The model that a handler declares for its responses."""
        keyword = surface.row.get("response_keyword")
        if keyword and surface.by is not None and surface.by.node.op == "call":
            found = self.code.argument(surface.by, keyword)
            if found is not None:
                return None if found.node.name == "None" else found
        returns = surface.routine.function.returns
        if surface.row.get("annotation") and returns != NONE:
            ref = Ref(self.code.program.parent(surface.routine), returns)
            plain = {"builtins.dict", "builtins.str", "builtins.float", "builtins.int", "builtins.list", "typing.Any"}
            named = [one for one in self.code.meanings.of(ref) if not isinstance(one, str)]
            return ref if named and not self.code.meanings.paths(ref) & plain else None
        return None

    def fields(self, way: Way) -> tuple[str, ...]:
        """Keys, keywords, attributes and names that the answer goes under."""
        found: list[str] = []
        path = way.path
        for ref, after in itertools.pairwise(path):
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
                found += [
                    word for word, number in node.arguments() if number == ref.number and word not in ("", "*", "**")
                ]
            elif node.op in ("store", "attr"):
                found.append(node.name)
            names = ref.routine.function.names.items()
            found += [name for name, values in names if ref.number in values and name.isidentifier()]
        return tuple(dict.fromkeys(found))

    def steps(self, way: Way) -> tuple[Step, ...]:
        """The way in words, a line each; the middle of a long one left out."""
        shown: dict[tuple[str, int], Step] = {}
        path = way.path
        for number, ref in enumerate(path):
            what = self._what(way, path, number)
            key = ref.routine.path, ref.at.line
            if what and key not in shown:
                shown[key] = Step(ref.at, what)
        steps = list(shown.values())
        return tuple(steps if len(steps) <= _STEPS else [*steps[: _STEPS // 2], *steps[-_STEPS // 2 :]])

    def _what(self, way: Way, path: list[Ref], number: int) -> str:
        ref, node = path[number], path[number].node
        names = [name for name, values in ref.routine.function.names.items() if ref.number in values]
        if number == 0:
            return f"`{self.code.written(ref)}(…)` is the model's answer" + (f", kept in `{names[0]}`" if names else "")
        if ref == way.last:
            return self._end(way)
        if node.op == "param":
            return f"becomes `{node.name}` of `{self.code.name(ref.routine)}`"
        if node.op == "call" and path[number - 1].routine is not ref.routine:
            return f"comes back from `{self.code.written(ref)}(…)`"
        if node.op == "call":
            return f"through `{self.code.written(ref)}(…)`" + (f" into `{names[0]}`" if names else "")
        return f"into `{names[0]}`" if names else ""

    def _end(self, way: Way) -> str:
        if way.surface is not None:
            verb = "yields" if way.last.node.op == "yield" else "returns"
            return f"`{self.code.name(way.surface.routine)}` {verb} it to its caller ({way.surface.framework})"
        return f"`{self.code.written(way.last)}(…)` hands it on"

    def exposure(self, way: Way) -> Exposure:
        """A way as a fact."""
        call, row = way.output, way.row
        output = ModelOutput(
            call.at,
            self.code.written(call),
            row["kind"],
            self.code.name(call.routine),
            bool(row.get("weak")),
            bool(row.get("remote")),
        )
        return Exposure(
            call.at,
            output,
            self._sink(way),
            self.steps(way),
            tuple(self.layers(way)),
            self.fields(way),
            self.is_stream(way),
        )

    def _sink(self, way: Way) -> UserSink:
        if way.surface is not None:
            return UserSink(way.last.at, way.surface.kind, way.surface.framework, self.code.name(way.surface.routine))
        kind = str(way.sink["kind"]) if way.sink else ""
        return UserSink(way.last.at, kind, "", self.code.written(way.last))

    def is_stream(self, way: Way) -> bool:
        """Whether the answer goes out piece by piece."""
        if way.last.node.op == "yield" or (way.sink or {}).get("kind") == "stream":
            return True
        calls = [ref for ref in way.path if ref.node.op == "call"]
        return any((row := self.code.row("response", call)) is not None and row.get("stream") for call in calls)


def _pairs(inputs: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return zip(inputs[::2], inputs[1::2], strict=True)


def exposures(facts: Facts) -> tuple[Exposure, ...]:
    """Every way of a model's answer to people."""
    return facts.once("exposures", _exposures)


def _exposures(facts: Facts) -> tuple[Exposure, ...]:
    outputs = joined(facts)
    return tuple(outputs.exposure(way) for way in outputs.ways())


def joined(facts: Facts) -> Outputs:
    """The ways of a repository, found once."""
    return facts.once("outputs", lambda facts: Outputs(program(facts)))
