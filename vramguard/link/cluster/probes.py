"""What asks whether a model is well: probes of a pod, a healthcheck of compose, a load balancer's check."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from vramguard.extract.objects.healthchecks import HEALTHCHECK
from vramguard.facts import Deployment
from vramguard.facts.outputs import Step
from vramguard.link.cluster import cluster
from vramguard.link.cluster.asking import Asked, Probe, ask, engine_of, judged, of_object, of_surface
from vramguard.link.cluster.balancers import balanced
from vramguard.link.cluster.own import owned
from vramguard.link.cluster.pods import BATCH, PATTERNS
from vramguard.link.cluster.podspecs import composed, is_patched, served
from vramguard.link.cluster.questions import of_command
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.link.cluster import Cluster
    from vramguard.link.cluster.asking import Server
    from vramguard.link.cluster.podspecs import Served


def probes(facts: Facts) -> list[Probe]:
    """Everything that decides by asking whether users reach a model, of every surface."""
    return facts.once("probes", lambda facts: list(_probes(facts)))


def _probes(facts: Facts) -> Iterator[Probe]:
    joined = cluster(facts)
    known = {id(one.container.node): one for one in served(facts)}
    for one in known.values():
        if node := one.container.node.get("readinessProbe"):
            yield from ask(facts, of_surface(one), "readinessProbe", node)
    for other in _others(joined, known):
        yield from ask(facts, other, "readinessProbe", other.node.get("readinessProbe"))
    yield from _of_compose(joined)
    yield from _of_images(joined)
    yield from balanced(joined)


def _others(joined: Cluster, known: Mapping[int, Served]) -> Iterator[Server]:
    """Containers with a readiness probe that are of no surface: an engine on a CPU, a server of the repository's own.

    A runtime of KServe counts where a service of this repository names it.
    """
    runtimes = {one.node.get("spec", "predictor", "model", "runtime").text for one in joined.of("InferenceService")}
    for manifest in joined.objects():
        if manifest.kind in BATCH or (manifest.kind in PATTERNS and manifest.name not in runtimes):
            continue
        for pod in joined.pods_of(manifest):
            for one in pod.containers:
                if one.node.get("readinessProbe") and id(one.node) not in known and not is_patched(manifest, one):
                    yield of_object(manifest, one.node)


def _of_images(joined: Cluster) -> Iterator[Probe]:
    """What a Dockerfile has its container asked: of an engine, or of a server of the repository's own."""
    served_by = {one.at.path: one for one in joined.facts.of(Deployment) if one.form == "dockerfile"}
    for manifest in joined.configured(HEALTHCHECK):
        path, ran = manifest.at.path, served_by.get(manifest.at.path)
        if ran is not None and ran.training:
            continue
        engine = ran.engine if ran is not None and isinstance(ran.engine, str) else None
        question = of_command(manifest.name, manifest.at, engine)
        says = Step(ran.at, f"the image serves {engine}") if ran is not None and engine else None
        asked = Asked("HEALTHCHECK", path, question, says, engine)
        yield from judged(joined.facts, asked, partial(owned(joined.facts).of_recipe, path))


def _of_compose(joined: Cluster) -> Iterator[Probe]:
    """The healthchecks of compose: of services that serve a model, and of those whose image is built here."""
    known = {service.at: surface for surface, service in composed(joined)}
    for manifest in joined.configured("compose"):
        for name, service in manifest.node.get("services").items():
            test = service.get("healthcheck", "test")
            words = test.words()
            if words and all(word.known for word in words):
                surface = known.get(service.at)
                engine = (surface.engine if surface else None) or engine_of(service)
                says = Step(service.at, f"`{name}` serves {engine or 'a model'} here") if engine or surface else None
                question = of_command(" ".join(word.text for word in words), test.at, engine)
                asked = Asked("healthcheck", name, question, says, engine)
                yield from judged(joined.facts, asked, partial(owned(joined.facts).of_service, service))


@dataclass(frozen=True)
class Budget:
    """Seconds that a server has before a probe kills it for not being ready, by what is written; and where."""

    at: Location
    seconds: int
    by: str  # livenessProbe, startupProbe


_INITIAL, _PERIOD, _FAILURES = (
    0,
    10,
    3,
)  # kubernetes/api core/v1 types.go, Probe: what is taken where nothing is written


def startup_budget(one: Served) -> Budget | None:
    """How long a container may take to start; None where nothing would kill it, or a number is not known.

    A probe's first question comes after initialDelaySeconds, and the last that may fail (failureThreshold - 1) periods
    later; one period is granted on top, as people count it.
    """
    node = one.container.node
    by = "startupProbe" if node.get("startupProbe") else "livenessProbe"
    probe = node.get(by)
    if not isinstance(probe.value, dict):
        return None
    keys = (("initialDelaySeconds", _INITIAL), ("periodSeconds", _PERIOD), ("failureThreshold", _FAILURES))
    numbers = [probe.get(key).number() if probe.get(key) else otherwise for key, otherwise in keys]
    known = [number for number in numbers if isinstance(number, int)]
    if len(known) != len(keys):
        return None
    initial, period, failures = known
    return Budget(probe.at, initial + period * failures, by)
