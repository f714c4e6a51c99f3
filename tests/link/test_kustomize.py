"""Overlays of kustomize: what they deploy, where each value stands, and what is left as its files say it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import extract
from vramguard.facts import Facts, Launch, Texts
from vramguard.link.kustomize import overlaid
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama, labels: {tier: gpu}}
spec:
  template:
    spec:
      containers:
      - name: proxy
        image: envoy:1
      - name: server
        image: vllm/vllm-openai:v0.16.0
        args: [--model, meta-llama/Llama-3.1-8B-Instruct]
        env: [{name: A, value: "1"}, {name: B, value: "2"}]
        resources: {limits: {nvidia.com/gpu: 1}}
"""
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: llama}
spec:
  template:
    spec:
      containers:
      - name: server
        args: [--model, meta-llama/Llama-3.3-70B-Instruct, --tensor-parallel-size, "4"]
        env: [{name: B, value: "3"}, {name: C, value: "4"}]
        resources: {limits: {nvidia.com/gpu: 4}}
"""
HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"


def facts_of(files: Mapping[str, str]) -> Facts:
    documents = [read(path, text.encode(), kind=kind_of(path)) for path, text in files.items() if kind_of(path)]
    found = [fact for document in documents if isinstance(document, Document) for fact in extract(document)]
    return overlaid(Facts(found, paths=files), lambda path: files[path].encode() if path in files else None)


def servers(files: Mapping[str, str]) -> list[Launch]:
    return [fact for fact in facts_of(files).of(Launch) if "vllm" in (fact.image.text if fact.image else "vllm")]


def line(launch: Launch) -> str:
    return " ".join(word.text for word in launch.command)


def overlay(text: str, **more: str) -> dict[str, str]:
    return {
        "base/kustomization.yaml": HEAD + "resources: [deployment.yaml]\n",
        "base/deployment.yaml": BASE,
        "prod/kustomization.yaml": HEAD + "resources: [../base]\n" + text,
        **{f"prod/{name.replace('_', '.')}": content for name, content in more.items()},
    }


def test_a_patch_is_merged_and_the_base_is_not_judged_beside_it() -> None:
    (found,) = servers(overlay("patches: [{path: patch.yaml}]\n", patch_yaml=PATCH))
    assert line(found) == "--model meta-llama/Llama-3.3-70B-Instruct --tensor-parallel-size 4"
    assert found.image is not None
    assert (found.image.text, found.image.at.path) == ("vllm/vllm-openai:v0.16.0", "base/deployment.yaml")
    assert (found.at.path, found.at.line) == ("prod/patch.yaml", 8)
    env = {name: (getattr(word, "text", ""), word.at.path) for name, word in found.env.items()}
    assert env == {
        "A": ("1", "base/deployment.yaml"),
        "B": ("3", "prod/patch.yaml"),
        "C": ("4", "prod/patch.yaml"),
    }
    assert (found.hardware.gpus, found.hardware.places["gpus"].path) == (4, "prod/patch.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "patchesStrategicMerge: [patch.yaml]\n",
        "patchesStrategicMerge:\n- |\n" + "".join(f"  {row}\n" for row in PATCH.split("\n")),
        "patches:\n- patch: |\n" + "".join(f"    {row}\n" for row in PATCH.split("\n")),
        "patches: [{path: patch.yaml, target: {kind: Deployment, name: 'll.*'}}]\n",
        "patches: [{path: patch.yaml, target: {labelSelector: 'tier=gpu'}}]\n",
    ],
)
def test_every_way_to_name_a_patch(text: str) -> None:
    (found,) = servers(overlay(text, **({"patch_yaml": PATCH} if "patch.yaml" in text else {})))
    assert found.hardware.gpus == 4


@pytest.mark.parametrize(
    "target", ["{kind: StatefulSet}", "{name: other}", "{labelSelector: 'tier=cpu'}", "{group: x}"]
)
def test_a_patch_for_another_object_changes_nothing(target: str) -> None:
    (found,) = servers(overlay(f"patches: [{{path: patch.yaml, target: {target}}}]\n", patch_yaml=PATCH))
    assert (line(found), found.at.path) == ("--model meta-llama/Llama-3.1-8B-Instruct", "base/deployment.yaml")


def test_json_patches() -> None:
    text = """\
