"""What asks whether a model is well: probes of a pod, a healthcheck of compose, a load balancer's check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.extract.objects.healthchecks import HEALTHCHECK
from vramguard.facts import Deployment
from vramguard.facts.outputs import Step
from vramguard.link.cluster import cluster
from vramguard.link.cluster.podspecs import composed, served
from vramguard.link.cluster.workloads import is_shallow
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster, Surface
    from vramguard.link.cluster.podspecs import Served

# Programs that say nothing of a model, whatever their arguments are.
_IDLE: Final = frozenset(("true", ":", "ls", "cat", "test", "[", "echo", "pgrep", "pidof", "ps", "stat", "date", "nc"))
_SHELLS: Final = frozenset(("sh", "bash", "/bin/sh", "/bin/bash", "ash", "/usr/bin/env"))
_ASKS: Final = re.compile(r"(?:^|[\s;&|(/])(?:curl|wget|http|grpcurl|grpc_health_probe|python\d?|node)\b")
_URL: Final = re.compile(r"https?://[^\s\"'`;|)]*?(?::\d+|\$\{?\w+\}?)?(/[^\s\"'`;|)?]*)?(?=[\s\"'`;|)?]|$)")
_POSTS: Final = re.compile(r"(?:^|\s)(?:-d|--data[\w-]*|--json|-X\s*POST|--post-data\S*|-F|--form)\b")


@dataclass(frozen=True)
class Probe:
    """One way of asking a model server how it is. `shallow` says why its answer proves nothing; empty where it may."""

    at: Location
    by: str  # readinessProbe, healthcheck, HealthCheckPolicy ...
    surface: str
    shallow: str
    steps: tuple[Step, ...] = ()


def probes(facts: Facts) -> list[Probe]:
    """Everything that decides by asking whether users reach a model, of every surface."""
    return facts.once("probes", lambda facts: list(_probes(facts)))


def _probes(facts: Facts) -> Iterator[Probe]:
    joined = cluster(facts)
    for one in served(facts):
        node = one.container.node.get("readinessProbe")
        if node:
            yield _of_pod(one, node)
    for surface, service in composed(joined):
        yield from _of_compose(surface, service)
    yield from _of_images(joined)
    yield from _of_balancers(joined)


def _of_images(joined: Cluster) -> Iterator[Probe]:
    """What a Dockerfile that starts an engine has its container asked."""
    served_by = {one.at.path: one for one in joined.facts.of(Deployment) if one.form == "dockerfile"}
    for manifest in joined.configured(HEALTHCHECK):
        ran = served_by.get(manifest.at.path)
        if ran is not None and not ran.training and isinstance(ran.engine, str):
            step = Step(ran.at, f"the image serves {ran.engine}")
            yield Probe(manifest.at, "HEALTHCHECK", manifest.at.path, _why(manifest.name, ran.engine), (step,))


def _of_pod(one: Served, node: Node) -> Probe:
    at, why = judged(node, one.engine)
    step = Step(one.container.node.at, f"{one.role} serves {one.engine or 'a model'} here")
    return Probe(at, "readinessProbe", one.surface.name, why, (step,))


def judged(node: Node, engine: str | None) -> tuple[Location, str]:
    """The place of what a probe of Kubernetes asks, and why that is not worth asking; empty where it may be."""
    path = node.get("httpGet", "path")
    word = path.word()
    if word is not None:
        shallow = word.known and is_shallow(word.text, engine)
        return path.at, f"asks `{word.text}`, which answers while the process lives" if shallow else ""
    if node.get("httpGet"):
        return node.get("httpGet").at, ""
    if node.get("tcpSocket"):
        return node.get("tcpSocket").at, "only opens a connection"
    command = node.get("exec", "command")
    if command:
        return command.at, _why(" ".join(word.text for word in command.words()), engine)
    return node.at, ""


def _why(command: str, engine: str | None) -> str:
    """Why a command proves nothing of the model: it asks nothing, or a cheap endpoint."""
    words = [word for word in re.split(r"\s+", command.strip()) if word not in ("CMD", "CMD-SHELL")]
    while words and (words[0] in _SHELLS or words[0] in ("-c", "-lc", "-ec")):
        words = words[1:]
    text = " ".join(words).strip("\"' ")
    first = text.partition(" ")[0].rpartition("/")[2]
    if not _ASKS.search(text):
        return f"runs `{first}`, which asks the model nothing" if first in _IDLE or text == "exit 0" else ""
    paths = [found[1] or "/" for found in _URL.finditer(text)]
    if paths and not _POSTS.search(text) and all(is_shallow(path, engine) for path in paths):
        return f"asks `{paths[0]}`, which answers while the process lives"
    return ""


def _of_compose(surface: Surface, service: Node) -> Iterator[Probe]:
    test = service.get("healthcheck", "test")
    words = test.words()
    if words and all(word.known for word in words):
        why = _why(" ".join(word.text for word in words), surface.engine)
        step = Step(surface.at, f"`{surface.name}` serves {surface.engine or 'a model'} here")
        yield Probe(test.at, "healthcheck", surface.name, why, (step,))


def _of_balancers(joined: Cluster) -> Iterator[Probe]:
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
            step = Step(target.at, f"InferencePool/{target.get('name').text} is what it asks")
            yield _at_path(path, policy.kind, f"InferencePool/{target.get('name').text}", "vllm", (step,))
        elif target.get("kind").text == "Service":
            yield from _of_host(joined, policy, target.get("name").text, path)
    for policy in joined.of("BackendTrafficPolicy"):
        path = policy.node.get("spec", "healthCheck", "active", "http", "path")
        for target in _targets(policy.node):
            if path and target.get("kind").text == "Service":
                yield from _of_host(joined, policy, target.get("name").text, path)
    yield from _of_envoy(joined)


def _targets(node: Node) -> Iterator[Node]:
    yield from node.get("spec", "targetRefs").list()
    if node.get("spec", "targetRef"):
        yield node.get("spec", "targetRef")


def _of_host(joined: Cluster, by: Manifest, host: str, path: Node) -> Iterator[Probe]:
    for surface in joined.served_by(by, host)[:1]:
        step = Step(surface.at, f"{surface.name} serves {surface.engine or 'a model'} behind `{host}`")
        yield _at_path(path, by.kind or by.form, surface.name, surface.engine, (step,))


def _at_path(path: Node, by: str, name: str, engine: str | None, steps: tuple[Step, ...]) -> Probe:
    word = path.word()
    shallow = word is not None and word.known and is_shallow(word.text, engine)
    why = f"asks `{path.text}`, which answers while the process lives" if shallow else ""
    return Probe(path.at, by, name, why, steps)


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
                    yield _at_path(path, "health_checks", host, surface.engine, (step,))
                elif path and host:
                    yield from _of_host(joined, manifest, host, path)


def _first_address(entry: Node) -> str:
    return entry.get(
        "load_assignment", "endpoints", 0, "lb_endpoints", 0, "endpoint", "address", "socket_address", "address"
    ).text


@dataclass(frozen=True)
class Budget:
    """Seconds that a server has before a probe kills it for not being ready, by what is written; and where."""

    at: Location
    seconds: int
    by: str  # livenessProbe, startupProbe


_INITIAL, _PERIOD, _FAILURES = (
    0,
    10,
    3,
)  # kubernetes/api core/v1 types.go, Probe: what is taken where nothing is written


def startup_budget(one: Served) -> Budget | None:
    """How long a container may take to start; None where nothing would kill it, or a number is not known.

    A probe's first question comes after initialDelaySeconds, and the last that may fail (failureThreshold - 1) periods
    later; one period is granted on top, as people count it.
    """
    node = one.container.node
    by = "startupProbe" if node.get("startupProbe") else "livenessProbe"
    probe = node.get(by)
    if not isinstance(probe.value, dict):
        return None
    keys = (("initialDelaySeconds", _INITIAL), ("periodSeconds", _PERIOD), ("failureThreshold", _FAILURES))
    numbers = [probe.get(key).number() if probe.get(key) else otherwise for key, otherwise in keys]
    known = [number for number in numbers if isinstance(number, int)]
    if len(known) != len(keys):
        return None
    initial, period, failures = known
    return Budget(probe.at, initial + period * failures, by)
