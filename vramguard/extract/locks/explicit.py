"""An explicit list of conda's, one URL a line: conda/gateways/disk/read.py and conda/misc.py of conda 25.

conda-lock writes what pip installs into comments: `# pip NAME @ URL#sha256=…` (conda-lock 4.0.3, `render_lockfile`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.extract.locks.reading import conda_file
from vramguard.facts import Lock, LockedPackage
from vramguard.source import Location
from vramguard.source.requirements import STRONG_HASHES

if TYPE_CHECKING:
    from vramguard.source import Document

_PIP = re.compile(r"# pip (?P<name>\S+) @ (?P<url>\S+)")
_MD5 = 32
_WHEEL = re.compile(r"/[^/-]+-(?P<version>\d[^/-]*)(?:-[^/]*\.whl|\.tar\.gz|\.zip)(?:#|$)")


def read(document: Document) -> Lock:
    """The lock."""
    packages = tuple(
        package for number, line in enumerate(document.lines, 1) for package in _packages(document.path, number, line)
    )
    return Lock(Location(document.path), "conda-explicit", packages)


def _packages(path: str, number: int, line: str) -> list[LockedPackage]:
    bare = line.strip()
    at = Location(path, number, len(line) - len(line.lstrip()) + 1, number, len(line.rstrip()) + 1)
    noted = _PIP.match(bare)
    if noted:
        version = _WHEEL.search(noted["url"])
        return [_package(at, noted["name"], version["version"] if version else None, noted["url"], "pip")]
    file = conda_file(bare.split(" ", 1)[0])
    return [_package(at, *file, bare, "conda")] if file and not bare.startswith("#") else []


def _package(at: Location, name: str, version: str | None, url: str, manager: str) -> LockedPackage:
    digest = _digest(url.partition("#")[2])
    return LockedPackage(at, name, version, (digest,) if digest else (), 1, manager=manager)


def _digest(fragment: str) -> str | None:
    """`#DIGITS` is md5, `#sha256:DIGITS` conda's newer form, `#sha256=DIGITS` pip's."""
    algorithm, mark, digits = fragment.partition("=" if "=" in fragment else ":")
    if mark:
        return f"{algorithm}:{digits}" if algorithm in STRONG_HASHES or algorithm == "md5" else None
    if len(fragment) == STRONG_HASHES["sha256"]:
        return f"sha256:{fragment}"
    return f"md5:{fragment}" if len(fragment) == _MD5 else None
