"""pdm.lock, of lock versions 3 and 4: pdm/project/lockfile/ of pdm 2.26.2, pdm/project/core.py of pdm 1.15.5."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.extract.locks.reading import commit, given, headers, inside, sequence, strings, table, tables, text
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vramguard.extract.locks.reading import Table
    from vramguard.source import Document


def read(document: Document) -> Lock:
    """The lock. A package with extras is an entry of its own, of the same files."""
    metadata = table(document.value.get("metadata"))
    found = tables(document.value.get("package"))
    listed = {key: sequence(files) for key, files in table(metadata.get("files")).items()}  # before lock version 4.3
    for entry in found:
        listed.setdefault(_key(entry), sequence(entry.get("files")))
    places = headers(document, "package", len(found))
    packages = tuple(_package(document, entry, at, listed) for entry, at in zip(found, places, strict=True))
    groups = strings(metadata.get("groups"))
    return Lock(
        Location(document.path),
        "pdm",
        packages,
        text(metadata.get("content_hash")),
        groups=frozenset(map(canonicalize_name, groups)) if groups else None,
    )


def _key(entry: Table) -> str:
    return f"{text(entry.get('name')) or ''} {text(entry.get('version')) or ''}"


def _package(document: Document, entry: Table, at: Location, listed: Mapping[str, Sequence[object]]) -> LockedPackage:
    files = sequence(entry.get("files")) or listed.get(_key(entry), ())
    path = text(entry.get("path"))
    return LockedPackage(
        at,
        text(entry.get("name")) or "",
        text(entry.get("version")),
        given([text(table(file).get("hash")) for file in files]),
        len(files),
        local=inside(document, path) if path is not None and not files else None,
        commit=commit(entry.get("revision")) if "git" in entry or "hg" in entry else None,
    )
