"""What is known of other people's libraries: rows of `data/code*.toml`, found by access paths.

A pattern is a dotted path: `*` within one segment, `**` for anything (`.**.` for a single dot too), `{a,b}` for one of
several.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from vramguard import data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = dict[str, Any]
_BEGINNING: Final = re.compile(r"\w+")


class Table:
    """The rows of one kind, each with its patterns under `call` (or another key)."""

    def __init__(self, rows: Iterable[Row], key: str = "call") -> None:
        self.rows = [row for row in rows if row.get(key)]
        self._patterns: dict[str, list[tuple[int, re.Pattern[str], Row]]] = {}  # by the package that they begin with
        for number, (text, row) in enumerate((text, one) for one in self.rows for text in _listed(one[key])):
            for first in _firsts(text):
                self._patterns.setdefault(first, []).append((number, re.compile(pattern(text)), row))
        self._known: dict[str, Row | None] = {}
        self._sets: dict[frozenset[str], Row | None] = {}

    def row(self, path: str) -> Row | None:
        """The first row that speaks of a path."""
        if path not in self._known:
            beginning = _BEGINNING.match(path)
            listed = self._patterns.get(beginning[0], []) if beginning is not None else []
            rows = (
                (number, row) for number, found, row in (*listed, *self._patterns.get("", ())) if found.fullmatch(path)
            )
            self._known[path] = min(rows, key=lambda found: found[0], default=(0, None))[1]
        return self._known[path]

    def among(self, paths: Iterable[str]) -> Row | None:
        """The first row that speaks of one of several paths: of a path that is known rather than of one that is not."""
        key = frozenset(paths)
        if key not in self._sets:
            rows = (self.row(path) for path in sorted(key, key=lambda one: (one.startswith("?"), one)))
            self._sets[key] = next((row for row in rows if row is not None), None)
        return self._sets[key]


def _firsts(text: str) -> list[str]:
    """The whole words that paths which fit a pattern begin with; empty for any."""
    match = re.match(r"(?:\{([\w,]+)\}|(\w+))(?=[^\w*{]|$)", text)
    return (match[1] or match[2]).split(",") if match is not None else [""]


def pattern(text: str) -> str:
    """A pattern as a regular expression. A quantifier stands beside another only across a dot, so it is linear."""
    found = ""
    for part in re.findall(r"(?<=\.)\*\*\.|\*\*|\*|\{[^{}]*\}|[^*{}]+", text):
        if part == "**.":
            found += r"(?:.*\.)?"
        elif part == "**":
            found += ".*"
        elif part == "*":
            found += r"[^.]*"
        elif part.startswith("{"):
            found += "(?:" + "|".join(re.escape(one) for one in part[1:-1].split(",")) + ")"
        else:
            found += re.escape(part)
    return found


def _listed(found: str | list[str]) -> list[str]:
    return [found] if isinstance(found, str) else found


@cache
def table(name: str, key: str = "call") -> Table:
    """The rows of that kind that we ship."""
    return Table(rows().get(name, ()), key)


@cache
def packages() -> frozenset[str]:
    """The packages that we know: what the patterns of `call` begin with."""
    found = {text for kind in rows().values() for row in kind for text in _listed(row.get("call", []))}
    names = (re.match(r"\{([\w,]+)\}|(\w+)", text) for text in found)
    return frozenset(name for match in names if match for name in (match[1] or match[2]).split(","))


# Methods of texts, lists, tables, arrays and loggers: of every other call one has to ask what it calls.
_COMMON = frozenset().union(*map(dir, (str, list, dict, set))) | {
    *("info", "debug", "warning", "error", "exception", "critical"),
    *(
        "view",
        "reshape",
        "permute",
        "transpose",
        "unsqueeze",
        "squeeze",
        "contiguous",
        "expand",
        "size",
        "dim",
        "repeat",
    ),
    *("flatten", "chunk", "detach", "numpy", "tolist", "mean", "sum", "max", "min", "arange", "masked_fill", "softmax"),
    *("log_softmax", "gather", "scatter_", "cumsum", "argmax", "zeros", "ones", "randn", "cat", "stack"),
    *("parse_args", "add_argument", "set_defaults", "exists", "isdir", "makedirs", "dirname", "basename", "group"),
    *("strftime", "register"),
}


@cache
def silent() -> frozenset[str]:
    """Names of methods of which no row speaks, so that nobody has to find out whose they are."""
    ends = {
        text.rpartition(".")[2] for kind in rows().values() for row in kind for text in _listed(row.get("call", []))
    }
    known = [re.compile(pattern(end)) for end in ends if end.strip("*()[]")]
    return frozenset(name for name in _COMMON if not any(one.fullmatch(name) for one in known))


@cache
def rows() -> Mapping[str, list[Row]]:
    """Every row of `data/code*.toml`, by its kind."""
    return data.code()
