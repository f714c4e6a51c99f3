"""How a declaration differs from what a lock was made from, in words; nothing where it cannot be told."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, canonicalize_version

from vramguard.link.satisfied import grammar, satisfies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Declared, Lock, LockedPackage, Requirement

UNSAFE = ("pip", "setuptools", "distribute", "wheel")  # pip-tools: UNSAFE_PACKAGES, and wheel
_SHORT = 3  # letters of a part of a name that many names share
_LONG = 100  # letters of a name that nobody gave
_PLAIN = re.compile(r"(?:[<>!=]=|[<>])[^=*]+")
_OWN = ("constraint:", "override:")  # sections of a workspace's root alone


def changes(then: frozenset[Declared], now: frozenset[Declared]) -> tuple[str, ...]:
    """What was added, taken out or changed. One that comes from a source has no version to compare."""
    before, after = _grouped(then), _grouped(now)
    return tuple(
        words
        for key in sorted(before.keys() | after.keys())
        for words in [_change(before.get(key, set()), after.get(key, set()))]
        if words
    )


def without_own(declared: frozenset[Declared]) -> frozenset[Declared]:
    """What a member of a workspace has a say in: constraints and overrides are the root's."""
    return frozenset(item for item in declared if item.section not in _OWN)


def _grouped(declared: Iterable[Declared]) -> dict[tuple[str, str], set[Declared]]:
    groups: dict[tuple[str, str], set[Declared]] = defaultdict(set)
    for item in declared:
        groups[item.section, item.name.partition("[")[0]].add(item)
    return groups


def _change(then: set[Declared], now: set[Declared]) -> str:
    """One dependency's change in words; none where it did not change, or cannot be told because of a source."""
    if then == now:
        return ""
    before, after = (", ".join(sorted(f"{item.name}{item.specifier or ''}" for item in side)) for side in (then, now))
    what = {"constraint:": "the constraint ", "override:": "the override "}.get(next(iter(then | now)).section, "")
    if not then:
        return f"{what}{after} is not in it"
    if not now:
        return f"{what}{before} is in it, though no longer declared"
    if _is_from_index(then) and all(item.specifier is None for item in now):
        return f"{what}{after} comes from a repository or a URL, and from the index in the lock"
    same = set(map(_canonical, then)) == set(map(_canonical, now))
    return f"{what}{after} was {before}" if not same and _is_from_index(then | now) else ""


def _canonical(item: Declared) -> Declared:
    """The same versions written alike: `>=4.25` is `>=4.25.0`, though `~=4.25` is not `~=4.25.0`."""
    clauses = (item.specifier or "").split(",")
    return item._replace(
        specifier=",".join(sorted(_trimmed(clause) if _PLAIN.fullmatch(clause) else clause for clause in clauses))
    )


@lru_cache(maxsize=4096)  # the same limits are written again and again
def _trimmed(clause: str) -> str:
    operator = clause[: 2 if clause[1] == "=" else 1]
    version = clause[len(operator) :]
    return operator + (canonicalize_version(version) if len(version) < _LONG else version)


def _is_from_index(declared: set[Declared]) -> bool:
    return all(item.specifier is not None for item in declared)


class Held:
    """What locks hold together, by normalised names, for the questions that a declaration asks of them."""

    def __init__(self, *locks: Lock) -> None:
        self._named: dict[str, list[LockedPackage]] = defaultdict(list)
        packages = [package for lock in locks for package in lock.packages]
        for package in packages:
            for name in (package.name, *package.also):
                self._named[canonicalize_name(name)].append(package)
        self._conda = {name for name, found in self._named.items() if found[0].manager == "conda"}
        self._joined = "\n".join(self._conda)
        self._pip = any(package.manager == "pip" for package in packages)
        self._overridden = {item.name.partition("[")[0] for lock in locks for item in lock.manifest or ()}

    def holds(self, asked: Requirement) -> bool:
        """Whether the lock has the package, or may have it under the other name that conda gives it.

        The two names hold one another nearly always: pytorch and torch, py-opencv and opencv-python apart from `py`.
        A list of conda's that names nothing of pip's says nothing of pip's.
        """
        name = canonicalize_name(asked.name)
        if name in self._named:
            return True
        if grammar(asked) == "conda" or not self._conda:
            return False
        return not self._pip or self._alike(name)

    def _alike(self, name: str) -> bool:
        """Whether the name, or a part of it of some length, is in one of conda's names, or one of those in it."""
        parts = [part for part in name.split("-") if len(part) > _SHORT and part not in ("python", "py")]
        if len(name) > _LONG or any(part in self._joined for part in (name, *parts)):
            return True
        ends = range(len(name) + 1)
        return any(name[start:end] in self._conda for start in ends for end in ends[start + 1 :])

    def contradiction(self, asked: Requirement) -> str:
        """`torch>=2 is held as 1.13.1`, where no version that the lock has of it is one that is asked for."""
        found = self._named.get(canonicalize_name(asked.name), [])
        kind = grammar(asked)
        versions = list(dict.fromkeys(package.version for package in found))
        told = all(package.local is None and package.commit is None for package in found)
        if not found or not told or canonicalize_name(asked.name) in self._overridden:
            return ""
        if any(version is None or satisfies(version, asked.specifier, kind) for version in versions):
            return ""
        mark = "" if not asked.specifier or asked.specifier[0] in "<>=!~^" else " "
        return f"{asked.name}{mark}{asked.specifier} is held as {', '.join(map(str, versions[:2]))}"


def lacking(held: Held, declared: Iterable[Requirement]) -> tuple[str, ...]:
    """Declared dependencies that the lock does not hold at all.

    One under a marker may be left out, and compilers leave out what they call unsafe.
    """
    sure = (asked for asked in declared if not asked.marker and canonicalize_name(asked.name) not in UNSAFE)
    names = dict.fromkeys(asked.name for asked in sure if not held.holds(asked))
    return tuple(f"{name} is not in it" for name in names)


def contradicting(held: Held, declared: Iterable[Requirement]) -> tuple[str, ...]:
    """Declared dependencies of which the lock holds other versions.

    Of one that is declared more than once, under markers, any of the declarations may be the one that holds.
    """
    asked: dict[str, list[str]] = defaultdict(list)
    for requirement in declared:
        asked[canonicalize_name(requirement.name)].append(held.contradiction(requirement))
    return tuple(words[0] for words in asked.values() if all(words))
