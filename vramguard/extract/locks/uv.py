"""uv.lock, of every revision: crates/uv-resolver/src/lock/mod.rs of uv 0.4 to 0.13."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.extract.declaration import comparable, full_name
from vramguard.extract.locks.reading import commit, given, headers, inside, sequence, table, tables, text
from vramguard.facts import Declared, Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.locks.reading import Table
    from vramguard.source import Document

_FOLDERS = ("editable", "virtual", "directory")
_SOURCES = {"git", "url", "path", "directory", "editable", "virtual"}


def read(document: Document) -> Lock:
    """The lock."""
    found = tables(document.value.get("package"))
    places = headers(document, "package", len(found))
    packages = tuple(_package(document, entry, at) for entry, at in zip(found, places, strict=True))
    manifest = frozenset(_manifest(table(document.value.get("manifest"))))
    return Lock(Location(document.path), "uv", packages, manifest=manifest)


def _package(document: Document, entry: Table, at: Location) -> LockedPackage:
    source = table(entry.get("source"))
    sdist = [entry["sdist"]] if "sdist" in entry else []
    files = [table(file) for file in chain(sdist, sequence(entry.get("wheels")))]
    local = next((text(source[kind]) for kind in _FOLDERS if kind in source), None)
    return LockedPackage(
        at,
        text(entry.get("name")) or "",
        text(entry.get("version")),
        given([text(file.get("hash")) for file in files]),
        len(files),
        local=None if local is None else inside(document, local),
        commit=commit((text(source.get("git")) or "").rpartition("#")[2]),
        declared=None if local is None else _declared(entry),
    )


def _declared(package: Table) -> frozenset[Declared] | None:
    """What uv noted of the project's own requirements when it locked them; None for a uv too old to do so."""
    metadata = table(package.get("metadata"))
    if not metadata and package.keys() & {"dependencies", "optional-dependencies", "dev-dependencies"}:
        return None
    groups = table(metadata.get("requires-dev"))
    found = [_noted(_section(item), item) for item in tables(metadata.get("requires-dist"))]
    for group, items in groups.items():
        found += [_noted(f"group:{canonicalize_name(group)}", item) for item in tables(items)]
    return frozenset(found)


def _manifest(manifest: Table) -> Iterator[Declared]:
    """What the workspace's root narrows or overrides, and its groups where it is no project itself."""
    for section, key in (("constraint:", "constraints"), ("override:", "overrides")):
        yield from (_noted(section, item) for item in tables(manifest.get(key)))
    for group, items in table(manifest.get("dependency-groups")).items():
        yield from (_noted(f"group:{canonicalize_name(group)}", item) for item in tables(items))


def _section(item: Table) -> str:
    extra = re.search(r"\bextra == ['\"]([^'\"]+)['\"]", text(item.get("marker")) or "")
    return f"extra:{canonicalize_name(extra[1])}" if extra else ""


def _noted(section: str, item: Table) -> Declared:
    name = full_name(text(item.get("name")) or "", map(str, sequence(item.get("extras"))))
    if item.keys() & _SOURCES:
        return Declared(section, name, None)
    try:
        return Declared(section, name, comparable(text(item.get("specifier")) or ""))
    except ValueError:  # no specifier, or a number of more digits than Python reads
        return Declared(section, name, None)
