"""Models' answers on their way to people, and the layers that they pass."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Exposure, Layer, ModelOutput, Step, UserSink
from vramguard.link.code import program
from vramguard.link.code.flow import Reached
from vramguard.link.code.meaning import Own
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

_DEEP: Final = 4  # of an annotation
_STEPS: Final = 8  # of a way that are shown
_CONVERTING: Final = ("list", "array", "asarray", "stack", "cat", "float", "round", "dict", "zip", "enumerate", "JSONResponse", "jsonify",
    "normalize", "concatenate", "mean", "dumps", "tuple", "map", "Response")  # fmt: skip
_WRITES: Final = re.compile(r"\s*[\"'bru]*\s*(?:INSERT|UPDATE|REPLACE|MERGE|UPSERT|COPY)\b", re.IGNORECASE)
_NUMERIC: Final = frozenset({
    "builtins.float", "builtins.int", "decimal.Decimal", "pydantic.FiniteFloat", "pydantic.PositiveFloat", "pydantic.confloat",
    "pydantic.NonNegativeFloat", "pydantic.conint", "pydantic.condecimal", "numpy.float64", "numpy.float32",
})  # fmt: skip
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
            reached = self.code.flow.forward(call, self._vector_ends if row["kind"] == "vector" else self._ends)
            seen: set[tuple[Routine, int, bool]] = set()
            for edge in reached.edges:
                for way in self._ended(call, row, reached, edge):
                    key = way.last.routine, 0 if way.surface else way.last.number, self.is_stream(way)
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

    def _vector_ends(self, edge: Edge) -> bool:
        """Of a vector: whatever looks something up by it ends its way too."""
        user = edge.user
        if user.node.op == "call" and edge.position > 0 and not self.code.meanings.routines(user):
            last = user.node.inputs and user.routine.function.nodes[user.node.inputs[0]].name.rpartition(".")[2]
            return last not in _CONVERTING
        return self._ends(edge)

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
        elif user.node.op == "call" and edge.position >= 0:
            sink = self.code.row("sink", user)
            if sink is not None and self._gives(user, edge, sink) and self._is_within(user.routine, sink):
                yield Way(call, row, reached, edge.value, user, None, sink)

    def _gives(self, user: Ref, edge: Edge, sink: Row) -> bool:
        if self.code.written(user).endswith(("execute", "executemany", "execute_async")) and not self._writes(user):
            return False
        if edge.position == 0 or sink.get("receiver"):  # `frame.to_sql(…)` hands over the frame
            return edge.position == 0 and bool(sink.get("receiver"))
        given = sink.get("gives")
        if given is None:
            return True
        keyword = user.node.keywords[edge.position - 1]
        place = sum(1 for word in user.node.keywords[: edge.position - 1] if not word)
        return (keyword in given) if keyword else (place in given)

    @staticmethod
    def _writes(user: Ref) -> bool:
        """Whether a statement that is written out in a call of `execute` changes a table."""
        pending = [number for number in user.node.inputs[1:2] if number != NONE]
        nodes = user.routine.function.nodes
        while pending:
            node = nodes[pending.pop()]
            if node.op == "const" and _WRITES.match(node.name):
                return True
            if node.op in ("call", "join", "grown", "binary"):
                pending += [number for number in node.inputs if number != NONE]
        return False

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
        for ref, after in pairwise(way.path):
            found += self._at(after)
            found += self._swallowed(ref)
        found += [self._layer(guard) for guard in self.guards(way)]
        found += self._declared(way)
        return list(dict.fromkeys(found))

    def guards(self, way: Way) -> Iterator[Guard]:
        """The conditions on a way, in each function those that hold where the answer leaves it."""
        path = way.path
        for number, (ref, after) in enumerate(pairwise(path)):
            last = number + 2 == len(path)
            if last or after.routine is not ref.routine or path[number + 2].routine is not ref.routine:
                leave = after if after.routine is ref.routine else ref
                yield from self.code.guards.of(leave, way.reached.values(ref.routine))

    def _swallowed(self, ref: Ref) -> Iterator[Layer]:
        """Handlers around a place that answer with nothing, or with zero, as if it were the model's answer."""
        function = ref.routine.function
        around = {
            function.blocks[one].parent
            for one in ref.routine.blocks[ref.node.block]
            if function.blocks[one].kind == "try"
        }
        handlers = {n for n, block in enumerate(function.blocks) if block.kind == "except" and block.parent in around}
        for number, node in enumerate(function.nodes if handlers else ()):
            if handlers.isdisjoint(ref.routine.blocks[node.block]) or node.op not in ("return", "setitem", "store"):
                continue
            given = ref.to(node.inputs[-1]) if node.inputs else None
            if given is not None and self._is_blank(given):
                yield Layer(ref.to(number).at, "mask", "except", "except")

    def _is_blank(self, ref: Ref) -> bool:
        """Zero, or a list of nothing or of zeros."""
        node = ref.node
        if node.op == "const":
            return node.name in ("0", "0.0")
        if node.op == "if":
            return any(self._is_blank(ref.to(number)) for number in node.inputs[1:])
        return node.op == "items" and all(map(self._is_blank, ref.inputs()))

    def _at(self, after: Ref) -> Iterator[Layer]:
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
            if made is not None and self._is_model(made):
                yield Layer(after.at, self._asks(made), "call", made.function.name)
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
            yield Layer(model.at, self._asks(*self._classes(model)), "response", self.code.written(model))

    def response_model(self, surface: Surface) -> Ref | None:
        """The class of the repository that a handler declares its responses to be, or to be made of."""
        keyword = surface.row.get("response_keyword")
        if keyword and surface.by is not None and surface.by.node.op == "call":
            found = self.code.argument(surface.by, keyword)
            if found is not None:
                return found if self._holds_class(found) else None
        returns = surface.routine.function.returns
        if surface.row.get("annotation") and returns != NONE:
            ref = Ref(self.code.program.parent(surface.routine), returns)
            return ref if self._holds_class(ref) else None
        return None

    def _holds_class(self, ref: Ref) -> bool:
        return next(self._classes(ref), None) is not None

    def _classes(self, ref: Ref, depth: int = 0) -> Iterator[Routine]:
        """The models of ours that an annotation names: `Answer`, `list[Answer]`, `Answer | None`."""
        for one in self.code.meanings.of(ref):
            if isinstance(one, Own) and one.kind == "class" and one.routine is not None and self._is_model(one.routine):
                yield one.routine
        if ref.node.op in ("item", "items", "binary") and depth < _DEEP:
            for inner in ref.inputs():
                yield from self._classes(inner, depth + 1)

    def _asks(self, *models: Routine) -> str:
        """What a model asks of its values: `schema` if it has a closed set, `model` if it has numbers, else `shape`."""
        kinds = {kind for model in models for kind in self._field_kinds(model, frozenset())}
        return next((kind for kind in ("model", "schema") if kind in kinds), "shape")

    def _field_kinds(self, model: Routine, seen: frozenset[Routine]) -> Iterator[str]:
        for owner in self.code.meanings.ancestors(model):
            for number in owner.all_of("field"):
                yield from self._kinds_of(Ref(owner, owner.function.nodes[number].inputs[0]), seen | {model})

    def _kinds_of(self, ref: Ref, seen: frozenset[Routine], depth: int = 0) -> Iterator[str]:
        paths = self.code.meanings.paths(ref)
        if paths & _NUMERIC:
            yield "model"
        if any(path.rpartition(".")[2] in ("Literal", "Literal[]", "Enum", "StrEnum", "IntEnum") for path in paths):
            yield "schema"
        if ref.node.op == "const" and ref.node.name.strip("'\"") in ("float", "int"):
            yield "model"
        for inner in self._classes(ref):
            if inner not in seen:
                yield from self._field_kinds(inner, seen)
        if ref.node.op in ("item", "items", "binary", "call") and depth < _DEEP:
            for part in ref.inputs():
                yield from self._kinds_of(part, seen, depth + 1)

    def _is_model(self, owner: Routine) -> bool:
        return self._models.among(self.code.meanings.bases(owner)) is not None

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
