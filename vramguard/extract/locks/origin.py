"""What a lock repeats of the declaration that it was made from, computed from that declaration."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from vramguard.extract.declaration import declared
from vramguard.extract.locks.reading import Table, strings, table

if TYPE_CHECKING:
    from vramguard.facts import Declared

_PIPFILE = ("source", "packages", "dev-packages", "requires", "scripts", "pipfile", "pipenv", "default", "develop")
_PYPI = {"name": "pypi", "url": "https://pypi.org/simple", "verify_ssl": True}
_OLD_PYPI = {"url": "https://pypi.python.org/simple", "verify_ssl": True}


def pdm_hashes(pyproject: Table) -> frozenset[str]:
    """Each `content_hash` that a released pdm computes for this pyproject.toml, as `sha256:…`.

    Source: `PyProject.content_hash` in pdm 2.4.9, 2.8.2, 2.12.4, 2.16.1, 2.20.1, 2.22.4, 2.26.2 and 2.29.4
    (pdm/project/project_file.py), `Project.get_content_hash` in 1.5.3, 1.8.5, 1.15.5 and 2.0.0 (pdm/project/core.py).
    Overrides came with 1.9, moved under `resolution` with 2.1; with 2.13 all of it counts, with 2.20
    `[dependency-groups]` too. A file without `[project]` is converted first, so nothing is known of it.
    """
    project, settings = table(pyproject.get("project")), table(table(pyproject.get("tool")).get("pdm"))
    if not project:
        return frozenset()
    resolution = settings.get("resolution", {})
    common = {
        "sources": settings.get("source", []),
        "dependencies": project.get("dependencies", []),
        "dev-dependencies": settings.get("dev-dependencies", {}),
        "optional-dependencies": project.get("optional-dependencies", {}),
        "requires-python": project.get("requires-python", ""),
    }
    grouped = {**common, "dev-dependencies": _pdm_groups(pyproject, settings)}
    candidates = [
        common,
        {**common, "overrides": settings.get("overrides", {})},
        {**common, "overrides": table(resolution).get("overrides", {})},
        {**common, "resolution": resolution},
        {**grouped, "resolution": resolution},
    ]
    return frozenset(f"sha256:{digest}" for digest in _digests(candidates, (", ", ": ")))


def _pdm_groups(pyproject: Table, settings: Table) -> dict[str, object]:
    groups: dict[str, object] = {
        canonicalize_name(name): value for name, value in table(pyproject.get("dependency-groups")).items()
    }
    for name, value in table(settings.get("dev-dependencies")).items():
        already = groups.get(canonicalize_name(name), [])
        both = isinstance(already, list) and isinstance(value, list)
        groups[canonicalize_name(name)] = [*already, *value] if both else value  # type: ignore[misc]
    return groups


def pipfile_hashes(pipfile: Table) -> frozenset[str]:
    """Each `_meta.hash.sha256` that a released pipenv computes for this Pipfile.

    Source: `Pipfile.get_hash` in plette 0.2 to 2.4.0 (plette/pipfiles.py), with categories of one's own
    since pipenv 2022.10;
    `PipfileParser.parse` in pipfile 0.0.2 (pipfile/api.py), which pipenv used until 2022.1.8;
    `calculate_pipfile_hash` of pipenv 2026.10.3 (pipenv/utils/pipfile.py), which normalises names.
    """
    own = {key: value for key, value in pipfile.items() if key not in _PIPFILE}
    sources = [pipfile["source"]] if "source" in pipfile else [[_PYPI], [_OLD_PYPI], {}]
    candidates = [
        {
            "_meta": {"sources": source, "requires": pipfile.get("requires", {})},
            **{key: change(value) for key, value in categories.items()},
            "default": change(pipfile.get("packages", {})),
            "develop": change(pipfile.get("dev-packages", {})),
        }
        for source in sources
        for categories in ({}, own)
        for change in (_as_is, _normalised)
    ]
    return frozenset(_digests(candidates, (",", ":")))


def _as_is(section: object) -> object:
    return section


def _normalised(section: object) -> object:
    return {canonicalize_name(key): item for key, item in section.items()} if isinstance(section, Mapping) else section


def uv_manifest(pyproject: Table) -> frozenset[Declared]:
    """The constraints and overrides of `[tool.uv]`, as uv repeats them in the `[manifest]` of its lock."""
    return frozenset(_uv_manifest(table(table(pyproject.get("tool")).get("uv"))))


def _uv_manifest(settings: Table) -> Iterator[Declared]:
    for section, key in (("constraint:", "constraint-dependencies"), ("override:", "override-dependencies")):
        for item in strings(settings.get(key)):
            try:
                yield declared(section, Pep508(item))
            except ValueError:  # no requirement, or a number of more digits than Python reads
                continue


def _digests(candidates: list[dict[str, object]], separators: tuple[str, str]) -> list[str]:
    try:
        texts = [json.dumps(candidate, sort_keys=True, separators=separators) for candidate in candidates]
    except TypeError:  # a date, which the tools cannot hash either
        return []
    return [hashlib.sha256(text.encode()).hexdigest() for text in texts]
