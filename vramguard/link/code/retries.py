"""What tries again, how often, and how many calls that makes where one retry stands in another."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts.outputs import Step
from vramguard.facts.services import RetryPolicy
from vramguard.link.code.attempts import attempts
from vramguard.link.code.counts import Counts
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table, table
from vramguard.link.code.words import tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code.attempts import Attempt
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row
    from vramguard.source.graph import Node

ENDLESS: Final = 0
_SLEEPS: Final = frozenset({"sleep", "delay", "backoff"})
_WAITS: Final = frozenset({"wait", "poll", "input", "recv", "receive", "accept", "get"})
_ASKS: Final = frozenset({"input", "recv", "receive", "receive_text", "receive_json", "accept"})  # somebody says more
_STOPS: Final = frozenset(
    {"stop", "stopped", "stopping", "shutdown", "exit", "quit", "cancelled", "terminate", "running"}
)


class Policy(NamedTuple):
    """How often something is tried: ENDLESS, a number with the first, or None where nobody can read it."""

    at: Ref
    form: str
    attempts: int | None
    batch: bool = False  # of an orchestrator, whose customers do not wait


class Factor(NamedTuple):
    """One retry on a path."""

    at: Ref
    attempts: int
    what: str


class Retries:
    """Finds what tries again."""

    def __init__(self, facts: Facts) -> None:
        self.attempts = attempts(facts)
        self.serving = self.attempts.serving
        self.code = self.attempts.code
        self.counts = Counts(self.serving)
        self._policies: dict[Routine, list[Policy]] = {}

    def policies(self) -> Iterator[RetryPolicy]:
        """Every retry around a call of a model or of the network, and the product of those on one path."""
        for routine in self.code.routines:
            for policy in self.of(routine):
                yield from self._around(policy, routine)
        for routine in self.code.routines:
            kinds = {block.kind for block in routine.function.blocks}
            if "except" in kinds and kinds & {"while", "for"}:
                yield from self._endless(routine)
                yield from self._counted_loops(routine)
        for routine in self.attempts.asked.keys() | {call.routine for call, _ in self.code.calls("retry")}:
            yield from self._iterated(routine)

    def of(self, routine: Routine) -> list[Policy]:
        """The retries that decorate a function."""
        if routine not in self._policies:
            known = table("retry", "decorator")
            found = []
            for ref, paths in self.code.decorators(routine) if routine.function.decorators else ():
                row = known.among(path for path in paths if not path.startswith("?"))
                if row is not None and self._applies(ref, row):
                    found.append(Policy(ref, "decorator", self._attempts(ref, row), bool(row.get("batch"))))
            self._policies[routine] = found
        return self._policies[routine]

    def _applies(self, ref: Ref, row: Row) -> bool:
        when = row.get("when")
        return not when or (ref.node.op == "call" and any(self.code.argument(ref, word) is not None for word in when))

    def _attempts(self, ref: Ref, row: Row) -> int | None:
        default = int(row.get("default_attempts", 1))
        if ref.node.op != "call":
            return default
        if "**" in ref.node.keywords or "*" in ref.node.keywords:
            return None
        known = row.get("attempts")
        given = self._given(ref, known, row) if known else None
        if given is not None:
            return self._counted(given, row)
        stops = [one for word in row.get("stop", ()) if (one := self._given(ref, word, row)) is not None]
        if not stops:
            return default
        if row.get("stop_call"):
            return self._stopped(stops[0], row["stop_call"])
        return None

    def _given(self, ref: Ref, word: str, row: Row) -> Ref | None:
        return self.code.argument(ref, word, row.get("positional", {}).get(word, NONE))

    def _counted(self, given: Ref, row: Row) -> int | None:
        if given.node.op == "const" and given.node.name == "None":
            return ENDLESS
        number = self.counts.number(given)
        if number is None:
            return None
        return ENDLESS if number in row.get("unbounded_if", ()) else number + bool(row.get("retries"))

    def _stopped(self, ref: Ref, calls: Row, depth: int = 0) -> int | None:
        """`stop_after_attempt(5) | stop_after_delay(30)`."""
        if ref.node.op == "binary" and ref.node.name in ("|", "&") and depth < 8:  # noqa: PLR2004
            found = [self._stopped(one, calls, depth + 1) for one in ref.inputs()]
            counted = [one for one in found if one]
            return min(counted) if counted else None
        paths = self.code.meanings.called(ref) if ref.node.op == "call" else self.code.meanings.paths(ref)
        if Table([{"call": calls["attempts"]}]).among(paths) is not None and ref.node.op == "call":
            given = self.code.argument(ref, "max_attempt_number", 0)
            return None if given is None else self.counts.number(given)
        return ENDLESS if Table([{"call": calls["never"]}]).among(paths) is not None else None

    # What they make together.

    def _around(self, policy: Policy, routine: Routine) -> Iterator[RetryPolicy]:
        found = self.attempts.asks(routine)
        if found is None or policy.attempts is None:
            return
        call, trail = found
        steps = (*self.serving.steps(trail), Step(call.at, f"`{self.code.written(call)}(…)` is asked again"))
        product = policy.attempts
        for asked, factors in self._paths(policy, routine):
            total = math.prod(factor.attempts for factor in factors)
            if total > product:
                call, product = asked, total
                steps = tuple(Step(one.at.at, f"{one.what} makes {one.attempts} attempts") for one in factors)
        written = f"@{self.code.written(policy.at)} of {self.code.name(routine)}"
        yield RetryPolicy(policy.at.at, written, policy.form, policy.attempts, self.code.written(call), product, steps)

    def _paths(self, policy: Policy, routine: Routine) -> Iterator[tuple[Ref, list[Factor]]]:
        """The calls that a function comes to, with what multiplies on the way: more than one retry.

        Not those of a model in this process, which is no service that several ask.
        """
        if not policy.attempts or policy.attempts == 1 or policy.batch:
            return
        first = Factor(policy.at, policy.attempts, f"`@{self.code.written(policy.at)}`")
        for inner, trail in self.serving.reached(routine).items():
            passed = [edge[1] for step in trail for edge in self.serving.edges(step.routine) if edge[0] == step]
            within = [factor for one in dict.fromkeys(passed) if one is not routine for factor in self._factors(one)]
            local = self.attempts.waits.models.get(inner, ())
            for call in (one for one in self.attempts.asked.get(inner, ()) if one not in local):
                factors = [first, *within, *self._client(call)]
                if len(factors) > 1:
                    yield call, factors

    def _factors(self, routine: Routine) -> list[Factor]:
        found = [one for one in self.of(routine) if one.attempts and one.attempts > 1]
        return [Factor(one.at, one.attempts or 1, f"`@{self.code.written(one.at)}`") for one in found]

    def _client(self, call: Ref) -> list[Factor]:
        """What a client tries by itself."""
        row = self.code.row("output", call) or self.code.row("fetch", call) or {}
        retries = row.get("default_retries")
        if retries is None or row.get("weak"):
            return []
        made = self.attempts.waits.clients.constructors(call, row)
        direct = not any("()" in path for path in self.code.meanings.called(call))
        if not made and not direct:
            return []
        place = made[0] if made else call
        given = self.code.argument(place, "max_retries")
        if place.node.keywords and "**" in place.node.keywords:
            return []
        count = retries if given is None else self.counts.number(given)
        if count is None or count < 1:
            return []
        return [Factor(place, count + 1, f"`{self.code.written(place)}`")]

    # Loops.

    def _endless(self, routine: Routine) -> Iterator[RetryPolicy]:
        """`while True: try: return ask() except: pass`."""
        for attempt in self.attempts.of(routine):
            loop = self._loop(attempt)
            if loop == NONE or self._bounded(attempt, loop):
                continue
            asked = next((one for one in attempt.calls(attempt.block) if self._asks(one)), None)
            paused = self._pauses(attempt, loop)
            if paused and asked is not None and self.counts.is_of_health(asked):
                continue
            if asked is not None and (self._is_awaited if paused else self._succeeds)(attempt, loop):
                at = self._place(routine, loop)
                steps = (Step(asked.at, f"`{self.code.written(asked)}(…)` is asked again and again"),)
                written = "while True" if routine.function.blocks[loop].kind == "while" else "for"
                around = self.code.written(asked)
                yield RetryPolicy(at.at, written, "loop", ENDLESS, around, 1, steps, paused)

    def _asks(self, call: Ref) -> bool:
        if call in self.attempts.asked.get(call.routine, ()):
            return True
        routines = self.code.meanings.routines(call)
        return self.code.own_class(call) is None and any(self.attempts.asks(one) is not None for one in routines)

    def _loop(self, attempt: Attempt) -> int:
        """The endless loop that a `try` stands in, with no other loop between."""
        number = self._around_try(attempt)
        block = attempt.routine.function.blocks[number] if number != NONE else None
        if block is None or block.test == NONE:
            return NONE
        test = Ref(attempt.routine, block.test)
        if block.kind == "for":
            counts = test.node.op == "call" and "itertools.count" in self.code.meanings.called(test)
            return number if counts else NONE
        true = test.node.op == "const" and test.node.name in ("True", "1")
        return number if true or self._is_flag(test, attempt) else NONE

    @staticmethod
    def _around_try(attempt: Attempt) -> int:
        """The loop that a `try` stands in, with no other loop between."""
        blocks = attempt.routine.function.blocks
        around = attempt.routine.blocks[attempt.block][1:]
        return next((number for number in around if blocks[number].kind in ("while", "for")), NONE)

    @staticmethod
    def _is_flag(test: Ref, attempt: Attempt) -> bool:
        """`while not done`, where nothing but the `try` says `done = True`."""
        if test.node.op != "unary" or test.node.name != "not":
            return False
        found, pending = {test.node.inputs[0]}, [test.node.inputs[0]]
        for number in pending:
            node = test.to(number).node
            inner = [one for one in node.inputs if one not in found] if node.op == "join" else []
            found.update(inner)
            pending += inner
        values = [test.to(number).node for number in found if test.to(number).node.op != "join"]
        true = [node for node in values if node.name == "True"]
        blocks = attempt.routine.blocks
        known = all(node.op == "const" and node.name in ("True", "False") for node in values)
        return bool(true) and known and all(attempt.block in blocks[node.block] for node in true)

    def _counted_loops(self, routine: Routine) -> Iterator[RetryPolicy]:
        """`for _ in range(5): try: return ask() except: continue`, and what the client that asks tries itself."""
        blocks = routine.function.blocks
        for attempt in self.attempts.of(routine):
            number = self._around_try(attempt)
            leaves = {blocks[handler].leaves for handler in attempt.handlers}
            if number == NONE or leaves & {"raise", "return", "break", "exit"}:
                continue
            at = self._place(routine, number)
            kind = blocks[number].kind
            count = self.counts.times(at, kind) if at.number != NONE and self._succeeds(attempt, number) else None
            if count is not None and count > 1:
                yield from self._repeated(attempt, at, kind, count)

    def _repeated(self, attempt: Attempt, at: Ref, kind: str, count: int) -> Iterator[RetryPolicy]:
        """A loop of so many turns, for each call that it asks again; once where nothing below tries as well."""
        first = Step(at.at, f"the loop makes {count} attempts")
        written, found = self.code.written, False
        for call in attempt.calls(attempt.block):
            for asked, factors in self._tried(call) if not self.counts.is_turned(call, at) else ():
                found = True
                product = count * math.prod(factor.attempts for factor in factors)
                steps = (first, *(Step(one.at.at, f"{one.what} makes {one.attempts} attempts") for one in factors))
                yield RetryPolicy(at.at, kind, "loop", count, written(asked), product, steps)
                break
        calls = (one for one in attempt.calls(attempt.block) if self._asks(one) and not self._is_of_model_here(one))
        plain = (one for one in calls if not self.counts.is_turned(one, at) and not self.counts.is_of_readiness(one))
        for again in itertools.islice(plain, 0 if found else 1):
            steps = (first, Step(again.at, f"`{written(again)}(…)` is asked again"))
            yield RetryPolicy(at.at, kind, "loop", count, written(again), count, steps)

    def _is_of_model_here(self, call: Ref) -> bool:
        return call in self.attempts.waits.models.get(call.routine, ())

    def _tried(self, call: Ref) -> Iterator[tuple[Ref, list[Factor]]]:
        """The calls that one comes to, with what tries them again on the way."""
        own = self.code.meanings.routines(call) if self.code.own_class(call) is None else ()
        inside = [(one, inner) for one in own for inner in self.serving.reached(one)]
        asked = [call] if call in self.attempts.asked.get(call.routine, ()) else []
        within = [factor for one, _ in inside[:1] for factor in self._factors(one)]
        for each in (*asked, *(found for _, inner in inside for found in self.attempts.asked.get(inner, ()))):
            factors = [*within, *self._client(each)]
            if factors:
                yield each, factors

    def _bounded(self, attempt: Attempt, loop: int) -> bool:
        """Whether a handler may leave the loop, or anything in the loop counts, or waits for somebody to say more."""
        routine = attempt.routine
        blocks, nodes = routine.function.blocks, routine.function.nodes
        for number, block in enumerate(blocks):
            inside = any(handler in routine.blocks[number] for handler in attempt.handlers)
            if inside and block.leaves in ("raise", "return", "break", "exit"):
                return True
        for node in nodes:
            if loop not in routine.blocks[node.block]:
                continue
            waits = _called(node, nodes)
            if attempt.block in routine.blocks[node.block]:
                if waits in _ASKS:
                    return True
            elif node.op in ("raise", "return") or (node.op == "binary" and node.name in ("+", "-")) or waits in _WAITS:
                return True
        return False

    def _pauses(self, attempt: Attempt, loop: int) -> bool:
        """Whether a loop sleeps for a second or more before it tries again."""
        nodes, blocks = attempt.routine.function.nodes, attempt.routine.blocks
        inside = (node for node in nodes if loop in blocks[node.block] and attempt.block not in blocks[node.block])
        return any(_called(node, nodes) in _SLEEPS and not _is_short(node, nodes) for node in inside)

    def _is_awaited(self, attempt: Attempt, loop: int) -> bool:
        """Whether what was asked for ends the loop: it leaves within the `try`, and not because it is told to stop."""
        routine = attempt.routine
        blocks, nodes = routine.function.blocks, routine.function.nodes
        inside = [number for number in range(len(blocks)) if attempt.block in routine.blocks[number]]
        leaving = [number for number in inside if blocks[number].leaves in ("return", "break")]
        leaving += [node.block for node in nodes if node.op == "return" and attempt.block in routine.blocks[node.block]]
        told = {
            word
            for number in leaving
            for one in routine.blocks[number]
            if attempt.block in routine.blocks[one] and blocks[one].test != NONE
            for ref in within(Ref(routine, blocks[one].test))
            for word in tokens(ref.node.name)
        }
        return (bool(leaving) or self._is_flag(self._place(routine, loop), attempt)) and not told & _STOPS

    def _succeeds(self, attempt: Attempt, loop: int) -> bool:
        """Whether the `try` leaves the loop when it is done: what never ends is a service, no retry."""
        routine = attempt.routine
        blocks, nodes = routine.function.blocks, routine.function.nodes
        if blocks[attempt.block].leaves in ("return", "break") or self._is_flag(self._place(routine, loop), attempt):
            return True
        if any(node.op == "return" and attempt.block in routine.blocks[node.block] for node in nodes):
            return True
        return any(
            block.leaves in ("return", "break") and loop in routine.blocks[number] and block.kind != "except"
            for number, block in enumerate(blocks)
            if not any(handler in routine.blocks[number] for handler in attempt.handlers)
        )

    @staticmethod
    def _place(routine: Routine, block: int) -> Ref:
        return Ref(routine, routine.function.blocks[block].test)

    def _iterated(self, routine: Routine) -> Iterator[RetryPolicy]:
        """`for attempt in Retrying(…)`, `Retrying(…)(f)`."""
        for number in routine.all_of("call"):
            call = Ref(routine, number)
            row = self.code.row("retry", call)
            if row is None or row.get("client") or not row.get("stop_call") or self._is_inner(call):
                continue
            found = self._attempts(call, row)
            asked = next(iter(self.attempts.asked.get(routine, ())), None)
            if found is not None and asked is not None:
                steps = (Step(asked.at, f"`{self.code.written(asked)}(…)` is asked again"),)
                written = self.code.written
                yield RetryPolicy(call.at, written(call), "call", found, written(asked), found or 1, steps)

    def _is_inner(self, call: Ref) -> bool:
        """`Retrying(…)(f)`: the outer call makes nothing."""
        return call.to(call.node.inputs[0]).node.op == "call"


def _called(node: Node, nodes: tuple[Node, ...]) -> str:
    """The last part of the name that a node calls; empty where it calls nothing."""
    return nodes[node.inputs[0]].name.rpartition(".")[2] if node.op == "call" else ""


def _is_short(sleep: Node, nodes: tuple[Node, ...]) -> bool:
    """`sleep(0.1)`: less than a second holds nobody back."""
    given = nodes[sleep.inputs[1]].name if len(sleep.inputs) == 2 else ""  # noqa: PLR2004
    return re.fullmatch(r"0?\.\d+|0", given) is not None


def retry_policies(facts: Facts) -> tuple[RetryPolicy, ...]:
    """What tries again in a repository."""

    def find(facts: Facts) -> tuple[RetryPolicy, ...]:
        return tuple(sorted(dict.fromkeys(Retries(facts).policies()), key=lambda one: one.at))

    return facts.once("retry-policies", find)
