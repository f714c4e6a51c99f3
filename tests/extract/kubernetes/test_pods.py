"""Pods of Kubernetes' own kinds, and of kinds that nobody here has heard of."""

from __future__ import annotations

import pytest
from kube import cards, facts, launch, launches, lines, texts
from timed import within

from vramguard.facts import Launch, Reference, Texts, Word
from vramguard.source import Document, read

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  template:
    spec:
      nodeSelector:
        cloud.google.com/gke-accelerator: nvidia-l4
      initContainers:
      - {name: fetch, image: busybox, command: [fetch, llama]}
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.10.0
        command: ["vllm", "serve"]
        args:
        - $(MODEL)
        - --max-model-len=4096
        env:
        - {name: MODEL, value: meta-llama/Llama-3.1-8B}
        - name: HF_TOKEN
          valueFrom: {secretKeyRef: {name: hub, key: token}}
        - name: LENGTH
          valueFrom: {configMapKeyRef: {name: sizes, key: length, optional: true}}
        - name: IP
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
        envFrom:
        - configMapRef: {name: shared}
        resources:
          limits:
            nvidia.com/gpu: "2"
        volumeMounts:
        - {name: scripts, mountPath: /scripts/}
        - {name: one, mountPath: /etc/run.sh, subPath: run}
        - {name: some, mountPath: /some}
        - {name: cache, mountPath: /cache}
      volumes:
      - {name: scripts, configMap: {name: held}}
      - {name: one, configMap: {name: held, items: [{key: start, path: run}]}}
      - name: some
        projected:
          sources:
          - configMap: {name: held, items: [{key: a, path: b/c}]}
          - secret: {name: hub}
      - {name: cache, emptyDir: {}}
"""


def test_a_deployment() -> None:
    found = launch(DEPLOYMENT)
    assert (found.form, found.name, found.at.line, found.entrypoint) == ("kubernetes", "Deployment/llama", 12, True)
    assert texts(found.command) == ["vllm", "serve", "$(MODEL)", "--max-model-len=4096"]
    assert [word.at.line for word in found.command] == [14, 14, 16, 17]
    assert [word.known for word in found.command] == [True, True, False, True]
    assert found.image is not None
    assert found.image.text == "vllm/vllm-openai:v0.10.0"
    assert cards(found) == {"gpu": "nvidia-l4", "gpus": 2}
    assert lines(found) == {"gpus": 30, "gpu": 8}


def test_what_a_container_is_given_to_know() -> None:
    found = launch(DEPLOYMENT)
    model = found.env["MODEL"]
    assert isinstance(model, Word)
    assert (model.text, model.at.line, model.first) == ("meta-llama/Llama-3.1-8B", 19, (19, 32))
    references = {name: value for name, value in found.env.items() if isinstance(value, Reference)}
    assert {name: (of.kind, of.name, of.key, of.optional, of.at.line) for name, of in references.items()} == {
        "HF_TOKEN": ("Secret", "hub", "token", False, 21),
        "LENGTH": ("ConfigMap", "sizes", "length", True, 23),
        "IP": ("fieldRef", "status.podIP", None, False, 25),
    }
    assert [(of.kind, of.name, of.key) for of in found.references] == [("ConfigMap", "shared", None)]


def test_what_is_mounted() -> None:
    mounts = {path: (of.kind, of.name, of.key) for path, of in launch(DEPLOYMENT).mounts.items()}
    assert mounts == {
        "/scripts": ("ConfigMap", "held", None),
        "/etc/run.sh": ("ConfigMap", "held", "start"),
        "/some/b/c": ("ConfigMap", "held", "a"),
        "/some": ("Secret", "hub", None),
    }


POD = "{containers: [{name: c, image: vllm/vllm-openai, args: [--model=a/b]}]}"


@pytest.mark.parametrize(
    ("version", "kind", "spec"),
    [
        ("v1", "Pod", POD),
        ("apps/v1", "StatefulSet", f"{{template: {{spec: {POD}}}}}"),
        ("apps/v1", "DaemonSet", f"{{template: {{spec: {POD}}}}}"),
        ("apps/v1", "ReplicaSet", f"{{template: {{spec: {POD}}}}}"),
        ("batch/v1", "Job", f"{{template: {{spec: {POD}}}}}"),
        ("batch/v1", "CronJob", f"{{jobTemplate: {{spec: {{template: {{spec: {POD}}}}}}}}}"),
        ("argoproj.io/v1alpha1", "Rollout", f"{{template: {{spec: {POD}}}}}"),
        ("serving.knative.dev/v1", "Service", f"{{template: {{spec: {POD}}}}}"),
        ("batch.volcano.sh/v1alpha1", "Job", f"{{tasks: [{{template: {{spec: {POD}}}}}]}}"),
        (
            "machinelearning.seldon.io/v1",
            "SeldonDeployment",
            f"{{predictors: [{{some: [{{spec: {POD}}}]}}]}}",
        ),
        ("example.org/v9", "Unheard", f"{{a: {{b: [{{template: {{spec: {POD}}}}}]}}}}"),
        ("example.org/v9", "Bare", f"{{a: {{pod: {POD}}}}}"),
    ],
)
def test_every_kind_that_holds_a_pod(version: str, kind: str, spec: str) -> None:
    found = launch(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\nspec: {spec}\n")
    assert (found.name, texts(found.command), found.entrypoint) == (f"{kind}/x", ["--model=a/b"], False)
    assert found.at.line == 4


@pytest.mark.parametrize("kind", ["Service", "PodTemplate", "CustomResourceDefinition", "VirtualMachine", "Secret"])
def test_kinds_that_start_nothing(kind: str) -> None:
    assert launches(f"apiVersion: v1\nkind: {kind}\nspec: {{template: {{spec: {POD}}}}}\n") == []


def test_lists_and_files_of_several_documents() -> None:
    text = f"""\
    apiVersion: v1
    kind: List
    items:
    - {{apiVersion: v1, kind: Pod, metadata: {{name: a}}, spec: {POD}}}
    - {{apiVersion: v1, kind: Pod, metadata: {{name: b}}, spec: {POD}}}
    ---
    {{apiVersion: v1, kind: Pod, metadata: {{generateName: c-}}, spec: {POD}}}
    """
    assert [(found.name, found.at.line) for found in launches(text)] == [("Pod/a", 4), ("Pod/b", 5), ("Pod/c-", 7)]


def test_several_containers_have_their_names_and_a_sidecar_that_starts_first_is_one() -> None:
    text = """\
    apiVersion: v1
    kind: Pod
    metadata: {name: x}
    spec:
      initContainers:
      - {name: proxy, image: vllm/router, restartPolicy: Always}
      - {name: once, image: vllm/download}
      containers:
      - {name: a, image: vllm/vllm-openai}
      - {name: b, image: vllm/vllm-openai}
    """
    assert [(found.name, found.at.line) for found in launches(text)] == [
        ("Pod/x/proxy", 6),
        ("Pod/x/a", 9),
        ("Pod/x/b", 10),
    ]


def test_a_file_without_a_word_of_an_engine_says_nothing() -> None:
    text = "apiVersion: v1\nkind: Pod\nspec: {containers: [{image: nginx}]}\n"
    assert facts(text) == []
    assert facts(text.replace("nginx", "vllm")) != []


@pytest.mark.parametrize(
    "text",
    [
        "kind: Pod  # vllm\nspec: {containers: [{image: vllm}]}\n",  # no apiVersion: some other tool's file
        "apiVersion: v1\nkind: [vllm]\n",
        "apiVersion: v1\nkind: Pod\nspec: vllm\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: vllm}\n",
        "apiVersion: v1\nkind: Pod\nspec: {containers: [vllm, 3, null]}\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: {template: [vllm]}\n",
        "apiVersion: [1]\nkind: Deployment\nspec: {template: {spec: vllm}}\n",
        "- apiVersion: v1  # vllm\n",
    ],
)
def test_what_is_no_manifest_is_nothing(text: str) -> None:
    assert launches(text) == []


ODD = """\
apiVersion: v1
kind: Pod
metadata: {name: [x], annotations: text}
spec:
  nodeSelector: [a]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: {a: b}}}}
  volumes: {a: b}
  resourceClaims: text
  containers:
  - image: vllm/vllm-openai
    command: {a: b}
    args: text
    env: [null, 1, {name: a}, {value: b}, {name: c, valueFrom: text}]
    envFrom: [null, {configMapRef: text}]
    volumeMounts: [1, {name: a}]
    resources: {limits: [a], requests: {nvidia.com/gpu: {a: b}}, claims: 1}
