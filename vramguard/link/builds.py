"""Objects that several builds hold: overlays of kustomize, a chart with several files of values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import Manifest


def once(found: Iterable[Manifest]) -> list[Manifest]:
    """Each object once: the very same of several builds is one that all of them hold, so that each still joins it."""
    kept: dict[tuple[object, ...], list[Manifest]] = {}
    for one in found:
        same = kept.setdefault((one.at, one.title, one.namespace), [])
        number = next((number for number, other in enumerate(same) if other.node.value == one.node.value), None)
        if number is None:
            same.append(one)
        else:
            same[number] = same[number].also_of(one.overlay)
    return [one for same in kept.values() for one in same]
