"""Certificates of ours, as JSON; every other file that is called a proof is none of ours."""

from __future__ import annotations

from vramguard.source import Parsed, ParseError
from vramguard.source import json as plain

_MARK = '"vramguard.certificate/'


def parse(text: str) -> Parsed:
    """Its values and places; one that is no good JSON has none, and is still a certificate. Raises `ParseError`."""
    if _MARK not in text:
        raise ParseError("no certificate")
    try:
        value, locate, _ = plain.parse(text)  # a key given twice is refused with the rest, by its digest
    except ParseError:
        return Parsed({}, dict)
    return Parsed(value, locate)
