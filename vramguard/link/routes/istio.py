"""Istio: VirtualService and DestinationRule (istio/api, networking/v1alpha3/*.proto)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.parts import Breaker, Fallback, Queue, Route

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.parts import Part, Setting, Target
    from vramguard.link.routes.targets import Targets


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that Istio's objects make."""
    for service in targets.cluster.of("VirtualService", group="istio.io"):
        for rule in service.node.get("spec", "http").list():
            yield from _route(targets, service, rule)
    for destination in targets.cluster.of("DestinationRule", group="istio.io"):
        yield from _destination(targets, destination)


def _route(targets: Targets, service: Manifest, rule: Node) -> Iterator[Part]:
    destinations = [one.get("destination") for one in rule.get("route").list()]
    found: dict[str, Target] = {}
    for one in destinations:
        port = one.get("port", "number").number()
        number = port if isinstance(port, int) else None
        for target in targets.host(service, one.get("host").text, service.namespace, number):
            found.setdefault(target.name, target)
    retries = rule.get("retries")
    for target in list(found.values())[:1]:
        yield Route(
            rule.at,
            "VirtualService",
            service.title,
            target,
            timeout=duration(rule.get("timeout")),
            retries=count(retries.get("attempts")),
            per_try=duration(retries.get("perTryTimeout")),
            managed=True,
            gone=service.guessed,
        )
    yield from _mirror(service, rule, destinations, found)


def _mirror(service: Manifest, rule: Node, destinations: list[Node], found: dict[str, Target]) -> Iterator[Part]:
    """A mirror that is the route's own destination: every request is worked off twice by the same pods."""
    mirrors = [rule.get("mirror"), *(one.get("destination") for one in rule.get("mirrors").list())]
    for mirror in mirrors:
        same = {_named(one) for one in destinations} == {_named(mirror)}
        if found and mirror.get("host").text and same:
            target = next(iter(found.values()))
            name = "/".join(part for part in _named(mirror)[:2] if part)
            steps = (Step(destinations[0].at, f"`{name}` is where the route leads"), *target.steps)
            yield Fallback(mirror.at, service.title, name, name, "cycle", steps=steps)


def _named(destination: Node) -> tuple[str, str, str]:
    host = destination.get("host").text.partition(".")[0]
    return host, destination.get("subset").text, destination.get("port", "number").text


def _destination(targets: Targets, rule: Manifest) -> Iterator[Part]:
    spec = rule.node.get("spec")
    found = targets.host(rule, spec.get("host").text, rule.namespace)
    policies = [spec.get("trafficPolicy"), *(one.get("trafficPolicy") for one in spec.get("subsets").list())]
    policies += [one for policy in policies for one in policy.get("portLevelSettings").list()]
    detections = [one for policy in policies if (one := policy.get("outlierDetection"))]
    for target in found[:1]:
        for policy in policies:
            yield from _pool(rule, policy, target)
        if not detections:
            yield Breaker(
                (spec.get("host") or rule).at, "DestinationRule", rule.title, target, trips=False, gone=rule.guessed
            )
    host = spec.get("host").text
    every: tuple[Target | None, ...] = (None,) if not host or "*" in host else ()
    for detection in detections:
        for led in found[:1] or every:
            yield _breaker(rule, detection, led)


def _breaker(rule: Manifest, detection: Node, target: Target | None) -> Breaker:
    window = duration(detection.get("interval"))
    return Breaker(
        detection.at,
        "DestinationRule",
        rule.title,
        target,
        errors_only=True,
        windows=(window,) if window else (),
        ejection=duration(detection.get("baseEjectionTime")),
        most=count(detection.get("maxEjectionPercent")),
        least=count(detection.get("minHealthPercent")),
    )


def _pool(rule: Manifest, policy: Node, target: Target) -> Iterator[Queue]:
    """Bounds of what waits that somebody has written, and that bound nothing."""
    http = policy.get("connectionPool", "http")
    for key in ("http1MaxPendingRequests", "http2MaxRequests"):
        if setting := count(http.get(key)):
            yield from unbounded(setting, rule.title, f"{key}: {setting.written}", target)


def unbounded(setting: Setting, system: str, what: str, target: Target) -> Iterator[Queue]:
    """A queue, where a number that should bound it is so large that it does not."""
    if setting.known is not None and (setting.known <= 0 or setting.known >= MANY):
        yield Queue(setting.at, system, what, target)


MANY = 1 << 24  # requests: no GPU works off so many while anybody waits
