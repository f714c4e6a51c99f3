"""Gateway API, Envoy Gateway and what clouds and Envoy AI Gateway put beside them.

HTTPRoute and GRPCRoute (gateway-api, apis/v1/httproute_types.go, timeouts and GEP-1731's retry), BackendTrafficPolicy
and Backend (envoyproxy/gateway, api/v1alpha1), AIGatewayRoute (envoyproxy/ai-gateway), GCPBackendPolicy (GKE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.cluster.references import targets_of
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.istio import unbounded
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Balance, Breaker, Fallback, Route, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.parts import Part, Setting
    from vramguard.link.routes.targets import Targets

_ROUTES: Final = ("HTTPRoute", "GRPCRoute", "AIGatewayRoute")
_POLICIES: Final = ("BackendTrafficPolicy", "GCPBackendPolicy", "BackendLBPolicy", "TrafficPolicy")


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that objects of gateways make."""
    policies = [policy for policy in targets.cluster.of(*_POLICIES) if policy.kind != "TrafficPolicy"]
    routes: dict[int, list[Target]] = {}
    for route in targets.cluster.of(*_ROUTES):
        for rule in route.node.get("spec", "rules").list():
            found = list(_backends(targets, route, rule))
            routes.setdefault(id(route), []).extend(found)
            if found:
                yield _route(route, rule, found[0], [one for one in policies if _meant(one, route, rule)])
                yield from _fallback(targets, route, rule)
    held = [(route, routes[id(route)]) for route in targets.cluster.of(*_ROUTES) if routes.get(id(route))]
    for policy in policies:
        yield from _policy(targets, policy, held)


def _backends(targets: Targets, route: Manifest, rule: Node) -> Iterator[Target]:
    for backend in rule.get("backendRefs").list():
        kind, name = backend.get("kind").text or "Service", backend.get("name").text
        if kind == "InferencePool":
            yield from targets.pool(route, name)
        elif kind == "AIServiceBackend" or (route.kind == "AIGatewayRoute" and not backend.get("kind")):
            yield from _service(targets, route, backend, name)
        elif kind == "InferenceService":
            yield from targets.host(route, name, route.namespace)
        elif kind == "Backend":
            for host in _hosts(targets, route, name):
                yield from targets.upstream(route, host)
        elif kind in ("Service", "ServiceImport"):
            port = backend.get("port").number()
            yield from targets.host(route, name, route.namespace, port if isinstance(port, int) else None)


def _service(targets: Targets, route: Manifest, backend: Node, name: str) -> Iterator[Target]:
    """What an AIServiceBackend names: a model of this repository, or somebody else's service."""
    services = targets.cluster.named(route, "AIServiceBackend", name)
    refs = [service.node.get("spec", "backendRef") for service in services]
    names = [ref.get("name").text for ref in refs if (ref.get("kind").text or "Backend") == "Backend"]
    hosts = [host for one in names for host in _hosts(targets, route, one)]
    found = [target for host in hosts for target in targets.upstream(route, host) if target.surface]
    step = Step(backend.at, f"AIServiceBackend/{name} is a service of models")
    yield from found[:1] or [Target(f"AIServiceBackend/{name}", step, streams=True)]


def _hosts(targets: Targets, by: Manifest, name: str) -> Iterator[str]:
    for backend in targets.cluster.named(by, "Backend", name):
        for endpoint in backend.node.get("spec", "endpoints").list():
            yield endpoint.get("fqdn", "hostname").text


def _route(route: Manifest, rule: Node, target: Target, policies: list[Manifest]) -> Route:
    timeouts = rule.get("timeouts")
    timeout = duration(timeouts.get("request")) or duration(timeouts.get("backendRequest"))
    retries, per_try = count(rule.get("retry", "attempts")), None
    for policy in policies:
        spec = policy.node.get("spec")
        written = duration(spec.get("timeout", "http", "requestTimeout")) or duration(spec.get("default", "timeoutSec"))
        timeout = timeout or written
        if retries is None:  # it is judged where it is written, and multiplied here
            per_try = duration(spec.get("retry", "perRetry", "timeout"))
    return Route(
        rule.at,
        route.kind,
        route.title,
        target,
        timeout=timeout,
        default=default_timeout(route.kind),
        retries=retries,
        per_try=per_try,
        managed=not target.name.startswith("AIServiceBackend/"),  # who serves it has breakers of their own
        gone=route.guessed,
    )


def _meant(policy: Manifest, route: Manifest, rule: Node) -> bool:
    """Whether a policy stands on the route, its gateway, or what one of its rules leads to."""
    spec = policy.node.get("spec")
    if spec.get("targetSelectors"):
        return True
    parents = {("Gateway", one.get("name").text) for one in route.node.get("spec", "parentRefs").list()}
    backends = {(one.get("kind").text or "Service", one.get("name").text) for one in rule.get("backendRefs").list()}
    asked = {(one.get("kind").text, one.get("name").text) for one in targets_of(spec)}
    own = {(route.kind, route.name), *([("HTTPRoute", route.name)] if route.kind == "AIGatewayRoute" else [])}
    return bool(asked & (parents | backends | own))  # an AIGatewayRoute makes an HTTPRoute of its own name


