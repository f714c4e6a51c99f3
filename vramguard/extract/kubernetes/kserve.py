"""KServe: inference services, the runtimes that they fill in, and services of large language models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes.hardware import hardware
from vramguard.extract.kubernetes.pods import container_launch, named, pod
from vramguard.extract.kubernetes.workloads import grouped
from vramguard.facts import Hardware, Launch, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.extract.kubernetes.pods import Owner
    from vramguard.facts.nodes import Node

FORM = "kserve"
# Formats of models that are no language models' alone: what serves them decides (KServe v0.20, config/runtimes).
_OTHER_FORMATS = frozenset(
    (
        *("sklearn", "xgboost", "lightgbm", "catboost", "autogluon", "tensorflow", "keras", "onnx", "pytorch"),
        *("torchscript", "pmml", "paddle", "mlflow", "spark", "triton", "tensorrt"),
    )
)
# The image's program of a service of language models: it ends in what the user adds.
_SERVE = (
    "vllm serve /mnt/models ${VLLM_ADDITIONAL_ARGS} $@"  # KServe v0.20, config/llmisvcconfig/config-llm-template.yaml
)
_PARALLEL = {  # LLMInferenceService, spec.parallelism -> the field it becomes (likewise)
    "tensor": "tensor_parallel_size",
    "pipeline": "pipeline_parallel_size",
    "data": "data_parallel_size",
    "expert": "enable_expert_parallel",
}


def inference_service(manifest: Node) -> Iterator[Launch]:
    """The predictor: a model that a runtime serves, or containers of its own; a transformer is no model.

    `joins` names the runtime, or the format by which one is chosen. Older services name the format as a key.
    """
    predictor = manifest.get("spec", "predictor")
    owner = named(manifest, FORM)
    model = predictor.get("model")
    if model:
        yield _predictor(manifest, predictor, model, model.get("modelFormat", "name").text, owner)
        return
    for name, node in predictor.items():
        if isinstance(node.value, dict) and node.get("storageUri"):
            yield _predictor(manifest, predictor, node, name, owner)
            return
    launches = pod(predictor, owner, manifest.get("metadata", "annotations"))
    yield from (_multinode(launch, predictor.get("workerSpec")) for launch in launches)


def _predictor(manifest: Node, predictor: Node, model: Node, format_: str, owner: Owner) -> Launch:
    of = hardware(predictor, model, manifest.get("metadata", "annotations"))
    launch = container_launch(model, predictor, owner, of)
    runtime = model.get("runtime").text
    wanted = {"runtime": runtime} if runtime else {"format": format_}
    given = {} if format_.lower() in _OTHER_FORMATS else model_source(model.get("storageUri"))
    if not given and (path := model.get("storage", "path").word()) and format_.lower() not in _OTHER_FORMATS:
        given = {"model": path}
    names = {"name": manifest.get("metadata", "name").text, "namespace": manifest.get("metadata", "namespace").text}
    return _multinode(replace(launch, given=given, joins=wanted | names), predictor.get("workerSpec"))


def model_source(uri: Node) -> dict[str, Word]:
    """A storage URI as a deployment's model, and the revision that one of the hub may end in (`hf://a/b:abc`)."""
    word = uri.word()
    if word is None or not word.text:
        return {}
    if word.text.startswith("hf://") and word.known and word.text.count(":") > 1:
        name, _, revision = word.text.rpartition(":")
        return {"model": replace(word, text=name), "revision": replace(word, text=revision, first=None)}
    return {"model": word}


def _multinode(launch: Launch, workers: Node) -> Launch:
    """A head and workers: `pipelineParallelSize` pods of `tensorParallelSize` cards (KServe v0.20, predictor.go)."""
    if not workers:
        return launch
    sizes = {"pipeline_parallel_size": "pipelineParallelSize", "tensor_parallel_size": "tensorParallelSize"}
    stated = {field: word for field, key in sizes.items() if (word := workers.get(key).word())}
    told = {field.upper(): word for field, word in stated.items()}
    launch = replace(launch, given={**launch.given, **stated}, env={**told, **launch.env})
    pods = workers.get("pipelineParallelSize")
    tensor = workers.get("tensorParallelSize")
    launch = grouped(launch, pods) if pods else launch
    if tensor and launch.hardware.gpus is None:  # the controller asks for as many
        places = {**launch.hardware.places, "gpus": tensor.at}
        launch = replace(launch, hardware=replace(launch.hardware, gpus=tensor.number(), places=places))
    return launch


