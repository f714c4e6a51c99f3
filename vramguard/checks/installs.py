"""Demand 1: what installs past the lock, from where it should not, or what nobody vouches for."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from packaging.utils import canonicalize_name

from vramguard.checks import Problem, Severity, check, once
from vramguard.checks.indexes import InsecureIndex
from vramguard.checks.shared import JUDGED, WEAKER, some, weight
from vramguard.extract.declaration import UNVOUCHED, host_of
from vramguard.facts import Fetch, Install, PathClass, Project, Unknown
from vramguard.link.declared import is_elsewhere, standing
from vramguard.link.environments import environments_of
from vramguard.link.folders import folder_of
from vramguard.link.installs import installs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.facts import Facts, Requirement
    from vramguard.link.installs import Installs
    from vramguard.link.locked import Locked

__all__ = ["InsecureIndex", "InstallAroundLock", "MutableSource"]
_IMAGES = ("dockerfile", "kubernetes", "compose", "helm")  # what they install is what serves
_TOOLING = frozenset(
    {"pip", "setuptools", "wheel", "uv", "poetry", "pipx", "pipenv", "pdm", "build", "poetry-core", "virtualenv"}
)
_CHANGES = {"add", "update", "lock", "compile"}
_COMMIT = re.compile(r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])")


class _Past(NamedTuple):
    """How a command goes past a lock, and what would go by it. `names`: packages, which `how` has as `{}`."""

    how: str
    instead: str
    names: tuple[str, ...] = ()


class _Found(NamedTuple):
    """A command that goes past a lock."""

    install: Install
    past: _Past
    lock: str
    severity: Severity | None


@check("install-around-lock")
@dataclass(frozen=True)
class InstallAroundLock:
    """A command that installs a project which has a lock, and lets its tool resolve the versions anew.

    `images`: forms of commands that make what serves. Others are `elsewhere`: a pipeline's tests, a recipe for people.
    What only a developer runs (`people`) may change a lock: that is how locks are made.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    images: tuple[str, ...] = _IMAGES
    elsewhere: Severity = Severity.WARNING
    people: tuple[str, ...] = ("makefile", "justfile", "taskfile", "shell", "notebook", "python", "tox", "nox")

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each place and reason, at its first command."""
        told: dict[tuple[str, str, str], list[_Found]] = defaultdict(list)
        for found in self._commands(facts):
            told[found.install.place, found.past.how, found.lock].append(found)
        for several in told.values():
            yield _around(several)

    def _commands(self, facts: Facts) -> Iterator[_Found]:
        installs = installs_of(facts)
        kept: dict[str, str] = {}  # place -> the lock that was installed from there, "" for exact lists
        for install in facts.of(Install):
            judged, weaker = weight(self, facts, install.at.path)
            if not judged or (install.action in _CHANGES and install.form in self.people):
                continue
            locks = next((found for _, found in installs.locked(install)), None)
            past = _environment(install, installs, facts) or _unlocked(install, installs, facts)
            if past is None and locks is not None:
                past = _past(install, locks, installs, kept)
            elif past is None and kept.get(install.place) and install.form in (*self.images, "workflow"):
                past = _beside(install)
            if past is not None:
                severity = weaker or (None if install.form in self.images else self.elsewhere)
                yield _Found(install, past, _lock_path(locks) or kept.get(install.place, ""), severity)
            elif locks is not None or installs.exact(install):
                kept[install.place] = kept.get(install.place) or _lock_path(locks)


def _around(several: list[_Found]) -> Problem:
    """What commands of one place do alike."""
    install, past, lock, severity = several[0]
    how = past.how.replace("{}", some(dict.fromkeys(name for one in several for name in one.past.names), ", "))
    rest = len(several) - 1
    also = f"; {rest} more command{'s' if rest > 1 else ''} here do{'' if rest > 1 else 'es'} the same"
    values = {
        "command": f"{install.tool} {install.action}",
        "how": how,
        "lock": lock or "the compiled file",
        "instead": past.instead,
        "also": also if rest else "",
    }
    how = past.how.replace("{}", " ".join(past.names[:1]))
    subject = f"{install.tool} {install.action} {how}"
    return Problem(install.at, values, severity=severity, amount=len(several), subject=subject)


def _lock_path(locks: list[Locked] | None) -> str:
    """The path of a lock; the name of what takes its place; nothing where there is none."""
    if not locks:
        return ""
    return next((locked.lock.at.path for locked in locks if locked.lock is not None), "the compiled requirements")


def _past(install: Install, locks: list[Locked], installs: Installs, kept: Mapping[str, str]) -> _Past | None:
    """How a command installs a locked project past its lock."""
    tool, action = install.tool, install.action
    if tool in {"pip", "uv", "setuptools"} and action == "install":
        return _resolving(install, kept)
    if action in {"add", "update"}:
        return _Past(
            "resolves versions that the lock does not hold", "change the lock in a commit, and install from it"
        )
    if action in {"lock", "compile"}:
        return _anew(install)
    if tool in {"poetry", "pdm"}:
        return _uncopied(install, locks, installs) if action in {"install", "sync"} else None
    stale = _STALE.get((tool, action))
    if stale is None or (install.option(*stale.by) is not None and install.option("skip-lock") is None):
        return None
    return _Past("brings the lock up to date first, if it is stale", stale.instead)


class _Stale(NamedTuple):
    """A command that changes a stale lock, unless one of these options is given."""

    by: tuple[str, ...]
    instead: str


_STALE = {
    ("uv", "sync"): _Stale(("frozen", "locked", "check"), "run `uv sync --locked`"),
    ("pipenv", "install"): _Stale(("deploy", "ignore-pipfile"), "run `pipenv install --deploy`, or `pipenv sync`"),
    ("pixi", "install"): _Stale(("frozen", "locked"), "run `pixi install --locked`"),
}


def _anew(install: Install) -> _Past | None:
    """`uv lock --upgrade`, `poetry lock` in a build: the lock that it makes is nobody's commit."""
    again = install.tool != "uv" or install.option("upgrade", "upgrade-package") is not None
    if not again or install.option("check", "locked", "frozen") is not None:
        return None
    return _Past("makes the lock anew where it should be used", "commit the lock")


