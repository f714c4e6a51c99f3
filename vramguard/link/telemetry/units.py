"""Comparisons in alerts that cannot be what was meant: another unit, NaN, a gauge that keeps its last value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import promql_parser

from vramguard import data
from vramguard.link.telemetry.names import unit
from vramguard.link.telemetry.promql import name_of, nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.link.telemetry.promql import Query

_KEPT: Final = frozenset(("sum", "avg", "min", "max", "topk", "bottomk", "quantile"))
_OVER_TIME: Final = frozenset(
    ("avg_over_time", "max_over_time", "min_over_time", "last_over_time", "quantile_over_time", "histogram_quantile")
)
_PASSED: Final = frozenset(("rate", "irate", "abs", "ceil", "floor", "round", "clamp_max", "clamp_min", "clamp"))
_COMPARED: Final = frozenset((">", "<", ">=", "<=", "==", "!="))
_BYTES: Final = 1e8  # as MiB that is 95 TiB
_LARGEST: Final = 400_000  # MiB, above what any card of data/gpus.toml has
_SLOW: Final = 250.0  # seconds until a first token, which nobody means


class Flaw(NamedTuple):
    """A comparison that is wrong: of which metric, and why in words."""

    metric: str
    why: str


class _Value(NamedTuple):
    unit: str
    metric: str
    factor: float = 1.0  # by which the unit has been multiplied


_NOTHING: Final = _Value("", "")


def flaws(query: Query) -> Iterator[Flaw]:
    """Every comparison of a query that is wrong."""
    if query.tree is None:
        return
    for node in nodes(query.tree):
        if isinstance(node, promql_parser.BinaryExpr) and (sign := str(node.op)) in _COMPARED:
            yield from _compared(node, sign)


def _compared(node: Any, sign: str) -> Iterator[Flaw]:  # noqa: ANN401
    number, asked = _number(node.rhs), node.lhs
    if number is None:
        flipped = {">": "<", "<": ">", ">=": "<=", "<=": ">="}
        sign = flipped.get(sign, sign)
        number, asked = _number(node.lhs), node.rhs
    if number is None:
        return
    value = _value(asked)
    if metric := _half_of_memory(asked, number):
        why = "used by free is no share of the memory, and passes 1 at the half of it: divide by `used + free`"
        yield Flaw(metric, why)
        return
    if number != number:  # noqa: PLR0124 - NaN
        truth = "always" if sign == "!=" else "never"
        yield Flaw(value.metric, f"nothing equals NaN, so that the comparison is {truth} true (`x != x` finds one)")
        return
    if value.metric in data.load("metrics")["dcgm"]["last_seen"] and value.unit == "last":
        if (sign in (">", "!=") and number == 0) or (sign == ">=" and 0 < number <= 1):
            yield Flaw(
                value.metric, "the gauge keeps the last fault, so that the alert never ends: ask for `changes(…) > 0`"
            )
        return
    added = any(isinstance(one, promql_parser.AggregateExpr | promql_parser.BinaryExpr) for one in nodes(asked))
    if value.unit == "MiB" and not added and _LARGEST < number / value.factor < _BYTES:
        yield Flaw(value.metric, "it counts MiB, and no card has as many")
    elif why := _wrong_unit(value, sign, number / value.factor):
        yield Flaw(value.metric, why)


def _wrong_unit(value: _Value, sign: str, number: float) -> str:
    """Why a number is none of a unit; empty where it may be."""
    if value.unit == "MiB":
        if number >= _BYTES:
            return "it counts MiB, and is compared with bytes"
        return "it counts MiB, and is compared with a share of the memory" if 0 < number < 1 else ""
    if value.unit == "ratio":
        over = number > 1 or (number == 1 and sign == ">")
        return "it lies between 0 and 1, and is compared with percents" if over else ""
    if value.unit == "percent":
        return "it lies between 0 and 100, and is compared with a share" if 0 < number < 1 else ""
    if value.unit == "seconds":
        return "it counts seconds, and is compared with milliseconds" if number >= _SLOW else ""
    return ""


def _number(node: Any) -> float | None:  # noqa: ANN401
    """What a literal is, with its sign, and what literals multiply to."""
    if isinstance(node, promql_parser.NumberLiteral):
        return float(node.val)
    if isinstance(node, promql_parser.ParenExpr):
        return _number(node.expr)
    if isinstance(node, promql_parser.UnaryExpr):
        inner = _number(node.expr)
        return None if inner is None else -inner
    if isinstance(node, promql_parser.BinaryExpr):
        left, right = _number(node.lhs), _number(node.rhs)
        if left is not None and right is not None:
            return {"*": left * right, "+": left + right, "-": left - right}.get(
                str(node.op), left / right if str(node.op) == "/" and right else None
            )
    return None


def _value(node: Any) -> _Value:  # noqa: ANN401
    """The unit of an expression, as far as it is certain."""
    reader = _READERS.get(type(node).__name__)
    return reader(node) if reader else _NOTHING


def _of_selector(node: Any) -> _Value:  # noqa: ANN401
    name = name_of(node)
    return _Value("last" if name in data.load("metrics")["dcgm"]["last_seen"] else unit(name), name)


def _of_aggregate(node: Any) -> _Value:  # noqa: ANN401
    inner = _value(node.expr)
    summed = str(node.op) == "sum" and inner.unit in ("ratio", "percent")  # of several cards
    return inner if str(node.op) in _KEPT and not summed else _NOTHING


def _of_call(node: Any) -> _Value:  # noqa: ANN401
    if not node.args:
        return _NOTHING
    name = node.func.name
    if name in _OVER_TIME or name in _PASSED:
        value = _value(node.args[-1] if name in ("quantile_over_time", "histogram_quantile") else node.args[0])
        bucket = value.metric.endswith("_bucket")
        rated = name in ("rate", "irate") and not bucket  # of a sum: seconds for each second
        return _NOTHING if rated or (value.unit == "last" and name in _PASSED) else value
    return _NOTHING


def _of_arithmetic(node: Any) -> _Value:  # noqa: ANN401
    sign, left, right = str(node.op), _value(node.lhs), _value(node.rhs)
    number = _number(node.rhs) if left.unit else _number(node.lhs)
    held = left if left.unit else right
    if number and held.unit and held.unit != "last":
        if sign == "*":
            return held._replace(factor=held.factor * number)
        if sign == "/" and left.unit:
            return held._replace(factor=held.factor / number)
        return _NOTHING
    if left.unit == right.unit == "MiB":
        same = left.factor == right.factor
        if sign == "/" and same:
            return _Value("ratio", left.metric) if _is_whole(node.rhs, right) else _NOTHING
        return left if sign in ("+", "-") and same else _NOTHING
    return _NOTHING


def _half_of_memory(node: Any, number: float) -> str:  # noqa: ANN401
    """The metric of what is used, where that is divided by what is free, and compared with a share or with percents."""
    factor = 1.0
    while True:
        if isinstance(node, promql_parser.ParenExpr):
            node = node.expr
        elif isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "*":
            left, right = _number(node.lhs), _number(node.rhs)
            node, factor = (node.rhs, factor * left) if left is not None else (node.lhs, factor * (right or 1.0))
        else:
            break
    if not (isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "/") or not factor:
        return ""
    halves = data.load("metrics")["dcgm"]["halves"]
    meant = [_bare(node.lhs), _bare(node.rhs)] == halves and 0 < number / factor < 1
    return halves[0] if meant else ""


def _bare(node: Any) -> str:  # noqa: ANN401
    """The one metric that an expression is of, whatever it is aggregated to; empty for several."""
    names = {name for one in nodes(node) if isinstance(one, promql_parser.VectorSelector) and (name := name_of(one))}
    return names.pop() if len(names) == 1 else ""


def _is_whole(node: Any, value: _Value) -> bool:  # noqa: ANN401
    """Whether memory is that of the whole card: used and free together, or all of it."""
    while isinstance(node, promql_parser.ParenExpr):
        node = node.expr
    summed = isinstance(node, promql_parser.BinaryExpr) and str(node.op) == "+"
    return summed or value.metric.endswith("_TOTAL")


_READERS: Final[Mapping[str, Callable[[Any], _Value]]] = {
    "ParenExpr": lambda node: _value(node.expr),
    "VectorSelector": _of_selector,
    "MatrixSelector": lambda node: _value(node.vector_selector),
    "AggregateExpr": _of_aggregate,
    "Call": _of_call,
    "BinaryExpr": _of_arithmetic,
}
