"""What belongs to one installed environment: requirements, the constraints on them, and the locks that fix them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from vramguard.facts import Include, Lock, Project, Requirement, RequirementOption
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Declared, Facts, LockedPackage
    from vramguard.source import Location

BUILD_SECTION = "build-system.requires"
_UNSAFE = ("pip", "setuptools", "distribute", "wheel")  # pip-tools: UNSAFE_PACKAGES, and wheel
_RUNTIME = ("project.dependencies", "tool.poetry.dependencies")
# Locks that are not read yet: beside a project they may hold all that is asked, so nothing is claimed against it.
_UNREAD_LOCKS = re.compile(r"pdm\.lock|Pipfile\.lock|pixi\.lock|(?:.+\.)?conda-lock\.ya?ml")


class RequirementsFile(NamedTuple):
    """A requirements file as installed: its lines exact or hashed where the constraints it takes in make them so."""

    path: str
    requirements: tuple[Requirement, ...]
    orphans: int  # `--hash` lines that pip ignores
    constraint: bool  # only ever taken in by `-c`, or named so: it installs nothing itself


class Source(NamedTuple):
    """A source such as requirements.in, the file compiled from it, and how the two differ, in words."""

    path: str
    compiled: str
    at: Location  # the first line that differs
    differences: tuple[str, ...]


class Locked(NamedTuple):
    """A lock, and how it stands to one project: what differs, in words, or nothing where it is fresh."""

    lock: Lock | None  # None where compiled requirements take a lock's place
    at: Location  # whose fault a difference is: the project's, or the lock's that took it in from elsewhere
    differences: tuple[str, ...] = ()


class Environments:
    """The requirements files and the locks of one repository, joined to what they install."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._requirements: dict[str, list[Requirement]] = defaultdict(list)
        for requirement in facts.of(Requirement):
            self._requirements[requirement.at.path].append(requirement)
        self._locks: dict[str, list[Lock]] = defaultdict(list)  # by the folders that they lock
        for lock in facts.of(Lock):
            own = _folder(lock.at.path)
            for folder in dict.fromkeys((own, *(package.local for package in lock.packages if package.local))):
                self._locks[folder].append(lock)

    @cached_property
    def files(self) -> tuple[RequirementsFile, ...]:
        """Every requirements file that pip installs from; the source of a compiled one (`x.in` of `x.txt`) is not."""
        orphans: dict[str, int] = defaultdict(int)
        for option in self._facts.of(RequirementOption):
            orphans[option.at.path] += option.option == "--hash"
        includes = _Includes(self._facts.of(Include))
        files = []
        for path, lines in self._requirements.items():
            if lines[0].form == "requirements" and self._compiled_file(path) is None:
                pins = self._pins([path, *includes.constraints(path)])
                found = tuple(_constrained(line, pins) for line in lines)
                files.append(RequirementsFile(path, found, orphans[path], includes.constrains(path)))
        return tuple(files)

    def _pins(self, paths: Iterable[str]) -> dict[str, Requirement]:
        """The exact lines of files that are installed together, by name; one under a marker need not hold."""
        lines = (line for path in paths for line in self._requirements.get(path, ()))
        return {canonicalize_name(line.name): line for line in lines if line.pinned is True and not line.marker}

    @property
    def sources(self) -> Iterator[Source]:
        """Each source of a compiled requirements file, and how the two differ."""
        for path, lines in self._requirements.items():
            compiled = self._compiled_file(path)
            if compiled is not None:
                held = {canonicalize_name(line.name): line for line in self._requirements.get(compiled, ())}
                differing = [(line, held.get(canonicalize_name(line.name))) for line in lines] if held else []
                found = [(line, words) for line, twin in differing for words in [_contradiction(line, twin)] if words]
                at = found[0][0].at if found else lines[0].at
                yield Source(path, compiled, at, tuple(words for _, words in found))

    def _compiled_file(self, path: str) -> str | None:
        present = self._facts.paths | self._requirements.keys()
        return next((name for name in _compiled_names(path) if name in present), None)

    def locked(self, project: Project) -> list[Locked] | None:
        """The locks that hold for a project; an empty list where it has none, None where that cannot be told.

        They are its own (in its folder), or one elsewhere that names this folder: a workspace's, or an application's
        that takes the project in by its path. Compiled requirements beside the project are a lock too.
        """
        folder = _folder(project.at.path)
        found = [
            Locked(lock, _blame(lock, project, folder), self._differences(lock, project, folder))
            for lock in self._locks.get(folder, ())
        ]
        workspace = None if found else self._workspace_lock(folder)
        if workspace is not None:
            found = [Locked(workspace, project.at, ("it does not know this member of its workspace",))]
        if found:
            return found
        if any(_folder(path) == folder and _UNREAD_LOCKS.fullmatch(_name(path)) for path in self._facts.paths):
            return None
        return [Locked(None, project.at)] if self._compiled(project, folder) else []

    def _differences(self, lock: Lock, project: Project, folder: str) -> tuple[str, ...]:
        """What the project declares and the lock was not made from, in words; nothing for a fresh lock."""
        if lock.form == "poetry" and _folder(lock.at.path) == folder:
            if lock.content_hash in project.content_hash or not project.content_hash:
                return ()
            return self._absent(lock, project) or ("its content-hash is that of another pyproject.toml",)
        if lock.form == "uv" and project.declared is not None:
            noted = (package.declared for package in lock.packages if package.local == folder)
            then = next((declared for declared in noted if declared is not None), None)
            return () if then is None else _changes(then, project.declared)
        return ()

    def _absent(self, lock: Lock, project: Project) -> tuple[str, ...]:
        """Declared dependencies that the lock does not hold: all that can be told of a content-hash that differs."""
        held = {canonicalize_name(package.name) for package in lock.packages}
        declared = [r for r in self._requirements[project.at.path] if r.section != BUILD_SECTION]
        names = dict.fromkeys(r.name for r in declared if canonicalize_name(r.name) not in held)
        return tuple(f"{name} is not in it" for name in names)

    def _workspace_lock(self, folder: str) -> Lock | None:
        """The lock at the root of the workspace that has this folder for a member."""
        for root in self._facts.of(Project):
            base = _folder(root.at.path)
            inside = folder if base == "." else folder.removeprefix(f"{base}/")
            if (base == "." or inside != folder) and _member(root, inside):
                own = (lock for lock in self._locks.get(base, ()) if _folder(lock.at.path) == base)
                return next((lock for lock in own if lock.form == "uv"), None)
        return None

    def _compiled(self, project: Project, folder: str) -> bool:
        """Whether requirements files beside the project, exact line for line, hold all that it must have.

        Hashes are not asked for here: a file without them is told so by its own rule.
        """
        held: set[str] = set()
        for file in self.files:
            if _folder(file.path) == folder and all(line.pinned in (True, None) for line in file.requirements):
                held |= {canonicalize_name(line.name) for line in file.requirements if line.pinned}
        declared = self._requirements[project.at.path]
        runtime = [line for line in declared if line.section in _RUNTIME and line.pinned is not None]
        return bool(runtime) and {canonicalize_name(line.name) for line in runtime} <= held


