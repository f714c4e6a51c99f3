"""What the packs for gateways say alike of a surface: how long a request may take, and who routes to it already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.cluster import cluster
from vramguard.link.routes import Route, traffic
from vramguard.packs.served import Served, served

if TYPE_CHECKING:
    from vramguard.facts import Facts, Manifest

_AT_ONCE: Final = {
    "budget_says": "a slow answer becomes an error after 500 ms, and the breaker counts it.",
    "timeout": "500ms",
    "try": "250ms",
}
# The first token's budget is the alert SlowFirstToken's: a proxy that waits for headers does not see it, as an engine
# sends those of a stream before it has computed anything.
_STREAM: Final = {
    "budget_says": "an answer in tokens ends after a minute; the alert SlowFirstToken watches its first.",
    "timeout": "60s",
    "try": "",
}


def behind_services(facts: Facts) -> tuple[list[Served], list[str]]:
    """The surfaces that a Service sends to, and a sentence for each other one."""
    found = [one for one in served(facts) if not one.composed]
    notes = [
        f"{one.title}: no Service sends to it, so that nothing can route to it" for one in found if not one.service
    ]
    return [one for one in found if one.service], notes


def values(one: Served) -> dict[str, str]:
    """What the templates of routes and breakers ask for."""
    budget = _STREAM if one.streams else _AT_ONCE
    return {
        **budget,
        "title": one.title,
        "name": one.name,
        "namespace": f"\n  namespace: {one.namespace}" if one.namespace else "",
    }


def leading_to(facts: Facts, one: Served, kind: str, folder: str) -> Manifest | None:
    """An object of this kind that names the surface's Service already, less those of the packs' own folder."""
    for manifest in cluster(facts).of(kind):
        if manifest.at.path.startswith(f"{folder}/"):
            continue
        spec = manifest.node.get("spec")
        hosts = [spec.get("host").text]
        for rule in spec.get("http").list():
            hosts += [route.get("destination", "host").text for route in rule.get("route").list()]
        for rule in spec.get("rules").list():
            hosts += [
                ref.get("name").text for ref in rule.get("backendRefs").list() if _to_service(ref.get("kind").text)
            ]
        if any(_names(manifest, host, one) for host in hosts if host):
            return manifest
    return None


def repeated(facts: Facts, one: Served, folder: str) -> bool:
    """Whether a layer before the surface repeats what fails already, less those of the packs' own folder."""
    return any(
        route.target.surface is one.surface and route.retries is not None and route.retries.known != 0
        for route in traffic(facts).of(Route)
        if not route.at.path.startswith(f"{folder}/")
    )


def _to_service(kind: str) -> bool:
    return kind in ("", "Service")


def _names(manifest: Manifest, host: str, one: Served) -> bool:
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0] or manifest.namespace
    return name == one.service and (not namespace or not one.namespace or namespace == one.namespace)
