"""Infrastructure around a model: what its pods ask for, how they are probed, replaced and ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Evidence, Problem, check
from vramguard.checks.shared import JUDGED, SHOWN, evidence, weight
from vramguard.facts import Deployment, PathClass
from vramguard.link.cluster import cluster
from vramguard.link.cluster.autoscaling import is_raw
from vramguard.link.cluster.podspecs import (
    chooses_nodes,
    composed,
    host_weights,
    lacks_cards,
    lacks_shared_memory,
    moving_image,
    pull_policy,
    resources,
    served,
    shares_memory,
    tensor_parallel,
    untagged,
)
from vramguard.link.cluster.probes import probes, startup_budget
from vramguard.link.cluster.rollouts import asks_for_made_nodes, grace, replicas, spare_nodes, strategy
from vramguard.link.cluster.surfaces import OF_CARDS, STREAMING
from vramguard.link.cluster.windows import DAYS, clocked
from vramguard.link.cluster.workloads import gives, workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.checks import Severity
    from vramguard.checks.shared import Judging
    from vramguard.facts import Facts
    from vramguard.link.cluster.podspecs import Served
    from vramguard.source import Location


def _judged(rule: Judging, facts: Facts, *, gpu: bool = True) -> Iterator[tuple[Served, Severity | None]]:
    """The pods that serve a model where the rule judges, with the severity that their paths have."""
    for one in served(facts):
        if one.has_gpu or not gpu:
            judged, severity = weight(rule, facts, one.container.node.at.path)
            if judged:
                yield one, severity


def _placed(problems: Iterable[Problem]) -> Iterator[Problem]:
    """One problem of each place, however many overlays take in what stands there."""
    seen: set[Location] = set()
    for problem in problems:
        if problem.at not in seen:
            seen.add(problem.at)
            yield problem


def _problem(
    one: Served, at: Location, severity: Severity | None, steps: tuple[Evidence, ...] = (), **values: object
) -> Problem:
    """A problem of a pod; absences are told by the name of the surface, so that a statement may answer them."""
    card = one.container.hardware.places.get("gpus")
    shown = (*steps, Evidence(card, "the card that it asks for")) if card else steps
    said = {"surface": one.role, **values}
    return Problem(at, said, shown, severity, subject=one.role, data={"surface": one.surface.name})


@dataclass(frozen=True)
class _Pods:
    """A check of what serves: which paths it judges, and one problem of each place."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from _placed(self._found(facts))

    def _found(self, facts: Facts) -> Iterator[Problem]:
        raise NotImplementedError


@check("shallow-probe")
@dataclass(frozen=True)
class ShallowProbe(_Pods):
    """Whether users reach a model is decided by a question that a broken model answers as well as a sound one.

    Readiness of pods, healthchecks of images and of compose, checks of load balancers; liveness may be cheap. What an
    engine's endpoint says is known; of a server of the repository's own its route is read.
    """

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for probe in probes(facts):
            judged, severity = weight(self, facts, probe.at.path)
            if judged and probe.shallow:
                values = {"by": probe.by, "surface": probe.surface, "why": probe.shallow}
                yield Problem(probe.at, values, evidence(probe.steps), severity, subject=f"{probe.surface} {probe.by}")


@check("gpu-limit")
@dataclass(frozen=True)
class GpuLimit(_Pods):
    """An engine that runs on a card stands in a pod that asks for none: no limit, no slice, no claim."""

    engines: tuple[str, ...] = tuple(sorted(OF_CARDS))

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts, gpu=False):
            ran = one.deployment
            if ran is None or ran.accelerator is not None or one.surface.gpu is not None or ran.gpus is not None:
                continue
            if ran.engine in self.engines and lacks_cards(one) and not gives(one.manifest, "cards"):
                yield _problem(one, one.container.node.at, severity, engine=ran.engine)


