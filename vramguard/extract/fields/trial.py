"""A validator tried on a number, without running it: does its text refuse NaN, infinity, zero?

A small reading of Python over one value: what it cannot follow is unclear, and then nobody is blamed. What a list is
asked (`any(…)`, `for price in prices`, `np.isnan(v).any()`) is asked of its one element.
"""

from __future__ import annotations

import ast
import math
import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from vramguard.extract.fields.names import Module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REFUSED, ACCEPTED, UNCLEAR, ON = "refused", "accepted", "unclear", "on"
_DEPTH: Final = 40
_STEPS: Final = 2000
_CALLED: Final = 3  # functions of the module within each other


class _Anything:
    """A value that nobody can tell."""


ANYTHING: Final = _Anything()
_COMPARE: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not,
}  # fmt: skip
_ARITHMETIC: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_TESTS: Final[Mapping[str, Callable[[float], bool]]] = {
    "isnan": math.isnan, "is_nan": math.isnan, "isna": math.isnan, "isnull": math.isnan, "isinf": math.isinf,
    "is_infinite": math.isinf, "isfinite": math.isfinite, "is_finite": math.isfinite,
    "notna": lambda value: not math.isnan(value), "notnull": lambda value: not math.isnan(value),
}  # fmt: skip
_SAME: Final = frozenset({
    "float", "Decimal", "float64", "float32", "array", "asarray", "any", "all", "min", "max", "sum", "tensor", "item",
    "values", "list", "tuple", "set", "flatten", "ravel", "tolist", "as_tensor",
})  # fmt: skip
_SILENT: Final = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log", "print"})
_PARTS: Final = (ast.Attribute, ast.Subscript, ast.Call)
_NUMBERS: Final = frozenset({"float", "int", "Number", "Real", "Decimal"})


