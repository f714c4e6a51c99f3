"""How long a request may wait: for models that run in the process, for clients that call over the network."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.services import OutboundCall, SlowAnswer
from vramguard.link.code.bounds import Bounds
from vramguard.link.code.clients import Clients
from vramguard.link.code.dispatch import AGENTS, ASKED
from vramguard.link.code.meaning import RUNNERS
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table, table
from vramguard.link.code.serving import called, serving
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import tokens

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row
    from vramguard.link.code.serving import Serving
    from vramguard.link.code.surfaces import Surface

_ASKED: Final = ("http", "rpc", "ui", "bot")  # kinds of handlers at which somebody waits
_SERVERS: Final = ("bentoml", "litserve", "ls", "modal")  # end a request by themselves: 60, 30 and 300 seconds
_ELSEWHERE: Final = ("text_generation.", "sglang.RuntimeEndpoint", "mii.client")  # clients among the engines
_AWAY: Final = re.compile(r"client|endpoint|service|stub|session|api$|proxy|^self$|^super")
_HANDED_ON: Final = 3  # functions to which a handler hands its work on
_TRAINING: Final = frozenset({"train", "retrain", "training", "retraining", "trainer", "fit", "finetune", "tune"})
_LOADING: Final = frozenset({"load", "reload", "preload", "warm", "warmup"})  # what a function that loads is called
_KEPT: Final = re.compile(r"predict(_?(fn|func|function|proba|proba_fn))?$")  # a function, under its key
_KINDS: Final = (None, "grpc")  # of rows of `fetch`


class Waits:
    """Finds what makes requests wait."""

    def __init__(self, facts: Facts) -> None:
        self.serving: Serving = serving(facts)
        self.code = self.serving.code
        self.bounds = Bounds(self.code)
        self.clients = Clients(self.serving, self.bounds)

    # Models in the process.

    @cached_property
    def models(self) -> Mapping[Routine, list[Ref]]:
        """The calls of models that run in the process, by their functions."""
        found: dict[Routine, list[Ref]] = defaultdict(list)
        for call, row in (*self.code.answers(), *self._named()):
            inner = self.serving.outputs._is_inner(call)  # noqa: SLF001 - the same question, answered in one place
            if not row.get("remote") and not inner and self._is_local(call, row):
                found[call.routine].append(call)
        return found

    def _named(self) -> Iterator[tuple[Ref, Row]]:
        """`artifact["model"].predict(x)` of what nobody can tell: hardly anything but a model has these methods."""
        judged = set(self.code.routines)
        for name in ("predict", "predict_proba"):
            for call in self.code.program.calls.get(name, ()):
                function = call.to(call.node.inputs[0])
                if call.routine not in judged or function.node.op != "attr" or len(call.node.inputs) < 2:  # noqa: PLR2004
                    continue
                paths = self.code.meanings.called(call)
                known = any(not path.startswith("?") for path in paths) or self.code.row("output", call) is not None
                base = self.code.written(function.to(function.node.inputs[0])).lower()
                own = self.code.meanings.routines(call)
                if not known and not _AWAY.search(base) and (not own or any(map(_is_abstract, own))):
                    yield call, {"kind": "any"}
        yield from ((call, {"kind": "any"}) for routine in self.code.routines for call in _by_key(routine))

    def _is_local(self, call: Ref, row: Row) -> bool:
        """Of a model that is known by its name alone: whether it has the methods of one that runs here."""
        last = called(call)
        elsewhere = any(path.startswith(_ELSEWHERE) for path in self.code.meanings.called(call))
        if not row.get("weak") or last == "remote" or elsewhere:
            return last != "remote" and not elsewhere  # of Ray: it runs in another process
        return row["kind"] == "any" and (
            last in ("predict", "predict_proba", "decision_function") or last.endswith("model")
        )

    def slow_answers(self) -> Iterator[SlowAnswer]:
        """The first handler of each application that runs a model, and waits for as long as it takes."""
        seen: set[Hashable] = set()
        handlers = [(surface, aside) for aside in (False, True) for surface in self._handlers(_ASKED)]
        for surface, trains in handlers:  # those that train on the way only where no other one answers
            app = self.serving.app(surface)
            if app in seen:
                continue
            found = self._unbounded_model(surface, trains=trains)
            if found is not None and not self._app_bounds(surface):
                seen.add(app)
                yield found

    def _handlers(self, kinds: tuple[str, ...]) -> list[Surface]:
        found = [one for one in self.serving.surfaces.values() if one.kind in kinds]
        return sorted(found, key=lambda one: (one.routine.path, one.routine.function.line))

    def _unbounded_model(self, surface: Surface, *, trains: bool) -> SlowAnswer | None:
        if self.bounds.function(surface.routine):
            return None
        if self._training and tokens(surface.routine.function.name) & _TRAINING:
            return None  # whoever asks for training waits for that
        for routine, trail in self.serving.reached(surface.routine, self.bounds.around).items():
            if not trains and not self._training.isdisjoint(
                (surface.routine, routine, *(one.routine for one in trail))
            ):
                continue
            if any(map(_loads, (routine, *(one.routine for one in trail)))):
                continue  # a trial of what was loaded is nobody's answer
            for model in self.models.get(routine, ()):
                row = self.code.row("output", model) or {}
                if self.bounds.own(model, row) is True or self.bounds.around(model) or self._made_bounded(model, row):
                    continue
                first = trail[0] if trail else model
                last = Step(model.at, f"`{self.code.written(model)}(…)` runs the model, however long it takes")
                name = self.code.name(surface.routine)
                written = self.code.written
                steps = self.serving.steps(trail, last)
                at = self.serving.at(surface.routine)
                return SlowAnswer(at, written(first), written(model), name, surface.framework, steps)
        return None

    @cached_property
    def _training(self) -> frozenset[Routine]:
        """The functions that train."""
        return frozenset(starting(self.code.facts).down)

    def _made_bounded(self, call: Ref, row: Row) -> bool:
        words = row.get("constructor_bounded_by", ())
        made = self.clients.constructors(call, row)
        return any(self.code.argument(one, word) is not None for one in made for word in words)

    def _app_bounds(self, surface: Surface) -> bool:
        """Whether a middleware of the repository bounds every request, or the server that an application stands in."""
        functions = surface.routine.module.functions
        return self._middleware or any(server in one.names for server in _SERVERS for one in functions)

    @cached_property
    def _middleware(self) -> bool:
        for call in self.code.program.calls.get("add_middleware", ()):
            if len(call.node.inputs) > 1 and "timeout" in self.code.written(call.to(call.node.inputs[1])).lower():
                return True
        known = Table([{"call": ["fastapi.**.middleware()", "starlette.**.middleware()", "?app.middleware()"]}])
        for call in self.code.program.calls.get("wait_for", ()):
            if any(known.among(paths) is not None for _, paths in self.code.decorators(call.routine)):
                return True
            if call.routine.function.name == "dispatch" and self.code.program.owner(call.routine) is not None:
                return True
        return False

    # Clients.

    @cached_property
    def waited(self) -> Mapping[Routine, tuple[Ref, ...]]:
        """Every function that runs while somebody waits, with the calls that lead there."""
        found: dict[Routine, tuple[Ref, ...]] = {}
        starts = [one.routine for one in self._handlers(_ASKED) if self._serves(one)]
        for start in (*starts, *self._pages()):
            if start not in found and not self.bounds.function(start):
                for routine, trail in self.serving.reached(start, self.bounds.around, wide=True).items():
                    if routine not in found or len(trail) < len(found[routine]):
                        found[routine] = trail
        return found

    def _serves(self, surface: Surface) -> bool:
        """Whether somebody waits for a handler: a Lambda function is a step of any pipeline, unless it asks a model and
        answers with something.
        """
        if surface.framework != "lambda":
            return True
        if not self._answers(surface.routine):
            return False
        return not self._asking.isdisjoint(self.serving.reached(surface.routine))

    def _answers(self, routine: Routine, deep: int = _HANDED_ON) -> bool:
        """Whether a function gives something, itself or by what it hands the work to."""
        given = [Ref(routine, node.inputs[0]) for node in routine.function.nodes if node.op == "return" and node.inputs]
        for one in given:
            own = self.code.meanings.routines(one) if one.node.op == "call" and deep else ()
            if any(self._answers(inner, deep - 1) for inner in own) if own else one.node[:2] != ("const", "None"):
                return True
        return False

    def _pages(self) -> Iterator[Routine]:
        """Scripts of Streamlit, which run at every touch: modules that draw, or whose functions draw in others."""
        drawn = {call.routine for call, row in self.code.calls("sink") if row["kind"] == "page" and self._is_page(call)}
        files = {routine.path for routine in drawn}
        for path in sorted(self.code.program.modules) if drawn else ():
            start = self.code.program.routine(self.code.program.modules[path], 0)
            draws = path in files or not files.isdisjoint(self.serving.dispatch.reached(path))
            if draws and not start.module.notebook and drawn & self.serving.reached(start).keys():
                yield start

    def _is_page(self, call: Ref) -> bool:
        return any(path.startswith(("streamlit.", "?st.")) for path in self.code.meanings.called(call))

    def outbound(self) -> Iterator[OutboundCall]:
        """The calls over the network on the way of a request that bring no timeout."""
        if self.code.program.calls.get("setdefaulttimeout"):
            return
        for call, row in (*self.remote(), *self._clients()):
            trail = self.waited.get(call.routine)
            if trail is None or self.bounds.around(call) or (row.get("of_model") and not self._asks_model(call, trail)):
                continue
            yield from self._unbounded(call, row, trail)
        for routine, trail in self.waited.items():
            for number in routine.all_of("call"):
                yield from self._composed(Ref(routine, number), trail)

    def _asks_model(self, call: Ref, trail: tuple[Ref, ...]) -> bool:
        """Whether the request that waits for a call asks a model, too."""
        start = trail[0].routine if trail else call.routine
        return not self._asking.isdisjoint((start, *self.serving.reached(start)))

    @cached_property
    def _asking(self) -> frozenset[Routine]:
        return frozenset(call.routine for call, _ in self.code.calls("output"))

    def _composed(self, call: Ref, trail: tuple[Ref, ...]) -> Iterator[OutboundCall]:
        """`AgentExecutor(agent, tools).invoke(…)`: the clients of the models that it was made of bring no timeout."""
        paths = self.code.meanings.called(call)
        asked = called(call) in ASKED or any(path.endswith("()") for path in paths)
        if not asked or not any(AGENTS.match(path) for path in paths) or self.bounds.around(call):
            return
        step = Step(call.at, f"`{self.code.written(call)}(…)` is called while somebody waits")
        steps = self.serving.steps(trail, step)
        for made, row in self.clients.composed(call):
            words = row.get("constructor_bounded_by", ())
            if not self.clients.limited(made, words):
                default = 0.0 if self.clients.is_none(made, words) else float(row["default_timeout_s"])
                yield OutboundCall(made.at, self.code.written(made), self.code.written(call), default, steps)

    def remote(self) -> Iterator[tuple[Ref, Row]]:
        """The calls over the network, with every row that speaks of one: a client may be of several makers."""
        for call, _ in self.code.calls("fetch"):
            yield from ((call, row) for row in self._rows("fetch", call) if row.get("kind") in _KINDS)
        for call, first in self.code.answers():
            for row in self._rows("output", call) or [first]:
                known = row.get("remote") and "default_timeout_s" in row and not row.get("weak")
                if known and self.clients.matched(call, row):
                    yield call, row
        yield from self._handed()

    def _rows(self, kind: str, call: Ref) -> list[Row]:
        """Every row of that kind that speaks of a call that is known from its root."""
        paths = self.code.meanings.called(call)
        found = (table(kind).row(path) for path in sorted(paths) if not path.startswith("?"))
        unique = {id(row): row for row in found if row is not None}
        return list(unique.values())

    def _handed(self) -> Iterator[tuple[Ref, Row]]:
        """`pool.submit(requests.post, url)`: the function of a library is handed to somebody who calls it."""
        judged = set(self.code.routines)
        for name in sorted(RUNNERS):
            for call in self.code.program.calls.get(name, ()):
                for number in call.node.inputs[1:3] if call.routine in judged else ():
                    given = call.to(number)
                    if given.node.op not in ("attr", "name", "import"):
                        continue
                    row = table("fetch").among(self.code.meanings.paths(given))
                    if row is not None and row.get("kind") in _KINDS and not row.get("constructor_bounded_by"):
                        yield call, row

    def _clients(self) -> Iterator[tuple[Ref, Row]]:
        """Calls of the methods of clients such as boto3's."""
        rows = [row for row in table("fetch").rows if row.get("kind") == "client"]
        known = Table(
            [
                {
                    **row,
                    "call": [one if row.get("exact") or one.endswith("**") else f"{one}().*" for one in row["call"]],
                }
                for row in rows
            ]
        )
        for routine in self.waited:
            for number in routine.all_of("call"):
                call = Ref(routine, number)
                row = known.among(self.code.meanings.called(call))
                if row is not None and self.code.row("output", call) is None:
                    yield call, row

    def _unbounded(self, call: Ref, row: Row, trail: tuple[Ref, ...]) -> Iterator[OutboundCall]:
        if self.bounds.own(call, row) is not False and not self.clients.is_none(call, row.get("bounded_by", ())):
            return
        words = row.get("constructor_bounded_by", ())
        places = [call]
        unlimited = self.clients.is_none(call, row.get("bounded_by", ()))
        if words and not unlimited:
            made = self.clients.constructors(call, row)
            module_level = not any("()" in path for path in self.code.meanings.called(call))
            bare = [one for one in made if not self.clients.limited(one, words)]
            if not module_level and not bare:
                return
            made, places = bare, bare or [call]
            unlimited = any(self.clients.is_none(one, words) for one in made)
        default = 0.0 if unlimited else float(row.get("default_timeout_s", 0))
        written = self.code.written
        for place in places:
            last = Step(call.at, f"`{written(call)}(…)` is called while somebody waits")
            steps = self.serving.steps(trail, last)
            yield OutboundCall(place.at, written(place), written(call), default, steps)


