"""Demand 1: every dependency exact, with the hash of what will run."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.checks import Pin, Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, count, names, weight
from vramguard.facts import Include, PathClass, Requirement, Unknown
from vramguard.link.declared import is_elsewhere, standing
from vramguard.link.environments import environments_of
from vramguard.link.fixes import covered, locked
from vramguard.link.folders import folder_of
from vramguard.link.locked import BUILD_SECTION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.environments import RequirementsFile

_OPTION = re.compile(r"[${(]+\w*(?:FLAGS?|OPTS?|OPTIONS?)[)}]*", re.IGNORECASE)  # a variable for the command's options
_LIMITS = re.compile(r"(?:constraint|override)[\w-]*$")


@check("unpinned-requirement")
@dataclass(frozen=True)
class UnpinnedRequirement:
    """A dependency that is not exact, wherever it is declared: in a file, a command, a call.

    Ranges in the forms that a lock covers (`lock_forms`) are left to the lock's own rules, version control and URLs to
    the rule of mutable sources.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    lock_forms: tuple[str, ...] = ("pyproject", "setup.py", "setup.cfg", "pipfile", "pixi")
    build_system: Severity = Severity.WARNING  # no lock holds what builds a package, and wheels need none of it
    constraints: Severity = Severity.WARNING  # a constraint installs nothing itself
    unknown: Severity = Severity.WARNING  # a word of which not even the package is known: `$PACKAGES`
    development_forms: tuple[str, ...] = ("pre-commit", "tox", "nox")
    development_packages: tuple[str, ...] = ()  # names, with `*`, of what builds, tests and installs, and serves nobody
    development: Severity = Severity.WARNING  # what only developers' tools install, and these tools themselves

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each such requirement."""
        for requirement, severity in self._judged(facts):
            if requirement.pinned in (True, None) or is_elsewhere(requirement) or _is_option(requirement):
                continue
            judged, weaker = weight(self, facts, requirement.at.path)
            if judged:
                yield replace(_unpinned(requirement, weaker or severity), pins=_pins(requirement, facts))
        for include in facts.of(Include):
            judged, weaker = weight(self, facts, include.at.path)
            if judged and not include.constraint and include.target not in facts.paths:
                yield _unread(include, weaker)

    def _judged(self, facts: Facts) -> Iterator[tuple[Requirement, Severity | None]]:
        environments = environments_of(facts)
        for file in environments.files:
            for requirement in file.requirements:
                yield requirement, self.constraints if file.constraint else self._tool(requirement)
        for requirement in standing(facts):
            path = requirement.at.path
            if requirement.section == BUILD_SECTION:
                yield requirement, self.build_system
            elif requirement.form in self.lock_forms:
                if isinstance(requirement.pinned, Unknown):
                    yield requirement, self._standing(requirement)
            elif not (requirement.form == "conda" and environments.left_to_lock(path)) and not (
                requirement.form == "script" and f"{path}.lock" in facts.paths  # uv's, beside the script
            ):
                yield requirement, self._standing(requirement)

    def _standing(self, requirement: Requirement) -> Severity | None:
        """How much a requirement outside requirements files weighs, None for the rule's own severity."""
        if isinstance(requirement.pinned, Unknown) and not requirement.specifier and not _is_named(requirement):
            return self.unknown
        if _LIMITS.search(requirement.section):
            return self.constraints
        return self.development if requirement.form in self.development_forms else self._tool(requirement)

    def _tool(self, requirement: Requirement) -> Severity | None:
        """How much a developers' tool weighs, None for anything else."""
        name = canonicalize_name(requirement.name)
        return self.development if any(fnmatchcase(name, glob) for glob in self.development_packages) else None


def _pins(requirement: Requirement, facts: Facts) -> tuple[Pin, ...]:
    """What would make it exact: the lock's version, with hashes where the file that it stands in has some."""
    package = locked(requirement, facts) if requirement.pinned is False else None
    if package is None or not package.version:
        return ()
    hashed = requirement.form == "requirements" and requirement.at.path in _hashing(facts)
    return (Pin(requirement.at, requirement.name, package.version, package.hashes if hashed else ()),)


