"""What starts training without a person: clocks, loops that never end, events, scores.

Whatever leads to training is known from `starts`; here its calls and functions are asked who runs them. Where a score
decides, the score is the trigger, however often it is looked at. A person who is asked on the way ends the search.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.retraining import RetrainTrigger
from vramguard.link.code import program
from vramguard.link.code.branches import branches
from vramguard.link.code.clocks import beats, timed_deployments
from vramguard.link.code.dags import dags
from vramguard.link.code.meaning import Own
from vramguard.link.code.orchestrators import timed
from vramguard.link.code.outputs import joined
from vramguard.link.code.program import Ref
from vramguard.link.code.reading import Reader
from vramguard.link.code.roles import Table, rows
from vramguard.link.code.starts import Start, Starts
from vramguard.link.code.words import text, texts, tokens, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row
    from vramguard.source import Location

# Timers that run a function once: a clock only where the function sets them again.
_ONCE: Final = ("Timer", "call_later", "enter", "enterabs", "enqueue_in", "enqueue_at")
_NEVER: Final = frozenset({"None", "'@once'", '"@once"'})
# What a handler's name or route says: a person asks for training; or machines and users set it off.
_ASKED: Final = frozenset(
    {
        "train",
        "retrain",
        "training",
        "retraining",
        "fit",
        "refit",
        "finetune",
        "tune",
        "learn",
        "update",
        "build",
        "rebuild",
    }
)
_SET_OFF: Final = frozenset({
    "webhook", "feedback", "upload", "uploads", "callback", "event", "events", "drift", "hook", "notify", "predict",
    "prediction", "correction", "corrections", "rate", "rating", "alert", "alerts", "review", "click",
    "infer", "recommend",
})  # fmt: skip
# Methods by which a worker takes the next message of a queue.
_TAKES: Final = frozenset({
    "rpop", "lpop", "blpop", "brpop", "pop", "popleft", "get", "get_nowait", "poll", "receive_message",
    "receive_messages", "receive", "consume", "dequeue", "basic_get", "xread", "xreadgroup", "pull",
})  # fmt: skip
_CRON: Final = ("cron", "interval", "rrule", "schedule", "schedules")
_TIMES: Final = ["schedule", "schedule_interval", "timetable"]  # of a graph of Airflow


class Triggers:
    """The triggers of a program."""

    def __init__(self, code: Code, starts: Starts) -> None:
        self.code = code
        self.starts = starts
        self.reader = Reader()

    def find(self) -> Iterator[RetrainTrigger]:
        """Every trigger, one for each place."""
        if not self.starts.by:
            return
        seen = set[tuple[str, int]]()
        finders = (
            *(self._scored, self._branched, self._called, self._decorated, self._served, self._tabled, self._dags),
            *(self._orchestrated, self._loops, self._handled, self._consumed),
        )
        for one in itertools.chain.from_iterable(find() for find in finders):
            key = one.at.path, one.at.line
            if key not in seen:
                seen.add(key)
                yield one

    # ---- the ways on which training starts

    def _scored(self) -> Iterator[RetrainTrigger]:
        """A condition on a score, on drift, on what users say; once for all the training that it decides on."""
        seen = set[Ref]()
        for found in list(self.starts.by.values()):
            for start in sorted(found, key=lambda one: one.call.number):
                condition = self.starts.conditions.score(start.call)
                if condition is not None and condition.test not in seen and not self._is_act_in_search(start):
                    seen.add(condition.test)
                    test = condition.test
                    said = self._said(test, holds=condition.holds)
                    first = Step(test.at, f"`{said}` decides")
                    yield self._trigger("score", start.call, said, start, first)

    def _branched(self) -> Iterator[RetrainTrigger]:
        """`BranchPythonOperator(python_callable=decide)`, where `decide` answers `"retrain"` where data drifted."""
        for condition, start in branches(self.code, self.starts):
            said = self._said(condition.test, holds=condition.holds)
            yield self._trigger("score", condition.test, said, start, Step(condition.test.at, f"`{said}` decides"))

    def _is_act_in_search(self, start: Start) -> bool:
        return start.what == "fit" and self.code.written(start.call).endswith("backward")

    def _called(self) -> Iterator[RetrainTrigger]:
        """`schedule.every().day.do(train)`, `scheduler.add_job(train, "cron")`."""
        for call, row in self.code.calls("schedule"):
            for routine in self._jobs(call, row) if row.get("job") else ():
                start = self._clocked(routine)
                if start is not None and self._repeats(call, routine):
                    yield self._entered(row["kind"], call, start)
            for start in self.starts.by.get(call.routine, ()):  # a command line: `cron.new(command="python train.py")`
                if start.call == call and start.into is None and row.get("job"):
                    yield self._entered(row["kind"], call, start)

    def _jobs(self, call: Ref, row: Row) -> Iterator[Routine]:
        for word in row["job"]:
            number = call.node.argument("-", word) if isinstance(word, int) else call.node.argument(word)
            if number != NONE:
                yield from self._functions(call.to(number))

    def _functions(self, ref: Ref) -> Iterator[Routine]:
        """The functions that a value stands for: itself, a task's signature, or a name as text."""
        for one in self.code.meanings.of(ref):
            if isinstance(one, Own) and one.kind == "function" and one.routine is not None:
                yield one.routine
            elif isinstance(one, Own) and one.kind == "instance" and one.routine is not None:  # a handler of events
                yield from self.code.program.methods(one.routine)
        if ref.node.op == "call":
            yield from self.starts.flows(ref)
            for number in ref.node.inputs[1:]:
                if self.code.written(ref).endswith("partial"):
                    yield from self._functions(ref.to(number))
        elif ":" in text(ref.node):
            yield from self.starts.entry(text(ref.node))

    def _repeats(self, call: Ref, routine: Routine) -> bool:
        if self.code.written(call).rpartition(".")[2] not in _ONCE:
            return True
        return call.routine in self.code.reaches(routine)

    def _decorated(self) -> Iterator[RetrainTrigger]:
        table = Table([row for row in rows().get("schedule", ()) if row.get("decorator")], "decorator")
        for routine in list(self.starts.by):
            start = self._clocked(routine)
            for ref, paths in self.code.decorators(routine) if routine.function.decorators and start else ():
                row = table.among(paths)
                needs = row and (row.get("needs") or row.get("schedule"))
                if row is not None and start is not None and (not needs or self._is_set(ref, needs)):
                    kind = "event" if needs and self._is_event(ref, needs) else row["kind"]
                    if kind == "clock" or routine in self.starts.plain:
                        yield self._entered(kind, self._said_at(ref, needs or ()), start, self.code.written(ref))

    def _is_set(self, call: Ref, words: list[str]) -> bool:
        """Whether one of some keywords is there, and not none."""
        for word in words:
            found = self.code.argument(call, word) if call.node.op == "call" else None
            if found is not None:
                return not all(one.node.name in _NEVER for one in values(self.code, found))
        return False

    def _said_at(self, call: Ref, words: Iterable[str]) -> Ref:
        """Where a call says when it runs: the value of its schedule where that stands in it, else itself."""
        found = (self.code.argument(call, word) for word in words if call.node.op == "call")
        return next((one for one in found if one is not None and one.at.line >= call.at.line), call)

    def _is_event(self, call: Ref, words: list[str]) -> bool:
        """A data set in the place of a clock."""
        found = next((one for word in words if (one := self.code.argument(call, word)) is not None), None)
        return found is not None and (
            found.node.op == "items"
            or any(p.endswith(("Dataset()", "Asset()")) for p in self.code.meanings.paths(found))
        )

    def _served(self) -> Iterator[RetrainTrigger]:
        """`flow.serve(cron="0 2 * * *")`, `pipeline.with_options(schedule=…)`, `pipeline.configure(schedule=…)`."""
        for name in ("serve", "deploy", "to_deployment", "with_options", "configure", "run"):
            for call in self.code.program.calls.get(name, ()):
                if set(call.node.keywords) & set(_CRON) and self._is_set(call, list(_CRON)):
                    for routine in self.starts.flows(call):
                        start = self._clocked(routine)
                        if start is not None:
                            yield self._entered("clock", call, start)
        yield from self._deployed()

    def _deployed(self) -> Iterator[RetrainTrigger]:
        """`subprocess.run(["prefect", "deploy", "flows/train.py:flow", "--cron", cron])`."""
        for place, routine in timed_deployments(self.code, self.starts):
            start = self._clocked(routine)
            if start is not None:
                yield self._entered("clock", place, start, "prefect deploy")

    def _tabled(self) -> Iterator[RetrainTrigger]:
        """Celery's beat: `{"nightly": {"task": "tasks.train", "schedule": …}}`."""
        for place, name, routines in beats(self.code, list(self.starts.by)):
            start = next((start for routine in routines if (start := self._clocked(routine))), None)
            if start is not None:
                yield self._entered("clock", place, start, f"the schedule of `{name}`")

    def _dags(self) -> Iterator[RetrainTrigger]:
        for dag in dags(self.code, self.starts):
            kind = "event" if self._is_event(dag.call, _TIMES) else "clock"
            if self._is_set(dag.call, _TIMES):
                gate = dag.gate.at if dag.gate is not None else None
                place = self._said_at(dag.call, _TIMES)
                yield self._entered(kind, place, dag.start, self.code.written(dag.call), gate=gate)

    def _orchestrated(self) -> Iterator[RetrainTrigger]:
        """`ScheduleDefinition(job=…)`, `create_recurring_run(…)`, `@schedule` of a flow's class."""
        for one in timed(self.code, self.starts):
            start = self._clocked(one.routine) if one.routine is not None else Start(one.place, None, "job", sure=False)
            if start is not None:
                yield self._entered(one.kind, one.place, start, one.what)

    def _loops(self) -> Iterator[RetrainTrigger]:
        """`while True: train(); time.sleep(3600)`."""
        for sleep in self.code.program.calls.get("sleep", ()):
            function = sleep.routine.function
            loops = [
                number for number in sleep.routine.blocks[sleep.node.block] if function.blocks[number].kind == "while"
            ]
            loop = next(
                (n for n in reversed(loops) if self._is_endless(Ref(sleep.routine, function.blocks[n].test))), None
            )
            for start in self.starts.by.get(sleep.routine, ()) if loop is not None else ():
                around = sleep.routine.blocks[start.call.node.block]
                leaves = any(function.blocks[n].leaves in ("break", "return", "exit", "raise") for n in around)
                if loop not in around or start.what == "fit" or leaves or self._is_asked_within(start.call, loop):
                    continue
                message = self._message(start.call, around[: around.index(loop)])
                said = "a loop that never ends, and sleeps"
                said = f"`{message}` gives it what others put there" if message else said
                yield self._trigger(
                    "event" if message else "loop",
                    start.call,
                    message or "while True",
                    start,
                    Step(start.call.at, said),
                )

    def _message(self, call: Ref, blocks: tuple[int, ...]) -> str:
        """The call that takes a message from a queue, where one decides within a loop: `if job := queue.pop():`."""
        function = call.routine.function
        for number in blocks:
            for ref in (
                within(Ref(call.routine, function.blocks[number].test)) if function.blocks[number].test != NONE else ()
            ):
                written = self.code.written(ref) if ref.node.op == "call" else ""
                if written.rpartition(".")[2] in _TAKES and "." in written:
                    return written
        return ""

    @staticmethod
    def _is_endless(test: Ref) -> bool:
        """`while True:`, `while not stopping:`."""
        if test.node.op == "unary" and test.node.name == "not":
            words = {word for ref in within(test) for word in tokens(ref.node.name)}
            return bool(words & {"stop", "stopping", "stopped", "shutdown", "exit", "terminate", "killed", "stopevent"})
        return test.node.name in ("True", "1")

    def _is_asked_within(self, call: Ref, loop: int) -> bool:
        """Whether something inside of a loop decides; a flag that has a person start the loop does not."""
        chain = call.routine.blocks[call.node.block]
        inner = {call.routine.function.blocks[number].test for number in chain[: chain.index(loop)]}
        return any(condition.test.number in inner for condition, _ in self.starts.conditions.around(call))

    def _handled(self) -> Iterator[RetrainTrigger]:
        """Handlers of uploads, of webhooks, of users' words: not those by which a person asks for training."""
        handlers = joined(self.code.facts).surfaces if self.starts.by else {}
        for routine in list(self.starts.by):
            surface = handlers.get(routine)
            start = self._plain(routine)
            if surface is None or start is None or surface.kind not in ("http", "rpc"):
                continue
            route = " ".join(texts(self.code, surface.by)) if surface.by is not None else ""
            words = tokens(f"{routine.function.name} {route}")
            if (
                surface.framework == "lambda"
                or (words & _SET_OFF and not words & _ASKED)
                or words & {"webhook", "drift", "alert", "alerts"}
            ):
                yield self._trigger(
                    "event", start.call, self.code.name(routine), start, self._handler(routine, surface.framework)
                )

    def _handler(self, routine: Routine, framework: str) -> Step:
        at = next((Ref(routine, n).at for n in range(min(1, len(routine.function.nodes)))), routine.module.at)
        return Step(at, f"`{self.code.name(routine)}` is called from outside ({framework})")

    def _consumed(self) -> Iterator[RetrainTrigger]:
        """`for message in consumer: train()`."""
        for found in list(self.starts.by.values()):
            for start in found:
                routine, kinds = start.call.routine, self.starts.conditions.kinds(start.call)
                for number in routine.blocks[start.call.node.block] if not kinds else ():
                    block = routine.function.blocks[number]
                    if block.kind == "for" and block.test != NONE and self._is_stream(Ref(routine, block.test)):
                        step = Step(Ref(routine, block.test).at, "each message of a queue, each file that changes")
                        yield self._trigger("event", start.call, "for", start, step)

    def _is_stream(self, ref: Ref) -> bool:
        paths = self.code.meanings.paths(ref)
        return any(
            re.search(r"(KafkaConsumer|watchfiles\.a?watch|\.Consumer|pubsub|\.subscribe|\.listen)\(\)", path)
            for path in paths
        )

    def _said(self, test: Ref, *, holds: bool) -> str:
        """A condition as it was when training starts: `if not drifted: return` reads as `drifted`."""
        negated = test.node.op == "unary" and test.node.name == "not"
        if not holds:
            return self.reader.text(test.to(test.node.inputs[0]), 1) if negated else f"not {self.reader.text(test, 1)}"
        return self.reader.text(test, 1)

    # ---- facts

    def _plain(self, routine: Routine) -> Start | None:
        """The call by which a function trains whatever a score says, and no flag of a person either."""
        start = self.starts.down.get(routine)
        return start if routine in self.starts.plain else None

    def _clocked(self, routine: Routine) -> Start | None:
        """What a clock starts: where a score decides whether it trains as well, nobody is asked either, and the score
        has a finding of its own; not the branch of a search.
        """
        start = self.starts.down.get(routine)
        if start is None or routine in self.starts.plain:
            return start
        return None if self._is_act_in_search(start) else replace(start, sure=False)

    def _entered(
        self, kind: str, place: Ref, start: Start, what: str = "", *, gate: Location | None = None
    ) -> RetrainTrigger:
        what = what or self.code.written(place)
        return self._trigger(kind, place, what, start, Step(place.at, f"`{what}` runs it"), gate)

    def _trigger(
        self, kind: str, place: Ref, what: str, start: Start, first: Step, gate: Location | None = None
    ) -> RetrainTrigger:
        chain = self.starts.chain(start)
        steps = (first, *self.starts.steps(chain))
        asked = gate or self._gate([place.routine, *(one.call.routine for one in chain)])
        return RetrainTrigger(
            place.at, kind, what, self._runs(kind, start), steps, asked, all(one.sure for one in chain)
        )

    def _runs(self, kind: str, start: Start) -> str:
        """The function that a trigger runs; of a call in a branch, what is called there."""
        if kind == "clock":
            return self.code.name(start.call.routine)
        return (
            self.code.name(start.into)
            if start.into is not None and start.into.number
            else self.code.written(start.call)
        )

    def _gate(self, routines: list[Routine]) -> Location | None:
        for routine in dict.fromkeys(routines):
            found = (
                self.starts.conditions.gate(routine) if routine.number or routine.function.kind == "module" else None
            )
            if found is not None:
                return found.at
        return None


def starting(facts: Facts) -> Starts:
    """What starts training in a repository, found once."""
    return facts.once("starts", lambda facts: Starts(program(facts)))


def triggers(facts: Facts) -> tuple[RetrainTrigger, ...]:
    """Every trigger of training, with whether a person is asked."""
    return facts.once("triggers", lambda facts: tuple(Triggers(program(facts), starting(facts)).find()))
