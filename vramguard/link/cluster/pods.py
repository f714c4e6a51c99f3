"""The pods that an object starts, whatever its kind: the PodSpec, its labels and annotations, its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.extract.kubernetes.hardware import hardware
from vramguard.extract.kubernetes.workloads import templates
from vramguard.facts import Hardware, Manifest
from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Iterator


_MAX_DEPTH: Final = 12
# Kinds whose pods run to an end: no user waits for them.
BATCH: Final = frozenset(
    (
        *("Job", "CronJob", "PyTorchJob", "MPIJob", "TFJob", "TrainJob", "RayJob", "XGBoostJob", "JobSet"),
        *("Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow", "Task", "TaskRun"),
        *("Pipeline", "PipelineRun", "SparkApplication", "ScheduledSparkApplication", "ClusterTask"),
    )
)
# Patterns that services fill in, or that a controller completes: no pod comes of them alone.
PATTERNS: Final = frozenset(
    ("ServingRuntime", "ClusterServingRuntime", "LLMInferenceServiceConfig", "PodTemplate", "ClusterStorageContainer")
)


@dataclass(frozen=True)
class Container:
    """A container of a pod, with the cards that it asks for."""

    node: Node
    hardware: Hardware

    @property
    def name(self) -> str:
        """Its name, empty where it has none."""
        return self.node.get("name").text

    @property
    def has_gpu(self) -> bool:
        """Whether it asks for a GPU, counted or claimed."""
        return self.hardware.accelerator is None and self.hardware.gpus not in (None, 0)


@dataclass(frozen=True)
class Pod:
    """The pods that one template makes. `holder` has the template: a Deployment's `spec`, one role of several."""

    owner: Manifest
    holder: Node
    spec: Node
    labels: Mapping[str, str]
    annotations: Node
    containers: tuple[Container, ...]  # those that run as long as the pod does

    @property
    def replicas(self) -> int | None:
        """How many there are, where a number is written; None where an autoscaler or nobody says."""
        number = self.owner.node.get("spec", "replicas").number()
        return number if isinstance(number, int) else None


def pods(manifest: Manifest) -> Iterator[Pod]:
    """The pods of an object; of KServe's services the predictor, whose spec is a PodSpec with a model in it."""
    node = manifest.node
    if manifest.kind == "InferenceService":
        predictor = node.get("spec", "predictor")
        if predictor:
            yield _pod(manifest, predictor, predictor, node.get("metadata", "annotations"))
        return
    if node.get("spec", "containers").value:
        yield _pod(
            manifest, node, node.get("spec"), node.get("metadata", "annotations"), node.get("metadata", "labels")
        )
        return
    for holder, spec, notes in templates(node.get("spec"), _MAX_DEPTH):
        template = spec.keys[len(holder.keys) : -1]  # what holds the PodSpec: ("template",), or nothing
        yield _pod(manifest, holder, spec, notes, holder.get(*template, "metadata", "labels"))


_FRAMEWORKS: Final = (
    "model",
    "sklearn",
    "xgboost",
    "tensorflow",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "lightgbm",
)


def _pod(manifest: Manifest, holder: Node, spec: Node, notes: Node, labels: Node | None = None) -> Pod:
    listed = [*spec.get("containers").list()]
    helpers = [one for one in spec.get("initContainers").list() if one.get("restartPolicy").text == "Always"]
    models = [spec.get(key) for key in _FRAMEWORKS if isinstance(spec.get(key).value, dict)]
    containers = tuple(Container(node, hardware(spec, node, notes)) for node in (*helpers, *listed, *models))
    said = {key: label.text for key, label in labels.items()} if labels else {}
    return Pod(manifest, holder, spec, said, notes, containers)
