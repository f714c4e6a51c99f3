"""Demand 5 as pipelines show it: workflows, jobs and their steps, what starts them, and who is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import PathClass, Protection
from vramguard.link.pipelines import HOSTED, graphs
from vramguard.link.pipelines.bumps import merging
from vramguard.link.pipelines.flows import flows
from vramguard.link.pipelines.gates import defeated
from vramguard.link.pipelines.models import Models
from vramguard.link.pipelines.owners import unowned
from vramguard.link.pipelines.syncing import moving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.pipelines.flows import Bringing, Retraining
    from vramguard.link.pipelines.gates import Defeated


def _models(facts: Facts) -> Models:
    return facts.once("pipeline-models", lambda facts: Models(facts, flows(facts).acts))


def _bringing(facts: Facts) -> tuple[Bringing, ...]:
    return facts.once("pipeline-bringing", lambda facts: tuple(flows(facts).bringing()))


def _retraining(facts: Facts) -> tuple[Retraining, ...]:
    return facts.once("pipeline-retraining", lambda facts: tuple(flows(facts).retraining()))


def _defeated(facts: Facts) -> tuple[Defeated, ...]:
    return (*defeated(flows(facts), _models(facts)), *graphs.defeated(flows(facts).acts))


@check("pipeline-retraining")
@dataclass(frozen=True)
class PipelineRetraining:
    """A clock or an event starts a pipeline that trains, and nobody is asked before the result can be loaded.

    `kinds`: clock, event. A warning where the training is known by a name alone, or where its result is only kept.
    """

    kinds: tuple[str, ...] = ("clock",)
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in _retraining(facts):
            judged, severity = weight(self, facts, one.at.path)
            if judged and one.kind in self.kinds:
                weaker = severity if one.trains.sure and one.loadable else Severity.WARNING
                values = {"what": one.what, "trains": one.trains.shown}
                yield Problem(one.at, values, evidence(one.steps), weaker, subject=f"{one.what} {one.kind}")


@check("pipeline-promotion")
@dataclass(frozen=True)
class PipelinePromotion:
    """A step makes a model the one in use, in a pipeline that nobody starts by hand, and nobody is asked."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[int]()
        for one in _bringing(facts):
            judged, severity = weight(self, facts, one.act.at.path)
            clustered = one.pipeline.form not in HOSTED
            if not judged or (one.act.kind != "promote" and not clustered):
                continue
            if id(one.job) in seen or (not clustered and not self._counts(facts, one)):
                continue
            seen.add(id(one.job))
            at = one.job.at if clustered else one.act.step.at
            weaker = severity if one.act.sure or one.act.script else Severity.WARNING
            values = {"what": one.act.shown, "job": one.job.key}
            yield Problem(at, values, evidence(one.steps), weaker, subject=f"{one.pipeline.name} {one.job.key}")

    @staticmethod
    def _counts(facts: Facts, one: Bringing) -> bool:
        """Not what trains itself, of which its code is told; copies and images only after training."""
        acts = flows(facts).acts.of(one.job)
        if any(act.kind == "train" and act.script and act.script == one.act.script for act in acts):
            return False
        return not one.act.after or flows(facts).trained_before(one.pipeline, one.job, one.act) is not None


