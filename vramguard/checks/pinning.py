"""Demand 1: every dependency exact, with the hash of what will run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, names, weight
from vramguard.facts import Include, PathClass, Requirement, Unknown
from vramguard.link.environments import BUILD_SECTION, environments_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.environments import RequirementsFile


@check("unpinned-requirement")
@dataclass(frozen=True)
class UnpinnedRequirement:
    """A dependency that is not exact, in a requirements file or in `[build-system] requires`.

    Ranges in the tables that a lock covers are left to the lock's own rules.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    build_system: Severity = Severity.WARNING  # no lock holds what builds a package, and wheels need none of it
    constraints: Severity = Severity.WARNING  # a constraint installs nothing itself

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each such requirement."""
        for requirement, severity in self._judged(facts):
            judged, weaker = weight(self, facts, requirement.at.path)
            if judged and requirement.pinned is not True and requirement.pinned is not None:
                yield _unpinned(requirement, weaker or severity)
        for include in facts.of(Include):
            judged, weaker = weight(self, facts, include.at.path)
            if judged and not include.constraint and include.target not in facts.paths:
                yield _unread(include, weaker)

    def _judged(self, facts: Facts) -> Iterator[tuple[Requirement, Severity | None]]:
        for file in environments_of(facts).files:
            for requirement in file.requirements:
                yield requirement, self.constraints if file.constraint else None
        for requirement in facts.of(Requirement):
            if requirement.form == "pyproject" and requirement.section == BUILD_SECTION:
                yield requirement, self.build_system
            elif requirement.form == "pyproject" and isinstance(requirement.pinned, Unknown):
                yield requirement, None


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
    """How the requirement would read if it were exact, with the one word left to fill in set in capitals."""
    url, mark, fragment = requirement.specifier.partition("#")
    scheme, separator, rest = url.partition("://")
    if not separator:
        extras = f"[{','.join(requirement.extras)}]" if requirement.extras else ""
        return f"{requirement.name}{extras}==VERSION"
    if "+" not in scheme:
        return f"{url}#sha256=DIGEST"
    host, slash, path = rest.partition("/")  # an `@` in the host is a user's, one in the path opens the reference
    return f"{scheme}://{host}{slash}{path.rpartition('@')[0] or path}@COMMIT{mark}{fragment}"


def _written(requirement: Requirement) -> str:
    if isinstance(requirement.pinned, Unknown):
        return requirement.pinned.text
    if "://" in requirement.specifier:
        return requirement.specifier
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
            bare = [line for line in exact if not line.hashed]
            if judged and bare and not file.constraint:
                values = {"count": len(bare), "total": len(exact), "names": names(bare), "note": _orphans(file)}
                amount = sum(line.pinned is not None and not line.hashed for line in file.requirements)
                yield Problem(bare[0].at, values, severity=severity, amount=amount, subject="hashes")


def _orphans(file: RequirementsFile) -> str:
    if not file.orphans:
        return ""
    if file.orphans == 1:
        return "; 1 `--hash` line belongs to no requirement, so pip ignores it"
    return f"; {file.orphans} `--hash` lines belong to no requirement, so pip ignores them"
