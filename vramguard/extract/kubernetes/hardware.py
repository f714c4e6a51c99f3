"""The cards that a pod asks for: its resources, the labels of the nodes that it may run on, and its claims."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from vramguard.facts import Hardware, Unknown
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Word
    from vramguard.facts.nodes import Node

# Labels of nodes whose value names a card or a machine, those that tell most first. Where they are said:
LABELS = (
    "nvidia.com/gpu.product",  # NVIDIA GPU feature discovery, README
    "cloud.google.com/gke-accelerator",  # GKE: GPUs in Standard and Autopilot node pools
    "gpu.nvidia.com/model",  # CoreWeave: node labels
    "gpu.nvidia.com/class",  # likewise
    "karpenter.k8s.aws/instance-gpu-name",  # Karpenter's AWS provider: well-known labels
    "eks.amazonaws.com/instance-gpu-name",  # EKS Auto Mode: well-known labels
    "k8s.amazonaws.com/accelerator",  # cluster-autoscaler on AWS, README
    "machine.cluster.vke.volcengine.com/gpu-name",  # Volcano Engine's VKE
    "aliyun.accelerator/nvidia_name",  # Alibaba Cloud's ACK
    "doks.digitalocean.com/gpu-model",  # DigitalOcean: node labels
    "amd.com/gpu.product-name",  # AMD's node labeller
    "beta.amd.com/gpu.product-name",
    "node.kubernetes.io/instance-type",  # Kubernetes: well-known labels
    "beta.kubernetes.io/instance-type",
    "node.coreweave.cloud/type",
    "karpenter.k8s.aws/instance-family",
    "eks.amazonaws.com/instance-family",
    "karpenter.azure.com/sku-gpu-name",  # AKS node auto-provisioning
    "nvidia.com/gpu.family",  # a generation only: said, so that no other card is supposed
)
# Labels that people give their nodes themselves: believed where the value names a card that is sold.
_OWN_LABEL = re.compile(r"(?:^|[./_-])(?:accelerator|hardware|gpu(?:[._-]?(?:type|model|name|product))?)$", re.I)
_CARD = re.compile(
    r"(?<![a-z0-9])(?:a(?:2|10g?|16|30|40|100|800|[4-6]000)|h(?:20|100|200|800)|l(?:4|20|40s?)|b[123]00|g[bh][23]00|"
    r"p(?:4|40|100)|t4|v100|rtx[ _-]?\w+|mi\d{3}[a-z]?)(?![a-z0-9])",
    re.IGNORECASE,
)
_GPU = re.compile(r"(?:nvidia|amd)\.com/gpu(?:\.shared)?\Z|nvidia\.com/pgpu\Z|gpu\.intel\.com/(?:i915|xe)(?:_\w+)?\Z")
_MIG = re.compile(r"nvidia\.com/(mig-[0-9a-z.+]+)\Z")
_NAMED = re.compile(r"nvidia\.com/(?!gpu(?:mem|cores)|mig-)([\w.-]+)\Z")  # a device plugin configured to name its cards
_OTHER_GPU = re.compile(r"gpu\.nvidia\.com\Z|/[\w.-]*gpu[\w.-]*\Z", re.I)  # of a plugin or class that is not known here
_SHARES = re.compile(  # how much of a card is asked for, in somebody's own resource or annotation
    r"(?:nvidia\.com/gpumem(?:-percentage)?|nvidia\.com/gpucores|aliyun\.com/gpu-mem|tencent\.com/vcuda-memory|"
    r"gpu-fraction|gpu-memory)\Z"
)
# What is no GPU, by the prefix of its resource.
ACCELERATORS = {
    "google.com/tpu": "tpu",
    "aws.amazon.com/neuron": "neuron",
    "habana.ai/gaudi": "gaudi",
    "huawei.com/": "ascend",
    "qualcomm.com/qaic": "qaic",
    "ibm.com/spyre": "spyre",
    "rebellions.ai/": "rebellions",
    "furiosa.ai/": "furiosa",
    "cambricon.com/": "mlu",
}
_TPU_LABEL = "cloud.google.com/gke-tpu-accelerator"
_SHARING = "cloud.google.com/gke-gpu-sharing-strategy"
_PARTITION = "cloud.google.com/gke-gpu-partition-size"
_SHARED = "-SHARED"  # what feature discovery puts behind the name of a card that several pods get at once
_VAGUE = frozenset({"nvidia", "amd", "intel", "gpu", "nvidia-gpu", "true", "false", "present", "enabled", "any", ""})


@dataclass(slots=True)
class _Found:
    """Hardware in the making: the first that is said of each of its fields counts."""

    hardware: Hardware = field(default_factory=Hardware)
    maker: tuple[str, Location] | None = None  # a resource of another maker than NVIDIA, which does not say its card
    part: Location | None = None  # where a part of a card is asked for

    def put(self, name: str, value: str | int | Unknown | None, at: Location, *, anew: bool = False) -> None:
        """Take a value for a field that has none, or in its old value's place."""
        if value is not None and (anew or getattr(self.hardware, name) is None):
            changes: dict[str, Any] = {name: value, "places": {**self.hardware.places, name: at}}
            self.hardware = replace(self.hardware, **changes)

    def done(self) -> Hardware:
        if self.maker:
            self.put("gpu", *self.maker)
        if self.part and self.hardware.gpus is None:  # asked for, uncounted
            self.hardware = replace(self.hardware, places={**self.hardware.places, "gpus": self.part})
        return self.hardware


