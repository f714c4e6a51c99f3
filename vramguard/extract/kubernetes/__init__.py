"""Kubernetes' objects: every container that one starts, every model that one serves, every text that one holds.

`launches` reads one manifest, a file's own or one that was merged or rendered from several.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.extract.engines import mentions
from vramguard.extract.kubernetes import kserve, nim, ome, operators, ray, workloads
from vramguard.facts import Launch, Texts, Word
from vramguard.facts.nodes import Node, within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from vramguard.facts import Fact
    from vramguard.source import Document, KeyPath
    from vramguard.source.program import PythonModule

CONFIG_MAPS = "configmap"
CLAIMS = "claim"  # the form of the Texts that say what a ResourceClaimTemplate claims
_MAX_TEXT = 1 << 17  # characters of a ConfigMap's value that may be a script or settings; a longer one is data
_MAX_NESTED = 3  # manifests within manifests

# Group of the API and kind -> what reads it. Any other kind is searched for pod templates.
_KINDS: Mapping[tuple[str, str], Callable[[Node], Iterator[Launch]]] = {
    ("leaderworkerset.x-k8s.io", "LeaderWorkerSet"): workloads.leader_worker_set,
    ("serving.knative.dev", "Service"): workloads.knative,
    ("kubeflow.org", "PyTorchJob"): workloads.replicas,
    ("kubeflow.org", "MPIJob"): workloads.replicas,
    ("trainer.kubeflow.org", "TrainJob"): workloads.train_job,
    ("serving.kserve.io", "InferenceService"): kserve.inference_service,
    ("serving.kserve.io", "ServingRuntime"): kserve.runtime,
    ("serving.kserve.io", "ClusterServingRuntime"): kserve.runtime,
    ("serving.kserve.io", "LLMInferenceService"): kserve.llm_service,
    ("serving.kserve.io", "LLMInferenceServiceConfig"): kserve.llm_service,
    ("ome.io", "InferenceService"): ome.service,
    ("ome.io", "ServingRuntime"): ome.runtime,
    ("ome.io", "ClusterServingRuntime"): ome.runtime,
    ("ray.io", "RayService"): ray.service,
    ("ray.io", "RayCluster"): ray.containers,
    ("ray.io", "RayJob"): ray.job,
    ("orchestration.aibrix.ai", "RayClusterFleet"): ray.containers,
    ("orchestration.aibrix.ai", "RayClusterReplicaSet"): ray.containers,
    ("apps.nvidia.com", "NIMService"): nim.service,
    ("apps.nvidia.com", "NIMPipeline"): nim.pipeline,
    ("kubeai.org", "Model"): operators.kubeai,
    ("kaito.sh", "Workspace"): operators.kaito,
    ("kaito.sh", "InferenceSet"): operators.kaito,
    ("kaito.sh", "MultiRoleInference"): operators.kaito_roles,
    ("nvidia.com", "DynamoGraphDeployment"): operators.dynamo,
    ("nvidia.com", "DynamoComponentDeployment"): operators.dynamo,
    ("llm-d.ai", "ModelService"): operators.model_service,
    ("model.aibrix.ai", "ModelClaim"): operators.model_claim,
    ("production-stack.vllm.ai", "VLLMRuntime"): operators.vllm_runtime,
}
NOTHING = frozenset(  # kinds that start nothing, and are many or large
    (
        *("CustomResourceDefinition", "Service", "Secret", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
        *("Ingress", "Namespace", "ServiceAccount", "PersistentVolumeClaim", "PersistentVolume", "Kustomization"),
        *("HorizontalPodAutoscaler", "PodTemplate", "VirtualMachine", "AppWrapper"),
        *("Gateway", "GatewayClass", "IngressClass", "Issuer", "ClusterIssuer", "Certificate", "NetworkPolicy"),
    )
)


def extract(document: Document) -> Iterator[Fact]:
    """Every launch and every held text of a file's manifests."""
    manifests = [(number, value) for number, value in enumerate(document.value) if isinstance(value, dict)]
    if not any("apiVersion" in value for _, value in manifests):
        return
    worth = mentions(document.text)
    if not worth and "ConfigMap" not in document.text:
        return
    for number, value in manifests:
        yield from _facts(Node(document, (number,), value), worth, _MAX_NESTED)


