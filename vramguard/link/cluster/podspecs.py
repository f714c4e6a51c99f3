"""Pods that serve a model, container by container: what they ask for, what they mount, what runs in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts import Deployment, Manifest
from vramguard.facts.nodes import Node
from vramguard.link.cluster import Pod, Surface, cluster
from vramguard.link.cluster.pods import PATTERNS, Container

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.cluster import Cluster
    from vramguard.source import Location


_GPU_RESOURCE: Final = re.compile(
    r"(?:nvidia|amd)\.com/(?:gpu|mig-)|gpu\.intel\.com/|/[\w.-]*gpu[\w.-]*$", re.IGNORECASE
)
_WEIGHTS: Final = re.compile(
    r"(?:^|[/_.-])(?:models?|weights?|checkpoints?|ckpts?|hugging[-_]?face|hf|hub|llms?|safetensors|gguf|ollama)(?:$|[/_.-])",
    re.IGNORECASE,
)
_MUTABLE: Final = frozenset(
    ("", "latest", "main", "master", "dev", "develop", "nightly", "edge", "stable", "staging", "prod", "production")
)
_RELEASE: Final = re.compile(r"\d[.-]\d")
_DIGEST: Final = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True)
class Served:
    """One pod of a surface and the container in it that serves. `deployment`: what it runs, where that is known."""

    surface: Surface
    manifest: Manifest
    pod: Pod
    container: Container
    deployment: Deployment | None

    @property
    def has_gpu(self) -> bool:
        """Whether the container asks for a card."""
        return self.container.has_gpu

    @property
    def engine(self) -> str | None:
        """The container's engine, or that of its surface."""
        own = self.deployment.engine if self.deployment else None
        return own if isinstance(own, str) else self.surface.engine

    @property
    def role(self) -> str:
        """What tells it from the other pods of its surface: `LeaderWorkerSet/llama/workerTemplate`."""
        keys = [str(key) for key in self.pod.spec.keys if isinstance(key, str)]
        named = self.pod.holder.get("name").text or next((key for key in reversed(keys) if key not in _PLAIN_KEYS), "")
        return f"{self.surface.name}/{named}" if len(self.surface.pods) > 1 and named else self.surface.name

    @property
    def is_worker(self) -> bool:
        """Whether it is a follower of a group, which nobody asks: its leader answers for it."""
        return any(key in _FOLLOWERS for key in self.pod.spec.keys)


_PLAIN_KEYS: Final = frozenset(("spec", "template"))
_FOLLOWERS: Final = frozenset(("workerTemplate", "workerGroupSpecs", "workerSpec"))


def served(facts: Facts) -> list[Served]:
    """Every container that serves a model in a pod of this repository's objects, one of each pod."""
    return facts.once("served pods", lambda facts: list(_served(cluster(facts))))


def _served(joined: Cluster) -> Iterator[Served]:
    seen: set[tuple[Location, Location]] = set()
    for surface in joined.surfaces:
        manifest = surface.manifest
        if manifest is None or manifest.kind in PATTERNS:
            continue
        for pod in surface.pods:
            container, ran = _serving(pod, surface.deployments)
            if container is None or is_patched(manifest, container) or _claims_others(joined, manifest, pod):
                continue
            key = (pod.spec.at, container.node.at)
            if key not in seen:
                seen.add(key)
                yield Served(surface, manifest, pod, container, ran)


_CLAIMS: Final = (("resourceClaimTemplateName", "ResourceClaimTemplate"), ("resourceClaimName", "ResourceClaim"))


def _claims_others(joined: Cluster, manifest: Manifest, pod: Pod) -> bool:
    """Whether every device that a pod claims is known to be no GPU: a Gaudi, a TPU, a network card."""
    classes = [
        request.get("exactly", "deviceClassName").text or request.get("deviceClassName").text
        for claim in pod.spec.get("resourceClaims").list()
        for key, kind in _CLAIMS
        if (name := claim.get(key).text)
        for held in joined.named(manifest, kind, name, manifest.namespace)
        for spec in (held.node.get("spec", "spec"), held.node.get("spec"))
        for request in spec.get("devices", "requests").list()
    ]
    return bool(classes) and not any("gpu" in one or "mig" in one for one in classes)


def _serving(pod: Pod, deployments: tuple[Deployment, ...]) -> tuple[Container | None, Deployment | None]:
    """The container of a pod that serves, and what it runs: the one with a card, else the one with an engine."""
    ran = {id(one): found for found in deployments if (one := _around(pod, found.at)) is not None}
    container = next((one for one in pod.containers if one.has_gpu), None)
    container = container or next((one for one in pod.containers if id(one) in ran), None)
    return container, ran.get(id(container)) if container else None


def _around(pod: Pod, at: Location) -> Container | None:
    """The container within which a place stands: the last that begins before it."""
    before = [one for one in pod.containers if one.node.at.path == at.path and one.node.at.line <= at.line]
    return max(before, key=lambda one: one.node.at.line, default=None)


def is_patched(manifest: Manifest, container: Container) -> bool:
    """Whether a container stands in the patch of an overlay: what it lacks may stand in the base, judged by itself."""
    return bool(manifest.overlay) and not manifest.guessed and container.node.at.path != manifest.at.path


@dataclass(frozen=True)
class Resources:
    """What is wrong with a GPU container's resources, each with its place; None where it is right or not known."""

    only_requested: Node | None  # the card in `requests`, without one in `limits`
    memory: Node | None  # where a limit on memory belongs
    node: Node  # `limits`, or what is nearest to it
    whole: Node  # all that is asked for, or what is nearest to it