"""


def test_values_of_the_wrong_kind_are_passed_over() -> None:
    found = launch(ODD)
    assert texts(found.command) == ["text"]
    assert cards(found) == {}
    assert found.env == {"a": Word("", found.env["a"].at), "c": Word("", found.env["c"].at)}


def test_a_config_map_is_what_it_holds_and_the_manifests_in_it() -> None:
    text = """\
    apiVersion: v1
    kind: ConfigMap
    metadata: {name: held}
    data:
      length: "4096"
      pod.yaml: |
        apiVersion: v1
        kind: Pod
        metadata: {name: inner}
        spec:
          containers:
          - image: vllm/vllm-openai
            resources: {limits: {nvidia.com/gpu: 1}}
    """
    found = facts(text)
    (held,) = (fact for fact in found if isinstance(fact, Texts))
    assert (held.form, held.name, held.values["length"].text, held.values["length"].at.line) == (
        "configmap",
        "held",
        "4096",
        5,
    )
    (inner,) = (fact for fact in found if isinstance(fact, Launch))
    assert (inner.name, inner.at.line, lines(inner)) == ("Pod/inner", 12, {"gpus": 13})


def test_any_file_s_config_map_is_kept_for_others() -> None:
    (held,) = facts("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sizes}\ndata: {length: '1'}\n")
    assert isinstance(held, Texts)


def test_a_pod_of_aliases_is_read_quickly() -> None:
    many = 30_000
    text = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: x}}
spec:
  volumes: [{", ".join(["&v {name: v, configMap: {name: h}}", *["*v"] * many])}]
  containers: [{", ".join(["&c {name: c, image: vllm, volumeMounts: [{name: v, mountPath: /a}]}", *["*c"] * many])}]
"""
    document = read("a.yaml", text.encode())
    assert isinstance(document, Document)
    with within(20):
        found = launches(text)
    assert 0 < len(found) <= 100