@lru_cache(maxsize=4)  # four rules ask for the same join; Facts are compared by identity
def environments_of(facts: Facts) -> Environments:
    """The environments of a repository, joined once."""
    return Environments(facts)


def unhashed(package: LockedPackage, form: str) -> bool:
    """Whether the lock leaves open which bytes a package is: no artifact named, or one without a strong hash.

    md5 and sha1 can be forged, so pip takes neither. uv names no artifact where none fits the platforms of that entry,
    and then installs nothing for it; poetry without files takes whatever the index has.
    """
    if package.local is not None or package.commit is not None:
        return False
    strong = sum(map(_is_strong, package.hashes))
    return strong < (package.artifacts if form == "uv" else max(package.artifacts, 1))


def _is_strong(digest: str) -> bool:
    """Whether a hash is of an algorithm that pip takes, and whole."""
    algorithm, _, digits = digest.partition(":")
    return len(digits) == STRONG_HASHES.get(algorithm)


def _blame(lock: Lock, project: Project, folder: str) -> Location:
    if _folder(lock.at.path) == folder or _is_ancestor(_folder(lock.at.path), folder):
        return project.at
    return next((package.at for package in lock.packages if package.local == folder), lock.at)


def _is_ancestor(outer: str, inner: str) -> bool:
    return outer == "." or inner.startswith(f"{outer}/")


