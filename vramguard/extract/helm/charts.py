"""Blocks of values by the charts that read them, each turned into the container that the chart's template makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vramguard.extract.helm.shared import FORM, flags, holds_a_place, image, launch, texts
from vramguard.extract.made import made, mapping
from vramguard.facts import Hardware, Launch, Word
from vramguard.facts.nodes import Node
from vramguard.source.filling import filled

if TYPE_CHECKING:
    from vramguard.extract.made import Part


@dataclass(frozen=True, slots=True)
class Block:
    """A mapping that has `key`; `read` gets it and its name, and speaks for the keys that it `takes`."""

    key: str
    takes: tuple[str, ...]
    read: Callable[[Node, str], Iterator[Launch]]


# vLLM production-stack 0.1.9, helm/templates/deployment-vllm-multi.yaml: key of vllmConfig -> flag. What is left out
# there (pipelineParallelSize) only ray-cluster.yaml reads.
_PRODUCTION = {
    "maxModelLen": "--max-model-len",
    "dtype": "--dtype",
    "tensorParallelSize": "--tensor-parallel-size",
    "maxNumSeqs": "--max-num-seqs",
    "gpuMemoryUtilization": "--gpu_memory_utilization",
    "maxLoras": "--max_loras",
    "runner": "--runner",
    "convert": "--convert",
}
_RAY = {**_PRODUCTION, "pipelineParallelSize": "--pipeline-parallel-size"}  # likewise, ray-cluster.yaml
_PREFIX = (("enablePrefixCaching", "--enable-prefix-caching"), ("enableChunkedPrefill", "--enable-chunked-prefill"))


def _production_stack(node: Node, _: str) -> Iterator[Launch]:
    """`servingEngineSpec.modelSpec[]` (helm/templates/deployment-vllm-multi.yaml, ray-cluster.yaml)."""
    spec = node.get("servingEngineSpec")
    if spec.get("enableEngine").value is False:
        return
    for model in spec.get("modelSpec").list():
        if model.get("enabled").value is not False and not holds_a_place(model.get("modelURL").text):
            yield from _served(model)


def _served(model: Node) -> Iterator[Launch]:
    ray = model.get("raySpec", "enabled").value is True
    config = model.get("vllmConfig")
    url = model.get("modelURL")
    arguments = [url, *flags(config, _RAY if ray else _PRODUCTION)]
    if model.get("enableLoRA").value is True:
        arguments.append(texts(model.get("enableLoRA"), "--enable-lora"))
    for key, flag in _PREFIX:
        if isinstance(config.get(key).value, bool):
            arguments.append(texts(config.get(key), flag if config.get(key).value else flag.replace("--", "--no-", 1)))
    arguments += [*config.get("extraArgs").list(), *flags(model, {"modelRevision": "--revision"})]
    container: dict[str, Part] = {
        "image": image(model.get("repository"), model.get("tag")),
        "command": ["vllm", "serve"],
        "args": arguments,
        "env": [*_version(config.get("v0")), *model.get("env").list(), *_devices(model.get("lmcacheConfig"))],
        "resources": model.get("resources") if model.get("resources").value else _requests(model),
    }
    pod = {"affinity": _affinity(model)}
    for found in launch(model, model.get("name").text, container, pod):
        yield (
            _with_nodes(found, model.get("replicaCount"), more=1)
            if ray
            else _with_share(found, model.get("requestGPU"))
        )


def _version(old: Node) -> list[Node]:
    return [made(old, {"name": "VLLM_USE_V1", "value": texts(old, "0")})] if old.text == "1" else []


def _devices(config: Node) -> list[Node]:
    devices = config.get("cudaVisibleDevices")
    return [made(devices, {"name": "CUDA_VISIBLE_DEVICES", "value": texts(devices, devices.text)})] if devices else []


def _with_share(found: Launch, count: Node) -> Launch:
    """Less than one card: the template asks for none then, and the pod sees what its node shows it."""
    if not isinstance(count.value, float) or count.value >= 1:
        return found
    places = {**found.hardware.places, "share": count.at}
    return replace(found, hardware=replace(found.hardware, share=count.text, places=places))


def _requests(model: Node) -> Node:
    """_helpers.tpl, chart.resources: `requestGPU` of `requestGPUType`; `requestGPUMem…` are HAMi's shares of a card."""
    count, kind = model.get("requestGPU"), model.get("requestGPUType")
    limits = {}
    if count.text not in ("", "0") and not (isinstance(count.value, float) and count.value < 1):  # as `int` has it
        limits[kind.text or "nvidia.com/gpu"] = count
    for key, resource in (("GPUMem", "gpumem"), ("GPUMemPercentage", "gpumem-percentage"), ("GPUCores", "gpucores")):
        share = model.get(f"limit{key}") or model.get(f"request{key}")
        if share and limits:
            limits[f"nvidia.com/{resource}"] = share
    return made(model, {"limits": limits})


