"""What belongs to one installed environment: requirements, the constraints on them, and the locks that fix them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from vramguard.facts import Include, Lock, Project, Requirement, RequirementOption
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Declared, Facts, LockedPackage

BUILD_SECTION = "build-system.requires"
_RUNTIME = ("project.dependencies", "tool.poetry.dependencies")

# Locks that are not read yet: beside a project they may hold all that is asked, so nothing is claimed against it.
_UNREAD_LOCKS = re.compile(r"(?:pdm\.lock|Pipfile\.lock|pixi\.lock|(?:[^/]+\.)?conda-lock\.ya?ml)$")


class RequirementsFile(NamedTuple):
    """A requirements file as installed: its lines exact or hashed where the constraints it takes in make them so."""

    path: str
    requirements: tuple[Requirement, ...]
    orphans: int  # `--hash` lines that pip ignores
    constraint: bool  # only ever taken in by `-c`, or named so: it installs nothing itself


class Locked(NamedTuple):
    """A lock, and how it stands to one project: what differs, in words, or nothing where it is fresh."""

    lock: Lock | None  # None where compiled requirements, or a lock that we cannot read, take a lock's place
    differences: tuple[str, ...] = ()


def requirements_files(facts: Facts) -> Iterator[RequirementsFile]:
    """Every requirements file that pip installs from; the source of a compiled one (`x.in` beside `x.txt`) is none."""
    lines: dict[str, list[Requirement]] = defaultdict(list)
    for requirement in facts.of(Requirement):
        if requirement.form == "requirements":
            lines[requirement.at.path].append(requirement)
    orphans: dict[str, int] = defaultdict(int)
    for option in facts.of(RequirementOption):
        orphans[option.at.path] += option.option == "--hash"
    includes = _Includes(facts)
    present = facts.paths | frozenset(lines)
    for path, found in lines.items():
        if path.endswith(".in") and path[:-3] + ".txt" in present:
            continue
        pins = {
            normalised(pin.name): pin
            for other in includes.constraints(path)
            for pin in lines[other]
            if pin.pinned is True
        }
        yield RequirementsFile(
            path, tuple(_constrained(line, pins) for line in found), orphans[path], includes.constrains(path)
        )


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _constrained(line: Requirement, pins: dict[str, Requirement]) -> Requirement:
    pin = pins.get(normalised(line.name))
    if pin is None or line.pinned is not False or "://" in line.specifier:
        return line
    return replace(line, pinned=True, hashed=pin.hashed, reason="")


class _Includes:
    """Which file takes in which."""

    def __init__(self, facts: Facts) -> None:
        self._of: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        self._kinds: dict[str, set[bool]] = defaultdict(set)
        for include in facts.of(Include):
            if isinstance(include.target, str):
                self._of[include.at.path].append((include.target, include.constraint))
                self._kinds[include.target].add(include.constraint)

    def constraints(self, path: str) -> set[str]:
        """The files whose pins hold for an install of `path`: taken in by `-c`, here or in what it takes in."""
        seen: set[tuple[str, bool]] = set()
        todo = [(path, False)]
        while todo:
            current, constraint = todo.pop()
            if (current, constraint) in seen:
                continue
            seen.add((current, constraint))
            todo += [(target, constraint or also) for target, also in self._of[current]]
        return {found for found, constraint in seen if constraint and found != path}

    def constrains(self, path: str) -> bool:
        """Whether `path` only constrains what other files install."""
        kinds = self._kinds[path]
        return kinds == {True} or (not kinds and "constraint" in path.rpartition("/")[2].lower())


def locked(facts: Facts, project: Project) -> list[Locked] | None:
    """The locks that hold for a project; an empty list where it has none, None where that cannot be told.

    They are its own (in its folder), or one elsewhere that names this folder: a workspace's, or an application's that
    takes the project in by its path. Compiled requirements beside the project are a lock too.
    """
    folder = _folder(project.at.path)
    beside = [lock for lock in facts.of(Lock) if _folder(lock.at.path) == folder]
    found = [Locked(lock, _differences(facts, lock, project, folder)) for lock in beside]
    others = (lock for lock in facts.of(Lock) if lock not in beside and any(p.local == folder for p in lock.packages))
    found += [Locked(lock, _differences(facts, lock, project, folder)) for lock in others]
    workspace = None if found else _workspace_lock(facts, folder)
    if workspace is not None:
        found.append(Locked(workspace, ("it does not know this member of its workspace",)))
    if found:
        return found
    if any(_UNREAD_LOCKS.fullmatch(path.removeprefix(f"{folder}/" if folder else "")) for path in facts.paths):
        return None
    return [Locked(None)] if _compiled(facts, project, folder) else []


def unhashed(package: LockedPackage) -> bool:
    """Whether the lock leaves open which bytes a package is: no artifact named, or one without a strong hash."""
    if package.local is not None or package.commit is not None:
        return False
    return sum(strong(found) for found in package.hashes) < max(package.artifacts, 1)


def strong(digest: str) -> bool:
    """Whether a hash is one that pip takes; md5 and sha1 can be forged."""
    return digest.partition(":")[0] in STRONG_HASHES


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _differences(facts: Facts, lock: Lock, project: Project, folder: str) -> tuple[str, ...]:
    """What the project declares and the lock was not made from, in words; nothing for a fresh lock."""
    if lock.form == "poetry" and _folder(lock.at.path) == folder:
        if lock.content_hash in project.content_hash or not project.content_hash:
            return ()
        return _named_differences(facts, lock, project) or ("its content-hash is that of another pyproject.toml",)
    if lock.form == "uv" and project.declared is not None:
        noted = next((p.declared for p in lock.packages if p.local == folder and p.declared is not None), None)
        return () if noted is None else _changes(project.declared, noted)
    return ()


def _named_differences(facts: Facts, lock: Lock, project: Project) -> tuple[str, ...]:
    """Declared dependencies that the lock does not hold at all: all that can be told of a content-hash that differs."""
    held = {normalised(package.name) for package in lock.packages}
    declared = (r for r in facts.of(Requirement) if r.at.path == project.at.path and r.section != BUILD_SECTION)
    return tuple(f"{r.name} is not in it" for r in declared if normalised(r.name) not in held and "{" not in r.name)


def _changes(now: frozenset[Declared], then: frozenset[Declared]) -> tuple[str, ...]:
    """What was added, taken out or changed. One that comes from a source has no version to compare."""
    sourced = {(item.section, _bare(item)) for item in now | then if item.specifier is None}
    before, after = ({item for item in side if (item.section, _bare(item)) not in sourced} for side in (then, now))
    before, after = before - after, after - before
    words = []
    for key in sorted({(item.section, _bare(item)) for item in before | after}):
        old, new = ([item for item in side if (item.section, _bare(item)) == key] for side in (before, after))
        words.append(_change(old, new))
    for section, name in sorted(sourced):
        there = [any((item.section, _bare(item)) == (section, name) for item in side) for side in (then, now)]
        if not all(there):
            words.append(f"{name} is {'not in it' if there[1] else 'in it, though no longer declared'}")
    return tuple(words)


def _change(old: list[Declared], new: list[Declared]) -> str:
    before, after = (", ".join(sorted(f"{item.name}{item.specifier}" for item in side)) for side in (old, new))
    if old and new:
        return f"{after} was {before}"
    return f"{after} is not in it" if new else f"{before} is in it, though no longer declared"


def _bare(item: Declared) -> str:
    return item.name.partition("[")[0]


def _workspace_lock(facts: Facts, folder: str) -> Lock | None:
    """The lock at the root of the workspace that has this folder for a member."""
    for root in facts.of(Project):
        base = _folder(root.at.path)
        inside = folder if base == "." else folder.removeprefix(f"{base}/")
        if (base != "." and inside == folder) or not _member(root, inside):
            continue
        return next((lock for lock in facts.of(Lock) if lock.form == "uv" and _folder(lock.at.path) == base), None)
    return None


def _member(root: Project, folder: str) -> bool:
    return any(map(_glob(folder), root.members)) and not any(map(_glob(folder), root.excluded))


def _glob(folder: str) -> Callable[[str], bool]:
    """A test whether a workspace's glob names the folder: `*` stays within one part of a path."""
    parts = folder.split("/")

    def matches(glob: str) -> bool:
        wanted = glob.removeprefix("./").rstrip("/").split("/")
        if "**" in wanted:
            return fnmatchcase(folder, glob.removeprefix("./").rstrip("/"))
        return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))

    return matches


def _compiled(facts: Facts, project: Project, folder: str) -> bool:
    """Whether requirements files beside the project, exact line for line, hold all that it must have.

    Hashes are not asked for here: a file without them is told so by its own rule.
    """
    held: set[str] = set()
    for file in requirements_files(facts):
        names = {normalised(line.name) for line in file.requirements if line.pinned is True}
        if _folder(file.path) == folder and all(line.pinned in (True, None) for line in file.requirements):
            held |= names
    asked = {
        normalised(requirement.name)
        for requirement in facts.of(Requirement)
        if requirement.at.path == project.at.path and requirement.section in _RUNTIME and requirement.pinned is not None
    }
    return bool(asked) and asked <= held
