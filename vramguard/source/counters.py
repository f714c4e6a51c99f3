"""The counters of dcgm-exporter: a CSV that lists which fields of a card it exports, a `#` before those it does not.

A line is `field, type of metric, help` (NVIDIA/dcgm-exporter, etc/default-counters.csv).
"""

from __future__ import annotations

import re

from vramguard.source import Parsed, ParseError, Place, Ruler

_LINE = re.compile(r"^[ \t]*(DCGM_(?:FI|EXP)_\w+)[ \t]*,", re.MULTILINE)
_MOST = 5000  # fields; DCGM knows about a thousand


def parse(text: str) -> Parsed:
    """The names of the fields, in the order of the text. Raises `ParseError` for a table of something else."""
    found = [match for _, match in zip(range(_MOST), _LINE.finditer(text), strict=False)]
    if not found:
        raise ParseError("no field of DCGM stands here")

    def locate() -> dict[tuple[str | int, ...], Place]:
        ruler = Ruler(text)
        spans = [ruler.span(*match.span(1)) for match in found]
        return {(number,): Place(span, span) for number, span in enumerate(spans)}

    return Parsed([match[1] for match in found], locate)
