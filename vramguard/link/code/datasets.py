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
from vramguard.link.code.learning import Learning
from vramguard.link.code.places import UNKNOWN, any_of, origins, place, same, tail, words, written
from vramguard.link.code.roles import rows
from vramguard.link.code.words import text, texts, tokens, values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.facts.datasets import DataValidation
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Reached
    from vramguard.link.code.learning import End
    from vramguard.link.code.program import Ref, Routine
    from vramguard.link.code.roles import Row

_MOST: Final = 250  # reads that are followed
_STAGES: Final = 3  # programs between a file and what is learned from
_STEPS: Final = 6
_DATA: Final = re.compile(
    r"\.(csv|tsv|jsonl?|parquet|arrow|feather|xlsx?|txt|ndjson|data)\b|(^|[^a-z])(data|dataset|train|training|corpus|samples|records|reviews)s?([^a-z]|$)",
    re.IGNORECASE,
)
_NO_DATA: Final = re.compile(
    r"config|settings|hparam|vocab|token|params|\.ya?ml\b|cache|state|meta|stats|mapping|label2id|id2label|labels?\.json|classes|schema|secret"
    r"|credential|manifest|version|index|results?|metrics|checkpoint|ckpt|model|weights|scaler|encoder|word2id|stop_?words|prompt|template|api_?key",
    re.IGNORECASE,
)
# Data that everybody trains on, kept as a file.
_PUBLIC: Final = re.compile(
    r"(^|[^a-z])(iris|titanic|[a-z]*mnist\w*|cifar\w*|boston|california_?housing|wine(quality)?|winequality\w*|diabetes|breast_?cancer|penguins|movielens"
    r"|ml-\w+|imdb\w*|squad\w*|snli|glue|wikitext\w*|shakespeare|ames|adult|census|tinyshakespeare|coco|imagenet|tiny_?stories|alpaca(_data)?|openwebtext)"
    r"([^a-z]|$)|openml\.org|archive\.ics\.uci\.edu|seaborn-data",
    re.IGNORECASE,
)
_LATEST: Final = re.compile(r"(^|[/_\-.:=])latest([/\-.:]|$)", re.IGNORECASE)
_MINE: Final = re.compile(r"oof|stack|pseudo|meta|level", re.IGNORECASE)
_REVIEWED: Final = frozenset({
    "label", "labels", "labeled", "labelled", "human", "reviewed", "review", "approved", "verified", "annotated",
    "gold", "corrected", "feedback",
})  # fmt: skip
_CACHE: Final = re.compile(r"cache|preprocessed|processed", re.IGNORECASE)
_SPARK: Final = {"kind": "file", "of": ["path", 0]}
_WATCHES: Final = frozenset({"monitor", "monitoring", "monitors", "drift"})
_LOADS: Final = frozenset({"load", "read", "get", "fetch", "dataset", "data"})


