"""What a pack has to know of a surface, in words that may stand in YAML: names that are none are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from vramguard.facts.values import UNREAD
from vramguard.link.cluster import Surface, cluster
from vramguard.link.routes.targets import Targets

if TYPE_CHECKING:
    from vramguard.facts import Facts, Manifest
    from vramguard.link.cluster import Cluster

_NAME: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[-\w./]{0,250}[A-Za-z0-9])?")
_PREDICTOR: Final = 8080  # of KServe, where a container names none
# Ports on which engines export metrics (data/engines.toml has those on which they serve).
_PORTS: Final = {"vllm": 8000, "sglang": 30000, "tgi": 80, "triton": 8002}

_REPLICAS: Final = ("-[0-9a-z]+-[0-9a-z]{5}", "-7d9f8b6c5d-x2x4z")  # of a ReplicaSet, which has a name of its own
_PODS: Final = {
    "Deployment": _REPLICAS,
    "Rollout": _REPLICAS,
    "StatefulSet": ("-[0-9]+", "-0"),
    "Pod": ("", ""),
    "InferenceService": ("-predictor-.*", "-predictor-0"),
}

_TOKENS: Final = re.compile(
    r"llm|chat|gpt|llama|mistral|mixtral|qwen|gemma|deepseek|nemotron|falcon|granite|instruct|completion|text-?generation"
)
_NO_TOKENS: Final = re.compile(r"embed|rerank|classif|reward|guard")


@dataclass(frozen=True)
class Served:
    """One surface. `labels` select its pods; empty where nobody knows. `port`: the name or the number for metrics."""

    surface: Surface
    name: str
    namespace: str = ""
    engine: str = ""
    version: str = ""
    streams: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    port: str | int = ""
    service: str = ""  # the Service that sends to it
    service_port: int | None = None
    composed: bool = False

    @property
    def title(self) -> str:
        """`Deployment/llama`."""
        return self.surface.name

    @property
    def parallel(self) -> bool:
        """Whether a layer is split across cards."""
        return self.surface.tensor_parallel_size > 1

    @property
    def pods(self) -> str:
        """A pattern of its pods' names, and of no other workload's whose name begins with its own."""
        kind = self.surface.manifest.kind if self.surface.manifest else ""
        return self.name + _PODS.get(kind, ("-.*", ""))[0]

    @property
    def a_pod(self) -> str:
        """The name of one of its pods, as they might be called."""
        kind = self.surface.manifest.kind if self.surface.manifest else ""
        return self.name + _PODS.get(kind, ("", "-0"))[1]

    def host(self, default: str = "default") -> str:
        """The full name of its Service."""
        return f"{self.service}.{self.namespace or default}.svc.cluster.local"


def served(facts: Facts, *, gpu: bool = False) -> list[Served]:
    """The surfaces that are somebody's to mend, each name once; `gpu`: those with a card alone."""
    graph = cluster(facts)
    found: dict[tuple[str, str], Served] = {}
    targets = Targets(graph)
    for surface in graph.gpu_surfaces if gpu else graph.surfaces:
        if facts.classify(surface.at.path) not in UNREAD and (one := _served(graph, targets, surface)):
            found.setdefault((one.name, one.namespace), one)
    return list(found.values())


def _served(graph: Cluster, targets: Targets, surface: Surface) -> Served | None:
    manifest = surface.manifest
    name = manifest.name if manifest else surface.name.partition(" (")[0].rpartition("/")[2].lower()
    if not _NAME.fullmatch(name):
        return None
    engine = surface.engine or ""
    version = next((text for one in surface.deployments if isinstance(text := one.engine_version, str)), "")
    streams = _streams(targets, surface)
    composed = manifest is None and bool(surface.launches) and surface.launches[0].form == "compose"
    if manifest is None:
        port = _PORTS.get(engine, 8000) if composed else ""
        return Served(surface, name, engine=engine, version=version, streams=streams, port=port, composed=composed)
    namespace = manifest.namespace if _NAME.fullmatch(manifest.namespace) else ""
    service, number = _service(graph, surface)
    labels = _labels(surface)
    port = _port(surface)
    return Served(surface, name, namespace, engine, version, streams, labels, port, service, number)


def _streams(targets: Targets, surface: Surface) -> bool:
    """Whether a surface answers in tokens: also by the words of its name, its image and its model.

    Half a second for the whole of an answer would end every one of a language model: in doubt it is one.
    """
    images = [launch.image.text for launch in surface.launches if launch.image]
    models = [one.model for one in surface.deployments if isinstance(one.model, str)]
    words = " ".join((surface.name, *images, *models)).lower()
    named = bool(_TOKENS.search(words)) and not _NO_TOKENS.search(surface.name.lower())
    return named or targets.of_surface(surface).streams


def _labels(surface: Surface) -> dict[str, str]:
    """The labels that select a surface's pods: what its own selector asks for, else what a controller sets."""
    manifest = surface.manifest
    if manifest is None:
        return {}
    if manifest.kind == "InferenceService":
        return {"serving.kserve.io/inferenceservice": manifest.name}
    asked = {key: node.text for key, node in manifest.node.get("spec", "selector", "matchLabels").items()}
    held = asked or (dict(surface.pods[0].labels) if surface.pods else {})
    return {key: value for key, value in held.items() if _LABEL.fullmatch(key) and _LABEL.fullmatch(value)}


def _port(surface: Surface) -> str | int:
    """Where a surface exports metrics: by the name of the port, where it has one."""
    default = _PORTS.get(surface.engine or "")
    ports = list(surface.container.node.get("ports").list()) if surface.container else []
    numbers = {node.get("containerPort").number(): node.get("name").text for node in ports}
    if surface.engine == "triton" and 8002 in numbers:  # noqa: PLR2004 - its port for metrics
        return numbers[8002] or 8002
    for number, name in numbers.items():
        if isinstance(number, int) and surface.engine != "triton":
            return name if _NAME.fullmatch(name) else number
    kserve = surface.manifest is not None and surface.manifest.kind == "InferenceService"
    return default if default and not kserve else _PREDICTOR if kserve else 8000


def _service(graph: Cluster, surface: Surface) -> tuple[str, int | None]:
    """The Service that sends to a surface, and its first port."""
    manifest = surface.manifest
    if manifest is None:
        return "", None
    if manifest.kind == "InferenceService":
        return f"{manifest.name}-predictor", 80
    if manifest.kind == "Service":  # Knative's
        return manifest.name, 80
    for service in _near(graph, manifest):
        if manifest in graph.behind(service) and _NAME.fullmatch(service.name):
            number = service.node.get("spec", "ports", 0, "port").number()
            return service.name, number if isinstance(number, int) else None
    return "", None


def _near(graph: Cluster, manifest: Manifest) -> list[Manifest]:
    """Every Service, one without a head last: it answers with all pods at once, and nothing can be taken out of it."""
    services = graph.of("Service", group="")
    return sorted(services, key=lambda one: (one.node.get("spec", "clusterIP").text == "None", one.at != manifest.at))
