"""What a load balancer asks before it sends anybody to a model: policies of gateways, annotations, Envoy's clusters."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from vramguard.extract.terraform import FORM as TERRAFORM
from vramguard.facts.outputs import Step
from vramguard.link.cluster.asking import Asked, Server, ask, judged, of_object
from vramguard.link.cluster.own import owned
from vramguard.link.cluster.podspecs import composed
from vramguard.link.cluster.questions import of_path
from vramguard.link.cluster.references import backends_of, targets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster
    from vramguard.link.cluster.asking import Probe

_ALB: Final = "alb.ingress.kubernetes.io/healthcheck-path"
_BACKEND: Final = re.compile(r"\"(?:default|ports)\"")
_HEALTHY: Final = re.compile(r"health|ready|live|ping|status", re.IGNORECASE)


def balanced(joined: Cluster) -> Iterator[Probe]:
    """Every question of a load balancer's to what serves a model."""
    yield from _of_policies(joined)
    yield from _of_annotations(joined)
    yield from _of_backends(joined)
    yield from _of_groups(joined)
    yield from _of_envoy(joined)


def _of_policies(joined: Cluster) -> Iterator[Probe]:
    for policy in joined.of("HealthCheckPolicy", group="networking.gke.io"):
        target = policy.node.get("spec", "targetRef")
        path = next(
            (
                found
                for kind in ("httpHealthCheck", "httpsHealthCheck", "http2HealthCheck")
                if (found := policy.node.get("spec", "default", "config", kind, "requestPath"))
            ),
            None,
        )
        if path is None:
            continue
        if target.get("kind").text == "InferencePool":  # of model servers, by what the kind is
            name = f"InferencePool/{target.get('name').text}"
            asked = Asked(policy.kind, name, of_path(path, "vllm"), Step(target.at, f"{name} is what it asks"), "vllm")
            yield from judged(joined.facts, asked)
        elif target.get("kind").text == "Service":
            yield from _of_host(joined, policy, target.get("name").text, path)
    for policy in joined.of("BackendTrafficPolicy"):
        path = policy.node.get("spec", "healthCheck", "active", "http", "path")
        for target in targets_of(policy.node.get("spec")):
            if path and target.get("kind").text == "Service":
                yield from _of_host(joined, policy, target.get("name").text, path)


def _of_annotations(joined: Cluster) -> Iterator[Probe]:
    """AWS Load Balancer Controller: the path of an Ingress's only service, or of a Service itself."""
    for service in joined.of("Service", group=""):
        if path := service.node.get("metadata", "annotations", _ALB):
            yield from _behind(joined, service, service, path)
    for ingress in joined.of("Ingress"):
        path = ingress.node.get("metadata", "annotations", _ALB)
        hosts = sorted({name for *_, name in backends_of(ingress.node.get("spec")) if name}) if path else []
        if len(hosts) == 1:
            yield from _of_host(joined, ingress, hosts[0], path)


def _of_backends(joined: Cluster) -> Iterator[Probe]:
    """GKE: what a Service's BackendConfig has it asked."""
    for config in joined.of("BackendConfig"):
        path = config.node.get("spec", "healthCheck", "requestPath")
        for service in joined.of("Service", group="") if path else ():
            notes = service.node.get("metadata", "annotations")
            said = (
                notes.get("cloud.google.com/backend-config").text
                or notes.get("beta.cloud.google.com/backend-config").text
            )
            if _BACKEND.search(said) and f'"{config.name}"' in said:
                yield from _behind(joined, config, service, path)


def _of_groups(joined: Cluster) -> Iterator[Probe]:
    """Terraform: a target group's path, which only the repository's one server with a model answers."""
    for manifest in joined.configured(TERRAFORM):
        path = manifest.node.get("health_check", "path") or manifest.node.get("health_check", 0, "path")
        if manifest.kind in ("aws_lb_target_group", "aws_alb_target_group") and _HEALTHY.search(path.text):
            asked = Asked("health_check", f"{manifest.kind}.{manifest.name}", of_path(path, None), None, None)
            yield from judged(joined.facts, asked, partial(owned(joined.facts).only, path.text))


def _of_host(joined: Cluster, by: Manifest, host: str, path: Node) -> Iterator[Probe]:
    """What is asked of a host: a surface behind it, else what its Services send to."""
    for surface in joined.served_by(by, host)[:1]:
        step = Step(surface.at, f"{surface.name} serves {surface.engine or 'a model'} behind `{host}`")
        container = surface.container
        if container is None or surface.manifest is None:
            asked = Asked(by.kind or by.form, surface.name, of_path(path, surface.engine), step, surface.engine)
            yield from judged(joined.facts, asked)
        else:
            server = of_object(surface.manifest, container.node)
            server = Server(server.node, surface.name, surface.engine or server.engine, step, server.names)
            yield from ask(joined.facts, server, by.kind or by.form, path)
        return
    for service in joined.hosts(by, host)[:1]:
        yield from _behind(joined, by, service, path)


def _behind(joined: Cluster, by: Manifest, service: Manifest, path: Node) -> Iterator[Probe]:
    """What is asked of a Service: the container of the first workload behind it."""
    for manifest in joined.behind(service)[:1]:
        surface = joined.surface_of(manifest)
        held = [one for pod in joined.pods_of(manifest) for one in pod.containers]
        container = surface.container if surface else held[0] if len(held) == 1 else None
        if container is None:
            continue
        server = of_object(manifest, container.node)
        if surface is not None:
            engine = surface.engine or server.engine
            step = Step(surface.at, f"{surface.name} serves {engine or 'a model'} behind `{service.name}`")
            server = Server(server.node, surface.name, engine, step, server.names)
        yield from ask(joined.facts, server, by.kind, path)


def _of_envoy(joined: Cluster) -> Iterator[Probe]:
    services = {surface.name: surface for surface, _ in composed(joined)}
    for manifest in joined.configured("envoy"):
        for entry in manifest.node.get("static_resources", "clusters").list():
            for check in entry.get("health_checks").list():
                path = check.get("http_health_check", "path")
                host = _first_address(entry)
                if path and host in services:
                    surface = services[host]
                    step = Step(surface.at, f"`{host}` serves {surface.engine or 'a model'}")
                    asked = Asked("health_checks", host, of_path(path, surface.engine), step, surface.engine)
                    yield from judged(joined.facts, asked)
                elif path and host:
                    yield from _of_host(joined, manifest, host, path)


def _first_address(entry: Node) -> str:
    return entry.get(
        "load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", "address", "socket_address", "address"
    ).text
