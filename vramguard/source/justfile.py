"""justfiles: assignments and recipes, line by line: what most of them are made of, not all of just's grammar.

A recipe's lines are those indented below its head; each is a shell's of its own unless the first begins with `#!`.
What `{{ … }}` would give is for the reader of the script; an assignment of a plain string says what it holds.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vramguard.source import Parsed, Place, Span

MAX_LINES = 20_000
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][\w-]*)\s*:=\s*(.*)")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_HEAD = re.compile(r"@?([A-Za-z_][\w-]*)(?:\s[^:\n]*)?:(?!=)")
_STRING = re.compile(r"\"([^\"\\{]*)\"|'([^'{]*)'")


class Recipe(NamedTuple):
    """The lines of a recipe as they stand, from the line `row` (counted from 1) on, and its variables."""

    name: str
    row: int
    lines: tuple[str, ...]

    @property
    def shebang(self) -> str:
        """What runs it as one script; "" where each line is the shell's."""
        first = next((line.strip() for line in self.lines if line.strip()), "")
        return first[2:].strip() if first.startswith("#!") else ""


class Justfile(NamedTuple):
    """What a justfile says. `exported`: names that its recipes find in their environment."""

    variables: dict[str, tuple[str, int, int]]  # name -> its text, and the line and column of that
    exported: frozenset[str]
    recipes: tuple[Recipe, ...]


def parse(text: str) -> Parsed:
    """The value is a `Justfile`."""
    lines = text.split("\n")[:MAX_LINES]
    variables: dict[str, tuple[str, int, int]] = {}
    exported: set[str] = set()
    recipes: list[Recipe] = []
    row = 0
    while row < len(lines):
        line = lines[row]
        row += 1
        assigned = _ASSIGNMENT.match(line)
        if assigned:
            held = _STRING.fullmatch(assigned[2].split(" #")[0].strip())
            if held:
                start = line.find(held[0], assigned.start(2))
                variables[assigned[1]] = (held[1] or held[2] or "", row, start + 2)
                exported |= {assigned[1]} if line.startswith("export") else set()
            continue
        head = _HEAD.match(_QUOTED.sub("_", line))
        if head:
            end = _end(lines, row)
            recipes.append(Recipe(head[1], row + 1, tuple(lines[row:end])))
            row = end
    value = Justfile(variables, frozenset(exported), tuple(recipe for recipe in recipes if recipe.lines))
    return Parsed(value, lambda: {(r.name,): _place(r) for r in value.recipes})


def _place(recipe: Recipe) -> Place:
    span = Span(recipe.row, 1, recipe.row + len(recipe.lines) - 1, len(recipe.lines[-1]) + 1)
    return Place(span, span)


def _end(lines: list[str], row: int) -> int:
    """The line after a body: indented lines, and empty ones between them."""
    end = row
    while row < len(lines) and (not lines[row].strip() or lines[row][0] in " \t"):
        row += 1
        end = row if lines[row - 1].strip() else end
    return end
