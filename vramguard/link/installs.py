"""Which files of the repository a command means: `-r requirements.txt`, `.`, the project that `uv sync` installs."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from vramguard.facts import Install, Project, Unknown
from vramguard.link.environments import environments_of
from vramguard.link.folders import folder_of, is_within, upwards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Requirement
    from vramguard.link.locked import Locked

_SELF = re.compile(  # the folder of the script itself
    r"\"?\$(?:\(\s*(?:cd\s+)?\"?\$?\(?\s*dirname[^)]*\)*(?:\s*&&\s*pwd[^)]*)?\)?\"?|\{?(?:SCRIPT_?DIR|script_?dir|HERE|"
    r"SCRIPT_?PATH|DIR|BASEDIR|CURRENT_DIR)\}?)\"?"
)
_ROOT = re.compile(  # the repository
    r"\"?(?:\$\{?(?:GITHUB_WORKSPACE|REPO_?ROOT|ROOT_?DIR|PROJECT_?ROOT|ROOT|PROJECT_?DIR|CI_PROJECT_DIR|REPO_?DIR|"
    r"BUILD_SOURCESDIRECTORY|WORKSPACE)\}?|\$\(git rev-parse --show-toplevel\)|\$\{\{\s*github\.workspace\s*\}\}|"
    r"\$\(Build\.SourcesDirectory\))\"?"
)
_EXTRAS = re.compile(r"(?<=[\w./~-])\[[^\]]*\]$")
_INSIDE = frozenset({"compose", "kubernetes", "helm", "kfp"})  # these run in an image, whose files are not told here
_FROM_ROOT = frozenset({"workflow"})
_MOST_PARENTS = 20
_MOST_COPIES = 200  # of a stage that a path may have come with


class Installs:
    """The installs of one repository, joined to its files and projects."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._folders = {"."}
        for path in facts.paths:
            while (path := posixpath.dirname(path)) and path not in self._folders:
                self._folders.add(path)
        self._projects: dict[str, list[Project]] = defaultdict(list)
        for project in facts.of(Project):
            self._projects[folder_of(project.at.path)].append(project)

    def files(self, install: Install) -> tuple[str | Unknown, ...]:
        """The requirements files that the command installs from, by their paths in the repository."""
        return tuple(self.file(install, written) for written in install.files)

    def constraints(self, install: Install) -> tuple[str | Unknown, ...]:
        """The files whose pins hold for what the command installs."""
        return tuple(self.file(install, written) for written in install.constraints)

    def file(self, install: Install, written: str | Unknown) -> str | Unknown:
        """One file by its path in the repository; Unknown for a glob, a URL, and what is not there."""
        text = written.text if isinstance(written, Unknown) else written
        found = next((path for path in self._candidates(install, text) if path in self._facts.paths), None)
        return Unknown(text) if found is None else found

    def projects(self, install: Install) -> list[Project]:
        """The projects whose dependencies the command installs: those of `.`, or that of the folder it runs in."""
        if install.tool in {"poetry", "pdm", "pipenv", "pixi", "uv"} and not install.local:
            named = (
                [self._above(install)] if install.action in {"sync", "install", "update", "add", "lock", "run"} else []
            )
            if install.tool == "uv" and install.action == "install":
                named = []
        else:
            named = [self._folder(install, _EXTRAS.sub("", path)) for path in install.local]
        named += [folder_of(path) for path in self.files(install) if isinstance(path, str) and _is_manifest(path)]
        form = {"pipenv": "pipfile", "pixi": "pixi"}.get(install.tool)
        return [
            project
            for folder in dict.fromkeys(named)
            for project in self._projects.get(folder or "", ())
            if project.form == form or (form is None and project.form in {"pyproject", "setup.py", "setup.cfg"})
        ]

    def locked(self, install: Install) -> Iterator[tuple[Project, list[Locked]]]:
        """The projects that the command installs and that have a lock, with their locks: in their folder, or above it.

        An application's lock elsewhere, which takes the project in by its path, is not that of the project itself.
        """
        for project in self.projects(install):
            folder = folder_of(project.at.path)
            found = environments_of(self._facts).locked(project) or []
            own = [item for item in found if item.lock is None or is_within(folder, folder_of(item.lock.at.path))]
            if own:
                yield project, own

    def exact(self, install: Install) -> bool:
        """Whether all that the command's files ask for is exact; False where a file is not known."""
        lines = self._lines(install)
        return bool(lines) and all(line.pinned in (True, None) for line in lines)

    def hashed(self, install: Install) -> bool:
        """Whether every file that may be installed has its hash beside it: then no index can offer another."""
        if install.option("require-hashes") is not None:
            return True
        lines = self._lines(install)
        return bool(lines) and all(line.hashed or line.pinned is None for line in (*lines, *install.requirements))

    def _lines(self, install: Install) -> list[Requirement]:
        """What stands in the command's files, constraints and all counted as these make it exact."""
        return [line for path in self.files(install) if isinstance(path, str) for line in self._lists.get(path, ())]

    @cached_property
    def _lists(self) -> dict[str, tuple[Requirement, ...]]:
        return {file.path: file.requirements for file in environments_of(self._facts).files}

    # Paths

    def _folder(self, install: Install, text: str) -> str | None:
        return next((path for path in self._candidates(install, text) if path in self._folders), None)

    def _above(self, install: Install) -> str | None:
        """The folder of the project that a tool finds from the folder it runs in: that one, or one above it."""
        manifests = {"pipenv": ("Pipfile",), "pixi": ("pixi.toml", "pyproject.toml")}.get(
            install.tool, ("pyproject.toml",)
        )
        for folder in self._candidates(install, "."):
            here = folder
            for _ in range(_MOST_PARENTS):
                if any(posixpath.normpath(posixpath.join(here, name)) in self._facts.paths for name in manifests):
                    return here
                if install.form == "dockerfile" or here == ".":
                    break
                here = posixpath.dirname(here) or "."
        return None

    def _candidates(self, install: Install, text: str) -> Iterator[str]:
        """Where a path may lead, the likeliest first; nothing for what cannot be told."""
        folder = install.option("directory") or ""
        if "://" in text or "*" in text or install.form in _INSIDE:
            return
        if install.form == "dockerfile":
            yield from self._copied(install, folder, text)
            return
        whole = text if text.startswith(("/", "$", "~")) or _SELF.match(text) else posixpath.join(folder, text)
        own = folder_of(install.at.path)
        bases: tuple[str, ...] = (".", own) if install.form in _FROM_ROOT else (own, ".")
        for pattern, base in ((_SELF, own), (_ROOT, ".")):
            begun = pattern.match(whole)
            if begun:
                whole, bases = whole[begun.end() :].lstrip("/") or ".", (base,)
        if whole.startswith(("/", "~", "$", "{", "`")) or "$" in whole:
            return
        for base in bases:
            path = posixpath.normpath(posixpath.join(base, whole))
            if not path.startswith(".."):
                yield path

    def _copied(self, install: Install, folder: str, text: str) -> Iterator[str]:
        """The files of the build context that were copied to where a path leads in the image."""
        target = posixpath.normpath(posixpath.join(folder, text))
        for source, place in islice(dict.fromkeys(reversed(install.copied)), _MOST_COPIES):
            for path in _origin(source, posixpath.normpath(place), target):
                for context in upwards(folder_of(install.at.path)):  # a build's context may be any of them
                    found = posixpath.normpath(posixpath.join(context, path))
                    if not found.startswith(".."):
                        yield found


def _origin(source: str, place: str, target: str) -> Iterator[str]:
    """What a path in the image was in the build context, if a copy brought it."""
    if "*" in source:
        inside = posixpath.dirname(place) if "*" in posixpath.basename(place) else place
        if posixpath.dirname(target) in {place, inside} and fnmatchcase(
            posixpath.basename(target), posixpath.basename(source)
        ):
            yield posixpath.join(posixpath.dirname(source), posixpath.basename(target))
        return
    if target == place:
        yield source
    elif place in {".", "/"} or target.startswith(f"{place}/"):
        inner = target if place == "." else target.removeprefix(place).lstrip("/")
        yield posixpath.join(source, inner)
    elif posixpath.dirname(place) == target and posixpath.basename(place) == posixpath.basename(source):
        yield posixpath.dirname(source) or "."  # the folder that single files were copied to


def _is_manifest(path: str) -> bool:
    return posixpath.basename(path) in {"pyproject.toml", "setup.py", "setup.cfg"}


@lru_cache(maxsize=4)  # several rules ask for the same join; Facts are compared by identity
def installs_of(facts: Facts) -> Installs:
    """The installs of a repository, joined once."""
    return Installs(facts)
