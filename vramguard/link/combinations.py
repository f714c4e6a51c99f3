"""Lines that cannot all hold: one package exact at two versions where both are installed; builds that nothing fixes."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vramguard import data
from vramguard.facts import Lock
from vramguard.link.advisories import together
from vramguard.link.meeting import meetings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Facts
    from vramguard.link.meeting import Line, Meeting

_SOURCES: Final = ("extra-index-url", "index-url", "index", "default-index", "find-links", "i", "f")
_FIRST_WORD: Final = 5  # the column behind `RUN `
_MOST: Final = 12  # lines of one package that are compared


class Conflict(NamedTuple):
    """Two lines of one package of which at most one can hold; `excludes`: the first is a constraint on the second."""

    meeting: Meeting
    first: Line
    second: Line
    excludes: bool


class Unfixed(NamedTuple):
    """Exact versions of one list, or of one command, of which an index that is asked has several builds."""

    lines: tuple[Line, ...]
    url: str


def conflicts(facts: Facts) -> Iterator[Conflict]:
    """Every pair of lines that meet in one place and contradict each other, each pair once."""
    locks = {lock.at.path for lock in facts.of(Lock)}
    seen: set[tuple[object, object]] = set()
    for meeting in meetings(facts):
        if meeting.path in locks and not meeting.installs:
            continue  # a lock may hold a package twice, for different platforms
        for found in _conflicts(meeting):
            key = found.first.at, found.second.at
            if key not in seen:
                seen.add(key)
                yield found


def _conflicts(meeting: Meeting) -> Iterator[Conflict]:
    named: dict[str, list[Line]] = defaultdict(list)
    for line in meeting.lines:
        if line.version or (line.limits and line.specifier):
            named[line.name].append(line)
    for lines in named.values():
        if len(lines) > 1:
            yield from _pairs(meeting, lines[:_MOST])


def _pairs(meeting: Meeting, lines: Sequence[Line]) -> Iterator[Conflict]:
    fixed = [line for line in lines if line.version and not line.limits]
    for number, second in enumerate(fixed):
        for first in fixed[:number]:
            apart = first.at == second.at or _agree(first, second) or _alternatives(meeting, first, second)
            if not apart and together((first, second)):
                yield Conflict(meeting, first, second, excludes=False)
                break
    for limit in (line for line in lines if line.limits):
        for line in fixed:
            same = line.command == limit.command and line.at != limit.at
            if same and not _allows(limit, line) and together((limit, line)):
                yield Conflict(meeting, limit, line, excludes=True)


def _alternatives(meeting: Meeting, first: Line, second: Line) -> bool:
    """Whether two commands may be turns of a loop, or branches of an `if`, of which facts say nothing.

    A command that begins its RUN in a Dockerfile is under no condition; a step of a workflow may be under one.
    """
    if first.command == second.command:
        return False
    one, other = meeting.installs[first.command], meeting.installs[second.command]
    if one.at == other.at:
        return True
    if meeting.form == "workflow":
        return bool({first.at, second.at} <= {item.at for item in (*one.requirements, *other.requirements)})
    return meeting.form == "dockerfile" and _FIRST_WORD not in (one.at.column, other.at.column)


def _agree(one: Line, other: Line) -> bool:
    """Whether one version can be what both lines mean."""
    if one.version == other.version:
        return True
    if one.prefix or other.prefix:
        first, second = (f"{line.version}." for line in (one, other))
        return (one.prefix and second.startswith(first)) or (other.prefix and first.startswith(second))
    try:
        first_version, second_version = Version(one.version), Version(other.version)
    except ValueError:
        return True
    labels = {version.local for version in (first_version, second_version) if version.local}
    same = Version(first_version.public) == Version(second_version.public)
    return same and len(labels) < 2  # noqa: PLR2004 - two builds


def _allows(limit: Line, line: Line) -> bool:
    if "://" in limit.specifier or line.prefix or limit.manager != line.manager:
        return True
    try:
        return SpecifierSet(limit.specifier).contains(line.version, prereleases=True)
    except ValueError:
        return True


def unfixed(facts: Facts) -> Iterator[Unfixed]:
    """Exact lines without label and hash, of whose packages an index that is asked has several builds."""
    seen: set[object] = set()
    for meeting in meetings(facts):
        if not _indexes(meeting.options):
            continue
        told: dict[tuple[str, int, str], list[Line]] = defaultdict(list)
        for line in meeting.lines:
            url = _url(meeting, line)
            if url is not None and _is_open(line) and line.at not in seen:
                seen.add(line.at)
                told[line.at.path, line.command, url].append(line)
        for (*_, url), lines in told.items():
            yield Unfixed(tuple(sorted(lines, key=lambda line: line.at)), url)


def _is_open(line: Line) -> bool:
    exact = bool(line.version) and not line.prefix and not line.limits and line.manager == "pip"
    return exact and not line.hashed and "+" not in line.version and not line.specifier.startswith("===")


def _url(meeting: Meeting, line: Line) -> str | None:
    """The index with several builds that is asked for a line, beside another."""
    options = meeting.asked(line.command)
    indexes = _indexes(options)
    if not indexes or _only(options) or any(name == "require-hashes" for name, _ in options):
        return None
    if meeting.installs and meeting.installs[line.command].tool == "uv" and _in_order(options):
        return None
    return next((url for row, url in indexes if line.name in row.packages), None)


def _indexes(options: Sequence[tuple[str, str]]) -> list[tuple[data.BuildIndex, str]]:
    found = []
    for name, value in options:
        for url in re.split(r"[\s,]+", value) if name in _SOURCES else ():
            bare = url.partition("=")[2] if re.match(r"[\w-]+=https?://", url) else url
            found += [(row, bare) for row in data.build_indexes() if row.host in bare]
    return found


def _in_order(options: Sequence[tuple[str, str]]) -> bool:
    """Whether uv asks its indexes one after the other, and takes a package from the first that has it, or fails.

    `--find-links` is no index: what lies there stands beside the index's own (uv's documentation, "Package indexes").
    """
    mixing = (name == "find-links" or (name == "index-strategy" and value != "first-index") for name, value in options)
    return not any(mixing)


def _only(options: Sequence[tuple[str, str]]) -> bool:
    """Whether nothing but one folder of builds is asked: then the folder says which build it is."""
    asked = {name for name, value in options if name in _SOURCES and value}
    return asked <= {"index-url", "default-index"} and len(_indexes(options)) == 1
