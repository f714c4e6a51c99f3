"""Folders of the repository: `.` is its root, all others are paths from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Location

ROOT = "."


class Placed(Protocol):
    """What knows its place."""

    @property
    def at(self) -> Location: ...


P = TypeVar("P", bound=Placed)


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


def tiers(path: str, found: list[P]) -> Iterator[list[P]]:
    """What is nearest to a file first: what stands in it, beside it, anywhere. Only tiers that hold anything."""
    folder = folder_of(path)
    for near in (
        [one for one in found if one.at.path == path],
        [one for one in found if folder_of(one.at.path) == folder],
        found,
    ):
        if near:
            yield near
