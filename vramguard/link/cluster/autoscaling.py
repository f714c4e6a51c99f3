"""Autoscalers of every kind: what they scale by, and the pods that they scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.data import load
from vramguard.facts import Unknown
from vramguard.facts.outputs import Step
from vramguard.link.cluster import cluster
from vramguard.link.cluster.pods import PATTERNS
from vramguard.link.cluster.surfaces import OF_CARDS, generated
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster, Surface

_KNATIVE: Final = "autoscaling.knative.dev/"
_KSERVE: Final = "serving.kserve.io/"
_RAW: Final = frozenset(("RawDeployment", "Standard"))  # modes of KServe without Knative


@dataclass(frozen=True)
class Signal:
    """One thing that an autoscaler looks at: `cpu`, `memory`, or another by its name; empty for one not known."""

    at: Location
    name: str

    @property
    def of_host(self) -> bool:
        """Whether it is the load of the host, which says nothing of a GPU's."""
        return self.name.lower() in _of_host()


@dataclass(frozen=True)
class Autoscaler:
    """What scales a target that owns a GPU. `silent`: by what nobody wrote, and `says` tells what is taken then."""

    at: Location
    title: str  # `HorizontalPodAutoscaler/llama`
    signals: tuple[Signal, ...]
    target: str  # `Deployment/llama`
    steps: tuple[Step, ...]  # from the autoscaler to the card
    silent: bool = False
    says: str = ""

    @property
    def by_host_alone(self) -> bool:
        """Whether it looks at nothing but the host."""
        return bool(self.signals) and all(signal.of_host for signal in self.signals)


@cache
def _of_host() -> frozenset[str]:
    return frozenset(str(name) for row in load("autoscaling")["signal"] for name in row["names"])


@cache
def _defaults() -> Mapping[str, str]:
    return {str(row["kind"]): str(row["says"]) for row in load("autoscaling")["default_signal"]}


def autoscalers(facts: Facts) -> list[Autoscaler]:
    """Every autoscaler whose target is known to own a GPU."""
    return facts.once("autoscalers", lambda facts: list(_found(cluster(facts))))


def _found(joined: Cluster) -> Iterator[Autoscaler]:
    for one in joined.of("HorizontalPodAutoscaler"):
        yield from _to_target(joined, one, _of_hpa(one.node.get("spec")))
    for one in joined.of("ScaledObject", group="keda.sh"):
        yield from _to_target(joined, one, _of_keda(one.node.get("spec")))
    for one in joined.of("VerticalPodAutoscaler"):
        yield from _of_vpa(joined, one)
    for one in joined.of("PodAutoscaler", group="autoscaling.aibrix.ai"):
        yield from _to_target(joined, one, _of_aibrix(one.node.get("spec")))
    for one in joined.of("InferenceService"):
        yield from _of_kserve(joined, one)
    for one in joined.of("Service", group="serving.knative.dev"):
        notes = one.node.get("spec", "template", "metadata", "annotations")
        yield from _of_knative(joined, one, notes)
    for one in joined.of("NIMService", group="apps.nvidia.com"):
        yield from _of_nim(joined, one)
    for one in joined.of("SeldonDeployment"):
        yield from _of_seldon(joined, one)


class Read(NamedTuple):
    """What an autoscaler looks at; whether nobody wrote that, and what is taken then."""

    signals: tuple[Signal, ...] = ()
    silent: bool = False
    says: str = ""


def _of_hpa(spec: Node) -> Read:
    """Of an HPA of any version: `targetCPUUtilizationPercentage` of v1, `metrics` of v2 and its betas."""
    old = spec.get("targetCPUUtilizationPercentage")
    if old:
        return Read((Signal(old.at, "cpu"),))
    metrics = spec.get("metrics")
    if metrics.value is not None and not isinstance(metrics.value, list):
        return Read()
    found = tuple(_metric(metric) for metric in metrics.list())
    if found:
        return Read(found)
    return Read((Signal(spec.at, "cpu"),), silent=True, says=_defaults()["HorizontalPodAutoscaler"])


def _metric(metric: Node) -> Signal:
    for key in ("resource", "containerResource"):
        name = metric.get(key, "name")
        if name:
            return Signal(name.at, name.text)
    return Signal(metric.at, metric.get("type").text or "?")


