"""Which exact versions are installed together, as far as one file says: a lock, or the exact lines of a list."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from vramguard.facts import Lock
from vramguard.link.environments import environments_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, LockedPackage
    from vramguard.source import Location

CONDA = ("conda-lock", "conda-explicit", "pixi")  # locks that hold conda's packages, whose names are not PyPI's
_EXACT = re.compile(r"={2,3}\s*([^\s,;*]+)")


class Held(NamedTuple):
    """A package at one version; `name` is normalised, `version` as written, with its local label."""

    name: str
    version: str
    at: Location


class Resolved(NamedTuple):
    """The versions that one file fixes. `form` is a lock's, or `requirements`; `at` its first line."""

    at: Location
    form: str
    packages: tuple[Held, ...]


@lru_cache(maxsize=4)  # several rules ask for the same join; Facts are compared by identity
def resolved(facts: Facts) -> tuple[Resolved, ...]:
    """Every lock and every list of requirements with exact lines, in the order of their paths."""
    return tuple(sorted([*_locks(facts), *_lists(facts)], key=lambda item: item.at))


def _locks(facts: Facts) -> Iterator[Resolved]:
    for lock in facts.of(Lock):
        packages = (held(package) for package in lock.packages)
        yield Resolved(lock.at, lock.form, tuple(item for item in packages if item is not None))


def held(package: LockedPackage) -> Held | None:
    """What an index holds under the package's name; None for a folder, and for a commit that no index knows."""
    if not package.version or package.local is not None or package.commit is not None:
        return None
    return Held(canonicalize_name(package.name), package.version, package.at)


def _lists(facts: Facts) -> Iterator[Resolved]:
    for file in environments_of(facts).files:
        exact = ((line, _EXACT.fullmatch(line.specifier)) for line in file.requirements if line.pinned is True)
        found = tuple(Held(canonicalize_name(line.name), match[1], line.at) for line, match in exact if match)
        if found and not file.constraint:
            yield Resolved(found[0].at._replace(line=1, column=1, end_line=1, end_column=1), "requirements", found)
