"""Where a value goes: forward through assignments, containers, attributes, calls and returns, until it is used up.

A call of one of the repository's functions is entered with the call remembered, so that what comes back goes to the
call that it came from. What a comparison, a length or a type says of a value is no longer the value.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.meaning import RUNNERS, Own
from vramguard.link.code.parts import SAVERS, after, placed
from vramguard.link.code.program import Ref
from vramguard.link.code.reached import Edge, Reached, State
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.link.code.handovers import Handovers
    from vramguard.link.code.meaning import Meanings
    from vramguard.link.code.program import Routine
    from vramguard.source.graph import Node

__all__ = ["SPENT", "Edge", "Flow", "Reached", "State"]

_MOST: Final = 4000  # places that one value is followed to
_WHOLE: Final = 400_000  # places that all values of a program are followed to; after that
_FEW: Final = 60  # each of the others, so that a program's every call of a model costs no whole walk
_DEEP: Final = 4  # calls that are remembered
_CALLERS: Final = 40  # to whom a function's answer goes
# What passes a value on as it is, or as a part or a whole of it.
_PASSING: Final = frozenset({
    "join", "items", "table", "format", "or", "and", "each", "part", "enter", "grown", "binary", "unary", "global",
    "yield",
})  # fmt: skip
# Attributes that speak about an answer, not of it.
_ABOUT: Final = frozenset({
    "shape", "dtype", "device", "ndim", "size", "usage", "model", "id", "created", "status_code", "columns", "index",
    "names", "column_names", "finish_reason", "stop_reason", "prompt_tokens", "completion_tokens", "total_tokens",
    "headers", "is_cuda", "input_ids",
})  # fmt: skip
# Functions whose answer is no longer the value.
SPENT: Final = frozenset({
    "len", "type", "isinstance", "hasattr", "bool", "print", "id", "callable", "issubclass", "hash", "any", "all",
    "repr_type", "debug", "info", "warning", "error", "critical", "exception", "log", "log_metric", "log_metrics",
    "observe", "inc", "isfinite", "isnan", "isinf", "isna", "isnull", "notna", "empty_cache", "time", "startswith",
    "endswith", "is_available", "set_postfix", "count", "keys", "done", "set_description", "labels", "perf_counter",
    "isEnabledFor", "allclose", "is_file", "exists",
})  # fmt: skip


# What is written into, and read when it is whole. CPython 3.11, Lib/io.py.
_BUFFERS: Final = frozenset({"io.StringIO()", "io.BytesIO()", "_io.StringIO()", "_io.BytesIO()"})


class _Move(NamedTuple):
    """Where a use leads. `how`: same (nothing is called), into a function, back to whoever called, out to what the
    caller's argument is, or anew.
    """

    target: Ref
    how: str


class Flow:
    """Follows values through a program."""

    def __init__(self, meanings: Meanings, handovers: Callable[[], Handovers]) -> None:
        """`handovers`: what comes from function to function by other hands than a call's."""
        self.meanings = meanings
        self.program = meanings.program
        self._find_handovers = handovers
        self._known: dict[Ref, tuple[tuple[Edge, tuple[_Move, ...]], ...]] = {}
        self._called_by: dict[Routine, tuple[Ref, ...]] = {}
        self._walked = 0

    def forward(
        self,
        source: Ref,
        stops: Callable[[Edge], bool] = lambda _: False,
        *,
        by_parts: bool = False,
        by_places: bool = False,
    ) -> Reached:
        """Everywhere that a value goes. `stops`: where it goes no further, such as a validator's argument. `by_parts`:
        of an object that holds it, only what it is kept under; `by_places`: the same of tuples alone.
        """
        reached = Reached(source)
        first = State(source, ())
        reached.visit(first, None)
        pending = deque([first])
        seen = {first}
        stopped: dict[Edge, bool] = {}
        most = _MOST if self._walked < _WHOLE else _FEW
        while pending and len(seen) < most:
            state = pending.popleft()
            for edge, moves in self._steps(state.ref):
                if edge not in stopped:
                    reached.edges.append(edge)
                    stopped[edge] = stops(edge)
                part = after(edge, state.part, self._fields, self._has_fields) if by_parts else ""
                part = placed(edge, state.part) if by_places else part
                if stopped[edge] or part is None:
                    continue
                for new in self._after(moves, edge.user, state, part):
                    if new not in seen:
                        seen.add(new)
                        reached.visit(new, state, edge.user)
                        pending.append(new)
        self._walked += len(seen)
        return reached

    def _after(self, moves: tuple[_Move, ...], user: Ref, state: State, part: str) -> Iterator[State]:
        """Where moves lead from a place that was come to by some calls."""
        calls = state.calls
        for target, how in moves:
            if how == "same":
                yield State(target, calls, part)
            elif how == "into":
                yield State(target, (*calls, user)[-_DEEP:], state.part)
            elif how == "anew":
                yield State(target, (), part)
            elif how == "out":
                yield from self._written(target, calls)
            elif calls:
                yield State(calls[-1], calls[:-1], part)
            else:
                yield from (State(call, (), part) for call in self._callers(user.routine))
                yield from (State(then, (), part) for then in self._handovers.answers.get(user.routine, ()))

    def _written(self, buffer: Ref, calls: tuple[Ref, ...]) -> Iterator[State]:
        """A buffer that was written into, in the function that made it: a parameter is what the callers handed over."""
        pending = [(buffer, calls)]
        for place, by in pending:
            if place.node.op != "param":
                yield State(place, by)
                continue
            for call in by[-1:] or self._callers(place.routine):
                given = self._argument(call, place)
                if given is not None and len(pending) < _CALLERS:
                    pending.append((given, by[:-1]))

    def _argument(self, call: Ref, parameter: Ref) -> Ref | None:
        """The argument of a call that becomes a parameter."""
        for position in range(1, len(call.node.inputs)):
            if parameter in self._parameters(Edge(call, call, position), parameter.routine):
                return call.to(call.node.inputs[position])
        return None

    def is_buffer(self, ref: Ref) -> bool:
        """Whether something is a file in memory."""
        return not _BUFFERS.isdisjoint(self.meanings.paths(ref))

    def _into_buffers(self, edge: Edge) -> Iterator[_Move]:
        """`print(x, file=buffer)`, `json.dump(x, buffer)`, `image.save(buffer)`: the buffer holds it from there on."""
        call, base = edge.user, edge.user.to(edge.user.node.inputs[0])
        if not SAVERS.isdisjoint(self.meanings.called(call)):
            return
        others = [one for place, one in enumerate(call.node.inputs) if place not in (0, edge.position)]
        others += base.node.inputs[:1] if base.node.op == "attr" and edge.position else ()
        for held in map(call.to, others):
            if held.node.op not in ("const", "table", "items") and self.is_buffer(held):
                yield _Move(held, "out")

    @cached_property
    def _fields(self) -> frozenset[str]:
        """Names of attributes that the repository's objects have."""
        found = set(self.program.stores)
        for routine in list(self.program.routines()):
            if routine.function.kind == "class":
                found.update(routine.function.nodes[number].name for number in routine.all_of("field"))
        return frozenset(found)

    def _has_fields(self, call: Ref) -> bool:
        """Whether a call makes an object whose attributes are its keywords: of a class without a constructor."""
        found = self.meanings.of(call.to(call.node.inputs[0]))
        owners = [one.routine for one in found if isinstance(one, Own) and one.kind == "class" and one.routine]
        return bool(owners) and not any(list(self.meanings.run(Own("class", one))) for one in owners)

    @cached_property
    def _handovers(self) -> Handovers:
        return self._find_handovers()

    def _steps(self, ref: Ref) -> tuple[tuple[Edge, tuple[_Move, ...]], ...]:
        """The uses of what stands at a place, and where each leads, whoever called."""
        if ref not in self._known:
            self._known[ref] = tuple(self._uses(ref))
        return self._known[ref]

    def _uses(self, ref: Ref) -> Iterator[tuple[Edge, tuple[_Move, ...]]]:
        nodes = ref.routine.function.nodes
        for number in ref.routine.users.get(ref.number, ()):
            for position, inner in enumerate(nodes[number].inputs):
                if inner == ref.number:
                    edge = Edge(ref, ref.to(number), position)
                    yield edge, tuple(self._taken(edge))
        for held in self._named(ref):
            yield Edge(ref, held, NONE), (_Move(held, "same"),)

    def _named(self, ref: Ref) -> Iterator[Ref]:
        """Reads, in functions inside, of a name that holds the value."""
        for name in _names(ref.routine).get(ref.number, ()):
            for routine in self._inside(ref.routine):
                yield from (Ref(routine, number) for number in _reads(routine).get(name, ()))

    def _inside(self, routine: Routine) -> tuple[Routine, ...]:
        kept = routine.__dict__.get("functions_inside")
        if kept is None:
            kept = routine.__dict__["functions_inside"] = tuple(self.program.inside(routine))
        found: tuple[Routine, ...] = kept
        return found

    def _callers(self, routine: Routine) -> tuple[Ref, ...]:
        """Whoever runs a function."""
        if routine not in self._called_by:
            handed = self.meanings.handed.get(routine, ())[:_CALLERS]
            self._called_by[routine] = (*handed, *self.meanings.callers(routine)[:_CALLERS])
        return self._called_by[routine]

    def _taken(self, edge: Edge) -> Iterator[_Move]:
        user, node = edge.user, edge.user.node
        if node.op in _PASSING and (node.op, node.name) != ("unary", "not"):
            yield _Move(user, "same")
            if node.op == "yield":
                yield _Move(user, "back")
            elif node.op == "global":
                yield from (_Move(found, "anew") for found in self._reads_of_global(user))
        elif _is_part(node, edge.position):
            yield _Move(user, "same")
        elif node.op == "store" and edge.position == 1:
            yield from (_Move(found, "anew") for found in self._reads_of_attribute(user))
        elif node.op == "setitem" and edge.position == 2:  # noqa: PLR2004 - base, key, value
            yield from (_Move(found, "anew") for found in self._reads_of_item(user))
        elif node.op == "return":
            yield _Move(user, "back")
        elif node.op == "call":
            yield from self._called(edge)

    def _called(self, edge: Edge) -> Iterator[_Move]:
        user, node = edge.user, edge.user.node
        function = user.to(node.inputs[0])
        last = function.node.name.rpartition(".")[2]
        own = self.meanings.routines(user)
        yield from self._into_buffers(edge) if not own else ()
        if edge.position == 0:
            if last not in SPENT:
                yield _Move(user, "same")
            return
        yield from (_Move(one, "anew") for one in self._handovers.given.get(user, {}).get(edge.position, ()))
        if own:
            yield from self._entered(edge, own)
        elif last in RUNNERS:
            yield from self._run_elsewhere(edge)
        elif last not in SPENT:
            yield _Move(user, "same")

    def _entered(self, edge: Edge, own: tuple[Routine, ...]) -> Iterator[_Move]:
        """An argument becomes a parameter of the repository's functions; what makes an object gives it too."""
        user = edge.user
        entered = False
        for routine in own:
            again = routine is user.routine  # what comes back from a recursion goes to whoever called first
            for target in self._parameters(edge, routine):
                entered = True
                yield _Move(target, "same" if again else "into")
            if again:
                yield _Move(user, "same")
        function = user.to(user.node.inputs[0])
        if not entered or any(isinstance(one, Own) and one.kind == "class" for one in self.meanings.of(function)):
            yield _Move(user, "same")

    def _run_elsewhere(self, edge: Edge) -> Iterator[_Move]:
        """`run_in_executor(None, predict, x)`: x becomes a parameter of predict."""
        user = edge.user
        found = False
        for place, number in enumerate(user.node.inputs[1:], 1):
            for one in self.meanings.of(user.to(number)):
                if (
                    isinstance(one, Own)
                    and one.kind == "function"
                    and one.routine is not None
                    and place < edge.position
                ):
                    parameters = [one for one in _positional(one.routine) if one != "self"]
                    index = edge.position - place - 1
                    if index < len(parameters):
                        found = True
                        yield _Move(_parameter(one.routine, parameters[index]), "into")
        if not found:
            yield _Move(user, "same")

    def _parameters(self, edge: Edge, routine: Routine) -> Iterator[Ref]:
        """The parameters that an argument becomes."""
        node = edge.user.node
        keyword = node.keywords[edge.position - 1]
        names = _positional(routine)
        method = self.program.parent(routine).function.kind == "class" and names[:1] in (["self"], ["cls"])
        if keyword and keyword not in ("*", "**"):
            rest = [one.name for one in routine.function.parameters if one.stars == 2]  # noqa: PLR2004
            known = any(one.name == keyword for one in routine.function.parameters)
            targets = [keyword] if known else rest
        elif keyword:
            targets = names[1:] if method else names
        else:
            index = sum(1 for word in node.keywords[: edge.position - 1] if not word) + method
            rest = [one.name for one in routine.function.parameters if one.stars == 1]
            targets = [names[index]] if index < len(names) else rest
        yield from (_parameter(routine, name) for name in targets)

    def _reads_of_global(self, user: Ref) -> Iterator[Ref]:
        module = user.routine.module
        for number in range(len(module.functions)):
            routine = self.program.routine(module, number)
            yield from (Ref(routine, read) for read in _reads(routine).get(user.node.name, ()))

    def _reads_of_attribute(self, user: Ref) -> Iterator[Ref]:
        """Reads of `self.x` in the methods of the class that put something there."""
        owner = self.program.owner(user.routine)
        base = user.to(user.node.inputs[0])
        if owner is None or not self.meanings.is_self(base, owner):
            return
        for routine in self.program.inside(owner):
            for number in _attributes(routine).get(user.node.name, ()):
                target = Ref(routine, routine.function.nodes[number].inputs[0])
                if self.meanings.is_self(target, owner):
                    yield Ref(routine, number)

    def _reads_of_item(self, user: Ref) -> Iterator[Ref]:
        """Reads of a table of the module that a function put something into."""
        base = user.to(user.node.inputs[0])
        if base.node.op == "name":
            module = user.routine.module
            for number in range(len(module.functions)):
                routine = self.program.routine(module, number)
                yield from (
                    Ref(routine, read)
                    for read in _reads(routine).get(base.node.name, ())
                    if routine is not user.routine
                )


