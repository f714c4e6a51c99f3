"""The pack `envoy-gateway`: a policy of timeouts and breakers for every surface, and a fallback that is no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.cluster import cluster
from vramguard.packs.parts import File, Plan, filled, template
from vramguard.packs.traffic import behind_services, leading_to, repeated, values

if TYPE_CHECKING:
    from vramguard.facts import Facts
    from vramguard.packs.served import Served

_FALLBACK: Final = "without-model"  # the Service that answers by rules, a cache or constants


def plan(facts: Facts, folder: str) -> Plan:
    """A BackendTrafficPolicy and Backends each, and an HTTPRoute where none leads to the surface."""
    surfaces, notes = behind_services(facts)
    gateway = next((one.name for one in cluster(facts).of("Gateway", group="gateway.networking.k8s.io")), "")
    files = []
    for one in surfaces:
        route = leading_to(facts, one, "HTTPRoute", folder)
        said = _values(one, route.name if route else one.name, gateway or "gateway")
        said["retry"] = "" if repeated(facts, one, folder) else _retry(said["try"])
        names = ["backendtrafficpolicy", "backends", *([] if route else ["httproute"])]
        text = "---\n".join(filled(template(f"{name}.yaml.tmpl"), said) for name in names)
        files.append(File(f"{folder}/envoy-gateway/{one.name}.yaml", text))
        notes.append(f"{one.title}: {said['fallback']} has to answer without a model; nobody else can write it")
        if route:
            notes.append(
                f"{route.title} ({route.at.path}) leads to {one.service}: name the Backends `{one.name}` and "
                f"`{one.name}-without-model` in its backendRefs instead, so that the fallback is asked"
            )
        if not one.namespace:
            notes.append(f"{one.title}: no namespace is written, and a Backend needs one: `default` is supposed")
    if files and not gateway:
        notes.append("no Gateway of this repository: the HTTPRoutes name one called `gateway`")
    return Plan(tuple(files), tuple(notes or ["no surface: there is nothing to route to"]))


def _values(one: Served, route: str, gateway: str) -> dict[str, str]:
    said = values(one)
    fallback = f"{_FALLBACK}.{one.namespace or 'default'}.svc.cluster.local"
    said |= {"host": one.host(), "port": str(one.service_port or 80), "fallback": fallback}
    return said | {"route": route, "gateway": gateway}


def _retry(per_try: str) -> str:
    """One more attempt for what no model has begun with."""
    lines = ["retry:", "  numRetries: 1", *(["  perRetry:", f"    timeout: {per_try}"] if per_try else [])]
    lines += ["  retryOn:", "    triggers: [connect-failure, refused-stream] # what no model has begun with"]
    return "".join(f"\n  {line}" for line in lines)