def _contradiction(asked: Requirement, held: Requirement | None) -> str:
    """In which way a compiled file is not made from this line of its source, in words; nothing where it may be.

    A compiler may leave out what a marker excludes, and pip-tools leaves out what it calls unsafe.
    """
    if held is None:
        sure = asked.pinned is not None and not asked.marker and canonicalize_name(asked.name) not in _UNSAFE
        return f"{asked.name} is not in it" if sure else ""
    if "://" in asked.specifier or not held.specifier.startswith("=="):
        return ""
    try:
        fits = SpecifierSet(asked.specifier).contains(held.specifier.lstrip("="), prereleases=True)
    except InvalidSpecifier:
        return ""
    return "" if fits else f"{asked.name}{asked.specifier} is held as {held.specifier}"


def _constrained(line: Requirement, pins: dict[str, Requirement]) -> Requirement:
    pin = pins.get(canonicalize_name(line.name))
    if pin is None or line.pinned is not False or "://" in line.specifier:
        return line
    return replace(line, pinned=True, hashed=line.hashed or pin.hashed, reason="")


class _Includes:
    """Which requirements file takes in which."""

    def __init__(self, includes: Iterable[Include]) -> None:
        self._of: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        self._kinds: dict[str, set[bool]] = defaultdict(set)
        for include in includes:
            if isinstance(include.target, str):
                self._of[include.at.path].append((include.target, include.constraint))
                self._kinds[include.target].add(include.constraint)

    def constraints(self, path: str) -> list[str]:
        """The files whose pins hold for an install of `path`: taken in by `-c`, here or in what it takes in."""
        seen: dict[tuple[str, bool], None] = {}
        todo = [(path, False)]
        while todo:
            current, constraint = todo.pop()
            if (current, constraint) not in seen:
                seen[current, constraint] = None
                todo += [(target, constraint or also) for target, also in self._of.get(current, ())]
        return [found for found, constraint in seen if constraint and found != path]

    def constrains(self, path: str) -> bool:
        """Whether `path` only constrains what other files install."""
        kinds = self._kinds.get(path, set())
        return kinds == {True} or (not kinds and "constraint" in _name(path).lower())


def _compiled_names(path: str) -> list[str]:
    """What a source is compiled to: `x.in` to x.txt by pip-compile and uv, x.lock by rye, x_lock.txt by Bazel."""
    stem, dot, suffix = path.rpartition(".")
    if not dot or suffix != "in":
        return []
    own = [stem] if stem.endswith(".txt") else []
    return [*own, *(stem + end for end in (".txt", ".lock", ".lock.txt", "-lock.txt", "_lock.txt"))]


def _folder(path: str) -> str:
    return path.rpartition("/")[0] or "."


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _changes(then: frozenset[Declared], now: frozenset[Declared]) -> tuple[str, ...]:
    """What was added, taken out or changed. One that comes from a source has no version to compare."""
    before, after = _grouped(then), _grouped(now)
    return tuple(
        words
        for key in sorted(before.keys() | after.keys())
        for words in [_change(before.get(key, set()), after.get(key, set()))]
        if words
    )


def _grouped(declared: Iterable[Declared]) -> dict[tuple[str, str], set[Declared]]:
    groups: dict[tuple[str, str], set[Declared]] = defaultdict(set)
    for item in declared:
        groups[item.section, item.name.partition("[")[0]].add(item)
    return groups


def _change(then: set[Declared], now: set[Declared]) -> str:
    """One dependency's change in words; none where it did not change, or cannot be told because of a source."""
    before, after = (", ".join(sorted(f"{item.name}{item.specifier or ''}" for item in side)) for side in (then, now))
    if not then:
        return f"{after} is not in it"
    if not now:
        return f"{before} is in it, though no longer declared"
    if _is_from_index(then) and all(item.specifier is None for item in now):
        return f"{after} comes from a repository or a URL, and from the index in the lock"
    return f"{after} was {before}" if then != now and _is_from_index(then | now) else ""


def _is_from_index(declared: set[Declared]) -> bool:
    return all(item.specifier is not None for item in declared)


def _member(root: Project, folder: str) -> bool:
    return any(_matches(folder, glob) for glob in root.members) and not any(
        _matches(folder, glob) for glob in root.excluded
    )


def _matches(folder: str, glob: str) -> bool:
    """Whether a workspace's glob names the folder: `*` stays within one part of a path, `**` does not."""
    glob = glob.removeprefix("./").rstrip("/")
    wanted, parts = glob.split("/"), folder.split("/")
    if "**" in wanted:
        return fnmatchcase(folder, glob)
    return len(wanted) == len(parts) and all(map(fnmatchcase, parts, wanted))
