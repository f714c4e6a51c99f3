"""Jupyter notebooks: the code of their cells as one Python file, each line of which stands somewhere in the JSON.

Only notebooks whose cells could be of interest are taken apart, when somebody asks; shell lines and magics are blank.
"""

from __future__ import annotations

import json
import re
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

from vramguard.source import MAX_VALUES, KeyPath, Parsed, Place, Ruler
from vramguard.source.python import Source

_MAGIC: Final = re.compile(r"\s*[%!?]|\s*\w+\s*\?\s*$")
_CELL_MAGIC: Final = re.compile(r"\s*%%(?!time|capture)")
_ESCAPE: Final = re.compile(r"\\u[0-9a-fA-F]{4}|\\.")
_SHELL_CELL: Final = re.compile(r"\s*%%(?:bash|sh|shell|!|sx|system|script\s+(?:--\S+\s+)*(?:\S*/)?(?:ba|z)?sh)\b")
_COMMAND: Final = re.compile(
    r"\s*(?:\w+\s*=\s*)?(?:!{1,2}(?!=)|%(?:sx|system|sh)\s|%(?=(?:pip|conda|mamba|micromamba|uv|cd)\s))"
)


class Command(NamedTuple):
    """A shell's text in a notebook: a cell of `%%bash`, a line that begins with `!`, `%pip …`.

    `line`: the first of its lines among those of all code cells, counted from 1. What is not the shell's is blank.
    """

    line: int
    text: str
    magic: bool = False  # `%pip`, `%cd`: the kernel itself is moved by it


def parse(text: str) -> Parsed:
    """A notebook, not parsed yet. Never raises."""
    return Parsed(Notebook(text), _nowhere)


def _nowhere() -> dict[KeyPath, Place]:
    return {}


class Notebook(Source):
    """The code of a notebook. A line of it has its place in the JSON text."""

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._json = text

    @cached_property
    def _cells(self) -> tuple[list[str], list[tuple[int, int, str]], list[tuple[str, int, bool]]]:
        """The lines of all code cells; for each, the line and column of its text in the file, and that text as it is
        written, escapes and all; and each as it is, with how much of its text comes before it, and whether it begins
        a cell.
        """
        lines: list[str] = []
        places: list[tuple[int, int, str]] = []
        given: list[tuple[str, int, bool]] = []
        ruler = Ruler(self._json)
        position = 0
        for source in _sources(self._json):
            blank = bool(source) and _CELL_MAGIC.match(source[0]) is not None
            begins = True
            for line in source:
                written = json.dumps(line, ensure_ascii=False)
                found = self._json.find(written, position)
                if found < 0:  # escaped in another way
                    written = json.dumps(line)
                    found = self._json.find(written, position)
                row, column = ruler.position(found) if found >= 0 else (1, 0)
                position = max(position, found)
                before = 0
                for part in line.split("\n")[: -1 if line.endswith("\n") else None]:
                    lines.append("" if blank or _MAGIC.match(part) else part)
                    places.append((row, column + 1, written[1:-1]))
                    given.append((part, before, begins))
                    before += len(part) + 1
                    begins = False
        return lines, places, given

    @cached_property
    def text(self) -> str:
        """The code."""
        return "\n".join(self._cells[0])

    @property
    def lines(self) -> list[str]:
        """The lines of all code cells as they are, a shell's too."""
        return [text for text, _, _ in self._cells[2]]

    @cached_property
    def commands(self) -> tuple[Command, ...]:
        """What the cells hand to a shell, in order."""
        given = [(text, begins) for text, _, begins in self._cells[2]]
        found: list[Command] = []
        number = 0
        while number < len(given):
            text, begins = given[number]
            start = number
            number += 1
            if begins and _SHELL_CELL.match(text):
                while number < len(given) and not given[number][1]:
                    number += 1
                body = [line for line, _ in given[start + 1 : number]]
                found += [Command(start + 2, "\n".join(body))] if body else []
            elif match := _COMMAND.match(text):
                lines = [" " * match.end() + text[match.end() :]]
                while lines[-1].rstrip().endswith("\\") and number < len(given) and not given[number][1]:
                    lines.append(given[number][0])
                    number += 1
                found.append(Command(start + 1, "\n".join(lines), magic="%" in match[0]))
        return tuple(found)

    def position(self, line: int, column: int) -> tuple[int, int]:
        """Line and column in the file of a character of the cells' lines, both counted from 1."""
        if not 0 < line <= len(self._cells[1]):
            return 1, 1
        row, start, raw = self._cells[1][line - 1]
        return row, start + _raw_length(raw, self._cells[2][line - 1][1] + column - 1)

    wide = None  # what the parser sees is not the file

    def _character(self, line: int, column: int) -> tuple[int, int]:
        row, start, raw = self._cells[1][line - 1] if line <= len(self._cells[1]) else (1, 1, "")
        before = self._cells[2][line - 1][1] if line <= len(self._cells[2]) else 0
        return row, start + _raw_length(raw, before + super()._character(line, column)[1] - 1)


def _raw_length(raw: str, characters: int) -> int:
    """How many characters of a JSON text hold so many of what it says."""
    if "\\" not in raw:
        return max(0, min(characters, len(raw)))
    ends = _ends(raw)
    return ends[min(max(characters, 0), len(ends) - 1)]


@lru_cache(maxsize=64)  # many places of one long line are asked for
def _ends(raw: str) -> list[int]:
    """Where each character that a JSON text says ends in it, and first its beginning."""
    ends = [0]
    while ends[-1] < len(raw):
        match = _ESCAPE.match(raw, ends[-1])
        ends.append(match.end() if match else ends[-1] + 1)
    return ends


def _sources(text: str) -> list[list[str]]:
    """The lines of each code cell."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    cells = found.get("cells") if isinstance(found, dict) else None
    result: list[list[str]] = []
    for cell in cells if isinstance(cells, list) else []:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source")
        lines = [source] if isinstance(source, str) else source
        if isinstance(lines, list) and all(isinstance(line, str) for line in lines) and len(lines) < MAX_VALUES:
            result.append(lines)
    return result
