"""Custom resources of serving stacks that state a model instead of a container."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.data import load
from vramguard.extract.kubernetes.hardware import LABELS, of_resources
from vramguard.extract.kubernetes.kserve import model_source
from vramguard.extract.kubernetes.nim import image
from vramguard.extract.kubernetes.pods import container_launch, environment, named, pod, template
from vramguard.extract.kubernetes.workloads import flag, grouped
from vramguard.facts import Hardware, Launch, Reference, Unknown, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts.nodes import Node


def kubeai(manifest: Node) -> Iterator[Launch]:
    """KubeAI's Model: `engine`, `url`, arguments, and a resource profile times a count."""
    spec = manifest.get("spec")
    stated = {"engine": spec.get("engine").word(), **model_source(spec.get("url"))}
    yield Launch(
        manifest.at,
        "kubeai",
        named(manifest).name,
        spec.get("args").words(),
        entrypoint=False,
        env=environment(spec.get("env")),
        image=spec.get("image").word(),
        given={field: word for field, word in stated.items() if word},
        hardware=_profile(spec.get("resourceProfile")),
        joins={"profile": spec.get("resourceProfile").text.partition(":")[0]},
    )


def _profile(node: Node) -> Hardware:
    """`nvidia-gpu-l4:2`, by the names of KubeAI's own profiles (charts/kubeai/values.yaml); the card alone is kept."""
    word = node.word()
    if word is None:
        return Hardware()
    name, _, count = word.text.rpartition(":")
    kind = next((part for part in name.split("-") if part in ("cpu", "tpu", "neuron", "gaudi")), None)
    if kind:
        return Hardware(accelerator=kind, places={"accelerator": node.at})
    card = name.removeprefix("nvidia-gpu-").removeprefix("amd-gpu-")
    gpus = int(count) if count.isdecimal() and len(count) < 10 else Unknown(count)  # noqa: PLR2004 - no count is that long
    return Hardware(gpu=card if word.known else Unknown(card), gpus=gpus, places={"gpu": node.at, "gpus": node.at})


def kaito(manifest: Node) -> Iterator[Launch]:
    """KAITO's Workspace, and the set of them: a preset of a model, on machines of a type."""
    owner = named(manifest, "kaito")
    held = manifest.get("spec", "template") or manifest
    resource = held.get("resource")
    for part in ("inference", "tuning"):
        of = held.get(part)
        if not of:
            continue
        yield from template(of.get("template"), owner)
        preset = of.get("preset", "name").word()
        if preset is None:
            continue
        trains = part == "tuning"
        given = _preset(preset) | ({"mode": Word("training", of.at)} if trains else {})
        engine = Word("transformers", of.at) if trains else _kaito_engine(manifest, of)
        config = of.get("config").text
        yield Launch(
            of.at,
            "kaito",
            owner.name,
            entrypoint=False,
            given={"engine": engine, **given},
            hardware=_machines(resource),
            joins={"config": config} if config else {},
        )


def _kaito_engine(manifest: Node, at: Node) -> Word:
    """The runtime: vLLM unless an annotation says otherwise (KAITO v0.6, docs/inference)."""
    stated = manifest.get("metadata", "annotations", "kaito.sh/runtime").word()
    return stated or Word("vllm", at.at)


def _preset(preset: Word) -> dict[str, Word]:
    """The model that a preset is; a name with a `/` is a model's own."""
    found = next((row for row in load("kaito")["preset"] if row["name"] == preset.text.lower()), None)
    if found is None:
        return {"model": preset}
    return {key: Word(found[key], preset.at) for key in ("model", "revision")}


def _machines(resource: Node) -> Hardware:
    machine, count = resource.get("instanceType"), resource.get("count")
    partition = resource.get("partition")
    if partition.get("mode").text == "mig" and (profile := partition.get("profile").word()):
        return Hardware(gpu=f"mig-{profile.text}", gpus=1, places={"gpu": profile.at, "gpus": profile.at})
    word = machine.word()
    result = Hardware(gpu=word.value if word and word.text else None, places={"gpu": machine.at})
    if partition.get("mode").text == "accelerator" and (cards := partition.get("count")):
        result = replace(result, gpus=cards.number(), places={**result.places, "gpus": cards.at})
    if count:
        result = replace(result, nodes=count.number(), places={**result.places, "nodes": count.at})
    return result


def kaito_roles(manifest: Node) -> Iterator[Launch]:
    """KAITO's inference in roles: one model, prefilled and decoded on different machines."""
    spec = manifest.get("spec")
    model = spec.get("model", "name").word()
    for role in spec.get("roles").list():
        if model:
            given = {"engine": Word("vllm", role.at), **_preset(model)}
            owner = named(manifest, "kaito", role.get("type").text)
            yield Launch(role.at, "kaito", owner.name, entrypoint=False, given=given, hardware=_machines(role))


