"""A lock file's text, read."""

from __future__ import annotations

from vramguard.extract import extract
from vramguard.facts import Lock
from vramguard.source import Document, read


def lock(text: str, path: str) -> Lock:
    """The one fact of a lock file."""
    document = read(path, text.encode())
    assert isinstance(document, Document)
    (found,) = extract(document)
    assert isinstance(found, Lock)
    return found
