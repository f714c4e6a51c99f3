"""OpenAPI and JSON Schema in JSON, told by the file's name; lenient: many a `schema.json` is something else.

Keys given twice are no flaw here: nobody deploys the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.source import Parsed
from vramguard.source.json import parse as parse_json

if TYPE_CHECKING:
    from vramguard.source import KeyPath, Place

_MARKS: Final = ('"openapi"', '"swagger"', '"$schema"', '"properties"')


def parse(text: str) -> Parsed:
    """The values of a JSON text that describes others; None where it does not. Raises `ParseError`."""
    if not any(mark in text for mark in _MARKS):
        return Parsed(None, _nowhere)
    found = parse_json(text)
    return Parsed(found.value, found.locate)


def _nowhere() -> dict[KeyPath, Place]:
    return {}
