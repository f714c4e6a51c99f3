"""poetry.lock, of lock versions 1.0 to 2.1: poetry/packages/locker.py of poetry 1.0.10 to 2.5.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.extract.locks.reading import commit, given, headers, inside, sequence, table, tables, text
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vramguard.extract.locks.reading import Table
    from vramguard.source import Document


def read(document: Document) -> Lock:
    """The lock."""
    metadata = table(document.value.get("metadata"))
    older = table(metadata.get("files", metadata.get("hashes")))  # lock version 1.1, and 1.0 with its bare hashes
    listed: dict[str, Sequence[object]] = {canonicalize_name(name): sequence(files) for name, files in older.items()}
    found = tables(document.value.get("package"))
    places = headers(document, "package", len(found))
    packages = tuple(_package(document, entry, at, listed) for entry, at in zip(found, places, strict=True))
    return Lock(Location(document.path), "poetry", packages, text(metadata.get("content-hash")))


def _package(document: Document, entry: Table, at: Location, listed: Mapping[str, Sequence[object]]) -> LockedPackage:
    name = text(entry.get("name")) or ""
    source = table(entry.get("source"))
    kind, url = source.get("type"), text(source.get("url")) or ""
    files = sequence(entry.get("files")) or listed.get(canonicalize_name(name), ())
    hashes = [text(file if isinstance(file, str) else table(file).get("hash")) for file in files]
    local = kind == "directory" or (kind == "file" and not files)
    reference = source.get("resolved_reference", source.get("reference"))  # 1.0 had the commit as its reference
    return LockedPackage(
        at,
        name,
        text(entry.get("version")),
        given(hashes),
        len(files),
        local=inside(document, url) if local else None,
        commit=commit(reference) if kind in ("git", "hg") else None,
    )
