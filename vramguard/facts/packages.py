"""Facts of what is installed: requirements, projects, locks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vramguard.facts.values import Unknown
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Requirement:
    """One declared dependency.

    `pinned`: True for one `==`/`===` without wildcard, a VCS URL at a full commit, a URL with a hash or one whose file
    names its version; None for a local path, which has no version to pin; Unknown for a line that cannot be read as a
    requirement.
    """

    at: Location
    name: str
    specifier: str  # as written: `>=2,<3`, `^1.2`, or the URL
    pinned: bool | Unknown | None
    hashed: bool
    form: str  # requirements, pyproject, conda, dockerfile, workflow, notebook …: docs/pinning.md has all
    reason: str = ""  # why it is not pinned, in words that complete "… is not exact: "
    section: str = ""  # where in its file: project.dependencies, dependency-groups.dev, build-system.requires
    extras: tuple[str, ...] = ()
    marker: str = ""
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Install:
    """A command, or a call, that installs packages: `pip install -r requirements.txt vllm==0.10.2`.

    `options` are by their long name without dashes, a switch with an empty value; what the environment sets
    (`PIP_EXTRA_INDEX_URL`, `UV_FROZEN`) is an option too. `place` is what is installed into.
    """

    at: Location
    form: str  # that of its requirements: dockerfile, workflow, shell, notebook …
    tool: str  # pip, uv, poetry, pdm, pipenv, conda, pixi, pipx
    action: str  # install, sync, update, add, run …; of pip within uv, too
    place: str  # `Dockerfile#2` (a stage), `.github/workflows/ci.yml#test` (a job), a notebook's or a script's path
    requirements: tuple[Requirement, ...] = ()  # those that the command itself names
    files: tuple[str | Unknown, ...] = ()  # `-r`, `--file`: as written, from the folder that the command runs in
    constraints: tuple[str | Unknown, ...] = ()
    local: tuple[str, ...] = ()  # `.`, `./package[extra]`, `dist/x.whl`
    options: tuple[tuple[str, str], ...] = ()
    copied: tuple[tuple[str, str], ...] = ()  # into a Dockerfile's stage until then, each with where to

    def option(self, *names: str) -> str | None:
        """The last value given for an option under one of these names; None where it is not given."""
        return next((value for name, value in reversed(self.options) if name in names), None)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Something taken from elsewhere that is no package: a clone, a script piped into a shell, an archive."""

    at: Location
    form: str  # as of Install
    way: str  # how it is taken in: clone, script, archive, add
    url: str
    pinned: bool | Unknown
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A container image that is started, built on or copied from.

    `pinned`: True with a digest, Unknown where a renderer or a variable fills it in, None for what has no digest by
    nature: `scratch`, a stage of the same file, an image that this repository builds.
    """

    at: Location
    form: str  # dockerfile, kubernetes, helm, compose, workflow, kfp, python …
    name: str  # registry and repository as written, without tag and digest
    tag: str | Unknown | None
    digest: str | Unknown | None  # sha256:…
    pinned: bool | Unknown | None
    reason: str = ""
    use: str = ""  # base, copy, container, init-container, service, component …; built, for what is made here
    comment: str = ""  # what stands behind it: `# v1.2`


@dataclass(frozen=True, slots=True)
class Action:
    """Code of another repository that a pipeline runs: `uses: actions/checkout@v4`."""

    at: Location
    form: str  # workflow, pre-commit
    name: str  # actions/checkout
    reference: str | Unknown | None
    pinned: bool | Unknown | None
    reason: str = ""
    comment: str = ""  # what stands behind it: `v4.2.2`


@dataclass(frozen=True, slots=True)
class Channels:
    """Where conda takes packages from, in order, and how strictly; `priority` None where nothing says it."""

    at: Location
    channels: tuple[str, ...]
    priority: str | None = None  # strict, flexible, disabled


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A version that a lock holds, and an advisory that speaks of it. `ids`: the advisory's own and its aliases."""

    at: Location
    name: str
    version: str
    ids: tuple[str, ...]
    fixed: tuple[str, ...]  # versions that are mended
    summary: str
    asked: str  # when, in UTC


@dataclass(frozen=True, slots=True)
class Unaudited:
    """What nobody could tell of a lock's packages, and why; without packages, of the whole lock."""

    at: Location
    reason: str
    packages: tuple[str, ...]


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
    """What declares dependencies that a lock beside it must cover: a pyproject.toml, a Pipfile, a conda environment."""

    at: Location
    name: str | None
    tool: str | None  # the tool its tables speak of: poetry, uv, pdm; None where they name none
    dependencies: int  # declared dependencies that are no local path, those of [build-system] aside
    content_hash: frozenset[str] = frozenset()  # each value that poetry's released versions compute for this file
    declared: frozenset[Declared] | None = None  # as uv.lock repeats it; None where it cannot be told from the text
    members: tuple[str, ...] = ()  # globs of the workspace that this project is the root of
    excluded: tuple[str, ...] = ()  # globs of what is no member all the same
    form: str = "pyproject"  # pyproject, setup.py, setup.cfg, pipfile, conda, pixi


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
    manager: str = "pip"  # whose name it is: pip's, or conda's
    also: tuple[str, ...] = ()  # what it is called on the index of the other: conda's pytorch is pip's torch


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file, and what it was made from."""

    at: Location
    form: str  # poetry, uv, pylock, pdm, pipenv, conda-lock, conda-explicit, pixi
    packages: tuple[LockedPackage, ...]
    content_hash: str | None = None  # of what it was made from: poetry and pipenv bare, pdm as `sha256:…`
    sources: tuple[str, ...] = ()  # paths in the repository that it says it was made from: conda-lock
    groups: frozenset[str] | None = None  # the groups and extras that it says it holds; None where it does not say
    manifest: frozenset[Declared] | None = None  # uv: the constraints and overrides of the workspace's root
