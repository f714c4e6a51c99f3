"""A file of variables, for whoever takes it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Texts, Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document
    from vramguard.source.dotenv import Entry


def extract(document: Document) -> Iterator[Texts]:
    """All variables of the file as one fact."""
    if document.value:
        values = {entry.key: _word(document.path, entry) for entry in document.value}
        yield Texts(Location(document.path), "dotenv", document.path, values)


def _word(path: str, entry: Entry) -> Word:
    end = entry.column + len(entry.value.partition("\n")[0])
    return Word(entry.value, Location(path, entry.row, entry.column, entry.row, end), entry.known)
