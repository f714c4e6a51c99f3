"""JSON5, as Renovate's configuration has it: JSON with comments, trailing commas, bare keys and single quotes.

json5.org, sections 2 to 8; numbers beyond JSON's are texts.
"""

from __future__ import annotations

import json
import re
from typing import Any

from vramguard.source import MAX_DEPTH, KeyPath, Parsed, ParseError, Place, Ruler

_TOKEN = re.compile(
    r"""\s++|//[^\n]*+|/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'|[\[\]{},:]|[^\s\[\]{},:"'/]++""",
    re.DOTALL,
)
_MOST = 200_000  # tokens
_WORDS = {"true": True, "false": False, "null": None}


def parse(text: str) -> Parsed:
    """The one value of the text. Raises `ParseError`."""
    reader = _Reader(text)
    value = reader.value(())
    if reader.next < len(reader.tokens):
        raise reader.fault("the value has an end, and more follows")

    def locate() -> dict[KeyPath, Place]:
        ruler = Ruler(text)
        return {keys: Place(ruler.span(*key), ruler.span(*held)) for keys, (key, held) in reader.places.items()}

    return Parsed(value, locate)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.next = 0
        self.tokens: list[tuple[str, int, int]] = []
        self.places: dict[KeyPath, tuple[tuple[int, int], tuple[int, int]]] = {}
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None or len(self.tokens) > _MOST:
                raise ParseError("not valid JSON5", *Ruler(text).position(position))
            if not match[0].isspace() and not match[0].startswith(("//", "/*")):
                self.tokens.append((match[0], match.start(), match.end()))
            position = match.end()

    def fault(self, words: str) -> ParseError:
        offset = self.tokens[self.next][1] if self.next < len(self.tokens) else len(self.text)
        return ParseError(f"not valid JSON5: {words}", *Ruler(self.text).position(offset))

    def value(self, keys: KeyPath) -> Any:  # noqa: ANN401 - untyped text
        start = self._peek()
        token = self._take()
        if token == "{":
            found: Any = self._table(keys)
        elif token == "[":
            found = self._list(keys)
        elif token in "]},:":
            raise self.fault(f"`{token}` is no value")
        else:
            found = _scalar(token)
        end = self.tokens[self.next - 1][2]
        key = self.places[keys][0] if keys in self.places else (start, end)
        self.places[keys] = (key, (start, end))
        return found

    def _table(self, keys: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._refuse_depth(keys)
        while self._ahead() != "}":
            start = self._peek()
            name = str(_scalar(self._take(), bare=True))
            self.places[(*keys, name)] = ((start, self.tokens[self.next - 1][2]), (start, start))
            self._want(":")
            found[name] = self.value((*keys, name))
            if self._ahead() != "}":
                self._want(",")
        self._take()
        return found

    def _list(self, keys: KeyPath) -> list[Any]:
        found: list[Any] = []
        self._refuse_depth(keys)
        while self._ahead() != "]":
            found.append(self.value((*keys, len(found))))
            if self._ahead() != "]":
                self._want(",")
        self._take()
        return found

    def _refuse_depth(self, keys: KeyPath) -> None:
        if len(keys) > MAX_DEPTH:
            raise self.fault(f"nested deeper than {MAX_DEPTH} levels")

    def _peek(self) -> int:
        return self.tokens[self.next][1] if self.next < len(self.tokens) else len(self.text)

    def _ahead(self) -> str:
        if self.next >= len(self.tokens):
            raise self.fault("it ends too early")
        return self.tokens[self.next][0]

    def _take(self) -> str:
        token = self._ahead()
        self.next += 1
        return token

    def _want(self, token: str) -> None:
        if self._ahead() != token:
            raise self.fault(f"`{token}` is missing")
        self.next += 1


def _scalar(token: str, *, bare: bool = False) -> Any:  # noqa: ANN401 - untyped text
    if token[0] in "\"'":
        inner = token[1:-1].replace("\\'", "'").replace("\\\n", "")
        try:
            return json.loads(f'"{inner}"' if token[0] == '"' else json.dumps(inner), strict=False)
        except ValueError:
            return inner
    if bare:
        return token
    try:
        return _WORDS[token] if token in _WORDS else json.loads(token)
    except ValueError:
        return token
