"""What a test says of a value that is NaN, infinite, zero or negative, and what it asks of it at all."""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.flow import SPENT
from vramguard.link.code.meaning import Meanings
from vramguard.link.code.program import Ref
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.link.code.program import Routine
    from vramguard.source.graph import Node

NAN, INFINITE, ZERO, NEGATIVE = math.nan, math.inf, 0.0, -1.0
BAD: Final = {"nan": NAN, "inf": INFINITE, "zero": ZERO, "negative": NEGATIVE}
_DEEP: Final = 3  # functions of the repository that a condition asks
_NESTED: Final = 60  # expressions within each other
_KEPT: Final = 64  # sets of values of a function of which it is kept what they went into
_JOINING: Final = {"and": "and", "or": "or", "&": "and", "|": "or"}
# What may hold the value that a condition is about.
_HOLDERS: Final = ("call", "attr", "item", "join", "param", "each", "part", "if")
_OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
# What tells, by name, how sure a model is of itself.
_CONFIDENT: Final = ("score", "confidence", "conf", "prob", "logprob", "similarity", "distance")
# What tells, by name, how the call went, and nothing of its answer.
_ABOUT_THE_CALL: Final = (
    "error_code",
    "statu",
    "status",
    "status_code",
    "finish_reason",
    "stop_reason",
    "type",
    "role",
    "event",
    "object",
    "code",
)
# What tells how a value is laid out.
_ABOUT_ITS_FORM: Final = (".shape", ".ndim", ".dtype", ".size", ".device")
_BY_NAME: Final = (("confidence", _CONFIDENT), ("status", _ABOUT_THE_CALL), ("type", _ABOUT_ITS_FORM))
_FINITE: Final = {
    "isfinite": (False, False),
    "isnan": (True, False),
    "isinf": (False, True),
    "isna": (True, False),
    "isnull": (True, False),
    "notna": (False, True),
    "notnull": (False, True),
}


_TELLING: Final = ("compare", "store", "return", "raise", "assert")


class Condition(NamedTuple):
    """A test that held, or did not, whenever a place is reached."""

    test: Ref
    holds: bool
    form: str  # if, assert, while, call: how it stands there


def around(ref: Ref) -> Iterator[Condition]:
    """The conditions under which a node runs, the nearest first."""
    function = ref.routine.function
    for number in ref.routine.blocks[ref.node.block]:
        block = function.blocks[number]
        if block.test != NONE and block.kind in ("if", "else", "assert", "while"):
            yield Condition(ref.to(block.test), block.holds, "assert" if block.kind == "assert" else "if")


def about(test: Ref, values: frozenset[int]) -> bool:
    """Whether an expression is made of a value."""
    return test.number in _made_of(test.routine, values)


def _made_of(routine: Routine, values: frozenset[int]) -> frozenset[int]:
    """Every node of a function that a value went into, kept for the next question about the same values."""
    kept: dict[frozenset[int], frozenset[int]] = routine.__dict__.setdefault("made_of", {})
    if values not in kept:
        if len(kept) >= _KEPT:
            kept.clear()
        found, pending = set(values), list(values)
        while pending:
            new = [user for user in routine.users.get(pending.pop(), ()) if user not in found]
            found.update(new)
            pending += new
        kept[values] = frozenset(found)
    return kept[values]


def derived(routine: Routine, values: frozenset[int]) -> frozenset[int]:
    """All nodes of a function that are made of some of its values, comparisons aside."""
    found = set(values)
    pending = list(values)
    nodes = routine.function.nodes
    while pending:
        for user in routine.users.get(pending.pop(), ()):
            if user not in found and nodes[user].op not in _TELLING and not _asks(nodes, nodes[user]):
                found.add(user)
                pending.append(user)
    return frozenset(found)


def _asks(nodes: tuple[Node, ...], node: Node) -> bool:
    """Whether a call says something of a value, and is none itself."""
    return node.op == "call" and nodes[node.inputs[0]].name.rpartition(".")[2] in SPENT


