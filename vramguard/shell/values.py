"""What a variable holds while a script is read: text in pieces, each known or not, each with its place."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from vramguard.source import Location

MAX_TEXT = 1 << 16  # characters of a value or a word; `A=$A$A` doubles with every line
MAX_PIECES = 500  # of a value
MAX_FIELDS = 5000  # of an array, or of a command


class ExhaustedError(Exception):
    """A script asks for more work than one that people write."""


class Piece(NamedTuple):
    """A stretch of text. `given`: not known only because nobody has given it yet (an argument, an unset variable)."""

    text: str
    at: Location
    known: bool = True
    first: tuple[int, int] | None = None  # of text that stands in the file as it is
    given: bool = False
    quoted: bool = True  # an unquoted one ends at white space


Text = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable's texts: one, or those of an array."""

    texts: tuple[Text, ...]
    array: bool = False

    @property
    def given(self) -> bool:
        """Whether it holds nothing but what somebody else may give: `MODEL=$1`."""
        return len(self.texts) == 1 and bool(self.texts[0]) and all(piece.given for piece in self.texts[0])

    @property
    def plain(self) -> str | None:
        """The text of one that is known."""
        return plain(self.texts[0]) if len(self.texts) == 1 else None


def plain(text: Iterable[Piece]) -> str | None:
    """The whole of a text, None if a part of it is not known."""
    found = ""
    for piece in text:
        if not piece.known:
            return None
        found += piece.text
    return found


def bounded(text: Iterable[Piece], at: Callable[[], Location]) -> Text:
    """A text without its empty pieces; one that has grown beyond reason is not known."""
    pieces = tuple(piece for piece in text if piece.text)
    if len(pieces) > MAX_PIECES or sum(len(piece.text) for piece in pieces) > MAX_TEXT:
        return (Piece("$…", at(), known=False),)
    return pieces


def word(field: Sequence[Piece]) -> Word:
    """The word that the pieces of a field make.

    It stands where its first piece does; `--flag=$VALUE` where the value does, which is what a change would mend.
    """
    rest = field if len(field) == 1 else [piece for piece in field if piece.text] or field[:1]
    if len(rest) == 1:
        return Word(rest[0].text, rest[0].at, rest[0].known, rest[0].first)
    known = all(piece.known for piece in rest)
    of_value = len(rest) == 2 and rest[0].known and rest[0].text.endswith("=") and rest[1].known  # noqa: PLR2004
    return Word("".join(piece.text for piece in rest), rest[1 if of_value else 0].at, known)


_SPACE = re.compile(r"\s")
_PARTS = re.compile(r"\s+|\S+")


def fields(pieces: Iterable[Piece | None]) -> Iterator[list[Piece]]:
    """The fields of expanded text: split at None, and at white space that stands unquoted in what is known."""
    field: list[Piece] = []
    for piece in pieces:
        if piece is None or (piece.known and not piece.quoted and _SPACE.search(piece.text)):
            for part in [None] if piece is None else _split(piece):
                if part is not None:
                    field.append(part)
                elif field:
                    yield field
                    field = []
        elif piece.text or piece.quoted:
            field.append(piece)
    if field:
        yield field


def _split(piece: Piece) -> Iterator[Piece | None]:
    """The words of an unquoted piece, None where a gap is."""
    whole = Word(piece.text, piece.at, first=piece.first)
    row = line = 0  # the line of the text, and where it begins
    for part in _PARTS.finditer(piece.text):
        start = part.start()
        if part[0].isspace():
            row += part[0].count("\n")
            line = start + part[0].rfind("\n") + 1 if "\n" in part[0] else line
            yield None
        elif piece.first is None:
            yield Piece(part[0], piece.at)
        else:
            at = whole.place(row, start - line, len(part[0]))
            if row == 0:  # the lines after the first begin where the script's own do
                at = piece.at._replace(column=piece.at.column + start, end_column=piece.at.column + part.end())
            yield Piece(part[0], at, first=(at.line, at.column))


class State:
    """The variables at one point of a script. A branch has its own, which is merged or dropped after it."""

    def __init__(self, variables: Mapping[str, Word]) -> None:
        self._branches: list[dict[str, Variable | None]] = [{name: _outer(word) for name, word in variables.items()}]
        self.exported: dict[str, None] = {}

    def get(self, name: str) -> Variable | None:
        """The variable, None if it is not set."""
        for branch in reversed(self._branches):
            if name in branch:
                return branch[name]
        return None

    def set(self, name: str, value: Variable | None) -> None:
        """Give a variable its value, in this branch."""
        self._branches[-1][name] = value

    def enter(self) -> None:
        """Begin a branch."""
        self._branches.append({})

    def leave(self) -> dict[str, Variable | None]:
        """End a branch, and say what it has set."""
        return self._branches.pop()

    def adopt(self, branch: Mapping[str, Variable | None]) -> None:
        """Let what a branch has set hold."""
        self._branches[-1].update(branch)

    def merge(self, branches: Sequence[Mapping[str, Variable | None]], at: Callable[[], Location]) -> None:
        """Any one of the branches was taken: what they do not agree on is not known from here on."""
        for name in {name for branch in branches for name in branch}:
            outer = self.get(name)
            self.set(name, merged(name, [branch.get(name, outer) for branch in branches], at()))


def _outer(word: Word) -> Variable:
    return Variable(((Piece(word.text, word.at, word.known, word.first),) if word.text else (),))


def merged(name: str, found: Sequence[Variable | None], at: Location) -> Variable | None:
    """One value for several that a variable may have. What only an argument would give gives way to any default."""
    values = [value for value in found if value is None or not value.given] or list(found)
    first = values[0]
    if all(_same(value, first) for value in values):
        return first
    arrays = [value for value in values if value is not None and value.array]
    if arrays:
        shortest = _common([value.texts if value else () for value in values])
        rest = (Piece(f"${{{name}[@]}}", at, known=False),)
        return Variable((*shortest, rest), array=True)
    texts = [value.texts[0] for value in values if value]
    start = _common(texts) if len(texts) == len(values) else ()
    gap = [Piece(" ", at)] if any(text[len(start) :] and text[len(start)].text[:1].isspace() for text in texts) else []
    return Variable(((*start, *gap, Piece(f"${name}", at, known=False)),))


def _same(one: Variable | None, other: Variable | None) -> bool:
    if one is None or other is None:
        return one is other
    return one.array == other.array and [_bare(text) for text in one.texts] == [_bare(text) for text in other.texts]


def _bare(text: Text) -> list[tuple[str, bool]]:
    return [(piece.text, piece.known) for piece in text]


def _common(sequences: Sequence[tuple[object, ...]]) -> tuple:  # type: ignore[type-arg]
    """The items that all begin with."""
    shortest = min(sequences, key=len)
    for number, item in enumerate(shortest):
        if any(sequence[number] != item for sequence in sequences):
            return shortest[:number]
    return shortest
