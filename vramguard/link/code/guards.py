"""What is known of a value where it is used: the conditions around it, and which bad values they let through.

A condition is asked what it says of NaN, of infinity, of zero and of what lies below. `if price <= 0: raise` lets NaN
pass, since every comparison with it is false; `if not price > 0: raise` does not.
"""

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
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.link.code.program import Routine
    from vramguard.source.graph import Node

NAN, INFINITE, ZERO, NEGATIVE = math.nan, math.inf, 0.0, -1.0
BAD: Final = {"nan": NAN, "inf": INFINITE, "zero": ZERO, "negative": NEGATIVE}
_DEEP: Final = 3  # functions of the repository that a condition asks
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


@dataclass(frozen=True)
class Guard:
    """A condition about a value: what it is, and which bad values do not pass it.

    `kind`: finite, bounds, member, text, schema, type, truth, confidence, status, other.
    """

    at: Location
    kind: str
    form: str
    excludes: frozenset[str]
    test: Ref
    leaves: str = ""  # how the way ends on which the condition fails: raise, return, exit, continue


class Guards:
    """Asks conditions about values."""

    def __init__(self, meanings: Meanings) -> None:
        self.meanings = meanings
        self.program = meanings.program

    def around(self, ref: Ref) -> Iterator[Condition]:
        """The conditions under which a node runs, the nearest first."""
        function = ref.routine.function
        for number in ref.routine.blocks[ref.node.block]:
            block = function.blocks[number]
            if block.test != NONE and block.kind in ("if", "else", "assert", "while"):
                yield Condition(ref.to(block.test), block.holds, "assert" if block.kind == "assert" else "if")

    def before(self, ref: Ref) -> Iterator[Ref]:
        """The calls that certainly ran before a node, in its function."""
        blocks = set(ref.routine.blocks[ref.node.block])
        nodes = ref.routine.function.nodes
        for number in range(ref.number):
            if nodes[number].op == "call" and nodes[number].block in blocks:
                yield ref.to(number)

    def of(self, ref: Ref, values: frozenset[int]) -> Iterator[Guard]:
        """The guards of some values of a function where a node of it runs."""
        for condition in self.around(ref):
            if self.about(condition.test, values):
                yield self._guard(condition, values, self._other(ref, condition))
        for call in self.before(ref):
            yield from self.refusing(call, values)

    def kind(self, test: Ref, values: frozenset[int]) -> str:
        """What a test asks of some values."""
        return _Question(self.meanings, values, test).kind

    def about(self, test: Ref, values: frozenset[int]) -> bool:
        """Whether an expression is made of a value."""
        pending, seen = [test.number], set[int]()
        nodes = test.routine.function.nodes
        while pending:
            number = pending.pop()
            if number in values:
                return True
            if number != NONE and number not in seen:
                seen.add(number)
                pending += nodes[number].inputs
        return False

    def _other(self, ref: Ref, condition: Condition) -> str:
        """How the way ends on which a condition does not hold."""
        blocks = ref.routine.function.blocks
        for block in blocks:
            if (
                block.test == condition.test.number
                and block.holds is not condition.holds
                and block.kind in ("if", "else")
            ):
                return block.leaves
        return ""

    def _guard(self, condition: Condition, values: frozenset[int], leaves: str) -> Guard:
        question = _Question(self.meanings, values, condition.test)
        excluded = frozenset(
            name for name, bad in BAD.items() if question.says(condition.test.number, bad) is (not condition.holds)
        )
        return Guard(condition.test.at, question.kind, condition.form, excluded, condition.test, leaves)

    def refusing(self, call: Ref, values: frozenset[int], depth: int = 0) -> Iterator[Guard]:
        """Guards inside a function of the repository that is called with a value, and raises or exits."""
        node = call.node
        if depth > _DEEP or not any(
            self.about(call.to(number), values) for number in node.inputs[1:] if number != NONE
        ):
            return
        for routine in self.meanings.routines(call):
            inner = frozenset(
                number
                for number, made in enumerate(routine.function.nodes)
                if made.op == "param" and made.name not in ("self", "cls")
            )
            yield from self.refusals(routine, self.derived(routine, inner), depth)

    def refusals(self, routine: Routine, values: frozenset[int], depth: int = 0) -> Iterator[Guard]:
        """The conditions on values without which a function does not end as it should."""
        function = routine.function
        for number, block in enumerate(function.blocks):
            test = block.test
            if block.kind == "assert" and self.about(Ref(routine, test), values):
                yield self._guard(Condition(Ref(routine, test), True, "assert"), values, "raise")
            elif (
                block.kind in ("if", "else")
                and block.leaves in ("raise", "exit")
                and self.about(Ref(routine, test), values)
            ):
                if not self._caught(routine, number):
                    yield self._guard(Condition(Ref(routine, test), not block.holds, "call"), values, block.leaves)
        for number in routine.all_of("call"):
            yield from self.refusing(Ref(routine, number), values, depth + 1)

    @staticmethod
    def _caught(routine: Routine, number: int) -> bool:
        """Whether what a block raises is caught in the same function by a handler that goes on."""
        blocks = routine.function.blocks
        chain = routine.blocks[number]
        tries = {one for one in chain if blocks[one].kind == "try"}
        return any(
            block.kind == "except" and not block.leaves and any(blocks[one].parent == block.parent for one in tries)
            for block in blocks
        )

    def derived(self, routine: Routine, values: frozenset[int]) -> frozenset[int]:
        """All nodes of a function that are made of some of its values, comparisons aside."""
        found = set(values)
        pending = list(values)
        nodes = routine.function.nodes
        while pending:
            for user in routine.users.get(pending.pop(), ()):
                if user not in found and nodes[user].op not in _TELLING and not self._asks(nodes, nodes[user]):
                    found.add(user)
                    pending.append(user)
        return frozenset(found)

    @staticmethod
    def _asks(nodes: tuple[Node, ...], node: Node) -> bool:
        """Whether a call says something of a value, and is none itself."""
        return node.op == "call" and nodes[node.inputs[0]].name.rpartition(".")[2] in SPENT