@dataclass
class Trial:
    """One value on its way through a function. `subjects`: expressions, as `ast.dump` gives them, that are the value.

    `anything_iterated`: what a loop over nobody knows what gives is the value too (a validator of the whole model).
    """

    module: Module
    value: float
    names: dict[str, Any]
    subjects: frozenset[str] = frozenset()
    anything_iterated: bool = False
    called: int = 0
    steps: list[int] = field(default_factory=lambda: [0])

    def run(self, body: list[ast.stmt]) -> str:
        """What becomes of the value in these statements; ON where they end."""
        unclear = False
        for node in body:
            self.steps[0] += 1
            if self.steps[0] > _STEPS:
                return UNCLEAR
            found = self._statement(node)
            if found in (REFUSED, ACCEPTED):
                return UNCLEAR if unclear and found == ACCEPTED else found
            unclear = unclear or found == UNCLEAR
        return UNCLEAR if unclear else ON

    def _statement(self, node: ast.stmt) -> str:  # noqa: PLR0911 - a row each
        if isinstance(node, ast.Raise):
            return REFUSED
        if isinstance(node, ast.Return):
            return self._returned(node.value)
        if isinstance(node, ast.Assert):
            return self._assertion(node)
        if isinstance(node, ast.If):
            return self._either(self.evaluate(node.test), node.body, node.orelse)
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            return self._assigned(node)
        if isinstance(node, ast.For | ast.AsyncFor):
            return self._loop(node)
        if isinstance(node, ast.With | ast.AsyncWith):
            return self.run(node.body)
        if isinstance(node, ast.Try):
            return self._tried(node)
        if isinstance(node, ast.Expr):
            return self._call(node.value)
        return UNCLEAR if isinstance(node, ast.While | ast.Match) else ON

    def _returned(self, node: ast.expr | None) -> str:
        found = ON if node is None else self._call(node)
        return ACCEPTED if found == ON else found

    def _assertion(self, node: ast.Assert) -> str:
        found = self.evaluate(node.test)
        if found is ANYTHING:
            return UNCLEAR
        return ON if _truth(found) else REFUSED

    def _either(self, test: object, body: list[ast.stmt], orelse: list[ast.stmt]) -> str:
        if test is not ANYTHING:
            return self.run(body if _truth(test) else orelse)
        kept = dict(self.names)
        first = self.run(body)
        self.names = kept
        second = self.run(orelse)
        if first == second:
            return first
        return ON if {first, second} <= {ON, ACCEPTED} else UNCLEAR

    def _assigned(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> str:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = ANYTHING if isinstance(node, ast.AugAssign) or node.value is None else self.evaluate(node.value)
        for target in targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = value
        return self._call(node.value) if node.value is not None else ON

    def _loop(self, node: ast.For | ast.AsyncFor) -> str:
        known = self.evaluate(node.iter)
        each = self.value if known is ANYTHING and self.anything_iterated else known
        target = node.target.elts[-1] if isinstance(node.target, ast.Tuple) and node.target.elts else node.target
        if isinstance(target, ast.Name):
            self.names[target.id] = each
        found = self.run(node.body)
        return ON if found == ACCEPTED else found

    def _tried(self, node: ast.Try) -> str:
        found = self.run(node.body)
        if found == REFUSED and any(not _raises(handler.body) for handler in node.handlers):
            return UNCLEAR
        return found if found != ON else self.run([*node.orelse, *node.finalbody])

    def _call(self, node: ast.expr) -> str:
        """What a call that gets the value may do to it: a function of the module is tried, another is unclear."""
        calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
        found = ON
        for call in calls:
            name = self.module.last(call)
            if name in _SILENT or name in _TESTS or name in _SAME or not self._gets_value(call):
                continue
            function = self.module.functions.get(name)
            if function is not None and self.called < _CALLED:
                inner = Trial(self.module, self.value, {}, called=self.called + 1, steps=self.steps)
                result = inner.function(function)
                if result == REFUSED:
                    return REFUSED
                found = UNCLEAR if result == UNCLEAR else found
            elif name not in ("round", "abs", "int", "str", "isinstance", "len", "hasattr", "type", "format", "get"):
                found = UNCLEAR
        return found

    def _gets_value(self, call: ast.Call) -> bool:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        return any(isinstance(self.evaluate(item), float) for item in given)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        """The value given to a function as its first argument, `self` and `cls` aside."""
        arguments = [item.arg for item in (*node.args.posonlyargs, *node.args.args)]
        arguments = arguments[1:] if arguments[:1] in (["self"], ["cls"]) else arguments
        if arguments:
            self.names[arguments[0]] = self.value
        return self.run(node.body)

    def evaluate(self, node: ast.expr, depth: int = 0) -> Any:  # noqa: ANN401 - any value of Python
        """What an expression is worth, `ANYTHING` where nobody can tell."""
        if depth > _DEPTH:
            return ANYTHING
        if self.subjects and isinstance(node, _PARTS) and ast.dump(node) in self.subjects:
            return self.value
        build = _EVALUATE.get(type(node))
        return ANYTHING if build is None else build(self, node, depth + 1)


def _truth(value: object) -> bool:
    return bool(value)


def _raises(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Raise) for node in body)


def _name(trial: Trial, node: ast.Name, _: int) -> Any:  # noqa: ANN401
    if node.id in trial.names:
        return trial.names[node.id]
    bound = trial.module.bound.get(node.id)
    return bound.value if isinstance(bound, ast.Constant) and isinstance(bound.value, int | float) else ANYTHING


def _bool(trial: Trial, node: ast.BoolOp, depth: int) -> Any:  # noqa: ANN401
    found = [trial.evaluate(value, depth) for value in node.values]
    stops = isinstance(node.op, ast.Or)
    if any(value is not ANYTHING and _truth(value) == stops for value in found):
        return stops
    return ANYTHING if any(value is ANYTHING for value in found) else not stops


def _unary(trial: Trial, node: ast.UnaryOp, depth: int) -> Any:  # noqa: ANN401
    found = trial.evaluate(node.operand, depth)
    if found is ANYTHING:
        return ANYTHING
    if isinstance(node.op, ast.Not | ast.Invert):
        return not _truth(found)
    return -found if isinstance(node.op, ast.USub) and isinstance(found, int | float) else ANYTHING


