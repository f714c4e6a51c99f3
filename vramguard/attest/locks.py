"""What is installed against the locks: versions, sources, and what is in only one of the two."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from vramguard.attest.difference import Difference, Findings, some
from vramguard.attest.distributions import same_version
from vramguard.discover import WorkTree
from vramguard.extract import extract
from vramguard.facts import Include, Lock, LockedPackage, Project, Requirement, Unknown
from vramguard.schema import ConfigError
from vramguard.source import Unreadable, read
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from vramguard.attest.distributions import Distribution
    from vramguard.attest.requires import Markers, Requirements
    from vramguard.facts import Fact
    from vramguard.source import Document

# The locks that are looked for in the working folder, the first one found counts.
NAMES: Final = (
    "poetry.lock",
    "uv.lock",
    "pdm.lock",
    "Pipfile.lock",
    "pylock.toml",
    "requirements.txt",
    "requirements.lock",
)
# What ensurepip, virtualenv and base images bring along, and what lockers leave out of their locks (pip-tools 7.5,
# utils.py, UNSAFE_PACKAGES): not asked for in a lock unless something that is installed requires it.
ALLOWED: Final = ("pip", "setuptools", "wheel")
_COMMIT: Final = re.compile(r"@([0-9a-f]{40}(?:[0-9a-f]{24})?)\b")
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?<!\.whl)")
_WHEEL_PARTS: Final = 5  # name, version, Python, ABI, platform
_HASH: Final = re.compile(r"[#&](sha256|sha384|sha512)=([0-9a-f]+)")


class Held(NamedTuple):
    """One package of a lock; `clause` is what its line says where that fixes no version."""

    name: str
    version: str | None
    hashes: frozenset[str] = frozenset()
    commit: str | None = None
    local: bool = False  # a folder or a file of the repository
    url: bool = False
    clause: str = ""
    marker: str = ""
    extras: tuple[str, ...] = ()
    also: tuple[str, ...] = ()  # conda's packages: what pip calls them
    folder: str = ""  # of a line that names no distribution, only where one is built: the last part of that path

    @property
    def keys(self) -> frozenset[str]:
        """The names by which an installed distribution is this one."""
        return frozenset(str(canonicalize_name(name)) for name in (self.name, *self.also) if name)


@dataclass(frozen=True, slots=True)
class LockFile:
    """A lock as read; `path` as the reader typed it. `own`: the projects that it locks, which it need not hold."""

    path: str
    form: str
    sha256: str
    packages: tuple[Held, ...]
    own: frozenset[str] = field(default_factory=frozenset)


def found_in(folder: Path) -> tuple[list[Path], list[str]]:
    """The lock of a folder, and the names of others that were not taken; a loose requirements.txt is none."""
    there = [name for name in NAMES if (folder / name).is_file()]
    locks = [name for name in there if not name.startswith("requirements") or _is_exact(folder / name)]
    return [folder / name for name in locks[:1]], locks[1:]


def _is_exact(path: Path) -> bool:
    try:
        packages = load(path).packages
    except ConfigError:
        return False
    return bool(packages) and all(held.version or held.commit or held.hashes or held.local for held in packages)


def load(path: Path) -> LockFile:
    """One lock; ConfigError for what is none. A requirements file takes in those that it names."""
    if not path.is_file():
        raise ConfigError(f"no lock `{path}`")
    tree, name = WorkTree(path.parent), path.name
    documents = {name: _document(tree, name, str(path))}
    pending, facts = [name], list["Fact"]()
    while pending:
        for fact in extract(documents[pending.pop()]):
            facts.append(fact)
            if isinstance(fact, Include):
                target = fact.target
                if isinstance(target, Unknown):
                    raise ConfigError(
                        f"`{path}` takes in `{target.text}`, which is not in its folder: name it by --lock"
                    )
                if target not in documents:
                    documents[target] = _document(tree, target, str(path.parent / target))
                    pending.append(target)
    lock = next((fact for fact in facts if isinstance(fact, Lock) and fact.packages), None)
    lines = [fact for fact in facts if isinstance(fact, Requirement)]
    if lock is None and documents[name].kind != "requirements":
        raise ConfigError(f"`{path}` is no lock that is understood")
    packages = tuple(map(_package, lock.packages)) if lock else tuple(_line(line, documents) for line in lines)
    packages = tuple(held for held in packages if held.name or held.folder)
    digest = hashlib.sha256("\n".join(documents[key].sha256 for key in documents).encode()).hexdigest()
    sha256 = documents[name].sha256 if len(documents) == 1 else digest
    return LockFile(str(path), lock.form if lock else "requirements", sha256, packages, _projects(tree))


def _document(tree: WorkTree, name: str, shown: str) -> Document:
    try:
        data = tree.read(name)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read `{shown}`: {getattr(error, 'strerror', None) or error}") from error
    if data is None:
        raise ConfigError(f"no lock `{shown}`")
    document = read(name, data)
    if isinstance(document, Unreadable):
        raise ConfigError(f"cannot read `{shown}`: {document.reason}")
    return document


def _projects(tree: WorkTree) -> frozenset[str]:
    """The name of the project beside the lock."""
    try:
        data = tree.read("pyproject.toml")
        document = read("pyproject.toml", data) if data is not None else None
    except (OSError, ValueError):
        document = None
    if document is None or isinstance(document, Unreadable):
        return frozenset()
    named = (fact.name for fact in extract(document) if isinstance(fact, Project))
    return frozenset(str(canonicalize_name(name)) for name in named if name)


def _package(package: LockedPackage) -> Held:
    local = package.local is not None
    return Held(package.name, package.version, frozenset(package.hashes), package.commit, local, also=package.also)


def _line(line: Requirement, documents: dict[str, Document]) -> Held:
    """A line of a requirements file. Its hashes are those of the wheels and archives that pip may take for it."""
    parsed = documents[line.at.path].value
    words = next((item for item in parsed if item.span[:2] == line.at[1:3]), None)
    hashes = frozenset(words.values("--hash")) if words is not None else frozenset()
    spec = line.specifier
    if line.pinned is None and not _NAME.fullmatch(line.name):
        return _path(spec)
    if "://" in spec or line.pinned is None:
        commit, named = _COMMIT.search(spec), _HASH.search(spec)
        hashes |= {f"{named[1]}:{named[2]}"} if named else set()
        commit_id = commit[1] if commit else None
        return Held(line.name, None, hashes, commit_id, line.pinned is None, "://" in spec, spec, line.marker)
    exact = line.pinned is True and spec.startswith("==")
    version = spec.lstrip("=").strip() if exact else None
    return Held(line.name, version, hashes, clause="" if exact else spec, marker=line.marker, extras=line.extras)


def _path(spec: str) -> Held:
    """A line that names a folder or an archive: a wheel's name says what it is."""
    last = posixpath.basename(posixpath.normpath(spec.partition("[")[0]))
    wheel = last.removesuffix(".whl").split("-")
    if last.endswith(".whl") and len(wheel) >= _WHEEL_PARTS:
        return Held(wheel[0], wheel[1], local=True)
    return Held("", None, local=True, folder="" if last == "." else last)


