"""When a declared version is exact: one answer, ours, for every form in which a dependency can be written.

Exact is one `==` or `===` without a wildcard, a version control URL at a full commit, or a URL with a strong hash.
No library's notion of "pinned" is used: pip calls `torch==2.1.*` pinned.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from vramguard.facts import Declared, Requirement, Unknown
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.source import Location

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.IGNORECASE)  # SHA-1, or git's newer SHA-256
_VCS = re.compile(r"(?:git|hg|svn|bzr)\+", re.IGNORECASE)
_URL = re.compile(r"(?:(?:git|hg|svn|bzr)\+[\w.+-]+:|(?:https?|ftp|file):|git\+\S+@)", re.IGNORECASE)
_DIRECT = re.compile(r"([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?\s*@\s*(?=\S)(.*)", re.DOTALL)
_NAMED = re.compile(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[([^\]]*)\])?\s*([^;]*)")
_ARCHIVE = re.compile(r"\.(?:whl|zip|tgz|tbz|txz|tlz|tar(?:\.(?:gz|bz2|xz|lz|lzma))?)$", re.IGNORECASE)
# A release by its file's name (`torch-2.1.0-cp311-….whl`, `x-1.0.tar.gz`); a forge's archive of one commit.
_VERSIONED = re.compile(
    r"^[A-Za-z0-9](?:[\w.]|-(?!v?[0-9]))*-v?[0-9][\w.+!]*(?:-[\w.+-]+)?\.(?:whl|zip|tgz|tbz|txz|tar(?:\.(?:gz|bz2|xz|zst))?)$"
)
_ARCHIVED = re.compile(r"/([\w.-]+)/(?:archive|zipball|tarball|-/archive)/")  # of a repository, by a forge
_AT_COMMIT = re.compile(r"/(?:archive|zipball|tarball|zip|tar\.gz)/[0-9a-f]{40}(?:\.(?:zip|tgz|tar\.gz))?$")
_HOST = re.compile(r"[^:/?#]+://(?:[^/?#]*@)?(\[[^\]/?#]*\]|[^:/?#\[\]]*)")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")  # what pip expands: upper case, in braces
_HASH = re.compile(rf"(?:{'|'.join(STRONG_HASHES)})[=:][0-9a-f]{{64,128}}", re.IGNORECASE)
_FROM_ENVIRONMENT = "its version comes from a variable of the environment"
MAX_LENGTH = 8000  # of one requirement, URL and marker included
MAX_NESTING = 50  # parentheses of one
_CLAUSE = re.compile(r"(===|==|~=|!=|<=|>=|<|>)(.*)", re.DOTALL)


UNVOUCHED = "what a URL serves can change, and no hash stands beside it"


class Declaration(NamedTuple):
    """One dependency as declared; the fields are those of `facts.Requirement`."""

    name: str
    specifier: str
    pinned: bool | Unknown | None
    hashed: bool = False
    reason: str = ""
    extras: tuple[str, ...] = ()
    marker: str = ""


@lru_cache(maxsize=4096)  # the same lines stand in many files, and in several lists of one
def read(text: str, *, hashed: bool = False) -> Declaration:
    """What a requirement says, in the grammar of PEP 508 with pip's additions: bare URLs and paths.

    `hashed`: strong hashes stand beside it.
    """
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return wrong(text[:100], "pip cannot read it as a requirement")
    if _URL.match(text):
        return _url("", text, (), hashed=hashed)
    direct = _DIRECT.fullmatch(text)
    if direct:
        return _url(direct[1], direct[3], _extras(direct[2]), hashed=hashed)
    if _is_path(text):
        path, _, marker = text.partition(";")
        return Declaration(path.strip(), path.strip(), None, marker=marker.strip())
    return _named(text, hashed=hashed)


def pep508(text: str) -> Pep508:
    """The reading of packaging, whose parser recurses. Raises `InvalidRequirement`, also for what no person writes."""
    if len(text) > MAX_LENGTH or text.count("(") > MAX_NESTING:
        raise InvalidRequirement("too long, or too deep, to be a requirement")
    return Pep508(text)


def exactness(specifier: str) -> str:
    """Why a set of version clauses is not exact, or "" if it is. The clauses are valid, parted by commas."""
    clauses = [clause for clause in specifier.replace(" ", "").split(",") if clause]
    if not clauses:
        return "it names no version"
    if len(clauses) > 1:
        return (
            f"a range: {specifier}" if any(c[0] in "<>~!" for c in clauses) else f"more than one version: {specifier}"
        )
    match = _CLAUSE.fullmatch(clauses[0])
    operator, version = (match[1], match[2]) if match else ("", "")
    if operator == "===" or (operator == "==" and not version.endswith(".*")):
        return ""
    return f"a wildcard: {specifier}" if operator == "==" else f"a range: {specifier}"


def commit(reference: str | None) -> str:
    """Why a version control reference is not exact, or "" for a full commit hash."""
    if not reference:
        return "it names no commit, so it is the default branch of today"
    if _FULL_COMMIT.fullmatch(reference):
        return ""
    if re.fullmatch(r"[0-9a-f]{7,39}", reference, re.IGNORECASE):
        return f"`{reference}` is a shortened commit hash, not the full 40 digits"
    return f"`{reference}` is a branch or a tag, which can be moved, not a full commit hash"


def _url(name: str, rest: str, extras: tuple[str, ...], *, hashed: bool) -> Declaration:
    """A direct reference; its marker follows ` ;`, since a URL may hold a semicolon of its own."""
    url, _, marker = (part.strip() for part in re.sub(r"\s+;|;\s+", "\0", rest, count=1).partition("\0"))
    bare, _, fragment = url.partition("#")
    said = Declaration(name or _name_of(bare, fragment), url, None, extras=extras, marker=marker)
    if _VCS.match(url):
        return _commit_of(said, bare)
    variable = _VARIABLE.match(bare)
    if bare.lower().startswith("file:") or (not _URL.match(bare) and _is_path(bare) and not variable):
        return said
    if not _URL.match(bare) and not variable:
        return _unreadable(f"{name} @ {rest}")
    if hashed or _HASH.search(fragment) or _AT_COMMIT.search(bare):
        return said._replace(pinned=True, hashed=True)
    if variable:
        return said._replace(pinned=Unknown(url), reason=_FROM_ENVIRONMENT)
    versioned = _VERSIONED.search(unquote(bare.partition("?")[0].rpartition("/")[2])) is not None
    return said._replace(pinned=versioned, reason="" if versioned else UNVOUCHED)


def _commit_of(said: Declaration, url: str) -> Declaration:
    reference = _reference(url)
    if reference is not None and _VARIABLE.search(reference):
        return said._replace(pinned=Unknown(url), reason=_FROM_ENVIRONMENT)
    reason = commit(reference)
    return said._replace(pinned=not reason, hashed=not reason, reason=reason)


def _named(text: str, *, hashed: bool) -> Declaration:
    """A name with version clauses; a variable in them is read as some version, so that the rest can be judged."""
    probe = _VARIABLE.sub("1", text)
    try:
        parsed = pep508(probe)
    except InvalidRequirement:
        return _unreadable(text)
    extras, marker = tuple(sorted(parsed.extras)), str(parsed.marker or "")
    if _VARIABLE.search(text.partition(";")[0]):
        name = re.split(r"[\s\[(<>=!~]", text, maxsplit=1)[0]
        specifier = text.partition(";")[0][len(name) :].strip()
        return Declaration(name, specifier, Unknown(text), hashed, _FROM_ENVIRONMENT, extras, marker)
    match = _NAMED.match(text)
    specifier = re.sub(r"[\s()]", "", match[3]) if match else ""
    reason = exactness(specifier)
    return Declaration(parsed.name, specifier, not reason, hashed, reason, extras, marker)


def _unreadable(text: str) -> Declaration:
    name = _NAMED.match(text)
    return Declaration(name[1] if name else text, "", Unknown(text), reason=_complaint(text))


def _complaint(text: str) -> str:
    """Why pip cannot read the text, as far as it can be told."""
    if re.search(r"\S#", text):
        return "pip cannot read it: a comment needs a space before its `#`"
    if re.match(r"[\w.-]+=[^=]", text):
        return "pip cannot read it: `=` is conda's, pip's is `==`"
    if "${" in text or re.search(r"\$\w", text):
        return "pip expands only ${UPPER_CASE} variables, and cannot read it otherwise"
    return "pip cannot read it as a requirement"


def _reference(url: str) -> str | None:
    """The ref of a version control URL: after the last `@` of its path, never the `user@` of its host."""
    _, separator, rest = url.partition("://")
    path = rest.partition("/")[2] if separator else url.partition(":")[2]  # git+git@host:path has no `//`
    return path.partition("?")[0].rpartition("@")[2] if "@" in path else None


def _name_of(url: str, fragment: str) -> str:
    """The distribution that a URL names: `#egg=`, or the first part of a wheel's or an archive's file name."""
    egg = re.search(r"(?:^|&)egg=([A-Za-z0-9][\w.-]*)", unquote(fragment))
    if egg:
        return egg[1]
    forge = _ARCHIVED.search(url)
    if forge:
        return unquote(forge[1])
    last = unquote(url.rstrip("/").rpartition("/")[2]).partition("@")[0]
    if last.endswith(".whl"):
        return last.removesuffix(".whl").partition("-")[0]
    return re.sub(r"-v?\d[^-]*$", "", _ARCHIVE.sub("", last.removesuffix(".git"))) or url


def _is_path(text: str) -> bool:
    """Whether pip takes the text for a path: it starts with a dot, holds a separator, or is an archive's name."""
    path = text.partition(";")[0].strip()
    return path.startswith(".") or "/" in path.partition("@")[0] or _ARCHIVE.search(path.partition("[")[0]) is not None


