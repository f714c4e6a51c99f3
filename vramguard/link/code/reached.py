"""Where a value has come to, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.program import Ref, Routine

if TYPE_CHECKING:
    from collections.abc import Mapping


_NOWHERE: Final[frozenset[Routine]] = frozenset()


class Edge(NamedTuple):
    """A value and the node that takes it as an input, at that position."""

    value: Ref
    user: Ref
    position: int


class State(NamedTuple):
    """A place that a value came to: by which calls, and under which part of what stands there it is kept."""

    ref: Ref
    calls: tuple[Ref, ...]
    part: str = ""


@dataclass
class Reached:
    """All the places that a value went to, each with the one before it."""

    source: Ref
    edges: list[Edge] = field(default_factory=list)
    _before: dict[State, State | None] = field(default_factory=dict)
    _through: dict[State, Ref] = field(default_factory=dict)
    _states: dict[Ref, list[State]] = field(default_factory=dict)
    _values: dict[Routine, set[int]] = field(default_factory=dict)  # of so many states
    _counted: int = 0

    def path(self, last: Ref, state: State | None = None) -> list[Ref]:
        """The way from the source to a place, both included, with the acts that lead out of functions and into them;
        the first that was found, or the one to a state.
        """
        found = [last]
        place = self._states[last][0] if state is None else state
        while (before := self._before[place]) is not None:
            act = self._through.get(place)
            if act is not None and act != place.ref:
                found.append(act)
            found.append(before.ref)
            place = before
        return found[::-1]

    def states(self, ref: Ref) -> list[State]:
        """All that is known of how the value came to a place."""
        return self._states.get(ref, [])

    def values(self, routine: Routine) -> frozenset[int]:
        """The nodes of a function that hold the value."""
        if self._counted != len(self._states):  # more was reached since
            self._counted = len(self._states)
            self._values = {}
            for ref in self._states:
                self._values.setdefault(ref.routine, set()).add(ref.number)
        return frozenset(self._values.get(routine, ()))

    def along(self, last: State) -> Mapping[Routine, frozenset[int]]:
        """The nodes that hold the value as it came to a state: those on the way there, and what is made of them."""
        on: set[State] = set()
        place: State | None = last
        while place is not None:
            on.add(place)
            place = self._before[place]
        routines = {state.ref.routine for state in on}
        found: dict[Routine, set[int]] = {routine: set() for routine in routines}
        known: dict[State, frozenset[Routine]] = {}
        for state, before in self._before.items():  # each after the one before it
            here = known[before] if before is not None else _NOWHERE
            if state in on and state.ref.routine not in here:
                here |= {state.ref.routine}
            known[state] = here
            if state.ref.routine in here:
                found[state.ref.routine].add(state.ref.number)
        return {routine: frozenset(numbers) for routine, numbers in found.items()}

    def visit(self, state: State, before: State | None, through: Ref | None = None) -> None:
        """Note that the value came to a place."""
        if state not in self._before:
            self._before[state] = before
            self._states.setdefault(state.ref, []).append(state)
            if through is not None:
                self._through[state] = through

    def __contains__(self, ref: object) -> bool:
        return ref in self._states

    @property
    def routines(self) -> frozenset[Routine]:
        """The functions that the value came through."""
        return frozenset(ref.routine for ref in self._states)
