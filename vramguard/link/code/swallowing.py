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
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import rows
from vramguard.link.code.words import text, tokens, values
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

_MOST: Final = 200
_SAYS: Final = frozenset({
    "print", "debug", "info", "warning", "warn", "error", "exception", "critical", "log", "write", "secho", "echo",
})  # fmt: skip
_PARSES: Final = frozenset({
    "loads", "load", "literal_eval", "fromstring", "parse", "reader", "DictReader", "strptime", "from_dict",
})  # fmt: skip
_COUNTS: Final = frozenset({"isna", "isnull", "notna", "isnan", "count"})
_LOADER: Final = frozenset({"load", "read", "fetch", "get", "query", "loader", "dataset", "ingest", "collect"})
_ROWS: Final = frozenset({
    "data", "dataset", "datasets", "documents", "rows", "records", "samples", "examples", "articles", "features",
    "corpus", "docs", "texts", "reviews", "images", "files", "lines", "sentences", "tweets", "posts", "products",
    "items", "pages", "dataframe", "df",
})  # fmt: skip
_PREPARING: Final = frozenset({
    "dataset", "datasets", "train", "training", "etl", "features", "feature", "ingest", "ingestion", "corpus",
    "finetune",
})  # fmt: skip
_EMPTY: Final = ("items", "table")
_STREAMS: Final = frozenset({"stream", "chunk", "sse", "ws", "websocket", "event"})


