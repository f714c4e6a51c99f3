"""What a pyproject.toml declares: its dependencies in every table that has them, and what a lock must cover."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from vramguard.extract import declaration
from vramguard.extract.declaration import Declaration
from vramguard.facts import Declared, Project, Requirement, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document, KeyPath

_TOOLS = ("poetry", "uv", "pdm", "hatch", "pixi", "rye")
_EXACT = re.compile(r"={0,3}\s*v?\d[^\s,|*^~<>!=]*")
_BUILD = "build-system.requires"
_BACKENDS = {"poetry.core.masonry.api": "poetry", "uv_build": "uv", "pdm.backend": "pdm"}


class _Entry(NamedTuple):
    """One requirement as it stands: in which section, under which keys, and whether PEP 508 or poetry's grammar."""

    section: str
    keys: KeyPath
    value: object
    poetry: str | None = None  # the name, which poetry writes as a key


def extract(document: Document) -> Iterator[Fact]:
    """Every requirement, and the project itself."""
    table = document.value
    found = [(entry, _requirement(document, entry)) for entry in _entries(table)]
    requirements = [requirement for _, requirement in found if requirement is not None]
    yield from requirements
    yield _project(document, table, requirements)


def _entries(table: Mapping[str, object]) -> Iterator[_Entry]:
    yield from _strings(table, "project", "dependencies")
    for name in _mapping(table, "project", "optional-dependencies"):
        yield from _strings(table, "project", "optional-dependencies", name)
    for name in _mapping(table, "dependency-groups"):
        yield from _strings(table, "dependency-groups", name)
    yield from _strings(table, "build-system", "requires")
    yield from _strings(table, "tool", "uv", "dev-dependencies")
    poetry = ("tool", "poetry")
    groups = [(*poetry, "group", name, "dependencies") for name in _mapping(table, *poetry, "group")]
    for path in ((*poetry, "dependencies"), (*poetry, "dev-dependencies"), *groups):
        yield from _poetry(table, path)


def _mapping(table: object, *keys: str) -> Mapping[str, object]:
    """The table under these keys; an empty one for anything else."""
    for key in keys:
        table = table.get(key) if isinstance(table, Mapping) else None
    return table if isinstance(table, Mapping) else {}


def _strings(table: object, *keys: str) -> Iterator[_Entry]:
    items = _mapping(table, *keys[:-1]).get(keys[-1])
    if items is not None and not isinstance(items, list):
        yield _Entry(".".join(keys), keys, items)
        return
    for number, item in enumerate(items or ()):
        if not (
            isinstance(item, Mapping) and "include-group" in item
        ):  # its own requirements are read where they stand
            yield _Entry(".".join(keys), (*keys, number), item)


def _poetry(table: object, path: tuple[str, ...]) -> Iterator[_Entry]:
    elsewhere = {canonicalize_name(name) for name in _named(table)}
    for name, value in _mapping(table, *path).items():
        if name.lower() == "python":
            continue
        several = isinstance(value, list)
        for number, item in enumerate(value if isinstance(value, list) else [value]):
            enriches = isinstance(item, Mapping) and not item.keys() & {"version", "git", "path", "file", "url"}
            if enriches and canonicalize_name(name) in elsewhere:
                continue  # says only where the requirement of [project] comes from
            keys: KeyPath = (*path, name, number) if several else (*path, name)
            yield _Entry(".".join(path), keys, item, poetry=name)


def _named(table: object) -> Iterator[str]:
    """The names that `[project]` declares."""
    project = _mapping(table, "project")
    lists = [project.get("dependencies"), *_mapping(project, "optional-dependencies").values()]
    for item in (item for found in lists if isinstance(found, list) for item in found):
        match = re.match(r"\s*([A-Za-z0-9][\w.-]*)", item) if isinstance(item, str) else None
        if match:
            yield match[1]


