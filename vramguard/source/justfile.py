"""justfiles."""

from __future__ import annotations

from vramguard.source import Parsed


def parse(text: str) -> Parsed:
    """The text."""
    return Parsed(text, dict)
