"""What a query of Prometheus asks for, by Prometheus' own grammar (promql-parser: that of Prometheus 2.45 and later).

Variables of Grafana and marks of a renderer are masked before: what stands around them is read, and `whole` is False.
The parser's time grows with the square of an expression's depth, so that long and deep ones are not read at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import promql_parser

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST: Final = 6000  # characters
_MOST_SIGNS: Final = 150  # operators, commas and brackets
_DEEPEST: Final = 60  # brackets in brackets

_RENDERED = re.compile(r"\{\{[^{}]{0,400}\}\}|\{%[^{}%]{0,400}%\}|<<[^<>]{0,100}>>|<%[^<>%]{0,400}%>")
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*(?::\w+)?\}|\$[A-Za-z_]\w*|\[\[\w+\]\]|\$\([\w.]+\)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"|\'(?:[^\'\\]|\\.)*+\'|`[^`]*+`')
_SIGNS = re.compile(r"[-+*/%^<>=!,()\[\]{}]|\b(?:and|or|unless|atan2)\b")
_ISO = re.compile(r"P(?:(\d{1,5})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})S)?)?")  # as clouds write it
_NO_TIME = re.compile(r"0+(?:ms|[smhdwy])?")  # which the parser refuses
_PLAIN_NAME = re.compile(r"\^?([A-Za-z_:][\w:]*)\$?")
# VictoriaMetrics' and Loki's languages, which other parsers read.
_OTHER: Final = re.compile(r"\bkeep_metric_names\b|\b(?:default|if|ifnot)\s+[\w(]|\|=|\|~|!~\s*\||\|\s*[a-z]")
# What is wrong whichever release reads it: newer ones know more functions, and sums within `[…]`.
_WRONG: Final = re.compile(
    r"^(?:invalid promql query|unclosed |unexpected right |unexpected end of input|unterminated quoted string"
    r"|expected type (?:matrix|vector) in call|unexpected identifier .* expected string)"
)


@dataclass(frozen=True)
class Query:
    """A query. `tree`: of the parser; None where it could not be read, then `error` says why if that is certain."""

    text: str
    metrics: tuple[str, ...] = ()  # each name once, in the order of the text
    range_s: float = 0.0  # the shortest stretch of time that it looks back on: of two windows, the quick one
    whole: bool = True  # nothing of it is filled in by a renderer
    tree: Any = None
    error: str = ""


@lru_cache(maxsize=4096)
def read(text: str) -> Query:
    """The query that a text is. Never raises, and never takes long."""
    if len(text) > _LONGEST or not text.strip():
        return Query(text, whole=False)
    bare = _STRING.sub('""', text)
    whole = not (_RENDERED.search(text) or _VARIABLE.search(text))
    if len(_SIGNS.findall(bare)) > _MOST_SIGNS or _depth(bare) > _DEEPEST:
        return Query(text, whole=False)
    said = ""
    for masked in [text] if whole else _masked(text):
        try:
            tree = promql_parser.parse(masked)
        except ValueError as error:
            said = str(error)
            continue
        return _query(text, tree, whole=whole)
    wrong = whole and not _OTHER.search(bare) and _WRONG.search(said)
    return Query(text, whole=whole, error=said if wrong else "")


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _masked(text: str) -> list[str]:
    """The text without variables: a time within `[…]`, and elsewhere a name, or else a number."""
    plain = _VARIABLE.sub("$v", _RENDERED.sub("$v", text))
    ranges = re.sub(r"\[[^\[\]\"]{0,80}\$v[^\[\]\"]{0,80}\]", "[1m]", plain)
    ranges = re.sub(r"(\boffset\s+)\$v", r"\g<1>1m", ranges)
    return [ranges.replace("$v", "masked_"), re.sub(r"\$v\b(?!\w)", "1", ranges).replace("$v", "masked_")]


def _query(text: str, tree: Any, *, whole: bool) -> Query:  # noqa: ANN401 - the parser's own types
    metrics: dict[str, None] = {}
    ranges: list[float] = []

    def visit(node: Any) -> None:  # noqa: ANN401
        if isinstance(node, promql_parser.MatrixSelector | promql_parser.SubqueryExpr) and node.range is not None:
            ranges.append(node.range.total_seconds())
        if isinstance(node, promql_parser.VectorSelector) and (name := name_of(node)):
            metrics.setdefault(name)

    for node in nodes(tree):
        visit(node)
    return Query(text, tuple(metrics), min(ranges, default=0.0), whole, tree)


def nodes(tree: Any) -> Iterator[Any]:  # noqa: ANN401
    """Every node of a tree, from the left. The parser's own walk copies what is below each node over and over."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        below = [getattr(node, name, None) for name in ("lhs", "rhs", "expr", "param", "vector_selector")]
        below += getattr(node, "args", ())
        waiting += [one for one in reversed(below) if one is not None]


def name_of(selector: Any) -> str:  # noqa: ANN401
    """The metric that a selector names; empty where it names none, or where a variable is part of the name."""
    name = selector.name or ""
    for matcher in selector.matchers.matchers:
        if matcher.name == "__name__":
            plain = _PLAIN_NAME.fullmatch(matcher.value)
            equal = matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re)
            name = plain[1] if plain and equal else ""
    return "" if "masked_" in name else name


def seconds(text: str) -> float | None:
    """A duration of Prometheus or Grafana (`5m`, `1h30m`; of a cloud, `PT10M`) in seconds; None for what is none."""
    if _NO_TIME.fullmatch(text.strip()):
        return 0.0
    if (spelt := _ISO.fullmatch(text.strip())) is not None:
        return sum(float(part or 0) * unit for part, unit in zip(spelt.groups(), (86400, 3600, 60, 1), strict=True))
    try:
        return float(promql_parser.parse_duration(text.strip()).total_seconds())
    except (ValueError, OverflowError):
        return None
