"""Notebooks: `!pip install …`, `%pip`, `%conda`, cells of `%%bash`, and what their Python calls."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.extract.installs import programs
from vramguard.extract.installs.commands import Reading, Runs, joined
from vramguard.extract.installs.tools import worth
from vramguard.facts import Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document
    from vramguard.source.notebook import Notebook

_FILLED = re.compile(r"\{[^{}\s]{1,100}\}")  # IPython's own, before the shell's
_CD = re.compile(r"\s*cd\s+(\S+)")
_WORTH = re.compile(  # in JSON, a line's first word may stand behind a `\\n`
    r"(?:pip[0-9.]{0,5}|uvx?|conda|mamba|poetry|pdm|pipx|pixi|easy_install|git|curl|wget)(?:\s|\\t)"
)
_MAX_COMMANDS = 500
_MARK = "# MAGIC"
_DATABRICKS = re.compile(  # a line of such a file that a shell or the kernel reads
    r"(?:# MAGIC[ \t]?)?[ \t]*(?:(%sh)\b|!{1,2}(?!=)|%(?=(?:pip|conda|mamba|uv|cd)\s))"
)


def facts(document: Document) -> Iterator[Fact]:
    """The facts of a notebook, placed in its JSON."""
    text = document.text
    if _WORTH.search(text):
        yield from _commands(document)
    if "install" in text and ("subprocess" in text or "os.system" in text or "pip.main" in text):
        yield from programs.of_source(document, "notebook")


def _commands(document: Document) -> Iterator[Fact]:
    notebook: Notebook = document.value
    reading: Reading | None = None
    folder = ""
    for command in notebook.commands[:_MAX_COMMANDS]:
        moved = _CD.match(command.text) if command.magic else None
        if moved:
            folder = joined(folder, moved[1])
            continue
        if not (worth(command.text) or reading):
            continue
        reading = reading or Reading(notebook.lines)
        at = Location(document.path, command.line, 1, command.line, 2)
        runs = Runs("notebook", document.path, folder, marks=_FILLED)
        reading.script(Word(command.text, at, first=(command.line, 1)), runs)
    for fact in reading.facts if reading else ():
        yield programs.moved(fact, lambda at: _at(at, notebook))


def _at(at: Location, notebook: Notebook) -> Location:
    start = notebook.position(at.line, at.column)
    end = notebook.position(at.end_line, at.end_column)
    return Location(at.path, *start, *(end if end > start else (start[0], start[1] + 1)))


def of_databricks(document: Document) -> Iterator[Fact]:
    """The commands of a notebook of Databricks: a Python file whose other cells are comments, `# MAGIC %pip …`."""
    if not _WORTH.search(document.text):
        return
    reading = Reading(document.lines)
    folder = ""
    for row, text, magic in islice(_cells(document.lines), _MAX_COMMANDS):
        moved = _CD.match(text) if magic else None
        if moved:
            folder = joined(folder, moved[1])
        elif worth(text):
            at = Location(document.path, row, 1, row, 2)
            reading.script(Word(text, at, first=(row, 1)), Runs("notebook", document.path, folder, marks=_FILLED))
    yield from reading.facts


def _cells(lines: list[str]) -> Iterator[tuple[int, str, bool]]:
    """Each command with the number of its first line, and whether the kernel reads it; what is no shell's is blank."""
    row = 0
    while row < len(lines):
        begin = _DATABRICKS.match(lines[row])
        row += 1
        if begin is None:
            continue
        start, found = row, [" " * begin.end() + lines[row - 1][begin.end() :]]
        while row < len(lines) and ((begin[1] and lines[row].startswith(_MARK)) or found[-1].rstrip().endswith("\\")):
            found.append(lines[row].replace(_MARK, " " * len(_MARK), 1) if lines[row].startswith(_MARK) else lines[row])
            row += 1
        yield start, "\n".join(found), begin[0].endswith("%")
