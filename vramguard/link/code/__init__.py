"""The repository's Python as one program: names, meanings, call graph, value flow; and what it says of the demands.

`Code` is the joined view that every family of facts is found in. A family is a module with
`find(code: Code) -> Iterator[Fact]`.
"""

from __future__ import annotations

from functools import cached_property
from operator import itemgetter
from typing import TYPE_CHECKING

from vramguard.facts import KnownCall
from vramguard.facts.values import UNREAD
from vramguard.link.code.addresses import addressed
from vramguard.link.code.flow import Flow
from vramguard.link.code.guards import Guards
from vramguard.link.code.handovers import handovers
from vramguard.link.code.meaning import RUNNERS, Meanings, Own
from vramguard.link.code.program import Program, Ref
from vramguard.link.code.roles import Table, packages, silent, table
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row


class Code:
    """A program and the questions that one asks of it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.program = Program(facts, packages())
        self.meanings = Meanings(self.program)
        self.flow = Flow(self.meanings, lambda: handovers(self))
        self.guards = Guards(self.meanings)
        self._known_addresses: dict[tuple[str, Ref], Row | None] = {}
        self._by_kind: dict[str, list[tuple[Ref, Row]]] = {}

    def hand_on(self, facts: Facts) -> None:
        """Be the program of further facts, which are these and some that no code says: nothing is joined again."""
        self.facts = facts
        facts.once("code", lambda _: self)

    @cached_property
    def routines(self) -> tuple[Routine, ...]:
        """Every function that is judged: not those of tests and of what others wrote."""
        judged: dict[str, bool] = {}
        found: list[Routine] = []
        for routine in self.program.routines():
            path = routine.path
            if path not in judged:
                judged[path] = self.facts.classify(path) not in UNREAD
            if judged[path]:
                found.append(routine)
        return tuple(found)

    def calls(self, kind: str) -> Iterator[tuple[Ref, Row]]:
        """Every call of which a row of that kind speaks, or the configuration."""
        if kind not in self._by_kind:
            rows = ((number, call, self._row(kind, call, paths)) for number, call, paths in self._of_interest(kind))
            self._by_kind[kind] = [(call, row) for _, call, row in sorted(rows, key=itemgetter(0)) if row is not None]
        return iter(self._by_kind[kind])

    def _of_interest(self, kind: str) -> Iterator[tuple[int, Ref, frozenset[str]]]:
        """The calls of which a row of that kind may speak, each with its number: what calls of the same thing have in
        common is asked for once.
        """
        known, configured = table(kind), kind in self._configured
        for paths, calls in self._alike.items():
            if configured or known.among(paths) is not None:
                yield from ((number, call, paths) for number, call in calls)

    @cached_property
    def _alike(self) -> dict[frozenset[str], list[tuple[int, Ref]]]:
        """The calls by the access paths of what they call."""
        found: dict[frozenset[str], list[tuple[int, Ref]]] = {}
        for number, (call, paths) in enumerate(self.called):
            found.setdefault(paths, []).append((number, call))
        return found

    def answers(self) -> Iterator[tuple[Ref, Row]]:
        """Every call whose answer is a model's, those included that hand a model to somebody who calls it:
        `pool.submit(network, x)`.
        """
        yield from self.calls("output")
        judged = set(self.routines)
        for name in sorted(RUNNERS):
            for call in self.program.calls.get(name, ()):
                given = call.node.inputs[1:3] if call.routine in judged else ()
                rows = (table("output").among(self.meanings.paths(call.to(number))) for number in given)
                row = next((row for row in rows if row is not None and not row.get("weak")), None)
                if row is not None:
                    yield call, row

    def _row(self, kind: str, call: Ref, paths: frozenset[str]) -> Row | None:
        found = table(kind).among(paths)
        if found is not None and "addresses" in found:
            return self._addressed(kind, call, found)
        return self._said(kind, call) if found is None and kind in self._configured else found

    def _addressed(self, kind: str, call: Ref, row: Row) -> Row | None:
        """A call of an HTTP client, by the address that it asks."""
        key = kind, call
        if key not in self._known_addresses:
            self._known_addresses[key] = addressed(self, call, row)
        return self._known_addresses[key]

    @cached_property
    def called(self) -> list[tuple[Ref, frozenset[str]]]:
        """Every call with the access paths of what it calls, but for methods of which no row speaks."""
        found = []
        quiet = frozenset[str]() if self._configured else silent()
        for routine in self.routines:
            nodes = routine.function.nodes
            for number in routine.all_of("call"):
                function = nodes[nodes[number].inputs[0]]
                if function.op == "attr" and function.name in quiet:
                    continue
                call = Ref(routine, number)
                paths = self.meanings.called(call)
                if paths or self._configured:
                    found.append((call, paths))
        return found

    def row(self, kind: str, call: Ref) -> Row | None:
        """What a row of that kind says of a call, or the configuration."""
        return self._row(kind, call, self.meanings.called(call))

    @cached_property
    def _configured(self) -> Mapping[str, Table]:
        """What the configuration says of calls, by kind."""
        found: dict[str, list[Row]] = {}
        for one in self.facts.of(KnownCall):
            row = {
                "call": one.call,
                "kind": one.answer if one.means == "output" else "configured",
                "checks": one.checks,
            }
            found.setdefault(one.means, []).append(row)
        return {kind: Table(rows) for kind, rows in found.items()}

    def _said(self, kind: str, call: Ref) -> Row | None:
        names = {name for routine in self.meanings.routines(call) for name in self.dotted(routine)}
        return self._configured[kind].among(self.meanings.called(call) | names)

    def dotted(self, routine: Routine) -> frozenset[str]:
        """The names by which a function of the repository is imported: `shop.pricing.price`, from whichever folder."""
        parts = routine.path.removesuffix(".py").removesuffix("/__init__").split("/")
        name = self.name(routine).replace(".__init__", "()").replace(".__call__", "()")
        return frozenset(".".join((*parts[start:], name)) for start in range(len(parts)))

    def published(self, routine: Routine) -> str | None:
        """The name of a function or class of a library that we know, where the repository is that library: a package of
        that name stands in it.
        """
        parts = routine.path.removesuffix(".py").removesuffix("/__init__").split("/")
        for start, first in enumerate(parts[:-1]):
            if f"{'/'.join(parts[: start + 1])}/__init__.py" in self.program.paths:
                known = first in self.program.foreign
                return ".".join((*parts[start:], self.name(routine))) if known else None
        return None

    def decorators(self, routine: Routine) -> Iterator[tuple[Ref, frozenset[str]]]:
        """The decorators of a function or class, each with its access paths; `()` after one that is called."""
        around = self.program.parent(routine)
        for number in routine.function.decorators:
            ref = Ref(around, number)
            if ref.node.op == "call":
                yield ref, frozenset(f"{path}()" for path in self.meanings.called(ref))
            else:
                yield ref, self.meanings.paths(ref)

    def written(self, ref: Ref) -> str:
        """What a call calls, as written; else the name of what stands there."""
        return self.meanings.written(ref) or ref.node.name or ref.node.op

    def name(self, routine: Routine) -> str:
        """A function with its class: `Server.predict`; the module's own code is `<module>`."""
        names: list[str] = []
        while routine.number:
            names.append(routine.function.name or "<lambda>")
            routine = self.program.parent(routine)
        return ".".join(reversed(names)) or "<module>"

    def own_class(self, call: Ref) -> Routine | None:
        """The class of the repository that a call makes an instance of."""
        for one in self.meanings.of(call.to(call.node.inputs[0])):
            if isinstance(one, Own) and one.kind == "class":
                return one.routine
        return None

    def argument(self, call: Ref, keyword: str, position: int = NONE) -> Ref | None:
        """The node of a call's argument; None for an absent one."""
        number = call.node.argument(keyword, position)
        return None if number == NONE else call.to(number)

    def reaches(self, routine: Routine, limit: int = 400) -> list[Routine]:
        """The functions of the repository that a function may run, itself first."""
        found = [routine]
        seen = {routine}
        for one in found:
            for number in one.all_of("call"):
                for inner in self.meanings.routines(Ref(one, number)):
                    if inner not in seen and len(found) < limit:
                        seen.add(inner)
                        found.append(inner)
        return found


def program(facts: Facts) -> Code:
    """The program of a repository, joined once."""
    return facts.once("code", Code)
