"""Which files a repository has, and their bytes: from the working tree, or from git's objects at a revision.

Git is asked through plumbing that runs no hook, filter, file monitor or remote helper that a repository configures.
"""

from __future__ import annotations

import os
import subprocess
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vramguard.schema import ConfigError
from vramguard.source import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pathspec import GitIgnoreSpec

# Folders of other people's files that need no .gitignore to be known.
_SKIPPED = frozenset(
    {".git", ".hg", ".svn", ".venv", ".tox", ".nox", "node_modules", "site-packages", "__pycache__", ".eggs"}
)
_SAFE_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false")


class Tree(Protocol):
    """A repository's files. Paths are relative to its root, with forward slashes."""

    def paths(self) -> list[str]:
        """Every file, sorted."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's bytes (no more than one past `MAX_BYTES`), None if it is not there. Raises OSError."""
        ...


def git(root: Path, *arguments: str) -> bytes | None:
    """Standard output of a git command at `root`; None where git, or the repository, is not there."""
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    command = (*_SAFE_GIT, "-C", str(root), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment)  # noqa: S603 - fixed words
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


class WorkTree:
    """The files under a folder: what git tracks or would add, or without git what .gitignore leaves."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = root.resolve()

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

    def _walked(self) -> list[str]:
        from pathspec import GitIgnoreSpec

        found: list[str] = []
        ignores: list[tuple[str, GitIgnoreSpec]] = []
        for folder, folders, files in os.walk(self.root):
            base = Path(folder).relative_to(self.root).as_posix().removeprefix(".")
            prefix = f"{base}/" if base else ""
            if ".gitignore" in files:
                text = (self.read(f"{prefix}.gitignore") or b"").decode("utf-8", "replace")
                ignores.append((prefix, GitIgnoreSpec.from_lines(text.splitlines())))
            folders[:] = sorted(
                name for name in folders if name not in _SKIPPED and not _ignored(f"{prefix}{name}/", ignores)
            )
            found += [f"{prefix}{name}" for name in files if not _ignored(f"{prefix}{name}", ignores)]
        return found

    def read(self, path: str) -> bytes | None:
        """A regular file's bytes; None for what is not there, no regular file, or outside of the root."""
        file = (self._real / path).resolve()
        if not file.is_relative_to(self._real) or not file.is_file():
            return None
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)


def _ignored(path: str, ignores: list[tuple[str, GitIgnoreSpec]]) -> bool:
    """Whether the nearest .gitignore that speaks of `path` ignores it."""
    for prefix, spec in reversed(ignores):
        if path.startswith(prefix):
            include = spec.check_file(path.removeprefix(prefix)).include
            if include is not None:
                return bool(include)
    return False


class GitTree:
    """The files that a commit holds, below the same folder as the working tree's `root`. Raises `ConfigError`."""

    def __init__(self, root: Path, revision: str) -> None:
        self.root = root
        commit = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if commit is None:
            raise ConfigError(f"`{revision}` is no commit here; a shallow clone has to fetch it first")
        self.commit = commit.decode().strip()

    @cached_property
    def blobs(self) -> dict[str, str]:
        """Object name of every regular file."""
        output = git(self.root, "ls-tree", "-r", "-z", self.commit) or b""
        entries = (entry.partition(b"\t") for entry in output.split(b"\0") if entry)
        return {
            os.fsdecode(path): head.split()[2].decode()
            for head, _, path in entries
            if head.startswith((b"100644", b"100755"))
        }

    def paths(self) -> list[str]:
        """Every regular file of the commit."""
        return sorted(path for path in self.blobs if not _SKIPPED.intersection(path.split("/")))

    def read(self, path: str) -> bytes | None:
        """A file's bytes as committed."""
        blob = self.blobs.get(path)
        return None if blob is None else self._objects(blob)

    @cached_property
    def _objects(self) -> Callable[[str], bytes]:
        """One `git cat-file --batch` for all reads; it ends with this process, whose pipe it reads."""
        command = (*_SAFE_GIT, "-C", str(self.root), "cat-file", "--batch")
        environment = os.environ | {"GIT_NO_LAZY_FETCH": "1"}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)  # noqa: S603
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:  # cannot be: both are asked for
            raise OSError("git cat-file has no pipes")

        def read(blob: str) -> bytes:
            stdin.write(f"{blob}\n".encode())
            stdin.flush()
            header = stdout.readline().split()
            if len(header) != 3:  # noqa: PLR2004 - "<name> blob <size>", else "<name> missing"
                raise OSError("the object is not in this clone")
            return stdout.read(int(header[2]) + 1)[:-1]

        return read


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a path matches any of these .gitignore-style patterns."""
    lines = list(patterns)
    if not lines:
        return lambda _: False
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines).match_file
