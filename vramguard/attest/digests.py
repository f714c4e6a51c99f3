"""The digests of an environment: SHA-256 over what `sha256sum --zero` prints, sorted by the bytes of the paths."""

from __future__ import annotations

import hashlib
import os
import posixpath
from typing import TYPE_CHECKING, NamedTuple

from vramguard.attest.known import MARKS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from vramguard.attest.files import Hashed


class Digests(NamedTuple):
    """`content` covers every file but bytecode, `bytecode` every .pyc; both as `sha256:…`."""

    content: str
    bytecode: str
    files: int
    bytecode_files: int


def of(hashes: Mapping[str, Hashed], sites: Collection[str]) -> Digests:
    """The digests of files by their paths from the environment's root, whose folders of packages are `sites`."""
    compiled = [(path, found.canonical) for path, found in hashes.items() if path.endswith(".pyc")]
    others = ((path, found.canonical) for path, found in hashes.items() if not path.endswith(".pyc"))
    rest = [(path, canonical) for path, canonical in others if not is_mark(path, sites)]
    return Digests(digest(rest), digest(compiled), len(rest), len(compiled))


def is_mark(path: str, sites: Collection[str]) -> bool:
    """Whether a file says only who installed a distribution, from where and when."""
    folder, name = posixpath.split(path)
    return name in MARKS and folder.endswith(".dist-info") and posixpath.dirname(folder) in sites


def digest(listing: Iterable[tuple[str, str]]) -> str:
    """One digest over paths and the hexadecimal SHA-256 of each."""
    whole = hashlib.sha256()
    for name, hexadecimal in sorted((os.fsencode(path), hexadecimal) for path, hexadecimal in listing):
        whole.update(hexadecimal.encode("ascii") + b"  " + name + b"\0")
    return f"sha256:{whole.hexdigest()}"
