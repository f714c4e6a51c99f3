"""Poetry's own grammar of dependencies, and the hash by which poetry.lock knows its pyproject.toml."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.extract import declaration
from vramguard.extract.declaration import Declaration
from vramguard.extract.tables import Entry, mapping, named

if TYPE_CHECKING:
    from collections.abc import Iterator

BARE_VERSION: Final = re.compile(r"={0,3}\s*v?\d[^\s,|*^~<>!=]*")
_SOURCES: Final = {"version", "git", "path", "file", "url"}


def entries(table: object) -> Iterator[Entry]:
    """Every dependency of `[tool.poetry]`, in its groups too."""
    poetry = ("tool", "poetry")
    groups = [(*poetry, "group", name, "dependencies") for name in mapping(table, *poetry, "group")]
    elsewhere = {canonicalize_name(name) for name in _named(table)}
    for path in ((*poetry, "dependencies"), (*poetry, "dev-dependencies"), *groups):
        for entry in named(table, *path, read=read):
            name = str(entry.keys[len(path)])
            value = mapping(table, *path)[name]
            item = value[int(entry.keys[-1])] if isinstance(value, list) else value
            enriches = isinstance(item, Mapping) and not item.keys() & _SOURCES and canonicalize_name(name) in elsewhere
            if name.lower() != "python" and not enriches:  # what enriches says only where `[project]`'s own comes from
                yield entry


def _named(table: object) -> Iterator[str]:
    """The names that `[project]` declares."""
    project = mapping(table, "project")
    lists = [project.get("dependencies"), *mapping(project, "optional-dependencies").values()]
    for item in (item for found in lists if isinstance(found, list) for item in found):
        match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", item) if isinstance(item, str) else None
        if match:
            yield match[1]


def read(name: str, value: object) -> Declaration:
    """A dependency: `"1.2.3"` is exact, a table says where else it comes from."""
    if isinstance(value, str):
        return version(name, value)
    if not isinstance(value, Mapping):
        return declaration.wrong(str(value), "poetry takes a version or a table here", name)
    extras = value.get("extras")
    said = _table(name, value)
    return said._replace(
        extras=tuple(sorted(str(extra) for extra in extras)) if isinstance(extras, list) else (),
        marker=_marker(value),
    )


def _marker(table: Mapping[str, object]) -> str:
    """When the dependency is installed at all; an optional one only with an extra that names it."""
    written = [str(table["markers"])] if isinstance(table.get("markers"), str) else []
    written += [f"{key} {table[key]}" for key in ("python", "platform") if isinstance(table.get(key), str)]
    written += ["extra"] if table.get("optional") is True else []
    return " and ".join(written)


def _table(name: str, table: Mapping[str, object]) -> Declaration:
    if "path" in table or "file" in table:
        return Declaration(name, str(table.get("path", table.get("file"))), None)
    if "git" in table:
        return declaration.repository(
            name, str(table["git"]), table.get("rev") or table.get("tag") or table.get("branch")
        )
    if "url" in table:
        return declaration.read(f"{name} @ {table['url']}")
    written = table.get("version")
    return version(name, written if isinstance(written, str) else "*")


def version(name: str, written: str) -> Declaration:
    """A version as poetry writes it: bare it is exact, `^`, `~`, `*` and sets are ranges."""
    if BARE_VERSION.fullmatch(written.strip()):
        return Declaration(name, written, pinned=True)
    words = {"*": "it names no version", "": "it names no version"}
    kind = "a wildcard" if "*" in written and not re.search(r"[<>^~,|]", written) else "a range"
    return Declaration(name, written, pinned=False, reason=words.get(written.strip(), f"{kind}: {written}"))


def content_hashes(table: Mapping[str, object]) -> frozenset[str]:
    """Each `content-hash` that a released poetry computes for this file and that covers all it declares.

    Source: `Locker._get_content_hash` in poetry 1.1.15, 1.5.1, 1.8.5, 2.0.0 and 2.5.1 (`poetry/packages/locker.py`).
    Poetry 2.3 took in `[dependency-groups]`, 2.0 `[project]`, 1.2 `[tool.poetry.group]`.
    """
    project = {
        key: value
        for key, value in mapping(table, "project").items()
        if key in ("requires-python", "dependencies", "optional-dependencies") and value is not None
    }
    groups = mapping(table, "dependency-groups")
    candidates = [_relevant(table, project, groups), _relevant(table, project, {})]
    if project.keys() <= {"requires-python"}:
        candidates.append(_relevant(table, {}, {}))
    try:
        texts = [json.dumps(candidate, sort_keys=True) for candidate in candidates]
    except TypeError:  # a date, which poetry cannot hash either
        return frozenset()
    return frozenset(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def _relevant(
    table: Mapping[str, object], project: Mapping[str, object], groups: Mapping[str, object]
) -> Mapping[str, object]:
    """What poetry hashes: its own keys, at top level unless `[project]` or the groups bring some too."""
    poetry = mapping(table, "tool", "poetry")
    legacy = () if project or groups else ("dependencies", "source", "extras", "dev-dependencies")
    keys = ("dependencies", "source", "extras", "dev-dependencies", "group")
    own = {key: poetry.get(key) for key in keys if key in legacy or poetry.get(key) is not None}
    tables = {"project": project, "dependency-groups": groups}
    relevant: dict[str, object] = {key: value for key, value in tables.items() if value}
    return {**relevant, "tool": {"poetry": own}} if relevant else own