def _requirement(document: Document, entry: _Entry) -> Requirement | None:
    if entry.poetry is not None:
        said = _poetry_declaration(entry.poetry, entry.value)
        at = document.at(*entry.keys) if isinstance(entry.keys[-1], int) else document.key_at(*entry.keys)
    elif isinstance(entry.value, str) and isinstance(entry.keys[-1], int):
        at, said = document.at(*entry.keys), _pep508(entry.value)
    else:
        at, said = (
            document.at(*entry.keys),
            _wrong(str(entry.value), "a list of requirements, each a string, belongs here"),
        )
    return Requirement(
        at,
        said.name,
        said.specifier,
        said.pinned,
        said.hashed,
        "pyproject",
        said.reason,
        section=entry.section,
        extras=said.extras,
        marker=said.marker,
    )


def _wrong(text: str, reason: str, name: str = "") -> Declaration:
    return Declaration(name or text, "", Unknown(text), reason=reason)


def _pep508(text: str) -> Declaration:
    if re.search(r"@\s*(?:\{root|file:|\.)", text):  # hatch's context formatting, and paths as some tools take them
        name = re.split(r"[\s\[@]", text.strip(), maxsplit=1)[0]
        return Declaration(name, text.partition("@")[2].strip(), None)
    said = declaration.read(text)
    return said._replace(reason=said.reason.replace("pip cannot", "no tool can")) if said.reason else said


def _poetry_declaration(name: str, value: object) -> Declaration:
    """A dependency in poetry's own grammar: `"1.2.3"` is exact, a table says where else it comes from."""
    if isinstance(value, str):
        return _poetry_version(name, value)
    if not isinstance(value, Mapping):
        return _wrong(str(value), "poetry takes a version or a table here", name)
    extras = value.get("extras")
    marker = value.get("markers")
    said = _poetry_table(name, value)
    return said._replace(
        extras=tuple(sorted(str(extra) for extra in extras)) if isinstance(extras, list) else (),
        marker=marker if isinstance(marker, str) else "",
    )


def _poetry_table(name: str, table: Mapping[str, object]) -> Declaration:
    if "path" in table or "file" in table:
        return Declaration(name, str(table.get("path", table.get("file"))), None)
    if "git" in table:
        reference = table.get("rev") or table.get("tag") or table.get("branch")
        reason = declaration.commit(str(reference) if reference else None)
        url = f"git+{table['git']}" + (f"@{reference}" if reference else "")
        return Declaration(name, url, not reason, hashed=not reason, reason=reason)
    if "url" in table:
        return declaration.read(f"{name} @ {table['url']}")
    version = table.get("version")
    return _poetry_version(name, version if isinstance(version, str) else "*")


def _poetry_version(name: str, version: str) -> Declaration:
    if _EXACT.fullmatch(version.strip()):
        return Declaration(name, version, pinned=True)
    words = {"*": "it names no version", "": "it names no version"}
    kind = "a wildcard" if "*" in version and not re.search(r"[<>^~,|]", version) else "a range"
    return Declaration(name, version, pinned=False, reason=words.get(version.strip(), f"{kind}: {version}"))


def _project(document: Document, table: Mapping[str, object], requirements: list[Requirement]) -> Project:
    workspace = _mapping(table, "tool", "uv", "workspace")
    name = _mapping(table, "project").get("name") or _mapping(table, "tool", "poetry").get("name")
    installed = {canonicalize_name(r.name) for r in requirements if r.section != _BUILD and r.pinned is not None}
    installed.discard(canonicalize_name(name if isinstance(name, str) else ""))  # its own extras, by its own name
    return Project(
        at=document.at("project") if "project" in table else document.at("tool", "poetry"),
        name=name if isinstance(name, str) else None,
        tool=_tool(table),
        dependencies=len(installed),
        content_hash=_content_hashes(table),
        declared=_declared(table),
        members=_globs(workspace.get("members")),
        excluded=_globs(workspace.get("exclude")),
    )


