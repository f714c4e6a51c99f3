"""Notebooks: `!pip install …`, `%pip`, `%conda`, cells of `%%bash`, and what their Python calls."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.installs import programs
from vramguard.extract.installs.commands import Reading, Runs, joined
from vramguard.extract.installs.tools import worth
from vramguard.facts import Fetch, Install, Requirement, Word
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
        yield _placed(fact, notebook)


def _placed(fact: Fact, notebook: Notebook) -> Fact:
    """The fact at its place in the file."""
    if isinstance(fact, Install):
        named = tuple(replace(item, at=_at(item.at, notebook)) for item in fact.requirements)
        return replace(fact, at=_at(fact.at, notebook), requirements=named)
    if isinstance(fact, Requirement | Fetch):
        return replace(fact, at=_at(fact.at, notebook))
    return fact


def _at(at: Location, notebook: Notebook) -> Location:
    start = notebook.position(at.line, at.column)
    end = notebook.position(at.end_line, at.end_column)
    return Location(at.path, *start, *(end if end > start else (start[0], start[1] + 1)))
