"""Envoy as it is configured itself: bootstrap and discovery files, EnvoyPatchPolicy, EnvoyFilter.

envoyproxy/envoy, api/envoy/config: route/v3/route_components.proto, cluster/v3/{cluster,outlier_detection,
circuit_breaker}.proto, extensions/clusters/aggregate/v3, extensions/load_balancing_policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.nodes import Node
from vramguard.facts.outputs import Step
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.gateways import shared
from vramguard.link.routes.istio import unbounded
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Balance, Breaker, Fallback, Route, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.link.routes.parts import Part
    from vramguard.link.routes.targets import Targets

_MAX_DEPTH: Final = 24
_CONTROL: Final = ("ext_proc", "ext_authz", "xds", "metrics", "telemetry", "tracing", "otel", "ratelimit")
# Headers by which a picker of Gateway API's inference extension, or AIBrix', tells Envoy the pod of a model.
_PICKED: Final = frozenset(("x-gateway-destination-endpoint", "target-pod"))
_WEIGHTED: Final = "client_side_weighted_round_robin"


@dataclass(frozen=True)
class _Cluster:
    name: str
    node: Node
    target: Target | None
    endpoints: int | None  # None where Envoy learns them by itself


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that Envoy's own configuration makes."""
    for by, roots in _sources(targets):
        clusters: dict[str, _Cluster] = {}
        routes: list[Node] = []
        for root in roots:
            for kind, node in _walked(root, 0):
                if kind == "cluster":
                    clusters[node.get("name").text] = _cluster(targets, by, node)
                else:
                    routes.append(node)
        for cluster in clusters.values():
            yield from _of_cluster(by, cluster, clusters)
        for node in routes:
            yield from _route(by, node, clusters)


def _sources(targets: Targets) -> Iterator[tuple[Manifest, list[Node]]]:
    cluster = targets.cluster
    for manifest in cluster.configured("envoy"):
        yield manifest, [manifest.node]
    for policy in cluster.of("EnvoyPatchPolicy"):
        yield policy, [one.get("operation", "value") for one in policy.node.get("spec", "jsonPatches").list()]
    for held in cluster.of("EnvoyFilter", group="istio.io"):
        yield held, [one.get("patch", "value") for one in held.node.get("spec", "configPatches").list()]


def _walked(node: Node, depth: int) -> Iterator[tuple[str, Node]]:
    """The clusters and the routes under a node."""
    if depth > _MAX_DEPTH or not isinstance(node.value, dict | list):
        return
    if isinstance(node.value, dict):
        if node.value.get("name") and not {"connect_timeout", "load_assignment", "lb_policy"}.isdisjoint(node.value):
            yield "cluster", node
            return
        if isinstance(node.value.get("route"), dict) and "match" in node.value:
            yield "route", node
            return
    for child in node.children():
        yield from _walked(child, depth + 1)


def _cluster(targets: Targets, by: Manifest, node: Node) -> _Cluster:
    name = node.get("name").text
    addresses = [
        one.get("endpoint", "address", "socket_address", "address").text
        for group in node.get("load_assignment", "endpoints").list()
        for one in group.get("lb_endpoints").list()
    ]
    kind = node.get("type").text
    endpoints = len(addresses) if kind in ("STATIC", "STRICT_DNS", "LOGICAL_DNS") and addresses else None
    if any(word in name for word in _CONTROL):
        return _Cluster(name, node, None, endpoints)
    found = [target for address in addresses for target in targets.upstream(by, address)]
    header = node.get("original_dst_lb_config", "http_header_name")
    if not found and header.text in _PICKED:
        step = Step(header.at, f"the cluster `{name}` goes to the pod that a picker of model servers names")
        found = [Target(name, step, streams=True)]
    open_ = all(_outside(address) or targets.is_unknown(by, address) for address in addresses)
    if not found and open_ and (held := targets.named(name, node.at)):
        found = [held]
    return _Cluster(name, node, found[0] if found else None, endpoints)


def _outside(address: str) -> bool:
    """Whether an address says nothing of what stands there."""
    return address in ("localhost", "host.docker.internal") or address.replace(".", "").replace(":", "").isdecimal()


