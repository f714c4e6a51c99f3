"""JSON: values by the standard library (`NaN` and `Infinity` included: real configs hold them), places by a scanner.

The scanner runs only over text that `json` has accepted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from vramguard.source import MAX_DEPTH, MAX_VALUES, Flaw, KeyPath, Parsed, ParseError, Place, Ruler, Span

if TYPE_CHECKING:
    from typing import Any

# Possessive and unrolled: a mark kept for each character is a hundred bytes of memory for each.
_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rf'{_STRING}|[\[\]{{}},:]|[^\s\[\]{{}},:"]++', re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)
_TOO_DEEP = f"refused: nested deeper than {MAX_DEPTH} levels"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(text: str) -> Parsed:
    """Parse JSON; raises `ParseError`. A key given twice is a flaw; as in every reader, its last value counts."""
    if text.count(",") > MAX_VALUES:
        raise ParseError(f"refused: over {MAX_VALUES:,} values")
    repeated = False

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        result = dict(items)
        repeated = repeated or len(result) < len(items)
        return result

    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ParseError(f"not valid JSON: {error.msg}", error.lineno, error.colno) from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise ParseError(f"not valid JSON: {error}".partition(";")[0]) from error
    except RecursionError:
        raise ParseError(_TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(text):
        raise ParseError(_TOO_DEEP)
    if _SURROGATE.search(text):
        _refuse_surrogates(text)
    scanner = _Scanner(text)
    if not repeated:
        return Parsed(value, scanner.index)
    index = scanner.index()
    return Parsed(value, lambda: index, tuple(scanner.flaws))


def _is_too_deep(text: str) -> bool:
    """Whether brackets nest deeper than the scanner, which recurses, may go."""
    depth = 0
    for match in _BRACKET.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False


def _refuse_surrogates(text: str) -> None:
    """Half of a surrogate pair is no character: no report could print it."""
    for match in _TOKEN.finditer(text):
        if match[0].startswith('"') and re.search(r"[\ud800-\udfff]", json.loads(match[0])):
            raise ParseError("not valid JSON: half of a surrogate pair", *Ruler(text).position(match.start()))


class _Scanner:
    """One pass over valid JSON that notes where each key and value stands."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, int, int]] = []
        self.cursor = 0
        self.places: dict[KeyPath, Place] = {}
        self.flaws: list[Flaw] = []

    def index(self) -> dict[KeyPath, Place]:
        self.ruler = Ruler(self.text)
        self.tokens = [(match[0], *match.span()) for match in _TOKEN.finditer(self.text)]
        self._value((), None)
        return self.places

    def _value(self, path: KeyPath, key: Span | None) -> None:
        token, start, end = self.tokens[self.cursor]
        self.cursor += 1
        if token in "{[":
            (self._object if token == "{" else self._array)(path)
            end = self.tokens[self.cursor - 1][2]
        span = self.ruler.span(start, end)
        self.places[path] = Place(key or span, span)

    def _object(self, path: KeyPath) -> None:
        while self.tokens[self.cursor][0] != "}":
            token, start, end = self.tokens[self.cursor]
            self.cursor += 2  # the key and its colon
            child, span = (*path, json.loads(token)), self.ruler.span(start, end)
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
