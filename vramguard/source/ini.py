"""setup.cfg and tox.ini: sections of keys, whose values may go on over indented lines.

As `configparser` reads them: `=` or `:` after a key, `#` and `;` begin a comment only at the start of a line, and a
line that is indented deeper than its key goes on with the key's value. Nothing is filled in (`%(x)s`, `{[x]y}`).
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from vramguard.source import KeyPath, Parsed, Place, Span

_SECTION: Final = re.compile(r"\[([^\]\n]+)\]")
_KEY: Final = re.compile(r"([^\s=:#;\[][^=:\n]*)([=:])")
MAX_LINES: Final = 50_000


def parse(text: str) -> Parsed:
    """Sections by name, their keys in lower case, and of each value its lines, stripped; no blank ones or comments.

    `(section, key)` is the place of the whole line, `(section, key, n)` that of the n-th line of its value.
    """
    reader = _Reader()
    for number, line in enumerate(text.split("\n")[:MAX_LINES], 1):
        reader.line(number, line)
    return Parsed(reader.value, lambda: reader.places)


class _Open(NamedTuple):
    """The key whose value may go on."""

    section: str
    key: str
    indent: int


class _Reader:
    def __init__(self) -> None:
        self.value: dict[str, dict[str, list[str]]] = {}
        self.places: dict[KeyPath, Place] = {}
        self._section = ""
        self._open: _Open | None = None

    def line(self, number: int, line: str) -> None:
        """Take in one line."""
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if not bare or bare[0] in "#;":
            return
        if self._open is not None and indent > self._open.indent:
            self._add(self._open, number, line, indent)
            return
        self._open = None
        section = _SECTION.match(bare)
        if section:
            self._section = section[1].strip()
            self.value.setdefault(self._section, {})
            return
        key = _KEY.match(line, indent)
        if key and self._section:
            self._key(number, line, key, indent)

    def _key(self, number: int, line: str, match: re.Match[str], indent: int) -> None:
        name = match[1].strip().lower()
        self._open = _Open(self._section, name, indent)
        self.value[self._section][name] = []
        span = Span(number, indent + 1, number, len(line.rstrip()) + 1)
        self.places[self._section, name] = Place(
            Span(number, indent + 1, number, indent + 1 + len(match[1].rstrip())), span
        )
        if line[match.end() :].strip():
            self._add(
                self._open, number, line, match.end() + len(line[match.end() :]) - len(line[match.end() :].lstrip())
            )

    def _add(self, key: _Open, number: int, line: str, start: int) -> None:
        lines = self.value[key.section][key.key]
        span = Span(number, start + 1, number, len(line.rstrip()) + 1)
        self.places[key.section, key.key, len(lines)] = Place(span, span)
        lines.append(line[start:].strip())
