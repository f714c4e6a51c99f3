"""What is known of other people's libraries: rows of `data/code*.toml`, found by access paths.

A pattern is a dotted path: `*` within one segment, `**` for anything (`.**.` for a single dot too), `{a,b}` for one of
several.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from vramguard import data

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Row = dict[str, Any]


class Table:
    """The rows of one kind, each with its patterns under `call` (or another key)."""

    def __init__(self, rows: Iterable[Row], key: str = "call") -> None:
        self.rows = [row for row in rows if row.get(key)]
        self._patterns = [(re.compile(pattern(text)), row) for row in self.rows for text in _listed(row[key])]
        self._known: dict[str, Row | None] = {}
        self._sets: dict[frozenset[str], Row | None] = {}

    def row(self, path: str) -> Row | None:
        """The first row that speaks of a path."""
        if path not in self._known:
            self._known[path] = next((row for found, row in self._patterns if found.fullmatch(path)), None)
        return self._known[path]

    def among(self, paths: Iterable[str]) -> Row | None:
        """The first row that speaks of one of several paths: of a path that is known rather than of one that is not."""
        key = frozenset(paths)
        if key not in self._sets:
            rows = (self.row(path) for path in sorted(key, key=lambda one: (one.startswith("?"), one)))
            self._sets[key] = next((row for row in rows if row is not None), None)
        return self._sets[key]


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


@cache
def rows() -> Mapping[str, list[Row]]:
    """Every row of `data/code*.toml`, by its kind."""
    return data.code()
