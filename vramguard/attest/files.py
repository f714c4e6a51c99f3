"""The files of an environment: walked without following a link, opened only if regular, hashed in chunks."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.attest.environment import Environment

OUTSIDE: Final = "a link that leads out of the environment"
NOWHERE: Final = "a link that leads nowhere"
FOLDER: Final = "a link to a folder"
SPECIAL: Final = "no regular file"
HEADER: Final = 16  # bytes before the code of a .pyc (PEP 552)
_CHUNK: Final = 1 << 20
_CHECKED: Final = slice(8, HEADER)  # of a header: the source's time and size, or its hash
_FLAGS: Final = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY", "O_CLOEXEC")
)


class Entry(NamedTuple):
    """A regular file; `mtime` in whole seconds, as importlib rounds it. `real` is where to open it."""

    real: str
    size: int
    mtime: int


class Hashed(NamedTuple):
    """Hexadecimal digests of a file. `canonical` is that of what does not depend on where and when it was installed."""

    sha256: str
    canonical: str
    header: bytes = b""  # of bytecode
    others: Mapping[str, str] = {}  # by algorithm, where RECORD asks for one


class Files:
    """What stands under the package folders, and on demand what RECORD names elsewhere in the environment."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.entries: dict[str, Entry] = {}
        self.astray: dict[str, str] = {}  # what was neither read nor walked, and why
        for site in environment.sites:
            self._walk(site)

    def _walk(self, site: str) -> None:
        pending = [site]
        while pending:
            folder = pending.pop()
            for entry in self._listed(folder):
                path = posixpath.join(folder, entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(path)
                    else:
                        self._keep(path, entry)
                except OSError as error:
                    self.astray[path] = error.strerror or str(error)

    def _listed(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.environment.join(folder)) as entries:
                return list(entries)
        except OSError as error:
            self.astray[folder] = error.strerror or str(error)
            return []

    def _keep(self, path: str, entry: os.DirEntry[str]) -> None:
        """Note a regular file; a link counts as the file in the environment that it leads to."""
        if entry.is_symlink():
            found = self.elsewhere(path)
            if isinstance(found, Entry):
                self.entries[path] = found
            else:
                self.astray[path] = found or NOWHERE
            return
        found_stat = entry.stat(follow_symlinks=False)
        if stat.S_ISREG(found_stat.st_mode):
            self.entries[path] = Entry(entry.path, found_stat.st_size, int(found_stat.st_mtime))
        else:
            self.astray[path] = SPECIAL

    def elsewhere(self, path: str) -> Entry | str | None:
        """A file by its path, links followed inside the environment; None where it is not there, else why not."""
        written = self.environment.join(path)
        try:
            real = os.path.realpath(written)
            if not self.environment.holds(real):
                return OUTSIDE
            found = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return NOWHERE if os.path.islink(written) else None  # noqa: PTH114 - a name need not be text
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or str(error)
        if stat.S_ISDIR(found.st_mode):
            return FOLDER if os.path.islink(written) else SPECIAL  # noqa: PTH114 - as above
        return Entry(real, found.st_size, int(found.st_mtime)) if stat.S_ISREG(found.st_mode) else SPECIAL

    def find(self, path: str) -> Entry | str | None:
        """A file that was walked over, or one elsewhere."""
        return self.entries.get(path) or self.astray.get(path) or self.elsewhere(path)

    def is_below_astray(self, path: str) -> bool:
        """Whether a folder above was not walked, which has been said."""
        return any(above in self.astray for above in parents(path))

    def read(self, path: str, limit: int) -> bytes | None:
        """The first bytes of a file, None where it is not there or cannot be read."""
        entry = self.entries.get(path)
        if entry is None:
            return None
        try:
            return b"".join(_chunks(entry.real, limit))
        except OSError:
            return None

    def is_within_site(self, path: str) -> bool:
        """Whether a path lies in a folder of packages; the scripts beside them in a flat folder do not."""
        if self.environment.sites == ("",):
            return not path.startswith(("bin/", "Scripts/"))
        return any(path.startswith(f"{site}/") for site in self.environment.sites)

    def hashed(
        self, wanted: Mapping[str, Entry], algorithms: Mapping[str, frozenset[str]]
    ) -> tuple[dict[str, Hashed], dict[str, str]]:
        """The digests of files, and of those that cannot be read the reason. `algorithms`: beside sha256, by path."""
        found: dict[str, Hashed] = {}
        failed: dict[str, str] = {}
        todo = iter(sorted(wanted.items(), key=lambda item: -item[1].size))

        def work() -> None:
            for path, entry in todo:
                try:
                    found[path] = self._hash(path, entry, algorithms.get(path, frozenset()))
                except OSError as error:
                    failed[path] = error.strerror or str(error)

        count = min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(count) as pool:
            for worker in [pool.submit(work) for _ in range(count)]:
                worker.result()
        return found, failed

    def _hash(self, path: str, entry: Entry, algorithms: frozenset[str]) -> Hashed:
        whole = hashlib.sha256()
        others = [hashlib.new(name) for name in sorted(algorithms)]
        canonical, header = None, b""
        for number, chunk in enumerate(_chunks(entry.real)):
            for digest in (whole, *others):
                digest.update(chunk)
            rest = chunk
            if number == 0 and path.endswith(".pyc"):
                header = chunk[:HEADER]
                canonical, rest = hashlib.sha256(), chunk[: _CHECKED.start] + chunk[_CHECKED.stop :]
            elif number == 0 and chunk.startswith(b"#!") and not self.is_within_site(path):
                canonical, rest = hashlib.sha256(), _below_shebang(chunk)
            if canonical is not None:
                canonical.update(rest)
        digests = {digest.name: digest.hexdigest() for digest in others}
        return Hashed(whole.hexdigest(), (canonical or whole).hexdigest(), header, digests)


def _chunks(real: str, limit: int | None = None) -> Iterator[bytes]:
    """A regular file's bytes. A pipe or a device that has taken its place is looked at, never waited for."""
    descriptor = os.open(real, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, SPECIAL)
        left = limit
        while left is None or left > 0:
            chunk = os.read(descriptor, _CHUNK if left is None else min(_CHUNK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _below_shebang(script: bytes) -> bytes:
    """A script from below what names its interpreter: the first line, or three where a shell has to start it.

    The three are how distlib 0.4 (in pip) and uv 0.13.9 start an interpreter whose path is long or has a space.
    """
    lines = 3 if script.startswith(b"#!/bin/sh\n'''exec' ") else 1
    for _ in range(lines):
        script = script.partition(b"\n")[2]
    return script


def parents(path: str) -> Iterable[str]:
    """`a` and `a/b` for `a/b/c`."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))
