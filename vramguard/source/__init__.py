"""Parsed files whose every value can be traced to a line.

The only package that knows syntaxes and counts lines. `read` turns one file's bytes into a `Document`, or says why
it cannot. A syntax is one module here with `parse(text) -> Parsed`, and its row in `kinds`. Files of weights, of
which nobody reads more than the header, are in `heads`.
Lines and columns are 1-based, columns count characters, ends are exclusive (as in SARIF).
"""

from __future__ import annotations

import codecs
import hashlib
import re
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard.source import definitions
from vramguard.source.kinds import INDEX, LENIENT, PARSERS, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "LENIENT",
    "PARSERS",
    "Document",
    "Flaw",
    "KeyPath",
    "Location",
    "ParseError",
    "Parsed",
    "Place",
    "Ruler",
    "Span",
    "Unreadable",
    "decode",
    "encoding_of",
    "is_template",
    "kind_of",
    "pointer",
    "read",
    "under",
]
KeyPath = tuple[str | int, ...]

MAX_BYTES = 32 << 20  # beyond this a text file is data, and reading it would only make us slow
MAX_DEPTH = 200  # nesting that no person writes; deeper input is aimed at the reader's stack
MAX_VALUES = 1_000_000  # of one file, aliases written out; more is data or a bomb, and would only fill our memory
MAX_INNER = 2 << 20  # characters of documents inside values: aliases can name one text very often
MAX_DIGITS = 3000  # of an integer, in any base: Python refuses to print much longer ones

# What git-lfs, git-annex and git-xet commit in the place of a large file: the file itself is not here.
POINTERS = (
    b"version https://git-lfs.github.com/spec/",
    b"version https://hawser.github.com/spec/",
    b"/annex/objects/",
    b"# xet version ",
)


class Span(NamedTuple):
    """A stretch of text: 1-based lines and columns, the end exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


class Location(NamedTuple):
    """A `Span` in a file; `path` is relative to the repository's root, with forward slashes."""

    path: str
    line: int = 1
    column: int = 1
    end_line: int = 1
    end_column: int = 1


class Flaw(NamedTuple):
    """Something wrong with a document that could still be read, such as a key given twice."""

    span: Span
    message: str


class Place(NamedTuple):
    """Where a value stands, and where its key does (the value's own span for a list's item)."""

    key: Span
    value: Span


class Parsed(NamedTuple):
    """What a syntax module returns. `locate` finds all places, and is called only once somebody asks for one."""

    value: Any
    locate: Callable[[], Mapping[KeyPath, Place]]
    flaws: tuple[Flaw, ...] = ()


