"""Demand 6: "the CPU is only at 10 %, it can handle more": what scales a GPU by the load of its host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, check, once
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import PathClass
from vramguard.link.cluster.autoscaling import autoscalers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts


@check("host-autoscaling")
@dataclass(frozen=True)
class HostAutoscaling:
    """An autoscaler looks at the CPU or the memory of the host alone, and its target owns a GPU.

    `silent`: whether those are judged that name no metric and take the CPU by default, or those that name it. A target
    that is not found in the repository, or owns no GPU, is not judged.
    """

    silent: bool = False
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from once(self._found(facts))

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for scaler in autoscalers(facts):
            if not scaler.by_host_alone or scaler.silent is not self.silent:
                continue
            at = scaler.signals[0].at
            judged, severity = weight(self, facts, at.path)
            if judged:
                signals = " and ".join(dict.fromkeys(signal.name.lower() for signal in scaler.signals))
                values = {"scaler": scaler.title, "target": scaler.target, "signals": signals, "says": scaler.says}
                yield Problem(at, values, evidence(scaler.steps), severity, subject=f"{scaler.title} {signals}")
