"""Kinds whose pods stand in templates: Kubernetes' own, groups of pods, training jobs, and any other that has one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.kubernetes.pods import named, pod, template
from vramguard.facts import Launch, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts.nodes import Node

_MAX_DEPTH = 12  # at which a custom resource may hide a pod template
_SIZES = ("podGroupSize", "groupSize")  # how many pods a custom resource's template makes one replica of


def plain(manifest: Node) -> Iterator[Launch]:
    """A Pod itself, or every pod template within the object, whatever its kind."""
    owner = named(manifest)
    if manifest.get("spec", "containers").value:
        yield from template(manifest, owner)
        return
    found = list(templates(manifest.get("spec"), _MAX_DEPTH))
    for holder, spec, notes in found:
        part = holder.get("name").text if len(found) > 1 else ""
        size = next((node for name in _SIZES if (node := holder.get(name))), None)
        launches = pod(spec, replace(owner, name=f"{owner.name}/{part}") if part else owner, notes)
        yield from (grouped(launch, size) for launch in launches) if size else launches


def templates(node: Node, depth: int) -> Iterator[tuple[Node, Node, Node]]:
    """Every PodSpec within, in a pod's template or by itself: what holds it, the spec, and the pod's annotations."""
    if depth < 0 or not isinstance(node.value, dict | list):
        return
    children = [child for _, child in node.items()] or list(node.list())
    for child in children:
        if isinstance(child.get("spec", "containers").value, list):
            yield node, child.get("spec"), child.get("metadata", "annotations")
        elif child.get("containers", 0, "image"):
            yield node, child, child.get("annotations")
        else:
            yield from templates(child, depth - 1)


def grouped(launch: Launch, size: Node) -> Launch:
    """The launch as one of a group of so many pods that serve a model together."""
    hardware = launch.hardware
    places = {**hardware.places, "nodes": size.at}
    return replace(launch, hardware=replace(hardware, nodes=size.number(), places=places))


def computes(launch: Launch) -> bool:
    """Whether a container has cards, or a word of an engine: a proxy or a sidecar has neither."""
    texts = [word.text for word in (*launch.command, launch.image) if word]
    wants = launch.hardware.gpus is not None or launch.hardware.accelerator is not None
    return wants or mentions("\n".join(texts))


def leader_worker_set(manifest: Node) -> Iterator[Launch]:
    """Groups of a leader and its workers: the leader's container stands for all, its workers only join it."""
    group = manifest.get("spec", "leaderWorkerTemplate")
    owner = named(manifest)
    workers = list(template(group.get("workerTemplate"), owner))
    leaders = list(template(group.get("leaderTemplate"), owner))
    size = group.get("size")
    chosen = leaders if any(map(computes, leaders)) else [*leaders, *workers]
    for launch in chosen:
        yield _with_group(_with_cards(launch, workers), size)


def _with_group(launch: Launch, size: Node) -> Launch:
    """Its size, and the variables by which the controller tells it (LeaderWorkerSet API, v1)."""
    if not size:
        return launch
    word = size.word()
    told = {"LWS_GROUP_SIZE": word} if word else {}
    return grouped(replace(launch, env={**told, **launch.env}), size)


def _with_cards(launch: Launch, workers: list[Launch]) -> Launch:
    """A leader that has no cards itself leads those of its workers."""
    cards = next((worker.hardware for worker in workers if worker.hardware.gpus), None)
    own = launch.hardware
    if cards is None or own.gpus or own.accelerator or not computes(launch):
        return launch
    return replace(launch, hardware=cards)


def knative(manifest: Node) -> Iterator[Launch]:
    """A service of Knative: its template is a pod's."""
    yield from template(manifest.get("spec", "template"), named(manifest))


def replicas(manifest: Node) -> Iterator[Launch]:
    """A job of Kubeflow's training operator: the replicas of all roles compute together, the first role leads."""
    spec = manifest.get("spec")
    roles = [node for name, held in spec.items() if name.endswith("ReplicaSpecs") for _, node in held.items()]
    owner = named(manifest)
    found = [(role, list(template(role.get("template"), owner))) for role in roles]
    pods = [role.get("replicas").number() for role, launches in found if any(_has_cards(launch) for launch in launches)]
    known = [number if number is not None else 1 for number in pods]
    nodes = sum(number for number in known if isinstance(number, int))
    cards = next((launch.hardware for _, launches in found for launch in launches if _has_cards(launch)), None)
    for _, launches in found[:1]:
        for launch in launches:
            hardware = launch.hardware if _has_cards(launch) or cards is None else cards
            unknown = next((number for number in known if isinstance(number, Unknown)), None)
            yield replace(launch, hardware=replace(hardware, nodes=unknown or nodes or None))


def _has_cards(launch: Launch) -> bool:
    return launch.hardware.gpus is not None


def train_job(manifest: Node) -> Iterator[Launch]:
    """A TrainJob: a trainer whose container and pods come from a runtime elsewhere."""
    from vramguard.extract.kubernetes.hardware import of_resources
    from vramguard.extract.kubernetes.pods import container_launch

    trainer = manifest.get("spec", "trainer")
    if not trainer:
        return
    hardware = of_resources(trainer.get("resourcesPerNode"), trainer)
    launch = container_launch(trainer, trainer, named(manifest), hardware)
    nodes = trainer.get("numNodes")
    yield grouped(launch, nodes) if nodes else launch


def flag(name: str, node: Node) -> Iterator[Word]:
    """A field of a mapping of engine arguments, as the flag that it becomes: `max_model_len: 8` is `--max-model-len=8`.

    False is the flag's opposite; nothing is said of null.
    """
    name = "--" + name.lstrip("-").replace("_", "-")
    if isinstance(node.value, bool):
        yield Word(name if node.value else name.replace("--", "--no-", 1), node.at)
    elif (word := node.word()) is not None:
        yield Word(f"{name}={word.text}", word.at, word.known)
    elif node.value is not None:
        import json

        yield Word(f"{name}={json.dumps(node.value, default=str)}", node.at)
