"""Shell scripts that start a server, install what a cluster needs or deploy, kept as text until somebody asks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Word
from vramguard.facts.imaging import ScriptText
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

_LONGEST: Final = 100_000
_WORTH: Final = re.compile(
    r"python|serve|uvicorn|gunicorn|vllm|launch|nvidia|gpu-operator|container-engine-accelerators"
    r"|kubectl|helm|docker|crontab|gsutil|\b(?:aws|gcloud|az|dvc|modal|fly|flyctl) "
)


def extract(document: Document) -> Iterator[ScriptText]:
    """The script, if it could matter."""
    text = document.text
    if len(text) < _LONGEST and _WORTH.search(text):
        at = Location(document.path)
        yield ScriptText(at, Word(text, at, first=(1, 1)))
