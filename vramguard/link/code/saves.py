"""Hand-written training loops, the saves that they come to, and the checks that stand before these."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.saves import FiniteCheck, Save, TrainingLoop
from vramguard.link.code import program
from vramguard.link.code.acts import Acts
from vramguard.link.code.finite import Finite, around
from vramguard.link.code.places import origins
from vramguard.link.code.program import Ref, Routine
from vramguard.link.code.reading import parts
from vramguard.link.code.saved import Saved
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.roles import Row

_LEVELS: Final = 6  # of callers above a step
_CALLERS: Final = 12
_DEEP: Final = 4  # calls from a loop to a save
_CHAIN: Final = 60  # calls in a row
_REACH: Final = 60  # functions that are asked whether they refuse
_LOOPS: Final = ("for", "while")
_RESTORES: Final = ("load_state_dict", "set_weights", "load_weights", "set_params")
_BY_NAME: Final = ("save_pretrained", "push_to_hub")  # saves, whosever class has the method


@dataclass(frozen=True)
class _Site:
    """A place of a function where weights change: the step itself, or the call that leads to it. `below`: that way."""

    ref: Ref
    step: Ref
    below: tuple[Ref, ...] = ()

    @property
    def routine(self) -> Routine:
        return self.ref.routine


@dataclass
class _Loop:
    """One loop: where it begins, and the sites in it."""

    routine: Routine
    block: int
    sites: list[_Site] = field(default_factory=list)

    @property
    def at(self) -> Location:
        return Location(self.routine.path, self.routine.function.blocks[self.block].line)


@dataclass(frozen=True)
class _Way:
    """A way from a loop's function, or from one that calls it, to a save. `calls`: those on it, outermost first."""

    calls: tuple[Ref, ...]
    save: Ref

    @property
    def places(self) -> Iterator[tuple[Ref, tuple[Ref, ...]]]:
        """Each place on the way with the calls by which its function was entered."""
        for number, ref in enumerate((*self.calls, self.save)):
            yield ref, self.calls[:number]


