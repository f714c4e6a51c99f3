"""pylock.toml and pylock.NAME.toml: the standard lock of PEP 751, with what pdm adds to it."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.extract.locks import compiled
from vramguard.extract.locks.reading import (
    Table,
    commit,
    given,
    headers,
    inside,
    sequence,
    strings,
    strongest,
    table,
    tables,
    text,
)
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.source import Document


def read(document: Document) -> Lock:
    """The lock. Without `extras` and `dependency-groups` it holds the project's own dependencies alone."""
    value = document.value
    found = tables(value.get("packages"))
    places = headers(document, "packages", len(found))
    packages = tuple(_package(document, entry, at) for entry, at in zip(found, places, strict=True))
    said = compiled.origin(document)
    groups = [*strings(value.get("extras")), *strings(value.get("dependency-groups"))]
    # pdm/project/lockfile/pylock.py of pdm 2.26.2: the same hash as in pdm.lock
    digest = text(table(table(table(value.get("tool")).get("pdm")).get("hashes")).get("sha256"))
    return Lock(
        Location(document.path),
        "pylock",
        packages,
        content_hash=f"sha256:{digest}" if digest else None,
        sources=said.sources if said else (),
        groups=None if said and not said.whole else frozenset(map(canonicalize_name, groups)),
    )


def _package(document: Document, entry: Table, at: Location) -> LockedPackage:
    archives = [entry[kind] for kind in ("sdist", "archive") if kind in entry]
    files = [table(file) for file in chain(archives, sequence(entry.get("wheels")))]
    directory = text(table(entry.get("directory")).get("path"))
    return LockedPackage(
        at,
        text(entry.get("name")) or "",
        text(entry.get("version")),
        given([strongest(table(file.get("hashes"))) for file in files]),
        len(files),
        local=inside(document, directory) if directory is not None else None,
        commit=commit(table(entry.get("vcs")).get("commit-id")),
    )
