"""What looks at data before it is learned from: validators of libraries, and conditions that raise on what rows hold.

A condition on the columns, the shape, the number of rows or the presence of a key says nothing of what stands in them.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.datasets import BlindValidator, DataValidation
from vramguard.link.code import program
from vramguard.link.code.program import Ref
from vramguard.link.code.words import text, texts, tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.flow import Reached
    from vramguard.link.code.program import Routine

# What is known of data without looking into it.
_OUTSIDE: Final = frozenset({
    "columns", "shape", "empty", "size", "ndim", "keys", "len", "dim", "exists", "is_file", "isfile",
    "column_names", "isinstance", "type", "hasattr", "status_code", "schema", "callable", "num_rows", "n_rows",
    "height", "width", "count", "index",
})  # fmt: skip
_ASKING: Final = frozenset({
    "isna", "isnull", "notna", "notnull", "isin", "between", "duplicated", "isfinite", "isnan", "isinf", "match",
    "fullmatch", "search", "contains", "min", "max", "any", "all", "nunique", "unique", "lt", "gt", "ge", "le",
    "eq", "ne", "is_unique", "null_count", "is_null", "is_nan", "n_unique", "issubset", "is_in", "is_between",
    "is_duplicated", "dtypes", "dtype", "isdigit", "isnumeric", "hasnans", "equals", "difference",
    "is_monotonic_increasing",
})  # fmt: skip
_EMPTY: Final = frozenset({"isna", "isnull", "notna", "notnull", "is_null", "null_count", "is_not_null"})
# Names of what is trained, not of what it is trained on.
_TRAINED: Final = frozenset({
    "loss", "losses", "grad", "grads", "gradient", "norm", "logits", "output", "outputs", "pred", "preds",
    "prediction", "predictions", "metric", "metrics", "score", "accuracy", "model", "epoch", "step", "args",
    "config",
})  # fmt: skip
_PROSE: Final = frozenset({
    "text", "name", "title", "description", "comment", "comments", "review", "reviews", "content", "body",
    "message", "tweet", "headline", "caption", "summary", "abstract", "sentence", "question", "answer", "prompt",
    "response", "completion", "document", "instruction", "product", "transcript",
})  # fmt: skip
_SENTINEL: Final = re.compile(
    r"^\s*(404|n/?a|null|none|nan|undefined|-|unknown|<|<[a-z!/].*|.*not[ _]found.*|.*<\[?\^?.*)\s*$|404|undefined",
    re.IGNORECASE | re.DOTALL,
)
_LOOKS: Final = frozenset({
    "isin", "match", "fullmatch", "contains", "search", "str_matches", "str_contains", "is_in", "value_counts",
    "findall",
})  # fmt: skip
_TABLES: Final = re.compile(r"(pandera|great_expectations|deepchecks|evidently|tensorflow_data_validation)\b")
_RUNS: Final = frozenset({"validate", "run", "execute", "validate_statistics", "run_checkpoint", "validate_instance"})
_VALIDATING: Final = frozenset({"validate", "validation", "check", "checks", "verify", "valid"})
_DATA: Final = frozenset(
    {"data", "dataset", "datasets", "rows", "records", "frame", "dataframe", "df", "schema", "samples"}
)
# What an answer of a server, or a report, is made of says nothing of rows.
_TELLS: Final = frozenset({
    "response", "responses", "metrics", "metric", "prediction", "predictions", "result", "results", "output", "report",
    "status", "info", "settings", "config", "summary",
})  # fmt: skip
_ANSWERED: Final = ("raise", "exit", "return", "continue", "break")


class DataChecks:
    """The checks of data in a program."""

    def __init__(self, code: Code) -> None:
        self.code = code

    # ---- on the way of data

    def on(self, reached: Reached, way: Iterable[Ref] = ()) -> Iterator[DataValidation]:
        """What stands on a way of data: validators that it is given to, and conditions that raise on it.

        `way`: how it comes to training; what a function of it does afterwards is too late.
        """
        last: dict[Routine, int] = {}
        for ref in way:
            last[ref.routine] = max(ref.number, last.get(ref.routine, 0))
        for edge in reached.edges:
            late = edge.user.number > last.get(edge.user.routine, edge.user.number)
            if edge.user.node.op == "call" and not late and edge.user in self._libraries:
                yield self._library(edge.user)
        for routine in sorted(reached.routines, key=lambda one: (one.path, one.number)):
            yield from self._decorated(routine)
            values = reached.values(routine)
            for test in self.refusals(routine):
                if test.number <= last.get(routine, test.number) and self.asks(test, values):
                    yield DataValidation(test.at, self._as_written(test))

    def refusals(self, routine: Routine) -> Iterator[Ref]:
        """The conditions on which a function raises or exits; an `assert` is none."""
        blocks = routine.function.blocks
        for number, block in enumerate(blocks):
            if (
                block.kind in ("if", "else")
                and block.leaves in ("raise", "exit")
                and block.test != NONE
                and not routine.caught(number)
            ):
                yield Ref(routine, block.test)

    def asks(self, test: Ref, values: frozenset[int], depth: int = 0) -> bool:
        """Whether a condition is about what data holds, or about a list of complaints that such conditions fill."""
        if _TRAINED & self._named(test):
            return False
        found, asked = False, False
        for ref, judged in self._inside(test, values):
            node = ref.node
            if node.op in ("name", "attr", "param") and tokens(node.name) & _TRAINED and ref.number not in values:
                return False
            found |= ref.number in values
            asked |= (node.op == "attr" and node.name in _ASKING) or (
                node.op == "compare" and self._compares(ref, values)
            )
            asked |= judged and ref.number in values
            if node.op == "grown" and depth == 0 and ref.number not in values and self._complains(ref, values):
                return True
        return found and asked

    def _complains(self, grown: Ref, values: frozenset[int]) -> bool:
        """`if rows.isna().any(): errors.append(…)`."""
        return any(self.asks(condition.test, values, 1) for condition in self.code.guards.around(grown))

    def _compares(self, ref: Ref, values: frozenset[int]) -> bool:
        """Whether a comparison is with a part of the data: not `is None`, not `"label" in row`."""
        node = ref.node
        if node.name in ("is", "is not") or any(ref.to(number).node.name == "None" for number in node.inputs):
            return False
        sides = [ref.to(number) for number in node.inputs]
        if (
            node.name in ("in", "not in")
            and sides[0].node.op == "const"
            and sides[1].number in values
            and sides[1].node.op != "item"
        ):
            return False
        return any(one.number in values for side in sides for one, _ in self._inside(side, values))

    def _inside(self, test: Ref, values: frozenset[int]) -> Iterator[tuple[Ref, bool]]:
        """The nodes of a condition down to the data, without what is known from outside, and whether a validator of the
        repository is given them.
        """
        pending: list[tuple[int, bool]] = [(test.number, False)]
        seen = set[int]()
        while pending and len(seen) < 80:  # noqa: PLR2004 - of one condition
            number, judged = pending.pop()
            if number == NONE or number in seen:
                continue
            seen.add(number)
            ref = test.to(number)
            node = ref.node
            function = ref.to(node.inputs[0]).node.name if node.op == "call" else ""
            if (node.op in ("attr", "name") and node.name in _OUTSIDE) or function.rpartition(".")[2] in _OUTSIDE:
                continue
            yield ref, judged
            if number not in values:
                judged = judged or (
                    node.op == "call" and any(self._judges(one) for one in self.code.meanings.routines(ref))
                )
                pending += [(one, judged) for one in node.inputs]

    @staticmethod
    def _judges(routine: Routine) -> bool:
        return bool(tokens(routine.function.name) & {"valid", "validate", "is", "check", "verify", "has", "clean"})

    def _named(self, test: Ref) -> set[str]:
        names = (one.routine.named.get(one.number, "") for one in within(test))
        return {word for name in names for word in tokens(name)}

    def _as_written(self, test: Ref) -> str:
        calls = [self.code.written(one) for one in within(test) if one.node.op == "call"]
        return next((one for one in calls if one), self.code.written(test) or "if")

    # ---- libraries

    @cached_property
    def _libraries(self) -> dict[Ref, dict[str, object]]:
        """The calls of validators; not those that make a server's answer: `ModelMetrics(rows=len(rows))`."""
        return {
            call: row
            for call, row in self.code.calls("datacheck")
            if not row.get("weak") and not (self.code.own_class(call) is not None and self._tells(call))
        }

    def _tells(self, call: Ref) -> bool:
        return bool(tokens(self.code.written(call).rpartition(".")[2]) & _TELLS)

    @cached_property
    def gates(self) -> dict[Routine, list[DataValidation]]:
        """The functions that raise where a table is not as a schema, or a validator of the repository, wants it."""
        found: dict[Routine, list[DataValidation]] = {}
        for call in self._libraries:
            if any(_TABLES.match(path) for path in self.code.meanings.called(call)):
                made = self._library(call)
                if not made.flaw and self.code.written(call).rpartition(".")[2] in _RUNS:
                    found.setdefault(call.routine, []).append(made)
        for routine in self.code.routines:
            for test in self.refusals(routine):
                if any(one.node.op == "call" and self._validates_data(one) for one in within(test)):
                    found.setdefault(routine, []).append(DataValidation(test.at, self._as_written(test)))
        return found

    def _validates_data(self, call: Ref) -> bool:
        said = (tokens(self.code.name(routine)) for routine in self.code.meanings.routines(call))
        return any(words & _VALIDATING and words & _DATA for words in said)

    def _library(self, call: Ref) -> DataValidation:
        row = self._libraries[call]
        written = self.code.written(call)
        if row.get("raises") or self._is_read(call):
            return DataValidation(call.at, written)
        return DataValidation(call.at, written, "nobody reads its answer")

    def _is_read(self, call: Ref) -> bool:
        """Whether a condition asks what a validator answered, here or where it is returned to."""
        reached = self.code.flow.forward(call)
        for routine in reached.routines:
            values = reached.values(routine)
            for block in routine.function.blocks:
                leaves = block.kind == "assert" or (block.kind in ("if", "else") and block.leaves in _ANSWERED)
                if leaves and block.test != NONE and self.code.guards.about(Ref(routine, block.test), values):
                    return True
        return False

    def _decorated(self, routine: Routine) -> Iterator[DataValidation]:
        for ref, paths in self.code.decorators(routine) if routine.function.decorators else ():
            if any(path.startswith("pandera.") for path in paths):
                yield DataValidation(ref.at, self.code.written(ref))

    # ---- blind ones

    def blind(self) -> Iterator[BlindValidator]:
        """Validators that ask of a column of text only whether there is any."""
        for routine in self.code.routines:
            if routine.function.kind != "function" or not (found := self._of_text(routine)):
                continue
            test, column = found
            if not self._knows_sentinels(routine):
                yield BlindValidator(test.at, self._as_written(test), column, self.code.name(routine))
        yield from self._expected()

    def _of_text(self, routine: Routine) -> tuple[Ref, str] | None:
        """The first condition that raises where a column of text is missing somewhere."""
        for test in self.refusals(routine):
            for one in within(test):
                node = one.node
                if (
                    node.op == "call"
                    and one.to(node.inputs[0]).node.op == "attr"
                    and one.to(node.inputs[0]).node.name in _EMPTY
                ):
                    column = self._column(one.to(one.to(node.inputs[0]).node.inputs[0]))
                    if (
                        column
                        and tokens(column) & _PROSE
                        and not tokens(column) & {"id", "count", "length", "len", "embedding", "label"}
                    ):
                        return test, column
        return None

    @staticmethod
    def _column(ref: Ref) -> str:
        """`rows["name"]`, `rows.name`."""
        if ref.node.op == "item":
            return text(ref.to(ref.node.inputs[1]).node)
        return ref.node.name if ref.node.op == "attr" else ""

    def _knows_sentinels(self, routine: Routine) -> bool:
        """Whether a validator, or what it calls, has words that stand for nothing, or asks what the text is like."""
        for one in self.code.reaches(routine, 12):
            for number, node in enumerate(one.function.nodes):
                if node.op == "const" and _SENTINEL.search(text(node) or "\0"):
                    return True
                if node.op == "attr" and node.name in _LOOKS and self._is_about_text(Ref(one, number)):
                    return True
                if (
                    node.op in ("name", "import")
                    and node.name.isupper()
                    and any(map(_SENTINEL.search, self._held(Ref(one, number))))
                ):
                    return True
        return False

    def _is_about_text(self, ref: Ref) -> bool:
        words = {text(one.node) for one in within(ref) if one.node.op == "const"} | {
            one.node.name for one in within(ref) if one.node.op == "attr"
        }
        return "str" in words or any(tokens(word) & _PROSE for word in words)

    def _held(self, ref: Ref) -> list[str]:
        found = []
        for one in self.code.program.lookup(ref.routine, ref.node.name) if ref.node.op == "name" else ():
            found += texts(self.code, one)
        return found

    def _expected(self) -> Iterator[BlindValidator]:
        """`expect_column_values_to_not_be_null("text")` with nothing else expected of that column."""
        asked: dict[tuple[str, str], list[tuple[Ref, str]]] = {}
        for call in self._libraries:
            written = self.code.written(call)
            column = self.code.argument(call, "column", 0)
            name = text(column.node) if column is not None else ""
            if ".expect_column_" in f".{written}" and name and tokens(name) & _PROSE and "id" not in tokens(name):
                asked.setdefault((call.routine.path, name), []).append((call, written))
        for (_, name), found in asked.items():
            if all("null" in written or "exist" in written or "type" in written for _, written in found):
                call, written = found[0]
                yield BlindValidator(call.at, written, name, self.code.name(call.routine))


def data_checks(facts: Facts) -> DataChecks:
    """The checks of a repository's data."""
    return facts.once("data checks", lambda facts: DataChecks(program(facts)))


def blind_validators(facts: Facts) -> tuple[BlindValidator, ...]:
    """Every validator of text that looks for nothing but gaps."""
    return facts.once("blind validators", lambda facts: tuple(data_checks(facts).blind()))