def _is_abstract(routine: Routine) -> bool:
    """Whether a function says only what others do: a method of a Protocol."""
    return not any(node.op in ("call", "return", "yield") and node.inputs for node in routine.function.nodes)


def _loads(routine: Routine) -> bool:
    """Whether a function loads a model or warms it up, by its name: `load_models`, and not `load_and_predict`."""
    name = routine.function.name.strip("_").lower()
    return name.partition("_")[0] in _LOADING and "predict" not in name and "_and_" not in name


def _by_key(routine: Routine) -> Iterator[Ref]:
    """`bundle["predict_fn"](rows)`: calls of a function that is kept beside its model."""
    nodes = routine.function.nodes
    for number in routine.all_of("call"):
        function = nodes[nodes[number].inputs[0]]
        key = nodes[function.inputs[1]] if function.op == "item" and len(nodes[number].inputs) > 1 else None
        if key is not None and key.op == "const" and _KEPT.match(key.name.strip("\"'")):
            yield Ref(routine, number)


def waits(facts: Facts) -> Waits:
    """What makes the requests of a repository wait, joined once."""
    return facts.once("waits", Waits)


def slow_answers(facts: Facts) -> tuple[SlowAnswer, ...]:
    """Applications that run a model for as long as it takes."""
    return facts.once("slow-answers", lambda facts: tuple(waits(facts).slow_answers()))


def outbound_calls(facts: Facts) -> tuple[OutboundCall, ...]:
    """Calls over the network, on the way of a request, without a timeout; each place once."""

    def find(facts: Facts) -> tuple[OutboundCall, ...]:
        first = {call.at: call for call in reversed(list(waits(facts).outbound()))}
        return tuple(sorted(first.values(), key=lambda one: one.at))

    return facts.once("outbound-calls", find)