def _resolving(install: Install, kept: Mapping[str, str]) -> _Past | None:
    """The project's dependencies by its ranges, unless what may be taken is fixed beside them or already there."""
    loose = install.option("no-deps", "no-dependencies", "require-hashes") is not None or install.constraints
    if loose or install.place in kept or any(name.startswith("dist/") for name in install.local):
        return None
    return _Past(
        "resolves the project's ranges, not its lock", "install from the lock, then the project with `--no-deps`"
    )


def _uncopied(install: Install, locks: list[Locked], installs: Installs) -> _Past | None:
    """In an image a lock holds only if it was copied there."""
    if install.form != "dockerfile" or not install.copied:
        return None
    wanted = {locked.lock.at.path for locked in locks if locked.lock is not None}
    names = {path.rpartition("/")[2] for path in wanted}
    there = {installs.file(install, name) for name in names}
    if wanted & {path for path in there if isinstance(path, str)} or not wanted:
        return None
    return _Past("has no lock: it was not copied into the image", f"`COPY {min(names)}` with pyproject.toml")


def _environment(install: Install, installs: Installs, facts: Facts) -> _Past | None:
    """`conda env create -f environment.yml` with a conda-lock beside it."""
    if install.tool != "conda" or not install.files:
        return None
    for path in installs.files(install):
        if isinstance(path, str) and path.endswith((".yml", ".yaml")) and "lock" not in path:
            folder = folder_of(path)
            beside = [one for one in facts.paths if folder_of(one) == folder and _CONDA_LOCK.search(one)]
            if beside:
                return _Past(f"solves {path} anew, though {min(beside)} is there", "run `conda-lock install`")
    return None


_CONDA_LOCK = re.compile(r"(?:^|/|\.)conda-lock\.ya?ml$|(?:^|/)conda-(?:linux|osx|win)-[\w-]+\.lock$")


def _unlocked(install: Install, installs: Installs, facts: Facts) -> _Past | None:
    """`-r requirements.in`, of which a compiled file is there."""
    if install.action not in {"install", "sync"} or install.tool not in {"pip", "uv"}:
        return None
    for path in installs.files(install):
        if isinstance(path, str) and path.endswith(".in"):
            stem = path.removesuffix(".in")
            compiled = next((name for name in (f"{stem}.txt", f"{stem}.lock", stem) if name in facts.paths), None)
            if compiled:
                return _Past(
                    f"installs what {path} asks for, not what {compiled} holds", f"install with `-r {compiled}`"
                )
    return None


def _beside(install: Install) -> _Past | None:
    """Packages that a command puts beside those of a lock in the same place, at versions of its own."""
    if install.action != "install" or install.tool not in {"pip", "uv"}:
        return None
    upgrades = install.option("upgrade") is not None
    names = tuple(
        item.name
        for item in install.requirements
        if (item.pinned is False or upgrades) and canonicalize_name(item.name) not in _TOOLING
    )
    if not names:
        return None
    return _Past("adds {} to what the lock holds, at a version that nothing fixes", "declare it, and lock it", names)


# Sources


