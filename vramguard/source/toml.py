"""TOML: values by `tomli`, places by a scanner of our own, since no TOML parser in Python gives positions.

The scanner runs only over text that `tomli` has accepted, so it may trust the syntax.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from typing import TYPE_CHECKING

import tomli

from vramguard.source import KeyPath, Parsed, ParseError, Place, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\d{4}-\d\d-\d\d \d\d[^\s,\]}#]*"  # a date and a time may be parted by one space
    r"|[^\s,\]}#]+",
    re.DOTALL,
)


def parse(text: str) -> Parsed:
    """Parse TOML; raises `ParseError` with the line and column that tomli gives."""
    try:
        value = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        reason = re.sub(r" \(at .*\)$", "", str(error.msg))
        raise ParseError(f"not valid TOML: {reason}", error.lineno, error.colno) from error
    return Parsed(value, lambda: _Scanner(text).index())


class _Scanner:
    """One pass over valid TOML that notes where each key and value stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.places: dict[KeyPath, Place] = {}
        self.tables: dict[KeyPath, int] = {}  # path of an array of tables -> index of its latest table
        self.breaks = [match.start() for match in re.finditer("\n", text)]

    def index(self) -> dict[KeyPath, Place]:
        table: KeyPath = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.offset] == "[":
                table = self._header()
            else:
                self._assignment(table)
        return self.places

    def _skip(self, pattern: re.Pattern[str]) -> int:
        match = pattern.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        return self.offset

    def _header(self) -> KeyPath:
        start = self.offset
        double = self.text.startswith("[[", start)
        self.offset += 2 if double else 1
        keys = [key for key, _, _ in self._keys()]
        self.offset += 2 if double else 1
        path = (*self._resolve(keys[:-1]), keys[-1])
        if double:
            self.tables[path] = self.tables.get(path, -1) + 1
            self._note(path, start, start, self.offset)
            path += (self.tables[path],)
        else:
            path = self._resolve(keys)
        self._note(path, start, start, self.offset)
        return path

    def _resolve(self, keys: list[str]) -> KeyPath:
        """The path that dotted header keys mean: through an array of tables they mean its latest table."""
        path: KeyPath = ()
        for key in keys:
            path += (key,)
            if path in self.tables:
                path += (self.tables[path],)
        return path

    def _keys(self) -> Iterator[tuple[str, int, int]]:
        """The parts of a dotted key at the offset, each with its start and end."""
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self.offset)
            if match is None:  # cannot be: tomli has accepted the text
                raise ParseError("not a TOML key", *self._position(self.offset))
            self.offset = match.end()
            yield _unquote(match[0]), match.start(), match.end()
            if not self.text.startswith(".", self._skip(_SPACE)):
                return
            self.offset += 1

    def _assignment(self, table: KeyPath) -> None:
        path, parts = table, list(self._keys())
        for key, start, end in parts:
            path += (key,)
            self.places.setdefault(path, Place(self._span(start, end), self._span(start, end)))
        self.offset += 1  # the `=`
        self._skip(_SPACE)
        self._value(path, parts[-1][1], parts[-1][2])

    def _value(self, path: KeyPath, key_start: int = -1, key_end: int = -1) -> None:
        start = self.offset
        opening = self.text[start]
        if opening == "[":
            self._items(path, "]", keyed=False)
        elif opening == "{":
            self._items(path, "}", keyed=True)
        else:
            self._skip(_SCALAR)
        if key_start < 0:
            key_start, key_end = start, self.offset
        self.places[path] = Place(self._span(key_start, key_end), self._span(start, self.offset))

    def _items(self, path: KeyPath, closing: str, *, keyed: bool) -> None:
        self.offset += 1
        number = 0
        while self.text[self._skip(_BLANK)] != closing:
            if keyed:
                self._assignment(path)
            else:
                self._value((*path, number))
                number += 1
            if self.text[self._skip(_BLANK)] == ",":
                self.offset += 1
        self.offset += 1

    def _note(self, path: KeyPath, start: int, value_start: int, end: int) -> None:
        self.places.setdefault(path, Place(self._span(start, end), self._span(value_start, end)))

    def _position(self, offset: int) -> tuple[int, int]:
        row = bisect_left(self.breaks, offset)
        return row + 1, offset - (self.breaks[row - 1] if row else -1)

    def _span(self, start: int, end: int) -> Span:
        return Span(*self._position(start), *self._position(end))


def _unquote(key: str) -> str:
    if key.startswith('"'):
        return next(iter(tomli.loads(f"{key} = 0")))
    return key[1:-1] if key.startswith("'") else key