@check("gpu-resources")
@dataclass(frozen=True)
class GpuResources(_Pods):
    """A GPU container whose card is only requested, that has no limit on memory, or that splits a model over cards and
    has the 64 MB of /dev/shm that a runtime gives.
    """

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts):
            asked = resources(one.container.node)
            missing = []
            if asked.only_requested is not None:
                missing.append("its card is requested and not limited")
            if asked.memory is not None and not gives(one.manifest, "memory") and not one.manifest.guessed:
                missing.append("no limit on memory")
            if (tensor_parallel(one) or 1) > 1 and not shares_memory(one) and not gives(one.manifest, "shm"):
                missing.append(f"64 MB of /dev/shm for {tensor_parallel(one)} processes")
            if missing:
                alone = len(missing) == 1 and missing[0].startswith("64 MB")  # which no limit gives
                yield _problem(one, (asked.whole if alone else asked.node).at, severity, missing=", ".join(missing))
        yield from self._of_operators(facts)
        yield from self._of_compose(facts)

    def _of_compose(self, facts: Facts) -> Iterator[Problem]:
        """Services of compose, whose memory nobody limits as a matter of course, and whose /dev/shm is as small."""
        for surface, service in composed(cluster(facts)):
            judged, severity = weight(self, facts, service.at.path)
            if judged and lacks_shared_memory(surface, service):
                lacking = f"64 MB of /dev/shm for {surface.tensor_parallel_size} processes"
                values = {"surface": surface.name, "missing": lacking}
                yield Problem(service.at, values, (), severity, subject=surface.name, data={"surface": surface.name})

    def _of_operators(self, facts: Facts) -> Iterator[Problem]:
        """Objects that say the resources of pods which their controller makes, in a field of their own."""
        for surface in cluster(facts).gpu_surfaces:
            if surface.manifest is None or surface.pods or gives(surface.manifest, "memory"):
                continue
            spec = surface.manifest.node.get("spec")
            asked = resources(spec)
            judged, severity = weight(self, facts, asked.node.at.path)
            if judged and spec.get("resources", "limits") and asked.memory is not None:
                values = {"surface": surface.name, "missing": "no limit on memory"}
                shown = (Evidence(surface.gpu, "the card that it asks for"),) if surface.gpu else ()
                yield Problem(
                    asked.node.at, values, shown, severity, subject=surface.name, data={"surface": surface.name}
                )


@check("readiness-probe")
@dataclass(frozen=True)
class ReadinessProbe(_Pods):
    """A GPU server has no readiness probe, and its controller adds none: requests come while the weights load."""

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts):
            given = one.container.node.get("readinessProbe") or gives(one.manifest, "readiness")
            if not given and not one.is_worker:
                yield _problem(one, one.container.node.at, severity)


@check("startup-budget")
@dataclass(frozen=True)
class StartupBudget(_Pods):
    """A probe kills a GPU server before its weights can be there: initialDelaySeconds + failureThreshold x
    periodSeconds of the startup probe, or of liveness where there is none.

    `rate`: bytes a second that weights come at, at best. `floor`: seconds that any GPU server takes.
    """

    rate: int = 1_000_000_000
    floor: int = 60

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts):
            budget = startup_budget(one)
            if budget is None:
                continue
            size = _weights(facts, one) or 0
            needed = max(self.floor, -(-size // self.rate))
            if budget.seconds < needed:
                why = (
                    f"{size // 10**9} GB of weights at {self.rate // 10**6} MB/s"
                    if size
                    else "what any such server takes"
                )
                steps = (Evidence(budget.at, f"{budget.by} gives it {budget.seconds} s"),)
                said = {"by": budget.by, "seconds": budget.seconds, "needed": needed, "why": why}
                yield _problem(one, budget.at, severity, steps, **said)


def _weights(facts: Facts, one: Served) -> int | None:
    """Bytes of the model's weights, by its proof; None where its configuration is not known here."""
    from vramguard.checks.vram import VramBudget

    ran = one.deployment
    if ran is None or not isinstance(ran.model, str):
        return None
    proof, *_ = VramBudget().prove_one(facts, ran)
    return proof.model_weight_bytes or None


@check("termination-grace")
@dataclass(frozen=True)
class TerminationGrace(_Pods):
    """A pod that serves from a GPU, or in tokens, has less time to end than its longest request takes, and no preStop.

    `longest`: seconds of that request.
    """

    longest: int = 60

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts, gpu=False):
            if not one.has_gpu and not _is_of_tokens(one):
                continue
            given = grace(one)
            by_knative = gives(one.manifest, "grace") and not is_raw(cluster(facts), one.manifest)
            if given and given.seconds < self.longest and not by_knative:
                by = "" if given.written else " by default"
                yield _problem(one, given.at, severity, seconds=given.seconds, by=by, longest=self.longest)


def _is_of_tokens(one: Served) -> bool:
    """Whether a pod without a GPU answers in tokens: an engine on a CPU, not a router before those with cards."""
    return one.engine in STREAMING and one.surface.gpu is None and not one.container.hardware.accelerator


@check("rollout-deadlock")
@dataclass(frozen=True)
class RolloutDeadlock(_Pods):
    """A rollout starts the new pod before the old one goes, so that both need their cards at once.

    Silent where the repository has nodes made for pods that wait, or up to `spare` cards are held free.
    """

    spare: int = 0

    def _found(self, facts: Facts) -> Iterator[Problem]:
        if spare_nodes(facts) is not None:
            return
        for one, severity in _judged(self, facts):
            plan = strategy(one.manifest, replicas(cluster(facts), one.manifest))
            gpus = one.container.hardware.gpus
            if plan is None or not plan.waits or asks_for_made_nodes(one) or plan.replicas == 0:
                continue
            if self.spare and isinstance(gpus, int) and gpus * (plan.surge or 0) <= self.spare:
                continue
            yield _problem(one, plan.at, severity, strategy=plan.written, replicas=plan.replicas or "some")


@check("moving-pull")
@dataclass(frozen=True)
class MovingPull(_Pods):
    """A GPU surface pulls a tag that moves at every start, or has its weights from a folder of the node."""

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts):
            policy, image = pull_policy(one), moving_image(one)
            if image is not None and policy is None and untagged(one):
                said = f"has `{image.text}` without a tag, which is pulled anew at every start"
                yield _problem(one, image.at, severity, said=said)
            if policy is not None and image is not None:
                said = f"pulls `{image.text}` at every start, and two of its pods may hold two programs"
                yield _problem(one, policy.at, severity, said=said)
            for path, inside in host_weights(one):
                said = f"has `{inside}` from its node's folder `{path.text}`, which may differ from node to node"
                yield _problem(one, path.at, severity, said=said)