patches:
- target: {kind: Deployment, name: llama}
  patch: |-
    - op: replace
      path: /spec/template/spec/containers/1/resources/limits/nvidia.com~1gpu
      value: 2
    - {op: add, path: /spec/template/spec/containers/1/args/-, value: --max-model-len=8192}
    - {op: add, path: /spec/template/spec/containers/1/args/0, value: --enforce-eager}
    - {op: remove, path: /spec/template/spec/containers/1/env/0}
"""
    (found,) = servers(overlay(text))
    assert line(found) == "--enforce-eager --model meta-llama/Llama-3.1-8B-Instruct --max-model-len=8192"
    assert (found.hardware.gpus, list(found.env)) == (2, ["B"])
    assert (found.command[-1].at.path, found.command[-1].at.line) == ("prod/kustomization.yaml", 10)


def test_images_are_renamed_at_the_line_that_says_so() -> None:
    (found,) = servers(overlay("images:\n- name: vllm/vllm-openai\n  newName: mirror/vllm\n  newTag: v0.19.0\n"))
    assert found.image is not None
    assert (found.image.text, found.image.at.path, found.image.at.line) == (
        "mirror/vllm:v0.19.0",
        "prod/kustomization.yaml",
        7,
    )


def test_two_overlays_are_two_deployments_and_one_that_changes_nothing_is_none_more() -> None:
    files = overlay("images: [{name: vllm/vllm-openai, newTag: v1}]\n")
    files["dev/kustomization.yaml"] = HEAD + "resources: [../base]\nimages: [{name: vllm/vllm-openai, newTag: v2}]\n"
    found = servers(files)
    assert sorted(launch.name for launch in found) == [
        "Deployment/llama (dev)/server",
        "Deployment/llama (prod)/server",
    ]
    for name in ("dev", "prod"):
        files[f"{name}/kustomization.yaml"] = HEAD + "resources: [../base]\n"
    assert [launch.name for launch in servers(files)] == ["Deployment/llama/server"]


def test_a_file_that_stands_outside_of_every_overlay_is_judged_by_itself_too() -> None:
    files = {
        "llama.yaml": BASE,
        "big/kustomization.yaml": HEAD + "resources: [../llama.yaml]\npatches: [{path: p.yaml}]\n",
        "big/p.yaml": PATCH,
    }
    assert [(found.at.path, found.hardware.gpus) for found in servers(files)] == [("big/p.yaml", 4), ("llama.yaml", 1)]


def test_components_and_directives() -> None:
    files = overlay("components: [../fast]\n")
    files["fast/kustomization.yaml"] = "kind: Component\npatches: [{path: patch.yaml}]\n"
    files["fast/patch.yaml"] = PATCH
    (found,) = servers(files)
    assert found.hardware.gpus == 4
    gone = PATCH.replace("spec:\n  template", "$patch: delete\nspec:\n  template")
    assert servers(overlay("patches: [{path: patch.yaml}]\n", patch_yaml=gone)) == []


def test_a_generated_config_map_holds_its_texts() -> None:
    text = """\
configMapGenerator:
- name: settings
  literals: [MODEL=Qwen/Qwen3-8B]
  files: [run.sh, other=run.sh]
  envs: [vars.env]
"""
    files = overlay(text, run_sh="vllm serve a/b\n", vars_env="# none\nX=1\nY = a=b\n")
    (held,) = (fact for fact in facts_of(files).of(Texts) if fact.form == "configmap")
    assert held.name == "settings"
    assert {key: word.text for key, word in held.values.items()} == {
        "MODEL": "Qwen/Qwen3-8B",
        "run.sh": "vllm serve a/b\n",
        "other": "vllm serve a/b\n",
        "X": "1",
        "Y": "a=b",
    }


def test_what_a_replacement_fills_in_is_not_known() -> None:
    text = """\
replacements:
- source: {kind: ConfigMap, name: c, fieldPath: data.model}
  targets:
  - select: {kind: Deployment}
    fieldPaths: ["spec.template.spec.containers.[name=server].args.1"]
