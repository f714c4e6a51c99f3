"""Where words stand whose text was unescaped, folded or put together: each is looked for behind the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROWS = 60  # that a text may reach down from the one character of which its place is known
_LONGEST = 2000  # characters of a word
_MOST = 1_000_000  # characters that are looked through for the words of one script
_OF_NAMES = "_.-"


class Trace:
    """The words of one script, asked for in their order."""

    def __init__(self, script: Word, lines: Sequence[str]) -> None:
        self._at = at = script.at
        self._lines = lines
        self._row, self._column = at.line, at.column
        reach = at.line + min(_ROWS, script.text.count("\n") + _ROWS // 2)
        self._last = min(at.end_line if at.end_line > at.line else reach, len(lines))
        self._left = _MOST

    def words(self, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words of a command in their own places; one that is not found keeps the script's."""
        return tuple(self._placed(word) if word.at[:3] == self._at[:3] else word for word in words)

    def _placed(self, word: Word) -> Word:
        length = len(word.text)
        if not 0 < length < _LONGEST or "\n" in word.text or not self._find(word.text):
            return word
        begin, self._column = self._column, self._column + length
        at = self._at._replace(line=self._row, column=begin, end_line=self._row, end_column=self._column)
        return Word(word.text, at, word.known)

    def _find(self, text: str) -> bool:
        """Whether a text stands by itself behind the last one: then the cursor is there."""
        for row in range(self._row, self._last + 1):
            line = self._lines[row - 1]
            start = self._column - 1 if row == self._row else 0
            self._left -= len(line) - start
            if self._left < 0:
                return False
            column = line.find(text, start)
            while column >= 0:
                if _ends(line[column - 1 : column]) and _ends(line[column + len(text) : column + len(text) + 1]):
                    self._row, self._column = row, column + 1
                    return True
                column = line.find(text, column + 1)
        return False


def _ends(char: str) -> bool:
    return not (char.isalnum() or (char != "" and char in _OF_NAMES))
