"""Models' answers on their way to people, and the layers that they pass."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Exposure, Layer, ModelOutput, Step, UserSink
from vramguard.link.code import program
from vramguard.link.code.chains import Chains
from vramguard.link.code.flow import Reached, State
from vramguard.link.code.layers import Layers, fields
from vramguard.link.code.lookups import looks_up
from vramguard.link.code.masks import Masks
from vramguard.link.code.models import Models
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Row, Table, table
from vramguard.link.code.spelling import spelled
from vramguard.link.code.streamers import is_repeated, is_sent_on, streamed
from vramguard.link.code.surfaces import Surface, surfaces
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge
    from vramguard.link.code.guards import Guard
    from vramguard.link.code.program import Routine

_TRIED: Final = 12  # ways of one answer to one handler that are looked at
# Layers that can refuse a value, whatever they ask of it.
REFUSING: Final = ("finite", "bounds", "member", "text", "schema")
_STEPS: Final = 8  # of a way that are shown
_CONVERTING: Final = (
    "list", "array", "asarray", "stack", "cat", "float", "round", "dict", "zip", "enumerate", "JSONResponse", "jsonify",
    "normalize", "concatenate", "mean", "dumps", "tuple", "map", "Response",
)  # fmt: skip
_SHOWN: Final = {
    "media": frozenset({"fromarray", "make_grid", "numpy_to_pil", "to_pil_image", "imencode", "imwrite", "save_image"}),
    "text": frozenset({"decode", "batch_decode", "convert_tokens_to_string", "strip", "splitlines"}),
}
_MODULES: Final = ("torch.", "pytorch_lightning.", "lightning.", "keras.", "tensorflow.", "transformers.", "flax.")
_ENCODES: Final = re.compile(
    r"(text|image|prompt|audio|condition|clip|t5)_?encoder(_?\d)?$"
)  # of what a model is given
_SERVERS: Final = ("torchserve", "kserve", "triton", "pytriton", "litserve", "mlflow", "seldon", "bentoml", "ray-serve")
_WRITES: Final = re.compile(r"\s*[\"'bru]*\s*(?:INSERT|UPDATE|REPLACE|MERGE|UPSERT|COPY)\b", re.IGNORECASE)


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
    state: State | None = None  # how the answer came there; None for the first way that was found

    @property
    def path(self) -> list[Ref]:
        """From the model's call to what hands its answer over."""
        return [*self.reached.path(self.value, self.state), self.last]


