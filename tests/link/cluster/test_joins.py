"""How objects name each other: builds, files and folders, prefixes, hosts, selectors, and who serves a model."""

from __future__ import annotations

import dataclasses
import pickle
from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, Manifest
from vramguard.link.cluster import Cluster, cluster
from vramguard.link.deployments import deployments
from vramguard.link.kustomize import overlaid
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

GPU = "resources: {limits: {nvidia.com/gpu: 1}}"
SERVER = f"image: vllm/vllm-openai:v0.16.0, args: [--model, org/model], ports: [{{containerPort: 8000}}], {GPU}"


def workload(name: str, container: str = SERVER, kind: str = "Deployment", labels: str = "app: llama") -> str:
    return f"""\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  replicas: 2
  template:
    metadata: {{labels: {{{labels}}}}}
    spec:
      containers:
      - {{name: server, {container}}}
"""


def service(name: str, selector: str = "app: llama", namespace: str = "") -> str:
    where = f", namespace: {namespace}" if namespace else ""
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}{where}}}\nspec: {{selector: {{{selector}}}}}\n"


def scaler(target: str) -> str:
    return (
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: scaler}\n"
        f"spec: {{scaleTargetRef: {{kind: Deployment, name: {target}}}, maxReplicas: 3}}\n"
    )


def graph(files: Mapping[str, str]) -> Cluster:
    documents = [read(path, text.encode(), kind=kind_of(path)) for path, text in files.items() if kind_of(path)]
    found = [fact for document in documents if isinstance(document, Document) for fact in extract(document)]
    facts = overlaid(Facts(found, paths=files), lambda path: files[path].encode() if path in files else None)
    return cluster(facts.adding(deployments(facts)))


def target(files: Mapping[str, str]) -> list[str]:
    found = graph(files)
    (by,) = found.of("HorizontalPodAutoscaler")
    return [one.at.path for one in found.named(by, "Deployment", by.node.get("spec", "scaleTargetRef", "name").text)]


# --- hosts


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("llama", 1),
        ("llama.default", 1),
        ("llama.default.svc.cluster.local", 1),
        ("llama.example.com", 0),
        ("llama.thirdparty.co.uk", 0),
    ],
)
def test_a_host_of_the_network_outside_is_no_service(host: str, meant: int) -> None:
    found = graph({"a.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: llama}\n" + "---\n" + scaler("llama")})
    assert len(found.hosts(found.of("HorizontalPodAutoscaler")[0], host)) == meant


# --- what has a card and serves no model


@pytest.mark.parametrize(
    "image",
    ["jellyfin/jellyfin:10.9.1", "nvcr.io/nvidia/k8s/dcgm-exporter:3.3.5", "tensorflow/tensorflow:2.13.0-gpu-jupyter"],
)
def test_what_has_a_card_and_a_port_may_serve_no_model(image: str) -> None:
    compose = f"""\
services:
  it:
    image: {image}
    ports: ["8096:8096"]
    deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia, count: 1, capabilities: [gpu]}}]}}}}}}
"""
    pod = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: it}}
spec:
  containers:
    - name: it
      image: {image}
      ports: [{{containerPort: 8096}}]
      resources: {{limits: {{nvidia.com/gpu: 1}}}}
