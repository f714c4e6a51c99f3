"""Releases that are bad together: advisories joined to what is installed together, and to the cards that it meets."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from vramguard import data
from vramguard.facts import Deployment, Lock, Requirement
from vramguard.link.folders import folder_of, is_within
from vramguard.link.meeting import meetings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.data import Advisory, Gpu
    from vramguard.facts import Facts
    from vramguard.link.meeting import Line, Meeting
    from vramguard.source import Location

_OTHER_BUILD = re.compile(r"(?:\+|/whl/(?:nightly/|test/)?)(?:cpu|rocm|xpu)")
_MOST = 6  # lines of one package that are looked at
_PYTHONS = ("3.9", "3.10", "3.11", "3.12", "3.13")
_LINUX = {
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "platform_release": "6.8",
    "platform_version": "#1 SMP",
    "extra": "",
}


class Bad(NamedTuple):
    """What is installed together although it is known to be bad, and the line of each package."""

    advisory: Advisory
    meeting: Meeting
    lines: tuple[Line, ...]


class Unfit(NamedTuple):
    """A release that was built for another release of a package than the one beside it."""

    meeting: Meeting
    line: Line
    beside: Line
    needs: str  # the versions that it needs
    source: str
    replaced: bool = False  # a later command installs it, and pip then replaces what stands beside it


@lru_cache(maxsize=4)  # Facts are compared by identity
def bad(facts: Facts) -> tuple[Bad, ...]:
    """Every advisory that something matches, whichever card it meets."""
    return tuple(_bad(facts))


def _bad(facts: Facts) -> Iterator[Bad]:
    for meeting in meetings(facts):
        names = {line.name for line in meeting.lines}
        for advisory in data.advisories():
            if names.issuperset(advisory.packages) and (not advisory.forms or meeting.form in advisory.forms):
                lines = _matched(meeting, advisory)
                if lines is not None:
                    yield Bad(advisory, meeting, lines)


def _matched(meeting: Meeting, advisory: Advisory) -> tuple[Line, ...] | None:
    """One line of each package, if whichever of its lines is taken the versions are those of the advisory."""
    found: list[list[Line]] = []
    for name, meant in advisory.packages.items():
        lines = meeting.versions(name)[:_MOST]
        if not lines or not all(within(line, meant) for line in lines):
            return None
        found.append(lines)
    return next((lines for lines in product(*found) if together(lines)), None)


def unfit(facts: Facts) -> Iterator[Unfit]:
    """Every pair of releases of which one was not built for the other. What resolved a lock has seen to that."""
    locks = {lock.at.path for lock in facts.of(Lock)}
    for meeting in meetings(facts):
        if meeting.path in locks and not meeting.installs:
            continue
        names = {line.name for line in meeting.lines if line.manager == "pip" and line.version}
        for row in data.needs():
            if row.package in names and row.on in names:
                yield from _unfit(meeting, row.package, row.on)


def _unfit(meeting: Meeting, package: str, on: str) -> Iterator[Unfit]:
    beside = [line for line in meeting.versions(on)[:_MOST] if line.manager == "pip"]
    for line in meeting.versions(package)[:_MOST]:
        needs = needed(package, on, line.version)
        if needs is None or line.manager != "pip" or (package == "torch" and _has_no_cuda(meeting, line)):
            continue
        met = [other for other in beside if together((line, other))]
        if met and not any(within(other, needs[0]) for other in met):
            later = met[-1].command < line.command
            bare = bool(meeting.installs) and meeting.installs[line.command].option("no-deps") is not None
            yield Unfit(meeting, line, met[-1], *needs, replaced=later and not bare)


def _has_no_cuda(meeting: Meeting, line: Line) -> bool:
    """Whether a build of torch may be one for CPUs or other cards, which declares no triton."""
    urls = (value for name, value in meeting.asked(line.command) if name.endswith(("index-url", "index", "find-links")))
    return _OTHER_BUILD.search(line.version) is not None or any(map(_OTHER_BUILD.search, urls))


@cache
def needed(package: str, on: str, version: str) -> tuple[str, str] | None:
    """The versions of `on` that a release of a package needs, and where that stands; None where nothing is known."""
    released = public(version)
    for row in data.needs():
        if (row.package, row.on) == (package, on) and released is not None:
            for first, last, said in row.releases:
                if Version(first) <= released <= Version(last):
                    return said, row.source
    return None


def within(line: Line, versions: str) -> bool:
    """Whether the version that a line fixes is one of these; of a prefix, the first and the last that it means."""
    ends = (line.version, f"{line.version}.999") if line.prefix else (line.version,)
    return all(_contains(versions, end) for end in ends)


@lru_cache(maxsize=4096)
def _contains(versions: str, version: str) -> bool:
    try:
        return SpecifierSet(versions).contains(version, prereleases=True)
    except ValueError:  # of packaging, and of numbers with too many digits
        return False


@lru_cache(maxsize=4096)
def public(version: str) -> Version | None:
    """A version without its label; None for what is none."""
    try:
        return Version(Version(version).public)
    except ValueError:
        return None


def together(lines: Sequence[Line]) -> bool:
    """Whether there is a Python on Linux on which the markers of all lines hold."""
    markers = tuple(dict.fromkeys(line.marker for line in lines if line.marker))
    return not markers or _hold(markers)


@lru_cache(maxsize=1024)
def _hold(markers: tuple[str, ...]) -> bool:
    try:
        parsed = [Marker(marker) for marker in markers]
        for python in _PYTHONS:
            here = {**_LINUX, "python_version": python, "python_full_version": f"{python}.0"}
            here |= {"implementation_version": f"{python}.0"}
            if all(marker.evaluate(here) for marker in parsed):
                return True
    except ValueError:
        return False
    return False


def advised(facts: Facts, near: tuple[Location, ...], card: Gpu) -> tuple[Advisory, str] | None:
    """The first advisory of memory that an environment of these places matches on the card, and the file that has it.

    An environment is one whose file stands in the folder of one of the places, or in one above it.
    """
    if not facts.of(Lock) and not facts.of(Requirement):
        return None
    for found in bad(facts):
        folder = folder_of(found.meeting.path)
        met = found.advisory.kind == "memory-leak" and card.compute_capability in found.advisory.capabilities
        if met and any(is_within(folder_of(at.path), folder) for at in near):
            return found.advisory, found.meeting.path
    return None


def near(facts: Facts, meeting: Meeting) -> list[Deployment]:
    """The deployments on cards that stand in the folder of an environment, or below it."""
    folder = folder_of(meeting.path)
    found = (item for item in facts.of(Deployment) if item.accelerator is None)
    return [item for item in found if is_within(folder_of(item.at.path), folder)]