def dynamo(manifest: Node) -> Iterator[Launch]:
    """Dynamo's graph: every service of it, and the one of a component."""
    services = list(manifest.get("spec", "services").items())
    if manifest.get("kind").text == "DynamoComponentDeployment":
        services = [("", manifest.get("spec"))]
    for name, service in services:
        yield from _dynamo_service(manifest, name, service)


def _dynamo_service(manifest: Node, name: str, service: Node) -> Iterator[Launch]:
    spec = service.get("extraPodSpec")
    main = spec.get("mainContainer")
    if not main:
        return
    found = of_resources(service.get("resources"), spec)
    for kind in ("limits", "requests"):
        count = service.get("resources", kind, "gpu")
        if count and found.gpus is None:
            found = replace(found, gpus=count.number(), places={**found.places, "gpus": count.at})
    launch = container_launch(main, spec, named(manifest, "dynamo", name), found)
    secret = service.get("envFromSecret")
    references = (*launch.references, *([Reference(secret.at, "Secret", secret.text)] if secret else []))
    env = {**environment(manifest.get("spec", "envs")), **environment(service.get("envs")), **launch.env}
    launch = replace(launch, at=service.at, env=env, references=references)
    nodes = service.get("multinode", "nodeCount")
    yield grouped(launch, nodes) if nodes else launch


def model_service(manifest: Node) -> Iterator[Launch]:
    """llm-d's ModelService: a model's artifacts, and containers that prefill and decode."""
    spec = manifest.get("spec")
    source = model_source(spec.get("modelArtifacts", "uri"))
    for role in ("prefill", "decode"):
        part = spec.get(role)
        parallel = part.get("parallelism", "tensor").word()
        stated = {**source, **({"tensor_parallel_size": parallel} if parallel else {})}
        for launch in pod(part, named(manifest, "llm-d", role)):
            yield replace(launch, given=stated, hardware=_accelerator(launch.hardware, part.get("acceleratorTypes")))


def _accelerator(hardware: Hardware, types: Node) -> Hardware:
    """A label of nodes that stands as a key and a list of values."""
    values = types.get("labelValues").words()
    if types.get("labelKey").text not in LABELS or len(values) != 1 or hardware.gpu is not None:
        return hardware
    return replace(hardware, gpu=values[0].value, places={**hardware.places, "gpu": values[0].at})


def model_claim(manifest: Node) -> Iterator[Launch]:
    """AIBrix's ModelClaim: a model that a pool of pods loads."""
    spec = manifest.get("spec")
    stated = {"engine": spec.get("engine").word(), **model_source(spec.get("artifactURL"))}
    flags = tuple(word for key, node in spec.get("engineConfig", "args").items() for word in flag(key, node))
    given = {field: word for field, word in stated.items() if word}
    yield Launch(manifest.at, "aibrix", named(manifest).name, flags, entrypoint=False, given=given)


_VLLM_RUNTIME = {  # production-stack, operator/api/v1alpha1/vllmruntime_types.go
    ("model", "modelURL"): "model",
    ("model", "maxModelLen"): "max_model_len",
    ("model", "dtype"): "dtype",
    ("model", "maxNumSeqs"): "max_num_seqs",
    ("vllmConfig", "tensorParallelSize"): "tensor_parallel_size",
    ("vllmConfig", "gpuMemoryUtilization"): "gpu_memory_utilization",
    ("vllmConfig", "maxLoras"): "max_loras",
}


def vllm_runtime(manifest: Node) -> Iterator[Launch]:
    """The production stack's VLLMRuntime."""
    spec = manifest.get("spec")
    stated = {field: word for keys, field in _VLLM_RUNTIME.items() if (word := spec.get(*keys).word())}
    if spec.get("model", "enableLoRA").value is not True:
        stated.pop("max_loras", None)
    deployment = spec.get("deploymentConfig")
    cards = deployment.get("resources", "gpu")
    found = of_resources(deployment, deployment)
    if cards:
        found = replace(found, gpus=cards.number(), places={**found.places, "gpus": cards.at})
    yield Launch(
        manifest.at,
        "production-stack",
        named(manifest).name,
        spec.get("vllmConfig", "extraArgs").words(),
        entrypoint=False,
        env=environment(spec.get("vllmConfig", "env")),
        image=image(deployment.get("image")),
        given={"engine": Word("vllm", manifest.at), **stated},
        hardware=found,
    )
