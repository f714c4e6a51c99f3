"""Comparators between a new model and the one in use, and what they let through.

A comparator is asked five things: what it does where there is no model in use, where both are equal, where a score is
NaN (every comparison with it is false, so `not (new < old)` holds), where the comparison itself fails, and whether
something forces it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.retraining import Comparator
from vramguard.link.code import program
from vramguard.link.code.conditions import parts_of
from vramguard.link.code.program import Ref
from vramguard.link.code.promotions import Above, Promoting, Promotions
from vramguard.link.code.reading import Reader
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import text, tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.guards import Condition
    from vramguard.link.code.program import Routine
    from vramguard.link.code.starts import Starts

_IN_USE: Final = frozenset({
    "prod", "production", "champion", "incumbent", "current", "existing", "deployed", "baseline", "previous", "prev",
    "old", "staging", "live", "latest", "registered", "stage",
})  # fmt: skip
_PROMOTES: Final = frozenset({"promote", "promotion", "promotable", "promoted"})
_DECIDES: Final = frozenset({"should", "decide", "decision", "is", "can", "evaluate", "check", "compare", "verdict"})
_SCORES: Final = re.compile(
    r"metric|score|acc|auc|f1|rmse|mae|mape|mse|r2|loss|error|precision|recall|map50|rouge|bleu|performance"
    r"|perplexity|value|result",
    re.IGNORECASE,
)
_NEW: Final = frozenset({"new", "candidate", "challenger", "ft", "finetuned"})
# What a score has to reach: written down, no other model's.
_LIMITS: Final = frozenset(
    {"min", "max", "minimum", "maximum", "threshold", "limit", "gate", "required", "target", "floor"}
)
_ORDERS: Final = ("<", "<=", ">", ">=")
_SOURCES: Final = frozenset({"get", "load", "float", "int", "round", "abs", "mean", "run_metadata", "metrics", "data"})


class Comparators:
    """The comparators of a program's promotions."""

    def __init__(self, code: Code, starts: Starts) -> None:
        self.code = code
        self.promotions = Promotions(code, starts)
        self.conditions = starts.conditions
        self.reader = Reader()

    def find(self) -> Iterator[Comparator]:
        """Comparators with at least one fault; one for each place."""
        seen = set[tuple[str, int]]()
        for one in self.promotions.all():
            if one.row["kind"] not in ("alias", "stage", "approval", "copy", "deploy") or _is_retired(one.target):
                continue
            if one.row["kind"] == "copy" and one.serving is not True:  # the best of a training, so far
                continue
            written = self.code.written(one.call)
            last = Step(one.call.at, f"`{written}(…)` promotes")
            for at, what, faults, steps in (*self._above(one.call), *self._chosen(one)):
                key = at.routine.path, at.at.line
                if key not in seen:
                    seen.add(key)
                    yield Comparator(at.at, what, faults, written, (*steps, last))
        for routine in self.code.routines:
            for at, what, faults in self._yes(routine) if self._is_named_judge(routine) else ():
                key = at.routine.path, at.at.line
                if key not in seen:
                    seen.add(key)
                    said = Step(at.at, f"`{self.code.name(routine)}` says that the new one is promoted")
                    yield Comparator(at.at, what, faults, self.code.name(routine), (said,))

    def _is_named_judge(self, routine: Routine) -> bool:
        """`decide_promotion(new, champion)`: a function that is named for it, and that compares both models."""
        words = tokens(routine.function.name)
        named = bool(words & _PROMOTES) and bool(words & _DECIDES)
        orders = (Ref(routine, number) for number in routine.all_of("compare") if named)
        return routine.function.kind == "function" and any(
            len({self._in_use(one) for one in ref.inputs()}) > 1 for ref in orders if ref.node.name in _ORDERS
        )

    def _chosen(self, one: Promoting) -> Iterator[tuple[Ref, str, tuple[str, ...], tuple[Step, ...]]]:
        """`alias, why = decide(new, old)`: the ways on which the one in use is chosen."""
        step = Step(one.call.at, "what is chosen there is what it becomes")
        for answer in self.promotions.choices(one):
            yield from ((at, what, faults, (step,)) for at, what, faults, _ in self._around_return(answer))

    def _above(self, call: Ref) -> Iterator[tuple[Ref, str, tuple[str, ...], tuple[Step, ...]]]:
        """The conditions around a promotion, and those around its callers."""
        for above in self.promotions.above(call):
            if len(above.calls) > 3 or self.promotions.is_flagged(above):  # noqa: PLR2004 - two callers up
                continue
            for top in self._beside(above):
                yield from self._around(top)
            if any(
                condition for condition in self.code.guards.around(above.top) if self._is_comparison(condition.test)
            ):
                return

    def _beside(self, above: Above) -> tuple[Ref, ...]:
        """The last call of a way up, and the others of its function that lead to the same promotion."""
        if len(above.calls) == 1:
            return (above.top,)
        callers = self.promotions.starts.callers(above.calls[-2].routine)
        return tuple(dict.fromkeys((above.top, *(one for one in callers if one.routine is above.top.routine))))

    def _around(self, call: Ref) -> Iterator[tuple[Ref, str, tuple[str, ...], tuple[Step, ...]]]:
        """The faults of what decides whether a call runs."""
        conditions = list(self.code.guards.around(call))
        compared = [one for one in conditions if self._is_comparison(one.test)]
        caught = self._caught(call)
        if caught is not None and not compared:
            yield call, f"except {caught}", ("error" if caught in ("Exception", "") else "absent",), ()
            return
        for condition in conditions:
            if self._is_missing(condition) and not self._raises(call, condition):
                yield condition.test, self.reader.text(condition.test, 1), ("absent",), ()
                return
        faults = self._let_through(compared)
        if faults:
            yield compared[0].test, self.reader.text(compared[0].test, 1), faults, ()
        for condition in conditions:
            yield from self._decided(condition)

    def _caught(self, call: Ref) -> str | None:
        """The exception in whose handler a call stands, if something of the model in use was looked up in the `try`."""
        function = call.routine.function
        for number in call.routine.blocks[call.node.block]:
            block = function.blocks[number]
            if block.kind == "except" and self._looks_up(call.routine, block.parent, call.number):
                return function.nodes[block.test].name if block.test != NONE else ""
        return None

    def _looks_up(self, routine: Routine, parent: int, before: int) -> bool:
        """Whether a `try` beside a handler asks for the model in use."""
        blocks = routine.function.blocks
        tries = {number for number, block in enumerate(blocks) if block.kind == "try" and block.parent == parent}
        for number, node in enumerate(routine.function.nodes[:before]):
            if node.op == "call" and tries & set(routine.blocks[node.block]) and self._in_use(Ref(routine, number)):
                return True
        return False

    # ---- a condition

    def _words(self, ref: Ref) -> set[str]:
        names = self.conditions.variables(ref.routine)
        found: set[str] = set()
        for inner in within(ref):
            node = inner.node
            if node.op in ("attr", "name", "param", "const"):
                found |= tokens(node.name)
            for name in names.get(inner.number, ()):
                found |= tokens(name)
        return found

    def _in_use(self, ref: Ref) -> bool:
        return bool(self._words(ref) & _IN_USE)

    def _own_words(self, ref: Ref) -> str:
        """The names at the top of an operand: its variable, its attribute, its key."""
        names = self.conditions.variables(ref.routine).get(ref.number, [])
        keys = [inner.node.name for inner in within(ref) if inner.node.op == "const" and inner.node.name[:1] in "'\""]
        return " ".join((*names, self.code.written(ref), ref.node.name, *keys[:3]))

    def _is_comparison(self, test: Ref) -> bool:
        return any(True for _ in self._comparisons(test))

    def _comparisons(self, test: Ref) -> Iterator[Ref]:
        """Comparisons of a score with the score of the model in use; not with a number that is written there."""
        for inner in self._parts(test):
            if inner.node.op == "compare" and inner.node.name in _ORDERS:
                left, right = (inner.to(number) for number in inner.node.inputs)
                scored = _SCORES.search(f"{self._own_words(left)} {self._own_words(right)}") is not None
                scored = scored or self._is_pair(left, right)
                if scored and (self._in_use(left) is not self._in_use(right) or self._both(left, right)):
                    yield inner

    @staticmethod
    def _parts(test: Ref) -> Iterator[Ref]:
        """What a test is joined of."""
        pending = [test]
        while pending:
            ref = pending.pop(0)
            yield ref
            if ref.node.op in ("and", "or", "unary", "join") or (
                ref.node.op == "call" and ref.to(ref.node.inputs[0]).node.name == "bool"
            ):
                pending += [inner for inner in ref.inputs() if inner.number < ref.number]

    def _both(self, left: Ref, right: Ref) -> bool:
        """Both are scores of something, one of them new."""
        return bool((self._words(left) & _NEW) ^ (self._words(right) & _NEW)) and "const" not in (
            left.node.op,
            right.node.op,
        )

    def _is_pair(self, left: Ref, right: Ref) -> bool:
        """`new > old`: nothing but the two, as in a function that is asked which is better."""
        names = [tokens(ref.node.name) for ref in (left, right) if ref.node.op == "param"]
        return len(names) == 2 and any(one & _NEW and other <= _IN_USE for one, other in (names, names[::-1]))  # noqa: PLR2004

    def _let_through(self, compared: list[Condition]) -> tuple[str, ...]:
        """equal, nan, absent, error: what all the comparisons around a promotion let pass."""
        given_up = self._given_up(compared[0]) if len(compared) == 1 else ""
        found = [given_up] if given_up else []
        if compared and all(self._says(one.test, "absent") is one.holds for one in compared):
            found.append("absent")
        if compared and all(self._says(one.test, "equal") is one.holds for one in compared):
            found.append("equal")
        if compared and all(self._says(one.test, "nan") is one.holds for one in compared):
            found.append("nan")
        return tuple(found)

    def _given_up(self, condition: Condition) -> str:
        """error, absent: `except Exception: champion_loss = float("inf")`, with which every new one is better."""
        for compare in self._comparisons(condition.test) if condition.holds else ():
            for one in compare.inputs():
                parts = one.inputs() if one.node.op == "join" and self._in_use(one) else ()
                caught = next((_handled(part) for part in parts if _is_endless(part)), None)
                if caught is not None:
                    return "error" if caught in ("Exception", "") else "absent"
        return ""

    def _says(self, ref: Ref, case: str) -> bool | None:
        """What a test says if both scores are equal, if one is NaN, if there is no model in use."""
        node = ref.node
        if node.op == "unary" and node.name == "not":
            inner = self._says(ref.to(node.inputs[0]), case)
            return None if inner is None else not inner
        if node.op in ("and", "or"):
            return _joined(node.op, [self._says(ref.to(number), case) for number in node.inputs])
        if node.op == "compare" and node.name in ("is", "is not", "==", "!="):
            absent = node.name in ("is", "==")
            none = any(ref.to(number).node.name == "None" for number in node.inputs)
            return (absent if case == "absent" else not absent) if none and self._in_use(ref) else None
        if node.op == "compare" and node.name in _ORDERS:
            return self._ordered(ref, case)
        if self._in_use(ref) and node.op in ("join", "name", "param", "call"):
            return case != "absent"  # `if production and …`
        return None

    def _ordered(self, ref: Ref, case: str) -> bool | None:
        """A comparison: of both models' scores, or of a score with a number."""
        if case == "nan":
            return False
        limited = any(tokens(self._own_words(one)) & _LIMITS and one.node.op != "call" for one in ref.inputs())
        if case == "absent" or limited or ref not in list(self._comparisons(ref)):
            return None
        return ref.node.name in ("<=", ">=")

    def _is_missing(self, condition: Condition) -> bool:
        """`if champion is None:`, `if not versions:` where what is missing is the model in use."""
        test = condition.test
        names = set(self.conditions.variables(test.routine).get(test.number, ()))
        if self._is_comparison(test):
            return False
        if test.node.op == "unary" and test.node.name == "not":
            return condition.holds and self._names_in_use(test.to(test.node.inputs[0]))
        if test.node.op == "compare" and test.node.name in ("is", "is not", "=="):
            none = any(test.to(number).node.name in ("None", "0") for number in test.node.inputs)
            return (
                none
                and (test.node.name != "is not") is condition.holds
                and self._names_in_use(test.to(test.node.inputs[0]))
            )
        return bool(names) and not condition.holds and self._names_in_use(test)

    def _names_in_use(self, ref: Ref) -> bool:
        """Whether an operand itself, by its names, is the model in use."""
        found = tokens(self._own_words(ref))
        return bool(found & (_IN_USE - {"stage", "registered"})) and not found & {
            "stages",
            "path",
            "dir",
            "data",
            "stage",
        }

    def _raises(self, call: Ref, condition: Condition) -> bool:
        """Whether the way on which nothing is missing is no comparison at all but an error."""
        return any(
            block.test == condition.test.number
            and block.holds is not condition.holds
            and block.leaves in ("raise", "exit")
            for block in call.routine.function.blocks
        )

    # ---- a function that decides

    def _decided(self, condition: Condition) -> Iterator[tuple[Ref, str, tuple[str, ...], tuple[Step, ...]]]:
        """`if is_better(new, old):` — the function's ways to say yes."""
        parts = parts_of(condition.test, condition.holds)
        asked = [inner for inner, holds in parts if inner.node.op == "call" and holds]
        for call in asked[:3]:
            for routine in self.code.meanings.routines(call):
                if routine.function.kind == "function" and self._compares(routine):
                    for at, what, faults in self._yes(routine):
                        yield at, what, faults, (Step(call.at, f"`{self.code.written(call)}(…)` decides"),)

    def _compares(self, routine: Routine) -> bool:
        return any(self._is_comparison(Ref(routine, number)) for number in routine.all_of("compare"))

    def _yes(self, routine: Routine) -> Iterator[tuple[Ref, str, tuple[str, ...]]]:
        """`return True` where nothing is there to compare with or the comparison failed; `return new >= old`."""
        for number in routine.all_of("return"):
            ref = Ref(routine, number)
            given = ref.to(ref.node.inputs[0]) if ref.node.inputs else None
            if given is None:
                continue
            if given.node.name == "True" or self._says_yes(given):
                yield from ((at, what, faults) for at, what, faults, _ in self._around_return(ref))
            elif self._is_comparison(given):
                faults = tuple(case for case in ("equal", "nan") if self._says(given, case) is True)
                if faults:
                    yield given, self.reader.text(given, 1), faults

    @staticmethod
    def _says_yes(answer: Ref) -> bool:
        """`Decision(promote=True, reason="…")`, `{"promote": True}`, `(True, "…")`."""
        node = answer.node
        if node.op == "call":
            said = [(word, answer.to(number).node) for word, number in node.arguments()]
            return any(tokens(word) & _PROMOTES and given.name == "True" for word, given in said)
        if node.op == "table":
            pairs = zip(node.inputs[::2], node.inputs[1::2], strict=True)
            said = [(text(answer.to(key).node), answer.to(value).node) for key, value in pairs if key != NONE]
            return any(tokens(word) & _PROMOTES and given.name == "True" for word, given in said)
        return node.op == "items" and bool(node.inputs) and answer.to(node.inputs[0]).node.name == "True"

    def _around_return(self, ref: Ref) -> Iterator[tuple[Ref, str, tuple[str, ...], tuple[Step, ...]]]:
        function = ref.routine.function
        for number in ref.routine.blocks[ref.node.block]:
            block = function.blocks[number]
            if block.kind == "except":
                caught = function.nodes[block.test].name.rpartition(".")[2] if block.test != NONE else ""
                yield ref, f"except {caught}".strip(), ("error" if caught in ("Exception", "") else "absent",), ()
                return
        yield from (found for found in self._around(ref) if found[2])


def _is_retired(target: str) -> bool:
    return target.lower().rpartition(".")[2] in (
        "archived",
        "archive",
        "none",
        "retired",
        "rejected",
        "previous",
        "rollback",
    )


def _is_endless(ref: Ref) -> bool:
    """`float("inf")`, `-math.inf`"""
    said = (one.node.name.strip("'\"+-").lower().rpartition(".")[2] for one in within(ref))
    return ref.node.op != "join" and any(one in ("inf", "infinity") for one in said)


def _handled(ref: Ref) -> str | None:
    """The exception in whose handler something stands; None outside of them."""
    function = ref.routine.function
    for number in ref.routine.blocks[ref.node.block]:
        block = function.blocks[number]
        if block.kind == "except":
            return function.nodes[block.test].name.rpartition(".")[2] if block.test != NONE else ""
    return None


def _joined(op: str, answers: list[bool | None]) -> bool | None:
    decided = op == "or"
    if decided in answers:
        return decided
    return None if None in answers else not decided


def comparators(facts: Facts) -> tuple[Comparator, ...]:
    """Every comparator of a repository that lets something through."""
    return facts.once("comparators", lambda facts: tuple(Comparators(program(facts), starting(facts)).find()))
