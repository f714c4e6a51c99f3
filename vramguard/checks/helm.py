"""Demand 2, of charts: a value that is written to bound the memory, and that nothing passes on."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, check
from vramguard.facts import HelmUnread, PathClass
from vramguard.link.judging import UNSERVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts


@check("helm-value")
@dataclass(frozen=True)
class HelmValue:
    """A key of a chart's values that states a setting of the engine must be read by a template of the chart.

    Only of charts whose every template stands in the repository. Nothing is said in the path classes `unjudged`.
    """

    unjudged: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(HelmUnread):
            if facts.classify(fact.at.path) not in self.unjudged:
                key = ".".join(fact.keys)
                folder = posixpath.dirname(fact.at.path) or "."
                values = {"key": key, "field": fact.field, "chart": fact.chart or folder}
                yield Problem(fact.at, values, subject=key)
