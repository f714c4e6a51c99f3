"""The pack `istio`: a bounded route and a breaker for every surface behind a Service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.cluster import cluster
from vramguard.packs.parts import File, Plan, filled, template
from vramguard.packs.traffic import behind_services, leading_to, repeated, values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.facts import Facts


def plan(facts: Facts, folder: str, beside: Sequence[str] = ()) -> Plan:
    """A VirtualService and a DestinationRule each; what is there already is told what it lacks."""
    surfaces, notes = behind_services(facts)
    gateway = "envoy-gateway" in beside or bool(cluster(facts).of("BackendTrafficPolicy"))
    files = []
    for one in surfaces:
        said = values(one)
        said["host"] = one.host() if one.namespace else one.service
        said |= _retries(said["try"], again=gateway or repeated(facts, one, folder))
        documents = []
        for kind in ("VirtualService", "DestinationRule"):
            text = filled(template(f"{kind.lower()}.yaml.tmpl"), said)
            if other := leading_to(facts, one, kind, folder):
                notes.append(
                    f"{other.title} ({other.at.path}) is there for {one.service}, and two of a host undo each "
                    f"other: give it {_wanted(kind, said['timeout'])}"
                )
            else:
                documents.append(text)
        if documents:
            files.append(File(f"{folder}/istio/{one.name}.yaml", "---\n".join(documents)))
    if not files and not notes:
        notes.append("no surface: there is nothing to route to")
    if files:
        notes.append(
            "a mesh has no fallback of its own: whoever calls these hosts answers without a model on 503 and 504"
        )
    return Plan(tuple(files), tuple(notes))


def _retries(per_try: str, *, again: bool) -> dict[str, str]:
    """Retries of what no model has begun with: in one place alone, and that is the one nearest to the user."""
    if again:
        return {
            "retried": "# What fails is repeated before it comes here, and not here as well.",
            "retries": "attempts: 0",
        }
    lines = [
        "attempts: 1",
        *([f"perTryTimeout: {per_try}"] if per_try else []),
        "retryOn: connect-failure,refused-stream",
    ]
    said = "# A request that the model has begun with is not repeated: that would only add to its queue."
    return {"retried": said, "retries": "\n        ".join(lines)}


def _wanted(kind: str, timeout: str) -> str:
    if kind == "VirtualService":
        return f'`timeout: {timeout}` and `retries: {{attempts: 1, retryOn: "connect-failure,refused-stream"}}`'
    return "`outlierDetection: {consecutiveGatewayErrors: 3, interval: 3s, baseEjectionTime: 30s}`"
