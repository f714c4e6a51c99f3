"""How new pods take the place of old ones: strategies, the cards that both need at once, the time to end."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.link.cluster import cluster
from vramguard.link.cluster.workloads import SURGE, workload
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.cluster import Cluster
    from vramguard.link.cluster.podspecs import Served


@dataclass(frozen=True)
class Strategy:
    """How an object is rolled out. Numbers are pods; None where they are not known."""

    at: Location  # of what decides: the strategy, else the number of replicas, else the object's spec
    written: str
    replicas: int | None
    surge: int | None
    unavailable: int | None

    @property
    def waits(self) -> bool:
        """Whether the first new pod must run before the first old one goes: both need their cards at once."""
        return bool(self.surge) and self.unavailable == 0

    @property
    def at_once(self) -> bool:
        """Whether all pods of several go at the same time."""
        many = self.replicas is not None and self.replicas > 1
        return many and self.unavailable is not None and self.unavailable >= (self.replicas or 0)


def strategy(manifest: Manifest, replicas: int | None) -> Strategy | None:
    """The strategy of a kind that surges by itself; None for another kind, or one that is not knowable."""
    row = workload(manifest)
    if row is None or row.rollout != SURGE:
        return None
    spec = manifest.node.get("spec")
    written = spec.get("strategy")
    if written.value is not None and not isinstance(written.value, dict):
        return None
    if written.get("canary") or written.get("blueGreen"):
        return None  # steps of its own, which VG412 reads
    rolling = written.get("rollingUpdate")
    said = next((node for node in (rolling.get("maxSurge"), written, spec.get("replicas")) if node), spec)
    if written.get("type").text == "Recreate":
        return Strategy(written.at, "Recreate", replicas, 0, replicas)
    surge = _pods(rolling.get("maxSurge"), row.max_surge, replicas, up=True)
    unavailable = _pods(rolling.get("maxUnavailable"), row.max_unavailable, replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1  # both round to nothing: one goes first (ResolveFenceposts in kubernetes' deployment utils)
    words = f"maxSurge {_said(rolling.get('maxSurge'), row.max_surge)}"
    words += f", maxUnavailable {_said(rolling.get('maxUnavailable'), row.max_unavailable)}"
    return Strategy(said.at, words, replicas, surge, unavailable)


def _said(node: Node, otherwise: str) -> str:
    return node.text if node else f"{otherwise} by default"


def _pods(node: Node, otherwise: str, replicas: int | None, *, up: bool) -> int | None:
    """A count of pods, or a share of the replicas that is rounded up (surge) or down (unavailable)."""
    word = node.word()
    text = word.text.strip() if word else otherwise
    if word is not None and not word.known:
        return None
    share = text.removesuffix("%")
    if not share.isdecimal() or len(share) > 6:  # noqa: PLR2004 - no rollout is that wide
        return None
    if share == text:
        return int(text)
    if replicas is None:
        return None
    return -(-int(share) * replicas // 100) if up else int(share) * replicas // 100


_SCALERS: Final = {  # the field for the least number of pods, by kind of autoscaler
    "HorizontalPodAutoscaler": "minReplicas",
    "ScaledObject": "minReplicaCount",
    "PodAutoscaler": "minReplicas",
}


def replicas(joined: Cluster, manifest: Manifest) -> int | None:
    """How many pods an object has at least: what is written, or an autoscaler's least, or 1; None if not known."""
    written = manifest.node.get("spec", "replicas")
    for scaler in () if written else joined.of(*_SCALERS):
        if _scales(joined, scaler, manifest):
            written = scaler.node.get("spec", _SCALERS[scaler.kind])
    number = written.number() if written else 1
    return number if isinstance(number, int) else None


def _scales(joined: Cluster, scaler: Manifest, manifest: Manifest) -> bool:
    name = scaler.node.get("spec", "scaleTargetRef", "name").text
    return name == manifest.name and manifest in joined.named(scaler, manifest.kind, name, scaler.namespace)


# What a node must have for a pod whose nodes are made when pods wait for them.
_MADE: Final = ("cloud.google.com/compute-class", "karpenter.sh/", "eks.amazonaws.com/nodepool", "karpenter.k8s.aws/")


def spare_nodes(facts: Facts) -> Location | None:
    """Where this repository has nodes made when pods wait for them: Karpenter's pools, an autoscaler of the cluster."""
    return facts.once("spare nodes", lambda facts: next(_spare(cluster(facts)), None))


# Files that nobody here reads, by whose names nodes are made: templates, Terraform, the values of a chart.
_NAMED: Final = re.compile(r"(?:^|/)[^/]*(?:karpenter|cluster[-_]autoscaler)", re.IGNORECASE)


def _spare(joined: Cluster) -> Iterator[Location]:
    for pool in (*joined.of("NodePool", group="karpenter.sh"), *joined.of("Provisioner", group="karpenter.sh")):
        yield pool.at
    for holder in joined.of("Deployment"):
        for pod in joined.pods_of(holder):
            if any("cluster-autoscaler" in container.node.get("image").text for container in pod.containers):
                yield holder.at
    yield from (Location(path) for path in sorted(joined.facts.paths) if _NAMED.search(path))


def asks_for_made_nodes(one: Served) -> bool:
    """Whether the pod itself chooses nodes that are made for it."""
    spec = one.pod.spec
    names = [name for name, _ in spec.get("nodeSelector").items()]
    names += [toleration.get("key").text for toleration in spec.get("tolerations").list()]
    return any(name.startswith(_MADE) for name in names)


@dataclass(frozen=True)
class Grace:
    """Seconds that a pod has to end, and where that is written or missing."""

    at: Location
    seconds: int
    written: bool


_DEFAULT_GRACE: Final = 30  # kubernetes/api core/v1 types.go, PodSpec.terminationGracePeriodSeconds


def grace(one: Served) -> Grace | None:
    """The time to end of a pod without a preStop of its own; None where it has one, or the number is not known."""
    if any(container.node.get("lifecycle", "preStop") for container in one.pod.containers):
        return None
    if one.container.node.get("lifecycle").word() is not None:
        return None
    written = one.pod.spec.get("terminationGracePeriodSeconds")
    if not written:
        return Grace(one.pod.spec.at, _DEFAULT_GRACE, written=False)
    number = written.number()
    return Grace(written.at, number, written=True) if isinstance(number, int) else None
