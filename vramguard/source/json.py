"""JSON: values by the standard library (`NaN` and `Infinity` included: real configs hold them), places by a scanner.

The scanner runs only over text that `json` has accepted.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import TYPE_CHECKING

from vramguard.source import Flaw, KeyPath, Parsed, ParseError, Place, Span

if TYPE_CHECKING:
    from typing import Any

_TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[\[\]{},:]|[^\s\[\]{},:"]+)', re.DOTALL)


def parse(text: str) -> Parsed:
    """Parse JSON; raises `ParseError`. A key given twice is a flaw; as in every reader, its last value counts."""
    repeated: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(items)
        if len(result) < len(items):
            seen: set[str] = set()
            repeated.extend(key for key, _ in items if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return result

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ParseError(f"not valid JSON: {error.msg}", error.lineno, error.colno) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise ParseError(f"not valid JSON: {error}") from error
    if not repeated:
        return Parsed(value, lambda: _Scanner(text).index())
    scanner = _Scanner(text)
    index = scanner.index()
    return Parsed(value, lambda: index, tuple(scanner.flaws))


class _Scanner:
    """One pass over valid JSON that notes where each key and value stands."""

    def __init__(self, text: str) -> None:
        self.tokens = [(match[1], match.start(1), match.end(1)) for match in _TOKEN.finditer(text)]
        self.breaks = [match.start() for match in re.finditer("\n", text)]
        self.cursor = 0
        self.places: dict[KeyPath, Place] = {}
        self.flaws: list[Flaw] = []

    def index(self) -> dict[KeyPath, Place]:
        self._value((), None)
        return self.places

    def _value(self, path: KeyPath, key: Span | None) -> None:
        token, start, end = self.tokens[self.cursor]
        self.cursor += 1
        if token == "{":
            self._object(path)
        elif token == "[":
            self._array(path)
        else:
            start, end = self.tokens[self.cursor - 1][1:]
        span = self._span(start, end)
        self.places[path] = Place(key or span, span)

    def _object(self, path: KeyPath) -> None:
        while self.tokens[self.cursor][0] != "}":
            token, start, end = self.tokens[self.cursor]
            self.cursor += 2  # the key and its colon
            child, span = (*path, json.loads(token)), self._span(start, end)
            if child in self.places:
                self.flaws.append(Flaw(span, f"key {token} again, first on line {self.places[child].key.line}"))
            self._value(child, span)
            self._comma()
        self.cursor += 1

    def _array(self, path: KeyPath) -> None:
        number = 0
        while self.tokens[self.cursor][0] != "]":
            self._value((*path, number), None)
            number += 1
            self._comma()
        self.cursor += 1

    def _comma(self) -> None:
        if self.tokens[self.cursor][0] == ",":
            self.cursor += 1

    def _span(self, start: int, end: int) -> Span:
        return Span(*self._position(start), *self._position(end))

    def _position(self, offset: int) -> tuple[int, int]:
        row = bisect_left(self.breaks, offset)
        return row + 1, offset - (self.breaks[row - 1] if row else -1)