"""
    assert graph({"compose.yaml": compose, "pod.yaml": pod}).surfaces == []
    own = {"compose.yaml": compose.replace(image, "shop:1"), "pod.yaml": pod.replace(image, "shop:1")}
    assert len(graph(own).surfaces) == 2


# --- surfaces that answer in tokens


@pytest.mark.parametrize(
    ("name", "runtime", "streams"),
    [
        ("ornith-9b", "llamacpp-arm64", True),
        ("qwen-chat", "", True),
        ("price", "", False),
        ("gptq-price", "", False),
        ("iris", "kserve-sklearnserver", False),
    ],
)
def test_what_is_called_as_a_language_model_answers_in_tokens(name: str, runtime: str, streams: bool) -> None:  # noqa: FBT001
    named = f"      runtime: {runtime}\n" if runtime else ""
    text = f"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {{name: {name}}}\nspec:\n"
    text += f"  predictor:\n    model:\n      modelFormat: {{name: custom}}\n{named}      storageUri: s3://models/m\n"
    (surface,) = graph({"a.yaml": text}).surfaces
    assert surface.streams is streams


# --- names


def test_a_name_is_looked_for_in_the_file_then_the_folder_then_anywhere() -> None:
    own = {"a/all.yaml": scaler("llama") + "---\n" + workload("llama")}
    beside, far = {"a/deploy.yaml": workload("llama")}, {"b/deploy.yaml": workload("llama")}
    assert target({**own, **beside, **far}) == ["a/all.yaml"]
    assert target({"a/hpa.yaml": scaler("llama"), **beside, **far}) == ["a/deploy.yaml"]
    assert target({"a/hpa.yaml": scaler("llama"), **far}) == ["b/deploy.yaml"]


def test_prefixes_and_suffixes_are_a_builds_and_plain_files_mean_the_very_name() -> None:
    assert target({"a.yaml": scaler("llama"), "b.yaml": workload("prod-llama")}) == []
    assert target({"a.yaml": scaler("llama"), "b.yaml": workload("llama-v2")}) == []
    built = {"base/b.yaml": workload("prod-llama"), "base/kustomization.yaml": "resources: [b.yaml]\n"}
    assert target({"a.yaml": scaler("llama"), **built}) == ["base/b.yaml"]
    assert target({"a.yaml": scaler("llama"), "b.yaml": workload("prod-llama"), "c.yaml": workload("llama")}) == [
        "c.yaml"
    ]
    assert target({"a.yaml": scaler("llama"), "b.yaml": workload("llamas")}) == []
    assert target({"a.yaml": scaler("a"), "b.yaml": workload("prod-a")}) == []


def test_an_object_of_another_namespace_is_not_meant() -> None:
    found = graph({"a.yaml": service("llama", namespace="prod"), "b.yaml": workload("x")})
    (workload_,) = found.of("Deployment")
    assert [one.name for one in found.hosts(workload_, "llama.prod.svc.cluster.local")] == ["llama"]
    assert found.hosts(workload_, "llama.test.svc.cluster.local") == []
    assert [one.name for one in found.hosts(workload_, "llama")] == ["llama"]


# --- selectors and hosts


def test_a_service_sends_to_the_pods_that_have_all_its_labels() -> None:
    files = {
        "a.yaml": service("llama", "app: llama, tier: gpu"),
        "b.yaml": workload("one", labels="app: llama, tier: gpu, more: x"),
        "c.yaml": workload("two", labels="app: llama"),
    }
    found = graph(files)
    (by,) = found.of("Service", group="")
    assert [one.name for one in found.behind(by)] == ["one"]
    assert found.behind(graph({"a.yaml": service("none", "")}).of("Service")[0]) == []


def test_a_host_leads_to_the_surface_behind_it() -> None:
    found = graph({"a.yaml": service("web"), "b.yaml": workload("llama")})
    (by,) = found.of("Service", group="")
    assert [one.name for one in found.served_by(by, "web.default.svc.cluster.local")] == ["Deployment/llama"]
    assert found.served_by(by, "other") == []


def test_a_host_that_a_controller_makes_leads_to_its_service() -> None:
    kserve = (
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: iris}\n"
        "spec: {predictor: {model: {modelFormat: {name: sklearn}, storageUri: 's3://a'}}}\n"
    )
    found = graph({"a.yaml": kserve})
    (by,) = found.of("InferenceService")
    assert [one.name for one in found.served_by(by, "iris-predictor.default")] == ["InferenceService/iris"]
    assert found.served_by(by, "irises") == []


# --- surfaces


def names(text: str, path: str = "a.yaml") -> list[tuple[str, bool]]:
    return [(one.name, one.gpu is not None) for one in graph({path: text}).surfaces]


RAY = f"{{containers: [{{image: r, {GPU}}}]}}"
CUSTOM = """\
apiVersion: {group}/v1
kind: {kind}
metadata: {{name: a}}
"""


@pytest.mark.parametrize(
    ("group", "kind", "rest", "gpu"),
    [
        (
            "serving.kserve.io",
            "InferenceService",
            f"spec: {{predictor: {{model: {{modelFormat: {{name: x}}, {GPU}}}}}}}",
            True,
        ),
        ("serving.kserve.io", "InferenceService", "spec: {predictor: {sklearn: {storageUri: 's3://a'}}}", False),
        ("serving.knative.dev", "Service", f"spec: {{template: {{spec: {{containers: [{{{SERVER}}}]}}}}}}", True),
        (
            "leaderworkerset.x-k8s.io",
            "LeaderWorkerSet",
            f"spec: {{leaderWorkerTemplate: {{size: 2, workerTemplate: {{spec: {{containers: [{{{SERVER}}}]}}}}}}}}",
            True,
        ),
        (
            "ray.io",
            "RayService",
            f"spec: {{rayClusterConfig: {{workerGroupSpecs: [{{template: {{spec: {RAY}}}}}]}}}}",
            True,
        ),
        (
            "apps.nvidia.com",
            "NIMService",
            f"spec: {{image: {{repository: nvcr.io/nim/meta/llama, tag: '1'}}, {GPU}}}",
            True,
        ),
        ("kubeai.org", "Model", "spec: {url: 'hf://org/m', engine: VLLM, resourceProfile: 'nvidia-gpu-l4:1'}", True),
        ("kaito.sh", "Workspace", "resource: {instanceType: x}\ninference: {preset: {name: phi-4}}", True),
        ("kaito.sh", "Workspace", "resource: {instanceType: x}\ntuning: {preset: {name: phi-4}}", None),
        ("batch", "Job", f"spec: {{template: {{spec: {{containers: [{{{SERVER}}}]}}}}}}", None),
        ("kubeflow.org", "PyTorchJob", f"spec: {{template: {{spec: {{containers: [{{{SERVER}}}]}}}}}}", None),
        ("serving.kserve.io", "ServingRuntime", f"spec: {{containers: [{{{SERVER}}}]}}", None),
        ("argoproj.io", "Rollout", f"spec: {{template: {{spec: {{containers: [{{{SERVER}}}]}}}}}}", True),
    ],
)
def test_a_kind_that_serves(group: str, kind: str, rest: str, gpu: object) -> None:
    expected = [] if gpu is None else [(f"{kind}/a", gpu)]
    assert names(CUSTOM.format(group=group, kind=kind) + rest + "\n") == expected


def test_what_owns_a_card_is_a_surface_if_somebody_can_ask_it() -> None:
    own = f"image: own/server:1, {GPU}"
    assert names(workload("a", own)) == []
    assert names(workload("a", own) + "---\n" + service("a")) == [("Deployment/a", True)]
    assert names(workload("a", own + ", ports: [{containerPort: 80}]")) == [("Deployment/a", True)]
    assert names(workload("a", "image: nginx:1, ports: [{containerPort: 80}]")) == []


def test_a_service_of_compose_with_a_card_and_a_port_is_one() -> None:
    card = "deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}"
    text = f"services:\n  a: {{image: 'own/server:1', ports: ['80:80'], {card}}}\n  b: {{image: 'own/x:1', {card}}}\n"
    assert names(text, "compose.yaml") == [("a", True)]


def test_a_surface_says_where_its_card_is_asked_for() -> None:
    (surface,) = graph({"a.yaml": workload("llama")}).gpu_surfaces
    assert (surface.gpu, surface.gpus) == (surface.container and surface.container.hardware.places["gpus"], 1)
    assert (surface.engine, surface.streams, surface.at.line) == ("vllm", True, 2)
    assert surface.pods[0].replicas == 2


# --- kustomize

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
CPU = "image: own/server:1, ports: [{containerPort: 80}]"
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec: {template: {spec: {containers: [{name: server, resources: {limits: {nvidia.com/gpu: 1}}}]}}}
"""
OVERLAYS = {
    "base/kustomization.yaml": HEAD + "resources: [deploy.yaml, hpa.yaml]\n",
    "base/deploy.yaml": workload("llama", CPU),
    "base/hpa.yaml": scaler("llama"),
    "cpu/kustomization.yaml": HEAD + "resources: [../base]\n",
    "gpu/kustomization.yaml": HEAD + "resources: [../base]\npatches: [{path: patch.yaml}, {path: hpa.yaml}]\n",
    "gpu/patch.yaml": PATCH,
    "gpu/hpa.yaml": (
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: scaler}\nspec: {maxReplicas: 9}\n"
    ),
}


