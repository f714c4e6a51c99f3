"""Which of a chart's values speak of which object of its templates: those whose texts stand in it."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.extract.helm.shared import FORM
from vramguard.link.charts.reading import Filled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Launch, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster
    from vramguard.source import Location

Key = tuple[str, str]  # a file of values and what is launched there: ("values.yaml", "engine")
_MAX_VALUES: Final = 4000  # of one pod that are looked at


@dataclass(frozen=True)
class Charted:
    """What values launch through the objects of templates: by the object's identity, and all that any of them has."""

    of: Mapping[int, list[Key]]
    spoken_for: frozenset[Key]


def charted(cluster: Cluster) -> Charted:
    """The join of values and templates. An object has a launch if it has its image, or the cards that it asks for."""
    by_place: dict[Location, list[Key]] = {}
    for key, launches in cluster.launches.items():
        for place in {place for launch in launches if launch.form == FORM for place in _of_launch(launch)}:
            by_place.setdefault(place, []).append(key)
    found: dict[int, list[Key]] = {}
    every: set[Key] = set()
    for one in cluster.objects() if by_place else ():
        if one.guessed and cluster.pods_of(one):
            shared = _shared(cluster, one, by_place)
            every |= shared.keys()
            found[id(one)] = _best(one, shared)
    return Charted(found, frozenset(every))


def _shared(cluster: Cluster, manifest: Manifest, by_place: Mapping[Location, list[Key]]) -> Counter[Key]:
    """The launches that share places of values with an object's containers, and how many."""
    places = {place for pod in cluster.pods_of(manifest) for one in pod.containers for place in _of_node(one.node)}
    return Counter(key for place in places for key in by_place.get(place, ()))


def _best(manifest: Manifest, shared: Counter[Key]) -> list[Key]:
    """Those that share the most, of these the one of the object's own values where it is among them."""
    most = [key for key, count in shared.items() if count == max(shared.values())]
    own = {file for build in manifest.builds for file in (build, posixpath.join(build, "values.yaml"))}
    return [key for key in most if key[0] in own] or most


def _of_launch(launch: Launch) -> Iterator[Location]:
    yield from (place for name, place in launch.hardware.places.items() if name == "gpus")
    if launch.image:
        yield launch.image.at


def _of_node(node: Node) -> Iterator[Location]:
    """Where the values stand that a container is made of."""
    pending, left = [node], _MAX_VALUES
    while pending and left:
        one = pending.pop()
        left -= 1
        if isinstance(one, Filled):
            yield from one.sources
        pending += one.children()