class Sources:
    """The reads of a program that train."""

    def __init__(self, code: Code, facts: Facts) -> None:
        self.code = code
        self.checks = data_checks(facts)
        self.learning = Learning(code)
        self._local = {word for row in rows().get("read", ()) for word in row.get("local", ()) if "folder" not in word}
        self._public = {word for row in rows().get("public", ()) for word in row.get("names", ())}

    # ---- reads

    @cached_property
    def reads(self) -> list[tuple[Ref, Row]]:
        """The calls that read data, those by which other things are read as well only where a word says data."""
        if not self.learning.fits:
            return []
        found = [(call, row) for call, row in self.code.calls("read") if self._reads_data(call, row)]
        known = {call for call, _ in found}
        found += [(call, _SPARK) for call in self._by_name() if call not in known]
        return found[:_MOST]

    def _by_name(self) -> Iterator[Ref]:
        """`spark.read.format(…).option(…).load()`, whose way is too long to have a meaning."""
        judged = frozenset(self.code.routines)
        for name in ("load", "csv", "parquet", "table"):
            for call in self.code.program.calls.get(name, ()):
                if (
                    call.routine in judged
                    and ".read." in f".{self.code.written(call)}"
                    and "spark" in self.code.written(call)
                ):
                    yield call

    def _reads_data(self, call: Ref, row: Row) -> bool:
        at = place(call, row)
        said = words(self.code, call, at)
        if row["kind"] == "folder" or row.get("documents") or any_of(said, _PUBLIC):
            return False
        if row["kind"] == "hub":
            return self._is_local(call, row)
        last = self.code.written(call).rpartition(".")[2]
        if last == "fromfile" or (last == "open" and row.get("weak")) or last in ("Path", "parse"):
            return False
        if not row.get("weak") or last in ("DictReader", "reader"):
            return True
        return any_of(said, _DATA) and not any_of(said, _NO_DATA)

    def _is_local(self, call: Ref, row: Row) -> bool:
        """`load_dataset("csv", data_files=…)`: a file, not a repository of the hub."""
        at = self.code.argument(call, "path", 0)
        name = {text(one.node) for one in values(self.code, at)} if at is not None else set()
        if name & self._public:
            return False
        files = [found for word in row.get("files", ()) if (found := self.code.argument(call, word)) is not None]
        said = [text(one.node) for found in files for one in values(self.code, found)]
        if any("huggingface.co" in one or one.startswith("hf://") for one in said):
            return False
        return bool(
            (name & self._local and files)
            or any(
                one.endswith((".csv", ".json", ".jsonl", ".parquet")) or one.startswith(("./", "../", "/"))
                for one in name
            )
        )

    # ---- what trains

    def find(self) -> Iterator[DataSource]:
        """Every function that reads what is learned from, at its first such read."""
        found: dict[Routine, list[tuple[bool, DataSource]]] = {}
        for call, row in self.reads:
            first = None if self._is_own_file(call, row) else self.learning.first(call)
            if first is None:
                continue
            kept = any_of(words(self.code, call, place(call, row)), _CACHE)
            found.setdefault(call.routine, []).append((kept, self._source(call, row, *first)))
        for sources in found.values():
            yield self._merged(sources)

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

    def _source(self, call: Ref, row: Row, reached: Reached, end: End) -> DataSource:
        at = place(call, row)
        path = written(self.code, at)
        way = [*reached.path(end.value), end.call]
        validations = dict.fromkeys([*self.checks.on(reached, way), *self._elsewhere(call, path)])
        latest = next((one for one in words(self.code, call, at) if "/" in one and _LATEST.search(one)), "")
        name = self.code.name(call.routine)
        trains = self.code.written(end.call)
        steps = self._steps(call, reached, end)
        return DataSource(
            call.at,
            self.code.written(call),
            path.replace(UNKNOWN, "…"),
            name,
            trains,
            steps,
            tuple(validations),
            self.learning.saved(end.call),
            latest=latest,
        )

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

    # ---- loaders that nobody in sight calls

    def left_open(self, reached: Reached) -> bool:
        """Whether data leaves by the answer of a loader that nothing of the repository calls: who does, trains."""
        for edge in reached.edges:
            routine = edge.user.routine
            if (
                edge.user.node.op == "return"
                and not self.code.meanings.callers(routine)
                and tokens(routine.function.name) & _LOADS
            ):
                return True
        return False

    def latest(self) -> Iterator[DataSource]:
        """Reads of what changes under its name, that train or that a loader gives away."""
        for call, row in self.code.calls("read"):
            if row.get("weak") or row["kind"] == "table":
                continue
            at = place(call, row)
            said = next(
                (one for one in words(self.code, call, at) if _LATEST.search(one) and not one.isidentifier()), ""
            )
            first = self.learning.first(call) if said else None
            if first is not None:
                yield self._source(call, row, *first)
            elif said and self.left_open(self.code.flow.forward(call)):
                name = self.code.name(call.routine)
                yield DataSource(
                    call.at, self.code.written(call), said, name, "", (Step(call.at, "read here"),), latest=said
                )


def _watches(check: DataValidation) -> bool:
    """Whether a check stands where what a model gets, and answers, is monitored."""
    return bool(tokens(check.at.path) & _WATCHES)


def sources(facts: Facts) -> Sources:
    """The reads of a repository."""
    return facts.once("data sources", lambda facts: Sources(program(facts), facts))


def data_sources(facts: Facts) -> tuple[DataSource, ...]:
    """What a repository's training reads."""
    return facts.once("data that trains", lambda facts: tuple(sources(facts).find()))


def latest_data(facts: Facts) -> tuple[DataSource, ...]:
    """What it reads by a name that does not stay the same."""
    return facts.once("latest data", lambda facts: tuple(sources(facts).latest()))


def own_outputs(facts: Facts) -> tuple[OwnOutputs, ...]:
    """What a repository's models write and learn from."""
    return facts.once("own outputs", lambda facts: tuple(sources(facts).own_outputs()))
