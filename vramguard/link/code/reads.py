"""The calls that read data: a call by which other things are read as well only where a word says data.

A function of the repository that reads whatever it is told is no read of data itself, where its own words do not say
so: its callers' calls are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.places import any_of, place, words, written
from vramguard.link.code.questions import about
from vramguard.link.code.roles import rows
from vramguard.link.code.words import literal, text, values, within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref, Routine
    from vramguard.link.code.roles import Row

_MOST: Final = 250  # reads that are followed
_TOLD: Final = 12  # callers of a function that reads what it is told
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
# Arrays that are not learned from, but begun with, or divided by.
_NO_ROWS: Final = re.compile(
    r"\.(pth|ckpt|bin|safetensors|tar|onnx)\b|embed|glove|word2?vec|w2v|fasttext|pretrain|resume|anchor|prior|posterior"
    r"|(^|[^a-z])(mean|std|mu|sigma|mask|norm|camera|pose|bert|optim\w*|buffer|replay|latents?|noise)s?([^a-z]|$)",
    re.IGNORECASE,
)
_SPARK: Final = {"kind": "file", "of": ["path", 0]}


class Reads:
    """The reads of a program."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._local = {word for row in rows().get("read", ()) for word in row.get("local", ()) if "folder" not in word}
        self._public = {word for row in rows().get("public", ()) for word in row.get("names", ())}

    def find(self) -> list[tuple[Ref, Row]]:
        """Every read, with what is known of it."""
        found: dict[Ref, Row] = {}
        for call, row in self.code.calls("read"):
            told = self.told(call, row) if row.get("weak") else []
            mine = self._reads_data(call, row, named=not told)
            theirs = [] if mine else [(one, how) for one, how in told if self._reads_data(one, how)]
            found.update(theirs)
            if mine or (not theirs and self._reads_data(call, row)):
                found[call] = row
        for call in self._by_name():
            found.setdefault(call, _SPARK)
        for call, row in self.code.calls("upload"):
            if literal(self.code, self.code.argument(call, "purpose", 1)) in row["is"]:
                found[call] = {**row, "kind": "file", "upload": True}
        return list(found.items())[:_MOST]

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

    # ---- functions that read what they are told

    def told(self, call: Ref, row: Row) -> list[tuple[Ref, Row]]:
        """The calls of a function that gives what it reads from wherever it is told."""
        routine = call.routine
        last = self.code.written(call).rpartition(".")[2]
        if row.get("documents") or routine.function.kind != "function" or last == "open" or last.startswith("fetch"):
            return []
        told = self._parameter(call, row)
        callers = self._callers(routine) if told and _gives(routine, call.number) else []
        kept: Row = {key: row[key] for key in ("kind", "weak", "array") if key in row}
        return [(one, {**kept, "of": [told, _named(routine).index(told)], "told": True}) for one in callers]

    def _parameter(self, call: Ref, row: Row) -> str:
        """The parameter by which a function is told what to read."""
        at = place(call, row)
        given = call.to(call.node.inputs[0])
        if at is None or at.number in given.node.inputs:
            return ""
        names = _named(call.routine)
        said = sorted((one.number, one.node.name) for one in within(at) if one.node.op == "param")
        return next((name for _, name in said if name in names), "")

    def _callers(self, routine: Routine) -> list[Ref]:
        judged = frozenset(self.code.routines)
        return [one for one in self.code.meanings.callers(routine)[:_TOLD] if one.routine in judged]

    # ---- what is data

    def _reads_data(self, call: Ref, row: Row, *, named: bool = True) -> bool:
        """`named`: whether the name counts in which it is kept."""
        at = place(call, row)
        said = words(self.code, call, at)
        if not named and call.number in call.routine.named:
            said.pop()
        if row["kind"] == "folder" or row.get("documents") or any_of(said, _PUBLIC):
            return False
        if row["kind"] == "hub":
            return self._is_local(call, row)
        last = self.code.written(call).rpartition(".")[2]
        if row.get("told"):
            said += [last, written(self.code, at)]
        elif last in ("fromfile", "Path", "parse") or (
            last == "open" and row.get("weak") and not self._has_lines(call)
        ):
            return False
        if row.get("array"):
            said.append(call.routine.function.name)
            if any_of(said, _NO_ROWS):
                return False
        if not row.get("weak") or last in ("DictReader", "reader"):
            return True
        return any_of(said, _DATA) and not any_of(said, _NO_DATA)

    def _has_lines(self, call: Ref) -> bool:
        """Whether a file is opened for its lines of JSON: what parses files as a whole is a read itself."""
        nodes = call.routine.function.nodes
        return any(
            nodes[nodes[number].inputs[0]].name.endswith("loads") and self._is_of(call, call.to(number))
            for number in call.routine.all_of("call")
        )

    @staticmethod
    def _is_of(call: Ref, parse: Ref) -> bool:
        return about(parse, frozenset({call.number}))

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


def _named(routine: Routine) -> list[str]:
    """The parameters that callers give one by one."""
    return [one.name for one in routine.function.parameters if not one.stars and one.name not in ("self", "cls")]


def _gives(routine: Routine, number: int) -> bool:
    """Whether a function gives what a node of it holds."""
    nodes, seen, pending = routine.function.nodes, {number}, [number]
    while pending:
        for user in routine.users.get(pending.pop(), ()):
            if nodes[user].op in ("return", "yield"):
                return True
            if user not in seen and nodes[user].op not in ("compare", "unary"):
                seen.add(user)
                pending.append(user)
    return False
