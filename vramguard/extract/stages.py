"""A Dockerfile, stage by stage: what each begins with, runs, takes from others, and leaves to be started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.extract.dockerfile import MAX_STAGES, Stage, instruction_words, started, steps, without_flags
from vramguard.facts import Word
from vramguard.facts.imaging import Copied, ImageStage, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

_FROM: Final = re.compile(r"(?:^|\s)--from=(\S+)")
_MAX_COPIES: Final = 500


def extract(document: Document) -> Iterator[Recipe]:
    """The one recipe of a Dockerfile that has stages."""
    read: list[_Reading] = []
    for stage, keyword, text in steps(document):
        if not read or read[-1].stage is not stage:
            if len(read) == MAX_STAGES:
                return
            read.append(_Reading(stage, _number(_base(stage), read)))
        read[-1].take(keyword, text)
    if read:
        yield Recipe(document.at(), tuple(one.made() for one in read))


def _base(stage: Stage) -> str:
    """The name of what a stage begins with, which may be a stage's: `FROM ${VARIANT}-base`."""
    return stage.base or (stage.image.text if stage.image.known else "")


def _number(name: str, before: list[_Reading]) -> int | None:
    """The number of the stage of a name, the latest of several."""
    found = (
        len(before) - 1 - back for back, one in enumerate(reversed(before)) if one.stage.name.lower() == name.lower()
    )
    return next(found, None) if name else None


class _Reading:
    """A stage as it is read."""

    def __init__(self, stage: Stage, base: int | None) -> None:
        self.stage = stage
        self._base = base
        self._copies: list[Copied] = []
        self._shell: tuple[str, ...] = ("/bin/sh", "-c")
        self._labels: dict[str, Word] = {}

    def take(self, keyword: str, text: Word) -> None:
        if keyword in {"COPY", "ADD"} and len(self._copies) < _MAX_COPIES and "<<" not in text.text:
            origin = _FROM.search(text.text)
            words = _words(text, self.stage)
            if len(words) > 1:
                *sources, target = (word.text for word in words)
                self._copies.append(Copied(text.at, tuple(sources), target, origin[1].strip("\"'") if origin else ""))
        elif keyword == "SHELL":
            begun = started(text)
            if isinstance(begun, tuple):
                self._shell = tuple(word.text for word in begun)
        elif keyword == "LABEL":
            for word in instruction_words(text, self.stage.variables):
                name, equals, value = word.text.partition("=")
                if equals:
                    self._labels[name] = Word(value, word.at, word.known)

    def made(self) -> ImageStage:
        stage = self.stage
        return ImageStage(
            *(stage.at, stage.name, stage.image, self._base, tuple(stage.runs), tuple(self._copies), dict(stage.env)),
            *(stage.start, stage.arguments, stage.started, self._shell, self._labels),
        )


def _words(text: Word, stage: Stage) -> list[Word]:
    bare = without_flags(text)
    begun = started(bare)
    return list(begun) if isinstance(begun, tuple) else list(instruction_words(bare, stage.variables))
