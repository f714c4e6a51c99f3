"""The data that training reads, and what looks at it on the way."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import DataSource, OwnOutputs
from vramguard.facts.outputs import Step
from vramguard.link.code import program
from vramguard.link.code.datachecks import data_checks
from vramguard.link.code.learning import End, Learning
from vramguard.link.code.places import UNKNOWN, any_of, origins, place, same, tail, words, written
from vramguard.link.code.reads import Reads
from vramguard.link.code.words import text, texts, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.facts.datasets import DataValidation
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Reached
    from vramguard.link.code.program import Ref, Routine
    from vramguard.link.code.roles import Row

_STAGES: Final = 3  # programs between a file and what is learned from
_STEPS: Final = 6
_MINE: Final = re.compile(r"oof|stack|pseudo|meta|level", re.IGNORECASE)
_REVIEWED: Final = frozenset({
    "label", "labels", "labeled", "labelled", "human", "reviewed", "review", "approved", "verified", "annotated",
    "gold", "corrected", "feedback",
})  # fmt: skip
_CACHE: Final = re.compile(r"cache|preprocessed|processed", re.IGNORECASE)
_WATCHES: Final = frozenset({"monitor", "monitoring", "monitors", "drift"})


class Sources:
    """The reads of a program that train."""

    def __init__(self, code: Code, facts: Facts) -> None:
        self.code = code
        self.checks = data_checks(facts)
        self.learning = Learning(code)
        self._reading = Reads(code)
        self.reads = self._reading.find() if self.learning.fits else []

    # ---- what trains

    def find(self) -> Iterator[DataSource]:
        """Every function that reads what is learned from, at its first such read."""
        found: dict[Routine, list[tuple[bool, DataSource]]] = {}
        for call, row in (one for read in self.reads for one in self._asked(*read)):
            first = None if self._is_own_file(call, row) else self.first(call, row)
            if first is None:
                continue
            kept = any_of(words(self.code, call, place(call, row)), _CACHE)
            found.setdefault(call.routine, []).append((kept, self.source(call, row, *first)))
        for sources in found.values():
            yield self._merged(sources)

    def _asked(self, call: Ref, row: Row) -> list[tuple[Ref, Row]]:
        """A read, or where a function asks a database whatever it is told those of its calls that train, if others do
        not.
        """
        told = self._reading.told(call, row) if row["kind"] == "table" else []
        train = [one for one in told if self.learning.first(one[0]) is not None]
        return train if 0 < len(train) < len(told) else [(call, row)]

    def first(self, call: Ref, row: Row) -> tuple[Reached, End] | None:
        """What first learns from a read; of what is handed to somebody who trains that itself, or the job beside it."""
        found = self.learning.first(call)
        if found is None and row.get("upload"):
            jobs = (fit for fit, kind in self.learning.fits.items() if kind == "job" and fit.routine is call.routine)
            return self.learning.follow(call), End(next(jobs, call), call)
        return found

    def _is_own_file(self, call: Ref, row: Row) -> bool:
        """Whether a function reads back what it has just written: what it wrote came from elsewhere."""
        path = written(self.code, place(call, row))
        if row["kind"] == "hub":
            files = self.code.argument(call, "data_files")
            path = next((one for one in texts(self.code, files) if tail(one)), path) if files is not None else path
        return any(
            write.routine is call.routine and write.number < call.number and tail(path) == tail(other) != ""
            for write, other in self._writes
        )

    @staticmethod
    def _merged(sources: list[tuple[bool, DataSource]]) -> DataSource:
        """The first read that nothing validates; of a cache only where there is no other."""
        opened = [one for one in sources if not one[1].validated] or sources
        _, first = min(opened, key=lambda one: (one[0], one[1].at))
        return replace(first, more=len(opened) - 1)

    def source(self, call: Ref, row: Row, reached: Reached, end: End) -> DataSource:
        asked = self._executed(call)
        path = written(self.code, place(call, row) if asked is None else self.code.argument(asked, "query", 0))
        way = [*reached.path(end.value), end.call]
        validations = dict.fromkeys([*self.checks.on(reached, way), *self._elsewhere(call, path)])
        name = self.code.name(call.routine)
        trains = self.code.written(end.call)
        steps = self._steps(call, reached, end)
        return DataSource(
            call.at if asked is None else asked.at,
            self.code.written(call),
            path.replace(UNKNOWN, "…"),
            name,
            trains,
            steps,
            tuple(validations),
            self.learning.saved(end.call),
        )

    def _executed(self, call: Ref) -> Ref | None:
        """`cursor.execute(query)`, of which a cursor then gives the rows."""
        if not self.code.written(call).rpartition(".")[2].startswith("fetch"):
            return None
        nodes = call.routine.function.nodes
        before = (number for number in call.routine.all_of("call") if number < call.number)
        asks = [number for number in before if nodes[nodes[number].inputs[0]].name.rpartition(".")[2] == "execute"]
        return call.to(asks[-1]) if asks else None

    def _steps(self, call: Ref, reached: Reached, end: End) -> tuple[Step, ...]:
        steps = [Step(call.at, f"`{self.code.written(call)}(…)` reads it")]
        steps += [one for one in self.learning.through(reached.path(end.value)) if one.at != call.at]
        last = Step(end.call.at, f"`{self.code.written(end.call)}(…)` learns from it")
        return (*dict.fromkeys(steps[:_STEPS]), last)

    def _elsewhere(self, call: Ref, path: str) -> Iterator[DataValidation]:
        """What refuses the same file in another place: where it is written, or in a program of its own. What watches
        a model that serves comes after its training.
        """
        unknown = not tail(path)
        for check, paths in self._gates:
            if (unknown or any(same(path, one) for one in paths)) and not _watches(check):
                yield check
        for other, row in self.reads if path.strip(UNKNOWN) else ():
            if (
                other != call
                and other.routine is not call.routine
                and same(path, written(self.code, place(other, row)))
            ):
                checks = self.checks.on(self.code.flow.forward(other))
                yield from (one for one in checks if not one.flaw and not _watches(one))

    @cached_property
    def _gates(self) -> list[tuple[DataValidation, list[str]]]:
        """Programs that hold data against a schema and write what passes, each with where to: what reads a file that is
        named on its command line may read that one.
        """
        wrote = {call.routine for call, _ in self._tables}
        found = []
        for routine, checks in self.checks.gates.items():
            level = [routine, *(call.routine for call in self.code.meanings.callers(routine)[:12])]
            inside = {inner for one in level for inner in self.code.reaches(one, 40)} & wrote
            paths = [path for call, path in self._tables if call.routine in inside]
            found += [(check, paths) for check in checks if paths]
        return found

    @cached_property
    def _tables(self) -> list[tuple[Ref, str]]:
        return [
            (call, self._target(call)) for call, row in self.code.calls("dataset") if row["kind"] in ("table", "file")
        ]

    # ---- stages

    def staged(self, reached: Reached) -> tuple[Ref, str] | None:
        """Where data is written to a file that another program learns from, or makes one of that it learns from."""
        for edge in reached.edges:
            path = self._paths.get(edge.user)
            if path and any(same(path, one) for one in self._learned) and self._together(reached.source, edge.user):
                return edge.user, path.replace(UNKNOWN, "…")
        return None

    def _together(self, source: Ref, write: Ref) -> bool:
        """Whether one program runs both: a function that leads to each."""
        level, seen = [source.routine], {source.routine}
        for _ in range(_STAGES):
            if any(write.routine in self.code.reaches(one, 60) for one in level):
                return True
            level = [call.routine for one in level for call in self.code.meanings.callers(one)[:12]]
            level = [one for one in dict.fromkeys(level) if one not in seen]
            seen.update(level)
        return False

    @cached_property
    def _paths(self) -> Mapping[Ref, str]:
        return dict(self._writes)

    @cached_property
    def _learned(self) -> frozenset[str]:
        """The files that are learned from, and those of which, stage by stage, they are made."""
        open_ = {call: written(self.code, place(call, row)) for call, row in self.reads} if self._writes else {}
        open_ = {call: path for call, path in open_.items() if tail(path)}
        found = {path for call, path in open_.items() if self.learning.first(call) is not None}
        for _ in range(_STAGES if found else 0):
            wanted = {call for call, path in self._writes if any(same(path, one) for one in found)}
            made = {
                path
                for call, path in open_.items()
                if path not in found
                and wanted
                and any(edge.user in wanted for edge in self.learning.follow(call).edges)
            }
            if not made:
                break
            found |= made
        return frozenset(found)

    # ---- own outputs

    def own_outputs(self) -> Iterator[OwnOutputs]:
        """Reads that train of what an answer of a model was written to."""
        for call, row in self.reads if self._writes else ():
            at = place(call, row)
            path = written(self.code, at)
            wrote = [one for one, other in self._writes if same(path, other)]
            if not wrote or any_of([path], _MINE) or self._is_reviewed(call):
                continue
            first = self.learning.first(call)
            found = next(((self._answers[one], one) for one in wrote if one in self._answers), None)
            if first is not None and found is not None:
                output, wrote_at = found
                middle = Step(wrote_at.at, f"`{self.code.written(wrote_at)}(…)` writes it to {path}")
                steps = (
                    Step(output.at, f"`{self.code.written(output)}(…)` answers"),
                    middle,
                    *self._steps(call, *first),
                )
                yield OwnOutputs(call.at, path.replace(UNKNOWN, "…"), self.code.written(output), steps)

    @cached_property
    def _writes(self) -> list[tuple[Ref, str]]:
        """The calls that write data, each with where to."""
        return [(call, path) for call, path in self._tables if path]

    def _target(self, call: Ref) -> str:
        last = self.code.written(call).rpartition(".")[2]
        function = call.to(call.node.inputs[0])
        base = function.to(function.node.inputs[0]) if function.node.op == "attr" else None
        if last in ("write", "writelines", "writerow", "writerows", "write_text", "write_bytes", "write_all"):
            base = next(origins(base), base) if base is not None else None
            if last.startswith("writerow") and base is not None and base.node.op == "call":
                base = self.code.argument(base, "f", 0)
            found = written(self.code, base)
        elif last == "dump":
            found = written(self.code, self.code.argument(call, "fp", 1) or self.code.argument(call, "file", 1))
        else:
            found = written(
                self.code,
                self.code.argument(call, "path_or_buf", 0)
                or self.code.argument(call, "path", 0)
                or self.code.argument(call, "name", 0),
            )
        return "" if found == UNKNOWN else found

    @cached_property
    def _outputs(self) -> list[Ref]:
        rows_ = self.code.calls("output")
        return [call for call, row in rows_ if row["kind"] != "vector" and not row.get("remote")]

    @cached_property
    def _answers(self) -> Mapping[Ref, Ref]:
        """For each call that writes data the model's answer that it is given."""
        writes = {write for write, _ in self._writes}
        found: dict[Ref, Ref] = {}
        for output in self._outputs:
            for edge in self.code.flow.forward(output).edges:
                if edge.user in writes:
                    found.setdefault(edge.user, output)
        return found

    def _is_reviewed(self, call: Ref) -> bool:
        """Whether the function that reads asks of the rows what a person said of them."""
        nodes = call.routine.function.nodes
        keys = [text(nodes[node.inputs[1]]) for node in nodes if node.op == "item" and node.inputs[1] >= 0]
        return any(tokens(key) & _REVIEWED for key in keys)


def _watches(check: DataValidation) -> bool:
    """Whether a check stands where what a model gets, and answers, is monitored."""
    return bool(tokens(check.at.path) & _WATCHES)


def sources(facts: Facts) -> Sources:
    """The reads of a repository."""
    return facts.once("data sources", lambda facts: Sources(program(facts), facts))


def data_sources(facts: Facts) -> tuple[DataSource, ...]:
    """What a repository's training reads."""
    return facts.once("data that trains", lambda facts: tuple(sources(facts).find()))


def own_outputs(facts: Facts) -> tuple[OwnOutputs, ...]:
    """What a repository's models write and learn from."""
    return facts.once("own outputs", lambda facts: tuple(sources(facts).own_outputs()))
