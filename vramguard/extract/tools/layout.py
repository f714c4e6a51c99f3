"""A text beside its source: how a shell splits it, and where each of its characters stands."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Location

# `${NAME:-a b}`, `${{ matrix.model }}` and `{{ .Values.model }}` stay whole though they may hold blanks.
_PART = re.compile(
    r"(?P<whole>\$\{\{[^{}]{0,500}\}\}|\{\{[^{}]{0,500}\}\}|\$\{(?:[^{}]|\$\{[^{}]{0,500}\}){0,500}\})"
    r"|'(?P<single>[^']*+)'?"
    r'|"(?P<double>(?:[^"\\]|\\.)*+)"?'
    r"|\\(?P<escaped>.)"
    r"|(?P<blank>\s++)"
    r"|(?P<plain>[^\s'\"\\${]++|.)",
    re.DOTALL,
)
_ESCAPE = re.compile(r'\\([\\"$`\n])')


def shell_words(text: str) -> Iterator[tuple[str, list[int]]]:
    """The words of a line as a shell splits it, nothing filled in, with the offset of each of their characters."""
    word: list[str] = []
    offsets: list[int] = []
    begun = False
    for part in _PART.finditer(text):
        kind = str(part.lastgroup)
        if kind == "blank":
            if begun:
                yield "".join(word), offsets
            word, offsets, begun = [], [], False
        elif (kind, part[kind]) != ("escaped", "\n"):  # a line that goes on
            begun = True
            kept = _unescaped(part[kind]) if kind == "double" else range(len(part[kind]))
            word.extend(part[kind][offset] for offset in kept)
            offsets.extend(part.start(kind) + offset for offset in kept)
    if begun:
        yield "".join(word), offsets


def _unescaped(text: str) -> list[int]:
    """The offsets of what stays of a text in double quotes."""
    gone = {match.start() for match in _ESCAPE.finditer(text)}
    gone |= {match.start() + 1 for match in _ESCAPE.finditer(text) if match[1] == "\n"}
    return [offset for offset in range(len(text)) if offset not in gone]


_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "/": "/", " ": " "}
_SKIPPED = re.compile(r"\s++")
_SKIPPED_QUOTED = re.compile(r"(?:\s|\\[nt \n])++")


_RUN = re.compile(r"\s+|\S+")


def matched(text: str, raw: str, cursor: int, quote: str) -> list[int]:
    """The offset in the source of each character of a text; [] where one is missing."""
    skipped = _SKIPPED_QUOTED if quote == '"' else _SKIPPED
    offsets: list[int] = []
    for run in _RUN.findall(text):
        if run.isspace():
            offsets += [cursor] * len(run)
            continue
        blank = skipped.match(raw, cursor)
        begin = blank.end() if blank else cursor
        if raw.startswith(run, begin) and not (quote and (quote in run or "\\" in run)):  # as it is, at a stretch
            cursor = begin + len(run)
            offsets += range(begin, cursor)
            continue
        found = _one_by_one(run, raw, cursor, quote)
        if not found:
            return []
        offsets += found[0]
        cursor = found[1]
    return offsets


def _one_by_one(run: str, raw: str, cursor: int, quote: str) -> tuple[list[int], int] | None:
    """The offsets of characters that are escaped, or broken across lines, and where they end."""
    skipped = _SKIPPED_QUOTED if quote == '"' else _SKIPPED
    offsets: list[int] = []
    for char in run:
        blank = skipped.match(raw, cursor)
        cursor = blank.end() if blank else cursor
        found, step = raw[cursor : cursor + 1], 1
        if quote == '"' and found == "\\":
            found, step = _ESCAPES.get(raw[cursor + 1 : cursor + 2], ""), 2
        elif quote == "'" and found == "'":
            step = 2
        if found != char:
            return None
        offsets.append(cursor)
        cursor += step
    return offsets, cursor


def block_of(text: str, places: list[tuple[int, int]]) -> tuple[int, int] | None:
    """Where a text begins whose lines follow each other in the file, all indented alike."""
    row = column = 0
    found = None
    for char, place in zip(text, places, strict=bool(places)):
        if not char.isspace():
            here = (place[0] - row, place[1] - column)
            if found not in (None, here):
                return None
            found = here
        row, column = (row + 1, 0) if char == "\n" else (row, column + 1)
    return found


def unfolded(text: str, places: list[tuple[int, int]], at: Location, *, known: bool = True) -> Word:
    """A line that the file folds, as a shell's lines that go on: as it stands there, column for column.

    Within single quotes, or where there are other lines as well, that would change what the shell reads.
    """
    if "'" in text or "\n" in text.rstrip("\n") or "<<" in text or not text.strip():
        return Word(text, at, known)
    start = line = places[0][0]
    result: list[str] = []
    width = 0
    for char, (row, column) in zip(text, places, strict=True):
        if not char.isspace() and row > line:
            result.append("\\\n" * (row - line))
            line, width = row, 0
        if width == 0:
            result.append(" " * (column - 1))
            width = column - 1
        result.append(char)
        width += 1
    return Word("".join(result), at, known, (start, 1))
