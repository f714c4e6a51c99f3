"""A CODEOWNERS file, where a forge looks for one: the root, `.github/`, `.gitlab/`, `docs/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts.pipelines import CodeOwners, OwnerRule
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document


def extract(document: Document) -> Iterator[CodeOwners]:
    """The lines of the file."""
    rows = enumerate(document.value)
    rules = tuple(OwnerRule(document.at(number), row[0], tuple(row[1:])) for number, row in rows)
    yield CodeOwners(Location(document.path), rules)
