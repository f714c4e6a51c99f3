"""Facts of how images are made and started: a Dockerfile's stages, scripts, settings of debugging in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vramguard.facts.values import Word
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Copied:
    """A COPY or an ADD. `stage`: whose files they are, by name or number; empty for those of the build context."""

    at: Location
    sources: tuple[str, ...]
    target: str
    stage: str = ""


@dataclass(frozen=True, slots=True)
class ImageStage:
    """One stage of a Dockerfile with what it does itself. `image` is what it begins with outside of the file.

    `base`: the number of the stage of the same file that it begins with, counted from 0; None for an image.
    `start` and `arguments` are ENTRYPOINT and CMD, as the stage before may have left them: the words of a list, or the
    text for `shell`.
    """

    at: Location
    name: str
    image: Word
    base: int | None = None
    runs: tuple[Word, ...] = ()
    copies: tuple[Copied, ...] = ()
    env: Mapping[str, Word] = field(default_factory=dict)  # ENV, that of its base too
    start: tuple[Word, ...] | Word | None = None
    arguments: tuple[Word, ...] | Word | None = None
    started: Location | None = None
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    labels: Mapping[str, Word] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Dockerfile: its stages in order, of which the last is the image."""

    at: Location
    stages: tuple[ImageStage, ...]


@dataclass(frozen=True, slots=True)
class ScriptText:
    """A shell script that may start a server, or install what a cluster needs."""

    at: Location
    text: Word


@dataclass(frozen=True, slots=True)
class DebugSetting:
    """A line of Python that leaves debugging on: what it calls or sets, as written, and the name that rules know."""

    at: Location
    name: str  # set_detect_anomaly, debug, reload; or an environment variable
    value: str
    written: str  # `app.run(debug=True)`
    guarded: bool = False  # only where the module is the program: under `if __name__ == "__main__"`
    model: bool = False  # whether the module speaks of a model
    serves: bool = False  # whether it answers requests
