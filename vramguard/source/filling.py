"""Texts with something filled in, within a bound: a hundred marks of one long value would be gigabytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

MAX_FILLED: Final = 1 << 13  # characters that are filled into one text; a path has at most 4096


def filled(pattern: re.Pattern[str], fill: Callable[[re.Match[str]], str], text: str) -> str | None:
    """`pattern.sub(fill, text)`; None where more than `MAX_FILLED` characters would be filled in.

    A text that is one mark and nothing else becomes what is filled in, however long.
    """
    parts: list[str] = []
    start = grown = 0
    for match in pattern.finditer(text):
        value = fill(match)
        if match.end() - match.start() == len(text):
            return value
        grown += len(value) - len(match[0])
        if grown > MAX_FILLED:
            return None
        parts += (text[start : match.start()], value)
        start = match.end()
    return "".join((*parts, text[start:])) if parts else text