@lru_cache(maxsize=4)  # Facts are compared by identity
def _hashing(facts: Facts) -> frozenset[str]:
    """The requirements files that have a hash on some line."""
    files = environments_of(facts).files
    return frozenset(file.path for file in files if any(line.hashed for line in file.requirements))


def _is_option(requirement: Requirement) -> bool:
    """Whether a word that a variable says is by its name an option of the command, and no package: `{USER_FLAG}`."""
    return isinstance(requirement.pinned, Unknown) and _OPTION.fullmatch(requirement.pinned.text) is not None


def _is_named(requirement: Requirement) -> bool:
    """Whether at least the package is known."""
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*", requirement.name) is not None


def _unpinned(requirement: Requirement, severity: Severity | None) -> Problem:
    values = {
        "name": requirement.name,
        "requirement": _written(requirement),
        "exact": _exact(requirement),
        "reason": requirement.reason,
        "section": requirement.section,
    }
    subject = f"{canonicalize_name(requirement.name)};{requirement.marker}"
    return Problem(requirement.at, values, severity=severity, subject=subject)


def _unread(include: Include, severity: Severity | None) -> Problem:
    target = include.target.text if isinstance(include.target, Unknown) else include.target
    values = {
        "name": target,
        "requirement": f"-r {target}",
        "exact": "-r FILE",
        "reason": "the file that it takes in is not in this repository, so nothing is known of what it asks for",
        "section": "",
    }
    return Problem(include.at, values, severity=severity, subject=f"-r {target}")


def _exact(requirement: Requirement) -> str:
    """How the requirement would read if it were exact, with the words left to fill in set in capitals."""
    if requirement.form == "conda" and requirement.section != "pip":
        return f"{requirement.name}=VERSION=BUILD"
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    return f"{requirement.name if _is_named(requirement) else 'NAME'}{extras}==VERSION"


def _written(requirement: Requirement) -> str:
    if isinstance(requirement.pinned, Unknown):
        return requirement.pinned.text
    extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


@check("requirement-without-hash")
@dataclass(frozen=True)
class RequirementWithoutHash:
    """A requirements file whose exact lines carry no hash: the version is fixed, the file behind it is not."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each file, at its first such line."""
        for file in environments_of(facts).files:
            judged, severity = weight(self, facts, file.path)
            exact = [line for line in file.requirements if line.pinned is True]
            bare = [
                line for line in exact if not line.hashed and not is_elsewhere(line)
            ]  # of a URL another rule speaks
            if judged and bare and not file.constraint:
                values = {"count": count(bare), "total": count(exact), "names": names(bare), "note": _orphans(file)}
                amount = sum(line.pinned is not None and not line.hashed for line in file.requirements)
                yield Problem(
                    bare[0].at,
                    values,
                    severity=severity,
                    amount=amount,
                    subject="hashes",
                    pins=_hashes(file, bare, facts),
                )


def _hashes(file: RequirementsFile, bare: list[Requirement], facts: Facts) -> tuple[Pin, ...]:
    """The hashes of all lines without any, where the lock has them and the list is whole: one hash makes pip ask for
    one on everything that it installs.
    """
    if not covered(file.requirements, facts, folder_of(file.path)):
        return ()
    held = [(line, locked(line, facts)) for line in bare]
    if not all(package and package.version and package.hashes for _, package in held):
        return ()
    return tuple(
        Pin(line.at, line.name, package.version, package.hashes)
        for line, package in held
        if package and package.version
    )


def _orphans(file: RequirementsFile) -> str:
    if not file.orphans:
        return ""
    if file.orphans == 1:
        return "; 1 `--hash` line belongs to no requirement, so pip ignores it"
    return f"; {file.orphans} `--hash` lines belong to no requirement, so pip ignores them"
