"""What runs while a request waits: from a handler on through the repository's functions; and of which application."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.code.backward import Backward
from vramguard.link.code.dispatch import Dispatch
from vramguard.link.code.meaning import RUNNERS, Own
from vramguard.link.code.outputs import joined
from vramguard.link.code.program import Ref
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.surfaces import Surface
    from vramguard.source.graph import Parameter

_MOST: Final = 400  # functions that one handler runs
_NAMES: Final = 100  # behind names
# What runs a function while nobody waits for it.
_BESIDE: Final = frozenset({"add_task", "Thread", "Process", "Timer", "apply_async", "delay"})
_INCLUDES: Final = {
    "include_router": 0,
    "register_blueprint": 0,
    "mount": 1,
    "blueprint": 0,
    "add_blueprint": 0,
    "add_namespace": 0,
    "init_app": 0,
}
_EXTENSIONS: Final = ("Api", "Admin", "SocketIO")  # flask-restx: Api(app), or Api(blueprint)
# What starts something and gives what one may wait for: dropped, nobody does.
_STARTED: Final = frozenset(
    {"submit", "run_in_executor", "to_thread", "create_task", "ensure_future", "run_coroutine_threadsafe"}
)
_KEPT: Final = frozenset({"add_done_callback", "add", "append", "discard", "set_name", "done", "cancel"})
_ROOTS: Final = ("FastAPI", "Flask", "Sanic", "Quart", "Litestar", "Starlette")
_ROUTERS: Final = ("APIRouter", "Blueprint")


class Serving:
    """The handlers of a repository, what they run, and their applications."""

    def __init__(self, facts: Facts) -> None:
        self.outputs = joined(facts)
        self.code = self.outputs.code
        self.surfaces = self.outputs.surfaces
        self.backward = Backward(self)
        self.dispatch = Dispatch(self.code, self.backward)
        self._edges: dict[tuple[Routine, bool], tuple[tuple[Ref, Routine], ...]] = {}
        self._wide: dict[Routine, tuple[tuple[Ref, Routine], ...]] = {}
        self._apps = _Union()
        self._join()

    def edges(self, routine: Routine, *, beside: bool = False) -> tuple[tuple[Ref, Routine], ...]:
        """The calls of a function that run functions of the repository, and those functions.

        `beside`: those too that run while nobody waits for them.
        """
        key = routine, beside
        if key not in self._edges:
            self._edges[key] = tuple(self._run(routine, beside=beside))
        return self._edges[key]

    def wide(self, routine: Routine) -> tuple[tuple[Ref, Routine], ...]:
        """The calls of a function that may run functions of the repository, where only the run decides which."""
        if routine not in self._wide:
            plain = {call for call, _ in self.edges(routine)}
            calls = (Ref(routine, number) for number in routine.all_of("call"))
            open_ = (call for call in calls if call not in plain and called(call) not in _BESIDE)
            self._wide[routine] = tuple((call, inner) for call in open_ for inner in self.dispatch.of(call))
        return self._wide[routine]

    def _run(self, routine: Routine, *, beside: bool) -> Iterator[tuple[Ref, Routine]]:
        for number in routine.all_of("call"):
            call = Ref(routine, number)
            last = called(call)
            if (last in _BESIDE or (last in _STARTED and self._is_dropped(call))) and not beside:
                continue
            yield from ((call, inner) for inner in self.code.meanings.routines(call))
            for given in call.node.inputs[1:] if last in RUNNERS or last in _BESIDE else ():
                yield from ((call, inner) for inner in self.code.meanings.functions(call.to(given)))
        yield from self.depended(routine)

    @staticmethod
    def _is_dropped(call: Ref) -> bool:
        """Whether nothing waits for what a call has started: its value is not used, or only kept or watched."""
        pending, seen = [call.number], {call.number}
        nodes, users = call.routine.function.nodes, call.routine.users
        while pending:
            number = pending.pop()
            for user in users.get(number, ()):
                node = nodes[user]
                starts = node.op == "call" and called(call.to(user)) in _STARTED | _KEPT
                watched = node.op == "attr" and node.name in _KEPT
                held = node.op in ("setitem", "store", "grown", "global") or (node.op == "join" and user > number)
                if not (starts or watched or held) or (
                    starts and node.inputs[0] == number and nodes[number].name not in _KEPT
                ):
                    return False
                if (starts or watched or node.op == "join") and user not in seen:
                    seen.add(user)
                    pending.append(user)
        return True

    def depended(self, routine: Routine, name: str = "") -> Iterator[tuple[Ref, Routine]]:
        """`Depends(f)`, as a default or within `Annotated`: f runs first. `name`: of that parameter only."""
        for parameter in routine.function.parameters:
            for told in self._told(routine, parameter) if not name or parameter.name == name else ():
                if told.node.op == "call" and called(told) in ("Depends", "Security") and len(told.node.inputs) > 1:
                    first = self.code.meanings.functions(told.to(told.node.inputs[1]))
                    yield from ((told, inner) for inner in first)

    def _told(self, routine: Routine, parameter: Parameter) -> Iterator[Ref]:
        """The calls that stand as a parameter's default, or beside its type."""
        around = self.code.program.parent(routine)
        if parameter.default != NONE:
            yield Ref(around, parameter.default)
        annotation = Ref(around, parameter.annotation) if parameter.annotation != NONE else None
        places = [] if annotation is None else [annotation, *self.behind(annotation)]
        for place in places:
            if place.node.op == "item":
                key = place.to(place.node.inputs[1])
                yield from key.inputs() if key.node.op == "items" else ()

    def reached(
        self,
        start: Routine,
        stops: Callable[[Ref], bool] = lambda _: False,
        *,
        beside: bool = False,
        wide: bool = False,
    ) -> Mapping[Routine, tuple[Ref, ...]]:
        """The functions that one runs, itself among them, with the calls that lead there.

        `stops`: calls that are not followed. `wide`: those too that it only may run.
        """
        found: dict[Routine, tuple[Ref, ...]] = {start: ()}
        pending = [start]
        for routine in pending:
            for call, inner in (*self.edges(routine, beside=beside), *(self.wide(routine) if wide else ())):
                if inner not in found and len(found) < _MOST and not stops(call):
                    found[inner] = (*found[routine], call)
                    pending.append(inner)
        return found

    def steps(self, trail: tuple[Ref, ...], last: Step | None = None) -> tuple[Step, ...]:
        """The calls that lead somewhere, in words."""
        found = [
            Step(call.at, f"`{self.code.name(call.routine)}` calls `{self.code.written(call)}(…)`") for call in trail
        ]
        if len(found) > 6:  # noqa: PLR2004 - the middle of a long way says little
            found = [*found[:3], *found[-3:]]
        return (*found, last) if last is not None else tuple(found)

    def at(self, routine: Routine) -> Location:
        """Where a function is defined."""
        around = self.code.program.parent(routine)
        for number in around.all_of("def"):
            if around.function.nodes[number].name == str(routine.number):
                return Ref(around, number).at
        return Location(routine.path, routine.function.line)

    # Applications.

    def app(self, surface: Surface) -> Hashable:
        """What stands for the application of a handler: the object that it is registered at, else its file; of a page
        its folder.
        """
        routine, by = surface.routine, surface.by
        if surface.kind == "ui":
            return self._apps.of(posixpath.dirname(routine.path))
        for one in (by, *self._of_class(routine)):
            function = one.to(one.node.inputs[0]) if one is not None and one.node.op == "call" else None
            if function is not None and function.node.op == "attr":
                base = function.to(function.node.inputs[0])
                found = self.origins(base)
                if found:
                    return self._apps.of(_key(found[0]))
        return self._apps.of(self._beside(routine))

    def _of_class(self, routine: Routine) -> Iterator[Ref]:
        """The decorators of a method's class: `@api.route("/price") class Price(Resource)`."""
        owner = self.code.program.owner(routine)
        if owner is not None:
            yield from (ref for ref, _ in self.code.decorators(owner))

    def _beside(self, routine: Routine) -> Hashable:
        """Of a handler whose application is handed to it: the only one that its file makes, else the file."""
        made = self._made(*_ROOTS, *_ROUTERS)
        here = [call for call in made if call.routine.path == routine.path]
        return _key(here[0]) if len(here) == 1 else routine.path

    def origins(self, ref: Ref) -> list[Ref]:
        """The calls that made a value."""
        found: dict[Ref, None] = {}
        pending, seen = [ref], {ref}
        while pending and len(seen) < _NAMES:
            place = pending.pop(0)
            if place.node.op == "call":
                found[place] = None
                continue
            inner = [one for one in self.behind(place) if one not in seen]
            seen.update(inner)
            pending += inner
        return list(found)

    def behind(self, ref: Ref) -> list[Ref]:
        """Where what stands at a node was bound, one step back."""
        node, program = ref.node, self.code.program
        if node.op == "name":
            return program.lookup(ref.routine, node.name)
        if node.op in ("join", "global", "or", "if") or (node.op == "binary" and node.name == "|"):
            return [inner for inner in ref.inputs() if inner.number < ref.number or node.op != "join"]
        if node.op in ("grown", "enter"):
            return [ref.to(node.inputs[0])]
        if node.op == "import":
            base, _, last = node.name.rpartition(".")
            path = program.resolve(ref.routine.path, base)
            module = program.module(path) if path is not None else None
            return program.lookup(program.routine(module, 0), last) if module is not None else []
        return self._attribute(ref) if node.op == "attr" else []

    def _attribute(self, ref: Ref) -> list[Ref]:
        program = self.code.program
        found: list[Ref] = []
        for one in self.code.meanings.of(ref.to(ref.node.inputs[0])):
            if not isinstance(one, Own):
                continue
            module = program.module(one.path) if one.kind == "module" else None
            if module is not None:
                found += program.lookup(program.routine(module, 0), ref.node.name)
            elif one.routine is not None and one.kind in ("instance", "class"):
                for owner in self.code.meanings.ancestors(one.routine):
                    found += [Ref(owner, number) for number in owner.function.names.get(ref.node.name, ())]
                    kept = self.code.meanings.kept(owner, ref.node.name)
                    found += [store.to(store.node.inputs[1]) for store in kept]
        return found

    def _join(self) -> None:
        """Routers belong to the application that includes them."""
        for name in _EXTENSIONS:
            for call in self.code.program.calls.get(name, ()):
                given = self.code.argument(call, "app", 0)
                for whole in self.origins(given)[:1] if given is not None else ():
                    self._apps.join(_key(whole), _key(call))
        for name, position in _INCLUDES.items():
            for call in self.code.program.calls.get(name, ()):
                function = call.to(call.node.inputs[0])
                given = self.code.argument(call, "router", position)
                if function.node.op == "attr" and given is not None:
                    self._include(name, function.to(function.node.inputs[0]), given)

        roots = self._made(*_ROOTS)
        for part in self._made(*_ROUTERS) if len(roots) == 1 else ():
            self._apps.join(_key(roots[0]), _key(part))  # by a loop over modules, say: there is no other application

    def _made(self, *names: str) -> list[Ref]:
        """The applications, or parts of them, that the repository makes, but for those of its tests."""
        judged = set(self.code.routines)
        calls = (call for name in sorted(names) for call in self.code.program.calls.get(name, ()))
        return [call for call in calls if call.routine in judged]

    def _include(self, name: str, base: Ref, given: Ref) -> None:
        """`app.include_router(router)`; of `api.init_app(app)` the argument is the whole."""
        wholes, parts = self.origins(base) or [base], self.origins(given)
        if name == "init_app":
            wholes, parts = parts, wholes
        for part in parts if wholes else ():
            self._apps.join(_key(wholes[0]), _key(part))


def called(call: Ref) -> str:
    """The last part of the name of what a call calls; empty for what has no name."""
    function = call.to(call.node.inputs[0]).node
    return function.name.rpartition(".")[2] if function.op in ("name", "attr", "import", "param") else ""


def _key(ref: Ref) -> Hashable:
    return ref.routine.path, ref.routine.number, ref.number


class _Union:
    """Which keys stand for the same thing."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def of(self, key: Hashable) -> Hashable:
        while key in self._above:
            key = self._above[key]
        return key

    def join(self, whole: Hashable, part: Hashable) -> None:
        one, other = self.of(whole), self.of(part)
        if one != other:
            self._above[other] = one


def serving(facts: Facts) -> Serving:
    """The handlers of a repository, joined once."""
    return facts.once("requests-served", Serving)
