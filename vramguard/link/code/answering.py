"""Applications as a probe meets them: which route answers a path, and what that says of the application's model."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.code.health import health
from vramguard.link.code.surfaces import Surface
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.program import Ref, Routine

# What a name holds that says nothing of what the model answers: the model itself, or what stands beside it.
_MODELS: Final = re.compile(
    r"_*(?:\w+_)?(?:models?|pipe|pipelines?|predictors?|classifiers?|tokenizer|engine|llm|session|scaler|vectorizer|encoder)",
    re.IGNORECASE,
)
_LEARNS: Final = re.compile(r"(?:^|[/_-])(?:re)?(?:train|fit|tune)(?:ing)?(?:$|[/_-])|finetune|backtest", re.IGNORECASE)
_PARAMETER: Final = re.compile(r"[{<][^{}<>/]*[}>]")
_WRITES: Final = frozenset(("post", "put", "patch", "delete", "websocket"))
_CALM: Final = frozenset(("state", "store"))  # what a route may touch and still not ask the model


@dataclass(frozen=True)
class Application:
    """One application in Python: its routes, the files that they and it are made in, and where it runs its model.

    `streams`: what it runs there writes text.
    """

    surfaces: tuple[Surface, ...]
    files: frozenset[str]
    model: Step | None
    streams: bool = False


@dataclass(frozen=True)
class Answer:
    """What a route answers. `says`: why that proves nothing of the model; empty where it may. `step`: the route."""

    says: str
    step: Step
    model: Step | None


class Answering:
    """Finds the route of an application that answers a path, and asks whether it asks the model."""

    def __init__(self, facts: Facts) -> None:
        self.health = health(facts)
        self.serving, self.code = self.health.serving, self.health.code

    @cached_property
    def applications(self) -> tuple[Application, ...]:
        """Every application with routes, in the order of its first."""
        found: dict[Hashable, list[Surface]] = defaultdict(list)
        for one in sorted(
            self.serving.surfaces.values(), key=lambda one: (one.routine.path, one.routine.function.line)
        ):
            if one.kind in ("http", "rpc") and one.by is not None:
                found[self.serving.app(one)].append(one)
        return tuple(self._made(key, surfaces) for key, surfaces in found.items())

    def _made(self, key: Hashable, surfaces: list[Surface]) -> Application:
        root = key[0] if isinstance(key, tuple) else key
        files = {one.routine.path for one in surfaces} | ({root} if isinstance(root, str) else set())
        route, call = next(self._models(surfaces), (None, None))
        if route is None or call is None:
            return Application(tuple(surfaces), frozenset(files), None)
        said = self.health.path(route) or route.routine.function.name
        step = Step(call.at, f"`{said}` asks the model: `{self.code.written(call)}(…)`")
        streams = (self.code.row("output", call) or {}).get("kind") == "text"
        return Application(tuple(surfaces), frozenset(files), step, streams)

    def _models(self, surfaces: list[Surface]) -> Iterator[tuple[Surface, Ref]]:
        """Where a route runs a model in the application's own process, and not to see what it has just learned."""
        for one in surfaces:
            if _LEARNS.search(self.health.path(one)) or _LEARNS.search(one.routine.function.name):
                continue
            for routine in self.serving.reached(one.routine, beside=True):
                yield from ((one, call) for call in self.health.waits.models.get(routine, ()))

    def answer(self, application: Application, path: str) -> Answer | None:
        """What answers a path; None where no route of the application is known to."""
        route = self._route(application, path.partition("?")[0].rstrip("/") or "/")
        if route is None:
            return None
        name = self.code.name(route.routine)
        says = self._says(route.routine, name)
        return Answer(says, Step(self.serving.at(route.routine), f"`{name}` answers `{path}`"), application.model)

    def _route(self, application: Application, path: str) -> Surface | None:
        """The route of exactly this path, else the only one behind a router's prefix, else the first that fits it."""
        reading = [one for one in application.surfaces if not self._writes(one)]
        paths = [(one, "/" + self.health.path(one).strip("/")) for one in reading]
        exact = next((one for one, written in paths if written == path), None)
        if exact is not None:
            return exact
        behind = [one for one, written in paths if written != "/" and path.endswith(written)]
        if len(behind) == 1:
            return behind[0]
        return next((one for one, written in paths if _fits(written, path)), None) if not behind else None

    @staticmethod
    def _writes(surface: Surface) -> bool:
        """Whether a route is for what a probe never sends: `app.post`."""
        by = surface.by
        return by is not None and by.node.op == "call" and by.to(by.node.inputs[0]).node.name in _WRITES

    def _says(self, routine: Routine, name: str) -> str:
        """Why a route proves nothing of the model; empty where it may."""
        touched = self.health.touched(routine)
        if not touched:
            return f"whose `{name}` answers the same whatever the model does"
        if not touched <= _CALM:  # the model, or what nobody here knows
            return ""
        reached = self.serving.reached(routine, beside=True)
        if any(one in self._asking for one in reached) or self._told & {word for one in reached for word in _read(one)}:
            return ""
        return f"whose `{name}` looks whether something is there, and asks the model nothing"

    @cached_property
    def _asking(self) -> frozenset[Routine]:
        return frozenset((*self.health.asks, *self.health.waits.models))

    @cached_property
    def _told(self) -> frozenset[str]:
        """Names and attributes that are set where a model has just been asked: they may say what it answered."""
        asking = self._asking
        around = {
            one for one in self.code.routines if one in asking or any(to in asking for _, to in self.serving.edges(one))
        }
        words = {word for one in around for word in _written(one)}
        return frozenset(word for word in words if not _MODELS.fullmatch(word))


def _fits(written: str, path: str) -> bool:
    """Whether a route with parameters answers a path: `/<string:name>` does `/ping`."""
    parts, asked = written.split("/"), path.split("/")
    if len(parts) != len(asked) or not _PARAMETER.search(written):
        return False
    pairs = zip(parts, asked, strict=True)
    return all(part == one or (one and _PARAMETER.fullmatch(part)) for part, one in pairs)


def _read(routine: Routine) -> Iterator[str]:
    nodes = routine.function.nodes
    yield from (node.name for node in nodes if node.op in ("name", "attr"))
    for node in nodes:
        if node.op == "item" and nodes[node.inputs[1]].op == "const":
            yield nodes[node.inputs[1]].name.strip("'\"")


def _written(routine: Routine) -> Iterator[str]:
    nodes = routine.function.nodes
    for node in nodes:
        if node.op in ("store", "global"):
            yield node.name
        elif node.op == "setitem" and node.inputs[1] != NONE and nodes[node.inputs[1]].op == "const":
            yield nodes[node.inputs[1]].name.strip("'\"")


def answering(facts: Facts) -> Answering:
    """The applications of a repository, joined once."""
    return facts.once("answering", Answering)
