"""Which locks hold for a project, and whether each was made from it as it stands."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from vramguard.extract.locks import reader
from vramguard.facts import Lock, Project
from vramguard.link.changed import Held, changes, contradicting, lacking, without_own
from vramguard.link.folders import folder_of, is_within
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.facts import Facts, LockedPackage, Requirement
    from vramguard.source import Location

BUILD_SECTION = "build-system.requires"
_PIXI = ("dependencies", "pypi-dependencies")
_RUNTIME = {  # by form, the sections that every environment of a project takes in
    "pyproject": ("project.dependencies", "tool.poetry.dependencies", "tool.flit.metadata.requires"),
    "pixi": (*_PIXI, *(f"tool.pixi.{key}" for key in _PIXI)),
    "pipfile": ("packages",),
    "conda": ("dependencies", "pip"),
    "setup.py": ("install_requires",),
    "setup.cfg": ("install_requires", "options.install_requires"),
}
_OVERRIDES = ("tool.pdm.resolution.overrides", "tool.pdm.overrides")
# The sections that a lock holds where its tool locks all of them.
_SECTIONS = {
    "poetry": re.compile(r"project\.|tool\.poetry\."),
    "uv": re.compile(r"project\.|dependency-groups\.|tool\.uv\.dev-dependencies"),
    "pdm": re.compile(r"project\.|dependency-groups\.|tool\.pdm\.dev-dependencies"),
    "pylock": re.compile(r"project\.|dependency-groups\.|tool\.pdm\.dev-dependencies"),
    "pipenv": re.compile(""),
}
REQUIREMENTS = "requirements"  # the form of a requirements file that says what it was compiled from
# The locks that a tool writes for a project of this form. Any other beside it counts where it holds what is declared.
_OWN_LOCKS = {
    "pyproject": ("poetry", "uv", "pdm", "pylock"),
    "setup.py": ("poetry", "uv", "pdm", "pylock"),
    "setup.cfg": ("poetry", "uv", "pdm", "pylock"),
    "pipfile": ("pipenv",),
    "pixi": ("pixi",),
    "conda": ("conda-lock", "conda-explicit"),
}


class Locked(NamedTuple):
    """A lock, and how it stands to one project: what differs, in words, or nothing where it is fresh."""

    lock: Lock | None  # None where compiled requirements take a lock's place
    at: Location  # whose fault a difference is: the project's, or the lock's that took it in from elsewhere
    differences: tuple[str, ...] = ()


class Locks:
    """The locks of one repository, joined to the projects that they lock."""

    def __init__(self, facts: Facts, requirements: Mapping[str, list[Requirement]]) -> None:
        self._facts = facts
        self._requirements = requirements
        self._by_folder: dict[str, list[Lock]] = defaultdict(list)  # by the folders that they lock
        for lock in facts.of(Lock):
            if lock.form != REQUIREMENTS:
                own = folder_of(lock.at.path)
                for folder in dict.fromkeys((own, *(package.local for package in lock.packages if package.local))):
                    self._by_folder[folder].append(lock)
        self._read = {lock.at.path for lock in facts.of(Lock)}
        self._known: dict[int, tuple[Project, list[Locked] | None]] = {}  # by identity; held, so that it stays
        self._holding: dict[int, Held] = {}  # by identity of the lock

    def of(self, project: Project) -> list[Locked] | None:
        """The locks that hold for a project; an empty list where it has none, None where that cannot be told.

        They are its own (in its folder), or one elsewhere that names this folder: a workspace's, or an application's
        that takes the project in by its path. Every command that installs a project asks, so each is joined once.
        """
        if id(project) not in self._known:
            self._known[id(project)] = project, self._of(project)
        return self._known[id(project)][1]

    def _held(self, lock: Lock) -> Held:
        """What one lock holds; a workspace's is asked for each of its members."""
        if id(lock) not in self._holding:
            self._holding[id(lock)] = Held(lock)
        return self._holding[id(lock)]

    def _of(self, project: Project) -> list[Locked] | None:
        folder = folder_of(project.at.path)
        found = [
            Locked(lock, _blame(lock, project, folder), self._differences(lock, project, folder))
            for lock in self._by_folder.get(folder, ())
            if self._counts(lock, project, folder)
        ]
        workspace = None if found or project.form != "pyproject" else self._workspace_lock(folder)
        if workspace is not None:
            found = [Locked(workspace, project.at, ("it does not know this member of its workspace",))]
        return None if not found and self._unread(folder) else found

    def _unread(self, folder: str) -> bool:
        """Whether a lock lies in the folder that could not be read, and may hold all that is asked."""
        paths = (path for path in self._facts.paths if folder_of(path) == folder)
        return any(reader(path) and path not in self._read for path in paths)

    def _counts(self, lock: Lock, project: Project, folder: str) -> bool:
        """Whether a lock of the folder is one of this project.

        It is if its tool made it from such a project, if it names this very file or folder, or if it holds all that
        the project must have: a Pipfile.lock beside a setup.py is often the lock of both.
        """
        if lock.sources:
            return project.at.path in lock.sources or (project.form != "conda" and self._covers(lock, project))
        if self._made_from(lock, project):
            return True
        by_path = any(package.local == folder for package in lock.packages)
        if project.form == "conda":  # conda's own list names it, or it was imported into pixi and is still the same
            return lock.form == "pixi" and self._covers(lock, project)
        return project.form not in ("pipfile", "pixi") and (by_path or self._covers(lock, project))

    def _made_from(self, lock: Lock, project: Project) -> bool:
        """Whether the lock is one that its tool makes from such a project."""
        if lock.sources:
            return project.at.path in lock.sources
        pixi = lock.form == "pixi" and project.form == "pyproject" and project.tool == "pixi"
        return pixi or lock.form in _OWN_LOCKS.get(project.form, ())

    def _covers(self, lock: Lock, project: Project) -> bool:
        declared, held = self._runtime(project), self._held(lock)
        return bool(declared) and not lacking(held, declared) and not contradicting(held, declared)

    def _differences(self, lock: Lock, project: Project, folder: str) -> tuple[str, ...]:
        """What the project declares and the lock was not made from, in words; nothing for a fresh lock."""
        if lock.form == "uv":
            return _since_uv(lock, project, folder) or self._contradictions(lock, project, folder)
        if folder_of(lock.at.path) != folder or not self._made_from(lock, project):
            return ()
        if lock.content_hash is None or not project.content_hash:
            return self._incomplete(lock, project)
        if lock.content_hash in project.content_hash:
            return self._contradictions(lock, project, folder)
        absent = lacking(self._held(lock), self._declared(lock, project))
        return absent or (f"its content-hash is that of another {project.at.path.rpartition('/')[2]}",)

    def _contradictions(self, lock: Lock, project: Project, folder: str) -> tuple[str, ...]:
        """Versions that nobody asked for. What takes a project in by its path takes in no group and no extra of it."""
        whole = folder_of(lock.at.path) == folder
        declared = [line for line in self._declared(lock, project) if whole or is_runtime(line)]
        return contradicting(self._held(lock), declared)

    def _incomplete(self, lock: Lock, project: Project) -> tuple[str, ...]:
        """What the lock of a project lacks or contradicts, where no hash says what it was made from.

        Only what every environment has is asked for: extras, groups, features and targets need not be locked.
        """
        if lock.form not in ("pylock", "pixi", "conda-lock", "conda-explicit"):
            return ()
        runtime = self._runtime(project)
        if lock.form == "conda-explicit":
            lists = self._by_folder[folder_of(lock.at.path)]
            held = Held(*(other for other in lists if other.form == lock.form))  # one of them for each platform
            several = self._several(project)
        else:
            held, several = self._held(lock), False
        unsure = lock.form == "pylock" and (lock.groups is None or not _is_plain(lock))
        absent = lacking(held, runtime)
        if several or (absent and unsure):
            return ()
        return (*absent, *contradicting(held, runtime))

    def _several(self, project: Project) -> bool:
        """Whether other conda environments lie in the folder, of which a list may be just as well."""
        folder = folder_of(project.at.path)
        conda = (other for other in self._facts.of(Project) if other.form == "conda")
        return sum(folder_of(other.at.path) == folder for other in conda) > 1

    def _declared(self, lock: Lock, project: Project) -> list[Requirement]:
        """What the lock's tool locks of a project, less what has no version, as a local path, or what is overridden."""
        pattern = _SECTIONS.get(lock.form)
        found = [line for line in self._requirements.get(project.at.path, ()) if isinstance(line.pinned, bool)]
        overridden = {canonicalize_name(line.name) for line in found if line.section.startswith(_OVERRIDES)}
        held = (line for line in found if pattern and pattern.match(line.section))
        return [line for line in held if canonicalize_name(line.name) not in overridden]

    def _runtime(self, project: Project) -> list[Requirement]:
        found = self._requirements.get(project.at.path, ())
        return [line for line in found if is_runtime(line) and isinstance(line.pinned, bool)]

    @cached_property
    def _workspaces(self) -> list[Project]:
        return [project for project in self._facts.of(Project) if project.members]

    def _workspace_lock(self, folder: str) -> Lock | None:
        """The lock at the root of the workspace that has this folder for a member."""
        for root in self._workspaces:
            base = folder_of(root.at.path)
            inside = folder if base == "." else folder.removeprefix(f"{base}/")
            if (base == "." or inside != folder) and _member(root, inside):
                own = (lock for lock in self._by_folder.get(base, ()) if folder_of(lock.at.path) == base)
                return next((lock for lock in own if lock.form == "uv"), None)
        return None


def is_runtime(line: Requirement) -> bool:
    """Whether every environment of the project has the requirement, whatever extras and groups it takes in."""
    return line.section in _RUNTIME.get(line.form, ())


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


def _since_uv(lock: Lock, project: Project, folder: str) -> tuple[str, ...]:
    """What changed since uv noted what the project declares, and its root's constraints and overrides."""
    noted = (package.declared for package in lock.packages if package.local == folder)
    then = next((declared for declared in noted if declared is not None), None)
    if then is None or project.declared is None:
        return ()
    if folder_of(lock.at.path) != folder or lock.manifest is None:
        return changes(then, without_own(project.declared))
    return changes(then | lock.manifest, project.declared)


def _is_plain(lock: Lock) -> bool:
    """Whether a pylock.toml is the one without a name of its own, which is that of the whole project."""
    return lock.at.path.rpartition("/")[2] == "pylock.toml"


def _blame(lock: Lock, project: Project, folder: str) -> Location:
    if is_within(folder, folder_of(lock.at.path)):
        return project.at
    return next((package.at for package in lock.packages if package.local == folder), lock.at)


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
