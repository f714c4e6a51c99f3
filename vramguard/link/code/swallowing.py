"""Rows and errors that a loader lets vanish: options that skip what cannot be read, handlers that go on as if nothing
had been. Only where what is left is learned from, or is kept as data; and only where nobody counts.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import SwallowedError
from vramguard.facts.outputs import Step
from vramguard.link.code import program
from vramguard.link.code.datasets import sources
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import rows
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

_MOST: Final = 200
_FEW: Final = 60  # calls of a function
_SAYS: Final = frozenset({
    "print", "debug", "info", "warning", "warn", "error", "exception", "critical", "log", "write", "secho", "echo",
    "print_exc", "pprint",
})  # fmt: skip
_PAGES: Final = ("tqdm.write", "stderr.write", "stdout.write")  # what is written there is only said
# What a handler may hold beside what it says: nothing of it counts, or keeps.
_IDLE: Final = frozenset(
    {"const", "caught", "name", "import", "join", "attr", "param", "compare", "unary", "and", "or"}
)
_PICTURES: Final = re.compile(
    r"(^|\.)(Image\.open|imread\w*|read_image|decode_(image|jpeg|png)|dcmread|read_video|VideoReader|load_audio|sf\.read"
    r"|soundfile\.read|open_image|load_img)$"
)
# Words by which a function says that it keeps account of what it loses.
_ACCOUNTS: Final = frozenset({
    "skipped", "skips", "failed", "failures", "fails", "failure", "errors", "bad", "invalid", "dropped", "missing",
    "rejected", "corrupt", "corrupted", "broken", "quarantine", "ignored", "malformed", "unreadable",
})  # fmt: skip
_ENDS: Final = frozenset({"IndexError", "KeyError", "StopIteration", "AttributeError", "GeneratorExit"})
_COLLECTS: Final = frozenset({"append", "add", "update", "inc", "increment", "put", "insert", "setdefault"})
_PARSES: Final = frozenset({
    "loads", "load", "literal_eval", "fromstring", "parse", "reader", "DictReader", "strptime", "from_dict",
    "model_validate", "parse_obj", "model_validate_json",
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
# What is told of data, or shown of it, is no loader's.
_ABOUT: Final = frozenset({
    "statistics", "stats", "sample", "preview", "info", "metadata", "summary", "schema", "columns", "count", "names",
    "list", "status", "options",
})  # fmt: skip
_EMPTY: Final = ("items", "table")
_STREAMS: Final = frozenset({"stream", "chunk", "sse", "ws", "websocket", "event"})


class Swallowing:
    """The loaders of a program that lose what they cannot read."""

    def __init__(self, code: Code, data: Sources) -> None:
        self.code = code
        self.data = data
        self.learning = data.learning
        self.scraping = Scraping(code)

    def find(self) -> Iterator[SwallowedError]:
        """Every option and every handler that makes rows vanish, one for each place."""
        seen = set[tuple[str, int]]()
        for one in (*self._options(), *self._handlers(), *self._substitutes()):
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
            kept = None if of_text else self._kept(reached, start)
            if kept is not None:
                return (Step(kept.at, f"`{self.code.written(kept)}(…)` keeps what is left"),)
            staged = None if of_text else self.data.staged(reached)
            if staged is not None:
                write, path = staged
                return (
                    Step(
                        write.at, f"`{self.code.written(write)}(…)` writes what is left to {path}, of which is learned"
                    ),
                )
            if (
                not of_text
                and start == source
                and source.node.op == "call"
                and self.data.left_open(reached)
                and self.code.row("read", source) is not None
            ):
                return (Step(source.at, "the loader gives away what is left"),)
        return None

    def _kept(self, reached: Reached, source: Ref | None = None) -> Ref | None:
        """Where data is kept: what came over the network in a table or a file as well."""
        for edge in reached.edges:
            if source is not None and source in self._fetches and self.scraping.keeping.sink(edge, source):
                return edge.user
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
                and not tokens(routine.function.name) & _ABOUT
                and tokens("/".join(routine.path.split("/")[-2:])) & _PREPARING
            ):
                steps = (Step(at, f"`{routine.function.name}` loads the data of {routine.path}"),)
            owner = self.code.program.owner(routine)
            if steps is None and reads and owner is not None and self._is_dataset(owner):
                steps = (Step(at, f"`{self.code.name(routine)}` gives what is left to whatever learns"),)
            if steps is not None:
                how = "except: " + ("an empty collection" if blank is not None else block.leaves or "pass")
                yield SwallowedError(at, how, "what could not be read", self.code.name(routine), steps)

    def _quiet(self, routine: Routine) -> Iterator[int]:
        """The handlers that give an empty collection, or go on with the loop and count nothing: what they print nobody
        has to read.
        """
        function = routine.function
        if tokens(routine.function.name) & _STREAMS:
            return
        for number, block in enumerate(function.blocks):
            if block.kind != "except" or block.leaves in ("raise", "exit", "break"):
                continue
            if self._blank(routine, number) is not None:
                if tokens(function.name) & _ROWS:
                    yield number
            elif self._repeats(routine, number) and self._only_says(routine, number) and not self._accounts(routine):
                yield number

    def _only_says(self, routine: Routine, number: int) -> bool:
        """Whether a handler does nothing but say something: no count, no list of what was lost."""
        nodes = routine.function.nodes
        inside = [n for n, node in enumerate(nodes) if number in routine.blocks[node.block]]
        said = [n for n in inside if nodes[n].op == "call" and self._says(Ref(routine, n))]
        spoken = {one.number for n in said for one in within(Ref(routine, n))}
        return all(n in spoken or self._is_nothing(Ref(routine, n)) for n in inside)

    def _says(self, call: Ref) -> bool:
        written = self.code.written(call)
        last = written.rpartition(".")[2]
        return last in _SAYS and (last != "write" or written.endswith(_PAGES))

    @staticmethod
    def _accounts(routine: Routine) -> bool:
        """Whether a function has a name for what it loses: a count or a list that it keeps."""
        return any(tokens(name) & _ACCOUNTS for name in routine.function.names)

    def _repeats(self, routine: Routine, number: int) -> bool:
        """Whether a handler stands in a loop that goes on: not one that tries again until it has what it wants. A
        `while` may be that: only where something was parsed that was read before.
        """
        blocks = routine.function.blocks
        around = [blocks[one].kind for one in routine.blocks[number]]
        tries = [block for block in blocks if block.kind == "try" and block.parent == blocks[number].parent]
        if any(block.leaves in ("break", "return") for block in tries):
            return False
        return "for" in around or ("while" in around and self._rows_of_a_file(routine, number))

    def _rows_of_a_file(self, routine: Routine, number: int) -> bool:
        """Whether a loop that is no `for` reads the lines of a file."""
        nodes, loops = routine.function.nodes, routine.blocks[number]
        reads = (n for n in routine.all_of("call") if set(loops) & set(routine.blocks[nodes[n].block]))
        return any(self._last(Ref(routine, n)) in ("readline", "next", "__next__", "readlines") for n in reads)

    @staticmethod
    def _is_nothing(ref: Ref) -> bool:
        if ref.node.op == "caught" and sum(ref.number in held for held in ref.routine.function.names.values()) > 1:
            return False  # kept under another name, for later
        return ref.node.op in _IDLE or (ref.node.op == "return" and not ref.node.inputs)

    # ---- another in its place

    def _substitutes(self) -> Iterator[SwallowedError]:
        """`__getitem__` of a data set that gives a blank, or a neighbour, for what could not be read."""
        for routine in self.code.routines if self.learning.fits else ():
            owner = self.code.program.owner(routine) if routine.function.name == "__getitem__" else None
            if owner is None or not self._is_dataset(owner):
                continue
            for number, block in enumerate(routine.function.blocks):
                if block.kind == "except" and block.leaves == "return" and self._replaces(routine, number):
                    at = Location(routine.path, block.line, 1, block.line, 1)
                    name = self.code.name(routine)
                    steps = (Step(at, f"`{name}` gives something else in its place to whatever learns"),)
                    yield SwallowedError(at, "except: something else", "what could not be read", name, steps)

    def _is_dataset(self, owner: Routine) -> bool:
        around = self.code.program.parent(owner)
        names = [owner.function.name, *(self.code.written(Ref(around, number)) for number in owner.function.bases)]
        return any(word in name for name in names for word in ("Dataset", "DataLoader", "DataModule"))

    def _replaces(self, routine: Routine, number: int) -> bool:
        """Whether a handler answers something, and notes nowhere that it did."""
        nodes, block = routine.function.nodes, routine.function.blocks[number]
        caught = {nodes[n].name.rpartition(".")[2] for n in (block.test,) if n != NONE}
        inside = [n for n, node in enumerate(nodes) if number in routine.blocks[node.block]]
        if caught & _ENDS or self._accounts(routine) or not any(nodes[n].op == "return" for n in inside):
            return False
        calls = [self._last(Ref(routine, n)) for n in inside if nodes[n].op == "call"]
        keeps = any(nodes[n].op in ("store", "grown", "yield") for n in inside) or bool(set(calls) & _COLLECTS)
        return not keeps

    def _blank(self, routine: Routine, number: int) -> Ref | None:
        """The empty collection that a handler gives for what could not be read, where that is all that it does."""
        found = None
        for inner, node in enumerate(routine.function.nodes):
            if number not in routine.blocks[node.block]:
                continue
            if (node.op in _EMPTY and not node.inputs) or self._is_empty_frame(Ref(routine, inner)):
                found = Ref(routine, inner)
            elif self._does(Ref(routine, inner)):
                return None
        return found

    def _is_empty_frame(self, ref: Ref) -> bool:
        """`pd.DataFrame()`."""
        return ref.node.op == "call" and len(ref.node.inputs) == 1 and self._last(ref) in ("DataFrame", "Series")

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
        return reads or self._taking(routine, calls)

    def _taking(self, routine: Routine, calls: list[Ref]) -> list[Ref]:
        """The calls that take what the same function has read before: a row that cannot be prepared is lost as well."""
        owner = self.code.program.owner(routine)
        if not calls or not (tokens(routine.function.name) & _LOADER or (owner and self._is_dataset(owner))):
            return []
        before = [Ref(routine, n) for n in routine.all_of("call") if n < calls[0].number]
        taken = {edge.user for one in before[:_FEW] if self._reads(one) for edge in self.learning.follow(one).edges}
        return [call for call in calls if call in taken and self._last(call) not in _SAYS][:1]

    def _reads(self, call: Ref) -> bool:
        row = self.code.row("read", call)
        written = self.code.written(call)
        known = row is not None and not row.get("weak")
        return (
            known or written.rpartition(".")[2] in _PARSES or bool(_PICTURES.search(written)) or call in self._fetches
        )

    @cached_property
    def _fetches(self) -> frozenset[Ref]:
        """The requests that ask for a page."""
        return frozenset(source for _, _, source in self.scraping.requests())

    @cached_property
    def _readers(self) -> set[Routine]:
        return {call.routine for call, row in self.code.calls("read") if not row.get("weak")}


def swallowed_errors(facts: Facts) -> tuple[SwallowedError, ...]:
    """What a repository's loaders let vanish."""
    return facts.once("swallowed errors", lambda facts: tuple(Swallowing(program(facts), sources(facts)).find()))
