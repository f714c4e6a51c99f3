"""Demand 1: one lock that holds for what is declared, with the hash of every file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, count, names, some, weight
from vramguard.facts import Lock, PathClass, Project
from vramguard.link.environments import environments_of
from vramguard.link.folders import folder_of
from vramguard.link.locked import unhashed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.environments import Source
    from vramguard.link.locked import Locked
    from vramguard.source import Location


# What writes a lock anew, by the form of the lock; the tool of a project has the name of its lock's form.
_LOCKERS = {
    "poetry": "poetry lock",
    "uv": "uv lock",
    "pdm": "pdm lock",
    "pylock": "pip lock",
    "pipenv": "pipenv lock",
    "pixi": "pixi lock",
    "conda-lock": "conda-lock lock",
    "conda-explicit": "conda list --explicit --sha256",
    "requirements": "pip-compile --generate-hashes",
}
# Of several declarations in one folder the first speaks for it; conda's lines are judged one by one where no lock is.
_FORMS = ("pyproject", "pixi", "pipfile", "setup.cfg", "setup.py")


@check("missing-lock-file")
@dataclass(frozen=True)
class MissingLockFile:
    """A declaration of dependencies, and no lock that fixes them and what they bring along.

    `accepted`: the kinds of lock that count, by default each that can hold hashes; `requirements` are compiled ones.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    accepted: tuple[str, ...] = tuple(_LOCKERS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each folder, at the first of its declarations that no lock fixes."""
        environments = environments_of(facts)
        told: set[str] = set()
        for project in _projects(facts):
            judged, severity = weight(self, facts, project.at.path)
            folder = folder_of(project.at.path)
            if judged and project.dependencies and project.form in _FORMS and folder not in told:
                held = environments.locked(project)
                if self._missing(facts, project, held):
                    told.add(folder)
                    yield self._problem(project, held or [], severity)

    def _missing(self, facts: Facts, project: Project, held: list[Locked] | None) -> bool:
        """Whether no lock counts: that of some test or of the documentation is none for what serves."""
        if held is None:
            return False
        counted = [lock for lock, _, _ in held if (lock.form if lock else "requirements") in self.accepted]
        if facts.classify(project.at.path) in self.warnings:
            return not counted
        return all(lock is not None and facts.classify(lock.at.path) in self.warnings for lock in counted)

    def _problem(self, project: Project, held: list[Locked], severity: Severity | None) -> Problem:
        others = [lock.at.path if lock else "compiled requirements" for lock, _, _ in held]
        refused = [
            other
            for other, (lock, _, _) in zip(others, held, strict=True)
            if (lock.form if lock else "requirements") not in self.accepted
        ]
        declared = project.dependencies
        values = {
            "name": project.name or "this file",
            "dependencies": "1 dependency" if declared == 1 else f"{declared} dependencies",
            "command": self._command(project),
            "note": f": of {some(refused, ', ')}, the kind is not accepted here" if refused else "",
        }
        return Problem(project.at, values, severity=severity, subject="lock")

    def _command(self, project: Project) -> str:
        """What writes an accepted lock for the project: its own tool, or uv, which locks no setup.py and setup.cfg."""
        plain = project.form.startswith("setup.")
        tool = project.tool if project.tool in _LOCKERS else "requirements" if plain else "uv"
        form = tool if tool in self.accepted or not self.accepted else self.accepted[0]
        compiled = form == "requirements"
        source = project.at.path.rpartition("/")[2]
        return f"{_LOCKERS[form]} -o requirements.txt {source}" if compiled else _LOCKERS[form]


def _projects(facts: Facts) -> Iterator[Project]:
    """Every project once: a setup.py declares the same as the pyproject.toml or the setup.cfg beside it."""
    declaring: set[str] = set()
    for project in sorted(facts.of(Project), key=_rank):
        folder = folder_of(project.at.path)
        if not project.form.startswith("setup.") or folder not in declaring:
            yield project
        if project.dependencies and project.form in ("pyproject", "setup.cfg", "setup.py"):
            declaring.add(folder)


def _rank(project: Project) -> tuple[int, Location]:
    return _FORMS.index(project.form) if project.form in _FORMS else len(_FORMS), project.at


@check("stale-lock-file")
@dataclass(frozen=True)
class StaleLockFile:
    """A lock that was made from another declaration, or compiled from another source, than stands beside it."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each project and lock that differ."""
        environments = environments_of(facts)
        for project in _projects(facts):
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
                values = {"count": count(bare), "total": count(lock.packages), "names": names(bare)}
                values["command"] = _LOCKERS.get(lock.form, "uv lock")
                yield Problem(bare[0].at, values, severity=severity, amount=len(bare), subject="hashes")
