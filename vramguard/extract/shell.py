"""A shell script: a place where something may be started, if it speaks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.facts import Launch, Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document


def extract(document: Document) -> Iterator[Launch]:
    """The script as one launch; what it starts is for `link/launches` to say."""
    if mentions(document.text):
        at = Location(document.path)
        name = document.path.rpartition("/")[2]
        yield Launch(at, "shell", name, script=Word(document.text, at, first=(1, 1)))
