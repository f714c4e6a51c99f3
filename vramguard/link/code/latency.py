"""Breakers that no slow answer trips, and clocks beside thresholds that nobody compares."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.services import LatencyGuard
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import table
from vramguard.link.code.timeouts import waits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.code.program import Routine

# Names of a time that an answer must not take.
_BUDGET: Final = re.compile(
    r"(latency|response_time|inference_time)_?\w*(budget|threshold|limit|max|slo|sla)|"
    r"(max|budget|slo|sla|threshold)_\w*(latency|response_time|inference_time)",
    re.IGNORECASE,
)


class Latency:
    """Finds what was meant to notice slowness, and does not."""

    def __init__(self, facts: Facts) -> None:
        self.waits = waits(facts)
        self.serving = self.waits.serving
        self.code = self.waits.code
        self.bounds = self.waits.bounds

    def guards(self) -> Iterator[LatencyGuard]:
        """Breakers and thresholds that no slow answer reaches."""
        yield from self._breakers()
        yield from self._clocks()

    def _breakers(self) -> Iterator[LatencyGuard]:
        known = table("breaker", "decorator")
        for routine in self.code.routines:
            for ref, paths in self.code.decorators(routine) if routine.function.decorators else ():
                row = known.among(paths)
                if row is not None and not row.get("latency_aware"):
                    yield from self._slow_inside(ref, routine)
        for call, _ in self.code.calls("breaker"):
            yield from self._wrapped(call)

    def _wrapped(self, made: Ref) -> Iterator[LatencyGuard]:
        """`breaker.call(f, …)` of a breaker that was made in the same module."""
        for last in ("call", "call_async"):
            for call in self.code.program.calls.get(last, ()):
                function = call.to(call.node.inputs[0])
                if function.node.op != "attr" or made not in self.serving.origins(function.to(function.node.inputs[0])):
                    continue
                for _, routine in [edge for edge in self.serving.edges(call.routine) if edge[0] == call]:
                    yield from self._slow_inside(call, routine)

    def _slow_inside(self, at: Ref, routine: Routine) -> Iterator[LatencyGuard]:
        if self.bounds.function(routine) or self.bounds.around(at):
            return
        for inner, trail in self.serving.reached(routine, self.bounds.around).items():
            for call in self._slow.get(inner, ()):
                if not self.bounds.around(call):
                    what = self.code.written(at)
                    last = Step(call.at, f"`{self.code.written(call)}(…)` may take for ever, and is no failure")
                    yield LatencyGuard(at.at, "breaker", what, self.code.written(call), self.serving.steps(trail, last))
                    return

    @cached_property
    def _slow(self) -> Mapping[Routine, list[Ref]]:
        """The calls of models, here or over the network, that nothing of their own bounds."""
        found: dict[Routine, list[Ref]] = defaultdict(list)
        for routine, calls in self.waits.models.items():
            found[routine] += [
                one for one in calls if self.bounds.own(one, self.code.row("output", one) or {}) is False
            ]
        for call, row in self.waits.remote():
            words = row.get("constructor_bounded_by", ())
            if self.bounds.own(call, row) is not False or 0 < row.get("default_timeout_s", 0) < 60:  # noqa: PLR2004
                continue
            made = self.waits.clients.constructors(call, row)
            if not words or (made and not any(self.waits.clients.limited(one, words) for one in made)):
                found[call.routine].append(call)
        return found

    def _clocks(self) -> Iterator[LatencyGuard]:
        budget = self._unread_budget()
        if budget is None:
            return
        for routine in sorted(self.waits.waited, key=lambda one: (one.path, one.function.line)):
            elapsed = self._elapsed(routine)
            if elapsed is not None:
                clock, model = elapsed
                name = budget.node.name if budget.node.op == "field" else self._bound_name(budget)
                steps = (
                    Step(clock.at, "the time is taken"),
                    Step(model.at, f"`{self.code.written(model)}(…)` runs the model"),
                    Step(budget.at, f"`{name}`, which nothing compares with it"),
                )
                yield LatencyGuard(clock.at, "clock", name, self.code.written(model), steps)
                return

    def _bound_name(self, ref: Ref) -> str:
        return next((name for name, values in ref.routine.function.names.items() if ref.number in values), "")

    def _elapsed(self, routine: Routine) -> tuple[Ref, Ref] | None:
        """A clock before a model's call, and the call, where the difference is taken later."""
        calls = [Ref(routine, n) for n in routine.all_of("call")]
        clocks = [call for call in calls if self.code.row("clock", call) is not None]
        for model in calls if clocks else ():
            if not self._runs_model(model):
                continue
            for clock in clocks:
                if clock.number < model.number and self._difference(clock, model):
                    return clock, model
        return None

    def _difference(self, clock: Ref, model: Ref) -> bool:
        """Whether something is subtracted from a later time, here or in a function that is told when it began."""
        nodes = clock.routine.function.nodes
        for user in clock.routine.users.get(clock.number, ()):
            if user < model.number:
                continue
            if nodes[user].op == "binary" and nodes[user].name == "-":
                return True
            for routine in self.code.meanings.routines(clock.to(user)) if nodes[user].op == "call" else ():
                inner = routine.function.nodes
                if any(one.op == "binary" and one.name == "-" and inner[one.inputs[1]].op == "param" for one in inner):
                    return True
        return False

    def _runs_model(self, call: Ref) -> bool:
        """Whether a call is a model's, or comes to one."""
        if call in self.waits.models.get(call.routine, ()):
            return True
        return any(
            inner in self.waits.models
            for own in self.code.meanings.routines(call)
            for inner in self.serving.reached(own)
        )

    def _unread_budget(self) -> Ref | None:
        """A constant or a setting that is named as the time an answer must not take, and that is never compared."""
        found: list[Ref] = []
        read: set[str] = set()
        for routine in self.code.routines:
            if routine.function.kind in ("module", "class"):
                found += self._budgets(routine)
        if not found:
            return None
        for routine in self.code.routines:
            read |= {node.name for node in routine.function.nodes if node.op in ("name", "attr")}
        unread = [
            one for one in found if (one.node.name if one.node.op == "field" else self._bound_name(one)) not in read
        ]
        return unread[0] if unread else None

    def _budgets(self, routine: Routine) -> Iterator[Ref]:
        nodes = routine.function.nodes
        for name, values in routine.function.names.items():
            if _BUDGET.search(name) and values and nodes[values[0]].op in ("const", "call", "unary"):
                yield Ref(routine, values[0])
        for number in routine.all_of("field"):
            if _BUDGET.search(nodes[number].name):
                yield Ref(routine, number)


def latency_guards(facts: Facts) -> tuple[LatencyGuard, ...]:
    """Breakers and thresholds that no slow answer reaches."""
    return facts.once("latency-guards", lambda facts: tuple(dict.fromkeys(Latency(facts).guards())))
