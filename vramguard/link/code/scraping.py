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
from vramguard.link.code.learning import Learning
from vramguard.link.code.places import any_of, origins, written
from vramguard.link.code.program import Ref
from vramguard.link.code.words import text, texts, within
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
_GETS: Final = frozenset({
    "get", "request", "urlopen", "open", "stream", "load", "lazy_load", "aload", "load_and_split", "scrape",
    "fetch_all", "load_data", "lazy_load_data", "send",
})  # fmt: skip
_OTHER: Final = ("connection", "client", "store", "grpc", "table", "crawl", "registry")
# Endpoints of models: what they answer is no page.
_MODELS: Final = re.compile(
    r"/v1/|/generate|/predict|/completions|/chat|/embed|ollama|openai|/api/tags|/health|localhost|127\.0\.0\.1|inference",
    re.IGNORECASE,
)
_TEXTUAL: Final = re.compile(r"\.(csv|tsv|jsonl?|ndjson|txt|parquet|html?|xml|md|feather|arrow)\b", re.IGNORECASE)
_BINARY: Final = re.compile(
    r"\.(zip|tar|gz|tgz|bz2|7z|rar|pth?|ckpt|bin|onnx|h5|pkl|safetensors|gguf|png|jpe?g|gif|webp|svg|ico|mp[34]|wav|flac|pdf|whl|exe|deb|so|model|ttf|bpe|vocab)\b"
    r"|image|img|model|weight|checkpoint|font|audio|video|icon|logo",
    re.IGNORECASE,
)
_ABOUT_DATA: Final = re.compile(
    r"(^|[^a-z])(data|dataset|corpus|corpora|crawl\w*|scrap\w*|train\w*|documents?|docs|articles?|products?|reviews?|listings?|pages?|news|posts|records|rows|samples"
    r"|raw|ingest\w*|etl|harvest\w*|collect\w*|books?|quotes|jobs|tweets|comments|prices?|items|recipes|movies|papers)s?([^a-z]|$)",
    re.IGNORECASE,
)
# Words that say that something else than data is written; where they begin: a block is no lock, an estate no state.
_ASIDE: Final = re.compile(
    r"(?<![a-z])(?:cache|config|setting|token|cookie|session|log|report|version|badge|schema|openapi|manifest|status|release|lock"
    r"|license|state|checksum|notif)",
    re.IGNORECASE,
)
_TABLES: Final = (
    "to_csv",
    "to_json",
    "to_parquet",
    "to_feather",
    "to_excel",
    "to_pickle",
    "to_sql",
    "to_gbq",
    "to_hdf",
)
_INSERTS: Final = frozenset({
    "insert_one", "insert_many", "bulk_write", "replace_one", "bulk_insert", "bulk_save_objects",
    "bulk_insert_mappings", "executemany",
})  # fmt: skip
_WRITES: Final = re.compile(r"\s*(INSERT|REPLACE|MERGE|UPSERT|COPY)\b", re.IGNORECASE)
_SAVES: Final = frozenset({"save", "insert"})
_SCRAPES: Final = re.compile(r"crawl|scrap|spider|\betl\b|ingest|harvest|collect|feature.?pipeline", re.IGNORECASE)