def hardware(pod: Node, container: Node, annotations: Node | None = None) -> Hardware:
    """What one container of a pod asks for. `pod` is its PodSpec."""
    found = _Found()
    _resources(container.get("resources"), found)
    claims = {node.get("name").text for node in container.get("resources", "claims").list()}
    _claims(pod, claims, found)
    _runtime(pod, found)
    for name, node in annotations.items() if annotations else ():
        if _SHARES.match(name):
            found.put("share", f"{name}={node.text}", node.at)
            found.part = node.at
    _labels(pod, found)
    return found.done()


def of_resources(resources: Node, pod: Node) -> Hardware:
    """What a custom resource asks for whose resources stand beside what it says of its pod."""
    found = _Found()
    _resources(resources, found)
    _labels(pod, found)
    return found.done()


def _resources(resources: Node, found: _Found) -> None:
    amounts: dict[str, Node] = {}
    for kind in ("limits", "requests"):  # equal of what is no CPU or memory; one may be left out
        for name, node in resources.get(kind).items():
            amounts.setdefault(name, node)
    zero = None
    for name, node in amounts.items():
        count = node.number()
        if count == 0:
            zero = node if _GPU.match(name) else zero
            continue
        _resource(name, count, node, found)
    if zero is not None and found.hardware == Hardware():
        found.put("gpus", 0, zero.at)


def _resource(name: str, count: int | Unknown | None, node: Node, found: _Found) -> None:
    slice_, named = _MIG.match(name), _NAMED.match(name)
    kind = next((kind for prefix, kind in ACCELERATORS.items() if name.startswith(prefix)), None)
    if kind:
        found.put("accelerator", kind, node.at)
    elif slice_:
        found.put("gpu", slice_[1], node.at)
        found.put("gpus", count, node.at)
    elif _GPU.match(name):
        found.put("gpus", count, node.at)
        if name.endswith(".shared"):
            found.put("share", "time-sliced", node.at)
        if not name.startswith("nvidia.com/"):
            found.maker = (name, node.at)
    elif _SHARES.match(name):
        found.put("share", f"{name}={node.text}", node.at)
        found.part = node.at
    elif named and _CARD.search(named[1]):
        found.put("gpu", named[1], node.at)
        found.put("gpus", count, node.at)
    elif _OTHER_GPU.search(name):
        found.put("gpus", Unknown(f"{name}: {node.text}"), node.at)


