"""Alerts that come too late, never, or always."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard import data
from vramguard.facts import Deployment, PythonMetrics
from vramguard.facts.outputs import Step
from vramguard.facts.values import UNREAD
from vramguard.link.cluster import cluster
from vramguard.link.telemetry import names
from vramguard.link.telemetry.expressions import asked
from vramguard.link.telemetry.units import flaws
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.telemetry.expressions import Asked

_URGENT: Final = frozenset(("latency", "nan", "xid"))
_OF_MODELS: Final = re.compile(
    r"vllm|\btgi_|sglang|nv_inference|dcgm|\bgpus?\b|gpu_|inference|predict|\bmodels?\b|model_|_model|\bllms?\b|llm_|kserve|ray_serve",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Late:
    """An alert of a model or its cards. `kind`: slow (after `seconds`), unit, syntax; `why` in words."""

    at: Location
    alert: str
    kind: str
    why: str
    seconds: float = 0.0
    steps: tuple[Step, ...] = ()


def late(facts: Facts) -> Iterator[Late]:
    """Everything that is wrong with when alerts fire; `seconds` are for a rule to judge."""
    own = _own(facts)
    for one in asked(facts):
        if one.strict and one.query.error and _parts_of_models(one):
            yield Late(one.at, one.name or one.kind, "syntax", one.query.error.strip())
        if one.kind != "alert":
            continue
        for flaw in flaws(one.query):
            if flaw.metric:
                yield Late(one.place(flaw.metric), one.name, "unit", f"`{flaw.metric}`: {flaw.why}")
        if (found := _slow(one, own)) is not None:
            yield found


def _parts_of_models(one: Asked) -> bool:
    """Whether an alert tells of a model or of a card: by its query, its name and what it says."""
    return bool(_OF_MODELS.search(f"{one.query.text} {one.name} {one.said}"))


def _own(facts: Facts) -> frozenset[str]:
    """The metrics that Python of this repository exports, where it is known to serve a model."""
    modules = [one for one in facts.of(PythonMetrics) if facts.classify(one.at.path) not in UNREAD]
    clients = data.load("metrics")["client"]
    exported = frozenset(
        name
        for one in modules
        for names_ in (one.exports, *(row["names"] for row in clients if row["module"] in one.imports))
        for name in names_
    )
    if not exported or not (_serves(facts) or any(_OF_MODELS.search(name) for name in exported)):
        return frozenset()
    return exported


def _serves(facts: Facts) -> bool:
    """Whether anything of the repository answers with what a model says."""
    started = (one for one in facts.of(Deployment) if not one.training and not one.declared)
    return bool(cluster(facts).surfaces) or any(facts.classify(one.at.path) not in UNREAD for one in started)


def _slow(one: Asked, own: frozenset[str]) -> Late | None:
    """How long a fault stands before its alert fires, where it is one that nobody should wait for.

    Of latency that is an alert of a model, or of what the repository's own service before its model exports.
    """
    signals = names.signals(one.query.metrics, one.name) & _URGENT
    if not signals or one.wait is None or not one.query.whole:
        return None
    if not _parts_of_models(one) and not any(names.base(metric, own) in own for metric in one.query.metrics):
        return None
    seconds = one.wait + one.query.range_s
    steps = []
    if one.query.range_s:
        steps.append(Step(one.at, f"the query looks back over {one.query.range_s:g} s"))
    if one.waits is not None and one.wait:
        steps.append(Step(one.waits.at, f"and what it finds has to last {one.wait:g} s"))
    return Late(one.at, one.name, "slow", " and ".join(sorted(signals)), seconds, tuple(steps))
