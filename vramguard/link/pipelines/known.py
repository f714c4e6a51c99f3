"""What data/pipelines.toml says: what commands and actions do, and what words mean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from vramguard import data

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Doing:
    """A row: commands, or actions, that do one kind of thing."""

    kind: str
    pattern: re.Pattern[str]
    weak: bool = False  # by a name alone
    needs: tuple[str, ...] = ()  # words that the command has to hold as well
    after: str = ""  # what has to come before it
    there: bool = False  # only where the job's own machine serves


_LONGEST = 4000  # characters of one command


def doings(command: str) -> Iterator[Doing]:
    """The rows that speak of a command line."""
    text = command[:_LONGEST]
    for row in _rows("act"):
        if row.pattern.search(text) and all(says(word, text) for word in row.needs):
            yield row


def action(uses: str) -> Iterator[Doing]:
    """The rows that speak of somebody's action."""
    return (row for row in _rows("action") if row.pattern.search(uses))


def says(word: str, text: str) -> bool:
    """Whether a text has a word of that kind."""
    return any(pattern.search(text[:_LONGEST].lower()) for pattern in _words(word))


@cache
def _rows(table: str) -> tuple[Doing, ...]:
    found = []
    for row in data.load("pipelines")[table]:
        pattern = re.compile(row["pattern"], re.IGNORECASE)
        flags = bool(row.get("weak")), tuple(row.get("needs", ())), row.get("after", ""), bool(row.get("there"))
        found.append(Doing(row["kind"], pattern, *flags))
    return tuple(found)


@cache
def _words(kind: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(row["pattern"]) for row in data.load("pipelines")["word"] if row["kind"] == kind)