class Swallowing:
    """The loaders of a program that lose what they cannot read."""

    def __init__(self, code: Code, data: Sources) -> None:
        self.code = code
        self.data = data
        self.learning = data.learning

    def find(self) -> Iterator[SwallowedError]:
        """Every option and every handler that makes rows vanish, one for each place."""
        seen = set[tuple[str, int]]()
        for one in (*self._options(), *self._handlers()):
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
        from vramguard.link.code.roles import Table

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

    def _is_counted(self, call: Ref, row: Row) -> bool:
        """Whether the function asks afterwards how much is missing."""
        if not row.get("counted_by"):
            return False
        function = call.routine.function
        return any(
            node.op == "attr" and node.name in _COUNTS and number > call.number
            for number, node in enumerate(function.nodes)
        )

    def _used(self, source: Ref, *, of_text: bool = False) -> tuple[Step, ...] | None:
        """How what is left is learned from, or kept as data; None where it is neither. Of a text that only misses
        letters (`of_text`) no more is asked than whether it trains.
        """
        for start in self.learning.sources(source):
            reached = self.learning.follow(start)
            end = next(self.learning.ends(reached), None)
            if end is not None:
                return (Step(end.call.at, f"`{self.code.written(end.call)}(…)` learns from what is left"),)
            kept = None if of_text else self._kept(reached)
            if kept is not None:
                return (Step(kept.at, f"`{self.code.written(kept)}(…)` keeps what is left"),)
            if (
                not of_text
                and start == source
                and source.node.op == "call"
                and self.data.left_open(reached)
                and self.code.row("read", source) is not None
            ):
                return (Step(source.at, "the loader gives away what is left"),)
        return None

    def _kept(self, reached: Reached) -> Ref | None:
        for edge in reached.edges:
            row = self._datasets.get(edge.user)
            keeps = row is not None and row["kind"] in ("vectors", "training") and edge.position > 0
            if keeps and self._last(edge.user) not in ("DataFrame", "dumps"):
                return edge.user
        return None

    @cached_property
    def _datasets(self) -> dict[Ref, Row]:
        return dict(self.code.calls("dataset"))

    # ---- handlers

    def _handlers(self) -> Iterator[SwallowedError]:
        found = [(routine, number) for routine in self.code.routines for number in self._quiet(routine)][:_MOST]
        for routine, number in found:
            block = routine.function.blocks[number]
            blank = self._blank(routine, number)
            reads = self._read_in(routine, block.parent)
            loads = blank is not None and tokens(routine.function.name) & _LOADER
            if not reads and not loads:
                continue
            starts = [blank] if blank is not None else reads
            at = Location(routine.path, block.line, 1, block.line, 1)
            steps = next((steps for one in starts[:4] if (steps := self._used(one)) is not None), None)
            if (
                steps is None
                and loads
                and tokens(routine.function.name) & _ROWS
                and tokens("/".join(routine.path.split("/")[-2:])) & _PREPARING
            ):
                steps = (Step(at, f"`{routine.function.name}` loads the data of {routine.path}"),)
            if steps is not None:
                how = "except: " + ("an empty collection" if blank is not None else block.leaves or "pass")
                yield SwallowedError(at, how, "what could not be read", self.code.name(routine), steps)

    def _quiet(self, routine: Routine) -> Iterator[int]:
        """The handlers that give an empty collection, or go on with the loop and neither count nor say anything."""
        function = routine.function
        if tokens(routine.function.name) & _STREAMS:
            return
        for number, block in enumerate(function.blocks):
            if block.kind != "except" or block.leaves in ("raise", "exit", "break"):
                continue
            inside = [n for n, node in enumerate(function.nodes) if number in routine.blocks[node.block]]
            if self._blank(routine, number) is not None:
                if tokens(function.name) & _ROWS:
                    yield number
            elif self._repeats(routine, number) and all(self._is_nothing(Ref(routine, n)) for n in inside):
                yield number

    @staticmethod
    def _repeats(routine: Routine, number: int) -> bool:
        """Whether a handler stands in a loop that goes on: not one that tries again until it has what it wants."""
        blocks = routine.function.blocks
        around = [blocks[one].kind for one in routine.blocks[number]]
        tries = [block for block in blocks if block.kind == "try" and block.parent == blocks[number].parent]
        return "for" in around and not any(block.leaves in ("break", "return") for block in tries)

    @staticmethod
    def _is_nothing(ref: Ref) -> bool:
        if ref.node.op == "caught" and sum(ref.number in held for held in ref.routine.function.names.values()) > 1:
            return False  # kept under another name, for later
        return ref.node.op in ("const", "caught", "name", "import", "join", "attr") or (
            ref.node.op == "return" and not ref.node.inputs
        )

    def _blank(self, routine: Routine, number: int) -> Ref | None:
        """The empty collection that a handler gives for what could not be read, where that is all that it does."""
        found = None
        for inner, node in enumerate(routine.function.nodes):
            if number not in routine.blocks[node.block]:
                continue
            if node.op in _EMPTY and not node.inputs:
                found = Ref(routine, inner)
            elif self._does(Ref(routine, inner)):
                return None
        return found

    def _does(self, ref: Ref) -> bool:
        """Whether a handler counts, collects, or calls what does more than say something."""
        node = ref.node
        if node.op == "call":
            return self._last(ref) not in _SAYS
        return node.op == "binary" or (node.op == "grown" and node.name != "[]")

    def _last(self, call: Ref) -> str:
        return self.code.written(call).rpartition(".")[2]

    def _read_in(self, routine: Routine, parent: int) -> list[Ref]:
        """What the `try` reads or parses."""
        function = routine.function
        tries = {
            number for number, block in enumerate(function.blocks) if block.kind == "try" and block.parent == parent
        }
        calls = [
            Ref(routine, n) for n in routine.all_of("call") if tries & set(routine.blocks[function.nodes[n].block])
        ]
        reads = [call for call in calls if self._reads(call)]
        if not reads and tokens(function.name) & _LOADER:
            reads = [
                call
                for call in calls
                if any(
                    inner in self._readers
                    for one in self.code.meanings.routines(call)
                    for inner in self.code.reaches(one, 12)
                )
            ]
        return reads

    def _reads(self, call: Ref) -> bool:
        row = self.code.row("read", call)
        last = self.code.written(call).rpartition(".")[2]
        return (row is not None and not row.get("weak")) or last in _PARSES

    @cached_property
    def _readers(self) -> set[Routine]:
        return {call.routine for call, row in self.code.calls("read") if not row.get("weak")}


def swallowed_errors(facts: Facts) -> tuple[SwallowedError, ...]:
    """What a repository's loaders let vanish."""
    return facts.once("swallowed errors", lambda facts: tuple(Swallowing(program(facts), sources(facts)).find()))
