"""A makefile: its targets' recipes as scripts for a shell, make's own variables set before them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.facts import Launch, Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document
    from vramguard.source.makefile import Assignment, Makefile, Recipe

_MOST_RECIPES = 200  # with an engine in them, of one file: each takes the file's variables along
_MOST_LINES = 40_000  # of the scripts that these become
_VARIABLE = re.compile(r"\$(?:\((\w+)\)|\{(\w+)\})")
_BEGIN = re.compile(r"\t[ \t]*[@+-]*")  # the tab, and whether make prints a line or minds its failure


def extract(document: Document) -> Iterator[Launch]:
    """One launch for each recipe that speaks of an engine."""
    if not mentions(document.text):
        return
    makefile: Makefile = document.value
    found = lines = 0
    for recipe in makefile.recipes:
        text = "\n".join(recipe.lines)
        if found < _MOST_RECIPES and lines < _MOST_LINES and (mentions(text) or _by_variable(text, makefile)):
            found += 1
            lines += len(makefile.assignments) + len(recipe.lines)
            at = Location(document.path, recipe.row, 1, recipe.row, 1)
            yield Launch(at, "makefile", recipe.target, script=Word(recipe_script(recipe, makefile), at, first=(1, 1)))


def _by_variable(text: str, makefile: Makefile) -> bool:
    """Whether a recipe uses a variable that speaks of an engine."""
    names = {match[1] or match[2] for match in _VARIABLE.finditer(text)}
    return any(item.name in names and mentions(item.value) for item in makefile.assignments)


def recipe_script(recipe: Recipe, makefile: Makefile) -> str:
    """The variables that hold when the recipe runs, then the recipe, each on the line that it has in the file."""
    lines: dict[int, str] = {}
    seen: set[str] = set()
    for item in makefile.assignments:
        if item.row < recipe.row and item.target in {"", recipe.target}:
            lines[item.row] = _assignment(item, seen)
            seen.add(item.name)
    for number, line in enumerate(recipe.lines):
        goes_on = number > 0 and recipe.lines[number - 1].endswith("\\")
        begin = _BEGIN.match(line)
        bare = line if goes_on or begin is None else " " * begin.end() + line[begin.end() :]
        lines[recipe.row + number] = _for_shell(bare)
    return "\n".join(lines.get(row, "") for row in range(1, recipe.row + len(recipe.lines)))


def _for_shell(text: str) -> str:
    """What make would hand to the shell, with variables of make's left for the shell to fill in."""
    return _VARIABLE.sub(lambda found: f"${{{found[1] or found[2]}}}", text).replace("$$", "$")


def _assignment(item: Assignment, seen: set[str]) -> str:
    """An assignment as the shell has it, its value in the column that it has in the file where that can be."""
    if item.operator == "?=" and item.name in seen:
        return ""
    adds = item.operator == "+=" and item.name in seen
    start = f'[ "$_" ]&&{item.name}' if item.conditional else item.name
    start += '+=" ' if adds else '="'
    value = item.value
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" and value[0] not in value[1:-1]:
        value = value[1:-1]
    elif "'" in value or '"' in value or "\\" in value or "`" in value:
        value = "$(make)"  # quotes within it are the shell's, which would read them again
    pad = " " * max(0, item.column - 1 - len(start))
    return f'{pad}{start}{_for_shell(value)}"'
