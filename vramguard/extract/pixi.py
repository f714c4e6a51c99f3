"""pixi's tables: packages of conda and of an index, by feature and by platform; in pixi.toml or `[tool.pixi]`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from vramguard.extract import declaration, matchspec
from vramguard.extract.declaration import Declaration
from vramguard.extract.tables import Entry, mapping, named
from vramguard.facts import Channels, Project

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Fact
    from vramguard.source import Document

_CONDA: Final = ("dependencies", "host-dependencies", "build-dependencies", "run-dependencies", "constraints")
_PYPI: Final = ("pypi-dependencies",)
_PRIORITY: Final = "strict"  # pixi's own default: pixi.sh, "Manifest: channel-priority"


def extract(document: Document) -> Iterator[Fact]:
    """Every package, the channels, and the project."""
    table = document.value
    requirements = [entry.fact(document, "pixi") for entry in entries(table)]
    yield from requirements
    yield from channels(document, table)
    names = {r.name.lower() for r in requirements if r.pinned is not None and not r.section.endswith("constraints")}
    head = next((key for key in ("workspace", "project", "package") if mapping(table, key)), "dependencies")
    name = mapping(table, head).get("name")
    yield Project(document.at(head), name if isinstance(name, str) else None, "pixi", len(names), form="pixi")


def entries(table: object, *base: str) -> Iterator[Entry]:
    """Every package of the tables under `base`."""
    places = [base, (*base, "package")]
    places += [(*base, "feature", name) for name in mapping(table, *base, "feature")]
    places += [(*place, "target", name) for place in list(places) for name in mapping(table, *place, "target")]
    for place in places:
        for key in _CONDA:
            yield from named(table, *place, key, read=_conda)
        for key in _PYPI:
            yield from named(table, *place, key, read=_pypi)


def channels(document: Document, table: object, *base: str) -> Iterator[Channels]:
    """Where the packages come from: the workspace's channels, and those of features."""
    places = [(*base, "workspace"), (*base, "project")]
    places += [(*base, "feature", name) for name in mapping(table, *base, "feature")]
    for place in places:
        here = mapping(table, *place)
        listed = here.get("channels")
        if isinstance(listed, list):
            found = [item.get("channel") if isinstance(item, Mapping) else item for item in listed]
            priority = here.get("channel-priority", _PRIORITY)
            names = tuple(name for name in found if isinstance(name, str))
            yield Channels(document.at(*place, "channels"), names, priority if isinstance(priority, str) else None)


def _conda(name: str, value: object) -> Declaration:
    if isinstance(value, str):
        return matchspec.version(name, *_parted(value))
    if not isinstance(value, Mapping):
        return declaration.wrong(str(value), "pixi takes a version or a table here", name)
    elsewhere = _elsewhere(name, value)
    if elsewhere is not None:
        return elsewhere
    version, build, digest = (value.get(key) for key in ("version", "build", "sha256"))
    return matchspec.version(
        name,
        version if isinstance(version, str) else "*",
        build if isinstance(build, str) else "",
        digest if isinstance(digest, str) else "",
    )


def _parted(value: str) -> tuple[str, str]:
    """`1.26.4 py311_0` and `==1.26.4=py311_0` are a version and a build."""
    read = matchspec.read(f"name {value}" if value[:1].isdigit() else f"name{value}")
    version, _, build = read.specifier.lstrip("=").partition("=")
    operators = read.specifier[: len(read.specifier) - len(read.specifier.lstrip("="))]
    return (operators + version, build) if build and value[:1] in "=0123456789" else (value, "")


def _pypi(name: str, value: object) -> Declaration:
    if isinstance(value, str):
        return _index(name, value)
    if not isinstance(value, Mapping):
        return declaration.wrong(str(value), "pixi takes a version or a table here", name)
    extras = value.get("extras")
    version = value.get("version")
    said = _elsewhere(name, value) or _index(name, version if isinstance(version, str) else "*")
    return said._replace(extras=tuple(sorted(str(extra) for extra in extras)) if isinstance(extras, list) else ())


def _index(name: str, version: str) -> Declaration:
    return declaration.of_tool(name if version.strip() in ("", "*") else f"{name} {version}")


def _elsewhere(name: str, value: Mapping[str, object]) -> Declaration | None:
    """What a table takes from a folder, a repository or a URL; None where it takes it from a channel or an index."""
    if "path" in value or value.get("workspace") is True:
        return Declaration(name, str(value.get("path", "")), None)
    if "git" in value:
        reference = value.get("rev") or value.get("tag") or value.get("branch")
        return declaration.repository(name, str(value["git"]), reference)
    if "url" not in value:
        return None
    digest = value.get("sha256")
    return declaration.read(f"{name} @ {value['url']}" + (f"#sha256={digest}" if isinstance(digest, str) else ""))