def _tool(table: Mapping[str, object]) -> str | None:
    """The tool that the project's tables speak of, else the one whose backend builds it."""
    named = next((tool for tool in _TOOLS if tool in _mapping(table, "tool")), None)
    return named or _BACKENDS.get(str(_mapping(table, "build-system").get("build-backend")))


def _globs(value: object) -> tuple[str, ...]:
    return tuple(glob for glob in value if isinstance(glob, str)) if isinstance(value, list) else ()


def _content_hashes(table: Mapping[str, object]) -> frozenset[str]:
    """Each `content-hash` that a released poetry computes for this file and that covers all it declares.

    Source: `Locker._get_content_hash` in poetry 1.1.15, 1.5.1, 1.8.5, 2.0.0 and 2.5.1 (`poetry/packages/locker.py`).
    Poetry 2.3 took in `[dependency-groups]`, 2.0 `[project]`, 1.2 `[tool.poetry.group]`.
    """
    project = {
        key: value
        for key, value in _mapping(table, "project").items()
        if key in ("requires-python", "dependencies", "optional-dependencies") and value is not None
    }
    groups = _mapping(table, "dependency-groups")
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
    poetry = _mapping(table, "tool", "poetry")
    legacy = () if project or groups else ("dependencies", "source", "extras", "dev-dependencies")
    keys = ("dependencies", "source", "extras", "dev-dependencies", "group")
    own = {key: poetry.get(key) for key in keys if key in legacy or poetry.get(key) is not None}
    tables = {"project": project, "dependency-groups": groups}
    relevant: dict[str, object] = {key: value for key, value in tables.items() if value}
    return {**relevant, "tool": {"poetry": own}} if relevant else own


def _declared(table: Mapping[str, object]) -> frozenset[Declared] | None:
    """The requirements as uv repeats them in its lock; None where the text does not say them all."""
    project = _mapping(table, "project")
    dynamic = project.get("dynamic")
    if not project or (
        isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & {str(d) for d in dynamic}
    ):
        return None
    sections: dict[str, object] = {"": project.get("dependencies", [])}
    sections |= {f"extra:{canonicalize_name(k)}": v for k, v in _mapping(project, "optional-dependencies").items()}
    groups = _mapping(table, "dependency-groups")
    sections |= {f"group:{canonicalize_name(k)}": _group(groups, k, ()) for k in groups}
    development = _mapping(table, "tool", "uv").get("dev-dependencies")
    if isinstance(development, list):
        already = sections.get("group:dev", [])
        sections["group:dev"] = [*(already if isinstance(already, list) else []), *development]
    found: set[Declared] = set()
    for section, items in sections.items():
        if not isinstance(items, list):
            return None
        try:
            found |= {declaration.declared(section, Pep508(item)) for item in items}
        except (InvalidRequirement, TypeError):
            return None
    elsewhere = _from_elsewhere(table)
    return frozenset(d._replace(specifier=None) if d.name.partition("[")[0] in elsewhere else d for d in found)


def _from_elsewhere(table: Mapping[str, object]) -> set[str]:
    """Names that `[tool.uv.sources]` takes from a repository or a URL, whatever the platform."""
    sources = _mapping(table, "tool", "uv", "sources")
    return {
        canonicalize_name(name)
        for name, source in sources.items()
        if isinstance(source, Mapping) and source.keys() & {"git", "url"} and "marker" not in source
    }


def _group(groups: Mapping[str, object], name: str, outer: tuple[str, ...]) -> object:
    """A group's requirements with those of the groups that it includes; None where that cannot be told."""
    items = next((value for key, value in groups.items() if canonicalize_name(key) == canonicalize_name(name)), None)
    if not isinstance(items, list) or canonicalize_name(name) in outer:
        return None
    found: list[object] = []
    for item in items:
        if not isinstance(item, Mapping):
            found.append(item)
            continue
        included = _group(groups, str(item.get("include-group")), (*outer, canonicalize_name(name)))
        if not isinstance(included, list):
            return None
        found += included
    return found
