"""Which files a repository has, and their bytes: from the working tree, or from git's objects at a revision.

Git is asked through plumbing that runs no hook, filter, file monitor or remote helper that a repository configures.
Links are followed inside the root only, and nothing but a regular file is ever opened.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import subprocess
import warnings
import weakref
from functools import cached_property, partial
from io import BytesIO
from itertools import product
from typing import IO, TYPE_CHECKING, NoReturn, Protocol, TypeVar

from vramguard.schema import ConfigError
from vramguard.source import MAX_BYTES
from vramguard.source.heads import Head, take
from vramguard.source.sampling import Sample, sampled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pathspec import GitIgnoreSpec

# Folders of other people's files that need no .gitignore to be known.
_SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", ".tox", ".nox", "node_modules", "site-packages", "__pycache__", ".eggs"}
)
_SAFE_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")
# What a hook's environment says of the repository that it runs for, which need not be the one that is judged.
_OTHERS = frozenset(
    f"GIT_{name}"
    for name in (
        *("DIR", "WORK_TREE", "INDEX_FILE", "PREFIX", "NAMESPACE", "COMMON_DIR", "IMPLICIT_WORK_TREE"),
        *("OBJECT_DIRECTORY", "ALTERNATE_OBJECT_DIRECTORIES", "GRAFT_FILE", "SHALLOW_FILE", "REPLACE_REF_BASE"),
        *("LITERAL_PATHSPECS", "GLOB_PATHSPECS", "NOGLOB_PATHSPECS", "ICASE_PATHSPECS", "EXTERNAL_DIFF"),
    )
)
# No prompt, no lock, and no fetch: not even where a partial clone lacks an object.
_QUIET = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}
_FILTERING = frozenset({"diff-index"})  # compares contents where times do not tell, and filters them first
_OUTSIDE = "a link that leads out of the repository"
_MISSING = "the object is not in this clone"
_NOWHERE = "a link that leads nowhere"
_MAX_LINKS = 40  # as Linux
T = TypeVar("T")


class ElsewhereError(OSError):
    """A link whose target is not in the repository."""


class Tree(Protocol):
    """A repository's files. Paths are relative to its root, with forward slashes."""

    def paths(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's bytes (no more than one past `MAX_BYTES`), None if it is not there. Raises OSError."""
        ...

    def head(self, path: str) -> Head | None:
        """The header of a file of weights, None if it is not there, or only a link to where it is. Raises OSError."""
        ...

    def sample(self, path: str, kind: str) -> Sample | None:
        """What is read of a file of data; None and errors as of `head`."""
        ...


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key not in _OTHERS} | _QUIET


def git(root: Path, *arguments: str) -> bytes | None:
    """Standard output of a git command at `root`; None where git, or the repository, is not there."""
    environment = _environment()
    if arguments[0] in _FILTERING:
        environment |= _without_filters(root, environment)
    return _run(root, arguments, environment)


def _run(root: Path, arguments: tuple[str, ...], environment: dict[str, str]) -> bytes | None:
    command = (*_SAFE_GIT, "-C", str(root), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment)  # noqa: S603 - fixed words
    except (OSError, ValueError):  # a NUL byte in an argument names nothing
        return None
    return done.stdout if done.returncode == 0 else None


