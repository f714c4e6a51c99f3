"""What a Dockerfile has its container asked: the last HEALTHCHECK, which is the one that counts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Manifest
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

HEALTHCHECK: Final = "healthcheck"  # the form of its Manifest, whose name is the command
_COMMAND: Final = re.compile(r"\bCMD\s+(\[.*\]|.+)\s*\Z", re.DOTALL)


def extract(document: Document) -> Iterator[Manifest]:
    """The command of the file's last HEALTHCHECK; nothing for NONE, or where there is none."""
    found = None
    for number, instruction in enumerate(document.value):
        if instruction.keyword == "HEALTHCHECK":
            found = number, instruction.text
    match = _COMMAND.search(found[1]) if found else None
    if found and match:
        yield Manifest(document.at(found[0]), HEALTHCHECK, Node(document, (found[0],), None), name=_words(match[1]))


def _words(text: str) -> str:
    """The command as one line, whether it is a list or a text for a shell."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    words = listed if isinstance(listed, list) else [re.sub(r"\\?\n", " ", text)]
    return " ".join(str(word) for word in words)