class Scraping:
    """The requests of a program whose answers are kept as data."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.learning = Learning(code)

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
        reached = self.learning.follow(source)
        checks = frozenset(row.get("checks", ()))
        sinks = [(edge, kind) for edge in reached.edges if (kind := self.sink(edge, call))]
        for edge, kind in sinks:
            path = [*reached.path(edge.value), edge.user]
            if self._is_checked(reached, path, checks):
                continue
            named = self.code.name(call.routine)
            strict = any(self._is_strict(ref, before) for before, ref in pairwise(path))
            steps = self._steps(call, path, kind)
            return WebData(
                call.at,
                self.code.written(call),
                named,
                self.code.written(edge.user),
                kind,
                steps,
                tuple(sorted(checks)),
                strict,
            )
        return None

    def sink(self, edge: Edge, call: Ref) -> str:
        """What kind of data a value becomes here; empty for none."""
        user = edge.user
        if user.node.op != "call" or edge.position < 0 or user == call:
            return ""
        if user in self.learning.fits and self.learning.fits[user] != "job":
            return "training" if edge.position > 0 else ""
        row = self._datasets.get(user)
        last = self.code.written(user).rpartition(".")[2]
        if row is None:
            return self._database(user, edge, last, call)
        if row["kind"] in ("vectors", "training"):
            return row["kind"] if self._is_collected(edge, last) else ""
        if last in _TABLES or row["kind"] == "table":
            return "table" if edge.position == 0 and not self._is_aside(user) else ""
        return "file" if self._is_data_file(user, edge, last, call) else ""

    @cached_property
    def _datasets(self) -> dict[Ref, Row]:
        return dict(self.code.calls("dataset"))

    @staticmethod
    def _is_collected(edge: Edge, last: str) -> bool:
        """A document, a row or a text, not what is split, and not a path."""
        return edge.position > 0 and last not in (
            "DataFrame",
            "DataLoader",
            "TensorDataset",
            "dumps",
            "Dataset",
            "create_table",
        )

    def _database(self, user: Ref, edge: Edge, last: str, call: Ref) -> str:
        """Rows of a database that a crawler fills."""
        if not any_of([self.code.name(call.routine), call.routine.path.replace("/", " ")], _SCRAPES):
            return ""
        if edge.position <= 0:
            return "database" if last in _SAVES and len(user.node.inputs) == 1 and self._is_record(edge.value) else ""
        if last in _INSERTS and not self.code.meanings.routines(user):
            return "database"
        statement = self.code.argument(user, "sql", 0) if last == "execute" else None
        said = texts(self.code, statement) if statement is not None and edge.position > 1 else []
        return "database" if any(_WRITES.match(one) for one in said) else ""

    def _is_record(self, attribute: Ref) -> bool:
        """`Article(content=…).save()`: what is saved was made of what came."""
        made = list(origins(attribute.to(attribute.node.inputs[0]))) if attribute.node.op == "attr" else []
        return any(
            one.node.op == "call" and any(word not in ("", "*", "**") for word in one.node.keywords) for one in made
        )

    def _is_data_file(self, user: Ref, edge: Edge, last: str, call: Ref) -> bool:
        """Whether a file that is written holds text for others to read as data."""
        if edge.position <= 0 or last in ("dumps", "save", "savez"):
            return False
        path = self._path(user, last)
        names = [
            one for one in (path, self.code.name(call.routine), self.code.name(user.routine), user.routine.path) if one
        ]
        if any_of([path], _BINARY) or any_of([path], _ASIDE) or any_of([self.code.name(user.routine)], _ASIDE):
            return False
        if last in ("writerow", "writerows", "write_all", "write_jsonl"):
            return True
        return (
            any_of(names, _ABOUT_DATA)
            if _TEXTUAL.search(path) or last == "dump"
            else any_of([path], _ABOUT_DATA) and not _is_bytes(user, edge)
        )

    def _path(self, user: Ref, last: str) -> str:
        function = user.to(user.node.inputs[0])
        base = function.to(function.node.inputs[0]) if function.node.op == "attr" else None
        if last in ("dump", "save", "savetxt"):
            base = self.code.argument(user, "fp", 1)
        made = next(origins(base), base) if base is not None else None
        if last.startswith("writerow") and made is not None and made.node.op == "call":
            base = self.code.argument(made, "f", 0)
        found = written(self.code, base)
        named = (
            [one.node.name for one in within(base) if one.node.op in ("name", "param", "attr")]
            if base is not None
            else []
        )
        return f"{found} {' '.join(named)}"

    def _is_aside(self, user: Ref) -> bool:
        path = self.code.argument(user, "path_or_buf", 0)
        return any_of([self.code.name(user.routine), written(self.code, path)], _ASIDE)

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
        return any(self._refuses_content(ref, reached) for ref in path)

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

    def _refuses_content(self, ref: Ref, reached: Reached) -> bool:
        """Whether a place is reached only where the page had what was looked for: the ways without it leave."""
        values = reached.values(ref.routine)
        for condition in self.code.guards.around(ref):
            test = condition.test
            if self.code.guards.about(test, values) and self._looks_inside(test, values):
                return True
        return False

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
        parsed = before.node.op == "call" and self.code.written(before).endswith((".json", "loads"))
        return parsed or before.node.op == "item"

    # ---- evidence

    def _steps(self, call: Ref, path: list[Ref], kind: str) -> tuple[Step, ...]:
        steps = [Step(call.at, f"`{self.code.written(call)}(…)` asks for it, and nothing reads the status")]
        steps += self.learning.through(path[1:-1])
        last = Step(path[-1].at, f"`{self.code.written(path[-1])}(…)` keeps it ({kind})")
        return (*dict.fromkeys(steps[:_STEPS]), last)


def _is_bytes(user: Ref, edge: Edge) -> bool:
    return edge.value.node.op == "attr" and edge.value.node.name in ("content", "raw") and bool(user)


def web_data(facts: Facts) -> tuple[WebData, ...]:
    """What a repository fetches and keeps as data without reading its status."""
    return facts.once("web data", lambda facts: tuple(Scraping(program(facts)).find()))
