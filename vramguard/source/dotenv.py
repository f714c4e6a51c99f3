"""Files of variables (`.env`), as docker compose reads them (compose-go 2.x, dotenv/parser.go)."""

from __future__ import annotations

import re
from typing import NamedTuple

from vramguard.source import Parsed
from vramguard.source.filling import filled

MAX_LINES, MAX_ENTRIES = 20_000, 2000
_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*[=:][ \t]*")
_COMMENT = re.compile(r"(?:(?<=\s)|^)#.*")
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:(:?[-+?])([^{}$]*))?\}|(\w+))")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Entry(NamedTuple):
    """`KEY=value`: the value without its quotes, and where it begins; lines and columns are counted from 1.

    `known`: whether nothing in it is left to be filled in.
    """

    key: str
    value: str
    row: int
    column: int
    known: bool = True


def parse(text: str) -> Parsed:
    """The value is a tuple of `Entry`, variables of earlier lines filled in."""
    found: dict[str, Entry] = {}
    lines = text.split("\n")[:MAX_LINES]
    row = 0
    while row < len(lines) and len(found) < MAX_ENTRIES:
        match = _LINE.match(lines[row])
        end = row + 1
        if match:
            end, entry = _entry(match, lines, row, found)
            found[entry.key] = entry
        row = end
    return Parsed(tuple(found.values()), dict)


def _entry(match: re.Match[str], lines: list[str], row: int, known: dict[str, Entry]) -> tuple[int, Entry]:
    """One entry, and the line after it: what is quoted may go over several."""
    key, start = match[1], match.end()
    quote = lines[row][start : start + 1]
    closing = _closing(lines, row, start + 1, quote) if quote in {"'", '"'} else None
    if closing is None:
        value = _COMMENT.sub("", lines[row][start:]).strip()
        return row + 1, _filled(Entry(key, value, row + 1, start + 1), known)
    last, column = closing
    inside = [lines[row][start + 1 :], *lines[row + 1 : last + 1]] if last > row else [lines[row][start + 1 : column]]
    if last > row:
        inside[-1] = lines[last][:column]
    entry = Entry(key, "\n".join(inside), row + 1, start + 2)
    if quote == "'":
        return last + 1, entry
    entry = entry._replace(value=_ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[0][-1]), entry.value))
    return last + 1, _filled(entry, known)


_MOST_LINES = 200  # of one quoted value


def _closing(lines: list[str], row: int, column: int, quote: str) -> tuple[int, int] | None:
    """Line and column of the quote that closes a value, None if there is none within reason."""
    for number in range(row, min(len(lines), row + _MOST_LINES)):
        begin = column if number == row else 0
        for found in re.finditer(r"\\.|" + quote, lines[number][begin:]):
            if found[0] == quote:
                return number, begin + found.start()
    return None


def _filled(entry: Entry, known: dict[str, Entry]) -> Entry:
    """The entry with the variables of earlier lines; a default holds where there is none."""
    left = False

    def value(found: re.Match[str]) -> str:
        nonlocal left
        name, operator, default = found[1] or found[4], found[2] or "", found[3] or ""
        earlier = known.get(name)
        if earlier and earlier.known and (earlier.value or ":" not in operator):
            return earlier.value if "+" not in operator else default
        if operator.endswith("-"):
            return default
        left = True
        return found[0]

    text = filled(_VARIABLE, value, entry.value) if "$" in entry.value else entry.value
    return entry._replace(value=entry.value if text is None else text, known=not left and text is not None)