def _extras(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(extra.strip() for extra in (text or "").split(",") if extra.strip()))


def fact(said: Declaration, at: Location, form: str, section: str = "") -> Requirement:
    """The declaration as a fact of the form in which it stands."""
    return Requirement(
        at,
        said.name,
        said.specifier,
        said.pinned,
        said.hashed,
        form,
        said.reason,
        section=section,
        extras=said.extras,
        marker=said.marker,
    )


def wrong(text: str, reason: str, name: str = "") -> Declaration:
    """What stands where a declaration belongs, and is none."""
    return Declaration(name or text, "", Unknown(text), reason=reason)


def of_tool(text: str) -> Declaration:
    """A requirement in a file that pip does not read itself: `declaration.read` in that tool's words."""
    said = read(text)
    return said._replace(reason=said.reason.replace("pip cannot", "no tool can")) if said.reason else said


def repository(name: str, url: str, reference: object) -> Declaration:
    """A table that names a version control URL and, apart from it, a commit, a tag or a branch."""
    written = str(reference) if reference else None
    reason = commit(written)
    where = f"{url if _VCS.match(url) else f'git+{url}'}" + (f"@{written}" if written else "")
    return Declaration(name, where, not reason, hashed=not reason, reason=reason)


def declared(section: str, requirement: Pep508) -> Declared:
    """A requirement in the form in which a lock can be compared with it."""
    specifier = None if requirement.url else comparable(str(requirement.specifier))
    return Declared(section, full_name(requirement.name, requirement.extras), specifier)


def full_name(name: str, extras: Iterable[str]) -> str:
    """A normalised name with its normalised extras in order: `torch[cuda]`."""
    listed = ",".join(sorted(canonicalize_name(extra) for extra in extras))
    return canonicalize_name(name) + (f"[{listed}]" if listed else "")


def comparable(specifier: str) -> str:
    """A specifier with its clauses sorted and its versions normalised. Raises `InvalidSpecifier`."""
    clauses = []
    for clause in SpecifierSet(specifier):
        bare = clause.version.removesuffix(".*")
        try:
            version = str(Version(bare)) + clause.version[len(bare) :]
        except ValueError:  # `===` takes any text, and Python reads no number of thousands of digits
            version = clause.version
        clauses.append(clause.operator + version)
    return ",".join(sorted(clauses))


def host_of(url: str) -> str:
    """The host that a URL names, in lower case; "" for none. Unlike `urlsplit` it refuses no text."""
    match = _HOST.match(url)
    return match[1].lower() if match else ""