class Comparison:
    """The installed distributions beside what the locks hold."""

    def __init__(self, locks: Sequence[LockFile], requirements: Requirements, markers: Markers) -> None:
        self._locks = locks
        self._requirements = requirements
        self._markers = markers
        self._held: dict[str, list[Held]] = defaultdict(list)
        for lock in locks:
            for held in lock.packages:
                for key in held.keys:
                    self._held[key].append(held)
        self._own = frozenset().union(*(lock.own for lock in locks))

    def report(self, installed: Iterable[Distribution], allowed: Collection[str], findings: Findings) -> None:
        """Report each distribution that is not as locked, and what is locked and not installed."""
        for item in installed:
            if item.key in self._held:
                self._compare(item, self._held[item.key], item.key in allowed, findings)
            elif item.key not in self._own and not self._is_built(item):
                self._foreign(item, allowed, findings)
        self._absent(findings)

    def _is_built(self, item: Distribution) -> bool:
        """Whether a line names the folder that a distribution was built from, or the archive."""
        url = item.direct_url.url if item.direct_url else ""
        folders = {held.folder for lock in self._locks for held in lock.packages if held.folder}
        return url.startswith("file:") and posixpath.basename(url.rstrip("/")) in folders

    def _foreign(self, item: Distribution, allowed: Collection[str], findings: Findings) -> None:
        askers = sorted({asked.by.shown for asked in self._requirements.asked.get(item.key, ())})
        what = f"{some(askers)} asked for it" if askers else "nothing asks for it"
        if item.key in allowed or (item.key in ALLOWED and not askers):
            findings.add(Difference("not-in-lock", f"allowed; {what}", item.shown, item.folder), note=True)
        else:
            findings.add(Difference("not-in-lock", what, item.shown, item.folder))

    def _compare(self, item: Distribution, held: list[Held], allowed: bool, findings: Findings) -> None:  # noqa: FBT001
        if item.version and not any(_fits(item, one) for one in held):
            said = " or ".join(dict.fromkeys(one.version or f"`{one.clause}`" for one in held))
            loose = "" if any(one.version for one in held) else ", which fixes no version"
            what, data = f"the lock holds {said}{loose}", {"locked": [one.version for one in held]}
            findings.add(Difference("version", what, item.shown, item.folder, data), note=allowed)
        fault = None if item.editable else _other_source(item, held)
        if fault:
            findings.add(Difference("source", fault, item.shown, item.folder))

    def _absent(self, findings: Findings) -> None:
        """A requirements file is installed whole. Other locks have groups and extras, whose absence is no fault."""
        noted = []
        for lock in self._locks:
            for held in lock.packages:
                if not held.keys or held.keys & self._requirements.installed.keys() or held.keys & self._own:
                    continue
                if lock.form == "requirements" and self._must(held):
                    what = f"`{lock.path}` has it"
                    findings.add(Difference("not-installed", what, f"{held.name} {held.version or ''}".rstrip()))
                else:
                    noted.append(held.name)
        if noted:
            names = sorted(set(noted))
            what = f"{plural(len(names), 'package')} of the lock not installed: {some(names, 8)}"
            findings.add(Difference("locked-only", what, data={"names": names}), note=True)

    def _must(self, held: Held) -> bool:
        if not held.marker:
            return True
        try:
            return self._markers.holds(Marker(held.marker)) is True
        except ValueError:  # of packaging, and of numbers with too many digits
            return False