def resources(holder: Node) -> Resources:
    """The resources of a container that asks for a card, or of an object that says them for its pods."""
    node = holder.get("resources")
    limits, requests = node.get("limits"), node.get("requests")
    asked = next((one for name, one in requests.items() if _GPU_RESOURCE.search(name)), None)
    limited = any(_GPU_RESOURCE.search(name) for name, _ in limits.items())
    claimed = bool(node.get("claims").value) or bool(limits.word())
    place = limits or node or holder
    known = not limits or isinstance(limits.value, dict)
    return Resources(
        asked if asked is not None and not limited and not claimed else None,
        place if known and not limits.get("memory") else None,
        place,
        node or holder,
    )


def tensor_parallel(one: Served) -> int | None:
    """Cards that each layer of the model is split across within the container's machine; None where nobody says."""
    size = one.deployment.tensor_parallel_size if one.deployment else None
    return size if isinstance(size, int) else None


def shares_memory(one: Served) -> bool:
    """Whether the container has more /dev/shm than a runtime gives (64 MB), or may have: its mounts are not known."""
    spec = one.pod.spec
    mounts = one.container.node.get("volumeMounts")
    if spec.get("hostIPC").value is True or mounts.word() is not None:
        return True
    return any(mount.get("mountPath").text.rstrip("/") == "/dev/shm" for mount in mounts.list())  # noqa: S108


def composed(joined: Cluster) -> Iterator[tuple[Surface, Node]]:
    """Every service of a compose file that serves a model, with what is written of it."""
    files = {manifest.at.path: manifest.node.get("services") for manifest in joined.configured("compose")}
    for surface in joined.surfaces:
        if surface.manifest is None and surface.launches and surface.launches[0].form == "compose":
            service = files[surface.at.path].get(surface.name) if surface.at.path in files else None
            if service:
                yield surface, service


def lacks_shared_memory(surface: Surface, service: Node) -> bool:
    """Whether a service of compose splits a model over cards with the 64 MB of /dev/shm that Docker gives."""
    given = service.get("ipc") or service.get("shm_size") or service.get("extends")
    mounts = [word.text for key in ("volumes", "tmpfs") for word in service.get(key).words()]
    mounts += [one.get("target").text for one in service.get("volumes").list()]
    return surface.tensor_parallel_size > 1 and not given and not any("/dev/shm" in text for text in mounts)  # noqa: S108


def host_weights(one: Served) -> Iterator[tuple[Node, str]]:
    """Folders of the node from which the container has its weights, and where they are mounted."""
    mounted = {
        mount.get("name").text: mount.get("mountPath").text for mount in one.container.node.get("volumeMounts").list()
    }
    for volume in one.pod.spec.get("volumes").list():
        path = volume.get("hostPath", "path")
        inside = mounted.get(volume.get("name").text)
        if path and inside and not path.text.startswith("/dev/") and _is_of_weights(one, volume, path.text, inside):
            yield path, inside


def _is_of_weights(one: Served, volume: Node, outside: str, inside: str) -> bool:
    model = one.deployment.model if one.deployment else None
    if isinstance(model, str) and inside and model.startswith(f"{inside.rstrip('/')}/"):
        return True
    names = (volume.get("name").text, outside, inside)
    return any(_WEIGHTS.search(name) for name in names) and not outside.endswith(".sock")


def moving_image(one: Served) -> Node | None:
    """The container's image, where its tag says nothing of what it holds; None for a fixed one, or an unknown one."""
    image = one.container.node.get("image")
    word = image.word()
    if word is None or not word.known or _DIGEST.search(word.text):
        return None
    tag = word.text.rpartition("/")[2].partition(":")[2]
    return image if tag.lower() in _MUTABLE else None


def untagged(one: Served) -> bool:
    """Whether the image has no tag and nobody says when to pull: kubernetes then does at every start.

    Not one whose name has a release in it, nor what somebody has yet to fill in (`IMAGE_NAME`).
    """
    name = one.container.node.get("image").text.rpartition("/")[2]
    plain = name and ":" not in name and "@" not in name and name != name.upper()
    return bool(plain) and not _RELEASE.search(name) and not one.container.node.get("imagePullPolicy")


def pull_policy(one: Served) -> Node | None:
    """`imagePullPolicy: Always`, or None."""
    policy = one.container.node.get("imagePullPolicy")
    return policy if policy.text == "Always" else None


_PLAIN: Final = frozenset(("nvidia.com/gpu", "amd.com/gpu", "gpu", "nvidia.com/gpu.present"))


def chooses_nodes(one: Served) -> bool:
    """Whether the pod says on which nodes it may run, by more than that they have some GPU."""
    spec = one.pod.spec
    if one.container.hardware.gpu is not None or spec.get("nodeName") or spec.get("resourceClaims").value:
        return True
    if any(node.word() and name not in _PLAIN for name, node in spec.get("nodeSelector").items()):
        return True
    wanted = spec.get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution").value
    tolerated = [one_.get("key").text for one_ in spec.get("tolerations").list()]
    return bool(wanted) or any(key and key not in _PLAIN for key in tolerated)


def lacks_cards(one: Served) -> bool:
    """Whether the container asks for no card of any kind, counted, claimed or by the node's runtime."""
    hardware = one.container.hardware
    asked = hardware.gpus is not None or "gpus" in hardware.places or hardware.accelerator is not None
    resources = one.container.node.get("resources")
    return not asked and all(node.word() is None for node in (resources, resources.get("limits")))
