"""Traefik: IngressRoute, Middleware, TraefikService, ServersTransport, and the same in dynamic files.

doc.traefik.io/traefik: Middlewares (CircuitBreaker, Retry), Routing (Services: failover, ServersTransport).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.gateways import shared
from vramguard.link.routes.parts import Breaker, Fallback, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.parts import Part, Setting, Target
    from vramguard.link.routes.targets import Targets


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that Traefik's objects and dynamic files make."""
    for route in (one for one in targets.cluster.of("IngressRoute") if "traefik" in one.group):
        for rule in route.node.get("spec", "routes").list():
            yield from _ingress(targets, route, rule)
    for held in targets.cluster.configured("traefik"):
        yield from _dynamic(targets, held)


def _ingress(targets: Targets, route: Manifest, rule: Node) -> Iterator[Part]:
    services = [one for one in rule.get("services").list() if one.get("kind").text != "TraefikService"]
    found: list[Target] = []
    transports: list[Node] = []
    for service in services:
        port = service.get("port").number()
        number = port if isinstance(port, int) else None
        found += targets.host(route, service.get("name").text, service.get("namespace").text, number)
        transport = service.get("serversTransport").text
        transports += [one.node.get("spec") for one in targets.cluster.named(route, "ServersTransport", transport)]
    named = [one.get("name").text for one in rule.get("middlewares").list()]
    held = [one.node.get("spec") for name in named for one in targets.cluster.named(route, "Middleware", name)]
    for target in found[:1]:
        resolved = bool(held) or not named
        yield from _parts(rule, route.title, target, held, transports, absent=resolved and not route.guessed)


def _parts(
    rule: Node, title: str, target: Target, middlewares: Sequence[Node], transports: Sequence[Node], *, absent: bool
) -> Iterator[Part]:
    """A route with what stands on it. `absent`: whether a middleware that is not here is not there."""
    timeout: Setting | None = next(
        (one for held in transports if (one := duration(held.get("forwardingTimeouts", "responseHeaderTimeout")))), None
    )
    retries = next((one for held in middlewares if (one := count(held.get("retry", "attempts")))), None)
    yield Route(rule.at, "Traefik", title, target, timeout, None, retries, managed=True, attempts=True, gone=not absent)
    breakers = [held.get("circuitBreaker") for held in middlewares if held.get("circuitBreaker")]
    for breaker in breakers:
        window = duration(breaker.get("checkPeriod"))
        expression = breaker.get("expression").text
        yield Breaker(
            breaker.at,
            "Traefik",
            title,
            target,
            errors_only="LatencyAtQuantileMS" not in expression and "{{" not in expression,
            windows=(window,) if window else (),
            ejection=duration(breaker.get("fallbackDuration")),
        )
    if not breakers and absent:
        yield Breaker(rule.at, "Traefik", title, target, trips=False)


def _dynamic(targets: Targets, held: Manifest) -> Iterator[Part]:
    http = held.node.get("http")
    services = dict(http.get("services").items())
    middlewares = dict(http.get("middlewares").items())
    transports = dict(http.get("serversTransports").items())
    for router in http.get("routers").children():
        name = router.get("service").text.partition("@")[0]
        service = services.get(name)
        balancer = service.get("loadBalancer") if service else None
        found = _of_service(targets, held, services, name)
        named = [one.text.partition("@")[0] for one in router.get("middlewares").list()]
        transport = transports.get(balancer.get("serversTransport").text.partition("@")[0]) if balancer else None
        for target in found[:1]:
            stand = [middlewares[one] for one in named if one in middlewares]
            absent = all(one in middlewares for one in named)
            title, used = f"router of `{name}`", [transport] if transport else []
            yield from _parts(router, title, target, stand, used, absent=absent)
    for name, service in services.items():
        yield from _failover(targets, held, services, name, service.get("failover"))


def _of_service(targets: Targets, by: Manifest, services: dict[str, Node], name: str) -> list[Target]:
    service = services.get(name)
    if service is None:
        return []
    urls = [one.get("url").text for one in service.get("loadBalancer", "servers").list()]
    found = [target for url in urls for target in targets.upstream(by, url)]
    primary = service.get("failover", "service").text
    if not found and primary and primary != name:
        nested = services.get(primary)
        urls = [one.get("url").text for one in nested.get("loadBalancer", "servers").list()] if nested else []
        found = [target for url in urls for target in targets.upstream(by, url)]
    return found


def _failover(
    targets: Targets, by: Manifest, services: dict[str, Node], name: str, failover: Node
) -> Iterator[Fallback]:
    first, second = failover.get("service").text, failover.get("fallback").text
    if not first or not second:
        return
    at = failover.get("fallback").at
    if second in (first, name):
        steps = (Step(failover.get("service").at, f"`{first}` has just failed"),)
        yield Fallback(at, f"failover `{name}`", first, second, "cycle", steps=steps)
        return
    primary, other = _of_service(targets, by, services, first), _of_service(targets, by, services, second)
    if primary and other and (shares := shared(primary[0], other[0])):
        kind = "cycle" if "same one" in shares else "model"
        yield Fallback(at, f"failover `{name}`", first, second, kind, shares, (*primary[0].steps, *other[0].steps))