def _of_cluster(by: Manifest, cluster: _Cluster, clusters: dict[str, _Cluster]) -> Iterator[Part]:
    node, target = cluster.node, cluster.target
    yield from _aggregate(by, cluster, clusters)
    if target is None:
        return
    title = f"cluster `{cluster.name}`"
    detection, limits = node.get("outlier_detection"), node.get("circuit_breakers")
    if detection:
        window = duration(detection.get("interval"))
        alone = cluster.endpoints == 1 and (target.surface is None or target.surface.manifest is None)
        yield Breaker(
            detection.at,
            "Envoy",
            title,
            Target(target.name, target.step, target.streams, target.gpu, 1, target.surface) if alone else target,
            errors_only=True,
            windows=(window,) if window else (),
            ejection=duration(detection.get("base_ejection_time")),
            most=count(detection.get("max_ejection_percent")),
        )
    elif limits:
        yield Breaker(limits.at, "Envoy", title, target)
    else:
        yield Breaker(node.at, "Envoy", title, target, trips=False, gone=by.guessed)
    for threshold in limits.get("thresholds").list():
        for key in ("max_pending_requests", "max_requests"):
            if setting := count(threshold.get(key)):
                yield from unbounded(setting, title, f"{key}: {setting.written}", target)
    yield from _balanced(node, title, target)


def _balanced(node: Node, title: str, target: Target) -> Iterator[Balance]:
    """Weights from what backends report of their CPU: the default of weighted round robin."""
    for policy in node.get("load_balancing_policy", "policies").list():
        held = policy.get("typed_extension_config")
        metrics = [one.text for one in held.get("typed_config", "metric_names_for_computing_utilization").list()]
        if _WEIGHTED in held.get("name").text and all("cpu" in one or "mem" in one for one in metrics):
            said = ", ".join(metrics) or "the use of the CPU that they report, as no other metric is named"
            yield Balance(held.at, title, f"{_WEIGHTED} by {said}", target)


def _aggregate(by: Manifest, cluster: _Cluster, clusters: dict[str, _Cluster]) -> Iterator[Fallback]:
    """A cluster of clusters, each asked where those before it do not answer."""
    held = cluster.node.get("cluster_type", "typed_config", "clusters")
    names = [(one.text, one) for one in held.list()]
    for name, node in names:
        if name == cluster.name or name in _reached(name, clusters):
            yield Fallback(node.at, "Envoy", cluster.name, name, "cycle", steps=(Step(held.at, "it is made of these"),))
    found = [(clusters[name].target, node) for name, node in names if name in clusters]
    if len(found) > 1 and found[0][0] and all(one for one, _ in found):
        primary, (second, node) = found[0][0], found[1]
        if second and (shares := shared(primary, second)):
            kind = "cycle" if primary.name == second.name else "model"
            steps = (*primary.steps, *second.steps)
            yield Fallback(node.at, f"{by.title}, {cluster.name}", primary.name, second.name, kind, shares, steps)


def _reached(name: str, clusters: dict[str, _Cluster]) -> set[str]:
    """The clusters that an aggregate leads to, itself only where it leads back."""
    found: set[str] = set()
    pending = [name]
    while pending:
        held = clusters.get(pending.pop())
        for one in held.node.get("cluster_type", "typed_config", "clusters").list() if held else ():
            if one.text not in found:
                found.add(one.text)
                pending.append(one.text)
    return found


def _route(by: Manifest, node: Node, clusters: dict[str, _Cluster]) -> Iterator[Route]:
    action = node.get("route")
    weighted = action.get("weighted_clusters", "clusters").list()
    names = [action.get("cluster").text, *(one.get("name").text for one in weighted)]
    found = [clusters[name].target for name in names if name in clusters and clusters[name].target]
    for target in found[:1]:
        if target is None:
            continue
        policy = action.get("retry_policy")
        yield Route(
            action.at,
            "Envoy",
            f"route to `{names[0] or 'several clusters'}`",
            target,
            timeout=duration(action.get("timeout")),
            default=default_timeout("Envoy"),
            retries=count(policy.get("num_retries")),
            first=duration(action.get("idle_timeout")) or duration(policy.get("per_try_idle_timeout")),
            per_try=duration(policy.get("per_try_timeout")),
            managed=True,
            judged=by.kind != "EnvoyFilter",
            gone=by.guessed,
        )
