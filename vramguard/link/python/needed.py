"""Which modules that load no model have to be parsed: those that a module which does knows of, or that know of it.

Whoever imports a module writes its name in an import, or imports from its package's `__init__`: a text that does
neither, and is named by none, changes nothing.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING

from vramguard.extract.python import is_of_use, parsed
from vramguard.facts import PythonModule, PythonText

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Facts

_WORD = re.compile(r"[A-Za-z_]\w*")
# The lines of an import, those in brackets together; a statement of another kind on its line does no harm.
_IMPORTS = re.compile(r"^[ \t]*(?:from|import)\b(?:[^\n(]*\([^)]{0,5000}\)|[^\n]*)", re.MULTILINE)
_NEIGHBOURS = re.compile(r"^\s*from \.+ import ", re.MULTILINE)  # what a package's `__init__` hands on
_ROUNDS = 20  # of modules that import modules


def modules(facts: Facts) -> list[PythonModule]:
    """Every module that is parsed, and of the texts those that could matter to one of them."""
    found = list(facts.of(PythonModule))
    waiting = {text.at.path: text for text in facts.of(PythonText)} if found else {}
    words = {path: frozenset(_WORD.findall(" ".join(_IMPORTS.findall(text.text)))) for path, text in waiting.items()}
    new: Iterable[PythonModule] = found
    for _ in range(_ROUNDS):
        names = {_name(module.at.path) for module in new}
        packages = {posixpath.dirname(module.at.path) for module in new if _is_package(module.at.path)}
        imports = [one for module in new for one in module.imports]
        asked = {part for one in imports for part in (one.attribute, one.module.rpartition(".")[2]) if part}
        wanted = [
            text
            for path, text in waiting.items()
            if not names.isdisjoint(words[path]) or _name(path) in asked or _beside(text, packages)
        ]
        if not wanted:
            break
        for text in wanted:
            del waiting[text.at.path]
        new = [module for text in wanted if is_of_use(text.text) and (module := parsed(text)) is not None]
        found += new
    return sorted(found, key=lambda module: module.at)


def _name(path: str) -> str:
    """What an import of a module names: the module, or for an `__init__` the package."""
    folder, _, name = path.rpartition("/")
    return folder.rpartition("/")[2] if _is_package(path) else name.partition(".")[0]


def _is_package(path: str) -> bool:
    return path.rpartition("/")[2] == "__init__.py"


def _beside(text: PythonText, packages: set[str]) -> bool:
    return posixpath.dirname(text.at.path) in packages and _NEIGHBOURS.search(text.text) is not None
