"""What files of data hold that nobody wants a model to learn."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that rows of a file show: in which column (None: the rows themselves), in how many of how many rows."""

    kind: str  # no-data (of the file as a whole), error-page, sentinel, injection, gibberish, missing, duplicate
    column: str | None
    rows: int
    of: int
    lines: tuple[int, ...]  # of the first, as far as they are known
    example: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of data, of which `rows` rows were read: all of them where it is `whole`.

    `unread`: why none was, for one that cannot be read here. `attacks`: its own names say that it collects attacks.
    """

    at: Location
    format: str
    rows: int
    columns: int
    whole: bool
    signs: tuple[Sign, ...]
    attacks: bool = False
    unread: str = ""
