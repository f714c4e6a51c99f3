"""Options of commands that start another: which of them take the next word, and where they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Options:
    """The options of a command.

    `flags` take no value, `valued` the next word; an option of neither takes the next word if `open_ended`, unless it
    has a `=`. `short` are the letters of short options that take a value, which may follow the letter at once.
    """

    valued: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    short: str = ""
    open_ended: bool = False


class Read(NamedTuple):
    """Options with their values (None of a flag), in order, and the words after them."""

    options: list[tuple[str, Word | None]]
    rest: tuple[Word, ...]

    def last(self, *names: str) -> Word | None:
        """The value of the last option of these names."""
        return next((value for name, value in reversed(self.options) if name in names), None)

    def every(self, *names: str) -> list[Word]:
        """The values of all options of these names."""
        return [value for name, value in self.options if name in names and value is not None]


def options(valued: str = "", flags: str = "", *, short: str = "", open_ended: bool = False) -> Options:
    """`Options` from names with blanks between them."""
    return Options(frozenset(valued.split()), frozenset(flags.split()), short, open_ended)


def read(words: Sequence[Word], table: Options, extra: Mapping[str, bool] | None = None) -> Read:
    """The options at the beginning of words. `extra`: unknown words that are options (True), by their text."""
    found: list[tuple[str, Word | None]] = []
    number = 0
    while number < len(words):
        word = words[number]
        number += 1
        if word.text == "--":
            break
        if extra and extra.get(word.text) and not word.known:
            continue
        if not word.text.startswith("-") or word.text == "-":
            number -= 1
            break
        following = words[number] if number < len(words) else None
        own, takes = _option(word, following, table)
        found += own
        number += takes
    return Read(found, tuple(words[number:]))


def _option(word: Word, following: Word | None, table: Options) -> tuple[list[tuple[str, Word | None]], int]:
    """What one word says, and whether it takes the next."""
    name, equals, value = word.text.partition("=")
    if word.text.startswith("--") or name in table.valued or name in table.flags:
        if equals:
            return [(name, _value(word, len(name) + 1, value))], 0
        takes = name in table.valued or (table.open_ended and name not in table.flags)
        return [(name, following if takes else None)], int(takes)
    found: list[tuple[str, Word | None]] = []
    for place, letter in enumerate(word.text[1:], 1):
        if letter not in table.short:
            found.append((f"-{letter}", None))
            continue
        rest = word.text[place + 1 :].removeprefix("=")
        found.append((f"-{letter}", _value(word, len(word.text) - len(rest), rest) if rest else following))
        return found, int(not rest)
    return found, 0


def _value(word: Word, start: int, text: str) -> Word:
    at = word.at
    if at.line == at.end_line and at.end_column - at.column == len(word.text):
        at = at._replace(column=at.column + start)
    return Word(text, at, word.known)
