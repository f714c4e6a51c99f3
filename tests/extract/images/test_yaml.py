"""Images of manifests, values, compose projects and the files of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from timed import within

from vramguard.facts import Image, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    Found = Callable[[str, str], list[Image]]

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def said(found: list[Image]) -> list[tuple[str, str, str, object]]:
    return [(image.form, image.use, image.name, image.tag) for image in found]


def test_every_container_of_a_pod(images: Found) -> None:
    text = f"""
        apiVersion: apps/v1
        kind: Deployment
        metadata: {{annotations: {{image: 'not/one:1'}}}}
        spec:
          template:
            spec:
              initContainers:
              - name: get
                image: busybox
              containers:
              - name: llm
                image: "vllm/vllm-openai:v0.11.0@sha256:{HEX}"  # v0.11.0
                env:
                - {{name: WORKER_IMAGE, value: 'ghcr.io/org/worker:2'}}
                - {{name: LOGO, value: 'ghcr.io/org/logo:2'}}
              volumes:
              - name: v
                image: {{reference: 'quay.io/org/data:1', pullPolicy: Always}}
        """
    found = images("a.yaml", text)
    assert sorted(said(found)) == [
        ("kubernetes", "container", "quay.io/org/data", "1"),
        ("kubernetes", "container", "vllm/vllm-openai", "v0.11.0"),
        ("kubernetes", "init-container", "busybox", None),
        ("kubernetes", "variable", "ghcr.io/org/worker", "2"),
    ]
    by_name = {image.name: image for image in found}
    assert by_name["vllm/vllm-openai"].pinned is True
    assert by_name["vllm/vllm-openai"].comment == "v0.11.0"
    assert tuple(by_name["busybox"].at)[1:] == (9, 16, 9, 23)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        ("apiVersion: tekton.dev/v1\nkind: Task\n", "tekton"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: CronWorkflow\n", "argo"),
        ("apiVersion: argoproj.io/v1alpha1\nkind: Rollout\n", "kubernetes"),
        ("apiVersion: ray.io/v1\nkind: RayCluster\n", "ray"),
        ("apiVersion: kubeflow.org/v1\nkind: PyTorchJob\n", "kubernetes"),
        ("apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n", "helm"),
    ],
)
def test_forms_of_custom_resources(images: Found, head: str, form: str) -> None:
    text = head + "spec:\n  any: {containers: [{name: a, image: 'org/a:1'}], template: {container: {image: b}}}\n"
    assert said(images("a.yaml", text)) == [(form, "container", "org/a", "1"), (form, "container", "b", None)]


@pytest.mark.parametrize(
    ("spec", "name", "tag"),
    [
        ("image: {repository: nvcr.io/nim/meta/llama, tag: '1.3.3'}", "nvcr.io/nim/meta/llama", "1.3.3"),
        ("driver: {repository: nvcr.io/nvidia, image: driver, version: '550.1.2'}", "nvcr.io/nvidia/driver", "550.1.2"),
        ("runner: {image: 'org/engine:v1'}", "org/engine", "v1"),
        ("predictor: {model: {image: 'kserve/server:v1'}}", "kserve/server", "v1"),
        ("predictor: {model: {storageUri: 'oci://quay.io/org/car:v1'}}", "quay.io/org/car", "v1"),
        ("workerImage: 'ghcr.io/org/w:v1'", "ghcr.io/org/w", "v1"),
        ("params: [{name: builder-image, default: 'ghcr.io/org/b:1'}]", "ghcr.io/org/b", "1"),
    ],
)
def test_images_of_custom_resources(images: Found, spec: str, name: str, tag: str) -> None:
    (found,) = images("a.yaml", f"apiVersion: x.io/v1\nkind: Any\nspec:\n  {spec}\n")
    assert (found.name, found.tag, found.pinned) == (name, tag, False)


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {x: {image: 'a:1'}}\n",
        "apiVersion: v1\nkind: Secret\nstatus: {image: 'a:1'}\n",
        "apiVersion: x.io/v1\nkind: Any\nspec: {image: {type: string}, x: {image: logo.png}, y: {image: true}}\n",
        "apiVersion: x.io/v1\nkind: Any\nspec: {image: 'your-registry/a:1'}\n",
        "apiVersion: kaito.sh/v1beta1\nkind: Workspace\ntuning: {output: {image: 'r.io/a:1', imagePushSecret: s}}\n",
        "apiVersion: ome.io/v1\nkind: Benchmark\nspec: {storageUri: 'oci://n/ns/b/bucket/o/x'}\n",
        "title: page\nimage: assets/logo.png\n",
        "model: {image: 224, image_size: 336}\n",
        "# image: a:1\nx: 1\n",
    ],
)
def test_what_is_no_image(images: Found, text: str) -> None:
    assert images("a.yaml", text) == []


def test_texts_that_are_documents(images: Found) -> None:
    text = """
        apiVersion: v1
        kind: ConfigMap
        data:
          agent: |-
            {
              "image": "kserve/agent:v1",
              "logo": "x"
            }
          bare: '{"image": "kserve/explainer"}'
          pod.yaml: |
            apiVersion: v1
            kind: Pod
            spec: {containers: [{name: a, image: b}]}
          script.sh: |
            image=x
        """
    found = images("a.yaml", text)
    assert [(image.name, image.at.line) for image in found] == [("kserve/agent", 6), ("b", 13)]


def test_values_of_charts(images: Found) -> None:
    text = f"""
        image:
          registry: docker.io
          repository: vllm/vllm-openai
          tag: v0.11.0
        plain: {{image: 'a/b:1'}}
        beside: {{image: c/d, tag: 2.10}}
        digest: {{image: {{repository: e/f, tag: '1', digest: 'sha256:{HEX}'}}}}
        empty: {{image: {{repository: g/h, tag: ''}}}}
        none: {{image: {{repository: ''}}, image2: {{pullPolicy: Always}}}}
        sidecarImage: {{repository: i/j, tag: 3}}
        initImage: k/l:4
        spec: [{{repository: m/n, tag: latest}}]
        images: {{proxy: 'o/p:5'}}
        server: {{image: r/s, defaultVersion: ''}}
        imagePullPolicy: Always
        source: {{repository: 'https://github.com/a/b', tag: v1}}
        extra: [{{apiVersion: v1, kind: Pod, spec: {{containers: [{{name: a, image: q}}]}}}}]
        """
    found = {image.name: image for image in images("chart/values.yaml", text)}
    assert {name: image.tag for name, image in found.items()} == {
        "docker.io/vllm/vllm-openai": "v0.11.0",
        "a/b": "1",
        "c/d": "2.10",
        "e/f": "1",
        "g/h": None,
        "i/j": "3",
        "k/l": "4",
        "m/n": "latest",
        "o/p": "5",
        "q": None,
        "r/s": None,
    }
    assert found["e/f"].pinned is True
    assert "chart" in found["g/h"].reason
    assert "chart" in found["r/s"].reason
    assert {image.form for image in found.values()} == {"helm"}


def test_values_in_a_file_of_another_name(images: Found) -> None:
    (found,) = images("overrides.yaml", "router: {image: {repository: org/router, tag: v1}}\n")
    assert (found.form, found.name, found.tag) == ("helm", "org/router", "v1")


def test_what_a_kustomization_replaces(images: Found) -> None:
    text = f"""
        resources: [a.yaml]
        images:
        - {{name: controller, newName: org/manager, newTag: v1}}
        - {{name: org/b, newTag: 1.10}}
        - {{name: c, digest: 'sha256:{HEX}'}}
        - {{name: d, newName: e}}
        """
    found = images("k/kustomization.yaml", text)
    assert [(image.use, image.name, image.tag, image.pinned) for image in found] == [
        ("replaces controller", "org/manager", "v1", False),
        ("replaces org/b", "org/b", "1.10", False),
        ("replaces c", "c", None, True),
    ]


def test_services_of_compose(images: Found) -> None:
    text = """
        x-base: &base {image: 'org/shared:1'}
        services:
          a: {image: 'ollama/ollama:${TAG:-latest}'}
          b: {image: 'org/b:dev', build: .}
          c: {<<: *base, command: x}
          d: {build: {context: ., additional_contexts: {base: 'docker-image://python:3.11', lib: ./lib}}}
          e: {image: '${IMAGE}'}
          f: {image: '${REGISTRY:-org}/f'}
        """
    assert [(image.use, image.name, image.tag, image.pinned) for image in images("compose.yaml", text)] == [
        ("container", "ollama/ollama", "latest", False),
        ("built", "org/b", "dev", None),
        ("container", "org/shared", "1", False),
        ("base", "python", "3.11", False),
        ("built", "lib", None, None),
        ("container", "${IMAGE}", None, Unknown("${IMAGE}")),
        ("container", "org/f", None, False),
    ]


@pytest.mark.parametrize(
    ("path", "text", "form", "name"),
    [
        ("x/config.yaml", "model_name: x\nbase_image: {image: 'org/truss:1'}\n", "truss", "org/truss"),
        ("run.yaml", "settings: {docker: {parent_image: 'org/zen:1'}}\n", "zenml", "org/zen"),
        ("run.yaml", "steps: {a: {settings: {docker: {parent_image: 'org/zen:1'}}}}\n", "zenml", "org/zen"),
        ("bentofile.yaml", "service: a:B\ndocker: {base_image: 'org/bento:1'}\n", "bentoml", "org/bento"),
        ("c.yaml", "cluster_name: c\ndocker: {head_image: 'org/ray:1'}\n", "ray", "org/ray"),
        ("s.yaml", "resources: {image_id: 'docker:org/sky:1'}\nrun: x\n", "skypilot", "org/sky"),
        ("a.dstack.yml", "type: task\nimage: org/dstack:1\n", "dstack", "org/dstack"),
        ("e.yaml", "$schema: https://azuremlschemas.azureedge.net/x.json\nimage: org/ml:1\n", "python", "org/ml"),
        ("j.yaml", "name: j\nentrypoint: python a.py\nimage_uri: org/job:1\n", "ray", "org/job"),
        ("k.yaml", "implementation: {container: {image: 'org/kfp:1', command: [a]}}\n", "kfp", "org/kfp"),
        ("p.yaml", "deploymentSpec: {executors: {a: {container: {image: 'org/p:1', args: [b]}}}}\n", "kfp", "org/p"),
        ("patch.yaml", "spec: {template: {spec: {containers: [{image: 'org/q:1'}]}}}\n", "kubernetes", "org/q"),
        ("h.yaml", "releases: [{name: a, values: [{image: {repository: org/h, tag: 1}}]}]\n", "helm", "org/h"),
    ],
)
def test_files_of_tools(images: Found, path: str, text: str, form: str, name: str) -> None:
    (found,) = images(path, text)
    assert (found.form, found.name, found.tag) == (form, name, "1")


def test_an_alias_is_one_place(images: Found) -> None:
    text = (
        "apiVersion: v1\nkind: Any\nspec:\n  a: &a\n    containers: [{name: a, image: 'org/a:1'}]\n  b: *a\n  c: *a\n"
    )
    assert [image.at.line for image in images("a.yaml", text)] == [5]


def test_the_same_line_in_several_places(images: Found) -> None:
    """Places are the document's own, whatever else the text repeats."""
    text = """
        apiVersion: v1
        kind: List
        items:
        - apiVersion: v1
          kind: ConfigMap
          data:
            x: |
              spec:
                image: org/a:1
        - apiVersion: v1
          kind: Any
          spec:
            # image: org/a:1
            containers:
            - name: a
              image: org/a:1
            - image: org/a:1
              name: b
        """
    assert [image.at.line for image in images("a.yaml", text)] == [9, 16, 17]


