"""Rows and errors that a loader lets vanish: options that skip what cannot be read, handlers that go on as if nothing
had been. Only where what is left is learned from, or is kept as data; and only where nobody counts.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import SwallowedError
from vramguard.facts.outputs import Step
from vramguard.link.code import program
from vramguard.link.code.datasets import sources
from vramguard.link.code.latest import left_open
from vramguard.link.code.loaders import LOADER, Loaders
from vramguard.link.code.program import Ref
from vramguard.link.code.quiet import ENDS, Handler, Quiet
from vramguard.link.code.roles import Table, rows
from vramguard.link.code.scraping import Scraping
from vramguard.link.code.words import text, tokens, values, within
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.datasets import Sources
    from vramguard.link.code.flow import Reached
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_MOST: Final = 300  # handlers that are looked at
_STARTS: Final = 4  # reads of a `try` that are followed
_INNER: Final = 6  # requests of the functions that it calls
_COLLECTS: Final = frozenset({"append", "add", "update", "inc", "increment", "put", "insert", "setdefault"})
_BY_ROW: Final = frozenset({"iterrows", "itertuples", "iter_rows"})
_COUNTS: Final = frozenset({"isna", "isnull", "notna", "isnan", "count"})
_FILLS: Final = frozenset({"fillna", "dropna", "interpolate", "ffill", "bfill"})
_PREPARING: Final = frozenset({
    "dataset", "datasets", "train", "training", "etl", "features", "feature", "ingest", "ingestion", "corpus",
    "finetune", "preprocess", "preprocessing", "preprocessor", "prepare", "preparation",
})  # fmt: skip
# What is told of data, or shown of it, is no loader's.
_ABOUT: Final = frozenset({
    "statistics", "stats", "sample", "preview", "info", "metadata", "summary", "schema", "columns", "count", "names",
    "list", "status", "options", "version", "versions", "history", "config", "path", "paths",
})  # fmt: skip


class Swallowing:
    """The loaders of a program that lose what they cannot read."""

    def __init__(self, code: Code, data: Sources) -> None:
        self.code = code
        self.data = data
        self.learning = data.learning
        self.scraping = Scraping(code)
        self.loaders = Loaders(code, self.scraping)
        self.quiet = Quiet(code)

    def find(self) -> Iterator[SwallowedError]:
        """Every option and every handler that makes rows vanish, one for each place."""
        seen = set[tuple[str, int]]()
        for one in (*self._options(), *self._handlers(), *self._elsewhere(), *self._substitutes()):
            key = one.at.path, one.at.line
            if key not in seen:
                seen.add(key)
                yield one

    # ---- options

    def _options(self) -> Iterator[SwallowedError]:
        for row in rows().get("swallow", ()):
            for call, how in self._with(row):
                if self._is_counted(call, row):
                    continue
                steps = self._used(call, of_text=how.endswith(("'ignore'", "'replace'")))
                if steps is not None:
                    lost = "values that cannot be converted" if row.get("counted_by") else "rows that cannot be read"
                    yield SwallowedError(call.at, how, lost, self.code.name(call.routine), steps)

    def _with(self, row: Row) -> Iterator[tuple[Ref, str]]:
        """The calls that say so: `on_bad_lines="skip"`."""
        for call, found in self._called:
            if not any(one is row for one in found):
                continue
            for word in [row["keyword"]] if isinstance(row["keyword"], str) else row["keyword"]:
                number = call.node.argument("-", word) if isinstance(word, int) else call.node.argument(word)
                said = self._said(call.to(number)) if number != NONE else None
                if said is not None and said in row["is"]:
                    yield call, f"{word}={said!r}" if isinstance(word, str) else repr(said)
                    break

    @cached_property
    def _called(self) -> list[tuple[Ref, list[Row]]]:
        """The calls that have a keyword of one of the rows, each with the rows that speak of it."""
        tables = [(Table([row]), row) for row in rows().get("swallow", ())]
        wanted = {
            word
            for _, row in tables
            for word in ([row["keyword"]] if isinstance(row["keyword"], str) else row["keyword"])
        }
        found = []
        for call, paths in self.code.called:
            if wanted & set(call.node.keywords) or (1 in wanted and call.node.keywords == ("", "")):
                mine = [row for one, row in tables if one.among(paths) is not None]
                found += [(call, mine)] if mine else []
        return found

    def _said(self, ref: Ref) -> object:
        for one in values(self.code, ref):
            name = one.node.name
            if one.node.op == "const":
                return {"True": True, "False": False}.get(name, text(one.node))
            return next(iter(sorted(self.code.meanings.paths(one))), None)
        return None

    @staticmethod
    def _is_counted(call: Ref, row: Row) -> bool:
        """Whether the function asks afterwards how much is missing: once it is filled or dropped, nothing is."""
        nodes = call.routine.function.nodes
        for number in call.routine.all_of("attr") if row.get("counted_by") else ():
            if number > call.number and nodes[number].name in _COUNTS:
                return True
            if number > call.number and nodes[number].name in _FILLS:
                return False
        return False

    def _used(self, source: Ref, *, of_text: bool = False, given: bool = True) -> tuple[Step, ...] | None:
        """How what is left is learned from, or kept as data; None where it is neither. Of a text that only misses
        letters (`of_text`) no more is asked than whether it trains. `given`: a loader that nobody calls counts too.
        """
        for start in self.learning.sources(source):
            reached = self.learning.follow(start)
            end = next(self.learning.ends(reached), None)
            if end is not None:
                return (Step(end.call.at, f"`{self.code.written(end.call)}(…)` learns from what is left"),)
            step = None if of_text else self._stays(reached, start)
            if step is not None:
                return (step,)
            if given and not of_text and start == source and self._given_away(reached, source):
                return (Step(source.at, "the loader gives away what is left"),)
        return None

    def _stays(self, reached: Reached, start: Ref) -> Step | None:
        """Where what is left is kept, or handed to what learns."""
        kept = self._kept(reached, start)
        if kept is not None:
            return Step(kept.at, f"`{self.code.written(kept)}(…)` keeps what is left")
        staged = self.data.staged(reached)
        if staged is not None:
            write, path = staged
            return Step(write.at, f"`{self.code.written(write)}(…)` writes what is left to {path}, of which is learned")
        step = self.learning.prepared(reached)
        if step is not None:
            return Step(step.at, f"`{self.code.name(step.routine)}` prepares what is left for a pipeline that learns")
        return None

    def _given_away(self, reached: Reached, source: Ref) -> bool:
        known = source.node.op == "call" and self.code.row("read", source) is not None
        return known and left_open(self.data, reached)

    def _kept(self, reached: Reached, source: Ref | None = None) -> Ref | None:
        """Where data is kept: what came over the network in a table or a file as well."""
        fetched = source is not None and self.loaders.is_fetched(source)
        for edge in reached.edges:
            if fetched and source is not None and self.scraping.keeping.sink(edge, source):
                return edge.user
            row = self.scraping.keeping.datasets.get(edge.user)
            keeps = row is not None and row["kind"] in ("vectors", "training") and edge.position > 0
            if keeps and self._last(edge.user) not in ("DataFrame", "dumps"):
                return edge.user
        return None

    # ---- handlers

    def _handlers(self) -> Iterator[SwallowedError]:
        found = [one for routine in self.code.routines for one in self.quiet.of(routine)][:_MOST]
        for one in found:
            steps = self._left(one)
            if steps is not None:
                name = self.code.name(one.routine)
                yield SwallowedError(one.at, one.how, "what could not be read", name, steps)

    def _left(self, one: Handler) -> tuple[Step, ...] | None:
        """How what is left behind a handler is learned from, or kept; None where it is neither."""
        reads = self.loaders.read_in(one)
        loads = one.names_rows and bool(tokens(one.routine.function.name) & LOADER)
        if one.blank is not None and not one.names_rows:
            return self._replaced(one, one.blank, reads)
        if not reads and not (one.blank is not None and loads):
            used = (self._used(start, given=False) for start in self._collected(one)[:_STARTS])
            return next((steps for steps in used if steps is not None), None)
        starts = [one.blank] if one.blank is not None else reads
        given = one.names_rows and not tokens(one.routine.function.name) & _ABOUT
        found = (self._used(start, given=given) for start in starts[:_STARTS])
        steps = next((used for used in found if used is not None), None)
        if steps is None and one.blank is None:
            steps = self._kept_by(reads)
        return steps or self._by_name(one, reads, loads=loads) or self._gathered(one, reads)

    def _collected(self, one: Handler) -> list[Ref]:
        """What a `try` collects of a table's rows that a loop goes through: rows that a schema refuses are lost."""
        routine, nodes = one.routine, one.routine.function.nodes
        loops = [
            routine.function.blocks[n] for n in routine.blocks[one.number] if routine.function.blocks[n].kind == "for"
        ]
        tests = [Ref(routine, block.test) for block in loops if block.test != NONE]
        if not any(
            inner.node.op == "call" and self._last(inner) in _BY_ROW for test in tests for inner in within(test)
        ):
            return []
        inside = (n for n in routine.all_of("grown") if one.attempt in routine.blocks[nodes[n].block])
        return [Ref(routine, n) for n in inside]

    def _replaced(self, one: Handler, blank: Ref, reads: list[Ref]) -> tuple[Step, ...] | None:
        """Of an empty table in place of one that could not be read, in a function that trains."""
        known = [call for call in reads if self._is_data(call)]
        if not known or blank.node.op == "table":
            return None
        if any(inner in self._training for inner in self.code.reaches(one.routine, 60)):
            return (Step(one.at, f"`{self.code.name(one.routine)}` trains on what is left"),)
        return self._used(blank)

    def _is_data(self, call: Ref) -> bool:
        """Whether a call reads a data set, by what is known of it or by the names of a function that does."""
        row = self.code.row("read", call)
        if row is not None:
            return not row.get("weak")
        own = any(tokens(routine.function.name) & LOADER for routine in self.code.meanings.routines(call))
        return own and self.loaders.is_loader(call)

    def _kept_by(self, reads: list[Ref]) -> tuple[Step, ...] | None:
        """How the functions that a `try` runs keep what they fetch, beside a program that trains."""
        asked = [fetch for call in reads if self.learning.fits for fetch in self.loaders.fetched_by(call)][:_INNER]
        for fetch in asked:
            kept = self._kept(self.learning.follow(fetch), fetch)
            if kept is not None:
                return (Step(kept.at, f"`{self.code.written(kept)}(…)` keeps what is left"),)
        return None

    def _by_name(self, one: Handler, reads: list[Ref], *, loads: bool) -> tuple[Step, ...] | None:
        """What names say of a loader, where nobody in sight learns from what it gives."""
        routine = one.routine
        words = tokens(routine.function.name)
        if one.blank is not None and loads and not words & _ABOUT and self._prepares(routine):
            return (Step(one.at, f"`{routine.function.name}` loads the data of {routine.path}"),)
        owner = self.code.program.owner(routine)
        if reads and owner is not None and self.loaders.is_dataset(owner):
            return (Step(one.at, f"`{self.code.name(routine)}` gives what is left to whatever learns"),)
        return None

    def _gathered(self, one: Handler, reads: list[Ref]) -> tuple[Step, ...] | None:
        """Of the tables that a loader gathers in a loop, beside a program that trains."""
        words, blocks = tokens(one.routine.function.name), one.routine.function.blocks
        looped = any(blocks[n].kind == "for" for n in one.routine.blocks[one.number])
        if not self.learning.fits or not looped or not words & LOADER or words & _ABOUT:
            return None
        nodes = one.routine.function.nodes
        grown = [n for n in one.routine.all_of("grown") if one.attempt in one.routine.blocks[nodes[n].block]]
        kept = {inner for n in grown for inner in within(Ref(one.routine, n))}
        if any(call in kept and self._is_data(call) and "page" not in self.loaders.kinds(call) for call in reads):
            return (Step(one.at, f"`{one.routine.function.name}` gathers data beside a program that trains"),)
        return None

    @staticmethod
    def _prepares(routine: Routine) -> bool:
        """Whether a file prepares data for training, by its name and its folder's."""
        return bool(tokens("/".join(routine.path.removesuffix(".py").split("/")[-2:])) & _PREPARING)

    @cached_property
    def _training(self) -> set[Routine]:
        return {call.routine for call in self.learning.fits}

    # ---- another in its place

    def _elsewhere(self) -> Iterator[SwallowedError]:
        """A file that lies about, where the data base or the service fails that training asks."""
        for routine in self.code.routines if self.learning.fits else ():
            for one, before, after in self.quiet.instead(routine):
                asked = self.loaders.kinds(before)
                if not asked & {"table", "page"} or asked & {"file"} or self.loaders.kinds(after) != {"file"}:
                    continue
                steps = self._used(after)
                if steps is not None:
                    yield SwallowedError(one.at, one.how, "what could not be read", self.code.name(routine), steps)

    def _substitutes(self) -> Iterator[SwallowedError]:
        """`__getitem__` of a data set that gives a blank, or a neighbour, for what could not be read."""
        for routine in self.code.routines if self.learning.fits else ():
            owner = self.code.program.owner(routine) if routine.function.name == "__getitem__" else None
            if owner is None or not self.loaders.is_dataset(owner):
                continue
            for number, block in enumerate(routine.function.blocks):
                if block.kind == "except" and block.leaves == "return" and self._replaces(routine, number):
                    at = Location(routine.path, block.line, 1, block.line, 1)
                    name = self.code.name(routine)
                    steps = (Step(at, f"`{name}` gives something else in its place to whatever learns"),)
                    yield SwallowedError(at, "except: something else", "what could not be read", name, steps)

    def _replaces(self, routine: Routine, number: int) -> bool:
        """Whether a handler answers something, and notes nowhere that it did."""
        nodes, block = routine.function.nodes, routine.function.blocks[number]
        caught = {nodes[n].name.rpartition(".")[2] for n in (block.test,) if n != NONE}
        inside = [n for n, node in enumerate(nodes) if number in routine.blocks[node.block]]
        if caught & ENDS or self.quiet.accounts(routine) or not any(nodes[n].op == "return" for n in inside):
            return False
        calls = [self._last(Ref(routine, n)) for n in inside if nodes[n].op == "call"]
        keeps = any(nodes[n].op in ("store", "grown", "yield") for n in inside) or bool(set(calls) & _COLLECTS)
        return not keeps

    def _last(self, call: Ref) -> str:
        return self.code.written(call).rpartition(".")[2]


def swallowed_errors(facts: Facts) -> tuple[SwallowedError, ...]:
    """What a repository's loaders let vanish."""
    return facts.once("swallowed errors", lambda facts: tuple(Swallowing(program(facts), sources(facts)).find()))
