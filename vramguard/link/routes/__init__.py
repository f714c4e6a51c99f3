"""Requests on their way to a model: what bounds, breaks, repeats and diverts them, whatever it is written in."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from vramguard.link.cluster import cluster
from vramguard.link.routes import (
    annotated,
    balancers,
    envoy,
    gateways,
    istio,
    litellm,
    proxies,
    rollouts,
    serving,
    traefik,
)
from vramguard.link.routes.parts import Balance, Breaker, Fallback, Part, Queue, Route, Setting, Staging, Target
from vramguard.link.routes.targets import Targets
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from vramguard.facts import Facts

__all__ = ["Balance", "Breaker", "Fallback", "Queue", "Route", "Setting", "Staging", "Target", "Traffic", "traffic"]

_READERS = (istio, gateways, envoy, traefik, proxies, annotated, serving, litellm, rollouts, balancers)
P = TypeVar("P", bound=Part)
Key = tuple[str, Location | None]


def traffic(facts: Facts) -> Traffic:
    """Every part that stands between users and the models of a repository."""
    return facts.once("traffic", _traffic)


def _traffic(facts: Facts) -> Traffic:
    targets = Targets(cluster(facts))
    return Traffic(part for reader in _READERS for part in reader.parts(targets))


class Traffic:
    """The parts of a repository, by their kind, each place once."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._held: dict[type, list[Part]] = defaultdict(list)
        seen = set[tuple[object, ...]]()
        for part in parts:
            what = (getattr(part, name, "") for name in ("name", "windows", "kind", "what"))
            key = (type(part), part.at, *map(repr, what))
            if key not in seen:
                seen.add(key)
                self._held[type(part)].append(part)

    def of(self, kind: type[P]) -> list[P]:
        """Every part of a kind, by place."""
        return sorted((part for part in self._held[kind] if isinstance(part, kind)), key=lambda part: part.at)

    @cached_property
    def by_target(self) -> Mapping[Key, list[Route]]:
        """The routes to each target, by its key."""
        found: dict[Key, list[Route]] = defaultdict(list)
        for route in self.of(Route):
            found[route.target.key].append(route)
        return found

    @cached_property
    def broken(self) -> frozenset[Key | None]:
        """Keys of the targets that some breaker takes out of service; None for every one."""
        return frozenset(one.target.key if one.target else None for one in self.of(Breaker) if one.trips)
