"""Demand 1: every dependency exact, with the hash of what will run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from packaging.utils import canonicalize_name

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import Include, Lock, PathClass, Project, Requirement, Unknown
from vramguard.link.environments import BUILD_SECTION, environments_of, unhashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts, LockedPackage
    from vramguard.link.environments import Locked, RequirementsFile, Source

_NAMED = 3  # how many of a list are named before "and N more"


_JUDGED = (PathClass.SERVING, PathClass.TRAINING)
_WEAKER = (PathClass.EXAMPLE, PathClass.TEST, PathClass.DOCS)  # run by people, not by customers: a warning


@check("unpinned-requirement")
@dataclass(frozen=True)
class UnpinnedRequirement:
    """A dependency that is not exact, in a requirements file or in `[build-system] requires`.

    Ranges in the tables that a lock covers are left to the lock's own rules.
    """

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER
    build_system: Severity = Severity.WARNING  # no lock holds what builds a package, and wheels need none of it
    constraints: Severity = Severity.WARNING  # a constraint installs nothing itself

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each such requirement."""
        for requirement, severity in self._judged(facts):
            judged, weaker = _weight(self, facts, requirement.at.path)
            if judged and requirement.pinned is not True and requirement.pinned is not None:
                yield _unpinned(requirement, weaker or severity)
        for include in facts.of(Include):
            judged, weaker = _weight(self, facts, include.at.path)
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

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each file, at its first such line."""
        for file in environments_of(facts).files:
            judged, severity = _weight(self, facts, file.path)
            exact = [line for line in file.requirements if line.pinned is True]
            bare = [line for line in exact if not line.hashed]
            if judged and bare and not file.constraint:
                values = {"count": len(bare), "total": len(exact), "names": _names(bare), "note": _orphans(file)}
                amount = sum(line.pinned is not None and not line.hashed for line in file.requirements)
                yield Problem(bare[0].at, values, severity=severity, amount=amount, subject="hashes")


def _orphans(file: RequirementsFile) -> str:
    if not file.orphans:
        return ""
    if file.orphans == 1:
        return "; 1 `--hash` line belongs to no requirement, so pip ignores it"
    return f"; {file.orphans} `--hash` lines belong to no requirement, so pip ignores them"


@check("missing-lock-file")
@dataclass(frozen=True)
class MissingLockFile:
    """A pyproject.toml that declares dependencies, and no lock that fixes them and what they bring along."""

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each project."""
        environments = environments_of(facts)
        for project in facts.of(Project):
            judged, severity = _weight(self, facts, project.at.path)
            if judged and project.dependencies and self._missing(facts, project, environments.locked(project)):
                count = project.dependencies
                values = {
                    "name": project.name or "this file",
                    "dependencies": "1 dependency" if count == 1 else f"{count} dependencies",
                    "command": _LOCKERS.get(project.tool or "", "uv lock"),
                }
                yield Problem(project.at, values, severity=severity, subject="lock")

    def _missing(self, facts: Facts, project: Project, held: list[Locked] | None) -> bool:
        """Whether no lock counts: that of some test or of the documentation is none for what serves."""
        if held is None or facts.classify(project.at.path) in self.warnings:
            return held == []
        return all(lock is not None and facts.classify(lock.at.path) in self.warnings for lock, _, _ in held)


@check("stale-lock-file")
@dataclass(frozen=True)
class StaleLockFile:
    """A lock that was made from another pyproject.toml, or compiled from another source, than stands beside it."""

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each project and lock that differ."""
        environments = environments_of(facts)
        for project in facts.of(Project):
            for held in environments.locked(project) or ():
                judged, severity = _weight(self, facts, held.at.path)
                if judged and held.lock is not None and held.differences:
                    yield _stale(project, held.lock, held, severity)
        for source in environments.sources:
            judged, severity = _weight(self, facts, source.compiled)
            if judged and source.differences:
                yield _recompile(source, severity)


def _stale(project: Project, lock: Lock, held: Locked, severity: Severity | None) -> Problem:
    values = {
        "lock": lock.at.path,
        "project": project.at.path,
        "folder": lock.at.path.rpartition("/")[0] or "the repository's root",
        "differences": _some(held.differences, "; "),
        "command": _LOCKERS.get(lock.form, "uv lock"),
    }
    evidence = (Evidence(project.at, "what is declared"), Evidence(lock.at, "the lock of an earlier declaration"))
    subject = f"{project.at.path};{lock.at.path}"
    return Problem(held.at, values, evidence, severity, amount=len(held.differences), subject=subject)


def _recompile(source: Source, severity: Severity | None) -> Problem:
    values = {
        "lock": source.compiled,
        "project": source.path,
        "folder": source.compiled.rpartition("/")[0] or "the repository's root",
        "differences": _some(source.differences, "; "),
        "command": f"pip-compile --generate-hashes {source.path.rpartition('/')[2]}",
    }
    subject = f"{source.path};{source.compiled}"
    return Problem(source.at, values, severity=severity, amount=len(source.differences), subject=subject)


@check("lock-entry-without-hash")
@dataclass(frozen=True)
class LockEntryWithoutHash:
    """A lock whose packages lack a strong hash. Folders of the repository have none by nature, a commit is one."""

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each lock, at the first such package."""
        for lock in facts.of(Lock):
            judged, severity = _weight(self, facts, lock.at.path)
            bare = [package for package in lock.packages if unhashed(package, lock.form)]
            if judged and bare:
                values = {"count": len(bare), "total": len(lock.packages), "names": _names(bare)}
                values["command"] = _LOCKERS.get(lock.form, "uv lock")
                yield Problem(bare[0].at, values, severity=severity, amount=len(bare), subject="hashes")


# What writes a lock anew, by the tool or the form of the lock.
_LOCKERS = {"poetry": "poetry lock", "uv": "uv lock", "pdm": "pdm lock", "pylock": "pip lock"}


class _Judging(Protocol):
    @property
    def classes(self) -> tuple[PathClass, ...]: ...
    @property
    def warnings(self) -> tuple[PathClass, ...]: ...


def _weight(rule: _Judging, facts: Facts, path: str) -> tuple[bool, Severity | None]:
    """Whether the rule judges the path at all, and the severity that takes the rule's own place."""
    found = facts.classify(path)
    return found in (*rule.classes, *rule.warnings), Severity.WARNING if found in rule.warnings else None


def _names(found: Iterable[Requirement | LockedPackage]) -> str:
    return _some(dict.fromkeys(item.name for item in found), ", ")


def _some(words: Iterable[str], joint: str) -> str:
    """The first few, and how many more there are."""
    listed = list(words)
    rest = len(listed) - _NAMED
    return joint.join(listed[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
