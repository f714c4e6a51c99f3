"""Commands that install packages, in every kind of file that holds commands, and what they fetch that is none.

`commands` reads the commands of a script, `words` those of an installer, by the tables of `tools`; a module for each
kind of file says where its scripts stand. One search of the text tells whether any of that is worth it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vramguard.extract.installs.tools import worth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_READERS = {
    "dockerfile": "docker",
    "shell": "recipes",
    "makefile": "recipes",
    "justfile": "recipes",
    "ini": "tox",
    "toml": "tasks",
    "yaml": "places",
    "notebook": "notebooks",
    "python": "programs",
}


LONGEST = 400_000  # characters of a shell script; a longer one is generated
_ALWAYS = {"tox", "tasks", "programs", "notebooks"}  # these ask for words of their own


def extract(document: Document) -> Iterator[Fact]:
    """Every install of a file, the requirements that its commands name, and what they fetch."""
    reader = _READERS.get(document.kind)
    if reader and (reader in _ALWAYS or _may_hold(document)):
        yield from import_module(f"{__name__}.{reader}").facts(document)


def _may_hold(document: Document) -> bool:
    """Whether the text names an installer."""
    text = document.text
    if document.kind == "shell" and len(text) > LONGEST:
        return False
    if document.kind == "yaml" and "ConfigMap" in text and "requirements" in text:
        return True
    return (document.kind == "dockerfile" and "ADD" in text and "://" in text) or worth(text)
