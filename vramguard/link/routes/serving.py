"""Servers of models that bound requests themselves: KServe, Knative, Ray Serve, BentoML, Triton.

kserve/kserve, pkg/apis/serving/v1beta1/component.go (timeout, in seconds); Knative, spec.template.spec.timeoutSeconds;
ray-project/ray, python/ray/serve/schema.py; docs.bentoml.com, Configurations; triton-inference-server/common,
protobuf/model_config.proto, ModelQueuePolicy: 0 is no limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Breaker, Queue, Route, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.parts import Part
    from vramguard.link.routes.targets import Targets

_LANGUAGE: Final = ("llm", "vllm", "openai", "chat")


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that servers of models make of their own."""
    cluster = targets.cluster
    for service in cluster.of("InferenceService", group="kserve.io"):
        for role in ("predictor", "transformer"):
            yield from _written(targets, service, service.node.get("spec", role, "timeout"), "KServe")
    for service in cluster.of("Service", group="knative.dev"):
        yield from _written(targets, service, service.node.get("spec", "template", "spec", "timeoutSeconds"), "Knative")
    for service in cluster.of("RayService"):
        held = service.node.get("spec", "serveConfigV2")
        for config in held.parsed() if surface_of(targets, service) else ():
            yield from _ray(service, surface_of(targets, service), config, held)
    for file in cluster.configured("ray-serve"):
        yield from _ray(file, _served(file), file.node, file.node.get("applications"))
    for bento in cluster.configured("bentoml"):
        yield from _bento(bento)
    for model in cluster.configured("triton"):
        yield from _triton(model)


def surface_of(targets: Targets, manifest: Manifest) -> Target | None:
    """An object of a cluster as a target, if it serves a model."""
    surface = targets.cluster.surface_of(manifest)
    return targets.of_surface(surface) if surface else None


def _written(targets: Targets, service: Manifest, node: Node, system: str) -> Iterator[Route]:
    """A timeout that somebody wrote; where nobody did, the platform has one, and the mesh in front is judged."""
    target = surface_of(targets, service) if node else None
    if target:
        yield Route(node.at, system, service.title, target, timeout=duration(node), judged=False)


def _served(config: Manifest) -> Target:
    imported = config.node.get("applications", 0, "import_path")
    streams = any(word in imported.text.lower() for word in _LANGUAGE)
    return Target(imported.text, Step(imported.at, f"`{imported.text}` is served by Ray Serve"), streams)


def _ray(by: Manifest, target: Target | None, config: Node, at: Node) -> Iterator[Part]:
    if target is None or "{{" in config.get("applications", 0, "import_path").text:
        return
    text = config.get("applications", 0, "import_path").text.lower()
    if any(word in text for word in _LANGUAGE) and not target.streams:
        target = Target(target.name, target.step, True, target.gpu, target.replicas, target.surface)
    title = by.title if by.kind else "Ray Serve"
    timeout = duration(config.get("http_options", "request_timeout_s"))
    yield Route(at.at, "Ray Serve", title, target, timeout=timeout, gone=by.guessed)
    for application in config.get("applications").list():
        own = application.get("deployments").list()
        engines = (one.get("deployment_config") for one in application.get("args", "llm_configs").list())
        for deployment in (*own, *engines):
            yield from _replica(title, deployment, target)


def _replica(title: str, deployment: Node, target: Target) -> Iterator[Part]:
    ongoing = deployment.get("max_ongoing_requests")
    queued = count(deployment.get("max_queued_requests"))
    name = deployment.get("name").text or "llm_configs"
    if queued and queued.known == -1:
        yield Queue(queued.at, f"{title}, `{name}`", "max_queued_requests: -1", target)
    elif queued is None and ongoing:
        yield Queue(ongoing.at, f"{title}, `{name}`", "max_queued_requests is not written, and is -1", target)
    windows = [duration(deployment.get(key)) for key in ("health_check_period_s", "health_check_timeout_s")]
    for window in windows:
        if window:
            yield Breaker(window.at, "Ray Serve", f"{title}, `{name}`", target, windows=(window,))


def _bento(held: Manifest) -> Iterator[Route]:
    root = held.node
    services = list(root.get("services").items()) or [("api_server", root.get("api_server"))]
    for name, service in services:
        timeout = service.get("traffic", "timeout") or service.get("config_overrides", "traffic", "timeout")
        if timeout:
            target = Target(name, Step(service.at, f"`{name}` is a service of BentoML"))
            yield Route(
                timeout.at, "BentoML", f"service `{name}`", target, duration(timeout), default_timeout("BentoML")
            )


def _triton(model: Manifest) -> Iterator[Queue]:
    batching = model.node.get("dynamic_batching", 0)
    if not isinstance(batching.value, dict):
        return
    policies = [
        batching.get("default_queue_policy", 0),
        *(one.get("value", 0) for one in batching.get("priority_queue_policy").list()),
    ]
    sizes = [size for policy in policies if (size := count(policy.get("max_queue_size", 0)))]
    waits = [wait for policy in policies if (wait := count(policy.get("default_timeout_microseconds", 0)))]
    if any(one.known is None or one.known > 0 for one in (*sizes, *waits)):
        return
    at = sizes[0].at if sizes else model.node.get("dynamic_batching").at
    what = "max_queue_size: 0" if sizes else "dynamic_batching has no default_queue_policy with a max_queue_size"
    name = model.name or model.at.path.rpartition("/")[0].rpartition("/")[2]
    step = Step(model.at, f"Triton serves the model `{name}`")
    yield Queue(at, f"Triton, `{name}`", what, Target(name, step))
