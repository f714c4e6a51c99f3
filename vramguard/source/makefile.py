"""Makefiles: variables and recipes, line by line, as GNU make 4.4 reads them (its manual, chapters 3, 5 and 6).

Conditionals are taken both ways: of two values for one variable neither is known. What functions (`$(shell …)`)
would give is not known either.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vramguard.source import Parsed

MAX_LINES = 20_000
MAX_LINE = 20_000  # characters, continued ones together
_ASSIGNMENT = re.compile(r"\s*(?:(?:export|override|private)\s+)*([\w.-]+)\s*(::?:?=|\?=|\+=|=)\s*(.*)")
_EXPORT = re.compile(r"\s*export\s+([\w.-]+)\s*(?:[:?+]|::|:::)?=")
_CONDITIONAL = re.compile(r"\s*(ifn?eq|ifn?def|else|endif)\b")
_COMMENT = re.compile(r"(?<!\\)#.*")


class Assignment(NamedTuple):
    """`name operator value` on the line `row`, the value at the column; both are counted from 1."""

    name: str
    operator: str
    value: str
    row: int
    column: int
    conditional: bool = False
    exported: bool = False
    target: str = ""  # of a target alone


class Recipe(NamedTuple):
    """The lines of a target's recipe as they stand, from the line `row` (counted from 1) on, their tabs included."""

    target: str
    row: int
    lines: tuple[str, ...]


class Makefile(NamedTuple):
    """What a makefile says, each in its order."""

    assignments: tuple[Assignment, ...]
    recipes: tuple[Recipe, ...]


def parse(text: str) -> Parsed:
    """The value is a `Makefile`."""
    return Parsed(_Reader(text.split("\n")[:MAX_LINES]).read(), dict)


class _Reader:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._assignments: list[Assignment] = []
        self._recipes: list[Recipe] = []
        self._depth = 0
        self._row = 0

    def read(self) -> Makefile:
        while self._row < len(self._lines):
            line = self._lines[self._row]
            if conditional := _CONDITIONAL.match(line):
                self._depth = max(0, self._depth + {"endif": -1, "else": 0}.get(conditional[1], 1))
                self._row += 1
            elif line.startswith("define "):
                self._skip_definition()
            elif not line.startswith("\t"):
                self._logical()
            else:
                self._row += 1
        return Makefile(tuple(self._assignments), tuple(self._recipes))

    def _skip_definition(self) -> None:
        while self._row < len(self._lines) and self._lines[self._row].strip() != "endef":
            self._row += 1
        self._row += 1

    def _logical(self) -> None:
        """One logical line, which is an assignment, a rule with its recipe, or something else."""
        start = self._row
        parts = [self._lines[start]]
        while parts[-1].endswith("\\") and self._row + 1 < len(self._lines):
            self._row += 1
            parts.append(self._lines[self._row])
        self._row += 1
        line = _COMMENT.sub("", " ".join([parts[0].removesuffix("\\").rstrip(), *(_inner(part) for part in parts[1:])]))
        if len(line) > MAX_LINE or self._assigned(line, start, ""):
            return
        target, colon, rest = line.partition(":")
        rest, _, inline = rest.lstrip(":").partition(";")
        if colon and target.strip() and not target[0].isspace() and not self._assigned(rest, start, target.strip()):
            self._recipe(target.strip(), inline, start)

    def _assigned(self, line: str, row: int, target: str) -> bool:
        match = _ASSIGNMENT.match(line)
        if match is None:
            return False
        exported = _EXPORT.match(line) is not None
        name, operator, value = match[1], match[2], match[3].rstrip()
        column = self._lines[row].find(value) + 1 if value else len(self._lines[row]) + 1
        self._assignments.append(
            Assignment(name, operator, value, row + 1, max(1, column), self._depth > 0, exported, target)
        )
        return True

    def _recipe(self, target: str, inline: str, start: int) -> None:
        """The lines behind a rule that begin with a tab, those of conditionals between them left out."""
        lines: list[str] = []
        first = self._row
        while self._row < len(self._lines):
            line = self._lines[self._row]
            goes_on = bool(lines) and lines[-1].endswith("\\")
            if line.startswith("\t") or goes_on:
                lines.append(line)
            elif not line.strip() or line.lstrip().startswith("#") or _CONDITIONAL.match(line):
                lines.append("")
            else:
                break
            self._row += 1
        if inline.strip():
            lines, first = [" " * max(0, self._lines[start].find(inline)) + inline], start
        if any(line.strip() for line in lines):
            self._recipes.append(Recipe(target, first + 1, tuple(lines)))


def _inner(part: str) -> str:
    return part.removesuffix("\\").strip()