def extras(locks: Iterable[LockFile]) -> Iterator[tuple[str, str]]:
    """The extras that lines of requirements files ask for."""
    for lock in locks:
        for held in lock.packages:
            for extra in held.extras:
                yield str(canonicalize_name(held.name)), str(canonicalize_name(extra))


def _fits(item: Distribution, held: Held) -> bool:
    """Whether a version is the locked one. A line that only bounds it, without a hash, fixes none."""
    if held.version is not None:
        return same_version(item.version, held.version)
    if held.local or held.url or held.commit or not held.clause:
        return held.local or held.url or held.commit is not None
    try:
        return bool(held.hashes) and SpecifierSet(held.clause).contains(item.version, prereleases=True)
    except ValueError:
        return False


def _other_source(item: Distribution, held: list[Held]) -> str:
    """Why a distribution did not come from where the lock says; nothing where it did, or where nobody can tell."""
    direct = item.direct_url
    commits = {one.commit for one in held if one.commit}
    if direct is None:
        return "the lock has it at a commit, and it came from an index" if commits and len(commits) == len(held) else ""
    if direct.commit is not None:
        return "" if direct.commit in commits else f"it is of commit {direct.commit[:40]}, which the lock does not name"
    local = any(one.local for one in held)
    if direct.folder:
        return "" if local else f"it was built from the folder {direct.url[:120]}"
    known = frozenset().union(*(one.hashes for one in held))
    if known.intersection(direct.hashes):
        return ""
    if not direct.hashes:
        return f"it came from {direct.url[:120]}, and nobody noted the hash"
    return "" if local and not known else f"it came from {direct.url[:120]}, an archive that the lock does not name"