@dataclass
class _Question:
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
        node = self._node(number)
        if number in self.values:
            return True
        return node.op == "call" and len(node.inputs) == 2 and self._is_value(node.inputs[1])  # noqa: PLR2004

    def _about(self, number: int) -> bool:
        return Guards(self.meanings).about(self.test.to(number), self.values)

    def _kinds(self, number: int, depth: int = 0) -> Iterator[str]:
        node = self._node(number)
        if depth > 8 or not (self._about(number)):  # noqa: PLR2004
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
        other = self._node(right if self._about(left) else left)
        if node.name in ("is", "is not"):
            return "none" if other.name == "None" else "other"
        subject = left if self._about(left) else right
        if self._goes_by(subject, _CONFIDENT):
            return "confidence"
        if self._goes_by(subject, _ABOUT_THE_CALL):
            return "status"
        if self._goes_by(subject, _ABOUT_ITS_FORM):
            return "type"
        if node.name in ("in", "not in"):
            return "text" if self._about(right) and not self._about(left) else "member"
        if other.op == "const" and other.name == "None":
            return "none"
        if self._is_length(subject):
            return "truth"
        if other.op == "const" and other.name[:1] in "'\"b":
            return "text"
        return "bounds"

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
            kinds = [kind for routine in routines for kind in self._inside(routine)]
            yield from kinds or ["truth" if not routines else "other"]

    def _inside(self, routine: Routine) -> Iterator[str]:
        """What a function of the repository, whose answer is the test, asks of its parameters."""
        if self.depth > _DEEP:
            return
        values = _parameters(routine)
        for node in routine.function.nodes:
            if node.op == "return" and node.inputs:
                question = _Question(self.meanings, values, Ref(routine, node.inputs[0]), self.depth + 1)
                if question._about(node.inputs[0]):
                    yield question.kind
        for block in routine.function.blocks:
            if block.test != NONE and block.kind in ("if", "else"):
                question = _Question(self.meanings, values, Ref(routine, block.test), self.depth + 1)
                if question._about(block.test):
                    yield question.kind

    def says(self, number: int, bad: float) -> bool | None:  # noqa: C901, PLR0911 - a row for each operator
        """The test's answer if the value is `bad`."""
        node = self._node(number)
        if number in self.values and node.op in ("call", "attr", "item", "join", "param", "each", "part", "if"):
            return bool(bad)  # `if price:` lets NaN through
        if node.op == "unary" and node.name == "not":
            inner = self.says(node.inputs[0], bad)
            return None if inner is None else not inner
        if node.op == "unary" and node.name == "~":
            inner = self.says(node.inputs[0], bad)
            return None if inner is None else not inner
        if node.op in ("and", "or"):
            answers = [self.says(inner, bad) for inner in node.inputs]
            decided = node.op == "or"
            if decided in answers:
                return decided
            return None if None in answers else not decided
        if node.op == "const":
            return _literal_truth(node.name)
        if node.op == "compare":
            return self._comparison(node, bad)
        if node.op == "call":
            return self._call(number, node, bad)
        if node.op == "binary" and node.name in ("&", "|"):
            answers = [self.says(inner, bad) for inner in node.inputs]
            decided = node.name == "|"
            return decided if decided in answers else None if None in answers else not decided
        if node.op in ("attr", "join", "items") and node.inputs and number not in self.values:  # all(x > 0 for x in xs)
            return self.says(node.inputs[0], bad)
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

    def _call(self, number: int, node: Node, bad: float) -> bool | None:
        function = self._node(node.inputs[0])
        last = function.name.rpartition(".")[2]
        subject = node.inputs[1] if len(node.inputs) > 1 else function.inputs[0] if function.inputs else NONE
        if subject == NONE:
            return None
        if last in _FINITE and self._about(subject):
            return _finite(last, bad)
        if last in ("any", "all", "bool", "item"):
            return self.says(subject, bad)
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
        values = Guards(self.meanings).derived(routine, _parameters(routine))
        answers: set[bool | None] = set()
        guards = Guards(self.meanings)
        for number, node in enumerate(routine.function.nodes):
            if node.op != "return" or not node.inputs:
                continue
            open_ = True
            for condition in guards.around(Ref(routine, number)):
                question = _Question(self.meanings, values, condition.test, self.depth + 1)
                if question.says(condition.test.number, bad) is (not condition.holds):
                    open_ = False
            if open_:
                question = _Question(self.meanings, values, Ref(routine, node.inputs[0]), self.depth + 1)
                answers.add(question.says(node.inputs[0], bad))
        return answers.pop() if len(answers) == 1 else None


def _parameters(routine: Routine) -> frozenset[int]:
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
