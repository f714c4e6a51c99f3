"""Words of a command line, read as the engine that they start reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.link.launches.tables import Engine, Flag
    from vramguard.source import Location

# A word that stands for more than one: what a script was called with, or a variable that is empty as often as not.
_REST: Final = re.compile(
    r"\$(?:[@*]|\{[@*]|\(|\w*(?:ARGS?|OPTS?|OPTIONS|FLAGS?|PARAMS?|EXTRA)\w*\b|"
    r"\{\w*(?:ARGS?|OPTS?|OPTIONS|FLAGS?|PARAMS?|EXTRA)\w*)",
    re.IGNORECASE,
)
_NEGATIVE: Final = re.compile(r"-[0-9]")
_TRUTH: Final = ("true", "false", "1", "0", "yes", "no", "on", "off")
_SHORT: Final = re.compile(r"-[A-Za-z]")


_MOST: Final = 2000  # words of one command; nobody types more


class Said(NamedTuple):
    """A flag as it was given: `value` is None where none was; `negated` for `--no-…`."""

    flag: Flag
    spelled: str
    value: Word | None
    at: Location
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a command line says."""

    said: tuple[Said, ...]
    positional: tuple[Word, ...]
    strange: tuple[str, ...]  # flags that the engine's table does not know, as written
    blank: tuple[str, ...]  # words that somebody else fills in, and that were taken for nothing


def arguments(words: Sequence[Word], engine: Engine) -> Arguments:
    """Read the words that follow a program. Of a flag that is given twice, the last counts; all of them are told."""
    reader = _Reader(words[:_MOST], engine)
    reader.run()
    return Arguments(tuple(reader.said), tuple(reader.positional), tuple(reader.strange), tuple(reader.blank))


class _Reader:
    def __init__(self, words: Sequence[Word], engine: Engine) -> None:
        self._words, self._engine, self._next = words, engine, 0
        self.said: list[Said] = []
        self.positional: list[Word] = []
        self.strange: list[str] = []
        self.blank: list[str] = []

    def run(self) -> None:
        while self._next < len(self._words):
            word = self._words[self._next]
            self._next += 1
            if word.text == "--":
                self.positional.extend(self._words[self._next :])
                return
            if _is_flag(word):
                self._flag(word)
            elif not word.known and self._is_blank(word):
                self.blank.append(word.text)
            elif word.text.strip():
                self.positional.append(word)

    def _is_blank(self, word: Word) -> bool:
        """Whether a word that is not known stands where only flags could; the first one may be the model."""
        wanted = self._engine.positional is not None and not self.positional
        return not wanted or _REST.match(word.text) is not None

    def _flag(self, word: Word) -> None:
        name, joined, text = word.text.partition("=")
        known = word.known or (_unfilled(name) and not _unfilled(text))
        value = Word(text, word.at, known) if joined else None
        flag, negated = find(name, self._engine)
        if flag is None and not joined:
            split = _attached(name, self._engine)
            if split is not None:
                flag, value, joined = split[0], Word(split[1], word.at, word.known), "="
        if flag is None:
            self._strange(word, joined=bool(joined))
            return
        found = [value] if value is not None else self._values(flag, negated=negated)
        self.said.extend(Said(flag, name, each, word.at, negated) for each in found)

    def _strange(self, word: Word, *, joined: bool) -> None:
        """A flag that is not in the table: a word after it that is no flag is its value, as argparse would have it."""
        if not word.known and _unfilled(word.text.partition("=")[0]):
            self.blank.append(word.text)
            return
        after = [] if joined else list(self._ahead(1))
        self._next += len(after)
        self.strange.append(" ".join((word.text, *(each.text for each in after))))

    def _values(self, flag: Flag, *, negated: bool) -> list[Word | None]:
        """The words after a flag that are its own."""
        if flag.takes == "none" or negated:
            return [None]
        if flag.takes in ("switch", "maybe"):
            after = list(self._ahead(1))
            wanted = flag.takes == "maybe" or (after and after[0].text.lower() in _TRUTH)
            self._next += 1 if after and wanted else 0
            return [after[0]] if after and wanted else [None]
        after = list(self._ahead(1 if flag.takes == "one" else len(self._words)))
        self._next += len(after)
        return [*after] or [None]

    def _ahead(self, most: int) -> Iterator[Word]:
        for word in self._words[self._next : self._next + most]:
            if _is_flag(word) or word.text == "--":
                return
            yield word


def _is_flag(word: Word) -> bool:
    """Whether a word begins as a flag does; a negative number does not."""
    text = word.text
    return text.startswith("-") and len(text) > 1 and not _NEGATIVE.match(text) and text != "--" and " " not in text[:3]


def _unfilled(text: str) -> bool:
    return "$" in text or "{{" in text or "{%" in text


def find(name: str, engine: Engine) -> tuple[Flag | None, bool]:
    """The flag of that name, and whether it is asked for not to be: `_` is `-`, and argparse takes what begins it."""
    plain = name.replace("_", "-") if name.startswith("--") else name
    plain = plain.partition(".")[0] if plain.startswith("-") and "." in plain and plain not in engine.flags else plain
    flag = engine.flags.get(plain)
    if flag is not None:
        return flag, False
    if plain.startswith("--no-"):
        opposite = engine.flags.get("--" + plain.removeprefix("--no-"))
        if opposite is not None and opposite.takes in ("switch", "none"):
            return opposite, True
    if not engine.abbreviates or not plain.startswith("--") or len(plain) < 4:  # noqa: PLR2004 - `--x` is too little
        return None, False
    begun = {id(flag): flag for known, flag in engine.flags.items() if known.startswith(plain)}
    return (next(iter(begun.values())), False) if len(begun) == 1 else (None, False)


def _attached(name: str, engine: Engine) -> tuple[Flag, str] | None:
    """A short flag with its value in the same word: `-tp8`, `-O3`."""
    if not _SHORT.match(name) or engine.syntax not in ("argparse", "clap"):
        return None
    for length in range(min(len(name) - 1, 5), 1, -1):
        flag = engine.flags.get(name[:length])
        if flag is not None and flag.takes == "one":
            return flag, name[length:]
    return None
