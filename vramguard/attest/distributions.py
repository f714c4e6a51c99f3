"""The distributions of an environment, by the metadata that their installers left; nothing is imported."""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from vramguard.attest.record import Record, parse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vramguard.attest.files import Files

MAX_METADATA: Final = 4 << 20  # bytes; a description may be long, its headers are not
_MAX_RECORD: Final = 64 << 20
_LEGACY_SECTION: Final = re.compile(r"\[([^\]:]*)(?::([^\]]*))?\]")


class DirectUrl(NamedTuple):
    """direct_url.json: where a distribution came from if not from an index."""

    url: str
    editable: bool = False
    folder: bool = False
    commit: str | None = None
    hashes: tuple[str, ...] = ()  # `sha256:…`


@dataclass(frozen=True, slots=True)
class Distribution:
    """One installed distribution. `folder` is that of its metadata (or its one file), from the environment's root."""

    name: str
    version: str
    form: str  # dist-info, egg-info, egg, egg-link
    site: str
    folder: str
    requires: tuple[Requirement, ...] = ()
    requires_python: str = ""
    record: Record | None = None
    direct_url: DirectUrl | None = None
    installer: str | None = None
    flaws: tuple[str, ...] = ()  # of its metadata, in words
    unrecorded: tuple[str, ...] = ()  # without RECORD: the files and folders that are its own all the same
    linked: str = ""  # of an .egg-link: the folder that it links to

    @property
    def key(self) -> str:
        """The name by which others require it."""
        return str(canonicalize_name(self.name))

    @property
    def shown(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".rstrip()

    @property
    def editable(self) -> bool:
        """Whether it is a link to a folder of sources."""
        return self.form == "egg-link" or (self.direct_url is not None and self.direct_url.editable)


def distributions(files: Files) -> list[Distribution]:
    """Every distribution, by name; a folder that pip has set aside (`~umpy-2.0.dist-info`) is none."""
    roots: dict[tuple[str, str], list[str]] = defaultdict(list)  # by site and top-level name: what stands below
    for path in files.entries:
        site = next(site for site in files.environment.sites if not site or path.startswith(f"{site}/"))
        top, _, rest = path.removeprefix(f"{site}/" if site else "").partition("/")
        if top.endswith((".dist-info", ".egg-info", ".egg", ".egg-link")) and not top.startswith("~"):
            roots[site, top].append(rest)
    found = (_read(files, site, top, below) for (site, top), below in roots.items())
    return sorted((item for item in found if item), key=lambda item: (item.key, item.version, item.folder))


def _read(files: Files, site: str, top: str, below: list[str]) -> Distribution | None:
    folder = posixpath.join(site, top)
    stem, _, form = top.rpartition(".")
    if form == "egg-link":
        target = (files.read(folder, 1 << 16) or b"").decode("utf-8", "replace").partition("\n")[0].strip()
        return Distribution(stem, "", form, site, folder, linked=target, unrecorded=(folder,))
    if form == "dist-info":
        return _dist_info(files, site, folder, stem)
    single = below == [""]
    inner = "EGG-INFO/PKG-INFO" if form == "egg" else "PKG-INFO"
    said = _headers(files, folder if single and form == "egg-info" else posixpath.join(folder, inner))
    name, version, flaws = _identity(said, re.sub(r"-py\d.*$", "", stem), strict=not single)
    listed = _text(files, posixpath.join(folder, "requires.txt"))
    requires, broken = _parsed(_legacy(listed))
    owned = (folder, *(_owned(files, site, folder) if form == "egg-info" else ()))
    return Distribution(name, version, form, site, folder, requires, flaws=(*flaws, *broken), unrecorded=owned)


def _dist_info(files: Files, site: str, folder: str, stem: str) -> Distribution:
    said = _headers(files, f"{folder}/METADATA")
    hidden = f"{folder}/METADATA" in files.astray  # which is a difference of its own
    name, version, flaws = _identity(said, stem, strict=not hidden)
    requires, broken = _parsed(said.get("requires-dist", ()))
    data = files.read(f"{folder}/RECORD", _MAX_RECORD + 1)
    record = None if data is None else parse(data)
    if data is not None and record is not None and len(data) > _MAX_RECORD:
        record = record._replace(flaws=(*record.flaws, "it is too long to be read to its end"))
    direct, flaw = _direct_url(files.read(f"{folder}/direct_url.json", MAX_METADATA))
    return Distribution(
        name,
        version,
        "dist-info",
        site,
        folder,
        requires,
        next(iter(said.get("requires-python", ())), ""),
        record,
        direct,
        _text(files, f"{folder}/INSTALLER").strip() or None,
        (*flaws, *broken, *flaw),
        () if record else (folder, *_owned(files, site, folder)),
    )


def _headers(files: Files, path: str) -> Mapping[str, list[str]]:
    """The headers of METADATA or PKG-INFO, by name in lower case; a line that is indented continues the last."""
    found: dict[str, list[str]] = defaultdict(list)
    last: list[str] | None = None
    for line in _text(files, path, "surrogateescape").replace("\r\n", "\n").split("\n"):
        if not line.strip():
            break
        if line[0] in " \t":
            if last:
                last[-1] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        last = found[name.strip().lower()] if colon else None
        if last is not None:
            last.append(value.strip())
    return found


def _identity(said: Mapping[str, list[str]], stem: str, *, strict: bool = True) -> tuple[str, str, list[str]]:
    """Name, version, and what is wrong with them. The folder's name stands in for what is missing."""
    named, _, numbered = stem.partition("-")
    name, version = next(iter(said.get("name", ())), ""), next(iter(said.get("version", ())), "")
    if not name or not version:
        return name or named, version or numbered, ["it names no distribution and version"] if strict else []
    flaws = []
    if canonicalize_name(name) != canonicalize_name(named) or not same_version(version, numbered or version):
        flaws.append(f"it is that of {name} {version}, in a folder named `{stem}`")
    if not _is_version(version):
        flaws.append(f"`{version}` is no version")
    return name, version, flaws


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except ValueError:  # of packaging, and of numbers with too many digits
        return False
    return True


def same_version(one: str, other: str) -> bool:
    """Whether two versions are the same, local part included: 2.1.0+cu118 is not 2.1.0."""
    try:  # a folder's name has `_` where the version had `-` or `+`
        return Version(one) == Version(other.replace("_", "+" if "+" not in other else "."))
    except ValueError:
        return one.replace("-", "_") == other.replace("-", "_")


def _parsed(lines: Iterable[str]) -> tuple[tuple[Requirement, ...], list[str]]:
    found, broken = [], []
    for line in lines:
        try:
            found.append(Requirement(line))
        except (ValueError, RecursionError):
            broken.append(f"`{line[:80]}` is no requirement")
    return tuple(found), broken


def _legacy(text: str) -> Iterable[str]:
    """The lines of setuptools' requires.txt as Requires-Dist; `[extra:marker]` stands over those that it is for."""
    condition = ""
    for line in (line.strip() for line in text.splitlines()):
        section = _LEGACY_SECTION.fullmatch(line)
        if section:
            extra, marker = section[1].strip(), (section[2] or "").strip()
            parts = [f"({marker})" if marker else "", f'extra == "{extra}"' if extra else ""]
            condition = " and ".join(part for part in parts if part)
        elif line and not line.startswith("#"):
            yield f"{line} ; {condition}" if condition else line


def _owned(files: Files, site: str, folder: str) -> list[str]:
    """What older installers noted in the place of RECORD: each file, or the top-level names."""
    listed = _text(files, f"{folder}/installed-files.txt").splitlines()
    if listed:
        paths = (posixpath.normpath(posixpath.join(folder, line.strip())) for line in listed if line.strip())
        return [path for path in paths if not path.startswith(("../", "/"))]
    names = [line.strip() for line in _text(files, f"{folder}/top_level.txt").splitlines()]
    plain = (name for name in names if name and "/" not in name and name not in (".", ".."))
    return [posixpath.join(site, end) for name in plain for end in (name, f"{name}.py")]


def _direct_url(data: bytes | None) -> tuple[DirectUrl | None, list[str]]:
    if data is None:
        return None, []
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("url"), str):
        return None, ["its direct_url.json cannot be read"]
    folder, vcs, archive = (_table(said.get(f"{kind}_info")) for kind in ("dir", "vcs", "archive"))
    commit, older = vcs.get("commit_id"), archive.get("hash")
    hashes = [f"{name}:{value}" for name, value in _table(archive.get("hashes")).items()]
    if isinstance(older, str):
        hashes.append(older.replace("=", ":", 1))
    return DirectUrl(
        said["url"],
        folder.get("editable") is True,
        "dir_info" in said,
        commit if isinstance(commit, str) else None,
        tuple(dict.fromkeys(hashes)),
    ), []


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(files: Files, path: str, errors: str = "replace") -> str:
    return (files.read(path, MAX_METADATA) or b"").decode("utf-8", errors)
