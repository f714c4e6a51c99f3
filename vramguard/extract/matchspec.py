"""conda's grammar of a package: `numpy=1.26`, `conda-forge::numpy==1.26.4=py311_0`, `numpy[version='>=1']`.

Exact is a version with its build: conda builds one version several times, and `=1.26` is a prefix that 1.26.4 meets.
Source: conda 26.3, `conda/models/match_spec.py`, `_parse_spec_str`; docs.conda.io, "Package match specifications".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.extract import declaration
from vramguard.extract.declaration import Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_LENGTH: Final = 1000  # of a package: what is longer is none
_SPEC: Final = re.compile(r"(?:[^\s\[\]]+?::)?([A-Za-z0-9_][\w.\-]*)\s*([^\[\]]*)(?:\[([^\]]*)\])?")
_FIELD: Final = re.compile(r"(\w+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^,\s]*))")
_PLAIN: Final = re.compile(r"v?\d[\w.+!\-]*")
_BUILD: Final = re.compile(r"[\w.]+")
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)
_ARCHIVE: Final = re.compile(r"/([^/]+?)-[^/-]+-[^/-]+\.(?:conda|tar\.bz2)(?:#|$)")


def read(text: str) -> Declaration:
    """A package as an environment.yml lists it."""
    bare = re.split(r"\s#", text.strip(), maxsplit=1)[0].strip()
    if re.match(r"(?:https?|ftp|file)://", bare):
        return _url(bare)
    match = _SPEC.fullmatch(bare) if len(bare) <= MAX_LENGTH else None
    if match is None:
        return declaration.wrong(text, "conda cannot read it as a package")
    name, rest, fields = match[1], match[2].strip(), _fields(match[3] or "")
    version_text, build = _parts(rest)
    return version(name, fields.get("version", version_text), fields.get("build", build), fields.get("sha256", ""))


def _fields(text: str) -> Mapping[str, str]:
    return {key: double or single or plain for key, double, single, plain in _FIELD.findall(text)}


def _parts(rest: str) -> tuple[str, str]:
    """Version and build: parted by `=` after `=` or `==`, by a space after a bare version."""
    if rest.startswith("="):
        marks = "==" if rest.startswith("==") else "="
        number, _, build = re.sub(r"\s+", "=" if "=" not in rest.lstrip("= ") else "", rest.lstrip("= ")).partition("=")
        return marks + number, build
    words = rest.split()
    if len(words) > 1 and "*" in words[-1] and words[-2][-1].isalnum() and rest[0] in "<>~!":
        return "".join(words[:-1]), words[-1]
    if len(words) == 2 and _PLAIN.fullmatch(words[0]) and _BUILD.fullmatch(words[1].replace("*", "")):  # noqa: PLR2004
        return words[0], words[1]
    return "".join(words), ""


def version(name: str, written: str, build: str = "", sha256: str = "") -> Declaration:
    """A package of which version and build are known apart, as pixi's tables have them too."""
    specifier = written + (f"={build}" if build else "")
    if _SHA256.fullmatch(sha256):
        return Declaration(name, specifier, pinned=True, hashed=True)
    reason = _loose(written.strip(), build)
    return Declaration(name, specifier, pinned=not reason, reason=reason)


def _loose(written: str, build: str) -> str:
    """Why a version is not exact, or "" if it is."""
    number = written.lstrip("= ")
    if not number or number == "*":
        return "it names no version" + (f", and its build `{build}` is a wildcard" if "*" in build else "")
    if not _PLAIN.fullmatch(number):
        kind = "a wildcard" if "*" in number and not re.search(r"[<>~!,|^]", number) else "a range"
        return f"{kind}: {written}"
    if not build:
        if written.startswith("=") and not written.startswith("=="):
            return f"`={number}` is a prefix to conda, which any {number}.x meets"
        return f"`{written}` names no build, and conda has several of one version"
    return "" if _BUILD.fullmatch(build) else f"its build `{build}` is a wildcard"


def _url(text: str) -> Declaration:
    url, _, digest = text.partition("#")
    archive = _ARCHIVE.search(text)
    name = archive[1] if archive else url.rpartition("/")[2]
    if url.startswith("file:"):
        return Declaration(name, text, None)
    if _SHA256.fullmatch(digest.removeprefix("sha256:").removeprefix("sha256=")):
        return Declaration(name, text, pinned=True, hashed=True)
    reason = "what a URL serves can change, and " + ("md5 can be forged" if digest else "no hash stands beside it")
    return Declaration(name, text, pinned=False, reason=reason)
