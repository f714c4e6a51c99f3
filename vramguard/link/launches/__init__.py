"""What a launch starts: the words of a command, read as the engine that they start reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts import Launch
from vramguard.link.compose import completed
from vramguard.link.launches.engines import every
from vramguard.link.launches.scripts import programs
from vramguard.link.manifests import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Deployment, Facts

_PATTERNS: Final = frozenset({"runtime", "ome-runtime"})


def launched(ran: Iterable[Launch], facts: Facts) -> Iterator[Deployment]:
    """Every deployment that these launches start, and the patterns of some, which are not judged by themselves."""
    for launch in (*ran, *_patterns(facts)):
        yield from every(programs(launch, facts), launch, facts)


def _patterns(facts: Facts) -> Iterator[Launch]:
    """Servers that services fill in with a model (KServe's runtimes, OME's): what they say, they say once for all."""
    return (launch for launch in facts.of(Launch) if launch.runtime and _PATTERNS.intersection(launch.joins))


def launches(facts: Facts) -> Iterator[Launch]:
    """Every launch of a repository as it runs: joined with what other objects and files of its own say of it."""
    return (launch for launch in completed(joined(facts), facts) if not launch.runtime)
