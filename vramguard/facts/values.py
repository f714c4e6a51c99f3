"""What a fact is made of: values that may not be knowable, words of commands, what a path is for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Unknown:
    """Written, but not knowable from the text alone."""

    text: str


class PathClass(StrEnum):
    """What a file is for. Rules may treat the classes apart; everything not recognised is serving."""

    SERVING = "serving"
    TRAINING = "training"
    TEST = "test"
    EXAMPLE = "example"
    DOCS = "docs"
    VENDORED = "vendored"
    GENERATED = "generated"


# Classes whose code is nobody's to mend, or says nothing of what serves.
UNREAD = (PathClass.TEST, PathClass.VENDORED, PathClass.GENERATED)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command line, the value of a variable, or the text of a script; and where it stands.

    `known`: whether the text is what the program gets. Where it is not (`--model=$MODEL`, `{{ .Values.model }}`), the
    text is as written. `first`: line and column of the text's own first character where its lines stand in the file
    as they are (a script, a literal block of YAML); None where only `at` can be told.
    """

    text: str
    at: Location
    known: bool = True
    first: tuple[int, int] | None = None

    @property
    def value(self) -> str | Unknown:
        """The text, as a field of a fact holds it."""
        return self.text if self.known else Unknown(self.text)

    def place(self, line: int, column: int = 0, length: int = 1) -> Location:
        """Where a stretch of a line of the text stands, line and column counted from 0."""
        if self.first is None:
            return self.at
        row, start = self.first[0] + line, self.first[1] + column
        return Location(self.at.path, row, start, row, start + length)


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that another object of the cluster holds: `valueFrom`, `envFrom` (without a `key`), a mounted file."""

    at: Location
    kind: str  # ConfigMap, Secret, or the name of the `valueFrom` (fieldRef)
    name: str
    key: str | None = None
    optional: bool = False
