"""Where words stand whose text was unescaped, folded or put together: each is looked for behind the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = 60  # that a text may reach down from the one character of which its place is known
_LONGEST = 2000
_OF_NAMES = "_.-"


def traced(
    words: tuple[Word, ...], script: Word, lines: Sequence[str], cursor: tuple[int, int]
) -> tuple[tuple[Word, ...], tuple[int, int]]:
    """The words of a script's command in their own places from the cursor on, a line and a column; and the new cursor.

    A word that is not found there keeps the script's place.
    """
    at = script.at
    last = at.end_line if at.end_line > at.line else at.line + min(_ROWS, script.text.count("\n") + _ROWS // 2)
    found: list[Word] = []
    for word in words:
        place = None
        if word.at[:3] == at[:3] and 0 < len(word.text) < _LONGEST and "\n" not in word.text:
            place = _after(word.text, lines, cursor, last)
        if place is None:
            found.append(word)
            continue
        end = place[1] + len(word.text)
        cursor = place[0], end
        here = at._replace(line=place[0], column=place[1], end_line=place[0], end_column=end)
        found.append(Word(word.text, here, word.known))
    return tuple(found), cursor


def _after(text: str, lines: Sequence[str], cursor: tuple[int, int], last: int) -> tuple[int, int] | None:
    """Line and column of a text that stands by itself."""
    for row in range(cursor[0], min(last, len(lines)) + 1):
        line = lines[row - 1]
        column = line.find(text, cursor[1] - 1 if row == cursor[0] else 0)
        while column >= 0:
            if _ends(line[column - 1 : column]) and _ends(line[column + len(text) : column + len(text) + 1]):
                return row, column + 1
            column = line.find(text, column + 1)
    return None


def _ends(char: str) -> bool:
    return not (char.isalnum() or (char != "" and char in _OF_NAMES))