def owners(found: Cluster) -> dict[str, list[bool]]:
    """By its largest number of replicas, whether each target of an autoscaler owns a card."""
    return {
        by.node.get("spec", "maxReplicas").text: [
            any(one.has_gpu for pod in found.pods_of(workload_) for one in pod.containers)
            for workload_ in found.named(by, "Deployment", "llama")
        ]
        for by in found.of("HorizontalPodAutoscaler")
    }


def test_the_objects_of_one_overlay_join() -> None:
    assert owners(graph(OVERLAYS)) == {"3": [False], "9": [True]}


def test_the_same_object_of_several_overlays_is_one_that_joins_each() -> None:
    text = HEAD + "resources: [../base]\npatches: [{path: patch.yaml}]\n"
    files = {path: held for path, held in OVERLAYS.items() if path != "gpu/hpa.yaml"}
    found = graph({**files, "gpu/kustomization.yaml": text})
    (by,) = found.of("HorizontalPodAutoscaler")
    assert by.builds == {"cpu", "gpu"}
    assert [one.overlay for one in found.of("Deployment")] == ["cpu", "gpu"]
    assert owners(found) == {"3": [False, True]}


def test_a_patch_is_no_object_of_its_own() -> None:
    assert all(one.at.path != "gpu/patch.yaml" or one.node.get("spec", "replicas") for one in graph(OVERLAYS).objects())


# --- another process


def test_a_manifest_of_another_process_still_finds_its_places() -> None:
    text = "a: 1\n---\n" + workload("llama")
    document = read("a.yaml", text.encode(), kind="yaml")
    assert isinstance(document, Document)
    (found,) = [fact for fact in extract(document) if isinstance(fact, Manifest)]
    again = pickle.loads(pickle.dumps(found))  # noqa: S301 - our own
    container = ("spec", "template", "spec", "containers", 0)
    for keys in ((*container, "image"), (*container, "args", 1), ("metadata", "name")):
        assert again.node.get(*keys).at == found.node.get(*keys).at
    assert again.node.get(*container, "image").at.line == 12
    assert dataclasses.replace(again, node=found.node) == found


def test_a_manifest_of_a_config_map_finds_its_places_in_another_process() -> None:
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n"
    text = f"{head}  a.yml: |\n    groups:\n    - rules: [{{alert: A}}]\n"
    document = read("a.yaml", text.encode(), kind="yaml")
    assert isinstance(document, Document)
    found = [fact for fact in extract(document) if isinstance(fact, Manifest)]
    rules = next(one for one in pickle.loads(pickle.dumps(found)) if one.form == "rules")  # noqa: S301 - our own
    assert rules.node.get("groups", 0, "rules", 0, "alert").at.line == 7
