"""What a pyproject.toml declares: its dependencies in every table that has them, and what a lock must cover."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final

from packaging.utils import canonicalize_name

from vramguard.extract import declaration, pixi, poetry, uv
from vramguard.extract.declaration import Declaration
from vramguard.extract.locks import origin
from vramguard.extract.requirements import target
from vramguard.extract.tables import Entry, listed, mapping, named, strings
from vramguard.facts import Declared, Include, Project, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_TOOLS: Final = ("poetry", "uv", "pdm", "hatch", "pixi", "rye")
_BUILD: Final = re.compile(r"build-system\.requires|tool\.hatch\.(?:build|metadata)\.|tool\.uv\.extra-build")
_LIMITS: Final = re.compile(
    r"tool\.uv\.(?:override|constraint|build-constraint)|tool\.pdm\.resolution|.*\.constraints$"
)
_BACKENDS: Final = {"poetry.core.masonry.api": "poetry", "uv_build": "uv", "pdm.backend": "pdm"}
_UV_LISTS: Final = (
    "dev-dependencies", "override-dependencies", "constraint-dependencies", "build-constraint-dependencies",
)  # fmt: skip
_MAX_GROUPED: Final = 20_000  # requirements of all groups, those of included ones counted in each
_HATCH_HOOKS: Final = (("tool", "hatch", "build"), ("tool", "hatch", "metadata"))


def extract(document: Document) -> Iterator[Fact]:
    """Every requirement, the files that hold more of them, and the project itself."""
    table = document.value
    known = uv.sources(table)
    requirements = []
    for entry in _entries(table):
        sourced = entry._replace(said=uv.sourced(entry.said, known)) if known else entry
        requirements.append(sourced.fact(document, "pyproject"))
    requirements += [entry.fact(document, "pixi") for entry in pixi.entries(table, "tool", "pixi")]
    own = _name(table)
    requirements = [_own(item) if own and canonicalize_name(item.name) == own else item for item in requirements]
    yield from requirements
    yield from pixi.channels(document, table, "tool", "pixi")
    yield from _includes(document, table)
    yield _project(document, table, requirements)


def _name(table: Mapping[str, object]) -> str | None:
    """The project's own name, normalised."""
    name = mapping(table, "project").get("name") or mapping(table, "tool", "poetry").get("name")
    return canonicalize_name(name) if isinstance(name, str) and name else None


def _own(requirement: Requirement) -> Requirement:
    """The project itself with some of its extras: what stands in this very folder has no version to pin."""
    return replace(requirement, pinned=None, reason="")


def _entries(table: Mapping[str, object]) -> Iterator[Entry]:
    yield from listed(table, "project", "dependencies", read=_pep508)
    for name in mapping(table, "project", "optional-dependencies"):
        yield from listed(table, "project", "optional-dependencies", name, read=_pep508)
    for name in mapping(table, "dependency-groups"):
        yield from listed(table, "dependency-groups", name, read=_pep508)
    yield from listed(table, "build-system", "requires", read=_pep508)
    for name in _UV_LISTS:
        yield from listed(table, "tool", "uv", name, read=_pep508)
    for name in mapping(table, "tool", "uv", "extra-build-dependencies"):
        yield from _loosely(table, "tool", "uv", "extra-build-dependencies", name)
    yield from poetry.entries(table)
    yield from _pdm(table)
    yield from _hatch(table)
    yield from listed(table, "tool", "rye", "dev-dependencies", read=_pep508)
    for name in ("requires", "dev-requires"):
        yield from listed(table, "tool", "flit", "metadata", name, read=_pep508)
    for name in mapping(table, "tool", "flit", "metadata", "requires-extra"):
        yield from listed(table, "tool", "flit", "metadata", "requires-extra", name, read=_pep508)


def _loosely(table: object, *keys: str) -> Iterator[Entry]:
    """The requirements of a list, what else it holds left alone: tables of the tool's own."""
    return (entry for entry in listed(table, *keys, read=_pep508) if not entry.said.reason.startswith("a list of"))


def _pdm(table: object) -> Iterator[Entry]:
    for name in mapping(table, "tool", "pdm", "dev-dependencies"):
        yield from listed(table, "tool", "pdm", "dev-dependencies", name, read=_pep508)
    yield from named(table, "tool", "pdm", "resolution", "overrides", read=_override)


def _override(name: str, value: object) -> Declaration:
    """PDM takes a bare version for an exact one, and URLs."""
    if not isinstance(value, str):
        return declaration.wrong(str(value), "PDM takes a version or a URL here", name)
    if poetry.BARE_VERSION.fullmatch(value.strip()):
        return Declaration(name, value, pinned=True)
    return declaration.of_tool(f"{name} @ {value}" if "://" in value else f"{name} {value}")


def _hatch(table: object) -> Iterator[Entry]:
    """The environments' own dependencies, and what the build and its hooks need."""
    for name in mapping(table, "tool", "hatch", "envs"):
        for key in ("dependencies", "extra-dependencies"):
            yield from _loosely(table, "tool", "hatch", "envs", name, key)
    for base in _HATCH_HOOKS:
        targets = [base, *((*base, "targets", name) for name in mapping(table, *base, "targets"))]
        for path in targets:
            yield from _loosely(table, *path, "dependencies")
            for hook in mapping(table, *path, "hooks"):
                yield from _loosely(table, *path, "hooks", hook, "dependencies")


