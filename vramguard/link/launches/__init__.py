"""What a launch starts: the words of a command, read as the engine that they start reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts import Launch
from vramguard.link.built import built
from vramguard.link.compose import completed
from vramguard.link.launches.engines import every
from vramguard.link.launches.scripts import may_start, programs
from vramguard.link.manifests import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Deployment, Facts
    from vramguard.link.launches.scripts import Program

_PATTERNS: Final = frozenset({"runtime", "ome-runtime"})


class Programs:
    """The programs of launches, each launch unwrapped once however often it is asked of."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._known: dict[int, tuple[Launch, list[Program]]] = {}  # by identity; the launch is held, so that it stays

    def of(self, launch: Launch) -> list[Program]:
        """What a launch starts, in order."""
        if id(launch) not in self._known:
            self._known[id(launch)] = launch, list(programs(launch, self._facts))
        return self._known[id(launch)][1]


def launched(ran: Iterable[Launch], facts: Facts, known: Programs | None = None) -> Iterator[Deployment]:
    """Every deployment that these launches start, and the patterns of some, which are not judged by themselves."""
    known = known or Programs(facts)
    for launch in (*ran, *_patterns(facts)):
        if may_start(launch):
            yield from every(iter(known.of(launch)), launch, facts)


def _patterns(facts: Facts) -> Iterator[Launch]:
    """Servers that services fill in with a model (KServe's runtimes, OME's): what they say, they say once for all."""
    return (launch for launch in facts.of(Launch) if launch.runtime and _PATTERNS.intersection(launch.joins))


def launches(facts: Facts) -> Iterator[Launch]:
    """Every launch of a repository as it runs: joined with what other objects and files of its own say of it."""
    return built(launch for launch in completed(joined(facts), facts) if not launch.runtime)
