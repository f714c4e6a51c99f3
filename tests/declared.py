"""What the tests of declarations share: a file's requirements as rows, and its other facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from vramguard.extract import extract
from vramguard.facts import Requirement, Unknown
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.facts import Fact

F = TypeVar("F")
UNKNOWN = "unknown"


class Row(NamedTuple):
    """A requirement in short; `pinned` is "unknown" where it is."""

    line: int
    name: str
    specifier: str
    pinned: object
    section: str


def facts(path: str, text: str) -> list[Fact]:
    document = read(path, text.encode())
    assert isinstance(document, Document), document
    return list(extract(document))


def of(path: str, text: str, kind: type[F]) -> list[F]:
    return [fact for fact in facts(path, text) if isinstance(fact, kind)]


def requirements(path: str, text: str, form: str) -> list[Requirement]:
    return [found for found in of(path, text, Requirement) if found.form == form]


def rows(path: str, text: str, form: str) -> list[Row]:
    return [
        Row(r.at.line, r.name, r.specifier, UNKNOWN if isinstance(r.pinned, Unknown) else r.pinned, r.section)
        for r in requirements(path, text, form)
    ]


def written(text: str, found: Requirement) -> str:
    """What stands at the place of a requirement, quotes aside."""
    at = found.at
    assert at.line == at.end_line
    return text.split("\n")[at.line - 1][at.column - 1 : at.end_column - 1].strip("\"'")
