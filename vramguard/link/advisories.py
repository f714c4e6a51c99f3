"""Deployments in an environment that an advisory names: locked packages joined to the cards that they meet."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.facts import Lock, Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.data import Advisory, Gpu
    from vramguard.facts import Facts
    from vramguard.source import Location


def advised(facts: Facts, near: tuple[Location, ...], card: Gpu) -> tuple[Advisory, str] | None:
    """The first advisory that an environment of these places matches on the card, and the file that locks it.

    An environment is a lock, or a requirements file, in the folder of one of the places or in one above it.
    """
    if not facts.of(Lock) and not facts.of(Requirement):
        return None
    for path, versions in _environments(facts).items():
        folder = posixpath.dirname(path)
        if any(_holds(folder, posixpath.dirname(at.path)) for at in near):
            for advisory in data.advisories():
                if card.compute_capability in advisory.capabilities and _matches(versions, advisory.packages):
                    return advisory, path
    return None


def _environments(facts: Facts) -> dict[str, dict[str, str]]:
    """Exact versions by the file that gives them, local labels (+cu118) aside."""
    from packaging.utils import canonicalize_name  # only where there is something to compare

    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path, name, version in _pins(facts):
        found[path][canonicalize_name(name)] = version
    return found


def _pins(facts: Facts) -> Iterator[tuple[str, str, str]]:
    for lock in facts.of(Lock):
        yield from ((lock.at.path, item.name, item.version) for item in lock.packages if item.version)
    for line in facts.of(Requirement):
        if line.pinned is True and line.specifier.startswith("=="):
            yield line.at.path, line.name, line.specifier.strip("= ")


def _holds(folder: str, place: str) -> bool:
    return not folder or place == folder or place.startswith(f"{folder}/")


def _matches(versions: Mapping[str, str], packages: Mapping[str, str]) -> bool:
    return all(name in versions and _same(versions[name], version) for name, version in packages.items())


def _same(found: str, meant: str) -> bool:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(found).public == Version(meant).public
    except InvalidVersion:
        return False