class Saves:
    """The training loops of a program."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.finite = Finite(code)
        self.acts = Acts(code, self.finite)
        self.saved = Saved(code, self.finite)
        self._judged = frozenset(code.routines)
        self._saves: dict[Routine, list[Ref]] = defaultdict(list)
        for call, row in code.calls("save"):
            if self.saved.may_be(call, row):
                self._saves[call.routine].append(call)
        for name in _BY_NAME:
            for call in code.program.calls.get(name, ()):
                if call.routine in self._judged and call not in self._saves[call.routine] and self.saved.is_own(call):
                    self._saves[call.routine].append(call)
        self._leading: dict[Routine, bool] = {}
        self._reached: dict[Routine, list[Routine]] = {}

    def loops(self) -> Iterator[TrainingLoop]:
        """Every loop that changes weights and comes to a save."""
        if not self._saves:
            return
        for loop in self._found():
            step = loop.sites[0].step
            for saves in self._levels(loop):
                yield TrainingLoop(loop.at, self.code.name(loop.routine), self._called(step), step.at, tuple(saves))

    def _called(self, call: Ref) -> str:
        return self.finite.text(call.to(call.node.inputs[0]), 1)

    # Loops.

    def _found(self) -> Iterable[_Loop]:
        steps: dict[Routine, list[tuple[Ref, Row]]] = defaultdict(list)
        for call, row in self.code.calls("step"):
            if self._steps(call):
                steps[call.routine].append((call, row))
        found: dict[tuple[Routine, int], _Loop] = {}
        for routine, calls in steps.items():
            if any(row["kind"] == "update" for _, row in calls) or self._updates(routine):
                updates = [call for call, row in calls if row["kind"] == "update"] or [calls[0][0]]
                for call in updates:
                    self._rise(_Site(call, call), found)
        return found.values()

    def _steps(self, call: Ref) -> bool:
        """Whether what a row speaks of is a step: `session.run` only of what minimizes; schedules have steps too."""
        if any("lr_scheduler" in path for path in self.code.meanings.called(call)):
            return False
        if not any(path.endswith("Session().run") for path in self.code.meanings.called(call)):
            return True
        given = [word for number in call.node.inputs[1:2] for word in self.finite.words(call.to(number))]
        return bool({"train", "training", "minimize", "optim", "optimizer", "opt", "update"} & set(given))

    @staticmethod
    def _updates(routine: Routine) -> bool:
        """Whether something in a function is called `step`, whoever's it is."""
        nodes = routine.function.nodes
        names = (set(parts(nodes[nodes[number].inputs[0]].name)) for number in routine.all_of("call"))
        return any("step" in one and not one & {"scheduler", "sched", "profiler"} for one in names)

    def _rise(self, site: _Site, found: dict[tuple[Routine, int], _Loop]) -> None:
        """Up the calls to the first loop around."""
        pending, seen = [site], {site.routine}
        for one in pending:
            block = _outermost(one.ref)
            if block != NONE:
                loop = found.setdefault((one.routine, block), _Loop(one.routine, block))
                loop.sites.append(one)
                continue
            if len(one.below) < _LEVELS:
                for call in self._callers(one.routine):
                    if call.routine not in seen:
                        seen.add(call.routine)
                        pending.append(_Site(call, one.step, (one.ref, *one.below)))

    def _callers(self, routine: Routine) -> list[Ref]:
        found = self.code.meanings.callers(routine)[:_CALLERS]
        handed = self.code.meanings.handed.get(routine, [])[:_CALLERS]
        return [call for call in (*found, *handed) if call.routine in self._judged]

    # Saves.

    def _levels(self, loop: _Loop) -> Iterator[list[Save]]:
        """The saves of each nearest function around a loop in which one is open; where none is, all that there are."""
        first = min((site.ref for site in loop.sites), key=lambda ref: ref.number)
        shared = self._shared(loop)
        pending: list[tuple[Ref, ...]] = [(first,)]
        seen = {loop.routine}
        guarded: list[Save] = []
        opened = False
        for chain in pending:
            ways = sorted(self._ways(chain[-1], loop.sites[0].step), key=lambda way: -len(way.calls))
            saves = list(dict.fromkeys(self._save(loop, way, chain, shared) for way in ways))
            if any(not save.guarded for save in saves):
                opened = True
                yield saves
                continue
            guarded += saves
            above = self._callers(chain[-1].routine) if len(chain) < _LEVELS else []
            pending += [(*chain, call) for call in above if call.routine not in seen]
            seen |= {call.routine for call in above}
        if guarded and not opened:
            yield guarded

    def _ways(self, place: Ref, step: Ref) -> Iterator[_Way]:
        """The ways from a function to saves that run in the loop around a place, or after it."""
        routine = place.routine
        loops = set(_loops(place))
        libraries = self.saved.libraries(step)
        for number in routine.all_of("call"):
            call = place.to(number)
            again = bool(loops & set(_loops(call)))
            if again or (number > place.number and not _exclusive(place, call)):
                for way in self._down(call, ()):
                    of = self.saved.libraries(way.save)
                    if not libraries or not of or of & libraries:
                        yield way

    def _down(self, call: Ref, calls: tuple[Ref, ...]) -> Iterator[_Way]:
        if call in self._saves.get(call.routine, ()):
            way = _Way(calls, call)
            if self.saved.are_weights(call, calls):
                yield way
            return
        if len(calls) >= _DEEP:
            return
        for routine in self.saved.runs(call):
            if routine in self._judged and routine is not call.routine and self._leads(routine):
                for number in routine.all_of("call"):
                    inner = Ref(routine, number)
                    if all(one.routine is not routine for one in calls):
                        yield from self._down(inner, (*calls, call))

    def _leads(self, routine: Routine, depth: int = 0) -> bool:
        """Whether a function comes to a save at all."""
        if routine not in self._leading:
            if depth > _CHAIN:
                return False
            self._leading[routine] = False  # while it is looked for
            self._leading[routine] = routine in self._saves or any(
                inner in self._judged and self._leads(inner, depth + 1)
                for number in routine.all_of("call")
                for inner in self.saved.runs(Ref(routine, number))
            )
        return self._leading[routine]

    # Checks.

    def _save(self, loop: _Loop, way: _Way, chain: tuple[Ref, ...], shared: list[FiniteCheck]) -> Save:
        checks = [*shared, *self._before(way, chain), *self._refusing(chain, way)]
        step = loop.sites[0].step
        steps = [Step(loop.at, f"this loop of `{self.code.name(loop.routine)}` trains")]
        steps.append(Step(step.at, f"`{self._called(step)}(…)` changes the weights"))
        steps += [Step(one.at, check_words(one)) for one in checks if one.flaw]
        steps += [Step(call.at, f"`{self._called(call)}(…)` comes to the save") for call in way.calls]
        name = self.code.name(way.save.routine)
        return Save(way.save.at, self._called(way.save), name, tuple(steps), tuple(dict.fromkeys(checks)))

    def _before(self, way: _Way, chain: tuple[Ref, ...]) -> Iterator[FiniteCheck]:
        """The conditions on the way to a save."""
        for ref, frames in way.places:
            for test, holds in around(ref):
                if _is_stale(test, chain):
                    continue
                said = self.finite.says(test, frames)
                if said is not None and said is not holds:
                    yield FiniteCheck(test.at, self.finite.text(test))
                elif self.finite.leaves(test, frames):
                    yield FiniteCheck(test.at, self.finite.text(test), self.finite.defeat(test, frames))

    def _shared(self, loop: _Loop) -> list[FiniteCheck]:
        """What bears on every save of a loop: what keeps NaN out of the weights, and what only looks like it."""
        found: list[FiniteCheck] = []
        for site in loop.sites:
            for ref in (site.ref, *site.below):
                test = self.finite.guard(ref)
                if test is not None and not _is_stale(test, (site.ref,)):
                    found.append(FiniteCheck(test.at, self.finite.text(test)))
        routines = dict.fromkeys([loop.routine, *(ref.routine for site in loop.sites for ref in site.below)])
        for routine in routines:
            found += self.acts.refusing(routine)
            for test, leaves in self.finite.answers(routine):
                if leaves not in ("raise", "exit") and not any(one.at == test.at for one in found):
                    found.append(FiniteCheck(test.at, self.finite.text(test), _FLAWS.get(leaves, _FLAWS[""])))
        found += self._restored(loop)
        if all(self.acts.scaled(site.step) for site in loop.sites):
            found.append(FiniteCheck(loop.sites[0].step.at, "GradScaler.step"))
        return found

    def _restored(self, loop: _Loop) -> Iterator[FiniteCheck]:
        """The best weights, which only a loss that is a number can be, put back after the loop."""
        routine = loop.routine
        for number in routine.all_of("call"):
            call = Ref(routine, number)
            last = routine.function.nodes[call.node.inputs[0]].name
            if last not in _RESTORES or number < loop.sites[0].ref.number or loop.block in _loops(call):
                continue
            for given in map(call.to, call.node.inputs[1:2]):
                kept = [one for one in origins(given) if one.node.op == "call"]
                kept = [one for one in kept if one.number < loop.sites[0].ref.number or loop.block in _loops(one)]
                if any("load" in self._called(one) for one in origins(given) if one.node.op == "call"):
                    kept = [one for one in self._saves.get(routine, ()) if loop.block in _loops(one)]
                for test, holds in (pair for one in kept for pair in around(one)):
                    said = self.finite.says(test, ())
                    if said is not None and said is not holds:
                        yield FiniteCheck(test.at, self.finite.text(test))

    def _refusing(self, chain: tuple[Ref, ...], way: _Way) -> Iterator[FiniteCheck]:
        """Checks that raise, wherever the functions around lead; anomaly detection."""
        for routine in self._reach(chain):
            for test in self.finite.refusals(routine):
                if not _is_stale(test, chain):
                    yield FiniteCheck(test.at, self.finite.text(test))
            yield from self.acts.refusing(routine)
        last = chain[-1].routine
        if (*way.calls, way.save)[0].routine is last:
            for test, leaves in self.finite.answers(last):
                if leaves == "return":
                    yield FiniteCheck(test.at, self.finite.text(test))

    def _reach(self, chain: tuple[Ref, ...]) -> list[Routine]:
        """The functions that the last of a chain runs, with the modules of all."""
        last = chain[-1].routine
        if last not in self._reached:
            modules = [self.code.program.routine(one.routine.module, 0) for one in chain]
            self._reached[last] = list(dict.fromkeys([*self.code.reaches(last, _REACH), *modules]))
        return self._reached[last]