WRONG = {
    "a.yaml": "apiVersion: v1\nkind: Pod\nspec: {containers: ?, image: ?}\nx: [{name: IMAGE, value: ?}]\n"
    "---\n"
    "apiVersion: v1\nkind: ConfigMap\ndata: ?\n---\napiVersion: v1\nkind: List\nitems: ?\n",
    "values.yaml": "image: ?\nx: {image: {repository: ?, tag: ?, registry: ?}, images: ?}\n",
    "compose.yaml": "services: {a: {image: ?, build: ?}, b: {command: x, build: {additional_contexts: ?}}}\n",
    "kustomization.yaml": "images: ?\n---\nimages: [{name: ?, newName: ?, newTag: ?, digest: ?}]\n",
    ".github/workflows/a.yml": "jobs: {a: {container: ?, services: ?, strategy: ?, steps: ?, uses: ?, env: ?}}\n---\n"
    "jobs: {a: {container: '${{ matrix.a.b }}', strategy: {matrix: ?}, steps: [{uses: ?, run: ?, with: ?}]}}\n",
    ".gitlab-ci.yml": "image: ?\nservices: ?\nvariables: ?\na: {image: ?, script: ?, variables: ?}\n",
    "azure-pipelines.yml": "resources: ?\njobs: [{container: ?}]\nx: {image: a}\n",
    "cloudbuild.yaml": "steps: [{name: ?, args: ?}]\nimages: ?\n",
    ".pre-commit-config.yaml": "repos: [{repo: ?, rev: ?}]\n",
    "x.yaml": "base_image: ?\ndocker: ?\nreleases: ?\ntype: ?\n",
}


