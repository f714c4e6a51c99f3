"""OME: an inference service names a model and a runtime, each an object of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes.hardware import hardware
from vramguard.extract.kubernetes.pods import container_launch, named, pod
from vramguard.extract.kubernetes.workloads import grouped
from vramguard.facts import Texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Launch
    from vramguard.facts.nodes import Node

FORM = "ome"
MODELS = "ome-model"  # the form of the Texts that say where a model of OME is stored
_ROLES = (("engine", "engineConfig"), ("decoder", "decoderConfig"))


def runtime(manifest: Node) -> Iterator[Launch]:
    """A runtime: a container for each role, where a group of pods serves, its leader's."""
    name = manifest.get("metadata", "name").text
    for role, key in _ROLES:
        part = manifest.get("spec", key)
        for launch in _role(manifest, part, role):
            yield replace(launch, runtime=True, joins={"ome-runtime": name, "role": role})


def service(manifest: Node) -> Iterator[Launch]:
    """A service: what it adds to its runtime, role by role."""
    spec = manifest.get("spec")
    name, model = spec.get("runtime", "name").text, spec.get("model", "name").text
    for role, _ in _ROLES:
        part = spec.get(role)
        found = list(_role(manifest, part, role))
        if not found and part:
            found = [container_launch(part, part, named(manifest, FORM, role), hardware(part, part))]
        for launch in found:
            yield replace(launch, joins={"ome-runtime": name, "ome-model": model, "role": role} if name else {})


def _role(manifest: Node, part: Node, role: str) -> Iterator[Launch]:
    owner = named(manifest, FORM, role)
    leader = part.get("leader")
    spec = leader or part
    runner = spec.get("runner")
    if not runner:
        yield from pod(spec, owner)
        return
    launch = container_launch(runner, spec, owner, hardware(spec, runner))
    workers = part.get("worker", "size")
    size = workers.number()
    if leader and isinstance(size, int):
        launch = grouped(launch, workers)
        launch = replace(launch, hardware=replace(launch.hardware, nodes=1 + size))
    yield launch


def model(manifest: Node) -> Iterator[Texts]:
    """A BaseModel: the URI of its storage, and the branch or commit that one of the hub ends in (`hf://a/b@abc`)."""
    word = manifest.get("spec", "storage", "storageUri").word()
    if word is None:
        return
    values = {"model": word}
    name, found, revision = word.text.rpartition("@")
    if found and name.startswith("hf://") and word.known:
        values = {"model": replace(word, text=name), "revision": replace(word, text=revision, first=None)}
    yield Texts(manifest.at, MODELS, manifest.get("metadata", "name").text, values)
