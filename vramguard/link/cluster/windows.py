"""Deployments that a clock starts: at which hours of the week, and what they put out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.cluster import cluster
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.nodes import Node

DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DEPLOYS: Final = re.compile(
    r"\bkubectl\s+(?:[^\n|;&]*\s)?(?:apply|replace|set\s+image|rollout\s+restart)\b|\bhelm\s+(?:upgrade|install)\b"
    r"|\bargocd\s+app\s+sync\b"
)
_TRIAL: Final = re.compile(r"\b(?:kind\s+create|minikube|k3d|microk8s|helm/kind-action|setup-kind|--dry-run)\b")
_PART: Final = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/([0-9]{1,3}))?\Z")


@dataclass(frozen=True)
class Clocked:
    """A workflow that deploys by its clock. `hours`: each hour of the week it may start in, as (day, hour), UTC."""

    at: Location
    cron: str
    hours: frozenset[tuple[int, int]]
    steps: tuple[Step, ...]


def clocked(facts: Facts) -> list[Clocked]:
    """Every scheduled workflow that deploys, of a repository that serves a model by its manifests."""
    return facts.once("clocked deployments", lambda facts: list(_clocked(facts)))


def _clocked(facts: Facts) -> Iterator[Clocked]:
    joined = cluster(facts)
    for workflow in joined.configured("workflow"):
        crons = [one.get("cron") for one in workflow.node.get("on", "schedule").list()]
        step = _deploying(workflow.node) if crons and any(one.manifest for one in joined.surfaces) else None
        for cron in crons if step else ():
            hours = hours_of(cron.text)
            if hours and step:
                yield Clocked(cron.at, cron.text, hours, (step,))


def _deploying(workflow: Node) -> Step | None:
    """The step that deploys; None where there is none, or the workflow makes a cluster of its own to try things on."""
    runs = [run for job in workflow.get("jobs").children() for step in job.get("steps").list() for run in _texts(step)]
    if any(_TRIAL.search(run.text) for run in runs):
        return None
    found = next(((run, match) for run in runs if (match := _DEPLOYS.search(run.text))), None)
    return Step(found[0].at, f"`{' '.join(found[1][0].split())}` deploys") if found else None


def _texts(step: Node) -> Iterator[Node]:
    yield from (node for node in (step.get("run"), step.get("uses")) if node)


def hours_of(cron: str) -> frozenset[tuple[int, int]]:
    """The hours of the week in which a cron of five fields may start something; none for what is no such text."""
    fields = cron.split()
    if len(fields) != 5:  # noqa: PLR2004 - minute, hour, day of month, month, day of week
        return frozenset()
    hours, days = _numbers(fields[1], 24), _numbers(fields[4].lower(), 7)
    by_date = fields[2] != "*" and fields[4] == "*"  # any day of the week may be that date
    return frozenset((day, hour) for day in (range(7) if by_date else days) for hour in hours)


def _numbers(field: str, size: int) -> frozenset[int]:
    """The numbers below `size` of one field: `*`, `1-5`, `*/6`, `mon,fri`; 7 is Sunday, as 0 is."""
    found: set[int] = set()
    for part in field.split(",")[:64]:
        match = _PART.fullmatch(part)
        if match is None:
            return frozenset()
        first = 0 if match[1] == "*" else _number(match[1])
        last = size - 1 if match[1] == "*" or (match[3] and not match[2]) else _number(match[2] or match[1])
        if first is None or last is None or not 0 <= first <= last <= size:
            return frozenset()
        found.update(number % size for number in range(first, last + 1, max(int(match[3] or 1), 1)))
    return frozenset(found)


def _number(word: str) -> int | None:
    if word.isdecimal() and len(word) < 3:  # noqa: PLR2004 - hours and days
        return int(word)
    return DAYS.index(word[:3]) if word[:3] in DAYS else None
