"""Guards whose refusal has no consequence: no exit, no readiness flag, no breaker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.boundaries import Refusal
from vramguard.link.code import program
from vramguard.link.code.meaning import Own
from vramguard.link.code.outputs import joined
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table, rows
from vramguard.link.code.serving import called
from vramguard.link.code.words import within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.guards import Guard
    from vramguard.link.code.outputs import Outputs, Way
    from vramguard.link.code.program import Routine

_NUMBERS: Final = ("number", "any")
# Names of what says, or decides, whether a replica serves.
_STATE: Final = re.compile(
    r"ready|readiness|healthy|health|alive|serving|broken|tripped|disabled|shut|quarantin|degraded|poisoned|bypass|failed_over"
    r"|stop|kill|circuit|breaker",
    re.IGNORECASE,
)
_PLACES: Final = frozenset({"find", "rfind", "index", "rindex", "count"})
_SETTING: Final = ("set", "clear", "open", "trip", "record_failure", "fail", "disable", "shutdown")


def refusals(facts: Facts) -> tuple[Refusal, ...]:
    """Every guard of a number on its way to people that only refuses."""
    return facts.once("refusals", lambda facts: tuple(_refusals(program(facts), joined(facts))))


def _refusals(code: Code, outputs: Outputs) -> Iterator[Refusal]:
    seen: set[Ref] = set()
    consequences = Consequences(code)
    for way in outputs.ways():
        if way.row["kind"] not in _NUMBERS or consequences.counted(way):
            continue
        for guard in outputs.guards(way):
            if (
                guard.kind in ("finite", "bounds")
                and guard.form != "assert"
                and guard.test not in seen
                and guard.excludes
                and not _is_place(guard.test)
            ):
                seen.add(guard.test)
                if not consequences.of(way, guard):
                    yield Refusal(
                        guard.at,
                        code.written(guard.test),
                        code.written(way.output),
                        code.name(guard.test.routine),
                        guard.excludes,
                        outputs.fields(way),
                        outputs.steps(way),
                    )


def _is_place(test: Ref) -> bool:
    """`text.find("{") >= 0`: where something stands in a text is no number that a model answered."""
    return any(one.node.op == "call" and called(one) in _PLACES for one in within(test))


class Consequences:
    """What follows from a refusal."""

    def __init__(self, code: Code) -> None:
        self.code = code
        exits = rows().get("exit", ())
        self._raised = Table(exits, "raises")
        self._assigned = Table(exits, "assigned")
        self._known: dict[Routine, bool] = {}

    def of(self, way: Way, guard: Guard) -> bool:
        """Whether a refusal ends the process, takes it out of service, or trips a breaker."""
        routine = guard.test.routine
        blocks = {
            number
            for number, block in enumerate(routine.function.blocks)
            if block.test == guard.test.number and block.leaves in ("raise", "return", "exit", "continue", "break")
        }
        if not blocks or any(routine.function.blocks[number].leaves == "exit" for number in blocks):
            return True  # somewhere else, or the end
        inside = [
            n for n, node in enumerate(routine.function.nodes) if not blocks.isdisjoint(routine.blocks[node.block])
        ]
        return any(self._is_one(Ref(routine, number)) for number in inside) or self._caught(way, routine, inside)

    def counted(self, way: Way) -> bool:
        """Whether a breaker counts what fails on a way: a decorator, or a call that it makes itself."""
        breakers = Table(rows().get("breaker", ()), "call")
        decorators = Table(rows().get("breaker", ()), "decorator")
        for routine in {ref.routine for ref in way.path}:
            for _, paths in self.code.decorators(routine):
                if decorators.among(paths) is not None or breakers.among(paths) is not None:
                    return True
        return any(ref.node.op == "call" and self.code.row("breaker", ref) is not None for ref in way.path)

    def _is_one(self, ref: Ref) -> bool:
        node = ref.node
        if node.op in ("store", "global"):
            return _STATE.search(node.name) is not None or self._assigned.among(self._target(ref)) is not None
        if node.op == "setitem":
            key = ref.to(node.inputs[1]).node.name
            return (
                _STATE.search(key) is not None or _STATE.search(self.code.written(ref.to(node.inputs[0]))) is not None
            )
        if node.op == "raise" and node.inputs:
            return (
                self._raised.among(self.code.meanings.called(ref.to(node.inputs[0])) if self._is_call(ref) else ())
                is not None
            )
        return node.op == "call" and self._runs(ref)

    def _target(self, ref: Ref) -> frozenset[str]:
        if ref.node.op != "store":
            return frozenset()
        return frozenset(f"{path}.{ref.node.name}" for path in self.code.meanings.paths(ref.to(ref.node.inputs[0])))

    @staticmethod
    def _is_call(ref: Ref) -> bool:
        return ref.to(ref.node.inputs[0]).node.op == "call"

    def _runs(self, call: Ref) -> bool:
        if self.code.row("exit", call) is not None:
            return True
        base, _, last = self.code.written(call).rpartition(".")
        if last in _SETTING and _STATE.search(base):
            return True
        return any(self._ends(routine) for routine in self.code.meanings.routines(call))

    def _ends(self, routine: Routine) -> bool:
        """Whether a function of the repository has a consequence, whenever it runs."""
        if routine not in self._known:
            self._known[routine] = False  # while it is looked for
            self._known[routine] = any(self._is_one(Ref(routine, n)) for n in range(len(routine.function.nodes)))
        return self._known[routine]

    def _caught(self, way: Way, routine: Routine, inside: list[int]) -> bool:
        """Whether whoever catches what is raised draws the consequence: a handler on the way, or the application's."""
        raised = [Ref(routine, n) for n in inside if routine.function.nodes[n].op == "raise"]
        if not raised:
            return False
        if any(self._handled(ref) for ref in {*way.path, *raised}):
            return True
        classes = {one.routine for ref in raised for one in self._classes(ref)}
        return any(self._ends(handler) for handler in self._handlers(classes))

    def _handled(self, ref: Ref) -> bool:
        """Whether a handler around a place has a consequence."""
        function = ref.routine.function
        handlers = frozenset(ref.routine.handlers(ref.node.block))
        nodes = function.nodes if handlers else ()
        return any(
            not handlers.isdisjoint(ref.routine.blocks[node.block]) and self._is_one(ref.to(number))
            for number, node in enumerate(nodes)
        )

    def _classes(self, ref: Ref) -> Iterator[Own]:
        if ref.node.inputs:
            given = ref.to(ref.node.inputs[0])
            target = given.to(given.node.inputs[0]) if given.node.op == "call" else given
            yield from (one for one in self.code.meanings.of(target) if isinstance(one, Own) and one.kind == "class")

    def _handlers(self, classes: set[Routine | None]) -> Iterator[Routine]:
        """Functions that an application calls for exceptions: `@app.exception_handler(Broken)`."""
        for routine in self.code.routines:
            for ref, paths in self.code.decorators(routine):
                if any(path.rstrip("()").endswith(("exception_handler", "errorhandler")) for path in paths):
                    given = ref.node.argument("", 0) if ref.node.op == "call" else NONE
                    named = self.code.meanings.of(ref.to(given)) if given != NONE else ()
                    if any(not isinstance(one, Own) or one.routine in classes for one in named):
                        yield routine
