"""Which folder is the repository, given the paths that the user typed, and how its files are named in reports."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vramguard.discover import git
from vramguard.schema import ConfigError
from vramguard.settings import has_configuration


class Scope(NamedTuple):
    """The repository's root, the paths below it that the report is narrowed to, and the way to the root from here."""

    root: Path
    only: tuple[str, ...] = ()
    prefix: str = ""

    @property
    def shown(self) -> str:
        """The root as the user would type it."""
        return self.prefix or "."


def find_scope(paths: list[Path]) -> Scope:
    """The scope of the paths typed. Raises `ConfigError` for one that is not there.

    One folder is the repository, unless it has no configuration and a folder above it (up to git's top level) has:
    then that one is, and the report is narrowed. Files and several folders are parts of the repository around them.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"no such file or folder: `{path}`")
    start = paths[0].resolve() if len(paths) == 1 else Path.cwd()
    folder = start if start.is_dir() else start.parent
    root = _configured_root(folder) or (folder if not paths or start.is_dir() else _top(folder) or folder)
    only = tuple(_below(path.resolve(), root) for path in paths if path.resolve() != root)
    return Scope(root, only, _prefix(root))


def _configured_root(folder: Path) -> Path | None:
    """The nearest folder with a configuration of ours, from `folder` up to git's top level."""
    top = _top(folder) or folder
    candidates = [folder, *folder.parents]
    candidates = candidates[: candidates.index(top) + 1] if top in candidates else [folder]
    return next((candidate for candidate in candidates if has_configuration(candidate)), None)


def _top(folder: Path) -> Path | None:
    output = git(folder, "rev-parse", "--show-toplevel")
    return Path(output.decode().rstrip("\n")).resolve() if output else None


def _below(path: Path, root: Path) -> str:
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        raise ConfigError(f"`{path}` is not in the repository at `{root}`") from None


def _prefix(root: Path) -> str:
    here = Path.cwd()
    return root.relative_to(here).as_posix().removeprefix(".") if root.is_relative_to(here) else ""
