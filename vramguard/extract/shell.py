"""A shell script: a place where something may be started, and the manifests that it hands to a cluster."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.extract.engines import mentions
from vramguard.facts import Launch, Word
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_KIND: Final = re.compile(r"^kind: *([^\s#]+)", re.MULTILINE)
_FILLED_IN: Final = re.compile(
    r"^\$(?:\w+|\{\w+\}|\(.*\))\s*$", re.MULTILINE
)  # one variable, or command
_LONGEST: Final = 100_000  # characters; a longer script installs a product, whose manifests are generated


def extract(document: Document) -> Iterator[Fact]:
    """The script as one launch, whose meaning is for `link/launches`; and the manifests in its here-documents."""
    text = document.text
    if not mentions(text):
        return
    at = Location(document.path)
    script = Word(text, at, first=(1, 1))
    yield Launch(at, "shell", document.path.rpartition("/")[2], script=script)
    if "<<" in text and "apiVersion:" in text and len(text) < _LONGEST:
        yield from _manifests(script)


def _manifests(script: Word) -> Iterator[Fact]:
    """What `kubectl apply -f - <<EOF` hands on; what the script does not fill in stays as it is written."""
    from vramguard.extract.kubernetes import of_text
    from vramguard.shell import heredocs, written

    if not any(map(_may_serve, written(script.text))):
        return
    for body in heredocs(script):
        if "apiVersion:" in body.text and mentions(body.text):
            yield from of_text(replace(body, known=True))


def _may_serve(body: str) -> bool:
    """Whether a here-document, its variables not yet filled in, could become a manifest that is worth reading."""
    from vramguard.extract.kubernetes import NOTHING

    if "apiVersion:" not in body:
        return _FILLED_IN.search(body) is not None
    kinds = _KIND.findall(body)
    return not (kinds and NOTHING.issuperset(kinds)) and ("$" in body or mentions(body))
