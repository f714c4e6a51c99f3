"""What is installed together: the lines of one stage, job, notebook, conda environment, list, project or lock."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from vramguard.facts import Include, Install, Lock, Project, Requirement, RequirementOption
from vramguard.link.environments import environments_of
from vramguard.link.installs import installs_of
from vramguard.link.resolved import CONDA, held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.installs import Installs
    from vramguard.source import Location

# Where several commands are one after the other, each of which is run: elsewhere they are often alternatives.
_WHOLE: Final = frozenset({"dockerfile", "workflow", "notebook"})
# Frameworks that build an environment of what one place lists.
RUNTIMES: Final = frozenset(
    {"kfp", "airflow", "ray", "truss", "cog", "bentoml", "modal", "mlflow", "sagemaker", "zenml", "metaflow"}
    | {"databricks", "space", "script"}
)
_MANIFESTS: Final = ("pyproject", "setup.py", "setup.cfg", "pipfile")
_MAIN: Final = frozenset(
    {"project.dependencies", "tool.poetry.dependencies", "packages", "install_requires", "options"}
)
_BUILT: Final = (
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
)  # which of the files that these read are of an extra is not told
_OWN_ROOM: Final = frozenset({"pipx", "uvx"})  # each package has an environment of its own
_ELSEWHERE: Final = ("name", "prefix", "target", "python", "root", "environment", "environment-specifier")
_INTO: Final = frozenset({"install", "sync", "create", "update", "env create", "env update", "add"})
CONDA_TOOLS: Final = frozenset({"conda", "mamba", "micromamba"})
_CONDA_NAMES: Final = {"pytorch": "torch", "torchtriton": "triton", "pytorch-gpu": "torch"}
_EXACT: Final = re.compile(r"(?:={2,3})?\s*v?(\d[^\s,;*|]*)")
_CONDAS: Final = re.compile(r"={0,2}\s*v?(\d[\w.!+]*)(?:=\S*)?")
_RELEASE: Final = 3  # parts of a version that conda's `=` names whole
_DEPTH: Final = 12  # of lists that take in others


class Line(NamedTuple):
    """A package as one line has it. `version` is the one that the line fixes, with its label; "" where it fixes none.

    `prefix`: whether conda takes the version for the beginning of one.
    """

    name: str
    version: str
    specifier: str
    marker: str
    hashed: bool
    at: Location
    prefix: bool = False
    limits: bool = False  # a constraint: it installs nothing
    command: int = 0  # which of the place's commands brings it
    manager: str = "pip"  # whose package it is: pip's, or conda's


class Meeting(NamedTuple):
    """What is installed into one place, which is named as an `Install` names it, or by the path of what lists it."""

    place: str
    at: Location
    form: str
    lines: tuple[Line, ...]
    installs: tuple[Install, ...] = ()
    options: tuple[tuple[str, str], ...] = ()  # of the commands, and of the lists that they install

    @property
    def path(self) -> str:
        """The file that says what is installed."""
        return self.at.path

    def asked(self, command: int) -> tuple[tuple[str, str], ...]:
        """The options that hold for one of the commands: its own, and those of the lists that are installed."""
        if not self.installs:
            return self.options
        others = {option for install in self.installs for option in install.options}
        more = (option for option in self.options if option not in others)
        return (*self.installs[command].options, *more)

    def of(self, name: str) -> list[Line]:
        """The lines of one package, constraints aside."""
        return [line for line in self.lines if line.name == name and not line.limits]

    def versions(self, name: str) -> list[Line]:
        """Its lines, if each of them fixes a version; none where one leaves it open, and nothing else does not."""
        found = self.of(name)
        fixed = [line for line in found if line.version]
        return fixed if fixed and all(line.version or not line.specifier for line in found) else []


@lru_cache(maxsize=4)  # several rules ask for the same join; Facts are compared by identity
def meetings(facts: Facts) -> tuple[Meeting, ...]:
    """Everything that is installed together, in the order of the places that say so."""
    lists = _Lists(facts)
    found = [*_locks(facts), *lists.all(), *_environments(facts), *_manifests(facts, lists), *_stages(facts, lists)]
    return tuple(sorted((item for item in found if item.lines), key=lambda item: (item.at, item.place)))


def version_of(requirement: Requirement, *, condas: bool = False) -> tuple[str, bool]:
    """The version that a requirement fixes, "" if none, and whether it is only the beginning of one (conda's `=`)."""
    text = requirement.specifier.strip()
    if "://" in text:
        return _in_wheel(text), False
    if condas:
        match = _CONDAS.fullmatch(text)
        if match is None:
            return "", False
        whole = requirement.pinned is True or text.startswith("==") or text[:1].isdigit()
        return match[1], not whole and match[1].count(".") < _RELEASE - 1
    match = _EXACT.fullmatch(text) if requirement.pinned is True else None
    return (match[1] if match else ""), False


def _in_wheel(url: str) -> str:
    name = unquote(url.partition("#")[0]).rpartition("/")[2]
    try:
        return str(parse_wheel_filename(name)[1]) if name.endswith(".whl") else ""
    except (InvalidWheelFilename, ValueError):
        return ""


def line_of(requirement: Requirement, command: int = 0, *, limits: bool = False, condas: bool = False) -> Line | None:
    """A requirement as a line of a meeting; None for what has no version by nature: a path."""
    if requirement.pinned is None:
        return None
    condas = condas or (requirement.form in ("conda", "pixi") and requirement.section != "pip")
    name = canonicalize_name(requirement.name)
    name = canonicalize_name(_CONDA_NAMES.get(name, name)) if condas else name
    version, prefix = version_of(requirement, condas=condas)
    manager = "conda" if condas else "pip"
    marker, hashed, at = requirement.marker, requirement.hashed, requirement.at
    return Line(name, version, requirement.specifier, marker, hashed, at, prefix, limits, command, manager)


def _lines(
    requirements: Iterable[Requirement], command: int = 0, *, limits: bool = False, condas: bool = False
) -> list[Line]:
    found = (line_of(requirement, command, limits=limits, condas=condas) for requirement in requirements)
    return [line for line in found if line is not None]


def _locks(facts: Facts) -> Iterator[Meeting]:
    for lock in facts.of(Lock):
        packages = [item for package in lock.packages if (item := held(package)) is not None]
        lines = tuple(Line(name, version, f"=={version}", "", True, at) for name, version, at in packages)
        yield Meeting(lock.at.path, lock.at, lock.form, tuple(_renamed(lock, lines)))


def _renamed(lock: Lock, lines: tuple[Line, ...]) -> Iterator[Line]:
    """Conda's packages under the names that pip gives them."""
    for line in lines:
        other = lock.form in CONDA
        name = canonicalize_name(_CONDA_NAMES.get(line.name, line.name)) if other else line.name
        yield line._replace(name=name, manager="conda" if other else "pip")


class _Lists:
    """Requirements files, with those that they take in."""

    def __init__(self, facts: Facts) -> None:
        self._requirements: dict[str, list[Requirement]] = defaultdict(list)
        for requirement in facts.of(Requirement):
            self._requirements[requirement.at.path].append(requirement)
        self._closures: dict[tuple[str, bool], list[tuple[str, bool]]] = {}
        self._includes: dict[str, list[Include]] = defaultdict(list)
        for include in facts.of(Include):
            self._includes[include.at.path].append(include)
        self._options: dict[str, list[RequirementOption]] = defaultdict(list)
        for option in facts.of(RequirementOption):
            self._options[option.at.path].append(option)
        self._only_limits = {item.target for item in facts.of(Include) if item.constraint} - {
            item.target for item in facts.of(Include) if not item.constraint
        }

    def __contains__(self, path: str) -> bool:
        return path in self._requirements

    def all(self) -> Iterator[Meeting]:
        """Each list by itself; one that only constrains installs nothing."""
        for path, requirements in self._requirements.items():
            named = "constraint" in posixpath.basename(path).lower()
            if requirements[0].form == "requirements" and path not in self._only_limits and not named:
                at = requirements[0].at._replace(line=1, column=1, end_line=1, end_column=1)
                yield Meeting(path, at, "requirements", tuple(self.lines(path)), options=tuple(self.options(path)))

    def lines(self, path: str, command: int = 0, *, limits: bool = False) -> list[Line]:
        """The lines of a file and of all that it takes in."""
        found: list[Line] = []
        for current, constraint in self._closure(path, limits=limits):
            own = self._requirements.get(current, [])
            found += _lines((item for item in own if _is_main(item)), command, limits=constraint)
        return found

    def options(self, path: str) -> list[tuple[str, str]]:
        """The option lines of a file and of all that it takes in, by their long names without dashes."""
        files = [current for current, _ in self._closure(path, limits=False)]
        return [(_long(item.option), item.value) for file in files for item in self._options.get(file, [])]

    def _closure(self, path: str, *, limits: bool) -> list[tuple[str, bool]]:
        known = self._closures.get((path, limits))
        if known is not None:
            return known
        seen: dict[tuple[str, bool], None] = {}
        todo = [(path, limits, 0)]
        while todo:
            current, constraint, depth = todo.pop()
            if (current, constraint) in seen or depth > _DEPTH:
                continue
            seen[current, constraint] = None
            if not current.endswith(_BUILT):
                taken = (item for item in self._includes.get(current, []) if isinstance(item.target, str))
                todo += [(str(item.target), constraint or item.constraint, depth + 1) for item in taken]
        found = self._closures[path, limits] = list(seen)
        return found


def _is_main(requirement: Requirement) -> bool:
    """Whether an install without extras and groups takes a line in."""
    if requirement.form not in _MANIFESTS:
        return True
    return requirement.section in _MAIN


def _long(option: str) -> str:
    short = {"-i": "index-url", "-f": "find-links"}
    return short.get(option, option.lstrip("-"))


def _environments(facts: Facts) -> Iterator[Meeting]:
    """Conda environments, and what frameworks build one of."""
    groups: dict[tuple[str, str, str], list[Requirement]] = defaultdict(list)
    commands = {item for install in facts.of(Install) for item in install.requirements}
    for requirement in facts.of(Requirement):
        if requirement.form == "conda":
            groups[requirement.at.path, "conda", ""].append(requirement)
        elif requirement.form in RUNTIMES and requirement not in commands:
            groups[requirement.at.path, requirement.form, requirement.section].append(requirement)
    for (path, form, _), items in groups.items():
        yield Meeting(path, items[0].at, form, tuple(_lines(items)))


def _manifests(facts: Facts, lists: _Lists) -> Iterator[Meeting]:
    """Each manifest; with the indexes that it names, unless a lock says which file is meant."""
    groups: dict[tuple[str, str], list[Requirement]] = defaultdict(list)
    for requirement in facts.of(Requirement):
        if requirement.form in _MANIFESTS and _is_main(requirement):
            groups[requirement.at.path, requirement.form].append(requirement)
    for (path, form), items in groups.items():
        yield Meeting(path, items[0].at, form, tuple(_lines(items)), options=tuple(_indexes(path, facts, lists)))


def _indexes(path: str, facts: Facts, lists: _Lists) -> list[tuple[str, str]]:
    """The options of a manifest's own tables. Those of uv (`index`) are asked in order, so the first says it all."""
    locked = environments_of(facts).locked
    if any(locked(project) for project in facts.of(Project) if project.at.path == path):
        return []
    found = lists.options(path)
    mixed = any(name == "index-strategy" and value.startswith("unsafe") for name, value in found)
    return [(name, value) for name, value in found if mixed or name not in ("index", "default-index")]


def _stages(facts: Facts, lists: _Lists) -> Iterator[Meeting]:
    known = installs_of(facts)
    places: dict[tuple[str, ...], list[Install]] = defaultdict(list)
    for number, install in enumerate(facts.of(Install)):
        if install.tool in _OWN_ROOM or install.action not in _INTO:
            continue
        room = tuple(f"{name}={value}" for name, value in install.options if name in _ELSEWHERE)
        one = install.form in _WHOLE or install.form in RUNTIMES
        alone = () if one and not any("$" in word for word in room) else (str(number),)
        places[(install.place, *room, *alone)].append(install)
    for (place, *_), installs in places.items():
        lines = [line for number, install in enumerate(installs) for line in _taken(install, number, lists, known)]
        options = [option for install in installs for option in _options(install, lists, known)]
        yield Meeting(place, installs[0].at, installs[0].form, tuple(lines), tuple(installs), tuple(options))


def _taken(install: Install, number: int, lists: _Lists, known: Installs) -> Iterator[Line]:
    """The lines that a command installs: its own, those of its files, those of the projects that it names."""
    yield from _lines(install.requirements, number, condas=install.tool in CONDA_TOOLS)
    set_so = (value for name, value in install.options if name in ("constraint", "constraints"))  # PIP_CONSTRAINT
    limits = [*known.constraints(install), *(known.file(install, value) for value in set_so)]
    for path in dict.fromkeys(known.files(install)):
        if isinstance(path, str):
            yield from lists.lines(path, number)
    for path in dict.fromkeys(limits):
        if isinstance(path, str):
            yield from lists.lines(path, number, limits=True)
    if install.option("no-deps") is None:
        for project in known.projects(install):
            yield from lists.lines(project.at.path, number)


def _options(install: Install, lists: _Lists, known: Installs) -> Iterator[tuple[str, str]]:
    yield from install.options
    for path in known.files(install):
        if isinstance(path, str):
            yield from lists.options(path)