def _compared(trial: Trial, node: ast.Compare, depth: int) -> Any:  # noqa: ANN401
    values = [trial.evaluate(item, depth) for item in (node.left, *node.comparators)]
    found = [_one(values[index], sign, values[index + 1]) for index, sign in enumerate(node.ops)]
    if any(one is False for one in found):
        return False
    return ANYTHING if any(one is ANYTHING for one in found) else True


def _one(left: object, sign: ast.cmpop, right: object) -> Any:  # noqa: ANN401
    """One comparison. What nobody can tell is finite where the other side is not: a limit that a person wrote."""
    if (left is ANYTHING) != (right is ANYTHING):
        known = right if left is ANYTHING else left
        if isinstance(known, float) and not math.isfinite(known) and type(sign) in _COMPARE:
            left, right = (1.0, known) if left is ANYTHING else (known, 1.0)
    if left is ANYTHING or right is ANYTHING or type(sign) not in _COMPARE:
        return ANYTHING
    try:
        return bool(_COMPARE[type(sign)](left, right))
    except TypeError:
        return ANYTHING


def _arithmetic(trial: Trial, node: ast.BinOp, depth: int) -> Any:  # noqa: ANN401
    left, right = trial.evaluate(node.left, depth), trial.evaluate(node.right, depth)
    if isinstance(node.op, ast.BitOr | ast.BitAnd) and isinstance(left, bool) and isinstance(right, bool):
        return left or right if isinstance(node.op, ast.BitOr) else left and right
    apply = _ARITHMETIC.get(type(node.op))
    if apply is None or not isinstance(left, int | float) or not isinstance(right, int | float):
        return ANYTHING
    try:
        return apply(float(left), float(right))
    except (ArithmeticError, ValueError):
        return ANYTHING


def _called(trial: Trial, node: ast.Call, depth: int) -> Any:  # noqa: ANN401
    name = trial.module.last(node)
    method = node.func.value if isinstance(node.func, ast.Attribute) else None
    subject = trial.evaluate(node.args[0] if node.args else method or node.func, depth)
    if name in _TESTS:
        return _TESTS[name](subject) if isinstance(subject, float) else ANYTHING
    if name in _SAME:
        return subject
    if name == "isinstance" and isinstance(subject, float):
        kinds = {trial.module.last(item) for item in ast.walk(node.args[-1]) if isinstance(item, ast.Name)}
        return True if kinds & _NUMBERS else ANYTHING
    if name == "abs" and isinstance(subject, float):
        return abs(subject)
    return ANYTHING


def _comprehension(trial: Trial, node: ast.GeneratorExp | ast.ListComp | ast.SetComp, depth: int) -> Any:  # noqa: ANN401
    """Its one element: what `any` and `all` of it are."""
    if len(node.generators) != 1:
        return ANYTHING
    known = trial.evaluate(node.generators[0].iter, depth)
    known = trial.value if known is ANYTHING and trial.anything_iterated else known
    target = node.generators[0].target
    inner = Trial(trial.module, trial.value, dict(trial.names), trial.subjects, called=trial.called, steps=trial.steps)
    if isinstance(target, ast.Name):
        inner.names[target.id] = known
    return inner.evaluate(node.elt, depth)


def _chosen(trial: Trial, node: ast.IfExp, depth: int) -> Any:  # noqa: ANN401
    test = trial.evaluate(node.test, depth)
    return ANYTHING if test is ANYTHING else trial.evaluate(node.body if _truth(test) else node.orelse, depth)


_EVALUATE: Final[Mapping[type, Callable[..., Any]]] = {
    ast.Constant: lambda _, node, __: node.value,
    ast.Name: _name,
    ast.Attribute: lambda trial, node, depth: (
        trial.evaluate(node.value, depth) if node.attr in ("values", "data", "T") else ANYTHING
    ),
    ast.BoolOp: _bool,
    ast.UnaryOp: _unary,
    ast.Compare: _compared,
    ast.BinOp: _arithmetic,
    ast.Call: _called,
    ast.GeneratorExp: _comprehension,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.IfExp: _chosen,
}
