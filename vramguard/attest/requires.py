"""What the installed distributions ask of one another, by the markers of the Python that they are installed for."""

from __future__ import annotations

from collections import defaultdict, deque
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from packaging.markers import UndefinedEnvironmentName, default_environment
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from vramguard.attest.difference import Difference, Findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from packaging.markers import Marker
    from packaging.requirements import Requirement

    from vramguard.attest.distributions import Distribution
    from vramguard.attest.environment import Environment, Python


class Asked(NamedTuple):
    """One requirement that holds here; not `certain` where its marker asks for a version that nobody knows."""

    by: Distribution
    requirement: Requirement
    certain: bool

    @property
    def key(self) -> str:
        """Whom it asks for."""
        return str(canonicalize_name(self.requirement.name))


class Markers:
    """Evaluates markers for an environment: its Python, and the platform of this machine, for which it is."""

    def __init__(self, environment: Environment) -> None:
        base: dict[str, str] = {key: str(value) for key, value in default_environment().items()}
        python = environment.python
        names = {"cpython": "CPython", "pypy": "PyPy"}
        base |= {
            "platform_python_implementation": names[python.implementation],
            "implementation_name": python.implementation,
        }
        if environment.windows:
            base |= {"sys_platform": "win32", "os_name": "nt", "platform_system": "Windows"}
        version = python.version or base["python_version"]
        fulls = [python.full] if python.full else [f"{version}.0", f"{version}.99"]
        self._environments = [base | _versions(version, full, python) for full in fulls]
        self.fulls = fulls

    def holds(self, marker: Marker | None, extra: str = "") -> bool | None:
        """Whether a marker holds; None where that cannot be told."""
        if marker is None:
            return True
        try:
            found = {marker.evaluate(environment | {"extra": extra}) for environment in self._environments}
        except (ValueError, UndefinedEnvironmentName):  # of packaging, and of numbers with too many digits
            return None
        return found.pop() if len(found) == 1 else None


def _versions(version: str, full: str, python: Python) -> dict[str, str]:
    said = {"python_version": version, "python_full_version": full}
    return said | ({"implementation_version": full} if python.implementation == "cpython" else {})


class Requirements:
    """The requirements that hold among the installed distributions."""

    def __init__(
        self, installed: Sequence[Distribution], markers: Markers, extras: Iterable[tuple[str, str]] = ()
    ) -> None:
        """`extras`: name and extra of what the lock asks for."""
        self._markers = markers
        self.installed: dict[str, list[Distribution]] = defaultdict(list)
        for item in installed:
            self.installed[item.key].append(item)
        self.asked: dict[str, list[Asked]] = defaultdict(list)  # by whom it asks for
        self._follow([*((key, "") for key in self.installed), *extras])

    def _follow(self, pending: list[tuple[str, str]]) -> None:
        """Every requirement that holds, through the extras that somebody asks for."""
        seen: set[tuple[str, str]] = set()
        said: set[tuple[str, str]] = set()
        while pending:
            key, extra = pending.pop()
            if (key, extra) in seen:
                continue
            seen.add((key, extra))
            for item in self.installed.get(key, ()):
                for asked in self._holding(item, extra):
                    if (item.folder, str(asked.requirement)) not in said:
                        said.add((item.folder, str(asked.requirement)))
                        self.asked[asked.key].append(asked)
                        pending += [(asked.key, canonicalize_name(name)) for name in asked.requirement.extras]

    def _holding(self, item: Distribution, extra: str) -> Iterator[Asked]:
        for requirement in item.requires:
            holds = self._markers.holds(requirement.marker, extra)
            if holds is not False:
                yield Asked(item, requirement, certain=holds is True)

    @cached_property
    def _parents(self) -> Mapping[str, str | None]:
        """For each distribution who asks for it, on the shortest way from one that nobody asks for."""
        needs: dict[str, list[str]] = defaultdict(list)
        for key, askers in self.asked.items():
            for asked in askers:
                needs[asked.by.key].append(key)
        roots = sorted(key for key in self.installed if key not in self.asked)
        parents: dict[str, str | None] = dict.fromkeys(roots)
        pending = deque(roots)
        while pending:
            key = pending.popleft()
            for need in needs[key]:
                if need not in parents:
                    parents[need] = key
                    pending.append(need)
        return parents

    def chain(self, key: str) -> list[str]:
        """From one that nobody asks for down to this distribution."""
        found = [key]
        while (above := self._parents.get(found[-1])) is not None:
            found.append(above)
        return found[::-1]

    def report(self, findings: Findings) -> None:
        """Report what is asked for and not met, one line for each distribution that is asked for."""
        for key, found in self.asked.items():
            held = self.installed.get(key, [])
            askers = sorted(found, key=lambda asked: (asked.by.shown, str(asked.requirement)))
            unmet = [asked for asked in askers if not any(_meets(item, asked.requirement) for item in held)]
            for certain in (True, False):
                mine = [asked for asked in unmet if asked.certain is certain]
                if mine:
                    self._unmet(key, held, mine, findings)

    def _unmet(self, key: str, held: list[Distribution], unmet: list[Asked], findings: Findings) -> None:
        clauses = [
            {"clause": _clause(asked), "by": asked.by.shown, "chain": self.chain(asked.by.key)} for asked in unmet
        ]
        words = "; ".join(f"{_clause(asked)} is asked for by {self._shown(asked.by)}" for asked in unmet)
        kind = "unmet-requirement" if held else "missing-requirement"
        shown = held[0].shown if held else str(unmet[0].requirement.name)
        note = not unmet[0].certain
        words += "; its marker asks which release of Python this is, which nothing here says" if note else ""
        findings.add(Difference(kind, words, shown, None, {"name": key, "clauses": clauses}), note=note)

    def _shown(self, asker: Distribution) -> str:
        above = self.chain(asker.key)[:-1]
        return asker.shown + (f" (by way of {' > '.join(above)})" if above else "")

    def report_pythons(self, findings: Findings) -> None:
        """Report distributions that were made for other Pythons."""
        for item in (item for items in self.installed.values() for item in items if item.requires_python):
            try:
                wanted = SpecifierSet(item.requires_python)
                fits = any(wanted.contains(full, prereleases=True) for full in self._markers.fulls)
            except ValueError:
                what = f"Requires-Python `{item.requires_python[:80]}` cannot be read"
                findings.add(Difference("broken-metadata", what, item.shown, item.folder))
                continue
            if not fits:
                what = f"it requires Python {item.requires_python}"
                findings.add(Difference("requires-python", what, item.shown, item.folder))


def _clause(asked: Asked) -> str:
    requirement = asked.requirement
    return f"{requirement.name}{requirement.specifier}" if requirement.specifier else str(requirement.name)


def _meets(item: Distribution, requirement: Requirement) -> bool:
    """Whether what is installed satisfies; an .egg-link says no version, and is a difference of its own."""
    if not item.version:
        return True
    try:
        return not requirement.specifier or requirement.specifier.contains(Version(item.version), prereleases=True)
    except ValueError:
        return False
