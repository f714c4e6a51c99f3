"""Protocol buffers' text format, as Triton's config.pbtxt is written, without its schema.

A message is a dict of its fields, each the list of its values, however often it stands there: `x: [1, 2]` is the same
as `x: 1 x: 2`. A scalar is text, as it is written but for a string's quotes and escapes. Only what Triton's
configurations use of the format is read: no extensions, no type URLs.
https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.source import MAX_DEPTH, MAX_VALUES, KeyPath, Parsed, ParseError, Place, Ruler, Span

if TYPE_CHECKING:
    from typing import Any

_TOKEN = re.compile(
    r"(?P<blank>(?:\s++|\#[^\n]*+)++)"
    r"|(?P<string>\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+')"
    r"|(?P<word>\$\{[^{}\n]{0,200}\}|[A-Za-z0-9_.+-]++)"  # `${name}`: what a script of Triton's fills in
    r"|(?P<mark>[\[\]{}<>:,;])"
)
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))", re.DOTALL)
_NAMED = {"n": "\n", "t": "\t", "r": "\r"}
_CLOSING = {"{": "}", "<": ">"}


def parse(text: str) -> Parsed:
    """Parse a message; raises `ParseError`."""
    reader = _Reader(text)
    value = reader.message("", 0, ())
    return Parsed(value, lambda: reader.places)


class _Reader:
    def __init__(self, text: str) -> None:
        self.ruler = Ruler(text)
        self.tokens: list[tuple[str, str, int]] = []
        self.places: dict[KeyPath, Place] = {}
        self.cursor = 0
        offset = 0
        while offset < len(text):
            match = _TOKEN.match(text, offset)
            if match is None or len(self.tokens) > MAX_VALUES:
                raise ParseError("not valid protobuf text", *self.ruler.position(offset))
            if match.lastgroup != "blank":
                self.tokens.append((str(match.lastgroup), match[0], offset))
            offset = match.end()
        self.end = len(text)

    def message(self, closing: str, depth: int, path: KeyPath) -> dict[str, list[Any]]:
        """The fields up to the message's end."""
        if depth > MAX_DEPTH:
            raise self.refusal(f"nested deeper than {MAX_DEPTH} levels")
        fields: dict[str, list[Any]] = {}
        while self.text != closing:
            kind, name, start = self.take()
            if kind != "word":
                raise ParseError("not valid protobuf text: no field's name", *self.ruler.position(start))
            key = self.ruler.span(start, start + len(name))
            colon = self.skip(":")
            self.places.setdefault((*path, name), Place(key, key))
            values = fields.setdefault(name, [])
            if self.skip("["):
                while not self.skip("]"):
                    values.append(self.value((*path, name, len(values)), key, depth))
                    self.skip(",")
            elif colon or self.text in _CLOSING:
                values.append(self.value((*path, name, len(values)), key, depth))
            else:
                raise self.refusal(f"no value of `{name}`")
            self.skip(",", ";")
        self.take()
        return fields

    def value(self, path: KeyPath, key: Span, depth: int) -> object:
        kind, text, start = self.take()
        end = start + len(text)
        if kind == "string":
            result: object = _unquoted(text)
            while self.cursor < len(self.tokens) and self.tokens[self.cursor][0] == "string":  # adjacent ones are one
                _, more, offset = self.take()
                result, end = f"{result}{_unquoted(more)}", offset + len(more)
        elif text in _CLOSING:
            result, end = self.message(_CLOSING[text], depth + 1, path), start + 1
        elif kind == "word":
            result = text
        else:
            raise ParseError("not valid protobuf text: no value", *self.ruler.position(start))
        self.places[path] = Place(key, self.ruler.span(start, end))
        return result

    @property
    def text(self) -> str:
        """The next token; empty at the end."""
        return self.tokens[self.cursor][1] if self.cursor < len(self.tokens) else ""

    def take(self) -> tuple[str, str, int]:
        token = self.tokens[self.cursor] if self.cursor < len(self.tokens) else ("end", "", self.end)
        self.cursor += 1
        return token

    def skip(self, *marks: str) -> bool:
        found = self.text in marks
        self.cursor += found
        return found

    def refusal(self, reason: str) -> ParseError:
        offset = self.tokens[self.cursor][2] if self.cursor < len(self.tokens) else self.end
        return ParseError(f"not valid protobuf text: {reason}", *self.ruler.position(offset))


def _unquoted(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        octal, hexadecimal, char = match.groups()
        if char is None:
            return chr(int(octal, 8) if octal else int(hexadecimal, 16))
        return _NAMED.get(char, char)

    return _ESCAPE.sub(value, text[1:-1])
