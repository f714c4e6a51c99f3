"""What several tests of manifests share: launches of a text, of several files, and their words."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes import extract
from vramguard.facts import Facts, Launch, Unknown, Word
from vramguard.link.manifests import joined
from vramguard.source import Document, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Fact

Known = str | int | None


def facts(text: str, path: str = "deploy.yaml") -> list[Fact]:
    """Every fact of one file."""
    document = read(path, textwrap.dedent(text).encode())
    assert isinstance(document, Document), document
    return list(extract(document))


def launches(text: str, path: str = "deploy.yaml") -> list[Launch]:
    """Every launch of one file."""
    return [fact for fact in facts(text, path) if isinstance(fact, Launch)]


def launch(text: str, path: str = "deploy.yaml") -> Launch:
    """The one launch of a file."""
    (found,) = launches(text, path)
    return found


def together(files: Mapping[str, str]) -> list[Launch]:
    """Every launch of several files, joined."""
    return list(joined(Facts([fact for path, text in files.items() for fact in facts(text, path)])))


def texts(words: tuple[Word, ...]) -> list[str]:
    """What the words say."""
    return [word.text for word in words]


def given(launch: Launch) -> dict[str, str]:
    """What the place itself states."""
    return {field: word.text for field, word in launch.given.items()}


def cards(launch: Launch) -> dict[str, Known]:
    """The hardware that is said, what is not knowable with a question mark."""
    names = ("gpu", "gpus", "nodes", "share", "accelerator")
    values = {name: getattr(launch.hardware, name) for name in names}
    said = {name: f"?{value.text}" if isinstance(value, Unknown) else value for name, value in values.items()}
    return {name: value for name, value in said.items() if value is not None}


def lines(launch: Launch) -> dict[str, int]:
    """The line of every field of the hardware."""
    return {name: place.line for name, place in launch.hardware.places.items()}
