"""Pipelines: what starts them, what their steps do, who is asked, and how a model comes into use through them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vramguard.link.cluster import cluster
from vramguard.link.pipelines import airflow, clouds, clusters, crontabs, github, services
from vramguard.link.pipelines.parts import HOSTED, MOST, Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

__all__ = ["HOSTED", "Job", "Pipeline", "Step", "Trigger", "pipelines"]

_DEEP: Final = 4  # workflows that call one another


def pipelines(facts: Facts) -> tuple[Pipeline, ...]:
    """Every pipeline of a repository; a workflow that one calls stands in the place of the call."""
    return facts.once("pipelines", _pipelines)


def _pipelines(facts: Facts) -> tuple[Pipeline, ...]:
    found = list(_read(facts))
    by_path = {one.at.path: one for one in found if one.form == "workflow"}
    return tuple(replace(one, jobs=tuple(_called(one.jobs, by_path, 0))[:MOST]) for one in found)


def _read(facts: Facts) -> Iterator[Pipeline]:
    held = cluster(facts)
    yield from map(github.pipeline, held.configured("workflow"))
    yield from map(services.gitlab, held.configured("gitlab"))
    yield from map(services.azure, held.configured("azure-pipelines"))
    for manifest in held.configured("circleci"):
        yield from services.circleci(manifest)
    for manifest in held.configured("prefect"):
        yield from services.prefect(manifest)
    yield from clusters.pipelines(held)
    yield from clouds.pipelines(held)
    yield from crontabs.pipelines(facts)
    yield from airflow.pipelines(facts)


def _called(jobs: tuple[Job, ...], by_path: dict[str, Pipeline], depth: int) -> Iterator[Job]:
    """Jobs with those of a workflow of this repository in the place of its call; the last of them ends the call."""
    for job in jobs:
        inner = by_path.get(job.calls) if job.calls and depth < _DEEP else None
        if inner is None:
            yield job
            continue
        made = [
            replace(
                one,
                key=f"{job.key}/{one.key}",
                needs=tuple(f"{job.key}/{name}" for name in one.needs) or job.needs,
                condition=one.condition or job.condition,
            )
            for one in _called(inner.jobs, by_path, depth + 1)
        ]
        yield from made
        yield replace(job, calls="", needs=tuple(one.key for one in made) or job.needs)
