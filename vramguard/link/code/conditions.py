"""What the conditions around a call are about: a score, a person's flag or answer, a model that is not there."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.roles import table
from vramguard.link.code.words import text, tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.guards import Condition
    from vramguard.link.code.program import Routine

# Words that say by themselves that a model, or what people say of it, got worse.
_STRONG: Final = frozenset({
    "drift", "drifted", "drifts", "sentiment", "feedback", "degraded", "degradation", "degrading", "psi", "ctr",
    "retrain", "retraining", "csat", "nps", "complaints", "thumbs", "corrections", "decayed", "decay",
    "underperforming", "sentiments", "feedbacks",
})  # fmt: skip
# Scores; those of errors are bad when high.
_HIGH: Final = frozenset({
    "accuracy", "acc", "auc", "f1", "score", "r2", "precision", "recall", "performance", "quality",
    "confidence", "rating", "ratings",
})  # fmt: skip
_LOW: Final = frozenset({"mae", "rmse", "mape", "mse", "error", "errors", "loss", "smape", "wape", "kl", "ks"})
# What says that training was, or is, under way: bookkeeping, no score.
_DONE: Final = frozenset({"already", "running", "progress", "locked", "lock", "pending"})
_DATA: Final = frozenset(
    {
        "data",
        "samples",
        "records",
        "rows",
        "feedback",
        "labels",
        "files",
        "examples",
        "images",
        "annotations",
        "uploads",
    }
)
_FLAGS: Final = frozenset({
    "args", "opts", "options", "opt", "config", "cfg", "conf", "settings", "flags", "hparams", "params", "parser", "ns",
    "argv", "training_args", "script_args", "model_args", "data_args", "cli_args", "arguments", "environ", "getenv",
    "env", "hp", "c",
    "request", "req", "payload", "body", "query", "form", "checkbox", "button", "sidebar", "st",
})  # fmt: skip
_FLAG: Final = re.compile(
    r"(do|force|should|run|enable|skip|auto|allow|is)?_?(re)?train(ing)?$|(do|force|enable|skip|run|no)_"
)
_ABSENT: Final = frozenset({"exists", "isfile", "is_file", "isdir", "is_dir", "glob", "listdir", "FileNotFoundError"})
_HELD: Final = ("in", "not in")  # `"error" in drift`: whether a table has a key
_PASSED: Final = frozenset({
    "len", "float", "int", "abs", "max", "min", "any", "all", "sum", "get", "bool", "round", "item", "mean", "str",
})  # fmt: skip
_HOLDS_WORDS: Final = frozenset({"get", "pop", "getattr"})


class Conditions:
    """Asks the conditions around calls what they are about."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._known: dict[Ref, frozenset[str]] = {}

    def kinds(self, call: Ref) -> frozenset[str]:
        """What the conditions under which a call runs are about: score, flag, absent, gate."""
        if call not in self._known:
            self._known[call] = frozenset(kind for _, kind in self.around(call))
        return self._known[call]

    def around(self, call: Ref) -> Iterator[tuple[Condition, str]]:
        """Each condition around a call that is about one of these, and about which."""
        for condition in self.code.guards.around(call):
            kind = self._kind(call, condition)
            if kind and not (kind == "flag" and self._is_required(call, condition)):
                yield condition, kind

    @staticmethod
    def _is_required(call: Ref, condition: Condition) -> bool:
        """`if not url: raise`: a setting that has to be there is no choice of a person's."""
        return any(
            block.test == condition.test.number and block.holds is not condition.holds and block.leaves == "raise"
            for block in call.routine.function.blocks
        )

    def score(self, call: Ref) -> Condition | None:
        """The nearest condition on a score: rather on one that says which than on one that says to train."""
        found = [condition for condition, kind in self.around(call) if kind == "score"]
        scores = [one for one in found if not any(inner.node.name in _HELD for inner in within(one.test))]
        says = (one for one in scores if any("train" not in word for word in self._strong(one.test)))
        return next(says, found[0] if found else None)

    def _strong(self, test: Ref) -> set[str]:
        return {one for word, plain in self._words(test) if not plain for one in tokens(word) if one in _STRONG}

    def _kind(self, call: Ref, condition: Condition) -> str:
        test = condition.test
        words = list(self._words(test))
        asked = {word for word, _ in words}
        if any(self.code.row("gate", inner) is not None for inner in within(test) if inner.node.op == "call"):
            return "gate"
        if self._not_there(test, holds=condition.holds) or self._is_absent(condition, asked):
            return "absent"
        if test.node.op == ("or" if condition.holds else "and"):  # each by itself is enough
            parts = {self._kind(call, condition._replace(test=inner)) for inner in test.inputs()}
            return "score" if "score" in parts else next(iter(sorted(parts - {""})), "")
        return self._said(call, condition, words)

    def _said(self, call: Ref, condition: Condition, words: list[tuple[str, bool]]) -> str:
        """Score or flag, by the names in a test."""
        asked = {word for word, _ in words}
        strong = {word for word, plain in words if not plain for one in tokens(word) if one in _STRONG}
        flagged = bool(asked & _FLAGS) or any(plain for _, plain in words)
        trains = bool(strong) and all("train" in one for one in strong)
        if trains and any(tokens(word) & _DONE for word in asked):
            return ""
        counted = self._counts_data(words) and self._counts(condition.test)
        called = not flagged and any(_is_call_for_training(word) for word in asked)
        if (strong and not (flagged and trains)) or counted or called:
            return "score"
        if flagged:
            return "flag"
        return "score" if self._worse(call, condition) else ""

    def _not_there(self, ref: Ref, *, holds: bool) -> bool:
        """Whether a test says that a file is not there."""
        node = ref.node
        if node.op == "unary" and node.name == "not":
            return self._not_there(ref.to(node.inputs[0]), holds=not holds)
        if node.op in ("and", "or"):
            return any(self._not_there(inner, holds=holds) for inner in ref.inputs())
        return self._called(ref) in _ABSENT and not holds

    @staticmethod
    def _is_absent(condition: Condition, words: set[str]) -> bool:
        """`if model is None:`, `if not self.is_trained:`."""
        node = condition.test.node
        about = {one for word in words for one in tokens(word)}
        none = node.op == "compare" and any(condition.test.to(n).node.name == "None" for n in node.inputs)
        none = none and (node.name in ("is", "==")) is condition.holds
        negated = (node.op == "unary" and node.name == "not") is condition.holds and node.op != "compare"
        if about & {"trained", "fitted", "loaded", "initialized"} and negated:
            return True
        return none and bool(about & {"model", "clf", "pipeline", "estimator", "weights", "trained", "classifier"})

    def _words(self, test: Ref) -> Iterator[tuple[str, bool]]:
        """The names in a test, and whether each is a parameter that stands alone: arguments of calls are left out."""
        names = self.variables(test.routine)
        pending, seen = [test], set[int]()
        while pending and len(seen) < 60:  # noqa: PLR2004 - of one test
            ref = pending.pop()
            node = ref.node
            if ref.number in seen:
                continue
            seen.add(ref.number)
            yield from ((name, False) for name in names.get(ref.number, ()))
            if node.op in ("attr", "name"):
                yield node.name, False
            elif node.op == "param":
                yield node.name, _FLAG.match(node.name) is not None
            elif node.op == "import":
                yield node.name.rpartition(".")[2], False
            pending += self._deeper(ref)
            if node.op == "item" or self._called(ref) in _HOLDS_WORDS:
                yield from ((text(ref.to(n).node), False) for n in node.inputs if n != NONE and text(ref.to(n).node))

    def _called(self, ref: Ref) -> str:
        return ref.to(ref.node.inputs[0]).node.name.rpartition(".")[2] if ref.node.op == "call" else ""

    def _deeper(self, ref: Ref) -> list[Ref]:
        node = ref.node
        if node.op == "call" and self._called(ref) not in _PASSED:
            return [ref.to(node.inputs[0])]
        if node.op in ("join", "def", "const"):
            return []
        return [ref.to(number) for number in node.inputs if number != NONE]

    def variables(self, routine: Routine) -> dict[int, list[str]]:
        """The names that a function gives to its nodes."""
        kept = routine.__dict__.get("variables")
        if kept is None:
            kept = {}
            for name, numbers in routine.function.names.items():
                for number in numbers:
                    kept.setdefault(number, []).append(name)
            for number in routine.all_of("join"):  # what a name may be after an `if`
                inner = [name for one in routine.function.nodes[number].inputs for name in kept.get(one, ())]
                kept.setdefault(number, []).extend(dict.fromkeys(inner))
            routine.__dict__["variables"] = kept
        found: dict[int, list[str]] = kept
        return found

    @staticmethod
    def _counts_data(words: list[tuple[str, bool]]) -> bool:
        """So much new data, so many new words of users."""
        return any("new" in found and found & _DATA for word, _ in words for found in [tokens(word)])

    def _counts(self, test: Ref) -> bool:
        """Whether a test compares, or measures, what it asks about."""
        return any(inner.node.op == "compare" or self._called(inner) == "len" for inner in within(test))

    def _worse(self, call: Ref, condition: Condition) -> bool:
        """Whether the call runs when a score is low, or an error high, as a comparison with something says."""
        return any(self._is_worse(inner, holds) for inner, holds in parts_of(condition.test, condition.holds)) and not (
            self._selects(call)
        )

    def _is_worse(self, ref: Ref, holds: bool) -> bool:  # noqa: FBT001 - what the comparison was
        """Whether a comparison that held, or did not, says that a score is low or an error high."""
        node = ref.node
        if node.op != "compare" or node.name not in ("<", "<=", ">", ">="):
            return False
        left, right = ({one for word, _ in self._words(ref.to(n)) for one in tokens(word)} for n in node.inputs)
        less = node.name.startswith("<") is holds
        if left & (_HIGH | _LOW):
            return less if left & _HIGH else not less
        return not less if right & _HIGH else bool(right & _LOW) and less

    def _selects(self, call: Ref) -> bool:
        """Whether a comparison chooses between models in a search: in a loop, or after other training."""
        function = call.routine.function
        around = [function.blocks[number] for number in call.routine.blocks[call.node.block]]
        if any(
            block.kind == "for" or (block.kind == "while" and function.nodes[block.test].op != "const")
            for block in around
        ):
            return True
        return any(one.number < call.number for one in self._fits.get(call.routine, ()))

    @cached_property
    def _fits(self) -> dict[Routine, list[Ref]]:
        found: dict[Routine, list[Ref]] = {}
        for call, _ in self.code.calls("fit"):
            found.setdefault(call.routine, []).append(call)
        return found

    def gate(self, routine: Routine) -> Ref | None:
        """Where a function asks a person."""
        if "gate" not in routine.__dict__:
            rows = table("gate")
            calls = (Ref(routine, number) for number in routine.all_of("call"))
            routine.__dict__["gate"] = next(
                (call for call in calls if rows.among(self.code.meanings.called(call)) is not None or self._asks(call)),
                None,
            )
        found: Ref | None = routine.__dict__["gate"]
        return found

    @staticmethod
    def _asks(call: Ref) -> bool:
        """Whether an argument makes a request of a call: `create_pr=True`."""
        for word, number in call.node.arguments():
            name = call.to(number).node.name.strip("'\"")
            if (word == "create_pr" and name == "True") or name == "PendingManualApproval":
                return True
        return False


def parts_of(ref: Ref, holds: bool) -> Iterator[tuple[Ref, bool]]:  # noqa: FBT001
    """What a test is joined of, and what each part was."""
    yield ref, holds
    node = ref.node
    if node.op == "unary" and node.name == "not":
        yield from parts_of(ref.to(node.inputs[0]), not holds)
    elif node.op in ("and", "or"):
        for inner in ref.inputs():
            yield from parts_of(inner, holds)


def _is_call_for_training(word: str) -> bool:
    """`should_retrain`, `trigger_training`: what a check of the model decided."""
    found = tokens(word)
    return (
        bool(found & {"should", "need", "needs", "needed", "trigger", "triggered", "must"}) and "train" in word.lower()
    )