def _includes(document: Document, table: object) -> Iterator[Include]:
    """Requirements files that setuptools, or hatch with its plug-in, reads where `[project]` calls them dynamic."""
    setuptools = ("tool", "setuptools", "dynamic")
    hatch = ("tool", "hatch", "metadata", "hooks", "requirements_txt")
    extras = (*setuptools, "optional-dependencies")
    places = [
        (*setuptools, "dependencies", "file"),
        *((*extras, name, "file") for name in mapping(table, *extras)),
        (*hatch, "files"),
        *((*hatch, "optional-dependencies", name) for name in mapping(table, *hatch, "optional-dependencies")),
    ]  # fmt: skip
    for keys in places:
        value = mapping(table, *keys[:-1]).get(keys[-1])
        for number, written in enumerate(strings(value)):
            at = document.at(*keys) if isinstance(value, str) else document.at(*keys, number)
            yield Include(at, target(document.path, written), constraint=False)


def _pep508(text: str) -> Declaration:
    text = re.sub(r"^\s*-e\s+", "", text)  # PDM's editable ones
    if re.search(r"@\s*(?:\{root|file:|\.)", text):  # hatch's context formatting, and paths as some tools take them
        name = re.split(r"[\s\[@]", text.strip(), maxsplit=1)[0]
        return Declaration(name, text.partition("@")[2].strip(), None)
    return declaration.of_tool(text)


def _project(document: Document, table: Mapping[str, object], requirements: list[Requirement]) -> Project:
    workspace = mapping(table, "tool", "uv", "workspace")
    name = mapping(table, "project").get("name") or mapping(table, "tool", "poetry").get("name")
    own = [r for r in requirements if not _BUILD.match(r.section) and not _LIMITS.match(r.section)]
    installed = {canonicalize_name(r.name) for r in own if r.pinned is not None}
    installed.discard(canonicalize_name(name if isinstance(name, str) else ""))  # its own extras, by its own name
    return Project(
        at=document.at("project") if "project" in table else document.at("tool", "poetry"),
        name=name if isinstance(name, str) else None,
        tool=_tool(table),
        dependencies=len(installed),
        content_hash=poetry.content_hashes(table) | origin.pdm_hashes(table),
        declared=_declared(table),
        members=strings(workspace.get("members")) if isinstance(workspace.get("members"), list) else (),
        excluded=strings(workspace.get("exclude")) if isinstance(workspace.get("exclude"), list) else (),
    )


def _tool(table: Mapping[str, object]) -> str | None:
    """The tool that the project's tables speak of, else the one whose backend builds it."""
    found = next((tool for tool in _TOOLS if tool in mapping(table, "tool")), None)
    return found or _BACKENDS.get(str(mapping(table, "build-system").get("build-backend")))


def _declared(table: Mapping[str, object]) -> frozenset[Declared] | None:
    """The requirements as uv repeats them in its lock; None where the text does not say them all."""
    project = mapping(table, "project")
    dynamic = project.get("dynamic")
    if not project or (
        isinstance(dynamic, list) and {"dependencies", "optional-dependencies"} & {str(d) for d in dynamic}
    ):
        return None
    sections: dict[str, object] = {"": project.get("dependencies", [])}
    sections |= {f"extra:{canonicalize_name(k)}": v for k, v in mapping(project, "optional-dependencies").items()}
    groups = _groups(mapping(table, "dependency-groups"))
    if groups is None:
        return None
    sections |= {f"group:{name}": sorted(items) for name, items in groups.items()}
    development = mapping(table, "tool", "uv").get("dev-dependencies")
    if isinstance(development, list):
        already = sections.get("group:dev", [])
        sections["group:dev"] = [*(already if isinstance(already, list) else []), *development]
    found: set[Declared] = set()
    for section, items in sections.items():
        if not isinstance(items, list):
            return None
        try:
            found |= {declaration.declared(section, declaration.pep508(item)) for item in items}
        except (ValueError, TypeError, AttributeError):
            return None
    elsewhere = _from_elsewhere(table)
    found |= origin.uv_manifest(table)
    return frozenset(d._replace(specifier=None) if d.name.partition("[")[0] in elsewhere else d for d in found)


def _from_elsewhere(table: Mapping[str, object]) -> set[str]:
    """Names that `[tool.uv.sources]` takes from a repository or a URL, whatever the platform."""
    return {
        name
        for name, several in uv.sources(table).items()
        if len(several) == 1 and several[0].keys() & {"git", "url"} and "marker" not in several[0]
    }


def _groups(groups: Mapping[str, object]) -> Mapping[str, frozenset[str]] | None:
    """Each group's requirements with those of the groups that it includes; None where that cannot be told.

    From the innermost outwards, each once: groups that include others twice would double with every level.
    """
    own: dict[str, list[str]] = {}
    includes: dict[str, list[str]] = {}
    for name, items in groups.items():
        key = canonicalize_name(name)
        if not isinstance(items, list) or not all(isinstance(item, str | Mapping) for item in items):
            return None
        own[key] = [item for item in items if isinstance(item, str)]
        includes[key] = [canonicalize_name(str(i.get("include-group"))) for i in items if isinstance(i, Mapping)]
    try:
        order = tuple(TopologicalSorter(includes).static_order())
    except CycleError:
        return None
    found: dict[str, frozenset[str]] = {}
    left = _MAX_GROUPED
    for group in order:
        if group not in own:
            return None
        found[group] = frozenset(own[group]).union(*(found[inner] for inner in includes[group]))
        left -= len(found[group])
        if left < 0:
            return None
    return found
