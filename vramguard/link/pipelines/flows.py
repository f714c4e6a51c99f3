"""The ways through a pipeline: from what starts it to training, and on to where a model is in use; and who is asked.

A job asks where it names an environment, waits for a hand, or is an approval; it asks as well for all that have to
wait for it. What a person starts by hand (`workflow_dispatch` alone) is that person's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts import Protection
from vramguard.facts.outputs import Step as Evidence
from vramguard.link.pipelines import HOSTED, conditions, known, pipelines
from vramguard.link.pipelines.acts import Act, Acts
from vramguard.link.pipelines.parts import Job, Pipeline, Trigger
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

_ALONE: Final = frozenset(("clock", "event", "data"))  # nobody is there
_AUTOMATIC: Final = frozenset((*_ALONE, "push"))  # nobody looks at the weights, though somebody has pushed
_OUTWARD: Final = ("promote", "deploy", "committed", "bump")
_DEEP: Final = 5  # pipelines that start one another


@dataclass(frozen=True, slots=True)
class Retraining:
    """Training that starts by itself, and whose result can be loaded. `kind`: clock, event.

    `loadable`: whether something takes what was made into use, or into the repository; else it is kept somewhere.
    """

    at: Location
    kind: str
    what: str
    trains: Act
    steps: tuple[Evidence, ...]
    loadable: bool


@dataclass(frozen=True, slots=True)
class Bringing:
    """A job that brings a model into use, and nobody is asked. `act`: the step that does it."""

    pipeline: Pipeline
    job: Job
    act: Act
    trigger: Trigger | None
    steps: tuple[Evidence, ...]


class Flows:
    """The ways through all pipelines of a repository."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.acts = Acts(facts)
        self.all = pipelines(facts)
        rows = facts.of(Protection)
        self._attested = {row.environment: row for row in rows if row.by == "configuration"}
        self._asked = {row.environment: row for row in rows if row.by != "configuration"}

    # ---- gates

    def asks(self, job: Job) -> bool:
        """Whether a person is asked before a job runs, as far as is known."""
        if any(act.kind == "gate" for act in self.acts.of(job)):
            return True
        if job.gate is None:
            return False
        return not job.environment or self.protects(job.environment)

    def protects(self, environment: str) -> bool:
        """Whether an environment has reviewers: as the forge says, else the configuration, else its name."""
        row = self._asked.get(environment) or self._attested.get(environment)
        if row is not None and row.reviewed is not None:
            return row.reviewed
        return not self._attested

    def gated(self, pipeline: Pipeline, job: Job) -> bool:
        """Whether a person is asked on the way to a job."""
        if self.asks(job):
            return True
        if conditions.whatever(job.condition):
            return False
        return any(self.asks(one) and one.lets_on is None for one in pipeline.before(job))

    # ---- what runs

    def reached(self, pipeline: Pipeline, trigger: Trigger) -> list[Job]:
        """The jobs that run on a trigger: those whose conditions let them, after jobs that do."""
        barred: set[str] = set()
        for _ in range(len(pipeline.jobs)):
            more = {job.key for job in pipeline.jobs if job.key not in barred and self._is_barred(job, trigger, barred)}
            if not more:
                break
            barred |= more
        return [job for job in pipeline.jobs if job.key not in barred]

    @staticmethod
    def _is_barred(job: Job, trigger: Trigger, barred: set[str]) -> bool:
        if job.events is not None and trigger.event not in job.events:
            return True
        if not conditions.lets(job.condition, trigger.event):
            return True
        return bool(barred & set(job.needs)) and not conditions.whatever(job.condition)

    def doing(self, job: Job, trigger: Trigger | None, *kinds: str) -> Iterator[Act]:
        """What a job does of some kinds, in steps that run on a trigger."""
        for act in self.acts.of(job):
            if act.kind in kinds and (trigger is None or conditions.lets(act.step.condition, trigger.event)):
                yield act

    def after(self, pipeline: Pipeline) -> list[Pipeline]:
        """The workflows that start when one has ended."""
        return [
            one
            for one in self.all
            if one is not pipeline
            and any(pipeline.name in trigger.of for trigger in one.triggers if trigger.event == "workflow_run")
        ]

    def dispatched(self, act: Act) -> list[Pipeline]:
        """The pipelines that a command starts by their file or name."""
        return [one for one in self.all if act.after in (one.at.path.rpartition("/")[2], one.name)]

    # ---- training that starts by itself

    def retraining(self) -> Iterator[Retraining]:
        """Every trigger that leads to training with nobody on the way."""
        for pipeline in self.all:
            for trigger in pipeline.triggers:
                if trigger.kind in _ALONE and not self._is_by_hand(trigger, 0):
                    yield from self._retraining(pipeline, trigger)

    def _is_by_hand(self, trigger: Trigger, depth: int) -> bool:
        """Whether it is the end of pipelines that a person starts, all of them."""
        before = [one for one in self.all if one.name in trigger.of]
        if trigger.event != "workflow_run" or not before or depth > _DEEP:
            return False
        return all(
            one.kind in ("hand", "called", "asked") or self._is_by_hand(one, depth + 1)
            for pipeline in before
            for one in pipeline.triggers
        )

    def _retraining(self, pipeline: Pipeline, trigger: Trigger) -> Iterator[Retraining]:
        ways: list[tuple[Pipeline, Trigger | None, list[Job], tuple[Evidence, ...]]]
        ways = [(pipeline, trigger, self.reached(pipeline, trigger), ())]
        ways += [(other, None, list(other.jobs), (start,)) for start, other in self._handed(pipeline, trigger)]
        for held, by, jobs, steps in ways:
            for job in jobs:
                act = next(self.doing(job, by, "train"), None)
                if act is None or self.gated(held, job) or self.acts.tries(job, held):
                    continue
                ends = self._ends(held, by, job, jobs, act)
                if ends is None:
                    continue
                first = Evidence(trigger.at, f"`{pipeline.name}` starts here")
                said = f"the job `{job.key}`" if len(held.jobs) > 1 else f"`{act.step.said}`"
                links = (first, *steps, Evidence(act.at, f"{said} trains: `{act.shown}`"), *act.steps[1:], *ends[1])
                kind = "clock" if trigger.kind == "clock" else "event"
                yield Retraining(trigger.at, kind, pipeline.name, act, links, ends[0])
                return

    def _handed(self, pipeline: Pipeline, trigger: Trigger) -> Iterator[tuple[Evidence, Pipeline]]:
        for job in self.reached(pipeline, trigger):
            if not self.gated(pipeline, job):
                for act in self.doing(job, trigger, "dispatch"):
                    for other in self.dispatched(act):
                        yield Evidence(act.at, f"`{act.shown}` starts `{other.name}`"), other

    def _ends(
        self, pipeline: Pipeline, trigger: Trigger | None, job: Job, jobs: list[Job], trains: Act
    ) -> tuple[bool, tuple[Evidence, ...]] | None:
        """Where what was trained goes with nobody asked: into use (True), or somewhere; None for nowhere."""
        later = [job, *(one for one in jobs if job in pipeline.before(one))]
        open_ = [one for one in later if not self.gated(pipeline, one)]
        for one in open_:
            for act in self.doing(one, trigger, *_OUTWARD):
                if act.kind != "promote" or act.sure or act.script != trains.script:
                    return True, (Evidence(act.at, f"and nobody is asked before this: `{act.shown}`"), *act.steps[1:])
        if any(act.kind == "promote" for act in self.doing(job, trigger, "promote")):
            return True, ()
        if any(
            act.kind in _OUTWARD for one in later if one not in open_ for act in self.doing(one, trigger, *_OUTWARD)
        ):
            return None  # somebody is asked before it is used
        if pipeline.form not in HOSTED or trains.after == "elsewhere":
            return False, ()
        for one in open_:
            for act in self.doing(one, trigger, "keep"):
                if act.step is not trains.step or act.at != trains.at or act.script:
                    return False, (Evidence(act.at, f"what was made is kept: `{act.shown}`"),)
        return (False, ()) if self._is_tracked(trains) else None

    @staticmethod
    def _is_tracked(act: Act) -> bool:
        """Whether a registry elsewhere is told of what is trained."""
        return any(name in act.step.env for name in _TRACKED)

    # ---- models that come into use

    def bringing(self) -> Iterator[Bringing]:
        """Every job that brings a model into use by itself: promotions, deployments."""
        for pipeline in self.all:
            if pipeline.form in HOSTED:
                yield from self._hosted(pipeline)
            else:
                yield from self._trained(pipeline)

    def _hosted(self, pipeline: Pipeline) -> Iterator[Bringing]:
        seen: set[int] = set()
        for trigger in pipeline.triggers:
            if trigger.kind not in _AUTOMATIC or "pull_request" in trigger.event or self._is_by_hand(trigger, 0):
                continue
            for job in self.reached(pipeline, trigger):
                if self.gated(pipeline, job) or self.acts.tries(job, pipeline):
                    continue
                for act in self.doing(job, trigger, "promote", "deploy", "bump"):
                    if id(act) not in seen:
                        seen.add(id(act))
                        steps = (
                            Evidence(trigger.at, f"`{pipeline.name}` starts here"),
                            Evidence(job.at, f"runs `{job.key}`"),
                        )
                        yield Bringing(
                            pipeline, job, act, trigger, (*steps, Evidence(act.at, f"`{act.shown}`"), *act.steps[1:])
                        )

    def _trained(self, pipeline: Pipeline) -> Iterator[Bringing]:
        """Of a workflow of a cluster: what comes after training in the same go."""
        for job in pipeline.jobs:
            before = pipeline.before(job)
            trains = next((act for one in before for act in self.acts.of(one) if act.kind == "train"), None)
            if trains is None or self.gated(pipeline, job):
                continue
            act = next((act for act in self.acts.of(job) if act.kind in _OUTWARD), None)
            said = f"{job.key} {job.label}"
            runs = any(step.image or step.script for step in job.steps)  # else only a template that stands elsewhere
            if act is None and runs and known.says("deploying", said) and not known.says("beside", said):
                act = _named(job)
            if act is not None:
                steps = (Evidence(trains.at, f"`{trains.shown}` trains"), Evidence(job.at, f"then `{job.key}` runs"))
                yield Bringing(pipeline, job, act, None, steps)

    def trained_before(self, pipeline: Pipeline, job: Job, act: Act | None = None) -> Act | None:
        """An act of training before a job, or before an act of the same job."""
        for one in (*pipeline.before(job), job):
            for found in self.acts.of(one):
                if act is not None and one is job and found.at >= act.at:
                    continue
                if found.kind == "train":
                    return found
        for other in self.all:
            if other is not pipeline and pipeline in self.after(other):
                for one in other.jobs:
                    if any(found.kind == "train" for found in self.acts.of(one)):
                        return next(found for found in self.acts.of(one) if found.kind == "train")
        return None


_TRACKED: Final = (
    "MLFLOW_TRACKING_URI",
    "WANDB_API_KEY",
    "COMET_API_KEY",
    "NEPTUNE_API_TOKEN",
    "CLEARML_API_ACCESS_KEY",
)


def _named(job: Job) -> Act:
    step = job.steps[0]
    return Act("deploy", job.at, job.label or job.key, step, sure=False)


def flows(facts: Facts) -> Flows:
    """The ways through a repository's pipelines, found once."""
    return facts.once("pipeline-flows", Flows)
