"""Pipfile.lock: its categories `default`, `develop` and those of one's own; plette 2.4.0, plette/lockfiles.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from vramguard.extract.locks.reading import commit, given, inside, sequence, table, text
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.extract.locks.reading import Table
    from vramguard.source import Document


def read(document: Document) -> Lock:
    """The lock. It names hashes, one for each file that will do, and no files."""
    value = table(document.value)
    packages = tuple(
        _package(document, name, table(entry), document.key_at(category, name))
        for category, entries in value.items()
        if category != "_meta" and isinstance(entries, Mapping)
        for name, entry in entries.items()
    )
    digest = text(table(table(value.get("_meta")).get("hash")).get("sha256"))
    return Lock(Location(document.path), "pipenv", packages, digest)


def _package(document: Document, name: str, entry: Table, at: Location) -> LockedPackage:
    hashes = sequence(entry.get("hashes"))
    path = text(entry.get("path")) or _file(entry)
    return LockedPackage(
        at,
        name,
        (text(entry.get("version")) or "").removeprefix("==") or None,
        given([text(digest) for digest in hashes]),
        len(hashes),
        local=inside(document, path) if path is not None and not hashes else None,
        commit=commit(entry.get("ref")) if entry.keys() & {"git", "hg", "svn", "bzr"} else None,
    )


def _file(entry: Table) -> str | None:
    """A file of the repository; `file` may be a URL too."""
    path = text(entry.get("file"))
    return path.removeprefix("file://") if path is not None and not path.startswith(("http:", "https:")) else None
