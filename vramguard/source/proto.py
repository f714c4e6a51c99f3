"""Protocol buffers: messages with their fields and options, services with their methods; no more than a reader needs.

The grammar is that of proto2, proto3 and editions (protobuf.dev/reference/protobuf/proto3-spec, read 2026-11). Text
that is none of it says nothing: what cannot be read is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

from vramguard.source import MAX_VALUES, KeyPath, Parsed, Place, Ruler, Span

_TOKEN: Final = re.compile(
    r"""//[^\n]*|/\*(?:[^*]|\*(?!/))*+\*/|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'"""
    r"""|[\w.]+|[{}\[\]()<>;,=:+-]|\S"""
)
_DEPTH: Final = 60
_METHOD: Final = 5  # words: rpc, its name, request, returns, response
_LABELS: Final = ("optional", "required", "repeated")


class Token(NamedTuple):
    """A word or a sign, and where it begins."""

    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Field:
    """`repeated double price = 1 [(buf.validate.field).double.gt = 0]`; options by their paths as written."""

    span: Span
    message: str  # `Outer.Inner`
    type: str
    name: str
    label: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """`rpc Predict(PredictRequest) returns (stream PredictResponse)`."""

    span: Span
    service: str
    name: str
    request: str
    response: str


@dataclass
class _Found:
    fields: list[Field] = field(default_factory=list)
    methods: list[Method] = field(default_factory=list)


class Proto:
    """A text, read once somebody asks."""

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _read(self) -> _Found:
        return _Reader(self.text).read()

    @property
    def fields(self) -> list[Field]:
        """Every field of every message, in order."""
        return self._read.fields

    @property
    def methods(self) -> list[Method]:
        """Every method of every service."""
        return self._read.methods


def parse(text: str) -> Parsed:
    """A file of protocol buffers, not read yet. Never raises."""
    return Parsed(Proto(text), _nowhere)


def _nowhere() -> dict[KeyPath, Place]:
    return {}


class _Reader:
    def __init__(self, text: str) -> None:
        self.ruler = Ruler(text)
        found = (Token(match[0], match.start()) for match in _TOKEN.finditer(text))
        self.tokens = [token for token in found if not token.text.startswith(("//", "/*"))][:MAX_VALUES]
        self.at = 0
        self.found = _Found()

    def read(self) -> _Found:
        """Everything that the file declares."""
        while self.at < len(self.tokens):
            before = self.at
            self._statement("", 0)
            self.at += self.at == before  # a brace that nobody opened
        return self.found

    def _peek(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place].text if place < len(self.tokens) else ""

    def _statement(self, message: str, depth: int) -> None:
        word = self._peek()
        if word == "message" and self._peek(2) == "{" and depth < _DEPTH:
            self._message(message, depth)
        elif word == "service" and self._peek(2) == "{":
            self._service()
        elif word in ("oneof", "extend") and depth < _DEPTH and message and self._peek(2) == "{":
            self.at += 3
            self._body(message, depth)
        elif word in ("enum", "option", "reserved", "extensions", "syntax", "package", "import", "edition", "extend"):
            self._skip()
        elif message:
            self._field(message)
        else:
            self._skip()

    def _service(self) -> None:
        name = self._peek(1)
        self.at += 3
        while self.at < len(self.tokens) and self._peek() != "}":
            if self._peek() == "rpc":
                self._method(name)
            self._skip()
        self.at += 1

    def _method(self, service: str) -> None:
        """`rpc Name ( [stream] Request ) returns ( [stream] Response )`, up to what follows."""
        start = self.at
        words: list[str] = []
        while self.at < len(self.tokens) and self._peek() not in ("{", ";", "}"):
            words += [self._peek()] if self._peek() not in ("(", ")", "stream") else []
            self.at += 1
        if len(words) == _METHOD and words[3] == "returns":
            span = self._span(start, start + 1)
            request, response = words[2].lstrip("."), words[4].lstrip(".")
            self.found.methods.append(Method(span, service, words[1], request, response))

    def _message(self, outer: str, depth: int) -> None:
        name = self._peek(1)
        self.at += 3
        self._body(f"{outer}.{name}" if outer else name, depth + 1)

    def _body(self, message: str, depth: int) -> None:
        while self.at < len(self.tokens) and self._peek() != "}":
            before = self.at
            self._statement(message, depth)
            self.at += self.at == before
        self.at += 1

    def _skip(self) -> None:
        """Past the end of a statement: its `;`, or its closing brace."""
        depth = 0
        while self.at < len(self.tokens):
            word = self._peek()
            if word == "}" and not depth:
                return  # of whoever stands around
            self.at += 1
            depth += {"{": 1, "}": -1}.get(word, 0)
            if not depth and word in (";", "}"):
                return

    def _field(self, message: str) -> None:
        """`[label] type name = number [options];`, the type possibly `map<key, value>`."""
        start = self.at
        label = self._peek() if self._peek() in _LABELS else ""
        self.at += bool(label)
        kind, self.at = self._peek(), self.at + 1
        if kind == "map" and self._peek() == "<":
            kind, label = self._peek(3), "repeated"
            self.at += 5
        name = self._peek()
        if self._peek(1) != "=" or not name.isidentifier() or not self._peek(2):
            self.at = start
            self._skip()
            return
        span = self._span(start, self.at)
        self.at += 3
        options = self._options() if self._peek() == "[" else ()
        self._skip()
        self.found.fields.append(Field(span, message, kind, name, label, options))

    def _span(self, first: int, last: int) -> Span:
        end = self.tokens[min(last, len(self.tokens) - 1)]
        return self.ruler.span(self.tokens[first].start, end.start + len(end.text))

    def _options(self) -> tuple[tuple[str, str], ...]:
        """`[(validate.rules).double = {gt: 0, lt: 9}, deprecated = true]`, each scalar under its whole path."""
        self.at += 1
        found: list[tuple[str, str]] = []
        while self.at < len(self.tokens) and self._peek() not in ("]", ";", "}"):
            before = self.at
            path = self._path()
            self.at += self._peek() in ("=", ":")
            self._value(path, found, 0)
            self.at += self._peek() == ","
            self.at += self.at == before
        self.at += self._peek() == "]"
        return tuple(found)

    def _path(self) -> str:
        """`(buf.validate.field).double.gt` without its parentheses."""
        words: list[str] = []
        while self.at < len(self.tokens) and self._peek() not in ("=", ":", "{", ",", "]", ";", "}"):
            word = self._peek()
            words += [word.strip(".")] if word not in ("(", ")") else []
            self.at += 1
        return ".".join(filter(None, words))

    def _value(self, path: str, found: list[tuple[str, str]], depth: int) -> None:
        if self._peek() != "{" or depth > _DEPTH:
            words: list[str] = []
            while self.at < len(self.tokens) and self._peek() not in (",", "]", ";", "}") and len(words) < _DEPTH:
                word = self._peek()
                if words and words != ["-"] and not word.startswith(('"', "'")) and words[-1] not in ("-", "[", "<"):
                    break  # the next key of a text without commas
                words.append(word)
                self.at += 1
            found.append((path, "".join(words)))
            return
        self.at += 1
        while self.at < len(self.tokens) and self._peek() not in ("}", ";"):
            before = self.at
            name = self._path()
            self.at += self._peek() == ":"
            self._value(f"{path}.{name}", found, depth + 1)
            self.at += self._peek() == ","
            self.at += self.at == before
        self.at += self._peek() == "}"