def _is_part(node: Node, position: int) -> bool:
    """Whether an attribute, an item or a choice is still the value, or a part of it."""
    if node.op == "attr":
        return node.name not in _ABOUT
    return (node.op == "item" and position == 0) or (node.op == "if" and position > 0)


def _names(routine: Routine) -> dict[int, list[str]]:
    """For each node of a function the names that it is kept in."""
    kept = routine.__dict__.get("names_of")
    if kept is None:
        kept = routine.__dict__["names_of"] = {}
        for name, numbers in routine.function.names.items():
            for number in numbers:
                kept.setdefault(number, []).append(name)
    found: dict[int, list[str]] = kept
    return found


def _reads(routine: Routine) -> dict[str, list[int]]:
    """The nodes of a function that read a name from around it."""
    return _by_name(routine, "name")


def _attributes(routine: Routine) -> dict[str, list[int]]:
    return _by_name(routine, "attr")


def _by_name(routine: Routine, op: str) -> dict[str, list[int]]:
    kept = routine.__dict__.setdefault("by_name", {})
    if op not in kept:
        found: dict[str, list[int]] = {}
        for number, node in enumerate(routine.function.nodes):
            if node.op == op:
                found.setdefault(node.name, []).append(number)
        kept[op] = found
    table: dict[str, list[int]] = kept[op]
    return table


def _positional(routine: Routine) -> list[str]:
    return [one.name for one in routine.function.parameters if not one.stars]


def _parameter(routine: Routine, name: str) -> Ref:
    number = next(n for n, node in enumerate(routine.function.nodes) if node.op == "param" and node.name == name)
    return Ref(routine, number)
