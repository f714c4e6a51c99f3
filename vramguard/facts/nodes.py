"""A value of a YAML document that knows its place, and how it becomes a word, a number or a document of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vramguard.facts.values import Unknown, Word
from vramguard.source import Document, KeyPath, Location, Parsed, under

if TYPE_CHECKING:
    from collections.abc import Iterator


_MARK = re.compile(r"\{\{|\{%|<%|\$\{|\$\(?[A-Za-z_]")  # of a renderer, or of a variable that is not filled in yet
_RENDERED = re.compile(r"\{\{|\{%|<%")


@dataclass(frozen=True, slots=True)
class Node:
    """A value under its keys; `inside` is the text in which its document stands, where that is a value of another.

    The value may differ from what stands under the keys (patches merged into it): then its nearest place is told.
    """

    document: Document
    keys: KeyPath
    value: Any
    inside: Word | None = None

    def get(self, *keys: str | int) -> Node:
        """What stands under these keys; a node without a value where nothing does."""
        return Node(self.document, (*self.keys, *keys), under(self.value, keys), self.inside)

    def items(self) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping, whose keys are read as text; none of anything else."""
        if isinstance(self.value, dict):
            yield from ((str(key), self._part(key, value)) for key, value in self.value.items())

    def children(self) -> Iterator[Node]:
        """What a mapping holds, without the keys, or the items of a list; none of anything else."""
        return (node for _, node in self.items()) if isinstance(self.value, dict) else self.list()

    def list(self) -> Iterator[Node]:
        """The items of a list; none of anything else."""
        if isinstance(self.value, list):
            yield from (self._part(number, value) for number, value in enumerate(self.value))

    def _part(self, key: str | int, value: Any) -> Node:  # noqa: ANN401 - untyped text
        """A part of this value, which stands under the key; what else knows better where its parts stand is asked."""
        return Node(self.document, (*self.keys, key), value, self.inside) if type(self) is Node else self.get(key)

    def __bool__(self) -> bool:
        return self.value is not None

    @property
    def text(self) -> str:
        """A scalar as text, empty for anything else."""
        if isinstance(self.value, str):
            return self.value  # no place is asked for
        word = self.word()
        return word.text if word else ""

    @property
    def at(self) -> Location:
        """Where the value stands; of a mapping under a key, that key."""
        document = self.document
        keyed = isinstance(self.value, dict | list) and bool(self.keys) and isinstance(self.keys[-1], str)
        return self._outside(document.key_at(*self.keys) if keyed else document.at(*self.keys))

    def _outside(self, at: Location) -> Location:
        if self.inside is None:
            return at
        if self.inside.first is None:
            return self.inside.at
        line, column = self.inside.first[0] - 1, self.inside.first[1] - 1
        return Location(at.path, at.line + line, at.column + column, at.end_line + line, at.end_column + column)

    def word(self) -> Word | None:
        """A scalar as the word that a program gets; None for a mapping, a list or nothing."""
        value = self.value
        if value is None or isinstance(value, dict | list):
            return None
        text = value if isinstance(value, str) else self._written()
        marks = _RENDERED if " " in text.strip() else _MARK  # a script's own variables are the shell's business
        return Word(text, self.at, marks.search(text) is None, self._first(text))

    def _written(self) -> str:
        """A number or a boolean as it is written: 0.90, and not 0.9."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        at = self.document.at(*self.keys)
        written = self.document.lines[at.line - 1][at.column - 1 : at.end_column - 1] if at.line == at.end_line else ""
        try:
            return written if float(written) == self.value else str(self.value)
        except ValueError:
            return str(self.value)

    def _first(self, text: str) -> tuple[int, int] | None:
        first = self.document.first(*self.keys)
        if first is None or (self.inside and self.inside.first is None) or not self._stands(first, text):
            return None
        outside = self.inside.first if self.inside and self.inside.first else (1, 1)
        return first[0] + outside[0] - 1, first[1] + outside[1] - 1

    def _stands(self, first: tuple[int, int], text: str) -> bool:
        """Whether the text's first line is the one at this place, as it is not where a patch has replaced it."""
        return self.document.lines[first[0] - 1][first[1] - 1 :].startswith(text.partition("\n")[0])

    def words(self) -> tuple[Word, ...]:
        """The words of a list of scalars, or of one scalar."""
        nodes = self.list() if isinstance(self.value, list) else [self]
        return tuple(word for node in nodes if (word := node.word()))

    def number(self) -> int | Unknown | None:
        """A count: a whole number, however quoted; Unknown for any other text, None where nothing is written."""
        word = self.word()
        if word is None:
            return None
        text = word.text.strip()
        return int(text) if text.isdecimal() and len(text) < 10 else Unknown(text)  # noqa: PLR2004 - no count is that long

    def parsed(self) -> Iterator[Node]:
        """The documents of a text that is YAML itself, each value with its place in the file; none if it is not."""
        word = self.word()
        if word and isinstance(self.value, str):
            yield from _parsed(self.document, word)


def within(word: Word) -> Iterator[Node]:
    """The YAML documents of a text of any file, each value with its place there; none if it is no YAML."""
    yield from _parsed(Document(word.at.path, "text", "", "", Parsed(None, dict)), word)


def _parsed(holder: Document, word: Word) -> Iterator[Node]:
    if inner := holder.inner(word.text):
        yield from (Node(inner, (number,), value, word) for number, value in enumerate(inner.value))
