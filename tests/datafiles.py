"""Files of data for tests: their sample, their rows, their fact."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from vramguard.extract.datafiles import extract
from vramguard.source import Document, kind_of
from vramguard.source.sampling import Rows, read_sample, sampled

if TYPE_CHECKING:
    from vramguard.facts import DataFile
    from vramguard.facts.datafiles import Sign


def rows_of(path: str, content: str | bytes) -> Rows:
    """The rows that are read of a file."""
    document = _document(path, content)
    assert isinstance(document.value, Rows)
    return document.value


def fact_of(path: str, content: str | bytes) -> DataFile:
    """The fact that a file states."""
    (found,) = extract(_document(path, content))
    return found


def signs_of(path: str, content: str | bytes) -> dict[str, Sign]:
    """The first sign of each kind that a file shows."""
    found: dict[str, Sign] = {}
    for sign in fact_of(path, content).signs:
        found.setdefault(sign.kind, sign)
    return found


def _document(path: str, content: str | bytes) -> Document:
    data = content.encode() if isinstance(content, str) else content
    kind = kind_of(path) or ""
    document = read_sample(path, sampled(BytesIO(data), len(data), kind), kind)
    assert isinstance(document, Document)
    assert document.kind == kind
    return document
