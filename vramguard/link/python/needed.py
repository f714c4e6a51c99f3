"""Which modules that load no model have to be parsed: those that a module which does knows of, or that know of it.

Whoever imports a module writes its name, or that of the package it stands in: a text that holds neither, and is named
by none, changes nothing.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.extract.python import parsed
from vramguard.facts import PythonModule, PythonText

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Facts

_WORD = re.compile(r"[A-Za-z_]\w*")
_NEIGHBOURS = re.compile(r"^\s*from \.+ import ", re.MULTILINE)  # what a package's `__init__` hands on
_ROUNDS = 20  # of modules that import modules


def modules(facts: Facts) -> list[PythonModule]:
    """Every module that is parsed, and of the texts those that could matter to one of them."""
    found = list(facts.of(PythonModule))
    waiting = {text.at.path: text for text in facts.of(PythonText)} if found else {}
    words = {path: frozenset(_WORD.findall(text.text)) for path, text in waiting.items()}
    new: Iterable[PythonModule] = found
    for _ in range(_ROUNDS):
        names = {name for module in new for name in _names(module.at.path)}
        folders = {posixpath.dirname(module.at.path) for module in new}
        asked = {
            part for module in new for one in module.imports for part in (one.attribute or "", *one.module.split("."))
        }
        wanted = [
            text
            for path, text in waiting.items()
            if not names.isdisjoint(words[path]) or not asked.isdisjoint(_names(path)) or _beside(text, folders)
        ]
        if not wanted:
            break
        for text in wanted:
            del waiting[text.at.path]
        new = [module for module in map(parsed, wanted) if module is not None]
        found += new
    return sorted(found, key=lambda module: module.at)


def _names(path: str) -> tuple[str, ...]:
    """What an import of a module may name: itself and the package that it stands in."""
    folder, _, name = path.rpartition("/")
    return tuple(part for part in (name.partition(".")[0], folder.rpartition("/")[2]) if part and part != "__init__")


def _beside(text: PythonText, folders: set[str]) -> bool:
    return posixpath.dirname(text.at.path) in folders and _NEIGHBOURS.search(text.text) is not None
