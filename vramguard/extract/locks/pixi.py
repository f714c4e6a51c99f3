"""pixi.lock: rattler's `rattler_lock` crate, versions 1 to 6 of its format."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from vramguard.extract.locks import conda_lock
from vramguard.extract.locks.reading import commit, conda_file, inside, items, strings, strongest, table, tables, text
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location

if TYPE_CHECKING:
    from vramguard.extract.locks.reading import Table
    from vramguard.source import Document

_PYPI = "pkg:pypi/"


def read(document: Document) -> Lock:
    """The lock: each package once, whatever environments and platforms take it in."""
    value = table(document.value[0] if document.value else None)
    if "packages" not in value and "package" in value:
        return conda_lock.read(document, "pixi")
    found = tables(value.get("packages"))
    places = items(document, "packages", len(found))
    packages = tuple(_package(document, entry, at) for entry, at in zip(found, places, strict=True))
    return Lock(Location(document.path), "pixi", packages)


_FILES = (".whl", ".conda", ".tar.bz2", ".tar.gz", ".zip")  # older locks give a folder's digest too


def _package(document: Document, entry: Table, at: Location) -> LockedPackage:
    kind = entry.get("kind") or next((key for key in ("conda", "pypi") if key in entry), "conda")
    url = text(entry.get(str(kind))) or text(entry.get("url")) or text(entry.get("path")) or ""
    digest = strongest({key: entry.get(key) for key in ("sha256", "md5")})
    name, version = conda_file(url) or ("", None)
    folder = "://" not in url and not url.startswith("git+") and not url.endswith(_FILES)
    return LockedPackage(
        at,
        text(entry.get("name")) or name,
        text(entry.get("version")) or version,
        (digest,) if digest else (),
        1,
        local=inside(document, url) if folder else None,
        commit=commit(url) if "git+" in url else None,
        manager="pip" if kind == "pypi" else "conda",
        also=tuple(_purls(entry)),
    )


def _purls(entry: Table) -> list[str]:
    """What a conda package is called on PyPI: `pkg:pypi/torch@2.5.1?source=…`."""
    found = (unquote(purl) for purl in strings(entry.get("purls")) if purl.startswith(_PYPI))
    return [purl.removeprefix(_PYPI).partition("?")[0].partition("@")[0] for purl in found]