def runtime(manifest: Node) -> Iterator[Launch]:
    """A runtime: containers to which a service's model and arguments are added."""
    spec = manifest.get("spec")
    formats = [
        node.get("name").text
        for node in spec.get("supportedModelFormats").list()
        if node.get("autoSelect").value is True
    ]
    owner = named(manifest, FORM)
    joins = {"runtime": manifest.get("metadata", "name").text, "formats": " ".join(formats)}
    if spec.get("disabled").value is True:
        joins["formats"] = ""
    for container in spec.get("containers").list():
        of = hardware(spec, container)
        launch = container_launch(container, spec, owner, of)
        launch = replace(launch, runtime=True, joins=joins | {"container": container.get("name").text})
        yield _multinode(launch, spec.get("workerSpec"))


def llm_service(manifest: Node) -> Iterator[Launch]:
    """A service of one language model: its main workload, and the one that only prefills where there is one."""
    spec = manifest.get("spec")
    yield from _workload(manifest, spec, named(manifest, FORM))
    if prefill := spec.get("prefill"):
        yield from _workload(manifest, prefill, named(manifest, FORM, "prefill"))


def _workload(manifest: Node, part: Node, owner: Owner) -> Iterator[Launch]:
    runtime = manifest.get("kind").text == "LLMInferenceServiceConfig"
    template = part.get("template")
    main = next((node for node in template.get("containers").list() if node.get("name").text == "main"), None)
    of = hardware(template, main, manifest.get("metadata", "annotations")) if main else Hardware()
    launch = container_launch(main or part, template, owner, of)
    given = {**model_source(manifest.get("spec", "model", "uri")), **_parallel(part.get("parallelism"))}
    names = [node.get("name").text for node in manifest.get("spec", "baseRefs").list()]
    joins = {"configs": " ".join(names)} if names else {}
    if runtime:
        role = "prefill" if owner.name.endswith("/prefill") else "main"
        joins = {"config": manifest.get("metadata", "name").text, "role": role}
    elif not launch.entrypoint and not names:
        launch = served(launch)
    launch = replace(launch, given=given, runtime=runtime, joins=joins)
    launch = _devices(launch, manifest.get("metadata", "annotations"))
    if main is None and runtime:
        return
    yield _nodes(launch, part)


def served(launch: Launch) -> Launch:
    """The launch as the controller starts it where no command is given."""
    at = launch.at
    shell = (Word("sh", at), Word("-c", at), Word(_SERVE, at), Word("--", at))
    return replace(launch, command=(*shell, *launch.command), entrypoint=True)


def _parallel(parallelism: Node) -> dict[str, Word]:
    return {field: word for key, field in _PARALLEL.items() if (word := parallelism.get(key).word())}


def _nodes(launch: Launch, part: Node) -> Launch:
    """With workers, ranks of data parallelism are spread over pods of `dataLocal` each, or stages over one pod each."""
    if not part.get("worker"):
        return launch
    ranks, local = part.get("parallelism", "data").number(), part.get("parallelism", "dataLocal").number()
    if isinstance(ranks, int) and isinstance(local, int) and local:
        places = {**launch.hardware.places, "nodes": part.get("parallelism", "data").at}
        return replace(launch, hardware=replace(launch.hardware, nodes=-(-ranks // local), places=places))
    stages = part.get("parallelism", "pipeline")
    return grouped(launch, stages) if stages else launch


_DRA = "serving.kserve.io/exp-dra-device-"  # KServe v0.20, docs/samples/llmisvc/managed-dra


def _devices(launch: Launch, annotations: Node) -> Launch:
    """Cards that the controller claims for the service by annotation: one, if no count is written."""
    kind, count = annotations.get(f"{_DRA}class"), annotations.get(f"{_DRA}count")
    if kind.text != "gpu.nvidia.com" or launch.hardware.gpus is not None:
        return launch
    places = {**launch.hardware.places, "gpus": (count or kind).at}
    return replace(launch, hardware=replace(launch.hardware, gpus=count.number() if count else 1, places=places))
