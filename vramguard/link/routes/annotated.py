"""What annotations say: Ingress (ingress-nginx, ALB) and Linkerd's on Services.

kubernetes/ingress-nginx, docs/user-guide/nginx-configuration/annotations.md; linkerd.io/2/reference/circuit-breaking,
linkerd.io/2/reference/{retries,timeouts}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.cluster.references import backends_of
from vramguard.link.routes.durations import count, duration
from vramguard.link.routes.known import default_timeout
from vramguard.link.routes.parts import Breaker, Route, Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Pod
    from vramguard.link.routes.parts import Part, Target
    from vramguard.link.routes.targets import Targets

_NGINX: Final = "nginx.ingress.kubernetes.io/"
_ALB: Final = "alb.ingress.kubernetes.io/load-balancer-attributes"
_OTHERS: Final = ("gce", "traefik", "kong", "haproxy", "istio", "azure", "contour", "tailscale", "cilium", "ngrok")
_ASIDE: Final = ("/metrics", "/health", "/docs", "/dashboard")


def parts(targets: Targets) -> Iterator[Part]:
    """Every part that annotations make."""
    for ingress in targets.cluster.of("Ingress"):
        yield from _ingress(targets, ingress)
    yield from _linkerd(targets)


def _ingress(targets: Targets, ingress: Manifest) -> Iterator[Route]:
    notes = ingress.node.get("metadata", "annotations")
    name = (ingress.node.get("spec", "ingressClassName") or notes.get("kubernetes.io/ingress.class")).text.lower()
    if any(other in name for other in _OTHERS) and "nginx" not in name:
        return  # no annotation of ours speaks to it
    found = list(_backends(targets, ingress))
    for target in found[:1]:
        tries = count(notes.get(f"{_NGINX}proxy-next-upstream-tries"))
        if tries and tries.known == 0:
            tries = Setting(tries.at, -1, tries.written)
        off = "off" in notes.get(f"{_NGINX}proxy-next-upstream").text.split()
        at = notes.at if notes.value else ingress.node.get("metadata", "name").at
        yield Route(
            at,
            "Ingress",
            ingress.title,
            target,
            timeout=duration(notes.get(f"{_NGINX}proxy-read-timeout")) or _alb(notes),
            default=default_timeout("Ingress"),
            retries=None if off else tries,
            attempts=True,
            judged=notes.get(f"{_NGINX}canary").text != "true",  # it has the annotations of the Ingress beside it
            gone=ingress.guessed,
        )


def _backends(targets: Targets, ingress: Manifest) -> Iterator[Target]:
    for path, backend, name in backends_of(ingress.node.get("spec")):
        if path.startswith(_ASIDE):
            continue
        port = (backend.get("service", "port", "number") or backend.get("servicePort")).number()
        yield from targets.host(ingress, name, ingress.namespace, port if isinstance(port, int) else None)


def _alb(notes: Node) -> Setting | None:
    """`idle_timeout.timeout_seconds=600` among an ALB's attributes."""
    held = notes.get(_ALB)
    word = held.word()
    for part in word.text.split(",") if word else ():
        key, _, value = part.strip().partition("=")
        if key == "idle_timeout.timeout_seconds" and value.isdecimal() and len(value) < 8:  # noqa: PLR2004 - digits
            return Setting(held.at, int(value) * 1000, f"{value}s")
    return None


def _linkerd(targets: Targets) -> Iterator[Part]:
    spaces = {one.name for one in targets.cluster.of("Namespace") if _injected(one.node.get("metadata", "annotations"))}
    for service in targets.cluster.of("Service", group="") if _used(targets) else ():
        notes = service.node.get("metadata", "annotations")
        pods = [pod for one in targets.cluster.behind(service) for pod in targets.cluster.pods_of(one)]
        own = any("linkerd.io/" in key for key, _ in notes.items()) or any(_injected(pod.annotations) for pod in pods)
        meshed = own or any(_placed(service, pod) in spaces and not _left_out(pod) for pod in pods)
        for target in targets.service(service)[:1] if meshed else ():
            yield from _service(service, notes, target, judged=own)


def _used(targets: Targets) -> bool:
    """Whether anything of this repository is in Linkerd's mesh."""
    objects = targets.cluster.objects
    return targets.cluster.facts.once("linkerd", lambda _: any(_of_mesh(one) for one in objects()))


def _of_mesh(manifest: Manifest) -> bool:
    places = (("metadata", "annotations"), ("spec", "template", "metadata", "annotations"))
    return any("linkerd.io/" in key for place in places for key, _ in manifest.node.get(*place).items())


def _placed(service: Manifest, pod: Pod) -> str:
    """The namespace that a pod is made in: its owner's, or that of the Service that finds it there."""
    return pod.owner.namespace or service.namespace


def _left_out(pod: Pod) -> bool:
    """Whether a pod of an injected namespace stays outside of the mesh."""
    return pod.annotations.get("linkerd.io/inject").text == "disabled"


def _injected(annotations: Node) -> bool:
    return annotations.get("linkerd.io/inject").text in ("enabled", "ingress")


def _service(service: Manifest, notes: Node, target: Target, *, judged: bool) -> Iterator[Part]:
    """`judged`: the Service or its pods say by themselves that they are meshed, and not only their namespace."""
    timeout = duration(notes.get("timeout.linkerd.io/request"))
    retries = count(notes.get("retry.linkerd.io/limit"))
    yield Route(
        notes.at if notes.value else service.at,
        "Linkerd",
        service.title,
        target,
        timeout=timeout,
        retries=retries,
        per_try=duration(notes.get("retry.linkerd.io/timeout")),
        first=duration(notes.get("timeout.linkerd.io/idle")),
        managed=True,
        judged=judged,
        gone=service.guessed,
    )
    accrual = notes.get("balancer.linkerd.io/failure-accrual")
    if accrual:
        penalty = duration(notes.get("balancer.linkerd.io/failure-accrual-consecutive-min-penalty"))
        yield Breaker(accrual.at, "Linkerd", service.title, target, errors_only=True, ejection=penalty)
    else:
        yield Breaker(service.at, "Linkerd", service.title, target, trips=False, gone=service.guessed)
