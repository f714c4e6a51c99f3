"""Demand 6: that what the cards do is collected, shown and alerted on, by names that somebody exports, in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check, once
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import PathClass
from vramguard.link.telemetry import gaps
from vramguard.link.telemetry.dead import dead
from vramguard.link.telemetry.late import late

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.checks.shared import Judging
    from vramguard.facts import Facts
    from vramguard.link.telemetry.gaps import Gap


def _absences(rule: Judging, facts: Facts, found: Iterable[Gap], key: str = "what") -> Iterator[Problem]:
    """What is missing, as problems that a statement about the surface answers."""
    for gap in found:
        judged, severity = weight(rule, facts, gap.at.path)
        if judged:
            weaker = Severity.WARNING if gap.weak else severity
            values = {"surface": gap.surface, key: gap.what}
            yield Problem(
                gap.at, values, evidence(gap.steps), weaker, subject=gap.surface, data={"surface": gap.surface}
            )


@check("gpu-telemetry")
@dataclass(frozen=True)
class GpuTelemetry:
    """A GPU serves a model, and nothing in the repository collects from its card or its engine. Once, at the first
    such surface; a warning where the repository manages no monitoring at all.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from _absences(self, facts, gaps.unwatched(facts))


@check("gpu-alerts")
@dataclass(frozen=True)
class GpuAlerts:
    """The repository has alerts and a GPU surface, and no alert on some of: GPU memory, fragmentation, NVLink (where
    a layer is split across cards), temperature, XID, NaN, latency. An error where none of them is of a card; a warning,
    at what manages monitoring (a dashboard, a monitor, values), where the repository has no alert at all.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from _absences(self, facts, gaps.unalerted(facts), "missing")


@check("dead-metric")
@dataclass(frozen=True)
class DeadMetric:
    """A query names a metric that nobody exports: `errors` kinds weigh as the rule does, others are warnings.

    Kinds: misspelt, left-out (of the exporter's list of counters in the repository), renamed, unborn (a later release
    brings it), unknown (no release of that engine that was read has it, or nothing here that exports its like does).
    """

    errors: tuple[str, ...] = ("misspelt", "left-out")
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in dead(facts):
            judged, severity = weight(self, facts, one.at.path)
            if judged:
                instead = f"; `{one.instead}` says it" if one.instead else ""
                values = {"metric": one.metric, "because": one.because, "instead": instead}
                weaker = severity if one.kind in self.errors else Severity.WARNING
                yield Problem(one.at, values, evidence(one.steps), weaker, subject=one.metric)


@check("late-alert")
@dataclass(frozen=True)
class LateAlert:
    """An alert of a model or its card fires after more than `longest` seconds (range and `for` together; of latency,
    NaN and XID), compares a metric with another unit or with NaN, or is no PromQL: that is an error.
    """

    longest: int = 300
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from once(self._find(facts))

    def _find(self, facts: Facts) -> Iterator[Problem]:
        for one in late(facts):
            judged, severity = weight(self, facts, one.at.path)
            if not judged or (one.kind == "slow" and one.seconds <= self.longest):
                continue
            said = {
                "slow": f"may tell of {one.why} only after {one.seconds:g} seconds",
                "unit": f"is not what was meant: {one.why}",
                "syntax": f"is no PromQL, so that Prometheus loads none of its file: {one.why}",
            }[one.kind]
            weaker = severity or (Severity.ERROR if one.kind == "syntax" else None)
            yield Problem(one.at, {"alert": one.alert, "said": said}, evidence(one.steps), weaker, subject=one.alert)


@check("nan-counter")
@dataclass(frozen=True)
class NanCounter:
    """vLLM serves, the repository manages monitoring, and NaN in logits are not counted."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from once(_absences(self, facts, gaps.uncounted_nans(facts)))


@check("allocator-telemetry")
@dataclass(frozen=True)
class AllocatorTelemetry:
    """A Python server with torch on a card exposes metrics, and none of them is the allocator's."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from _absences(self, facts, gaps.silent_allocators(facts))


@check("host-dashboard")
@dataclass(frozen=True)
class HostDashboard:
    """A dashboard of what serves on a GPU shows processors and the host's memory only."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from _absences(self, facts, gaps.blind_dashboards(facts), "shown")
