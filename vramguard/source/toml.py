"""TOML: values by `tomli`, places by a scanner of our own, since no TOML parser in Python gives positions.

The scanner runs only over text that `tomli` has accepted, so it may trust the syntax.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import tomli

from vramguard.source import MAX_DIGITS, MAX_VALUES, KeyPath, Parsed, ParseError, Place, Ruler, Span

if TYPE_CHECKING:
    from collections.abc import Iterator

# Possessive and unrolled: backtracking would keep a hundred bytes of memory for each character that it may go back to.
_BLANK = re.compile(r"(?:[ \t\n]++|#[^\n]*+)*+")
_SPACE = re.compile(r"[ \t]*+")
_TEXT = r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"' + r"|'[^'\n]*+'"
_KEY = re.compile(rf"{_TEXT}|[A-Za-z0-9_-]++")
_SCALAR = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"{1,2}(?!"))[^"\\]*+)*+"{3,5}'
    r"|'''[^']*+(?:'{1,2}(?!')[^']*+)*+'{3,5}"
    rf"|{_TEXT}"
    r"|\d{4}-\d\d-\d\d \d\d[^\s,\]}#]*+"  # a date and a time may be parted by one space
    r"|[^\s,\]}#]++",
    re.DOTALL,
)
_LONG_INTEGER = re.compile(rf"0[xob][0-9a-fA-F_]{{{MAX_DIGITS}}}")
_TOO_LONG = f"refused: an integer of over {MAX_DIGITS:,} digits"


def parse(text: str) -> Parsed:
    """Parse TOML; raises `ParseError`, with the line and column that tomli gives."""
    if text.count("=") + text.count(",") > MAX_VALUES:
        raise ParseError(f"refused: over {MAX_VALUES:,} values")
    try:
        value = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        reason = re.sub(r" \(at .*\)$", "", str(error.msg))
        raise ParseError(f"not valid TOML: {reason}", error.lineno, error.colno) from error
    except ValueError as error:  # a decimal integer of more digits than Python converts
        raise ParseError(_TOO_LONG) from error
    if _LONG_INTEGER.search(text) and _has_long_integer(value):
        raise ParseError(_TOO_LONG)
    return Parsed(value, lambda: _Scanner(text).index())


def _has_long_integer(value: object) -> bool:
    """Whether an integer, written in hexadecimal, octal or binary, has more digits than Python prints."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, int) and item.bit_length() > 4 * MAX_DIGITS:
            return True
        if isinstance(item, dict | list):
            pending.extend(item.values() if isinstance(item, dict) else item)
    return False


class _Scanner:
    """One pass over valid TOML that notes where each key and value stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.places: dict[KeyPath, Place] = {}
        self.tables: dict[KeyPath, int] = {}  # path of an array of tables -> index of its latest table
        self.ruler = Ruler(text)

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
        brackets = "[[" if self.text.startswith("[[", start) else "["
        self.offset += len(brackets)
        *parents, last = [key for key, _, _ in self._keys()]
        self.offset += len(brackets)
        here = self.ruler.span(start, self.offset)
        path: KeyPath = ()
        for key in parents:
            path += (key,)
            self.places.setdefault(path, Place(here, here))  # a table without a header of its own, so far
            path += (self.tables[path],) if path in self.tables else ()
        path += (last,)
        if brackets == "[[":
            self.tables[path] = self.tables.get(path, -1) + 1
            self.places.setdefault(path, Place(here, here))
            path += (self.tables[path],)
        self.places[path] = Place(here, here)
        return path

    def _keys(self) -> Iterator[tuple[str, int, int]]:
        """The parts of a dotted key at the offset, each with its start and end."""
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self.offset)
            if match is None:  # cannot be: tomli has accepted the text
                raise ParseError("not a TOML key", *self.ruler.position(self.offset))
            self.offset = match.end()
            yield _unquote(match[0]), match.start(), match.end()
            if not self.text.startswith(".", self._skip(_SPACE)):
                return
            self.offset += 1

    def _assignment(self, table: KeyPath) -> None:
        path, key = table, None
        for part, start, end in self._keys():
            path += (part,)
            key = self.ruler.span(start, end)
            self.places.setdefault(path, Place(key, key))
        self.offset += 1  # the `=`
        self._skip(_SPACE)
        self._value(path, key)

    def _value(self, path: KeyPath, key: Span | None = None) -> None:
        start = self.offset
        opening = self.text[start]
        if opening == "[":
            self._items(path, "]", keyed=False)
        elif opening == "{":
            self._items(path, "}", keyed=True)
        else:
            self._skip(_SCALAR)
        span = self.ruler.span(start, self.offset)
        self.places[path] = Place(key or span, span)

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


def _unquote(key: str) -> str:
    if key.startswith('"'):
        return next(iter(tomli.loads(f"{key} = 0")))
    return key[1:-1] if key.startswith("'") else key
