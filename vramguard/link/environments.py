"""What belongs to one installed environment: requirements, the constraints on them, and the locks that fix them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from vramguard.facts import Include, Lock, Project, Requirement, RequirementOption
from vramguard.link.changed import UNSAFE
from vramguard.link.folders import folder_of
from vramguard.link.locked import REQUIREMENTS, Locked, Locks, is_runtime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.source import Location


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


class Environments:
    """The requirements files and the locks of one repository, joined to what they install."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._requirements: dict[str, list[Requirement]] = defaultdict(list)
        for requirement in facts.of(Requirement):
            self._requirements[requirement.at.path].append(requirement)
        self._locks = Locks(facts, self._requirements)
        self._origins = {lock.at.path: lock for lock in facts.of(Lock) if lock.form == REQUIREMENTS}

    @cached_property
    def files(self) -> tuple[RequirementsFile, ...]:
        """Every requirements file that pip installs from; the source of a compiled one (`x.in` of `x.txt`) is not."""
        orphans: dict[str, int] = defaultdict(int)
        for option in self._facts.of(RequirementOption):
            orphans[option.at.path] += option.option == "--hash"
        includes = _Includes(self._facts.of(Include))
        files = []
        for path, lines in self._requirements.items():
            if lines[0].form == "requirements" and not self._compiled_files(path):
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
            for compiled in self._compiled_files(path):
                held = {canonicalize_name(line.name): line for line in self._requirements.get(compiled, ())}
                asked = [line for line in lines if line.form == "requirements" or is_runtime(line)]
                differing = [(line, held.get(canonicalize_name(line.name))) for line in asked] if held else []
                found = [(line, words) for line, twin in differing for words in [_contradiction(line, twin)] if words]
                if compiled in self._origins and self._origins[compiled].manifest is not None:
                    found = []  # overrides take the place of what was asked for
                at = found[0][0].at if found else lines[0].at
                yield Source(path, compiled, at, tuple(words for _, words in found))

    def _compiled_files(self, path: str) -> list[str]:
        """The files that were compiled from this one: those that say so, else the one whose name does.

        A file that names its sources was compiled from no other.
        """
        found = self._compiled_from.get(path, [])
        named = (name for name in _compiled_names(path) if name in self._present)
        return found or [name for name in named if name not in self._origins][:1]

    @cached_property
    def _present(self) -> frozenset[str]:
        return frozenset(self._facts.paths | self._requirements.keys())

    @cached_property
    def _compiled_from(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for path, lock in self._origins.items():
            for source in lock.sources:
                found[source].append(path)
        return found

    def locked(self, project: Project) -> list[Locked] | None:
        """The locks that hold for a project; an empty list where it has none, None where that cannot be told.

        Compiled requirements beside the project are a lock too.
        """
        found = self._locks.of(project)
        if found == [] and project.form not in ("conda", "pixi") and self._compiled(project):
            return [Locked(None, project.at)]
        return found

    def left_to_lock(self, path: str) -> bool:
        """Whether the conda environment at `path` has a lock, which then is judged in place of its lines."""
        return path in self._locked_environments

    @cached_property
    def _locked_environments(self) -> set[str]:
        projects = [project for project in self._facts.of(Project) if project.form == "conda"]
        return {project.at.path for project in projects if self._locks.of(project) != []}

    def _compiled(self, project: Project) -> bool:
        """Whether requirements files, exact line for line, were compiled from the project or hold all it must have.

        Hashes are not asked for here: a file without them is told so by its own rule, as are the lines of a file that
        the project takes for its own.
        """
        if any(path in self._exact for path in self._compiled_from.get(project.at.path, ())):
            return True
        beside = (names for path, names in self._exact.items() if folder_of(path) == folder_of(project.at.path))
        held = {name for names in beside for name in names}
        declared = self._requirements.get(project.at.path, ())
        runtime = [line for line in declared if is_runtime(line) and line.pinned is not None and not line.marker]
        taken_in = project.form != "pyproject" and project.at.path in self._including
        return bool(runtime or taken_in) and {canonicalize_name(line.name) for line in runtime} <= held

    @cached_property
    def _including(self) -> set[str]:
        return {include.at.path for include in self._facts.of(Include) if isinstance(include.target, str)}

    @cached_property
    def _exact(self) -> dict[str, set[str]]:
        """What each requirements file holds of which every line is exact, or a path."""
        exact = [file for file in self.files if all(line.pinned in (True, None) for line in file.requirements)]
        return {
            file.path: {canonicalize_name(line.name) for line in file.requirements if line.pinned} for file in exact
        }


@lru_cache(maxsize=4)  # four rules ask for the same join; Facts are compared by identity
def environments_of(facts: Facts) -> Environments:
    """The environments of a repository, joined once."""
    return Environments(facts)


def _contradiction(asked: Requirement, held: Requirement | None) -> str:
    """In which way a compiled file is not made from this line of its source, in words; nothing where it may be.

    A compiler may leave out what a marker excludes, and pip-tools leaves out what it calls unsafe.
    """
    if held is None:
        sure = asked.pinned is not None and not asked.marker and canonicalize_name(asked.name) not in UNSAFE
        return f"{asked.name} is not in it" if sure else ""
    if "://" in asked.specifier or not held.specifier.startswith("=="):
        return ""
    try:
        fits = SpecifierSet(asked.specifier).contains(held.specifier.lstrip("="), prereleases=True)
    except ValueError:  # of packaging, and of numbers with too many digits
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
        self._of: dict[str, dict[tuple[str, bool], None]] = defaultdict(dict)
        self._kinds: dict[str, set[bool]] = defaultdict(set)
        for include in includes:
            if isinstance(include.target, str):
                self._of[include.at.path][include.target, include.constraint] = None
                self._kinds[include.target].add(include.constraint)
        self._constraining = any(True in kinds for kinds in self._kinds.values())

    def constraints(self, path: str) -> list[str]:
        """The files whose pins hold for an install of `path`: taken in by `-c`, here or in what it takes in."""
        if not self._constraining:
            return []
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


def _name(path: str) -> str:
    return path.rpartition("/")[2]
