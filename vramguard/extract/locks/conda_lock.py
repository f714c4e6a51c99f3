"""conda-lock.yml: conda-lock 4.0.3, conda_lock/lockfile/v1/models.py; pixi.lock before version 4 has the same form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.locks.reading import (
    Table,
    commit,
    inside,
    items,
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

_MD5 = 32  # its hexadecimal digits


def read(document: Document, form: str = "conda-lock") -> Lock:
    """The lock: an entry for each package and platform.

    Its `content_hash` covers channels and virtual packages of the machine that locked, so it is not compared.
    """
    value = table(document.value[0] if document.value else None)
    found = tables(value.get("package"))
    places = items(document, "package", len(found))
    packages = tuple(_package(document, entry, at) for entry, at in zip(found, places, strict=True))
    sources = map(_relative, strings(table(value.get("metadata")).get("sources")))
    return Lock(Location(document.path), form, packages, sources=tuple(inside(document, source) for source in sources))


def _relative(source: str) -> str:
    """A source beside the lock where its path is that of the machine that locked."""
    return re.split(r"[/\\]", source)[-1] if re.match(r"/|[A-Za-z]:|~", source) else source


def _package(document: Document, entry: Table, at: Location) -> LockedPackage:
    url = text(entry.get("url")) or ""
    digest = _digest(entry.get("hash"))
    path = url.removeprefix("file://") if url.startswith(("file://", ".")) else None
    return LockedPackage(
        at,
        text(entry.get("name")) or "",
        text(entry.get("version")),
        (digest,) if digest else (),
        1,
        local=inside(document, path) if path is not None and digest is None else None,
        commit=commit(url.partition("#")[0]) if url.startswith("git+") else None,
        manager="pip" if entry.get("manager") == "pip" else "conda",
    )


def _digest(written: object) -> str | None:
    """The best hash of a mapping; the first lock files had one bare digest."""
    if isinstance(written, str):
        return written if ":" in written else f"{'md5' if len(written) == _MD5 else 'sha256'}:{written}"
    return strongest(table(written))