class Outputs:
    """The ways of a program, and what stands on them."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.surfaces: Mapping[Routine, Surface] = surfaces(code)
        self.models = Models(code)
        self.masks = Masks(code)
        self.chains = Chains(code)
        self._layers = Layers(self)

    @cached_property
    def flows(self) -> tuple[tuple[Ref, Row, Reached], ...]:
        """Every answer of a model, and where it goes."""
        found = []
        for call, row in self.code.answers():
            if not self._is_inner(call) and not self._is_about(call, row):
                stops = self._vector_ends if row["kind"] == "vector" else self._ends
                found.append((call, row, self.code.flow.forward(call, stops, by_parts=True)))
        return tuple(found)

    def ways(self) -> tuple[Way, ...]:
        """Every way of an answer to people, one for each call and handler."""
        return self._ways

    @cached_property
    def _ways(self) -> tuple[Way, ...]:
        return tuple(self._found())

    def _found(self) -> Iterator[Way]:
        for call, row, reached in (*self.flows, *streamed(self.code, self._ends)):
            found: dict[tuple[Routine, int, bool], list[Way]] = {}
            for edge in reached.edges:
                for way in self._ended(call, row, reached, edge):
                    one = self._piecewise(way) if row.get("streamed") else way
                    if one is not None:
                        key = one.last.routine, 0 if one.surface else one.last.number, self.is_stream(one)
                        found.setdefault(key, []).append(one)
            for (routine, number, stream), ways in found.items():
                # of a generator that gives it in pieces, what it gives at its end is the last of them
                if stream or ways[0].last.node.op != "yield" or (routine, number, True) not in found:
                    yield self._open(ways)

    def _open(self, ways: list[Way]) -> Way:
        """Of the ways to one handler the first that nothing can refuse on; else the first."""
        every = (replace(way, state=state) for way in ways for state in way.reached.states(way.value))
        piecewise = ways[0].state is not None
        for way in itertools.islice(every, _TRIED):
            if piecewise and not self.is_stream(way):
                continue
            if not any(layer.kind in REFUSING for layer in self.layers(way)):
                return way
        return ways[0]

    def _piecewise(self, way: Way) -> Way | None:
        """Of what a streamer hands on the way on which it goes out in pieces; None where it does not."""
        every = (replace(way, state=state) for state in way.reached.states(way.value)[:_TRIED])
        return next((one for one in every if self.is_stream(one)), None)

    def _ends(self, edge: Edge) -> bool:
        """Whether what takes a value is another model, or something that is looked up by it: what goes on from there is
        that one's answer.
        """
        user = edge.user
        if user.node.op == "attr" and user.node.name == "loss":
            return True
        if user.node.op == "grown" and edge.position:
            return self._is_given_away(user)
        if user.node.op != "call" or edge.position <= 0:
            return False
        if looks_up(self.code, user):
            return True
        row = self.code.row("output", user)
        return row is not None and not row.get("weak") and not row.get("carries")

    def _is_given_away(self, grown: Ref) -> bool:
        """Whether what grows is no container but somewhere that values are sent to: `self.db.add(row)`."""
        base = self.code.meanings.paths(grown.to(grown.node.inputs[0]))
        return table("sink").among(f"{path}.{grown.node.name}" for path in base) is not None

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
        return any(base.startswith(_MODULES) for base in self.code.meanings.bases(owner))

    def _is_about(self, call: Ref, row: Row) -> bool:
        """Whether a call asks for something else than an answer: `client.predict(api_name="/model_names")`; what is
        called a pipeline and given nothing is one of a database's commands, and `text_encoder(…)` a part of a model.
        """
        if row.get("weak") and self.code.written(call).endswith("pipeline") and call.node.argument("", 0) == NONE:
            return True
        if _ENCODES.search(self.code.written(call)):
            return True
        if "addresses" in row and self._serves_models:
            return True  # what it asks is found where it is answered
        for keyword, pattern in row.get("unless", {}).items():
            given = self.code.argument(call, keyword)
            if given is not None and given.node.op == "const" and re.search(pattern, given.node.name):
                return True
        return False

    @cached_property
    def _serves_models(self) -> bool:
        """Whether the repository has handlers of a server of models itself."""
        return any(surface.framework in _SERVERS for surface in self.surfaces.values())

    def _ended(self, call: Ref, row: Row, reached: Reached, edge: Edge) -> Iterator[Way]:
        user = edge.user
        surface = self.surfaces.get(user.routine)
        if self._is_answered(user) and surface is not None and not surface.row.get("stream"):
            yield Way(call, row, reached, edge.value, user, surface, None)
        elif (put := self._put(edge)) is not None:
            yield Way(call, row, reached, edge.value, user, None, put)
        elif user.node.op == "call" and edge.position >= 0:
            sink = self.code.row("sink", user)
            if sink is not None and self._gives(user, edge, sink) and self._is_within(user.routine, sink):
                yield Way(call, row, reached, edge.value, user, None, sink)

    @staticmethod
    def _is_answered(user: Ref) -> bool:
        """Whether a value is what a function gives: of a generator what it yields, and not what it returns."""
        if user.node.op == "return":
            return next(user.routine.all_of("yield"), None) is None
        return user.node.op == "yield"

    def _put(self, edge: Edge) -> Row | None:
        """The sink that a value is put into as an attribute: `response.media = …`, `setattr(row, …)`."""
        user, node = edge.user, edge.user.node
        if node.op == "store" and edge.position == 1:
            base, name = user.to(node.inputs[0]), node.name
        elif node.op == "call" and edge.position == 3 and self.code.written(user) == "setattr":  # noqa: PLR2004
            base, name = user.to(node.inputs[1]), "*"
        else:
            return None
        paths = [f"{path}.{name}" for path in self.code.meanings.paths(base)]
        return table("sink", "assigned").among(paths)

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
        return self._layers.on(way)

    def guards(self, way: Way) -> Iterator[Guard]:
        """The conditions on a way, in each function those that hold where the answer leaves it."""
        return self._layers.guards(way)

    def fields(self, way: Way) -> tuple[str, ...]:
        """Keys, keywords, attributes and names that the answer goes under."""
        return fields(way)

    def steps(self, way: Way) -> tuple[Step, ...]:
        """The way in words, a line each; the middle of a long one left out."""
        shown: dict[tuple[str, int], Step] = {}
        path = way.path
        for number, ref in enumerate(path):
            what = self._what(way, path, number)
            key = ref.routine.path, ref.at.line
            if what and (key not in shown or (ref == way.last and number)):  # the end tells more than what it ends
                shown.pop(key, None)
                shown[key] = Step(ref.at, what)
        steps = list(shown.values())
        return tuple(steps if len(steps) <= _STEPS else [*steps[: _STEPS // 2], *steps[-_STEPS // 2 :]])

    def _what(self, way: Way, path: list[Ref], number: int) -> str:
        ref, node = path[number], path[number].node
        names = [name for name, values in ref.routine.function.names.items() if ref.number in values]
        if number == 0:
            streamed = f"hands on the answer of `{self.code.written(way.output)}(…)`, piece by piece"
            is_ = "is the model's answer" if ref == way.output else streamed
            return f"`{self.code.written(ref)}(…)` {is_}" + (f", kept in `{names[0]}`" if names else "")
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
        return f"`{self._act(way.last)}{'(…)' if way.last.node.op == 'call' else ''}` hands it on"

    def _act(self, last: Ref) -> str:
        """What hands a value over: a call, or an attribute that it is put into."""
        if last.node.op == "store":
            return f"{spelled(last.to(last.node.inputs[0]))}.{last.node.name}"
        return self.code.written(last)

    def output(self, way: Way) -> ModelOutput:
        """The model's answer, as a fact."""
        call, row = way.output, way.row
        name, words = self.code.name(call.routine), self.code.written(call)
        return ModelOutput(call.at, words, self._kind(way), name, bool(row.get("weak")), bool(row.get("remote")))

    def _kind(self, way: Way) -> str:
        """What an answer is: of one that may be anything by what is done with it, such as to make an image of it."""
        kind = str(way.row["kind"])
        calls = [self.code.written(ref).rpartition(".")[2] for ref in way.path[1:] if ref.node.op == "call"]
        shown = (shown for shown, names in _SHOWN.items() if kind == "any" and not names.isdisjoint(calls))
        return next(shown, kind)

    def exposure(self, way: Way) -> Exposure:
        """A way as a fact."""
        output = self.output(way)
        return Exposure(
            output.at,
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
        return UserSink(way.last.at, kind, "", self._act(way.last))

    def is_stream(self, way: Way) -> bool:
        """Whether the answer goes out piece by piece: not what a generator gives once, or what was written whole."""
        path = way.path
        if (way.sink or {}).get("kind") == "stream":
            return True
        given = [ref for ref in path if ref.node.op == "yield"]
        calls = [ref for ref in path if ref.node.op == "call"]
        once = given and not any(is_repeated(ref) for ref in given)
        if once or any(self.code.flow.is_buffer(call) for call in calls):
            return False
        if (way.sink or {}).get("kind") == "message":
            return bool(given) and is_sent_on(path)
        rows = (self.code.row("response", call) for call in calls)
        return way.last.node.op == "yield" or any(row is not None and row.get("stream") for row in rows)


def exposures(facts: Facts) -> tuple[Exposure, ...]:
    """Every way of a model's answer to people."""
    return facts.once("exposures", _exposures)


def _exposures(facts: Facts) -> tuple[Exposure, ...]:
    outputs = joined(facts)
    return tuple(outputs.exposure(way) for way in outputs.ways())


def joined(facts: Facts) -> Outputs:
    """The ways of a repository, found once."""
    return facts.once("outputs", lambda facts: Outputs(program(facts)))


def answering(facts: Facts) -> frozenset[tuple[str, str]]:
    """The handlers that a model's answer reaches, by file and name."""
    surfaces = (way.surface for way in joined(facts).ways())
    return frozenset((one.routine.path, one.routine.function.name) for one in surfaces if one is not None)