@dataclass
class Question:
    """What a test says if a value is a certain number: true, false, or None where nobody can tell."""

    meanings: Meanings
    values: frozenset[int]
    test: Ref
    depth: int = 0

    @cached_property
    def kind(self) -> str:
        """What the test asks of the value; the strictest of what it asks."""
        kinds = set(self._kinds(self.test.number))
        order = ("finite", "bounds", "member", "text", "schema", "confidence", "status", "type", "none", "truth")
        return next((kind for kind in order if kind in kinds), "other")

    def _node(self, number: int) -> Node:
        return self.test.routine.function.nodes[number]

    def _is_value(self, number: int) -> bool:
        """The value itself, or its text or number."""
        for _ in range(_NESTED):
            node = self._node(number)
            if number in self.values:
                return True
            if node.op != "call" or len(node.inputs) != 2:  # noqa: PLR2004 - what is called, and one argument
                return False
            number = node.inputs[1]
        return False

    def is_about(self, number: int) -> bool:
        """Whether an expression is made of the value."""
        return about(self.test.to(number), self.values)

    def _kinds(self, number: int, depth: int = 0) -> Iterator[str]:
        node = self._node(number)
        if depth > 8 or not (self.is_about(number)):  # noqa: PLR2004
            return
        if node.op in ("and", "or", "unary", "join", "if", "items"):
            for inner in node.inputs:
                yield from self._kinds(inner, depth + 1)
        elif node.op == "compare":
            yield self._compared(node)
        elif node.op == "call":
            yield from self._asked(number, node)
        else:
            yield "truth"

    def _compared(self, node: Node) -> str:
        left, right = node.inputs
        other = self._node(right if self.is_about(left) else left)
        if node.name in ("is", "is not"):
            return "none" if other.name == "None" else "other"
        subject = left if self.is_about(left) else right
        named = next((kind for kind, ends in _BY_NAME if self._goes_by(subject, ends)), "")
        if named:
            return named
        if node.name in ("in", "not in"):
            return "text" if self.is_about(right) and not self.is_about(left) else "member"
        if other.op == "const" and other.name == "None":
            return "none"
        if self._is_length(subject):
            return "truth"
        return "text" if other.op == "const" and other.name[:1] in "'\"b" else "bounds"

    def _is_length(self, number: int) -> bool:
        node = self._node(number)
        return node.op == "call" and self._node(node.inputs[0]).name in ("len", "type", "count")

    def _goes_by(self, number: int, ends: tuple[str, ...]) -> bool:
        """Whether a value is an attribute, an item or a parameter whose name ends so: `best["score"]`."""
        node = self._node(number)
        for _ in range(6):
            name = f".{node.name}" if node.op == "attr" else node.name if node.op == "param" else ""
            if node.op == "item":
                name = self._node(node.inputs[1]).name.strip("'\"")
            if name and name.lower().rstrip("s").endswith(ends):
                return True
            if node.op not in ("attr", "item", "call", "each", "part", "join") or not node.inputs:
                return False
            node = self._node(node.inputs[-1] if node.op == "call" and len(node.inputs) > 1 else node.inputs[0])
        return False

    def _asked(self, number: int, node: Node) -> Iterator[str]:
        function = self._node(node.inputs[0])
        last = function.name.rpartition(".")[2]
        if last in _FINITE:
            yield "finite"
        elif "stop" in last.lower():  # whether a model has come to its end
            yield "status"
        elif last in ("isinstance", "issubclass", "hasattr", "callable", "type"):
            yield "type"
        elif last in ("any", "all", "bool", "item", "not_") and node.inputs:
            inner = node.inputs[1] if len(node.inputs) > 1 else function.inputs[0] if function.inputs else NONE
            if inner != NONE:
                yield from self._kinds(inner, 1)
        elif last in (
            "startswith",
            "endswith",
            "match",
            "search",
            "fullmatch",
            "isdigit",
            "isnumeric",
            "issubset",
            "isalpha",
        ):
            yield "text"
        else:
            routines = self.meanings.routines(self.test.to(number))
            kinds = [kind for routine in routines for kind in self._kept_inside(routine)]
            yield from kinds or ["truth" if not routines else "other"]

    def _kept_inside(self, routine: Routine) -> tuple[str, ...]:
        kept: dict[int, tuple[str, ...]] = routine.__dict__.setdefault("asked", {})
        if self.depth not in kept:
            kept[self.depth] = tuple(dict.fromkeys(self._inside(routine)))
        return kept[self.depth]

    def _inside(self, routine: Routine) -> Iterator[str]:
        """What a function of the repository, whose answer is the test, asks of its parameters."""
        if self.depth > _DEEP:
            return
        values = parameters(routine)
        for node in routine.function.nodes:
            if node.op == "return" and node.inputs:
                question = Question(self.meanings, values, Ref(routine, node.inputs[0]), self.depth + 1)
                if question.is_about(node.inputs[0]):
                    yield question.kind
        for block in routine.function.blocks:
            if block.test != NONE and block.kind in ("if", "else"):
                question = Question(self.meanings, values, Ref(routine, block.test), self.depth + 1)
                if question.is_about(block.test):
                    yield question.kind

    def says(self, number: int, bad: float, nested: int = 0) -> bool | None:
        """The test's answer if the value is `bad`."""
        node = self._node(number)
        if number in self.values and node.op in _HOLDERS:
            return bool(bad)  # `if price:` lets NaN through
        if node.op == "const":
            return _literal_truth(node.name)
        if node.op == "compare":
            return self._comparison(node, bad)
        if node.op == "call":
            return self._call(number, node, bad, nested)
        return self._composed(number, node, bad, nested + 1) if nested < _NESTED else None

    def _composed(self, number: int, node: Node, bad: float, nested: int) -> bool | None:
        """What a test says that is made of others."""
        if node.op == "unary" and node.name in ("not", "~"):
            inner = self.says(node.inputs[0], bad, nested)
            return None if inner is None else not inner
        sign = _JOINING.get(node.name if node.op == "binary" else node.op)
        if sign is not None:
            answers = [self.says(inner, bad, nested) for inner in node.inputs]
            decided = sign == "or"
            return decided if decided in answers else None if None in answers else not decided
        if node.op in ("attr", "join", "items") and node.inputs and number not in self.values:  # all(x > 0 for x in xs)
            return self.says(node.inputs[0], bad, nested)
        return None

    def _comparison(self, node: Node, bad: float) -> bool | None:
        compare = _OPERATORS.get(node.name)
        left, right = node.inputs
        if compare is None:
            return self._text_in(node, bad)
        if self._is_value(left) and self._is_value(right):
            return compare(bad, bad)
        if self._is_value(left):
            other = _number(self._node(right))
            return (
                compare(bad, other) if other is not None else False if math.isnan(bad) and node.name != "!=" else None
            )
        if self._is_value(right):
            other = _number(self._node(left))
            return (
                compare(other, bad) if other is not None else False if math.isnan(bad) and node.name != "!=" else None
            )
        return None

    def _text_in(self, node: Node, bad: float) -> bool | None:
        """`"NaN" in str(x)`: Python writes `nan`. Membership of a closed set: no bad value is in it."""
        left, right = node.inputs
        needle = self._node(left)
        if (
            node.name in ("in", "not in")
            and needle.op == "const"
            and needle.name[:1] in "'\""
            and self._is_value(right)
        ):
            found = ast.literal_eval(needle.name) in str(bad)
            return found if node.name == "in" else not found
        if node.name in ("in", "not in") and self._is_value(left):
            return node.name == "not in"
        return None

    def _call(self, number: int, node: Node, bad: float, nested: int) -> bool | None:
        function = self._node(node.inputs[0])
        last = function.name.rpartition(".")[2]
        subject = node.inputs[1] if len(node.inputs) > 1 else function.inputs[0] if function.inputs else NONE
        if subject == NONE:
            return None
        if last in _FINITE and self.is_about(subject):
            return _finite(last, bad)
        if last in ("any", "all", "bool", "item"):
            return self.says(subject, bad, nested + 1) if nested < _NESTED else None
        if last in ("isinstance", "hasattr"):
            return True if self._is_value(subject) else None
        for routine in self.meanings.routines(self.test.to(number)):
            answer = self._answer(routine, bad)
            if answer is not None:
                return answer
        return None

    def _answer(self, routine: Routine, bad: float) -> bool | None:
        """What a function of the repository answers: the one thing that all ways open to the value return."""
        if self.depth > _DEEP:
            return None
        kept: dict[tuple[str, int], bool | None] = routine.__dict__.setdefault("answers", {})
        key = str(bad), self.depth
        if key not in kept:
            kept[key] = self._found(routine, bad)
        return kept[key]

    def _found(self, routine: Routine, bad: float) -> bool | None:
        values = derived(routine, parameters(routine))
        answers: set[bool | None] = set()
        for number, node in enumerate(routine.function.nodes):
            if node.op != "return" or not node.inputs:
                continue
            open_ = True
            for condition in around(Ref(routine, number)):
                question = Question(self.meanings, values, condition.test, self.depth + 1)
                if question.says(condition.test.number, bad) is (not condition.holds):
                    open_ = False
            if open_:
                question = Question(self.meanings, values, Ref(routine, node.inputs[0]), self.depth + 1)
                answers.add(question.says(node.inputs[0], bad))
        return answers.pop() if len(answers) == 1 else None


def parameters(routine: Routine) -> frozenset[int]:
    """The nodes of a function's parameters, without the object whose method it is."""
    nodes = enumerate(routine.function.nodes)
    return frozenset(n for n, node in nodes if node.op == "param" and node.name not in ("self", "cls"))


def _finite(name: str, bad: float) -> bool:
    if name in ("isfinite", "notna", "notnull"):
        return math.isfinite(bad) if name == "isfinite" else not math.isnan(bad)
    return math.isinf(bad) if name == "isinf" else math.isnan(bad)


def _number(node: Node) -> float | None:
    """A number as written; `float("nan")` and `np.nan` too."""
    if node.op == "const":
        try:
            found = ast.literal_eval(node.name)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
        return float(found) if isinstance(found, int | float) else None
    if node.op == "attr" and node.name.lower() in ("nan", "inf"):
        return float(node.name.lower())
    return None


def _literal_truth(text: str) -> bool | None:
    try:
        return bool(ast.literal_eval(text))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
