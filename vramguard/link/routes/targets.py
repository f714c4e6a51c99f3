"""Who answers behind the name that a route or a policy gives: a surface of this repository, or a model by its name.

A Kubernetes host is looked up in the graph of objects. What stands in a compose project or outside of the repository
is a model where its name or its image says so, by the words of data/gateways.toml.
"""

from __future__ import annotations

import posixpath
import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.cluster import nearest
from vramguard.link.cluster.own import owned
from vramguard.link.cluster.surfaces import RUNNING, SERVING
from vramguard.link.routes.known import beside, made, model
from vramguard.link.routes.parts import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster, Surface
    from vramguard.source import Location

_PORTS: Final = frozenset((8265, 6379, 10001))  # of a head of Ray: its dashboard, its store, its clients
_SCALED: Final = ("HorizontalPodAutoscaler", "ScaledObject", "PodAutoscaler", "Canary")
_MAX_HOST: Final = 300
_TOKENS = re.compile(
    r"(?:^|[^a-z])(?:llms?|chat|gpt|llama|mistral|mixtral|qwen|gemma|deepseek|phi|falcon|granite|claude|gemini)"
    r"(?![a-z])|text-?generation|completions?"
)


class Targets:
    """The targets of a repository, each asked for by the manifest that names it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._known: dict[tuple[str, str, str], tuple[Target, ...]] = {}

    def host(self, by: Manifest, host: str, namespace: str = "", port: int | None = None) -> tuple[Target, ...]:
        """What serves a model behind a host of the cluster; empty where that is nothing, or nobody knows."""
        if not host or len(host) > _MAX_HOST or "{{" in host or "$" in host or port in _PORTS:
            return ()
        key = by.at.path, by.overlay, f"{host} {namespace}"
        if key not in self._known:
            self._known[key] = ()  # for names that lead back to themselves
            self._known[key] = tuple(self._host(by, host))
        return self._known[key]

    def _host(self, by: Manifest, host: str) -> Iterator[Target]:
        cluster = self.cluster
        name = host.partition(".")[0]
        services = cluster.hosts(by, host)
        behind = [one for service in services for one in (service, *cluster.behind(service))]
        found = [cluster.surface_of(one) for one in behind]  # a Service of Knative is one itself
        outside = host.count(".") > 1 and ".svc" not in host
        generated = [] if services or outside or beside(name) else self._generated(by, name)
        if surfaces := [surface for surface in found if surface] or generated:
            yield from (self.of_surface(surface) for surface in surfaces)
            return
        elsewhere = next((text for one in services if (text := one.node.get("spec", "externalName").text)), "")
        if elsewhere and elsewhere.partition(".")[0] != name:
            yield from self.host(services[0], elsewhere)
            return
        if models := [
            one
            for one in cluster.of("Experiment", "Pipeline", "Model", "SeldonDeployment", group="seldon.io")
            if one.name == name
        ]:
            yield Target(models[0].title, Step(models[0].at, f"{models[0].title} serves a model here"))
        elif services:
            yield from self._unknown(services)
        elif word := model(name):
            yield Target(name, Step(by.at, f"`{name}` is a model by its name ({word.name})"), word.streams)

    def _generated(self, by: Manifest, name: str) -> list[Surface]:
        """What a controller answers for under a host: `price-predictor` of the InferenceService `price`."""
        held = [
            surface.manifest
            for surface in self.cluster.surfaces
            if surface.manifest and surface.manifest.kind in SERVING and made(surface.manifest.name, name)
        ]
        found = (self.cluster.surface_of(one) for one in nearest(by, held))
        return [surface for surface in found if surface]

    def _unknown(self, services: list[Manifest]) -> Iterator[Target]:
        """Services whose pods no engine of ours is known to run: by the image of those pods, or by their own name."""
        for service in services:
            held = [pod for one in self.cluster.behind(service) for pod in self.cluster.pods_of(one)]
            images = [one.node.get("image") for pod in held for one in pod.containers]
            found = next(((node.at, word) for node in images if (word := model(_image(node.text)))), None)
            if found is None and (word := model(service.name)):
                found = service.at, word
            if found is None:
                yield from self._own(service)
            else:
                at, word = found
                yield Target(service.title, Step(at, f"{service.title} is served by {word.name} here"), word.streams)

    def _own(self, service: Manifest) -> Iterator[Target]:
        """A server of the repository's own whose code runs a model."""
        for workload in self.cluster.behind(service)[:1]:
            held = [one for pod in self.cluster.pods_of(workload) for one in pod.containers]
            for one in held if len(held) == 1 and workload.kind in RUNNING else ():
                own = owned(self.cluster.facts).of_container(one.node, (one.name, workload.name))
                step = own.applications[0].model if own is not None and own.runs_model else None
                if own is not None and step is not None:
                    yield Target(service.title, step, any(app.streams for app in own.applications))

    def service(self, service: Manifest) -> tuple[Target, ...]:
        """What serves a model behind a Service."""
        return self.host(service, service.name, service.namespace)

    def pool(self, by: Manifest, name: str) -> tuple[Target, ...]:
        """The surfaces of an InferencePool, or the pool itself: it is made of model servers, wherever they stand."""
        pools = self.cluster.named(by, "InferencePool", name)
        for pool in pools:
            selector = pool.node.get("spec", "selector")
            held = selector.get("matchLabels") or selector
            labels = {key: node.text for key, node in held.items()}
            surfaces = [self.cluster.surface_of(one) for one in self.cluster.selected(pool, labels, pool.namespace)]
            if found := tuple(self.of_surface(surface) for surface in surfaces if surface):
                return found
        at = pools[0].at if pools else by.at
        return (Target(f"InferencePool/{name}", Step(at, f"InferencePool/{name} is a pool of model servers"), True),)

    def upstream(self, by: Manifest, host: str) -> tuple[Target, ...]:
        """What serves a model behind a host of a proxy: of the cluster, of a compose project, outside."""
        if not host or len(host) > _MAX_HOST or "{{" in host or "$" in host:
            return ()
        name = host.rpartition("://")[2].partition("/")[0].rpartition("@")[2]
        name, _, port = name.partition(":") if name.count(":") == 1 else (name, "", "")
        if port.isdecimal() and len(port) < 6 and int(port) in _PORTS:  # noqa: PLR2004 - digits of a port
            return ()
        composed = self._composed(by, name)
        return composed if composed is not None else self.host(by, name)

    def _composed(self, by: Manifest, name: str) -> tuple[Target, ...] | None:
        """The service of the nearest compose project that is called so; None where no project has one."""
        folder = posixpath.dirname(by.at.path)
        held = self._services.get(name)
        if not held:
            return None
        near = max(held, key=lambda one: (len(posixpath.commonprefix((one + "/", folder + "/"))), one))
        found = (self._of_service(name, surface, node) for surface, node in held[near])
        return next((one for one in found if one), ())

    def _of_service(self, name: str, surface: Surface | None, node: Node) -> tuple[Target, ...]:
        """A service of compose as a target, if it serves a model."""
        if surface is not None:
            return (self.of_surface(surface),)
        word = model(_image(node.get("image").text)) or model(name)
        if word is None:
            return tuple(self._with_cards(name, node))
        return (Target(f"service {name}", Step(node.at, f"the service `{name}` runs {word.name} here"), word.streams),)

    def _with_cards(self, name: str, node: Node) -> Iterator[Target]:
        """A service of compose that owns a GPU and is asked by a proxy: nothing else is asked of one."""
        devices = node.get("deploy", "resources", "reservations", "devices")
        held = [one for one in devices.list() if "gpu" in [word.text for word in one.get("capabilities").words()]]
        nvidia = node.get("runtime").text == "nvidia"
        card = held[0] if held else node.get("gpus") or (node.get("runtime") if nvidia else None)
        if card and not beside(name):
            step = Step(node.at, f"the service `{name}` runs on a GPU here")
            yield Target(f"service {name}", step, gpu=card.at)

    @cached_property
    def _services(self) -> Mapping[str, dict[str, list[tuple[Surface | None, Node]]]]:
        """The services of compose projects, by their name, then by their folder: a file may have variants beside it."""
        surfaces = {
            (posixpath.dirname(surface.at.path), surface.name.partition(" (")[0].rpartition("/")[2]): surface
            for surface in self.cluster.surfaces
            if surface.manifest is None
        }
        found: dict[str, dict[str, list[tuple[Surface | None, Node]]]] = {}
        for project in self.cluster.configured("compose"):
            folder = posixpath.dirname(project.at.path)
            for name, node in project.node.get("services").items():
                known = surfaces.get((folder, name))
                found.setdefault(name, {}).setdefault(folder, []).append((known, node))
        return found

    def of_surface(self, surface: Surface) -> Target:
        """A surface as a target."""
        step = Step(surface.at, f"{surface.name} serves a model here")
        replicas, fewest = self._replicas(surface), self._fewest(surface)
        return Target(surface.name, step, streams(surface), surface.gpu, replicas, surface, fewest)

    def _fewest(self, surface: Surface) -> int | None:
        manifest = surface.manifest
        found = self._scaled.get(manifest.name, []) if manifest and not manifest.guessed else []
        near = nearest(manifest, found) if manifest else []
        return _least(near[0]) if len(near) == 1 else None

    def _replicas(self, surface: Surface) -> int | None:
        manifest = surface.manifest
        if manifest is None or manifest.name in self._scaled or manifest.guessed:
            return None
        if manifest.kind not in ("Deployment", "StatefulSet", "Rollout") or len(surface.pods) != 1:
            return None
        replicas = manifest.node.get("spec", "replicas")
        number = replicas.number()
        return number if isinstance(number, int) else None if replicas else 1

    @cached_property
    def _scaled(self) -> Mapping[str, list[Manifest]]:
        """The autoscalers, by the names of what they scale."""
        found: dict[str, list[Manifest]] = {}
        for one in self.cluster.of(*_SCALED):
            for key in ("scaleTargetRef", "targetRef"):
                if name := one.node.get("spec", key, "name").text:
                    found.setdefault(name, []).append(one)
        return found

    def is_unknown(self, by: Manifest, host: str) -> bool:
        """Whether a host is a Service of this repository of whose pods nothing says what they are."""
        services = self.cluster.hosts(by, host)
        held = [pod for one in services for work in self.cluster.behind(one) for pod in self.cluster.pods_of(work)]
        images = [_image(one.node.get("image").text) for pod in held for one in pod.containers]
        return bool(images) and not any(beside(name) for name in (*images, host.partition(".")[0]))

    def named(self, name: str, at: Location) -> Target | None:
        """What is a model by its name alone."""
        word = model(name)
        return Target(name, Step(at, f"`{name}` is a model by its name ({word.name})"), word.streams) if word else None


def _least(scaler: Manifest) -> int | None:
    """How many replicas an autoscaler leaves at least, where it says so; one that is a template's says nothing."""
    spec = scaler.node.get("spec")
    number = (spec.get("minReplicas") or spec.get("minReplicaCount")).number()
    return number if isinstance(number, int) and not scaler.guessed else None


def streams(surface: Surface) -> bool:
    """Whether a surface answers in tokens: by its engine, its kind, or a name that says what it is."""
    kind = surface.manifest.kind if surface.manifest else ""
    if surface.streams or kind in ("LLMInferenceService", "DynamoGraphDeployment"):
        return True
    if surface.engine is not None:
        return False
    images = [one.node.get("image").text for pod in surface.pods for one in pod.containers]
    words = [word for text in images if (word := model(_image(text)))]
    return any(word.streams for word in words) or bool(_TOKENS.search(surface.name.lower()))


def _image(text: str) -> str:
    """The name of an image: what stands behind its registry and before its tag, with the folder that it is in."""
    *folders, name = text.partition("@")[0].split("/")
    known = [folder for folder in folders[-1:] if "$" not in folder and "{" not in folder and not beside(folder)]
    return "/".join((*known, name.partition(":")[0]))
