"""Demand 1: one lock that holds for what is declared, with the hash of every file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, names, some, weight
from vramguard.facts import Lock, PathClass, Project
from vramguard.link.environments import environments_of, unhashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.environments import Locked, Source


@check("missing-lock-file")
@dataclass(frozen=True)
class MissingLockFile:
    """A pyproject.toml that declares dependencies, and no lock that fixes them and what they bring along."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each project."""
        environments = environments_of(facts)
        for project in facts.of(Project):
            judged, severity = weight(self, facts, project.at.path)
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

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each project and lock that differ."""
        environments = environments_of(facts)
        for project in facts.of(Project):
            for held in environments.locked(project) or ():
                judged, severity = weight(self, facts, held.at.path)
                if judged and held.lock is not None and held.differences:
                    yield _stale(project, held.lock, held, severity)
        for source in environments.sources:
            judged, severity = weight(self, facts, source.compiled)
            if judged and source.differences:
                yield _recompile(source, severity)


def _stale(project: Project, lock: Lock, held: Locked, severity: Severity | None) -> Problem:
    values = {
        "lock": lock.at.path,
        "project": project.at.path,
        "folder": lock.at.path.rpartition("/")[0] or "the repository's root",
        "differences": some(held.differences, "; "),
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
        "differences": some(source.differences, "; "),
        "command": f"pip-compile --generate-hashes {source.path.rpartition('/')[2]}",
    }
    subject = f"{source.path};{source.compiled}"
    return Problem(source.at, values, severity=severity, amount=len(source.differences), subject=subject)


@check("lock-entry-without-hash")
@dataclass(frozen=True)
class LockEntryWithoutHash:
    """A lock whose packages lack a strong hash. Folders of the repository have none by nature, a commit is one."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each lock, at the first such package."""
        for lock in facts.of(Lock):
            judged, severity = weight(self, facts, lock.at.path)
            bare = [package for package in lock.packages if unhashed(package, lock.form)]
            if judged and bare:
                values = {"count": len(bare), "total": len(lock.packages), "names": names(bare)}
                values["command"] = _LOCKERS.get(lock.form, "uv lock")
                yield Problem(bare[0].at, values, severity=severity, amount=len(bare), subject="hashes")


# What writes a lock anew, by the tool or the form of the lock.
_LOCKERS = {"poetry": "poetry lock", "uv": "uv lock", "pdm": "pdm lock", "pylock": "pip lock"}