def _claims(pod: Node, claims: set[str], found: _Found) -> None:
    """Dynamic resource allocation: what is claimed stands in an object of its own, which a join has to find."""
    for claim in pod.get("resourceClaims").list():
        template = claim.get("resourceClaimTemplateName") or claim.get("resourceClaimName")
        if claim.get("name").text in claims and template:
            found.put("gpus", Unknown(template.text), template.at)


def _runtime(pod: Node, found: _Found) -> None:
    """NVIDIA's runtime gives a container every card of its node, or those that a variable names, without a limit."""
    runtime = pod.get("runtimeClassName")
    if found.hardware.gpus is None and "nvidia" in runtime.text:
        found.hardware = replace(found.hardware, places={**found.hardware.places, "gpus": runtime.at})


def _labels(pod: Node, found: _Found) -> None:
    """What the labels of the nodes say that the pod may run on."""
    labels = selected(pod)
    _sharing(labels, found)
    tpu = labels.get(_TPU_LABEL)
    if tpu:
        found.put("accelerator", "tpu", tpu[1])
    slice_ = found.hardware.gpu
    for label, (value, at) in _ranked(labels):
        if label == "nvidia.com/gpu.product" and isinstance(value, str) and value.endswith(_SHARED):
            found.put("share", "time-sliced", at)
            value = value.removesuffix(_SHARED)  # noqa: PLW2901 - the card's own name
        if slice_ is None:
            found.put("gpu", value, at)
        elif isinstance(value, str) and "-MIG-" in value:  # says more than the resource: of which card it is a slice
            found.put("gpu", value, at, anew=True)
        elif isinstance(value, str) and isinstance(slice_, str) and label == "nvidia.com/gpu.product":
            found.put("gpu", f"{value}-{slice_.replace('mig-', 'MIG-')}", found.hardware.places["gpu"], anew=True)
        return


def _sharing(labels: Mapping[str, tuple[str | Unknown, Location]], found: _Found) -> None:
    if sharing := labels.get(_SHARING):
        value = sharing[0]
        found.put("share", value if isinstance(value, str) else value.text, sharing[1])
    if partition := labels.get(_PARTITION):
        value = partition[0]
        found.put("gpu", f"mig-{value}" if isinstance(value, str) else value, partition[1])


def _ranked(
    labels: Mapping[str, tuple[str | Unknown, Location]],
) -> Iterator[tuple[str, tuple[str | Unknown, Location]]]:
    """Labels that say what the card is, the surest first."""
    yield from ((label, labels[label]) for label in LABELS if label in labels)
    for label, (value, at) in labels.items():
        if _OWN_LABEL.search(label) and isinstance(value, str) and _CARD.search(value):
            yield label, (value, at)


def selected(pod: Node) -> dict[str, tuple[str | Unknown, Location]]:
    """The labels that a node must have for this pod, with their values; Unknown where several would do."""
    result = _affinity(pod)
    for name, node in pod.get("nodeSelector").items():
        word = node.word()
        if word and word.text.lower() not in _VAGUE:
            result[name] = (word.value, node.at)
    return result


def _affinity(pod: Node) -> dict[str, tuple[str | Unknown, Location]]:
    path = ("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
    terms = list(pod.get(*path).list())  # of which a node has to meet one
    found: dict[str, list[Word]] = {}
    terms_of: dict[str, set[int]] = {}
    for number, term in enumerate(terms):
        for match in term.get("matchExpressions").list():
            if match.get("operator").text == "In":
                key = match.get("key").text
                terms_of.setdefault(key, set()).add(number)
                found.setdefault(key, []).extend(match.get("values").words())
    return {
        key: (_one(words, everywhere=len(terms_of[key]) == len(terms)), words[0].at)
        for key, words in found.items()
        if any(word.text.lower() not in _VAGUE for word in words)
    }


def _one(words: list[Word], *, everywhere: bool) -> str | Unknown:
    """The value that all agree on; Unknown where several would do, or a node without the label."""
    values = list(dict.fromkeys(word.text for word in words))
    certain = everywhere and len(values) == 1 and words[0].known
    return values[0] if certain else Unknown("|".join(values))