def launches(manifest: Mapping[str, Any], document: Document, keys: KeyPath) -> Iterator[Launch]:
    """The launches of one manifest, merged or rendered as it may be.

    Its values are placed by `document`: where the same keys below `keys` stand, or what is nearest to them.
    """
    yield from (fact for fact in of_manifest(Node(document, keys, dict(manifest))) if isinstance(fact, Launch))


def of_text(word: Word) -> Iterator[Launch | Texts | PythonModule]:
    """What the manifests of a text say that stands in another file: a heredoc of a shell script, a value."""
    for manifest in within(word):
        yield from of_manifest(manifest)


def of_manifest(manifest: Node) -> Iterator[Launch | Texts | PythonModule]:
    """What one manifest says: its launches, and the texts that it holds for others."""
    yield from _facts(manifest, worth=True, depth=_MAX_NESTED)


def _facts(manifest: Node, worth: bool, depth: int) -> Iterator[Launch | Texts | PythonModule]:  # noqa: FBT001 - passed through
    kind = manifest.get("kind").text
    group, _, _ = manifest.get("apiVersion").text.rpartition("/")
    if depth < 0 or not kind:
        return
    if kind == "List" or (kind.endswith("List") and isinstance(manifest.get("items").value, list)):
        for item in manifest.get("items").list():
            yield from _facts(item, worth, depth - 1)
    elif kind == "ConfigMap" and not group:
        yield from _config_map(manifest, worth, depth)
    elif worth:
        yield from _object(manifest, group, kind)


def _object(manifest: Node, group: str, kind: str) -> Iterator[Launch | Texts | PythonModule]:
    if kind in ("BaseModel", "ClusterBaseModel"):
        yield from ome.model(manifest)
    elif kind == "NIMCache":
        yield from nim.cache(manifest)
    elif kind in ("ResourceClaimTemplate", "ResourceClaim"):
        yield from _claim(manifest, kind)
    elif reader := _KINDS.get((group, kind)):
        yield from reader(manifest)
    elif kind not in NOTHING:
        yield from workloads.plain(manifest)


def _config_map(manifest: Node, worth: bool, depth: int) -> Iterator[Launch | Texts | PythonModule]:  # noqa: FBT001 - passed through
    held = [(key, node) for key, node in manifest.get("data").items() if len(node.text) <= _MAX_TEXT]
    values = {key: word for key, node in held if (word := node.word())}
    name = manifest.get("metadata", "name").text
    yield Texts(manifest.at, CONFIG_MAPS, name, values)
    for key, word in values.items() if worth else ():
        if key.endswith(".py") and (module := _module(word, name, key)) is not None:
            yield module
    for _, node in held:
        if worth and "apiVersion:" in node.text and "kind:" in node.text:
            for inner in node.parsed():
                yield from _facts(inner, worth, depth - 1)


def _module(word: Word, name: str, key: str) -> PythonModule | None:
    from vramguard.extract.python import embedded  # few files hold a program in Python

    return embedded(word, name, key)


def _claim(manifest: Node, kind: str) -> Iterator[Texts]:
    """What a claim asks for: `gpus`, and `gpu` where an expression chooses among cards."""
    spec = manifest.get("spec", "spec") if kind == "ResourceClaimTemplate" else manifest.get("spec")
    for request in spec.get("devices", "requests").list():
        asked = request.get("exactly") or request
        device = asked.get("deviceClassName").word()
        if device is None or "gpu" not in device.text:
            continue
        count = asked.get("count").word() or Word("1", device.at)
        chosen = asked.get("selectors", 0, "cel", "expression").word()
        values = {"gpus": count, **({"gpu": Word(chosen.text, chosen.at, known=False)} if chosen else {})}
        yield Texts(manifest.at, CLAIMS, manifest.get("metadata", "name").text, values)
