"""What a `try` runs and what its handlers do, and whether a function asks a model or the network."""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.program import Ref
from vramguard.link.code.serving import called
from vramguard.link.code.timeouts import waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_MOST: Final = 200  # tries of one function
_PIPES: Final = frozenset({"pipeline", "pipe"})  # of Redis as well
_ASKED: tuple[str | None, ...] = (None, "grpc", "client", "document", "crawl", "registry")  # kinds of fetches


class Attempt(NamedTuple):
    """A `try` and its handlers, as blocks of a function."""

    routine: Routine
    block: int
    handlers: tuple[int, ...]

    def calls(self, block: int) -> Iterator[Ref]:
        """The calls that stand in a block, or in those inside of it."""
        nodes, blocks = self.routine.function.nodes, self.routine.blocks
        return (Ref(self.routine, n) for n in self.routine.all_of("call") if block in blocks[nodes[n].block])


class Attempts:
    """The tries of a program, and who asks models and the network."""

    def __init__(self, facts: Facts) -> None:
        self.waits = waits(facts)
        self.serving = self.waits.serving
        self.code = self.serving.code
        self._asks: dict[Routine, tuple[Ref, tuple[Ref, ...]] | None] = {}
        self._closures: dict[Routine, frozenset[Routine]] = {}

    def of(self, routine: Routine) -> Iterator[Attempt]:
        """The tries of a function that have handlers."""
        found: dict[int, list[int]] = {}
        last: dict[int, int] = {}
        for number, block in enumerate(routine.function.blocks):
            if block.kind == "try" and len(last) < _MOST:
                last[block.parent] = number
            elif block.kind == "except" and block.parent in last:
                found.setdefault(last[block.parent], []).append(number)
        pairs = itertools.islice(found.items(), _MOST)
        return (Attempt(routine, number, tuple(handlers)) for number, handlers in pairs)

    @cached_property
    def models(self) -> Mapping[Ref, Row]:
        """The calls of models."""
        found = ((call, row) for call, row in self.code.calls("output") if row["kind"] != "vector")
        return {call: row for call, row in found if not row.get("weak") or called(call) not in _PIPES}

    @cached_property
    def asked(self) -> Mapping[Routine, list[Ref]]:
        """The calls of models and of the network, by their functions."""
        found: dict[Routine, list[Ref]] = {}
        for call in self.models:
            found.setdefault(call.routine, []).append(call)
        for call, row in self.code.calls("fetch"):
            unknown = all(path.startswith("?") for path in self.code.meanings.called(call))
            if row.get("kind") in _ASKED and not unknown:
                found.setdefault(call.routine, []).append(call)
        return found

    def asks(self, routine: Routine) -> tuple[Ref, tuple[Ref, ...]] | None:
        """A call of a model or of the network that a function comes to, and the calls that lead there."""
        if routine not in self._asks:
            self._asks[routine] = self._found(routine)
        return self._asks[routine]

    def closure(self, routine: Routine) -> frozenset[Routine]:
        """The functions that one runs, itself among them."""
        if routine not in self._closures:
            self._closures[routine] = frozenset(self.serving.reached(routine))
        return self._closures[routine]

    def _found(self, routine: Routine) -> tuple[Ref, tuple[Ref, ...]] | None:
        for inner, trail in self.serving.reached(routine).items():
            for call in self.asked.get(inner, ()):
                return call, trail
        return None

    def of_model(self, call: Ref) -> Ref | None:
        """The call of a model that a call is, or comes to through functions of the repository."""
        if call in self.models:
            return call
        for routine in self.code.meanings.routines(call):
            if self.code.own_class(call) is not None:
                continue
            found = (one for inner in self.serving.reached(routine) for one in self.asked.get(inner, ()))
            model = next((one for one in found if one in self.models), None) if self.asks(routine) else None
            if model is not None:
                return model
        return None


def attempts(facts: Facts) -> Attempts:
    """The tries of a repository, joined once."""
    return facts.once("attempts", Attempts)
