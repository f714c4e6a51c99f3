"""HAProxy's configuration: sections of lines of words (HAProxy 3.2, configuration manual, 2.1 to 2.3).

A section is `{"section": "backend", "name": ..., "lines": [[word, ...], ...]}`; a file is a list of them.
"""

from __future__ import annotations

import re
from typing import Any

from vramguard.source import KeyPath, Parsed, Place, Span

MAX_CHARACTERS = 1 << 20
SECTIONS = frozenset(
    (
        *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "cache", "mailers"),
        *("program", "ring", "http-errors", "log-forward", "fcgi-app", "crt-store", "traces"),
    )
)
_WORD = re.compile(r"(?:[^\s\"'\\#]|\\.|\"(?:[^\"\\]|\\.)*+\"|'[^']*+')++")
_ESCAPED = re.compile(r"\\(.)|[\"']")


def parse(text: str) -> Parsed:
    """Parse a file; an empty list for one that is too long to be written by hand."""
    sections: list[dict[str, object]] = []
    places: dict[KeyPath, Place] = {}
    for number, line in enumerate(text.split("\n") if len(text) <= MAX_CHARACTERS else (), start=1):
        found = _words(line)
        if not found:
            continue
        words = [word for word, _, _ in found]
        span = Span(number, found[0][1] + 1, number, found[-1][2] + 1)
        if words[0] in SECTIONS:
            sections.append({"section": words[0], "name": words[1] if len(words) > 1 else "", "lines": []})
            places[(len(sections) - 1,)] = Place(span, span)
        elif sections:
            held: Any = sections[-1]["lines"]
            path = (len(sections) - 1, "lines", len(held))
            held.append(words)
            places[path] = Place(span, span)
            for at, (_, start, end) in enumerate(found):
                word = Span(number, start + 1, number, end + 1)
                places[(*path, at)] = Place(word, word)
    return Parsed(sections, lambda: places)


def _words(line: str) -> list[tuple[str, int, int]]:
    """The words of a line up to its comment, each with where it starts and ends."""
    found: list[tuple[str, int, int]] = []
    offset = 0
    while offset < len(line):
        if line[offset].isspace():
            offset += 1
            continue
        match = _WORD.match(line, offset)
        if match is None:  # a comment, or a quote that nobody closes
            break
        found.append((_ESCAPED.sub(lambda one: one[1] or "", match[0]), match.start(), match.end()))
        offset = match.end()
    return found
