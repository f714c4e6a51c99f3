"""What a lock file fixes, and what it was made from: poetry.lock, uv.lock and pylock.toml in one form."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier
from packaging.utils import canonicalize_name

from vramguard.extract.declaration import comparable, full_name
from vramguard.facts import Declared, Lock, LockedPackage
from vramguard.source import Location
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_Table = Mapping[str, object]
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(?:package|packages)[ \t]*\]\][ \t]*(?:#[^\n]*)?$", re.MULTILINE)
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def extract(document: Document) -> Iterator[Fact]:
    """The lock, with the place of each package."""
    name = document.path.rpartition("/")[2]
    form = {"poetry.lock": "poetry", "uv.lock": "uv"}.get(name, "pylock")
    key = "packages" if form == "pylock" else "package"
    tables = _tables(document.value.get(key))
    read = {"poetry": _poetry(document), "uv": _uv(document), "pylock": _pylock(document)}[form]
    packages = tuple(read(table, at) for table, at in zip(tables, _places(document, key, len(tables)), strict=True))
    metadata = _table(document.value.get("metadata"))
    yield Lock(
        Location(document.path), form, packages, _text(metadata.get("content-hash")) if form == "poetry" else None
    )


def _places(document: Document, key: str, count: int) -> list[Location]:
    """Where each package's header stands: by a search for header lines, which the full index confirms if need be."""
    rows, row, last = [], 1, 0
    for match in _HEADER.finditer(document.text):
        row += document.text.count("\n", last, match.start())
        last = match.start()
        text = match[0].rstrip()
        column = len(text) - len(text.lstrip()) + 1
        rows.append(Location(document.path, row, column, row, len(text) + 1))
    if len(rows) == count:
        return rows
    return [document.at(key, number) for number in range(count)]


def _poetry(document: Document) -> Callable[[_Table, Location], LockedPackage]:
    metadata = _table(document.value.get("metadata"))
    older = _table(metadata.get("files", metadata.get("hashes")))  # lock version 1.1, and 1.0 with its bare hashes
    listed = {canonicalize_name(name): _sequence(files) for name, files in older.items()}
    folder = posixpath.dirname(document.path)

    def read(table: _Table, at: Location) -> LockedPackage:
        name = _text(table.get("name")) or ""
        source = _table(table.get("source"))
        kind, url = source.get("type"), _text(source.get("url")) or ""
        files = _sequence(table.get("files")) or listed.get(canonicalize_name(name), ())
        hashes = [_text(file if isinstance(file, str) else _table(file).get("hash")) for file in files]
        local = kind == "directory" or (kind == "file" and not files)
        return LockedPackage(
            at,
            name,
            _text(table.get("version")),
            _best(hashes),
            len(files),
            local=_inside(folder, url) if local else None,
            commit=_text(source.get("resolved_reference")) if kind in ("git", "hg") else None,
        )

    return read


def _uv(document: Document) -> Callable[[_Table, Location], LockedPackage]:
    folder = posixpath.dirname(document.path)

    def read(table: _Table, at: Location) -> LockedPackage:
        source = _table(table.get("source"))
        sdist = [table["sdist"]] if "sdist" in table else []
        files = [_table(file) for file in chain(sdist, _sequence(table.get("wheels")))]
        local = next((_text(source[kind]) for kind in ("editable", "virtual", "directory") if kind in source), None)
        git = _text(source.get("git")) or ""
        commit = _COMMIT.search(git.rpartition("#")[2])
        return LockedPackage(
            at,
            _text(table.get("name")) or "",
            _text(table.get("version")),
            _best([_text(file.get("hash")) for file in files]),
            len(files),
            local=None if local is None else _inside(folder, local),
            commit=commit[0] if commit else None,
            declared=None if local is None else _declared(table),
        )

    return read


def _pylock(document: Document) -> Callable[[_Table, Location], LockedPackage]:
    folder = posixpath.dirname(document.path)

    def read(table: _Table, at: Location) -> LockedPackage:
        archives = [table[kind] for kind in ("sdist", "archive") if kind in table]
        files = [_table(file) for file in chain(archives, _sequence(table.get("wheels")))]
        directory = _table(table.get("directory")).get("path") if "directory" in table else None
        return LockedPackage(
            at,
            _text(table.get("name")) or "",
            _text(table.get("version")),
            _best([_strongest(_table(file.get("hashes"))) for file in files]),
            len(files),
            local=_inside(folder, str(directory)) if "directory" in table else None,
            commit=_text(_table(table.get("vcs")).get("commit-id")),
        )

    return read


def _declared(package: _Table) -> frozenset[Declared] | None:
    """What uv noted of the project's own requirements when it locked them; None for a uv too old to do so."""
    metadata = _table(package.get("metadata"))
    if not metadata and package.keys() & {"dependencies", "optional-dependencies", "dev-dependencies"}:
        return None
    groups = _table(metadata.get("requires-dev"))
    found = [_noted(_section(item), item) for item in _tables(metadata.get("requires-dist"))]
    for group, items in groups.items():
        found += [_noted(f"group:{canonicalize_name(group)}", item) for item in _tables(items)]
    return frozenset(found)


def _section(item: _Table) -> str:
    extra = re.search(r"\bextra == ['\"]([^'\"]+)['\"]", _text(item.get("marker")) or "")
    return f"extra:{canonicalize_name(extra[1])}" if extra else ""


def _noted(section: str, item: _Table) -> Declared:
    name = full_name(_text(item.get("name")) or "", map(str, _sequence(item.get("extras"))))
    if item.keys() & {"git", "url", "path", "directory", "editable", "virtual"}:
        return Declared(section, name, None)
    try:
        return Declared(section, name, comparable(_text(item.get("specifier")) or ""))
    except InvalidSpecifier:
        return Declared(section, name, None)


def _inside(folder: str, path: str) -> str:
    """A path of the lock, as a path in the repository."""
    return posixpath.normpath(posixpath.join(folder, path))


def _best(hashes: Sequence[str | None]) -> tuple[str, ...]:
    return tuple(value for value in hashes if value)


def _strongest(hashes: _Table) -> str | None:
    """One of an artifact's hashes: a strong one where there is any."""
    ranked = sorted(hashes, key=lambda algorithm: algorithm not in STRONG_HASHES)
    return f"{ranked[0]}:{hashes[ranked[0]]}" if ranked else None


def _table(value: object) -> _Table:
    return value if isinstance(value, Mapping) else {}


def _tables(value: object) -> list[_Table]:
    return [_table(item) for item in _sequence(value)]


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