@pytest.mark.parametrize("value", ["[]", "{}", "[a]", "7", "true", "null", "[[[]]]", "{a: [b]}", "''", "' '"])
def test_wrong_types_everywhere(images: Found, value: str) -> None:
    for path, text in WRONG.items():
        for document in text.split("---\n"):
            found = images(path, document.replace("?", value))
            assert all(isinstance(image, Image) for image in found)


def test_hostile_files_are_quick(images: Found) -> None:
    with within(10):
        bomb = "a0: &a0 {image: 'org/a:1', name: x}\n"
        bomb += "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 17))
        assert images("values.yaml", bomb)
        images("values.yaml", "image: " + "a/" * 500_000 + "\n")
        images("values.yaml", "image: '" + "${A:-" * 100_000 + "'\n")
        images("x.yaml", "image: a\n" + "x: " + "{a: " * 150 + "1" + "}" * 150 + "\n")


def test_a_parameter_of_a_task_stands_where_it_is_used(images: Found) -> None:
    text = """
        apiVersion: tekton.dev/v1
        kind: Task
        metadata: {name: t}
        spec:
          params:
          - name: PYTHON_IMAGE
            default: docker.io/python:3.11.1
          - name: OTHER_IMAGE
          steps:
          - name: a
            image: $(params.PYTHON_IMAGE)
          - name: b
            image: $(params.OTHER_IMAGE)
        """
    assert [(one.name, one.pinned, one.at.line) for one in images("task.yaml", text)] == [
        ("docker.io/python", False, 11),
        ("$(params.OTHER_IMAGE)", Unknown("$(params.OTHER_IMAGE)"), 13),
    ]


def test_anyscales_base_image(images: Found) -> None:
    text = "base_image: anyscale/ray:2.9.0\ndebian_packages: []\n"
    assert [(one.form, one.name) for one in images("env.yaml", text)] == [("ray", "anyscale/ray")]
    assert images("other.yaml", "base_image: anyscale/ray:2.9.0\n") == []
