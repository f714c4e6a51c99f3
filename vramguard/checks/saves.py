"""Demand 3: weights that are not finite are never written, and never pushed to where others load them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import PathClass
from vramguard.link.code.saves import training_loops
from vramguard.link.code.trainers import leaky_trainers
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.saves import Save, TrainingLoop


def _severity(facts: Facts, path: str, classes: tuple[PathClass, ...]) -> Severity | None:
    """A warning where nobody runs it for customers: an example, a page of documentation, a notebook."""
    return Severity.WARNING if facts.classify(path) in classes or path.endswith(".ipynb") else None


@check("unchecked-save")
@dataclass(frozen=True)
class UncheckedSave:
    """Weights of a hand-written training loop are written, and no check that they are finite stands before.

    Once for a loop, at the last such save of the nearest function around it. Paths of the classes of `warnings` weigh
    less.
    """

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        found: dict[Location, list[tuple[TrainingLoop, Save]]] = {}
        for loop in training_loops(facts):
            opened = [save for save in loop.saves if not save.guarded]
            if opened:
                found.setdefault(opened[-1].at, []).append((loop, opened[-1]))
        for ways in found.values():
            (loop, save), *others = ways
            also = dict.fromkeys(
                Evidence(one.at, f"this loop of `{one.function}` comes to the same save") for one, _ in others
            )
            yield self._problem(facts, loop, save, tuple(also))

    def _problem(self, facts: Facts, loop: TrainingLoop, save: Save, also: tuple[Evidence, ...]) -> Problem:
        flawed = [one for one in save.checks if one.flaw]
        near = f"; `{flawed[-1].what}` (line {flawed[-1].at.line}) refuses nothing: {flawed[-1].flaw}" if flawed else ""
        values = {"save": save.call, "loop": loop.function, "line": loop.at.line, "step": loop.step, "near": near}
        evidence = (*(Evidence(step.at, step.what) for step in save.steps), *also)
        severity = _severity(facts, save.at.path, self.warnings)
        return Problem(save.at, values, evidence, severity, subject=f"{save.function} {save.call} {loop.function}")


@check("leaky-trainer")
@dataclass(frozen=True)
class LeakyTrainer:
    """A framework's trainer writes weights, and by its settings nothing refuses those that are NaN.

    Paths of the classes of `warnings` weigh less.
    """

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[Location]()
        for one in leaky_trainers(facts):
            if one.at not in seen:
                seen.add(one.at)
                unknown = f"; {one.unknown}" if one.unknown else ""
                values = {"call": one.call, "framework": one.framework, "leaks": one.leaks, "unknown": unknown}
                evidence = tuple(Evidence(step.at, step.what) for step in one.steps)
                severity = _severity(facts, one.at.path, self.warnings)
                yield Problem(one.at, values, evidence, severity, subject=f"{one.function} {one.call}")
