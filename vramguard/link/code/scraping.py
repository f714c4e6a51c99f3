"""What comes over the network and is kept as data, and whether anybody reads its status on the way.

A page that was not found is a page: without `raise_for_status` it becomes a row, a document, a product.
"""

from __future__ import annotations

import re
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import WebData
from vramguard.facts.outputs import Step
from vramguard.link.code import program
from vramguard.link.code.keeping import Keeping
from vramguard.link.code.learning import Learning
from vramguard.link.code.places import any_of, origins
from vramguard.link.code.program import Ref
from vramguard.link.code.words import text, texts, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge, Reached
    from vramguard.link.code.program import Routine
    from vramguard.link.code.roles import Row

_MOST: Final = 200  # requests that are followed
_STEPS: Final = 6
_FEW: Final = 20  # places where a name is asked for
_GETS: Final = frozenset({
    "get", "request", "urlopen", "open", "stream", "load", "lazy_load", "aload", "load_and_split", "scrape",
    "fetch_all", "load_data", "lazy_load_data", "send",
})  # fmt: skip
_OTHER: Final = ("connection", "client", "store", "grpc", "table", "crawl", "registry")
# Endpoints of models: what they answer is no page.
_MODELS: Final = re.compile(
    r"/v\d(beta)?/(models|messages|responses|images|audio|rerank|infer|tokenize)|/generate|/predict|/completions|/chat|/embed|ollama|openai|/api/tags|/health|localhost|127\.0\.0\.1|inference",
    re.IGNORECASE,
)


