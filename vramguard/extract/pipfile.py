"""A Pipfile: pipenv's packages, by category."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.extract import declaration, poetry
from vramguard.extract.declaration import Declaration
from vramguard.extract.locks import origin
from vramguard.extract.tables import mapping, named
from vramguard.facts import Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_OTHER: Final = frozenset({"source", "requires", "scripts", "pipenv", "pipfile"})
_MARKERS: Final = ("markers", "sys_platform", "platform_system", "python_version", "os_name", "platform_machine")


def extract(document: Document) -> Iterator[Fact]:
    """Every package, and the project. A table that is none of pipenv's own is a category of packages."""
    table = document.value
    categories = [key for key, value in table.items() if isinstance(value, Mapping) and key not in _OTHER]
    found = [entry.fact(document, "pipfile") for key in categories for entry in named(table, key, read=_read)]
    yield from found
    names = {canonicalize_name(requirement.name) for requirement in found if requirement.pinned is not None}
    first = "packages" if mapping(table, "packages") else next(iter(categories), "packages")
    yield Project(document.at(first), None, "pipenv", len(names), origin.pipfile_hashes(table), form="pipfile")


def _read(name: str, value: object) -> Declaration:
    if isinstance(value, str):
        return _version(name, value)
    if not isinstance(value, Mapping):
        return declaration.wrong(str(value), "pipenv takes a version or a table here", name)
    extras = value.get("extras")
    marker = " and ".join(
        str(value[key]) if key == "markers" else f"{key} {value[key]}"
        for key in _MARKERS
        if isinstance(value.get(key), str)
    )
    return _table(name, value)._replace(
        extras=tuple(sorted(str(extra) for extra in extras)) if isinstance(extras, list) else (), marker=marker
    )


def _table(name: str, table: Mapping[str, object]) -> Declaration:
    for system in ("git", "hg", "svn", "bzr"):
        if system in table:
            url = str(table[system])
            return declaration.repository(
                name, url if "+" in url.partition(":")[0] else f"{system}+{url}", table.get("ref")
            )
    where = table.get("file", table.get("path"))
    if isinstance(where, str):
        return declaration.read(f"{name} @ {where}") if re.match(r"https?:", where) else Declaration(name, where, None)
    version = table.get("version")
    return _version(name, version if isinstance(version, str) else "*")


def _version(name: str, written: str) -> Declaration:
    if written.strip() in ("", "*"):
        return Declaration(name, written, pinned=False, reason="it names no version")
    if poetry.BARE_VERSION.fullmatch(written.strip()):
        return Declaration(name, written, pinned=True)
    return declaration.of_tool(f"{name} {written}")
