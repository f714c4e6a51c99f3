"""Text that remembers where each part of it was written: in a template, in a file of values, or nowhere."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.source import Location, Ruler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# What cannot be told, as it stands in a text: a plain scalar of YAML wherever it is put, and a renderer's mark.
MARK: Final = re.compile(r"<%[\w.]*%>")
_NAME: Final = re.compile(r"[^\w.]+")
_MAX_NAME: Final = 60


def mark(name: str) -> str:
    """The placeholder of what cannot be told, the same for the same name so that names still join."""
    return f"<%{_NAME.sub('.', name).strip('.')[:_MAX_NAME]}%>"


@dataclass(frozen=True)
class Origin:
    """A file that text is taken from as it stands."""

    path: str
    text: str

    @cached_property
    def _ruler(self) -> Ruler:
        return Ruler(self.text)

    def at(self, start: int, end: int) -> Location:
        """The place of a stretch of it."""
        return Location(self.path, *self._ruler.span(start, end))


class Spot(NamedTuple):
    """An offset in a file. `verbatim`: the text stands there as it is, and is not made by what stands there."""

    origin: Origin
    offset: int
    verbatim: bool = True


class Piece(NamedTuple):
    """A text, and where it was written; None of what only the template that asks for it can place."""

    text: str
    place: Spot | Location | None = None


class Pieces(tuple[Piece, ...]):
    """A text of several origins."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(piece.text for piece in self)

    @property
    def place(self) -> Spot | Location | None:
        """The one place of a value that it is made of; None where there are several, or none."""
        places = {piece.place for piece in self if piece.text and isinstance(piece.place, Location)}
        return places.pop() if len(places) == 1 else None

    def changed(self, change: Callable[[str], str]) -> Pieces:
        """The text made another, at the place of the value that it is made of."""
        return Pieces((Piece(change(self.text), self.place),))

    def indented(self, width: int) -> Pieces:
        """Each line moved to the right, with the places that its parts have."""
        gap = " " * width
        found = [Piece(gap)]
        for text, place in self:
            offset = 0
            for number, line in enumerate(text.split("\n")):
                if number:
                    found.append(Piece(f"\n{gap}"))
                found.append(Piece(line, _later(place, offset)))
                offset += len(line) + 1
        return Pieces(found)


def _later(place: Spot | Location | None, offset: int) -> Spot | Location | None:
    return place._replace(offset=place.offset + offset) if isinstance(place, Spot) and place.verbatim else place


class Written:
    """A text that was put together, and the places of its parts."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        held = [piece for piece in pieces if piece.text]
        self.text = "".join(piece.text for piece in held)
        self._pieces = held
        self._starts: list[int] = []
        total = 0
        for piece in held:
            self._starts.append(total)
            total += len(piece.text)

    def at(self, start: int, end: int) -> Location | None:
        """Where a stretch was written: where its value was, if it is made of one, or else in the template."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = max(bisect_right(self._starts, max(end - 1, start)) - 1, first)
        held = self._pieces[first : last + 1]
        values = {piece.place for piece in held if isinstance(piece.place, Location)}
        if len(values) == 1:
            return values.pop()
        if not held:
            return None
        place = held[0].place
        if isinstance(place, Spot):
            if not place.verbatim:
                return place.origin.at(place.offset, place.offset)
            before = start - self._starts[first]
            length = min(end, self._starts[first] + len(held[0].text)) - start
            return place.origin.at(place.offset + before, place.offset + before + max(length, 0))
        return place or next((spot for piece in held if (spot := _spot(piece.place))), None)

    def values(self, start: int, end: int) -> frozenset[Location]:
        """Where the values stand that a stretch is made of."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = max(bisect_right(self._starts, max(end - 1, start)) - 1, first)
        places = (piece.place for piece in self._pieces[first : last + 1])
        return frozenset(place for place in places if isinstance(place, Location))

    def verbatim(self, start: int, end: int) -> Location | None:
        """Where a stretch stands as it is in one file; None where it was put together."""
        first = max(bisect_right(self._starts, start) - 1, 0)
        if first >= len(self._pieces):
            return None
        piece, begins = self._pieces[first], self._starts[first]
        if not isinstance(piece.place, Spot) or not piece.place.verbatim or begins + len(piece.text) < end:
            return None
        offset = piece.place.offset - begins
        return piece.place.origin.at(start + offset, end + offset)


def _spot(place: Spot | Location | None) -> Location | None:
    return place.origin.at(place.offset, place.offset) if isinstance(place, Spot) else place


_FIRST_LINE: Final = re.compile(r"\s*?\n([ \t]*)(\S[^\n]*)")
_VARIABLE: Final = re.compile(r"\{\{-?\s{0,9}(\$\w{1,100})\s{0,9}=")


@lru_cache(maxsize=4096)  # a loop leaves the same block out each time
def looks_of(text: str) -> tuple[str | None, bool, tuple[str, ...]]:
    """Of a block's text: the gap before its first line, None if it has no lines; whether that is a list's item, or,
    without lines, whether there is anything; and the variables that are assigned to within.
    """
    assigned = tuple(dict.fromkeys(_VARIABLE.findall(text)))
    line = _FIRST_LINE.match(text)
    if line is None:
        return None, "\n" not in text and bool(text.strip()), assigned
    return line[1], line[2].startswith("- "), assigned