def _affinity(model: Node) -> Node:
    if model.get("affinity").value:
        return model.get("affinity")
    terms = model.get("nodeSelectorTerms")
    return made(
        model, {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    )


def _with_nodes(found: Launch, count: Node, more: int = 0) -> Launch:
    number = count.number()
    if not isinstance(number, int) or number + more <= 1:
        return found
    places = {**found.hardware.places, "nodes": count.at}
    return replace(found, hardware=replace(found.hardware, nodes=number + more, places=places))


# llm-d-modelservice 0.4, charts/llm-d-modelservice/templates/_helpers.tpl


_TEMPLATED = re.compile(r"\{\{-?\s*\.Values\.([\w.]+)\s*-?\}\}")


def _modelservice(node: Node, name: str) -> Iterator[Launch]:
    """`modelArtifacts` with the roles `decode` and `prefill` (_helpers.tpl, llm-d-modelservice.container)."""
    artifacts = node.get("modelArtifacts")
    uri = artifacts.get("uri")
    model = _rendered(node, uri.text).replace('"', "")
    if holds_a_place(model.rpartition("://")[2]):
        return
    for role in ("decode", "prefill"):
        spec = node.get(role)
        if spec.value and spec.get("create").value is not False:
            for container in spec.get("containers").list():
                yield from _role(
                    node, spec, container, texts(uri, _path(model, artifacts)), f"{name}.{role}".lstrip(".")
                )


def _rendered(node: Node, text: str) -> str:
    """`common.tplvalues.render`: values of the chart within values."""
    for _ in range(2):  # name in uri, and whatever name names
        text = filled(_TEMPLATED, lambda match: node.get(*match[1].split(".")).text or match[0], text) or text
    return text


def _path(uri: str, artifacts: Node) -> str:
    """llm-d-modelservice.argsByProtocol: what follows `vllm serve`."""
    scheme, _, path = uri.partition("://")
    if scheme == "pvc":
        return f"{artifacts.get('mountPath').text or '/model-cache'}/{path.partition('/')[2]}"
    return "/".join(path.split("/")[-2:]) if scheme == "pvc+hf" else path or uri


def _role(node: Node, spec: Node, container: Node, model: Node, name: str) -> Iterator[Launch]:
    if "inference-sim" in container.get("image").text:  # answers without a model
        return
    parallel = spec.get("parallelism")
    tensor, data, local, workers = _grid(parallel)
    how = container.get("modelCommand").text or "custom"
    command, arguments = container.get("command"), [*container.get("args").list()]
    if how != "custom":
        command = made(container, ["vllm", "serve"]) if how == "vllmServe" else made(container, None)
        first = [model] if how == "vllmServe" else [texts(model, "--model"), model]
        sizes = (("tensor", "--tensor-parallel-size", tensor), ("data", "--data-parallel-size", data))
        grid = [
            part
            for key, flag, size in sizes
            if size > 1
            for part in (texts(parallel.get(key) or parallel, flag), texts(parallel.get(key) or parallel, str(size)))
        ]
        arguments = [*first, *grid, *arguments]
    told = {"TP_SIZE": tensor, "DP_SIZE": data, "DP_SIZE_LOCAL": local}
    env = [made(spec, {"name": key, "value": str(size)}) for key, size in told.items()]
    kind = (spec.get("accelerator", "type") or node.get("accelerator", "type")).text or "nvidia"
    made_container: dict[str, Part] = {
        "name": container.get("name"),
        "image": container.get("image"),
        "command": command,
        "args": arguments,
        "env": [*env, *container.get("env").list()],
        "resources": _cards(node, container, kind, parallel, tensor * local),
    }
    pod = {"nodeSelector": spec.get("nodeSelector"), "affinity": spec.get("extraConfig", "affinity")}
    for found in launch(container, name, made_container, _labels(pod, spec, node)):
        grouped = _with_workers(found, parallel, workers) if node.get("multinode").value is True else found
        yield replace(grouped, hardware=replace(grouped.hardware, accelerator="cpu")) if kind == "cpu" else grouped


def _grid(parallel: Node) -> tuple[int, int, int, int]:
    """Sizes as llm-d-modelservice.tensorParallelism, dataParallelism, dataLocalParallelism and numWorkers say."""

    def number(key: str) -> int:
        value = parallel.get(key).number()
        return value if isinstance(value, int) else 0

    data, local, workers = number("data"), number("dataLocal"), number("workers")
    whole = data or local * (workers or 1) or 1
    each = local or whole // (workers or 1) or 1
    return number("tensor") or 1, whole, each, workers or whole // each or 1


def _with_workers(found: Launch, parallel: Node, workers: int) -> Launch:
    if workers <= 1:
        return found
    places = {**found.hardware.places, "nodes": (parallel.get("workers") or parallel).at}
    return replace(found, hardware=replace(found.hardware, nodes=workers, places=places))


# accelerator.resources of the chart's own values.yaml
_RESOURCES = {
    "nvidia": "nvidia.com/gpu",
    "intel-i915": "gpu.intel.com/i915",
    "intel-xe": "gpu.intel.com/xe",
    "intel-gaudi": "habana.ai/gaudi",
    "amd": "amd.com/gpu",
    "google": "google.com/tpu",
    "rebellions-atom": "rebellions.ai/ATOM",
}


def _cards(node: Node, container: Node, kind: str, parallel: Node, cards: int) -> Node:
    """llm-d-modelservice.resources: the container's own limits, and tensor x dataLocal cards where they name none."""
    resources = container.get("resources")
    limits = dict(resources.get("limits").items())
    dra = node.get("accelerator", "dra").value is True
    resource = node.get("accelerator", "resources", kind).text or _RESOURCES.get(kind, "nvidia.com/gpu")
    if kind != "cpu" and not dra and resource not in limits:
        limits[resource] = texts(parallel or container, str(cards))
    return made(container, {"limits": mapping(container, limits), "claims": resources.get("claims")})


def _labels(pod: dict[str, Node], spec: Node, node: Node) -> dict[str, Node]:
    """llm-d-modelservice.acceleratorTypes: `labelKey` and `labelValues` become a node affinity."""
    types = spec.get("acceleratorTypes") or node.get("acceleratorTypes")
    if types and types.get("labelKey").text:
        rule = {"key": types.get("labelKey"), "operator": "In", "values": types.get("labelValues")}
        terms = {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
        return {**pod, "affinity": made(types, affinity)}
    return pod


def _kubeai(node: Node, _: str) -> Iterator[Launch]:
    """`catalog` of KubeAI's chart of models (charts/models/templates/models.yaml): those that are enabled."""
    from vramguard.extract.kubernetes import of_manifest

    every = node.get("all", "enabled").value is True
    for name, entry in node.get("catalog").items():
        if entry.get("url") and (every or entry.get("enabled").value is True):
            head = {"apiVersion": "kubeai.org/v1", "kind": "Model", "metadata": {"name": name}}
            for fact in of_manifest(made(entry, {**head, "spec": entry})):
                if isinstance(fact, Launch):
                    yield replace(fact, form=FORM, name=name)


# What TGI's launcher is told by variables (OPEA GenAIInfra 1.4, helm-charts/common/tgi/templates/configmap.yaml).
_TGI = {"LLM_MODEL_ID": "MODEL_ID"}
_TGI |= {key: key for key in ("MAX_INPUT_LENGTH", "MAX_TOTAL_TOKENS", "MAX_BATCH_SIZE", "CUDA_GRAPHS")}
_OPEA = re.compile(r"vllm|tgi|text-generation-inference|ollama")


def _opea(node: Node, name: str) -> Iterator[Launch]:
    """`LLM_MODEL_ID` of OPEA's charts of engines (helm-charts/common/{vllm,tgi,ollama}/templates/deployment.yaml).

    Of the services around them, which name the model that they ask, nothing is said. Those charts' own images, which
    values for them leave out, are of CPUs; `accelDevice` is empty then.
    """
    model, picture = node.get("LLM_MODEL_ID"), image(node.get("image"))
    found = _OPEA.search(picture.text if picture else name.rpartition(".")[2])
    if not found or holds_a_place(model.text):
        return
    engine = {"text-generation-inference": "tgi"}.get(found[0], found[0])
    arguments = [*node.get("extraCmdArgs").list()]
    env = [made(value, {"name": key, "value": value}) for key, value in node.get("env").items()]
    if engine == "vllm":
        arguments += [texts(model, "--model"), model]
    elif engine == "tgi":
        env += [made(value, {"name": to, "value": value}) for key, to in _TGI.items() if (value := node.get(key)).text]
    container: dict[str, Part] = {
        "image": picture,
        "command": node.get("extraCmd", "command"),
        "args": arguments,
        "env": env,
        "resources": node.get("resources"),
    }
    given = {"engine": Word(engine, (picture or node).at)}
    if engine == "ollama" and (word := model.word()):
        given["model"] = word
    for launched in launch(node, name, container, {key: node.get(key) for key in ("nodeSelector", "affinity")}):
        cards = launched.hardware
        plain = node.get("accelDevice").text == "" and "gaudi" not in (picture.text if picture else "")
        if plain and cards.gpus is None and cards.accelerator is None:
            cards = replace(cards, accelerator="cpu")
        yield replace(launched, hardware=cards, given=given)


def _ollama(node: Node, name: str) -> Iterator[Launch]:
    """`ollama.models` of the community's chart (otwld/ollama-helm 1.x, templates/deployment.yaml)."""
    inner = node.get("ollama")
    held = inner.get("models")  # a list before release 1.0 of the chart
    lists = [held] if isinstance(held.value, list) else [held.get(key) for key in ("pull", "run")]
    models = {word.text: word for words in lists for word in words.words()}
    names = [word for entry in held.get("create").list() if (word := entry.get("name").word())]
    for model in [*models.values(), *names]:
        if not holds_a_place(model.text):
            yield _pulled(node, inner, name, model)


def _pulled(node: Node, inner: Node, name: str, model: Word) -> Launch:
    from vramguard.extract.kubernetes.pods import environment

    gpu = inner.get("gpu")
    amount = gpu.get("number")
    cards = amount.number() if amount else 1
    hardware = Hardware(gpus=cards, places={"gpus": (amount or gpu).at})
    if gpu.get("enabled").value is not True:
        hardware = Hardware(accelerator="cpu")
    given = {"engine": replace(model, text="ollama", at=inner.at, first=None), "model": model}
    env = environment(node.get("extraEnv"))
    return Launch(model.at, FORM, name, image=_word(image(node.get("image"))), env=env, hardware=hardware, given=given)


def _word(node: Node | None) -> Word | None:
    return node.word() if node else None


def _sample(node: Node, _: str) -> Iterator[Launch]:
    """`sampleApplication` of llm-d's first chart (llm-d-deployer 1.0, charts/llm-d/templates/sample-application):
    vLLM by a preset, for prefill and decode.
    """
    sample = node.get("sampleApplication")
    uri = sample.get("model", "modelArtifactURI")
    model = uri.word()
    if sample.get("enabled").value is False or model is None or holds_a_place(uri.text.rpartition("://")[2]):
        return
    for role in ("decode", "prefill"):
        if sample.get(role).value and sample.get(role, "replicas").value != 0:
            spec = {"args": sample.get(role, "extraArgs"), "resources": sample.get("resources")}
            for found in launch(sample.get(role), f"sampleApplication.{role}", spec, {}):
                yield replace(found, given={"engine": replace(model, text="vllm", first=None), "model": model})


BLOCKS = (
    Block(
        "servingEngineSpec", ("servingEngineSpec", "routerSpec", "cacheserverSpec", "loraController"), _production_stack
    ),
    Block("modelArtifacts", ("modelArtifacts", "decode", "prefill", "routing", "requester"), _modelservice),
    Block("catalog", ("catalog",), _kubeai),
    Block("LLM_MODEL_ID", ("image",), _opea),
    Block("sampleApplication", ("sampleApplication",), _sample),
    Block("ollama", ("ollama", "image"), _ollama),
)
