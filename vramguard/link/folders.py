"""Folders of the repository: `.` is its root, all others are paths from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "."


def folder_of(path: str) -> str:
    """The folder of a path, or of a folder the one above it; `.` for the repository's root."""
    return path.rpartition("/")[0] or ROOT


def is_within(inner: str, outer: str) -> bool:
    """Whether a folder is another one, or lies below it."""
    return outer in (ROOT, inner) or inner.startswith(f"{outer}/")


def upwards(folder: str) -> Iterator[str]:
    """A folder and those above it, the repository's root last."""
    while folder != ROOT:
        yield folder
        folder = folder_of(folder)
    yield ROOT
