"""What a `try` reads: files, tables, pages; itself, or by functions of the repository."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.quiet import SAYS
from vramguard.link.code.words import tokens, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.quiet import Handler
    from vramguard.link.code.scraping import Scraping

LOADER: Final = frozenset({
    "load", "read", "fetch", "get", "query", "loader", "dataset", "ingest", "collect", "download", "scrape", "crawl",
})  # fmt: skip
_FEW: Final = 60  # calls of a function
_DEEP: Final = 12  # functions that one leads to
_PICTURES: Final = re.compile(
    r"(^|\.)(Image\.open|imread\w*|read_image|decode_(image|jpeg|png)|dcmread|read_video|VideoReader|load_audio|sf\.read"
    r"|soundfile\.read|open_image|load_img)$"
)
_PARSES: Final = frozenset({
    "loads", "load", "literal_eval", "fromstring", "parse", "reader", "DictReader", "strptime", "from_dict",
    "model_validate", "parse_obj", "model_validate_json",
})  # fmt: skip


class Loaders:
    """Asks of calls whether they read."""

    def __init__(self, code: Code, scraping: Scraping) -> None:
        self.code = code
        self.scraping = scraping
        self.learning = scraping.learning

    def read_in(self, handler: Handler) -> list[Ref]:
        """What the `try` of a handler reads or parses, the nearest first: then what functions read that it calls."""
        routine, attempt = handler.routine, handler.attempt
        nodes = routine.function.nodes
        calls = [Ref(routine, n) for n in routine.all_of("call") if attempt in routine.blocks[nodes[n].block]]
        reads = [call for call in calls if self.reads(call)]
        reads = reads or [call for call in calls if self.is_loader(call)]
        return reads or self._taking(routine, calls)

    def reads(self, call: Ref) -> bool:
        """Whether a call reads or parses by itself."""
        row = self.code.row("read", call)
        written = self.code.written(call)
        known = row is not None and not row.get("weak")
        parses = written.rpartition(".")[2] in _PARSES or bool(_PICTURES.search(written))
        return known or parses or call in self.fetches

    def is_loader(self, call: Ref) -> bool:
        """Whether a call runs a function of the repository that reads a data set, or asks for a page."""
        return any(
            inner in self._readers or inner in self.fetchers
            for one in self.code.meanings.routines(call)
            for inner in self.code.reaches(one, _DEEP)
        )

    def is_fetched(self, read: Ref) -> bool:
        """Whether what is read came over the network."""
        if any(one in self.fetches for one in within(read)):
            return True
        return read.node.op == "call" and any(
            inner in self.fetchers
            for one in self.code.meanings.routines(read)
            for inner in self.code.reaches(one, _DEEP)
        )

    def fetched_by(self, call: Ref) -> Iterator[Ref]:
        """What the functions of the repository ask for that a call runs."""
        for one in self.code.meanings.routines(call):
            for inner in self.code.reaches(one, _DEEP):
                yield from self.fetchers.get(inner, ())

    def _taking(self, routine: Routine, calls: list[Ref]) -> list[Ref]:
        """The calls that take what the same function has read before: a row that cannot be prepared is lost as well."""
        owner = self.code.program.owner(routine)
        if not calls or not (tokens(routine.function.name) & LOADER or (owner and self.is_dataset(owner))):
            return []
        before = [Ref(routine, n) for n in routine.all_of("call") if n < calls[0].number]
        taken = {edge.user for one in before[:_FEW] if self.reads(one) for edge in self.learning.follow(one).edges}
        return [call for call in calls if call in taken and self.code.written(call).rpartition(".")[2] not in SAYS][:1]

    def is_dataset(self, owner: Routine) -> bool:
        """Whether a class is a data set, by its name and those of its bases."""
        around = self.code.program.parent(owner)
        names = [owner.function.name, *(self.code.written(Ref(around, number)) for number in owner.function.bases)]
        return any(word in name for name in names for word in ("Dataset", "DataLoader", "DataModule"))

    @cached_property
    def fetches(self) -> frozenset[Ref]:
        """The requests that ask for a page, by whatever method, and those that raise by themselves."""
        return frozenset((*(source for _, _, source in self.scraping.requests()), *self.scraping.asked()))

    @cached_property
    def fetchers(self) -> Mapping[Routine, list[Ref]]:
        """Them by their functions."""
        found: dict[Routine, list[Ref]] = {}
        for one in sorted(self.fetches, key=lambda one: (one.at, one.number)):
            found.setdefault(one.routine, []).append(one)
        return found

    def kinds(self, call: Ref) -> frozenset[str]:
        """What a call reads, itself or by functions of the repository: file, table, hub, folder; page."""
        found = {self._row_kind(call)} if self._row_kind(call) else set[str]()
        for one in self.code.meanings.routines(call):
            for inner in self.code.reaches(one, _DEEP):
                found |= self._kinds.get(inner, frozenset())
        return frozenset(found)

    def _row_kind(self, call: Ref) -> str:
        row = self.code.row("read", call)
        known = row is not None and not row.get("weak")
        return "page" if call in self.fetches else row["kind"] if row is not None and known else ""

    @cached_property
    def _kinds(self) -> Mapping[Routine, set[str]]:
        found: dict[Routine, set[str]] = {one: {"page"} for one in self.fetchers}
        for call, row in self.code.calls("read"):
            if not row.get("weak"):
                found.setdefault(call.routine, set()).add(row["kind"])
        return found

    @cached_property
    def _readers(self) -> set[Routine]:
        return {call.routine for call, row in self.code.calls("read") if not row.get("weak")}
