"""Serving surfaces: the places of a repository that answer users with what a model says, on a GPU or without one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts import Deployment, Launch, Manifest, Unknown
from vramguard.link.cluster.charted import charted
from vramguard.link.cluster.composed import OTHERS, services
from vramguard.link.cluster.pods import BATCH, PATTERNS, Pod
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.cluster import Cluster
    from vramguard.link.cluster.pods import Container

# Kinds that are there to serve a model, whatever runs in them.
SERVING: Final = frozenset(
    (
        *("InferenceService", "LLMInferenceService", "RayService", "NIMService", "NIMPipeline"),
        *("DynamoGraphDeployment", "SeldonDeployment", "VLLMRuntime", "ModelService", "InferenceGraph"),
        *("DynamoComponentDeployment", "BentoDeployment", "StormService", "RayClusterFleet", "ModelClaim"),
        *("InferenceSet", "MultiRoleInference", "Workspace"),
    )
)
# Kinds that run a server as long as it is asked for; it serves a model if what it runs does.
RUNNING: Final = frozenset(
    (
        *("Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "Rollout", "LeaderWorkerSet", "Service", "Pod"),
        *("Model", "StormService", "RayClusterFleet"),
    )
)
# Engines that run on cards alone, or fall back to the CPU without a word.
OF_CARDS: Final = frozenset(("vllm", "sglang", "tgi", "tensorrt-llm", "nim", "triton"))
# Engines that answer in tokens.
STREAMING: Final = frozenset(("vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp", "nim", "ollama", "lmdeploy"))


@dataclass(frozen=True)
class Surface:
    """One object that serves a model. `gpu`: where it asks for a card, None where it runs without one.

    `manifest` is None for what is no object of a cluster (a service of compose, the values of a chart).
    """

    at: Location
    name: str  # `Deployment/llama`
    manifest: Manifest | None
    pods: tuple[Pod, ...] = ()
    gpu: Location | None = None
    gpus: int | Unknown | None = None
    deployments: tuple[Deployment, ...] = ()
    launches: tuple[Launch, ...] = ()

    @property
    def engine(self) -> str | None:
        """The engine that serves, None where it is not known."""
        return next((one.engine for one in self.deployments if isinstance(one.engine, str)), None)

    @property
    def streams(self) -> bool:
        """Whether it answers in tokens, whose budget is one on the first: by its engine, else by its name."""
        if self.engine is not None:
            image = self.container.node.get("image").text if self.container else ""
            return self.engine in STREAMING and not _AT_ONCE.search(f"{self.name} {image}")
        runtime = self.manifest.node.get("spec", "predictor", "model", "runtime").text if self.manifest else ""
        return _LANGUAGE.search(f"{self.name} {runtime}") is not None

    @property
    def tensor_parallel_size(self) -> int:
        """Cards that one layer is split across; 1 where none is written."""
        return max((n for one in self.deployments if isinstance(n := one.tensor_parallel_size, int)), default=1)

    @property
    def container(self) -> Container | None:
        """The container that serves: the one with a card, else the first."""
        held = [container for pod in self.pods for container in pod.containers]
        return next((one for one in held if one.has_gpu), held[0] if held else None)


_AT_ONCE: Final = re.compile(r"embed|re-?rank", re.IGNORECASE)  # models of language that answer with numbers
_LANGUAGE: Final = re.compile(
    r"llm|llama|qwen|mi[sx]tral|gemma|deepseek|falcon|(?<![a-z])(?:gpt|phi|chat|openai)(?![a-z])", re.IGNORECASE
)


def surfaces(cluster: Cluster) -> Iterator[Surface]:
    """Every surface: objects of a cluster, then what is served without one.

    What a chart's values ask for is the object's that its templates make of them, where those can be read.
    """
    deployments: dict[tuple[str, str], list[Deployment]] = {}
    from vramguard.link.cluster import owner_of

    valued = charted(cluster)
    for one in cluster.facts.of(Deployment):
        if not one.declared and not one.pattern:
            deployments.setdefault((one.at.path, owner_of(one.name)), []).append(one)
    seen: set[tuple[str, str]] = set()
    for manifest in cluster.objects():
        keys = [(manifest.at.path, manifest.title), *valued.of.get(id(manifest), ())]
        found = _of_object(cluster, manifest, keys, [one for key in keys for one in deployments.get(key, ())])
        if found:
            seen.update(keys)
            yield found
        seen.add(keys[0])  # an object that serves nothing, however it is asked
    open_ = {(one.at.path, each.name): each for one in cluster.configured("compose") for each in services(one)}
    for key, ran in cluster.launches.items():
        if key in seen or key in valued.spoken_for:
            continue
        open_service = open_.pop(key, None)
        if other := _of_launches(key[1], ran, deployments.get(key, []), answers=open_service is not None):
            yield other
    for service in open_.values():  # of files in which no engine is named
        if service.gpu is not None:
            yield Surface(service.at, service.name, None, (), service.gpu, service.gpus)


def _has_cards(launch: Launch) -> bool:
    """Whether it asks for GPUs: so many, or all that there are."""
    hardware = launch.hardware
    return hardware.accelerator is None and hardware.gpus != 0 and bool(hardware.gpus or "gpus" in hardware.places)


def _of_object(
    cluster: Cluster, manifest: Manifest, keys: list[tuple[str, str]], deployments: list[Deployment]
) -> Surface | None:
    kind = manifest.kind
    if kind in BATCH or kind in PATTERNS or (kind not in SERVING and kind not in RUNNING):
        return None
    if any(one.training for one in deployments) or (kind == "Workspace" and not manifest.node.get("inference")):
        return None
    held = tuple(cluster.pods_of(manifest))
    ran = tuple(launch for key in keys for launch in cluster.launches.get(key, ()))
    container = next((one for pod in held for one in pod.containers if one.has_gpu), None)
    launch = next(filter(_has_cards, ran), None)
    asked = container.hardware if container else launch.hardware if launch else None
    if kind not in SERVING and not deployments and not (asked and _answers(cluster, manifest, held)):
        return None
    if container is not None and not deployments and OTHERS.search(container.node.get("image").text):
        return None
    gpu = asked.places.get("gpus", manifest.at) if asked else _machine(manifest)
    gpus = asked.gpus if asked else None
    return Surface(manifest.at, manifest.title, manifest, held, gpu, gpus, tuple(deployments), ran)


def _machine(manifest: Manifest) -> Location | None:
    """Where KAITO is told which machines to start: it takes none without a GPU (presets of its own need one)."""
    node = manifest.node
    places = (node.get("resource"), node.get("spec", "template", "resource"), node.get("spec", "roles", 0))
    machine = next((place.get("instanceType") or place for place in places if place), None)
    return machine.at if machine and manifest.group == "kaito.sh" else None


def _answers(cluster: Cluster, manifest: Manifest, held: tuple[Pod, ...]) -> bool:
    """Whether what owns a card is asked by others: it has a port, or a Service sends to it."""
    if any(container.node.get("ports").value for pod in held for container in pod.containers):
        return True
    return id(manifest) in cluster.asked


_UNSERVED: Final = frozenset(("kubernetes", "workflow", "shell", "makefile", "dockerfile", "python", "argo", "tekton"))


def _of_launches(name: str, ran: list[Launch], deployments: list[Deployment], *, answers: bool) -> Surface | None:
    """What a chart's values, a compose file or a tool's own configuration serves. `answers`: it has a port."""
    with_cards = next(filter(_has_cards, ran), None)
    if not deployments and not (answers and with_cards):
        return None
    if ran[0].form in _UNSERVED or name.partition("/")[0] in BATCH or any(one.training for one in deployments):
        return None
    gpu = with_cards.hardware.places.get("gpus", with_cards.at) if with_cards else None
    gpus = with_cards.hardware.gpus if with_cards else None
    return Surface(ran[0].at, name, None, (), gpu, gpus, tuple(deployments), tuple(ran))


def generated(surface: Surface, host: str) -> bool:
    """Whether a host is one that a controller makes for the surface: `llama-predictor` of an InferenceService."""
    if surface.manifest is None or surface.manifest.kind not in SERVING:
        return False
    name = host.partition(".")[0]
    return name == surface.manifest.name or name.startswith(f"{surface.manifest.name}-")
