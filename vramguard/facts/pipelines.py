"""Facts of who is asked: environments and their reviewers, and the owners of files."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Protection:
    """Whether somebody has to agree before a job may use an environment. `by`: configuration, github.

    `reviewed` is None where the forge was asked and did not say; `why` is what it said instead.
    """

    at: Location
    environment: str
    reviewed: bool | None
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """One line of a CODEOWNERS file: a pattern as in .gitignore, and who owns what it matches; nobody, perhaps."""

    at: Location
    pattern: str
    owners: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeOwners:
    """A CODEOWNERS file. Of the lines that match a path, the last one counts."""

    at: Location
    rules: tuple[OwnerRule, ...]
