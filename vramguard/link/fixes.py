"""What would make a requirement exact without asking anybody: the version that a lock of the repository holds."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from vramguard.facts import Lock
from vramguard.link.folders import folder_of, upwards
from vramguard.link.resolved import CONDA, held

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Facts, LockedPackage, Requirement

_OTHER_GRAMMARS: Final = frozenset({"conda", "pixi", "pipfile", "metaflow", "space"})  # no `==VERSION` of PEP 440 there


def locked(requirement: Requirement, facts: Facts) -> LockedPackage | None:
    """The one version of it that the nearest lock holds, in its folder or in one above; None where that is not told.

    A version that the requirement itself excludes is none: then the two have to be settled by a person.
    """
    if requirement.form in _OTHER_GRAMMARS or "://" in requirement.specifier:
        return None
    for folder in upwards(folder_of(requirement.at.path)):
        found = _locks(facts).get(folder, {}).get(canonicalize_name(requirement.name))
        if found:
            return found[0] if len({item.version for item in found}) == 1 and _allows(requirement, found[0]) else None
    return None


def covered(requirements: Iterable[Requirement], facts: Facts, folder: str) -> bool:
    """Whether a list names every package of the nearest lock: with hashes on all of them pip asks for no other."""
    names = {canonicalize_name(line.name) for line in requirements}
    lock = next((found for outer in upwards(folder) if (found := _locks(facts).get(outer))), {})
    return bool(lock) and lock.keys() <= names


@lru_cache(maxsize=4)  # Facts are compared by identity
def _locks(facts: Facts) -> dict[str, dict[str, list[LockedPackage]]]:
    """The packages of an index that the locks of each folder hold, by their normalised names."""
    found: dict[str, dict[str, list[LockedPackage]]] = {}
    for lock in facts.of(Lock):
        for package in lock.packages if lock.form not in CONDA else ():
            if (one := held(package)) is not None:
                found.setdefault(folder_of(lock.at.path), {}).setdefault(one.name, []).append(package)
    return found


def _allows(requirement: Requirement, package: LockedPackage) -> bool:
    try:
        return SpecifierSet(requirement.specifier).contains(package.version or "", prereleases=True)
    except ValueError:  # of packaging, and of numbers with too many digits
        return False