class ParseError(Exception):
    """The text is not valid in its syntax."""

    def __init__(self, message: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Ruler:
    """Turns offsets in a text into lines and columns."""

    def __init__(self, text: str) -> None:
        self._breaks = [match.start() for match in re.finditer("\n", text)]

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of the character at the offset."""
        row = bisect_left(self._breaks, offset)
        return row + 1, offset - (self._breaks[row - 1] if row else -1)

    def span(self, start: int, end: int) -> Span:
        """The stretch from one offset to another, exclusive."""
        return Span(*self.position(start), *self.position(end))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be read, and why; `template` when that is because a renderer has to come first."""

    at: Location
    reason: str
    template: bool = False


@dataclass(frozen=True)
class Document:
    """One parsed file. `value` is plain Python; a YAML file's value is the list of its documents.

    `sha256` is the digest of the file's bytes, `text` what they say, each line ended by a line feed.
    """

    path: str
    kind: str
    text: str
    sha256: str
    parsed: Parsed

    def __reduce__(self) -> tuple[Any, ...]:
        """What another process gets: the values, and how to find their places again, which is seldom asked."""
        value, flaws = self.parsed.value, self.parsed.flaws
        told = self.path, self.kind, self.text, self.sha256
        return _received, (told, value, flaws, self.__dict__.get("_read_within"))

    @property
    def value(self) -> Any:  # noqa: ANN401 - untyped text; extractors turn it into typed facts
        return self.parsed.value

    @cached_property
    def places(self) -> Mapping[KeyPath, Place]:
        """Where every value stands, by its keys."""
        return self.parsed.locate()

    @cached_property
    def lines(self) -> list[str]:
        """The text's lines, without their ends."""
        return self.text.split("\n")

    def at(self, *keys: str | int) -> Location:
        """Where the value under these keys stands; its nearest enclosing value if it has no place of its own."""
        return self._locate(keys).value_at(self.path)

    def key_at(self, *keys: str | int) -> Location:
        """Where the last of these keys stands."""
        return self._locate(keys).key_at(self.path)

    def first(self, *keys: str | int) -> tuple[int, int] | None:
        """Line and column of a YAML scalar's first character, where its text stands in the file as it is.

        That is so of a literal block and of what has one line; None for folded, broken or escaped text.
        """
        place = self.places.get(keys)
        if place is None or self.kind != "yaml":
            return None
        from vramguard.source.yaml import literal

        return literal(self.lines, place.value)

    @cached_property
    def _read_within(self) -> list[int]:
        """Characters of the texts that were read as documents inside this one; one count for all of them."""
        return [0]

    def inner(self, text: str, kind: str = "yaml") -> Document | None:
        """The document that a value of this one is; None if it is none, or once `MAX_INNER` have been read."""
        self._read_within[0] += len(text)
        if self._read_within[0] > MAX_INNER:
            return None
        found = read(self.path, text.encode("utf-8", "surrogatepass"), kind=kind)
        if isinstance(found, Unreadable):
            return None
        found.__dict__["_read_within"] = self._read_within
        return found

    def _locate(self, keys: KeyPath) -> _Found:
        for length in range(len(keys), 0, -1):
            place = self.places.get(keys[:length])
            if place is not None:
                return _Found(place)
        return _Found(Place(Span(1, 1, 1, 1), Span(1, 1, 1, 1)))


def _received(
    told: tuple[str, str, str, str], value: object, flaws: tuple[Flaw, ...], counted: list[int] | None
) -> Document:
    _, kind, text, _ = told

    def locate() -> Mapping[KeyPath, Place]:
        parse: Callable[[str], Parsed] = import_module(f"{__name__}.{kind}").parse
        return parse(text).locate()

    document = Document(*told, Parsed(value, locate, flaws))
    if counted is not None:
        document.__dict__["_read_within"] = counted
    return document


class _Found(NamedTuple):
    place: Place

    def value_at(self, path: str) -> Location:
        return Location(path, *self.place.value)

    def key_at(self, path: str) -> Location:
        return Location(path, *self.place.key)


def under(value: object, keys: KeyPath) -> Any:  # noqa: ANN401 - untyped text
    """What stands under these keys of mappings and lists; None where nothing does."""
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def read(path: str, data: bytes, *, kind: str | None = None) -> Document | Unreadable:
    """Parse one file's bytes. Never raises for what the bytes hold: that becomes `Unreadable`."""
    kind = kind or kind_of(path, explicit=True) or "requirements"
    if len(data) > MAX_BYTES:
        return Unreadable(Location(path), f"larger than {MAX_BYTES >> 20} MiB")
    if path.endswith(INDEX) and data.startswith(POINTERS):
        return pointer(path, data)
    sha256 = hashlib.sha256(data).hexdigest()
    text = ""  # what is no text is no template either
    try:
        text = decode(definitions.without(data) if kind in definitions.KINDS else data)
        parsed = import_module(f"{__name__}.{kind}").parse(text)
    except ParseError as error:
        if kind in LENIENT:
            return Document(path, kind, "", sha256, Parsed(None, dict))
        at = Location(path, error.line, error.column, error.line, error.column + 1)
        return Unreadable(at, str(error), template=is_template(text))
    except RecursionError:
        return Unreadable(Location(path), f"nested deeper than {MAX_DEPTH} levels")
    return Document(path, kind, text, sha256, parsed)


def pointer(path: str, data: bytes) -> Document:
    """The document of a file of weights, or of their index, that is kept elsewhere: it says nothing."""
    return Document(path, "pointer", "", hashlib.sha256(data).hexdigest(), Parsed(None, dict))


def is_template(text: str) -> bool:
    """Whether the text holds a renderer's marks: Helm, Jinja, cookiecutter (`{{ … }}`), Jinja blocks (`{% … %}`)."""
    return any(0 <= text.find(opening) < text.rfind(closing) for opening, closing in (("{{", "}}"), ("{%", "%}")))


_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding_of(data: bytes) -> tuple[str, bytes]:
    """The encoding of a text by its byte-order mark, and that mark."""
    return next(((name, mark) for mark, name in _BOMS if data.startswith(mark)), ("utf-8", b""))


def decode(data: bytes) -> str:
    """The text of `data`, its byte-order mark honoured and each line ended by a line feed.

    Raises `ParseError` for bytes that are no text.
    """
    encoding, mark = encoding_of(data)
    try:
        text = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ParseError(f"not {encoding.upper()} text: {error.reason} at byte {error.start}", line) from error
    if "\0" in text:
        raise ParseError("binary, not text", text.count("\n", 0, text.index("\0")) + 1)
    return text.replace("\r\n", "\n").replace("\r", "\n")