@check("gpu-selection")
@dataclass(frozen=True)
class GpuSelection(_Pods):
    """A pod asks for any GPU, where the policy's deployment of the same model names one kind of card."""

    def _found(self, facts: Facts) -> Iterator[Problem]:
        declared = {
            one.model: one
            for one in facts.of(Deployment)
            if one.declared and isinstance(one.gpu, str) and isinstance(one.model, str)
        }
        for one, severity in _judged(self, facts) if declared else ():
            ran = one.deployment.model if one.deployment else None
            named = declared.get(ran) if isinstance(ran, str) else None
            if named is not None and not chooses_nodes(one) and workload(one.manifest) is not None:
                steps = (Evidence(named.places.get("gpu", named.at), f"{named.model} is proved for {named.gpu}"),)
                yield _problem(
                    one, one.container.hardware.places.get("gpus", one.pod.spec.at), severity, steps, card=named.gpu
                )


@check("unstaged-rollout")
@dataclass(frozen=True)
class UnstagedRollout(_Pods):
    """A rollout of a model's service replaces all of its pods at once, of which there are several."""

    def _found(self, facts: Facts) -> Iterator[Problem]:
        for one, severity in _judged(self, facts, gpu=False):
            plan = strategy(one.manifest, replicas(cluster(facts), one.manifest))
            if plan is not None and plan.at_once:
                yield _problem(one, plan.at, severity, strategy=plan.written, replicas=plan.replicas)


@check("deploy-window")
@dataclass(frozen=True)
class DeployWindow:
    """A clock starts the deployment of a repository's models while nobody is there to look.

    `closed`: days and hours of UTC, as `fri 16-24`.
    """

    closed: tuple[str, ...] = ("fri 16-24", "sat 0-24", "sun 0-24")
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def __post_init__(self) -> None:
        for window in self.closed:
            if not _WINDOW.fullmatch(window):
                raise ValueError(f"`{window}` is no window such as `fri 16-24`")

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in clocked(facts):
            judged, severity = weight(self, facts, one.at.path)
            window = next((window for window in self.closed if one.hours & _hours(window)), None)
            if judged and window is not None:
                values = {"cron": one.cron, "window": window}
                yield Problem(one.at, values, evidence(one.steps), severity, subject=one.cron)


_WINDOW: Final = re.compile(rf"({'|'.join(DAYS)}) (\d{{1,2}})-(\d{{1,2}})")


def _hours(window: str) -> frozenset[tuple[int, int]]:
    match = _WINDOW.fullmatch(window)
    assert match is not None  # noqa: S101 - looked at when the rule was read
    return frozenset((DAYS.index(match[1]), hour) for hour in range(int(match[2]), int(match[3])))
