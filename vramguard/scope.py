"""Which folder is the repository, given the paths that the user typed, and how its files are named in reports."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from vramguard import settings
from vramguard.discover import GitTree, git
from vramguard.schema import ConfigError


class Scope(NamedTuple):
    """The repository's root, the paths below it that the report is narrowed to, and the way to the root from here.

    `nearer`: a configuration that stands closer to what was asked for than the one at the root, but not in the base.
    """

    root: Path
    only: tuple[str, ...] = ()
    prefix: str = ""  # empty where the user typed a path from the file system's root, which no report repeats
    nearer: str | None = None

    @property
    def shown(self) -> str:
        """The root as a report may name it."""
        return self.prefix or "."

    def below(self, path: Path) -> str:
        """The path as seen from the root. Raises `ConfigError` for one that is not below it."""
        return _below(path.resolve(), self.root)


def find_scope(paths: list[Path], revision: str | None = None) -> Scope:
    """The scope of the paths typed. Raises `ConfigError` for one that is not there.

    One folder is the repository, unless it has no configuration and a folder above it (up to git's top level) has:
    then that one is, and the report is narrowed. Files and several folders are parts of the repository around them.
    With a `revision` its configurations decide, so that a change cannot put its own in front of the one that judges it.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"no such file or folder: `{path}`")
    start = paths[0].resolve() if len(paths) == 1 else Path.cwd()
    folder = start if start.is_dir() else start.parent
    candidates = _candidates(folder)
    own = next(filter(settings.has_configuration, candidates), None)
    before = next((found for found in candidates if _configured(found, revision)), None) if revision else own
    root = before or own or (folder if not paths or start.is_dir() else _top(folder) or folder)
    only = tuple(_below(path.resolve(), root) for path in paths if path.resolve() != root)
    if not paths and root != folder:
        only = (_below(folder, root),)
    nearer = own if own and own != root and own.is_relative_to(root) else None
    typed_from_here = not any(path.is_absolute() for path in paths)
    return Scope(root, only, _prefix(root) if typed_from_here else "", None if nearer is None else _below(nearer, root))


def _candidates(folder: Path) -> list[Path]:
    """Where a configuration may stand, the nearest first: from `folder` up to git's top level; without git, to here."""
    top = _top(folder) or Path.cwd()
    above = [folder, *folder.parents]
    return above[: above.index(top) + 1] if top in above else [folder]


def _configured(folder: Path, revision: str) -> bool:
    """Whether a configuration of ours stood in the folder; one that is broken stands there too."""
    tree = GitTree(folder, revision)
    try:
        return settings.load(tree.read).path is not None
    except ConfigError:
        return True


def _top(folder: Path) -> Path | None:
    output = git(folder, "rev-parse", "--show-toplevel")
    return Path(os.fsdecode(output).removesuffix("\n")).resolve() if output else None


def _below(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        raise ConfigError(f"`{path}` is not in the repository at `{root}`") from None


def _prefix(root: Path) -> str:
    here = Path.cwd()
    return root.relative_to(here).as_posix().removeprefix(".") if root.is_relative_to(here) else ""
