"""A pixi.toml, and the tables of a pyproject.toml that are pixi's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document


def extract(document: Document) -> Iterator[Fact]:  # noqa: ARG001
    """Every fact."""
    yield from ()