def _of_keda(spec: Node) -> Read:
    """Of KEDA's triggers; the fallback only says how many there are while a trigger cannot be read."""
    found = tuple(
        Signal((one.get("type") or one).at, one.get("type").text or "?") for one in spec.get("triggers").list()
    )
    return Read(found)


def _of_aibrix(spec: Node) -> Read:
    sources = tuple(
        Signal((one.get("targetMetric") or one).at, one.get("targetMetric").text or "?")
        for one in spec.get("metricsSources").list()
    )
    old = spec.get("targetMetric")
    return Read(sources or ((Signal(old.at, old.text),) if old else ()))


def _to_target(joined: Cluster, one: Manifest, read: Read) -> Iterator[Autoscaler]:
    ref = one.node.get("spec", "scaleTargetRef")
    kind, name = ref.get("kind").text or "Deployment", ref.get("name")
    word = name.word()
    if not read.signals or word is None or not word.known:
        return
    for target, gpu in _owning(joined, one, kind, word.text):
        steps = (
            Step(one.at, f"{one.title} scales it"),
            Step(name.at, f"{target} is its target"),
            gpu,
        )
        yield Autoscaler(one.at, one.title, read.signals, target, steps, read.silent, read.says)


def _owning(joined: Cluster, by: Manifest, kind: str, name: str) -> Iterator[tuple[str, Step]]:
    """The target that owns a GPU: of all that the name could mean, only if every one does."""
    found = joined.named(by, kind, name, by.namespace)
    cards = [(one.title, gpu) for one in found if (gpu := card(joined, one)) is not None]
    if found:
        yield from cards[:1] if len(cards) == len(found) else ()
        return
    for surface in joined.surfaces:  # a Deployment that a controller makes
        gpu = _of_surface(surface) if generated(surface, name) else None
        if gpu is not None:
            yield surface.name, gpu
            return


def card(joined: Cluster, manifest: Manifest) -> Step | None:
    """Where an object's pods ask for a GPU, or start an engine that runs on one; None where they do neither."""
    for pod in joined.pods_of(manifest):
        for container in pod.containers:
            if container.has_gpu:
                return Step(container.hardware.places.get("gpus", container.node.at), "which asks for a GPU here")
    surface = joined.surface_of(manifest) if manifest.kind not in PATTERNS else None
    return _of_surface(surface) if surface else None


def _of_surface(surface: Surface) -> Step | None:
    if surface.gpu is not None:
        return Step(surface.gpu, "which asks for a GPU here")
    ran = next((one for one in surface.deployments if one.engine in OF_CARDS and one.accelerator is None), None)
    return Step(ran.places.get("engine", ran.at), f"which starts {ran.engine} here, an engine of GPUs") if ran else None


_EVICTS: Final = frozenset(("Auto", "Recreate", "InPlaceOrRecreate", ""))


def _of_vpa(joined: Cluster, one: Manifest) -> Iterator[Autoscaler]:
    """VPA sets CPU and memory by what was used, and evicts the pod to do so."""
    spec = one.node.get("spec")
    mode = spec.get("updatePolicy", "updateMode")
    ref = spec.get("targetRef")
    name = ref.get("name").word()
    if mode.text not in _EVICTS or name is None or not name.known:
        return
    at = mode.at if mode else one.at
    for target, gpu in _owning(joined, one, ref.get("kind").text or "Deployment", name.text):
        steps = (
            Step(at, f"{one.title} evicts pods to change their CPU and memory"),
            Step(ref.get("name").at, f"{target} is its target"),
            gpu,
        )
        yield Autoscaler(at, one.title, (Signal(at, "cpu"),), target, steps)


def _of_knative(joined: Cluster, one: Manifest, notes: Node) -> Iterator[Autoscaler]:
    gpu = card(joined, one)
    if gpu is None:
        return
    metric, class_ = notes.get(f"{_KNATIVE}metric"), notes.get(f"{_KNATIVE}class")
    steps = (Step((metric or class_ or notes).at, "Knative scales it by this"), gpu)
    if metric:
        yield Autoscaler(metric.at, one.title, (Signal(metric.at, metric.text),), one.title, steps)
    elif class_.text.startswith("hpa."):
        signal = Signal(class_.at, "cpu")
        yield Autoscaler(
            class_.at, one.title, (signal,), one.title, steps, silent=True, says=_defaults()["knative-hpa"]
        )