_FLAWS: Final = {
    "": "it goes on",
    "break": "the step before it has already been made, and what follows the loop saves",
    "continue": "the step before it has already been made",
    "return": "the caller saves",
    "raise": "what it raises is caught",
}


def check_words(check: FiniteCheck) -> str:
    """A check that refuses nothing, in words."""
    return f"`{check.what}` refuses nothing: {check.flaw}"


def _loops(ref: Ref) -> Iterator[int]:
    blocks = ref.routine.function.blocks
    return (number for number in ref.routine.blocks[ref.node.block] if blocks[number].kind in _LOOPS)


def _outermost(ref: Ref) -> int:
    """The outermost loop around a place."""
    found = list(_loops(ref))
    return found[-1] if found else NONE


def _is_stale(test: Ref, chain: tuple[Ref, ...]) -> bool:
    """Whether a test was made before the weights changed: ahead of the loop, or of the call that trains."""
    for place in chain:
        if place.routine is test.routine and test.number < place.number:
            return not set(_loops(place)) & set(_loops(test))
    return False


def _exclusive(one: Ref, other: Ref) -> bool:
    """Whether two places stand in the two branches of a condition."""
    blocks = one.routine.function.blocks
    held = {
        blocks[number].test: blocks[number].holds
        for number in one.routine.blocks[one.node.block]
        if blocks[number].test != NONE and blocks[number].kind in ("if", "else")
    }
    return any(
        blocks[number].test in held and held[blocks[number].test] is not blocks[number].holds
        for number in other.routine.blocks[other.node.block]
        if blocks[number].kind in ("if", "else") and blocks[number].test != NONE
    )


def training_loops(facts: Facts) -> tuple[TrainingLoop, ...]:
    """Every hand-written training loop of a repository that comes to a save."""
    return facts.once("training_loops", lambda found: tuple(Saves(program(found)).loops()))
