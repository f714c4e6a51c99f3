"""Shell scripts, makefiles and justfiles: what their commands install."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.installs.commands import Reading, Runs
from vramguard.extract.installs.tools import installs, worth
from vramguard.extract.makefile import recipe_script
from vramguard.facts import Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document
    from vramguard.source.justfile import Justfile, Recipe
    from vramguard.source.makefile import Makefile

_MOST_RECIPES = 200  # of one file: each takes the file's variables along
_MOST_LINES = 40_000  # of the scripts that these become
_VARIABLE = re.compile(r"\$[({](\w+)[)}]")
_NO_SHELL = re.compile(r"(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:\S*/)?(?:python[0-9.]*|perl|ruby|node|Rscript|uv)\b")
_PREFIX = re.compile(r"^(\s*)([@-]+)(?=\S)")


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a file of commands."""
    reading = Reading(document.lines)
    readers = {"shell": _shell, "makefile": _makefile, "justfile": _justfile}
    readers[document.kind](document, reading)
    yield from reading.facts


def _shell(document: Document, reading: Reading) -> None:
    text = document.text
    if not (text.startswith("#!") and _NO_SHELL.match(text[2:200])):
        reading.script(Word(text, Location(document.path), first=(1, 1)), Runs("shell", document.path))


def _makefile(document: Document, reading: Reading) -> None:
    makefile: Makefile = document.value
    speaking = {item.name for item in makefile.assignments if installs(item.value + " ")}
    found = lines = 0
    for recipe in makefile.recipes:
        text = "\n".join(recipe.lines)
        named = bool(speaking) and any(name in speaking for name in _VARIABLE.findall(text))
        if found < _MOST_RECIPES and lines < _MOST_LINES and (named or worth(text)):
            found += 1
            lines += len(makefile.assignments) + len(recipe.lines)
            at = Location(document.path, recipe.row, 1, recipe.row, 1)
            place = f"{document.path}#{recipe.target}"
            reading.script(Word(recipe_script(recipe, makefile), at, first=(1, 1)), Runs("makefile", place, apart=True))


def _justfile(document: Document, reading: Reading) -> None:
    justfile: Justfile = document.value
    for recipe in justfile.recipes[: 5 * _MOST_RECIPES]:
        text = "\n".join(recipe.lines)
        if worth(text) and not _NO_SHELL.match(recipe.shebang):
            _recipe(document, justfile, recipe, reading)


def _recipe(document: Document, justfile: Justfile, recipe: Recipe, reading: Reading) -> None:
    """Its lines without just's own marks; what `{{name}}` holds is filled in word by word."""
    at = Location(document.path, recipe.row, 1, recipe.row, 1)
    held = {
        name: Word(text, Location(document.path, row, column, row, column + len(text)))
        for name, (text, row, column) in justfile.variables.items()
    }
    lines = [_PREFIX.sub(lambda begin: begin[1] + " " * len(begin[2]), line) for line in recipe.lines]
    exported = {name: held[name] for name in justfile.exported}
    place = f"{document.path}#{recipe.name}"
    runs = Runs("justfile", place, env=exported, fill=held, apart=not recipe.shebang)
    reading.script(Word("\n".join(lines), at, first=(recipe.row, 1)), runs)