class Scraping:
    """The requests of a program whose answers are kept as data."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.learning = Learning(code)
        self.keeping = Keeping(code, self.learning)

    def find(self) -> Iterator[WebData]:
        """Every request whose answer becomes data with its status unread, one for each place."""
        seen = set[tuple[str, int]]()
        for call, row, source in list(self.requests())[:_MOST]:
            key = call.at.path, call.at.line
            if key in seen:
                continue
            found = self._kept(call, row, source)
            if found is not None:
                seen.add(key)
                yield found

    # ---- requests

    def requests(self) -> Iterator[tuple[Ref, Row, Ref]]:
        """The requests that ask for a page or a file, each with what it gives: for a browser the page's source."""
        for call, row in self.code.calls("fetch"):
            if any("UnstructuredURLLoader" in path for path in self.code.meanings.called(call)):
                continue  # unstructured asks for the status itself
            if (
                row.get("kind") in _OTHER
                or (row.get("raises") and row.get("kind") != "browser")
                or self._is_model(call)
            ):
                continue
            last = self.code.written(call).rpartition(".")[2]
            if row.get("kind") == "browser":
                yield from ((call, row, page) for page in self._page(call))
            elif last in _GETS and self._is_get(call, last) and not self._raises_by_itself(call, row):
                yield call, row, call

    def asked(self) -> Iterator[Ref]:
        """Every other request whose answer may be data: with a body, or of what raises by itself, and by libraries."""
        for call, row in self.code.calls("fetch"):
            if row.get("kind") is None and not self._is_model(call):
                yield call
        yield from (call for call, _ in self.code.calls("remote"))

    def _is_get(self, call: Ref, last: str) -> bool:
        if last not in ("request", "send", "stream"):
            return True
        method = self.code.argument(call, "method", 0)
        return method is not None and text(method.node).upper() in ("GET", "")

    def _is_model(self, call: Ref) -> bool:
        return any_of(
            (one for number in call.node.inputs[1:] if number != NONE for one in texts(self.code, call.to(number))),
            _MODELS,
        )

    def _raises_by_itself(self, call: Ref, row: Row) -> bool:
        """`ClientSession(raise_for_status=True)`, `loader.raise_for_status = True`, `Client(event_hooks=…)`."""
        words = [
            word for word in (row.get("raises_keyword"), row.get("raises_constructor_keyword"), "event_hooks") if word
        ]
        made = [one for one in self._receivers(call) if one.node.op == "call"]
        for one in (call, *made):
            given = [self.code.argument(one, word) for word in words]
            if any(found is not None and found.node.name != "False" for found in given):
                return True
        stores = (*self.code.program.stores.get("raise_for_status", ()), *self.code.program.stores.get("hooks", ()))
        return any(store.routine is call.routine for store in stores)

    def _receivers(self, call: Ref) -> Iterator[Ref]:
        """What made the client that a request is asked of."""
        function = call.to(call.node.inputs[0])
        if function.node.op == "attr":
            pending = [function.node.inputs[0]]
            for number in pending:
                one = call.to(number)
                yield one
                if one.node.op in ("join", "enter", "grown") and len(pending) < 8:  # noqa: PLR2004
                    pending += [inner for inner in one.node.inputs if inner != NONE and inner not in pending]
                if one.node.op == "name":
                    yield from self.code.program.lookup(one.routine, one.node.name)

    @staticmethod
    def _page(call: Ref) -> Iterator[Ref]:
        """`driver.page_source`, `await page.content()` behind `driver.get(url)`."""
        nodes = call.routine.function.nodes
        for number, node in enumerate(nodes):
            if number > call.number and node.op == "attr" and node.name == "page_source":
                yield call.to(number)
                return

    # ---- where they are kept

    def _kept(self, call: Ref, row: Row, source: Ref) -> WebData | None:
        """How an answer is kept with its status unread, if it is."""
        checks = frozenset(row.get("checks", ()))
        first = self.learning.follow(source)
        sinks = list(self._sinks(call, first))
        ways = [(first, first.path(edge.value), edge, kind) for edge, kind in sinks]
        if not sinks:
            ways = [
                (reached, [*before, *reached.path(edge.value)], edge, kind)
                for before, reached in self._from_outside(first)
                for edge, kind in self._sinks(call, reached)
                if not self._is_checked(first, before, checks)
            ]
        for reached, way, edge, kind in ways:
            path = [*way, edge.user]
            if not self._is_checked(reached, path, checks):
                return self._found(call, reached, path, kind, checks)
        return None

    def _found(self, call: Ref, reached: Reached, path: list[Ref], kind: str, checks: frozenset[str]) -> WebData:
        strict = any(self._is_strict(ref, before) for before, ref in pairwise(path))
        strict = strict or any(self._content(ref, reached) for ref in path)
        named, sink = self.code.name(call.routine), self.code.written(path[-1])
        steps = self._steps(call, path, kind)
        return WebData(call.at, self.code.written(call), named, sink, kind, steps, tuple(sorted(checks)), strict)

    def _sinks(self, call: Ref, reached: Reached) -> Iterator[tuple[Edge, str]]:
        for edge in reached.edges:
            kind = self.keeping.sink(edge, call)
            if kind:
                yield edge, kind

    def _from_outside(self, reached: Reached) -> Iterator[tuple[list[Ref], Reached]]:
        """What goes on from `collector.rows`, where a method has kept what it got in `self.rows`."""
        seen = set[str]()
        for edge in reached.edges:
            owner = self.code.program.owner(edge.user.routine) if edge.user.node.op == "store" else None
            name = edge.user.node.name
            if owner is None or edge.position != 1 or name in seen:
                continue
            seen.add(name)
            for one in self._asked_for.get(name, ())[:_FEW]:
                if any(
                    made.node.op == "call" and self.code.own_class(made) is owner for made in values(self.code, one)
                ):
                    attribute = next(user for user in one.routine.users[one.number] if self._is_named(one, user, name))
                    yield reached.path(edge.value), self.learning.follow(one.to(attribute))

    @staticmethod
    def _is_named(base: Ref, user: int, name: str) -> bool:
        node = base.routine.function.nodes[user]
        return node.op == "attr" and node.name == name

    @cached_property
    def _asked_for(self) -> dict[str, list[Ref]]:
        """What attributes are asked of, by their names: not `self`."""
        found: dict[str, list[Ref]] = {}
        for routine in self.code.routines:
            for number in routine.all_of("attr"):
                node = routine.function.nodes[number]
                base = Ref(routine, node.inputs[0])
                if base.node.op != "param":
                    found.setdefault(node.name, []).append(base)
        return found

    # ---- what looks at them

    def _is_checked(self, reached: Reached, path: list[Ref], checks: frozenset[str]) -> bool:
        """Whether the status is read on a way, or by what is given the answer, so that an error leaves it."""
        on = {ref.routine for ref in path}
        for routine in reached.routines:
            asked = self._asked(routine, reached.values(routine), checks)
            if not asked or not (
                routine in on or any(call.routine in on for call in self.code.meanings.callers(routine))
            ):
                continue
            if any(self.code.written(Ref(routine, number)).endswith("raise_for_status") for number in asked):
                return True
            if self._decides(routine, asked, path):
                return True
        return any(self._content(ref, reached) == "refuses" for ref in path)

    @staticmethod
    def _asked(routine: Routine, values: frozenset[int], checks: frozenset[str]) -> frozenset[int]:
        """Where a function reads the status of an answer."""
        found = set[int]()
        for number in routine.all_of("attr"):
            node = routine.function.nodes[number]
            if node.name in (checks or {"raise_for_status", "status_code", "ok"}) and node.inputs[0] in values:
                found.add(number)
        return frozenset(found)

    def _decides(self, routine: Routine, asked: frozenset[int], path: list[Ref]) -> bool:
        """Whether a condition on the status leaves, or stands around the way."""
        function = routine.function
        for number, block in enumerate(function.blocks):
            if block.test == NONE or block.kind not in ("if", "else", "while", "assert", "case", "with"):
                continue
            if self.code.guards.about(Ref(routine, block.test), asked):
                around = any(ref.routine is routine and number in routine.blocks[ref.node.block] for ref in path)
                if block.leaves or around or block.kind == "assert":
                    return True
        ways = {"if", "and", "or", "return", "raise", "call"}
        users = {user for number in asked for user in self._uses(routine, number)}
        return any(function.nodes[user].op in ways and self._keeps(Ref(routine, user)) for user in users)

    def _keeps(self, user: Ref) -> bool:
        """A status that is answered, chosen by, or given to a function of the repository: a printed one is not read."""
        return user.node.op != "call" or bool(self.code.meanings.routines(user))

    @staticmethod
    def _uses(routine: Routine, number: int) -> Iterator[int]:
        for user in routine.users.get(number, ()):
            yield user
            if routine.function.nodes[user].op in ("compare", "unary"):
                yield from routine.users.get(user, ())

    def _content(self, ref: Ref, reached: Reached) -> str:
        """Whether a place is reached only where the page had what was looked for (`refuses`: the ways without it
        leave), or where a part of it is the one that was asked for (`selects`: most error pages have none).
        """
        found = ""
        values_ = reached.values(ref.routine)
        for condition in self.code.guards.around(ref):
            test = condition.test
            if self.code.guards.about(test, values_) and self._looks_inside(test, values_):
                if not self._selects(test, values_):
                    return "refuses"
                found = "selects"
        return found

    def _selects(self, test: Ref, values_: frozenset[int]) -> bool:
        """`row["date"] == date`: which part, not whether there is any."""
        asked = [one for one in within(test) if one.node.op not in ("and", "or", "unary")]
        compares = [one for one in asked if one.node.op == "compare"]
        return bool(compares) and all(
            one.node.name in ("==", "!=")
            and sum(self.code.guards.about(inner, values_) for inner in one.inputs()) == 1
            and not any(inner.node.op == "const" for inner in one.inputs())
            for one in compares
        )

    def _looks_inside(self, test: Ref, values: frozenset[int]) -> bool:
        """`if title is None`, `if not rows`, `"404" in page.text`: about a part of the page, not the answer itself."""
        for one in within(test):
            if one.number in values and one.node.op in (
                "call",
                "attr",
                "item",
                "join",
                "part",
                "grown",
                "binary",
                "if",
            ):
                return True
        return False

    def _is_strict(self, ref: Ref, before: Ref) -> bool:
        """`response.json()["items"]`."""
        node = ref.node
        if node.op != "item" or node.inputs[0] != before.number or not text(ref.to(node.inputs[1]).node):
            return False
        return before.node.op == "item" or all(
            one.node.op == "call" and self.code.written(one).endswith((".json", "loads")) for one in origins(before)
        )

    # ---- evidence

    def _steps(self, call: Ref, path: list[Ref], kind: str) -> tuple[Step, ...]:
        steps = [Step(call.at, f"`{self.code.written(call)}(…)` asks for it, and nothing reads the status")]
        steps += self.learning.through(path[1:-1])
        last = Step(path[-1].at, f"`{self.code.written(path[-1])}(…)` keeps it ({kind})")
        return (*dict.fromkeys(steps[:_STEPS]), last)


def web_data(facts: Facts) -> tuple[WebData, ...]:
    """What a repository fetches and keeps as data without reading its status."""
    return facts.once("web data", lambda facts: tuple(Scraping(program(facts)).find()))