"""
    (found,) = servers(overlay(text))
    assert (found.command[0].known, found.command[1].known) == (True, False)


def test_a_patch_of_a_base_that_stands_elsewhere_is_not_judged() -> None:
    files = {
        "kustomization.yaml": HEAD
        + "resources: ['https://github.com/a/b//deploy?ref=v1']\npatches: [{path: p.yaml}]\n",
        "p.yaml": PATCH.replace("{name: C", "{name: VLLM_USE_V1"),
    }
    (found,) = servers(files)
    assert (found.given["model"].text, found.given["model"].known) == ("https://github.com/a/b//deploy?ref=v1", False)


def test_lists_of_custom_resources_are_replaced() -> None:
    resource = BASE.replace("apps/v1", "leaderworkerset.x-k8s.io/v1").replace("kind: Deployment", "kind: Other")
    patch = PATCH.replace("apps/v1", "leaderworkerset.x-k8s.io/v1").replace("kind: Deployment", "kind: Other")
    files = overlay("patches: [{path: patch.yaml}]\n", patch_yaml=patch) | {"base/deployment.yaml": resource}
    (found,) = servers(files)
    assert (found.image, sorted(found.env)) == (None, ["B", "C"])


@pytest.mark.parametrize(
    "text",
    [
        "patches: [{patch: '[{op: move, from: /a, path: /b}]', target: {kind: Deployment}}]\n",
        "patches: [{patch: '[{op: add, path: /no/where, value: 1}]', target: {kind: Deployment}}]\n",
        "patches: [{path: patch.yaml, target: {name: '(a+)+$'}}]\n",
        "patches: [{path: patch.yaml, target: {labelSelector: 'tier in (gpu)'}}]\n",
        "patches: [{patch: 'metadata: {$patch: merge}', target: {kind: Deployment}}]\n",
    ],
)
def test_what_is_no_plain_merging_leaves_the_files_as_they_are(text: str) -> None:
    found = servers(overlay(text, patch_yaml=PATCH))
    assert {(launch.at.path, launch.hardware.gpus) for launch in found} >= {("base/deployment.yaml", 1)}


def test_overlays_upon_themselves_and_by_the_thousand_end() -> None:
    loop = {
        "a/kustomization.yaml": HEAD + "resources: [../b, d.yaml]\n",
        "b/kustomization.yaml": HEAD + "resources: [../a]\n",
        "a/d.yaml": BASE,
    }
    assert len(servers(loop)) == 1
    wide = {"k0/kustomization.yaml": HEAD + "resources: [d.yaml]\n", "k0/d.yaml": BASE}
    for number in range(1, 12):
        inner = ", ".join([f"../k{number - 1}"] * 9)
        wide[f"k{number}/kustomization.yaml"] = HEAD + f"resources: [{inner}]\n"
    assert len(servers(wide)) == 1


def test_odd_shapes() -> None:
    for text in (
        "resources: 3\n",
        "resources: [[1], {a: 1}, null]\n",
        "- a\n",
        "patches: [3, {path: []}]\nimages: x\n",
    ):
        assert len(servers({"kustomization.yaml": text, "d.yaml": BASE})) == 1


def test_a_pattern_that_several_overlays_change_is_what_its_file_says() -> None:
    runtime = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata: {name: vllm}
spec:
  containers: [{name: kserve-container, image: "vllm/vllm-openai:v0", args: [--model, /mnt/models]}]
"""
    files = {
        "base/kustomization.yaml": HEAD + "resources: [runtime.yaml]\n",
        "base/runtime.yaml": runtime,
        "a/kustomization.yaml": HEAD + "resources: [../base]\nimages: [{name: vllm/vllm-openai, newTag: v1}]\n",
    }
    (alone,) = servers(files)
    files["b/kustomization.yaml"] = files["a/kustomization.yaml"].replace("v1", "v2")
    (found,) = servers(files)
    assert alone.image is not None
    assert found.image is not None
    assert (found.runtime, found.name, alone.image.text, found.image.text) == (
        True,
        alone.name,
        "vllm/vllm-openai:v1",
        "vllm/vllm-openai:v0",
    )