@check("mutable-source")
@dataclass(frozen=True)
class MutableSource:
    """A package from a repository not at a full commit, a URL without a hash, and what commands fetch unchecked.

    `images`: forms of commands whose fetches make what serves; elsewhere they are a warning. `hosts`: whose clones are
    models, which rules of their own judge.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    images: tuple[str, ...] = _IMAGES
    elsewhere: Severity = Severity.WARNING
    hosts: tuple[str, ...] = ("huggingface.co", "hf.co", "www.modelscope.cn")
    lock_forms: tuple[str, ...] = ("pyproject", "setup.py", "setup.cfg", "pipfile", "pixi")

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each."""
        yield from _together(self._requirements(facts))
        yield from _together(self._fetches(facts))
        yield from _together(self._lists(facts))

    def _requirements(self, facts: Facts) -> Iterator[Problem]:
        lines = (line for file in environments_of(facts).files for line in file.requirements)
        for requirement in (*lines, *standing(facts)):
            judged, severity = weight(self, facts, requirement.at.path)
            loose = requirement.pinned is not None and not (requirement.pinned is True and requirement.hashed)
            if judged and loose and is_elsewhere(requirement) and not self._left(requirement, facts):
                what = requirement.specifier
                subject = f"{canonicalize_name(requirement.name)};{requirement.marker}"
                yield Problem(
                    requirement.at,
                    _values(what, requirement.reason or UNVOUCHED, f"write `{_exact(what)}`"),
                    severity=severity,
                    subject=subject,
                )

    def _left(self, requirement: Requirement, facts: Facts) -> bool:
        """Whether a lock of the project holds the commit or the hash."""
        if requirement.form not in self.lock_forms:
            return False
        environments = environments_of(facts)
        return any(environments.locked(project) != [] for project in _projects(facts).get(requirement.at.path, ()))

    def _fetches(self, facts: Facts) -> Iterator[Problem]:
        for fetch in facts.of(Fetch):
            judged, weaker = weight(self, facts, fetch.at.path)
            host = host_of(fetch.url)
            if not judged or fetch.pinned is True or host in self.hosts:
                continue
            known = not isinstance(fetch.pinned, Unknown)
            severity = weaker or (None if fetch.form in self.images and known else self.elsewhere)
            exact = _FIXES[fetch.way].format(url=fetch.url)
            yield Problem(
                fetch.at,
                _values(fetch.url, fetch.reason, exact),
                severity=severity,
                subject=f"{fetch.way} {fetch.url}",
            )

    def _lists(self, facts: Facts) -> Iterator[Problem]:
        """A list of requirements that a command reads from a URL."""
        for install in facts.of(Install):
            judged, weaker = weight(self, facts, install.at.path)
            for file in install.files if judged else ():
                text = file.text if isinstance(file, Unknown) else file
                if re.match(r"https?://", text) and not _COMMIT.search(text):
                    reason = "what a URL serves can change, and with it every version that it names"
                    yield Problem(
                        install.at,
                        _values(text, reason, "keep a copy of it in this repository"),
                        severity=weaker,
                        subject=text,
                    )


def _together(problems: Iterable[Problem]) -> Iterator[Problem]:
    """One problem for each file and what it takes in, at the first place."""
    found: dict[tuple[str, str], list[Problem]] = defaultdict(list)
    for problem in once(problems):
        found[problem.at.path, str(problem.values["what"])].append(problem)
    for several in found.values():
        rest = len(several) - 1
        also = f"; {rest} more line{'s' if rest > 1 else ''} of this file take{'' if rest > 1 else 's'} it in"
        heaviest = min(several, key=lambda one: one.severity is not None)
        values = {**several[0].values, "also": also if rest else ""}
        yield replace(several[0], values=values, severity=heaviest.severity, amount=len(several))


_FIXES = {
    "clone": "check out one commit of it in the same step: `git checkout COMMIT`, all 40 characters",
    "script": "download it to a file, check that with `sha256sum -c`, then run it",
    "archive": "take it at a full COMMIT, or check the file with `sha256sum -c`",
    "add": "write `ADD --checksum=sha256:DIGEST {url}`",
}


def _projects(facts: Facts) -> dict[str, list[Project]]:
    found: dict[str, list[Project]] = defaultdict(list)
    for project in facts.of(Project):
        found[project.at.path].append(project)
    return found


def _values(what: str, reason: str, exact: str) -> dict[str, str]:
    return {"what": what, "reason": reason or "nothing says which state of it is meant", "exact": exact, "also": ""}


def _exact(written: str) -> str:
    """How a source would read if it were exact, with the one word left to fill in set in capitals."""
    url, mark, fragment = written.partition("#")
    scheme, separator, rest = url.partition("://")
    if "+" not in scheme and not scheme.startswith("git@"):
        return f"{url}#sha256=DIGEST"
    host, slash, path = rest.partition("/")  # an `@` in the host is a user's, one in the path opens the reference
    return f"{scheme}{separator}{host}{slash}{path.rpartition('@')[0] or path}@COMMIT{mark}{fragment}"