@check("unprotected-deploy-job")
@dataclass(frozen=True)
class UnprotectedDeployJob:
    """A job of a forge's pipeline deploys what serves a model, or promotes one, and no environment or approval asks."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        held = _models(facts)
        seen = set[tuple[str, int]]()
        for one in _bringing(facts):
            judged, severity = weight(self, facts, one.job.at.path)
            key = one.job.at.path, one.job.at.line
            if not judged or one.pipeline.form not in HOSTED or key in seen or held.before(one.job, one.act):
                continue
            if held.concerns(one.pipeline, one.job, one.act) and not self._is_deployed_later(facts, one):
                seen.add(key)
                named = one.job.environment
                why = (
                    f"its environment `{named}` has no required reviewers"
                    if named
                    else "no environment with reviewers stands before it"
                )
                values = {"job": one.job.key, "what": one.act.shown, "why": why}
                weaker = severity if one.act.sure or one.act.script else Severity.WARNING
                subject = f"{one.pipeline.name} {one.job.key}"
                yield Problem(one.job.at, values, evidence(one.steps), weaker, subject=subject)
        yield from self._unknown(facts)

    @staticmethod
    def _is_deployed_later(facts: Facts, one: Bringing) -> bool:
        """Whether it only pushes an image that a later job deploys: that job is the one to be asked about."""
        after = [job for job in one.pipeline.jobs if one.act.after == "train" and one.job in one.pipeline.before(job)]
        return any(act.kind == "deploy" for job in after for act in flows(facts).acts.of(job))

    def _unknown(self, facts: Facts) -> Iterator[Problem]:
        """Environments of which nobody could tell whether they have reviewers."""
        for row in facts.of(Protection):
            if row.reviewed is None and weight(self, facts, row.at.path)[0]:
                values = {
                    "job": row.environment,
                    "what": "its environment",
                    "why": f"whether it has reviewers is not known: {row.why}",
                }
                yield Problem(row.at, values, (), Severity.WARNING, subject=row.environment)


@check("gate-that-does-not-block")
@dataclass(frozen=True)
class GateThatDoesNotBlock:
    """Something asks or measures before a model comes into use, and does not hold it back.

    `kinds`: open (a measure that cannot fail), passed (a person who is not waited for).
    """

    kinds: tuple[str, ...] = ("passed",)
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in facts.once("pipeline-defeated", _defeated):
            judged, severity = weight(self, facts, one.at.path)
            if judged and one.kind in self.kinds:
                values = {"gate": one.gate, "how": one.how, "brings": one.brings}
                yield Problem(one.at, values, evidence(one.steps), severity, subject=f"{one.gate} {one.brings}")


@check("moving-weights")
@dataclass(frozen=True)
class MovingWeights:
    """A reference to weights that can change, and something that takes the change into use by itself."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in moving(facts):
            judged, severity = weight(self, facts, one.at.path)
            if judged:
                values = {"surface": one.surface, "reference": one.reference, "by": one.by}
                yield Problem(one.at, values, evidence(one.steps), severity, subject=one.surface)


@check("unowned-models")
@dataclass(frozen=True)
class UnownedModels:
    """Nobody owns weights, data, the configuration of training, or our policy: a CODEOWNERS file leaves them out, or
    there is none where a model is trained or deployed.
    """

    classes: tuple[PathClass, ...] = (*JUDGED, PathClass.DOCS)
    warnings: tuple[PathClass, ...] = ()

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in unowned(flows(facts), _models(facts)):
            more = f" and {one.count - 1} more" if one.count > 1 else ""
            said = (
                f"{one.kind} have no owner: `{one.path}`{more}"
                if one.kind
                else "a model is trained or deployed, and no CODEOWNERS says who has to look at a change"
            )
            yield Problem(one.at, {"said": said}, evidence(one.steps), subject=one.kind)


@check("pipeline-commits")
@dataclass(frozen=True)
class PipelineCommits:
    """A job pushes models or data to the branch that it stands on; no branch of its own, no request for a review.

    A pipeline that a person starts by hand counts only where something else starts it as well.
    """

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        ways = flows(facts)
        for pipeline in ways.all:
            reached = {
                id(job): trigger
                for trigger in pipeline.triggers
                if trigger.kind in ("clock", "event", "data", "push") and "pull_request" not in trigger.event
                for job in ways.reached(pipeline, trigger)
            }
            for job in pipeline.jobs:
                judged, severity = weight(self, facts, job.at.path)
                if not judged or id(job) not in reached or ways.gated(pipeline, job):
                    continue
                for act in ways.doing(job, reached[id(job)], "committed"):
                    values = {"what": f"{pipeline.name}: {act.step.said}", "of": act.shown}
                    yield Problem(act.at, values, (), severity, subject=f"{pipeline.name} {act.shown}")


@check("automerged-models")
@dataclass(frozen=True)
class AutomergedModels:
    """Updates of what a model runs on merge themselves."""

    classes: tuple[PathClass, ...] = (*JUDGED, PathClass.DOCS)
    warnings: tuple[PathClass, ...] = ()

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in merging(flows(facts)):
            judged, severity = weight(self, facts, one.at.path)
            if judged:
                values = {"by": one.by, "name": one.candidate.name}
                yield Problem(one.at, values, evidence(one.steps), severity, subject=one.by)
