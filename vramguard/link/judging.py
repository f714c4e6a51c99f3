"""Which deployments can be judged from the text alone, and why the others are not."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from vramguard.facts import Deployment, PathClass, Unknown
from vramguard.memory import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

# Where a file is not what is served: a parser's test data, a manual, a vendored tree.
UNSERVED = (PathClass.TEST, PathClass.DOCS, PathClass.VENDORED)
# What a proof stands on. An engine's version is not among them: one that is not known is every one that was read.
_NEEDED = ("model", "revision", *(field.name for field in fields(Workload) if field.name != "engine_version"))


def judged(facts: Facts, unjudged: frozenset[PathClass]) -> Iterator[Deployment]:
    """Every deployment that a VRAM rule judges: those declared, and of those found what serves from a GPU."""
    for found in facts.of(Deployment):
        if found.declared or (serves(found, facts, unjudged) and not withheld(found)):
            yield found


def serves(deployment: Deployment, facts: Facts, unjudged: frozenset[PathClass]) -> bool:
    """Whether it serves from a GPU, outside of the path classes `unjudged`."""
    return deployment.accelerator is None and facts.classify(deployment.at.path) not in unjudged


def not_judged(facts: Facts, unjudged: frozenset[PathClass]) -> Iterator[tuple[Deployment, str]]:
    """Every deployment that serves from a GPU and cannot be judged from the text, and why."""
    for found in facts.of(Deployment):
        if not found.declared and serves(found, facts, unjudged):
            reason = withheld(found)
            if reason:
                yield found, reason


def _told(deployment: Deployment) -> bool:
    """Whether a training is written down with its card: a launcher may divide any other over as many as it likes."""
    return deployment.mode == "training" and deployment.gpu is not None and deployment.gpus in (None, 1)


def withheld(deployment: Deployment) -> str:
    """Why nothing is asked of a deployment that was found; empty where it is judged."""
    if deployment.training and not _told(deployment):
        return "it trains, and what decides its memory, its card among it, is not all written down"
    for name in _NEEDED:
        value = getattr(deployment, name)
        if isinstance(value, Unknown):
            return f"its {name} is `{value.text}`, which is filled in elsewhere"
    return ""
