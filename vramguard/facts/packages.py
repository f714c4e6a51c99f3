"""Facts of what is installed: requirements, projects, locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vramguard.facts.values import Unknown
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Requirement:
    """One declared dependency.

    `pinned`: True for one `==`/`===` without wildcard, a VCS URL at a full commit, or a URL with a hash; None for a
    local path, which has no version to pin; Unknown for a line that cannot be read as a requirement.
    """

    at: Location
    name: str
    specifier: str  # as written: `>=2,<3`, `^1.2`, or the URL
    pinned: bool | Unknown | None
    hashed: bool
    form: str  # requirements, pyproject
    reason: str = ""  # why it is not pinned, in words that complete "… is not exact: "
    section: str = ""  # where in its file: project.dependencies, dependency-groups.dev, build-system.requires
    extras: tuple[str, ...] = ()
    marker: str = ""
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Include:
    """A requirements file that takes in another; `target` is its path in the repository, Unknown if it is not there."""

    at: Location
    target: str | Unknown
    constraint: bool  # -c: pins what others install, installs nothing


@dataclass(frozen=True, slots=True)
class RequirementOption:
    """An option line of a requirements file, such as `--require-hashes`, or one that pip does not understand."""

    at: Location
    option: str
    value: str
    flaw: str = ""  # why pip ignores or refuses the line, "" for an option that it takes


class Declared(NamedTuple):
    """A requirement in the form in which a declaration and a lock can be compared."""

    section: str  # "" for the project's own, extra:NAME, group:NAME
    name: str  # normalised, with its extras sorted: `torch[cuda]`
    specifier: str | None  # its clauses sorted, its versions normalised; None where a source stands in their place


@dataclass(frozen=True, slots=True)
class Project:
    """A pyproject.toml: what a lock beside it must cover."""

    at: Location
    name: str | None
    tool: str | None  # the tool its tables speak of: poetry, uv, pdm; None where they name none
    dependencies: int  # declared dependencies that are no local path, those of [build-system] aside
    content_hash: frozenset[str] = frozenset()  # each value that poetry's released versions compute for this file
    declared: frozenset[Declared] | None = None  # as uv.lock repeats it; None where it cannot be told from the text
    members: tuple[str, ...] = ()  # globs of the workspace that this project is the root of
    excluded: tuple[str, ...] = ()  # globs of what is no member all the same


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One package of a lock file. `hashes` has the best one of each artifact that has any, as `sha256:…`."""

    at: Location
    name: str
    version: str | None
    hashes: tuple[str, ...]
    artifacts: int  # files that the lock names for it
    local: str | None = None  # folder or file in the repository, which can have no hash: the project itself, a path
    commit: str | None = None  # of a version control source
    declared: frozenset[Declared] | None = None  # uv: what the pyproject.toml in `local` declared when it was locked


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file, and what it was made from."""

    at: Location
    form: str  # poetry, uv, pylock
    packages: tuple[LockedPackage, ...]
    content_hash: str | None = None  # poetry
