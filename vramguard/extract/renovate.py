"""Renovate's configuration, read whole (docs.renovatebot.com/configuration-options)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Manifest
from vramguard.facts.nodes import Node
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document


def extract(document: Document) -> Iterator[Manifest]:
    """The one configuration that the file is."""
    if isinstance(document.value, dict):
        yield Manifest(Location(document.path), "renovate", Node(document, (), document.value))