def _policy(targets: Targets, policy: Manifest, held: list[tuple[Manifest, list[Target]]]) -> Iterator[Part]:
    spec = policy.node.get("spec")
    found = [
        target
        for route, led in held
        if any(_meant(policy, route, rule) for rule in route.node.get("spec", "rules").list())
        for target in led
    ]
    for ref in targets_of(spec):
        if not found and ref.get("kind").text == "InferencePool":
            found = list(targets.pool(policy, ref.get("name").text))
        elif not found and ref.get("kind").text == "Service":
            found = list(targets.host(policy, ref.get("name").text, policy.namespace))
    breaks = spec.get("healthCheck", "passive") or spec.get("circuitBreaker")
    if policy.guessed and breaks and not found:  # of whom is filled in later
        yield Breaker(breaks.at, policy.kind, policy.title, None)
    for target in found[:1]:
        if policy.kind == "BackendTrafficPolicy":
            yield from _traffic(policy, spec, target)
        yield from _balanced(policy, spec, target)


def _traffic(policy: Manifest, spec: Node, target: Target) -> Iterator[Part]:
    passive, limits = spec.get("healthCheck", "passive"), spec.get("circuitBreaker")
    if retries := count(spec.get("retry", "numRetries")):
        timeout = duration(spec.get("timeout", "http", "requestTimeout"))
        per_try = duration(spec.get("retry", "perRetry", "timeout"))
        yield Route(
            spec.get("retry").at, policy.kind, policy.title, target, timeout, None, retries, None, per_try, judged=False
        )
    if passive:
        window = duration(passive.get("interval"))
        yield Breaker(
            passive.at,
            policy.kind,
            policy.title,
            target,
            errors_only=True,
            windows=(window,) if window else (),
            ejection=duration(passive.get("baseEjectionTime")),
            most=count(passive.get("maxEjectionPercent")),
        )
    elif limits or policy.guessed:
        yield Breaker(limits.at, policy.kind, policy.title, target)
    elif not target.name.startswith("AIServiceBackend/"):
        yield Breaker(policy.at, policy.kind, policy.title, target, trips=False)
    for key in ("maxPendingRequests", "maxParallelRequests"):
        if setting := count(limits.get(key)):
            yield from unbounded(setting, policy.title, f"{key}: {setting.written}", target)


def _balanced(policy: Manifest, spec: Node, target: Target) -> Iterator[Balance]:
    """GKE's balancing of backends by the use of their CPU."""
    mode = spec.get("default", "balancingMode") or spec.get("default", "backend", "balancingMode")
    if mode.text.upper() == "UTILIZATION":
        yield Balance(mode.at, policy.title, "balancingMode: UTILIZATION, the use of the CPU", target)


def _fallback(targets: Targets, route: Manifest, rule: Node) -> Iterator[Fallback]:
    """Backends of Envoy Gateway that are only asked where the others do not answer."""
    refs = [one for one in rule.get("backendRefs").list() if one.get("kind").text == "Backend"]
    backends = [(ref, one) for ref in refs for one in targets.cluster.named(route, "Backend", ref.get("name").text)[:1]]
    first = [(ref, one) for ref, one in backends if one.node.get("spec", "fallback").text != "true"]
    for _, other in ((ref, one) for ref, one in backends if one.node.get("spec", "fallback").text == "true"):
        models = [target for host in _endpoints(other) for target in targets.upstream(other, host)]
        primary = [target for _, one in first for host in _endpoints(one) for target in targets.upstream(one, host)]
        if models and primary and (shares := shared(primary[0], models[0])):
            kind = "cycle" if primary[0].name == models[0].name else "model"
            at = other.node.get("spec", "fallback").at
            steps = (*primary[0].steps, *models[0].steps)
            yield Fallback(at, route.title, primary[0].name, models[0].name, kind, shares, steps)


def _endpoints(backend: Manifest) -> list[str]:
    return [one.get("fqdn", "hostname").text for one in backend.node.get("spec", "endpoints").list()]


def shared(one: Target, other: Target) -> str:
    """What two targets stand on together: themselves, one machine of compose, one pool of nodes; empty for nothing."""
    if one.name == other.name and one.step.at == other.step.at:
        return "it is the same one"
    if one.surface is None or other.surface is None or not (one.gpu and other.gpu):
        return ""
    held = [pod.spec.get("nodeSelector") for surface in (one.surface, other.surface) for pod in surface.pods[:1]]
    if not held:
        same = one.surface.at.path == other.surface.at.path
        return "both run on the machine of one compose project" if same else ""
    if len(held) == 2 and held[0].value == held[1].value:  # noqa: PLR2004 - one of each
        return "both ask for GPUs of the same nodes"
    return ""


def retried(setting: Setting | None) -> int | None:
    """Calls that a request makes in all, with so many retries; None where that is not known."""
    return setting.known + 1 if setting and setting.known is not None else None
