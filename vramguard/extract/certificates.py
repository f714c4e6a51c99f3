"""Certificates of proofs that are committed beside what they prove. Whether one holds is not said here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document


def extract(document: Document) -> Iterator[Certificate]:
    """The certificate that a file is."""
    places = {keys: document.at(*keys) for keys in document.places}
    yield Certificate(document.at("schema"), document.text, places)
