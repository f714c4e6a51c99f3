"""Dashboards of Grafana and of Google Cloud, as JSON; every other JSON file is none of ours."""

from __future__ import annotations

from vramguard.source import Parsed, ParseError
from vramguard.source import json as plain

_MARKS = (('"panels"', '"expr"'), ('"rows"', '"expr"'), ('"prometheusQuery"',))


def is_dashboard(text: str) -> bool:
    """Whether a text may be a dashboard that asks Prometheus for something."""
    return any(all(mark in text for mark in marks) for marks in _MARKS)


def parse(text: str) -> Parsed:
    """The dashboard as it stands. Raises `ParseError` for what is none, or no JSON."""
    if not is_dashboard(text):
        raise ParseError("no dashboard")
    value, locate, _ = plain.parse(text)  # a key given twice is its editor's business
    return Parsed(value, locate)
