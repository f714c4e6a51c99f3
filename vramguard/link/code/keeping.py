"""Where what came over the network comes to rest as data: files, tables, rows of a database, vectors, training."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.places import any_of, origins, written
from vramguard.link.code.words import texts, tokens, within

if TYPE_CHECKING:
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Edge
    from vramguard.link.code.learning import Learning
    from vramguard.link.code.program import Ref
    from vramguard.link.code.roles import Row

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
# Rows of an ORM, and objects of a store: what a program that trains fetches and keeps there is for learning.
_ADDS: Final = frozenset({"add", "add_all", "merge"})
_SESSIONS: Final = frozenset({"session", "db", "database"})
_OBJECTS: Final = frozenset({"create", "bulk_create", "get_or_create", "update_or_create"})
_STORES: Final = frozenset({
    "put_object", "upload_from_string", "upload_fileobj", "insert_rows", "insert_rows_json", "load_string",
    "load_table_from_dataframe", "load_table_from_json",
})  # fmt: skip


class Keeping:
    """Asks of what uses a value whether it keeps it as data."""

    def __init__(self, code: Code, learning: Learning) -> None:
        self.code = code
        self.learning = learning

    def sink(self, edge: Edge, call: Ref) -> str:
        """What kind of data a value becomes here; empty for none."""
        user = edge.user
        if user.node.op != "call" or edge.position < 0 or user == call:
            return ""
        if user in self.learning.fits and self.learning.fits[user] != "job":
            return "training" if edge.position > 0 else ""
        row = self.datasets.get(user)
        last = self.code.written(user).rpartition(".")[2]
        if row is None:
            return self._database(user, edge, last, call)
        if row["kind"] in ("vectors", "training"):
            return row["kind"] if self._is_collected(edge, last) else ""
        if last in _TABLES or row["kind"] == "table":
            return "table" if edge.position == 0 and not self._is_aside(user) else ""
        return "file" if self._is_data_file(user, edge, last, call) else ""

    @cached_property
    def datasets(self) -> dict[Ref, Row]:
        """The calls that keep data, each with what is known of it."""
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
        if not self._fills(call):
            return ""
        if edge.position <= 0:
            return "database" if last in _SAVES and len(user.node.inputs) == 1 and self._is_record(edge.value) else ""
        if self.code.meanings.routines(user):
            return ""
        if last in _INSERTS or self._adds(user, edge, last):
            return "database"
        if last in _STORES:
            return "" if any_of(texts(self.code, user), _BINARY) or self._is_aside(user) else "store"
        statement = self.code.argument(user, "sql", 0) if last == "execute" else None
        said = texts(self.code, statement) if statement is not None and edge.position > 1 else []
        return "database" if any(_WRITES.match(one) for one in said) else ""

    def _fills(self, call: Ref) -> bool:
        """Whether a crawler asks, or what collects data beside a program that trains."""
        named = [self.code.name(call.routine), call.routine.path.replace("/", " ")]
        return any_of(named, _SCRAPES) or (bool(self.learning.fits) and any_of(named, _ABOUT_DATA))

    def _adds(self, user: Ref, edge: Edge, last: str) -> bool:
        """`session.add(Price(open=…))`, `Price.objects.create(open=…)`."""
        receiver = self.code.written(user).rpartition(".")[0]
        if last in _OBJECTS:
            return receiver.endswith("objects")
        if last not in _ADDS or not tokens(receiver.rpartition(".")[2]) & _SESSIONS:
            return False
        return last == "add_all" or self._is_row(edge.value)

    @staticmethod
    def _is_row(value: Ref) -> bool:
        """What was made with keywords."""
        return any(
            one.node.op == "call" and any(word not in ("", "*", "**") for word in one.node.keywords)
            for one in origins(value)
        )

    def _is_record(self, attribute: Ref) -> bool:
        """`Article(content=…).save()`: what is saved was made of what came."""
        return attribute.node.op == "attr" and self._is_row(attribute.to(attribute.node.inputs[0]))

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
            else any_of([path], _ABOUT_DATA) and not _is_bytes(edge)
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


def _is_bytes(edge: Edge) -> bool:
    return edge.value.node.op == "attr" and edge.value.node.name in ("content", "raw")
