"""Handlers of exceptions around the validation of a model's answer that go on as if nothing had been refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step, Swallowed
from vramguard.link.code.outputs import Way, joined
from vramguard.link.code.program import Ref
from vramguard.link.code.spelling import spelled
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.outputs import Outputs
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_FAILED: Final = 400  # statuses from here on say that something went wrong
_ANYTHING: Final = frozenset({"Exception", "BaseException", "StandardError"})
_REFUSALS: Final = (
    "ValidationError", "ValueError", "AssertionError", "SchemaError", "SchemaErrors", "OutputParserException",
)  # fmt: skip
_SAYING: Final = (
    "error", "fail", "abort", "reject", "exception", "retry", "fallback", "invalid", "unpars", "unknown", "refus",
    "warn",
)  # fmt: skip
_ACTS: Final = ("raise", "store", "setitem", "return", "yield", "global")
_QUIET: Final = ("ui", "bot", "batch")  # a person who reads that the answer was refused has been told


class Handlers:
    """Looks at the handlers of the functions that an answer comes through."""

    def __init__(self, outputs: Outputs) -> None:
        self.outputs = outputs
        self.code = outputs.code
        self._tries: dict[Routine, tuple[tuple[int, int], ...]] = {}

    def swallowed(self) -> Iterator[Swallowed]:
        """Every handler that goes on, once."""
        seen: set[tuple[str, int]] = set()
        ways: dict[Ref, list[Way]] = {}
        for way in self.outputs.ways():
            ways.setdefault(way.output, []).append(way)
        for call, row, reached in self.outputs.flows:
            here: dict[Routine, list[Edge]] = {}
            for edge in reached.edges:
                if self._handlers(edge.user.routine):
                    here.setdefault(edge.user.routine, []).append(edge)
            for routine, edges in here.items():
                for found in self._of(call, row, reached, edges, ways.get(call, [])):
                    key = routine.path, found.at.line
                    if key not in seen:
                        seen.add(key)
                        yield found

    def _handlers(self, routine: Routine) -> tuple[tuple[int, int], ...]:
        """The handlers of a function, each with its `try`."""
        if routine not in self._tries:
            self._tries[routine] = tuple(handlers(routine))
        return self._tries[routine]

    def _of(self, call: Ref, row: Row, reached: Reached, edges: list[Edge], ways: list[Way]) -> Iterator[Swallowed]:
        routine = edges[0].user.routine
        for attempt, handler in self._handlers(routine):
            caught = self._caught(routine, handler)
            inside = [edge for edge in edges if attempt in routine.blocks[edge.user.node.block]]
            asked = next((edge for edge in inside if self._asks(edge, reached, caught)), None) if caught else None
            if asked is None or self._is_inside(routine, attempt, asked):
                continue
            how = self._how(attempt, handler, reached, edges, ways, broad=bool(caught & _ANYTHING))
            if how:
                way = Way(call, row, reached, asked.value, asked.user, None, None)
                steps = self.outputs.steps(way)[:-1]
                validator = self.code.written(asked.user) if asked.user.node.op == "call" else spelled(asked.user)
                at = Location(routine.path, routine.function.blocks[handler].line)
                tried = Step(asked.user.at, f"`{validator}` may refuse it")
                words = ", ".join(sorted(caught - {""})) or "anything"
                yield Swallowed(
                    at, how, words, validator, self.code.name(routine), self.outputs.output(way), (*steps, tried)
                )

    def _is_inside(self, routine: Routine, attempt: int, asked: Edge) -> bool:
        """Whether another `try` stands between, whose handlers are asked first."""
        for one in routine.blocks[asked.user.node.block]:
            if one == attempt:
                return False
            if any(other == one for other, _ in self._handlers(routine)):
                return True
        return False

    def _caught(self, routine: Routine, handler: int) -> frozenset[str]:
        """The names of what a handler catches; `Exception` for anything."""
        function = routine.function
        test = function.blocks[handler].test
        if test == NONE:
            return frozenset({"Exception"})
        node = function.nodes[test]
        nodes = [function.nodes[number] for number in node.inputs] if node.op == "items" else [node]
        return frozenset(one.name.rpartition(".")[2] for one in nodes)

    def _asks(self, edge: Edge, reached: Reached, caught: frozenset[str]) -> bool:
        """Whether a place asks something of the answer, and raises what is caught."""
        user = edge.user
        known = bool(caught & _ANYTHING) or any(name.endswith(_REFUSALS) for name in caught)
        if user.node.op == "call" and edge.position > 0:
            validator = self.code.row("validator", user)
            if known and validator is not None and not validator.get("answers") and not validator.get("patches"):
                return True
            if known and self.outputs.models.made(user) is not None:
                return True
            return any(
                guard.leaves == "raise" and guard.kind in ("finite", "bounds", "member", "text", "schema")
                and (known or self._raised(guard.test.routine) & caught)
                for guard in self.code.guards.refusing(user, reached.values(user.routine))
            )  # fmt: skip
        return user.node.op == "compare" and self._raises(user, caught)

    @staticmethod
    def _raised(routine: Routine) -> frozenset[str]:
        """The names of what a function raises."""
        nodes = routine.function.nodes
        found: set[str] = set()
        for number in routine.all_of("raise"):
            node = nodes[nodes[number].inputs[0]] if nodes[number].inputs else None
            if node is not None:
                found.add((nodes[node.inputs[0]] if node.op == "call" else node).name.rpartition(".")[2])
        return frozenset(found)

    def _raises(self, test: Ref, caught: frozenset[str]) -> bool:
        """`if not 0 < price < limit: raise ValueError(…)`"""
        routine = test.routine
        function = routine.function
        for number in routine.all_of("raise"):
            block = function.blocks[function.nodes[number].block]
            if block.kind in ("if", "else") and self.code.guards.about(
                Ref(routine, block.test), frozenset({test.number})
            ):
                return bool(caught & (_ANYTHING | self._raised(routine)))
        return False

    def _how(
        self, attempt: int, handler: int, reached: Reached, edges: list[Edge], ways: list[Way], *, broad: bool
    ) -> str:
        """How a handler goes on; empty where it refuses."""
        routine = edges[0].user.routine
        function = routine.function
        inside = [n for n, node in enumerate(function.nodes) if handler in routine.blocks[node.block]]
        if any(function.nodes[number].op == "raise" for number in inside):
            return ""
        values = reached.values(routine)
        through = [way for way in ways if any(ref.routine is routine for ref in way.path)]
        given = [Ref(routine, n).to(function.nodes[n].inputs[0]) for n in inside
                 if function.nodes[n].op in ("return", "yield") and function.nodes[n].inputs]  # fmt: skip
        for value in given:
            if self._is_failure(value):
                return ""
            if self.code.guards.about(value, values) and through:
                return "raw"
            if not broad and self._is_text(value) and self._is_told(through):
                return "text"
        if not given and not function.blocks[handler].leaves:
            acts = [function.nodes[n] for n in inside if function.nodes[n].op in _ACTS]
            bound = {number for numbers in function.names.values() for number in numbers}
            binds = any(n in bound and function.nodes[n].op not in ("caught", "import") for n in inside)
            if not acts and not binds and through and self._goes_on(routine, attempt, edges):
                return "passes"
        return ""

    def _is_failure(self, value: Ref) -> bool:
        """Whether what is answered says by its status, or by its name, that something went wrong."""
        node = value.node
        nodes = value.routine.function.nodes
        if node.op == "items":
            return any(_is_status(nodes[number].name) or "HTTP_" in nodes[number].name for number in node.inputs[1:])
        if node.op == "call":
            statuses = [number for word, number in node.arguments() if word in ("status", "status_code", "code")]
            if any(_is_status(nodes[number].name) or nodes[number].op != "const" for number in statuses):
                return True
            name = self.code.written(value).lower()
            return any(word in name for word in _SAYING)
        return False

    def _is_text(self, value: Ref, depth: int = 0) -> bool:
        """A text that is written here, or a list or a model of the repository that holds one."""
        node = value.node
        if node.op == "const":
            return node.name[:1] in "'\"" and len(node.name) > 3  # noqa: PLR2004 - more than one letter
        if node.op in ("format", "binary"):
            return any(self._is_text(inner, depth + 1) for inner in value.inputs()) if depth < 3 else False  # noqa: PLR2004
        if node.op == "items":
            return bool(node.inputs) and all(self._is_text(inner, depth + 1) for inner in value.inputs())
        if node.op == "call" and self.code.own_class(value) is not None:
            made = self.outputs.models.made(value)
            return made is not None and any(self._is_text(inner, depth + 1) for inner in value.inputs())
        return False

    @staticmethod
    def _is_told(through: list[Way]) -> bool:
        """Whether a program, not a person, gets the text in place of an answer."""
        return bool(through) and not any(way.surface is not None and way.surface.kind in _QUIET for way in through)

    def _goes_on(self, routine: Routine, attempt: int, edges: list[Edge]) -> bool:
        """Whether the answer leaves the function behind a `try`, by a value that was there before it."""
        for edge in edges:
            leaves = edge.user.node.op in ("return", "yield") or (
                edge.user.node.op == "call" and edge.position > 0 and self.code.row("sink", edge.user) is not None
            )
            behind = edge.user.number > max(
                (n for n, node in enumerate(routine.function.nodes) if attempt in routine.blocks[node.block]), default=0
            )
            if leaves and behind and not self._needs(routine, attempt, edge.value.number):
                return True
        return False

    @staticmethod
    def _needs(routine: Routine, attempt: int, number: int) -> bool:
        """Whether a value is made of something that only the `try` makes."""
        nodes = routine.function.nodes
        pending, seen = [number], set[int]()
        while pending:
            one = pending.pop()
            if one == NONE or one in seen:
                continue
            seen.add(one)
            if attempt in routine.blocks[nodes[one].block]:
                return True
            pending += nodes[one].inputs
        return False


def handlers(routine: Routine) -> Iterator[tuple[int, int]]:
    """The handlers of a function, each behind the block of its `try`."""
    last: dict[int, int] = {}
    for number, block in enumerate(routine.function.blocks):
        if block.kind == "try":
            last[block.parent] = number
        elif block.kind == "except" and block.parent in last:
            yield last[block.parent], number


def _is_status(text: str) -> bool:
    return text.isdigit() and int(text) >= _FAILED


def swallowed(facts: Facts) -> tuple[Swallowed, ...]:
    """Every handler that goes on behind a refusal."""
    return facts.once("swallowed-validations", lambda facts: tuple(Handlers(joined(facts)).swallowed()))
