"""Demand 3: a health check that asks the model, since an interpreter that runs says nothing of what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import weight
from vramguard.facts import PathClass
from vramguard.link.code.health import health_routes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts


@check("shallow-health-check")
@dataclass(frozen=True)
class ShallowHealthCheck:
    """Routes of an application's health answer a constant, and none of them asks the model or reads any state.

    Only where a route of the same application asks a model, or is named for its answers. Once for each route.
    """

    classes: tuple[PathClass, ...] = (PathClass.SERVING, PathClass.TRAINING)
    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        for route in health_routes(facts):
            judged, severity = weight(self, facts, route.at.path)
            if not judged or not route.constant or route.deep or route.model is None:
                continue
            shown = tuple(Evidence(step.at, step.what) for step in (route.model, *route.others))
            values = {"route": route.path or route.function, "function": route.function}
            weaker = Severity.WARNING if route.at.path.endswith(".ipynb") else severity
            yield Problem(route.at, values, shown, weaker, subject=route.function)
