"""NVIDIA's NIM operator: services, pipelines of them, and the caches that hold their models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes.hardware import of_resources
from vramguard.extract.kubernetes.pods import Owner, container_launch, named
from vramguard.extract.kubernetes.workloads import grouped
from vramguard.facts import Texts, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Hardware, Launch
    from vramguard.facts.nodes import Node

FORM = "nim"
CACHES = "nim-cache"  # the form of the Texts that say what a NIMCache holds


def service(manifest: Node) -> Iterator[Launch]:
    """A NIMService."""
    yield _service(manifest.get("spec"), named(manifest, FORM))


def pipeline(manifest: Node) -> Iterator[Launch]:
    """A NIMPipeline: every service of it that is enabled."""
    for held in manifest.get("spec", "services").list():
        if held.get("enabled").value is not False:
            name = "/".join(filter(None, (named(manifest).name, held.get("name").text)))
            yield _service(held.get("spec"), Owner(FORM, name))


def _service(spec: Node, owner: Owner) -> Launch:
    hardware = of_resources(spec.get("resources"), spec)
    for claim in spec.get("draResources").list():
        if hardware.gpus is None:
            hardware = _claimed(hardware, claim)
    launch = container_launch(spec, spec, owner, hardware)
    cache = spec.get("storage", "nimCache", "name").text
    launch = replace(launch, image=image(spec.get("image")), joins={"nim-cache": cache} if cache else {})
    return _multinode(launch, spec.get("multiNode"))


def _claimed(hardware: Hardware, claim: Node) -> Hardware:
    """Cards that are claimed: by an object of its own, which a join has to find, or by one that the operator makes."""
    name = claim.get("resourceClaimTemplateName") or claim.get("resourceClaimName")
    if name:
        return replace(hardware, gpus=Unknown(name.text), places={**hardware.places, "gpus": name.at})
    devices = list(claim.get("claimCreationSpec", "devices").list())
    if not devices:
        return hardware
    counts = [device.get("count").number() or 1 for device in devices]
    gpus = next((count for count in counts if isinstance(count, Unknown)), None)
    total = gpus or sum(count for count in counts if isinstance(count, int))
    hardware = replace(hardware, gpus=total, places={**hardware.places, "gpus": devices[0].at})
    chosen = devices[0].get("celExpressions", 0) or devices[0].get("attributeSelectors", 0, "value", "stringValue")
    if chosen and hardware.gpu is None:
        hardware = replace(hardware, gpu=Unknown(chosen.text), places={**hardware.places, "gpu": chosen.at})
    return hardware


def image(node: Node) -> Word | None:
    """An image whose name and tag stand apart, as one word where its name stands."""
    name = (node.get("repository") or node.get("name")).word()
    if name is None:
        return node.word()
    registry, tag = node.get("registry").word(), node.get("tag").word()
    text = f"{registry.text}/{name.text}" if registry and registry.text else name.text
    known = all(word.known for word in (registry, name, tag) if word)
    return replace(name, text=f"{text}:{tag.text}" if tag else text, known=known, first=None)


def _multinode(launch: Launch, group: Node) -> Launch:
    """A group of pods: stages of a pipeline, one pod each with `tensor` cards; or as many pods as are written."""
    if not group:
        return launch
    stages, ranks = group.get("parallelism", "pipeline"), group.get("parallelism", "tensor")
    stated = {"pipeline_parallel_size": stages.word(), "tensor_parallel_size": ranks.word()}
    launch = replace(launch, given={field: word for field, word in stated.items() if word})
    size = stages or group.get("size")
    cards = group.get("gpusPerPod") or ranks
    if cards and launch.hardware.gpus is None:
        places = {**launch.hardware.places, "gpus": cards.at}
        launch = replace(launch, hardware=replace(launch.hardware, gpus=cards.number(), places=places))
    return grouped(launch, size) if size else launch


def cache(manifest: Node) -> Iterator[Texts]:
    """A NIMCache: the model of the hub that it holds, or what it pulls from NVIDIA's catalogue."""
    source = manifest.get("spec", "source")
    hub = source.get("hf")
    owner, name = hub.get("namespace").word(), hub.get("modelName").word()
    found = {"image": source.get("ngc", "modelPuller").word(), "revision": hub.get("revision").word()}
    if name:
        full = f"{owner.text}/{name.text}" if owner else name.text
        found["model"] = replace(name, text=full, known=name.known and (owner is None or owner.known), first=None)
    values = {key: word for key, word in found.items() if word}
    if values:
        yield Texts(manifest.at, CACHES, manifest.get("metadata", "name").text, values)