def _without_filters(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """What switches off the filter programs of a repository's own configuration; git has no word for all of them."""
    listed = _run(
        root, ("config", "--local", "--includes", "--name-only", "-z", "--get-regexp", r"^filter\."), environment
    )
    drivers = {os.fsdecode(key).rpartition(".")[0] for key in (listed or b"").split(b"\0") if key}
    values = (("clean", ""), ("process", ""), ("required", "false"))
    given = int(environment.get("GIT_CONFIG_COUNT") or 0)
    result: dict[str, str] = {}
    for number, (driver, (key, value)) in enumerate(product(sorted(drivers), values), given):
        result |= {f"GIT_CONFIG_KEY_{number}": f"{driver}.{key}", f"GIT_CONFIG_VALUE_{number}": value}
    return result | {"GIT_CONFIG_COUNT": str(given + len(result) // 2)}


def _refuse(reason: str, path: str, error: type[OSError] = ElsewhereError) -> NoReturn:
    raise error(0, reason, path)


class WorkTree:
    """The files under a folder: what git tracks or would add, or without git what .gitignore leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def paths(self) -> list[str]:
        """Every file that is not ignored."""
        listed = self._listed_by_git()
        found = self._walked() if listed is None else listed
        return sorted(path for path in found if not _SKIPPED.intersection(path.split("/")))

    def _listed_by_git(self) -> list[str] | None:
        if git(self.root, "check-ignore", "-q", ".") is not None:
            return None  # the user points at a folder that the repository around it ignores: judge it as it is
        output = git(self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        return None if output is None else [os.fsdecode(path) for path in output.split(b"\0") if path]

    def _walked(self) -> Iterator[str]:
        """Every file that the .gitignore files of its folder and of those above leave; links are not descended."""
        pending: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [("", [])]
        while pending:
            prefix, ignores = pending.pop()
            entries = self._entries(prefix)
            if any(entry.name == ".gitignore" for entry in entries):
                ignores = [*ignores, (prefix, self._ignore(prefix))]
            for entry in entries:
                path = f"{prefix}{entry.name}"
                folder = entry.is_dir(follow_symlinks=False)
                if entry.name in _SKIPPED or _ignored(f"{path}/" if folder else path, ignores):
                    continue
                if folder:
                    pending.append((f"{path}/", ignores))
                else:
                    yield path

    def _entries(self, prefix: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(os.path.join(self._real, prefix)) as entries:  # noqa: PTH118 - a name need not be text
                return list(entries)
        except OSError as error:
            raise ConfigError(f"`{prefix or self.root}` cannot be listed: {error.strerror}") from error

    def _ignore(self, prefix: str) -> GitIgnoreSpec:
        try:
            data = self.read(f"{prefix}.gitignore") or b""
        except OSError:
            data = b""  # as git does
        lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
        return _spec([line for line in lines if is_pattern(line)])

    def read(self, path: str) -> bytes | None:
        """A regular file's bytes, None for what is not there. Raises OSError for what is there and cannot be read."""
        return self._opened(path, _whole)

    def head(self, path: str) -> Head | None:
        """The header of a file of weights; None where a link leads to where they are kept, as git-annex's do."""
        return self._large(path, take)

    def sample(self, path: str, kind: str) -> Sample | None:
        """What is read of a file of data; None as of `head`."""
        return self._large(path, partial(sampled, kind=kind))

    def _large(self, path: str, take: Callable[[IO[bytes], int], T]) -> T | None:
        try:
            return self._opened(path, lambda stream: take(stream, os.fstat(stream.fileno()).st_size))
        except ElsewhereError:
            return None

    def _opened(self, path: str, take: Callable[[IO[bytes]], T]) -> T | None:
        try:
            real = os.path.realpath(os.path.join(self._real, path))  # noqa: PTH118 - a Path raises on a loop of links
            if os.path.commonpath((self._real, real)) != self._real:
                return _refuse(_OUTSIDE, path) if self._holds(path) else None
            if os.path.isdir(real):  # noqa: PTH112 - a submodule is listed, and is no file
                return None
            return _regular(real, path, take)
        except (FileNotFoundError, NotADirectoryError):
            return _refuse(_NOWHERE, path) if self._holds(path) else None
        except ValueError:  # a NUL byte
            return None

    def _holds(self, path: str) -> bool:
        """Whether the path as written, its last link not followed, lies in the root and is there."""
        written = posixpath.normpath(path)
        return not written.startswith(("/", "../")) and os.path.lexists(os.path.join(self._real, written))  # noqa: PTH118 - as above


def _whole(stream: IO[bytes]) -> bytes:
    return stream.read(MAX_BYTES + 1)


def _regular(real: str, path: str, take: Callable[[IO[bytes]], T]) -> T:
    """What is taken of a regular file. A pipe or a device is looked at, never waited for."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    if not stat.S_ISREG(os.lstat(real).st_mode):
        _refuse("no regular file", path, OSError)
    with open(os.open(real, flags), "rb") as stream:  # noqa: PTH123 - a descriptor
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            _refuse("no regular file", path, OSError)
        return take(stream)


def _ignored(path: str, ignores: list[tuple[str, GitIgnoreSpec]]) -> bool:
    """Whether the nearest .gitignore that speaks of `path` ignores it."""
    for prefix, spec in reversed(ignores):
        include = spec.check_file(path.removeprefix(prefix)).include
        if include is not None:
            return bool(include)
    return False


class GitTree:
    """The files that a commit holds, below the same folder as the working tree's `root`. Raises `ConfigError`."""

    def __init__(self, root: Path, revision: str) -> None:
        self.root = root
        commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if commit is None and git(root, "rev-parse", "--git-dir") is None:
            raise ConfigError(f"`{root}` is in no git repository, or in one that git does not trust (safe.directory)")
        if commit is None:
            raise ConfigError(f"`{revision}` is no commit here; a shallow clone has to fetch it first")
        self.commit = commit.decode().strip()

    @cached_property
    def _entries(self) -> dict[str, tuple[str, str]]:
        """Mode and object name of every entry that is no folder."""
        output = git(self.root, "ls-tree", "-r", "-z", self.commit) or b""
        entries = (entry.partition(b"\t") for entry in output.split(b"\0") if entry)
        heads = ((os.fsdecode(path), head.decode().split()) for head, _, path in entries)
        return {path: (mode, name) for path, (mode, _, name) in heads}

    @cached_property
    def blobs(self) -> dict[str, str]:
        """Object name of every regular file."""
        return {path: name for path, (mode, name) in self._entries.items() if mode.startswith("100")}

    @cached_property
    def _links(self) -> dict[str, str]:
        """Object name of every symbolic link, whose bytes are its target."""
        return {path: name for path, (mode, name) in self._entries.items() if mode == "120000"}

    def paths(self) -> list[str]:
        """Every file of the commit, links included, as in a working tree."""
        return sorted(path for path in self._entries if not _SKIPPED.intersection(path.split("/")))

    def read(self, path: str) -> bytes | None:
        """A file's bytes as committed, links followed. Raises OSError as a working tree would."""
        blob = self._blob(path)
        return None if blob is None else self._objects(blob)

    def head(self, path: str) -> Head | None:
        """The header of a file of weights as committed."""
        blob = self._blob_here(path)
        return None if blob is None else self._streamed(blob, take)

    def sample(self, path: str, kind: str) -> Sample | None:
        """What is read of a file of data as committed."""
        blob = self._blob_here(path)
        data = b"" if blob is None else self._objects(blob)
        if blob is None or len(data) <= MAX_BYTES:
            return None if blob is None else sampled(BytesIO(data), len(data), kind)
        return self._streamed(blob, partial(sampled, kind=kind))

    def _streamed(self, blob: str, take: Callable[[IO[bytes], int], T]) -> T:
        """What is taken of a large object. Git is ended there: it would write out the gigabytes behind."""
        size = git(self.root, "cat-file", "-s", blob)
        if size is None:
            raise OSError(_MISSING)
        command = (*_SAFE_GIT, "-C", str(self.root), "cat-file", "blob", blob)
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:  # noqa: S603 - fixed words
            if process.stdout is None:  # cannot be: it is asked for
                raise OSError("git cat-file has no pipe")
            taken = take(process.stdout, int(size))
            process.kill()
        return taken

    def _blob_here(self, path: str) -> str | None:
        """As `_blob`; None for a link to where the file is kept."""
        try:
            return self._blob(path)
        except ElsewhereError:
            return None

    def _blob(self, path: str) -> str | None:
        """Object name of the file that a path leads to, None where there is none."""
        target = self._followed(path)
        if target in self.blobs:
            return self.blobs[target]
        if path in self._links and not any(name.startswith(f"{target}/") for name in self.blobs):
            _refuse(_OUTSIDE if target.startswith(("/", "..")) else _NOWHERE, path)
        return None

    def _followed(self, path: str) -> str:
        """The path with every link in it replaced by its target."""
        path = posixpath.normpath(path)
        for _ in range(_MAX_LINKS if self._links else 0):
            link = next((part for part in _parents(path) if part in self._links), None)
            if link is None:
                break
            target = os.fsdecode(self._objects(self._links[link]))
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target) + path.removeprefix(link))
        return path

    @cached_property
    def _objects(self) -> Callable[[str], bytes]:
        """One `git cat-file --batch` for all reads; it ends with this tree."""
        command = (*_SAFE_GIT, "-C", str(self.root), "cat-file", "--batch")
        process = subprocess.Popen(  # noqa: S603 - fixed words
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
        )
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:  # cannot be: both are asked for
            raise OSError("git cat-file has no pipes")
        weakref.finalize(self, _end, process)

        def read(blob: str) -> bytes:
            stdin.write(f"{blob}\n".encode())
            stdin.flush()
            header = stdout.readline().split()
            if len(header) != 3:  # noqa: PLR2004 - "<name> blob <size>", else "<name> missing"
                raise OSError(_MISSING)
            return _batched(stdout, int(header[2]))

        return read


def _batched(stream: IO[bytes], size: int) -> bytes:
    """An object of `size` bytes from `git cat-file`, cut at one past `MAX_BYTES`; its line feed and the rest go by."""
    data = stream.read(min(size, MAX_BYTES + 1))
    rest = size - len(data) + 1
    while rest:
        rest -= len(stream.read(min(rest, MAX_BYTES))) or rest
    return data


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:  # closes its pipes, on which it ends, and waits
        pass


def _parents(path: str) -> Iterator[str]:
    """`a`, `a/b` and `a/b/c` for `a/b/c`."""
    parts = path.split("/")
    return ("/".join(parts[: number + 1]) for number in range(len(parts)))


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path matches any of these .gitignore-style patterns. Raises `ConfigError` for one that is none."""
    lines = list(patterns)
    if not lines:
        return lambda _: False
    for line in lines:
        if not is_pattern(line):
            raise ConfigError(f"`{line}` is no pattern as in .gitignore")
    return _spec(lines).match_file


def _spec(lines: list[str]) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of `re`, for brackets within brackets
        return GitIgnoreSpec.from_lines(lines)


def is_pattern(line: str) -> bool:
    """Whether git, too, would take the line for a pattern, a comment or a blank."""
    try:
        _spec([line])
    except (ValueError, re.error):
        return False
    return True