def _of_kserve(joined: Cluster, one: Manifest) -> Iterator[Autoscaler]:
    """An InferenceService: with Knative by its annotations, without it by an HPA that the controller makes."""
    gpu = card(joined, one)
    if gpu is None:
        return
    notes, predictor = one.node.get("metadata", "annotations"), one.node.get("spec", "predictor")
    yield from _of_knative(joined, one, notes)
    raw = is_raw(joined, one)
    class_ = notes.get(f"{_KSERVE}autoscalerClass")
    written = predictor.get("scaleMetric") or notes.get(f"{_KSERVE}metric")
    listed = tuple(_kserve_metric(metric) for metric in predictor.get("autoScaling", "metrics").list())
    steps = (Step(one.at, f"{one.title} is scaled by its controller"), gpu)
    if written:
        yield Autoscaler(written.at, one.title, (Signal(written.at, written.text),), one.title, steps)
    elif listed and (class_.text == "keda" or any(signal.of_host for signal in listed)):
        yield Autoscaler(listed[0].at, one.title, listed, one.title, steps)
    elif class_.text == "hpa" or (raw and not class_ and _may_scale(predictor)):
        mode = notes.get(f"{_KSERVE}deploymentMode")
        at = (class_ or mode).at if class_ or mode else one.at
        says = _defaults()["kserve-dropped" if listed else "kserve-hpa"]
        yield Autoscaler(at, one.title, (Signal(at, "cpu"),), one.title, steps, silent=True, says=says)


def _may_scale(predictor: Node) -> bool:
    """Whether the HPA that KServe makes can ever add a pod (hpa_reconciler.go, createHPA: at most what is least)."""
    least, most = predictor.get("minReplicas").number(), predictor.get("maxReplicas").number()
    floor = max(least, 1) if isinstance(least, int) else 1
    return isinstance(least, Unknown) or isinstance(most, Unknown) or (most is not None and most > floor)


def _kserve_metric(metric: Node) -> Signal:
    name = metric.get("resource", "name")
    return Signal(name.at, name.text) if name else Signal(metric.at, metric.get("type").text or "?")


def is_raw(joined: Cluster, one: Manifest) -> bool:
    """Whether a service of KServe runs without Knative, by its own annotation or by the repository's configuration."""
    mode = one.node.get("metadata", "annotations", f"{_KSERVE}deploymentMode")
    return mode.text in _RAW or (not mode and _raw_by_default(joined))


def _raw_by_default(joined: Cluster) -> bool:
    """Whether the repository's own configuration of KServe has services run without Knative."""
    for one in joined.of("ConfigMap"):
        if one.name == "inferenceservice-config":
            try:
                held = json.loads(one.node.get("data", "deploy").text or "{}")
            except (ValueError, RecursionError):
                continue
            if isinstance(held, dict) and held.get("defaultDeploymentMode") in _RAW:
                return True
    return False


def _of_nim(joined: Cluster, one: Manifest) -> Iterator[Autoscaler]:
    scale, gpu = one.node.get("spec", "scale"), card(joined, one)
    hpa = scale.get("hpa")
    if scale.get("enabled").value is not True or not hpa or gpu is None:
        return
    read = _of_hpa(hpa)
    steps = (Step(hpa.at, f"{one.title} is scaled by this"), gpu)
    if read.signals:
        yield Autoscaler(hpa.at, one.title, read.signals, one.title, steps, read.silent, read.says)


def _of_seldon(joined: Cluster, one: Manifest) -> Iterator[Autoscaler]:
    gpu = card(joined, one)
    if gpu is None:
        return
    for predictor in one.node.get("spec", "predictors").list():
        for component in predictor.get("componentSpecs").list():
            hpa = component.get("hpaSpec")
            found = [_metric(metric) for key in ("metrics", "metricsv2") for metric in hpa.get(key).list()]
            if found:
                steps = (Step(hpa.at, f"{one.title} is scaled by this"), gpu)
                yield Autoscaler(hpa.at, one.title, tuple(found), one.title, steps)
