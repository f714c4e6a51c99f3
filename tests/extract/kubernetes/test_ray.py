"""KubeRay: applications, clusters and jobs."""

from __future__ import annotations

import pytest
from kube import cards, given, launch, launches, lines, texts

from vramguard.facts import Word

SERVICE = """\
apiVersion: ray.io/v1
kind: RayService
metadata: {name: chat}
spec:
  serveConfigV2: |
    applications:
    - name: llms
      import_path: ray.serve.llm:build_openai_app
      runtime_env: {env_vars: {A: b}}
      args:
        llm_configs:
        - model_loading_config:
            model_id: small
            model_source: Qwen/Qwen2.5-7B-Instruct
          accelerator_type: L4
          engine_kwargs:
            tensor_parallel_size: 4
            pipeline_parallel_size: 2
            gpu_memory_utilization: 0.90
            enforce_eager: true
            enable_prefix_caching: false
            quantization: null
            hf_overrides: {a: 1}
          runtime_env: {env_vars: {C: d}}
        - ./elsewhere.yaml
  rayClusterConfig:
    headGroupSpec:
      template: {spec: {containers: [{image: rayproject/ray-llm, resources: {limits: {nvidia.com/gpu: 0}}}]}}
    workerGroupSpecs:
    - replicas: 1
      maxReplicas: 4
      template:
        spec:
          containers: [{image: rayproject/ray-llm, resources: {limits: {nvidia.com/gpu: 4}}}]
"""


def test_an_application_of_ray_s_own() -> None:
    found = launch(SERVICE)
    assert (found.form, found.name, found.at.line, found.entrypoint) == ("ray", "RayService/chat/llms", 12, False)
    assert given(found) == {"engine": "vLLM", "model": "Qwen/Qwen2.5-7B-Instruct"}
    assert found.given["model"].at.line == 14
    assert [(word.text, word.at.line) for word in found.command] == [
        ("--tensor-parallel-size=4", 17),
        ("--pipeline-parallel-size=2", 18),
        ("--gpu-memory-utilization=0.90", 19),
        ("--enforce-eager", 20),
        ("--no-enable-prefix-caching", 21),
        ('--hf-overrides={"a": 1}', 23),
    ]
    assert cards(found) == {"gpu": "L4", "gpus": 4, "nodes": 2}
    assert lines(found) == {"gpu": 15, "gpus": 34, "nodes": 30}
    assert {name: word.text for name, word in found.env.items() if isinstance(word, Word)} == {"A": "b", "C": "d"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("      maxReplicas: 4\n", "", {"gpu": "L4", "gpus": 4, "nodes": 1}),
        ("      maxReplicas: 4\n", "      numOfHosts: 2\n", {"gpu": "L4", "gpus": 4, "nodes": 2}),
        ("nvidia.com/gpu: 4", "nvidia.com/gpu: 8", {"gpu": "L4", "gpus": 8}),
        ("          accelerator_type: L4\n", "", {"gpus": 4, "nodes": 2}),
        ("nvidia.com/gpu: 4", "google.com/tpu: 4", {"gpu": "L4", "accelerator": "tpu"}),
    ],
)
def test_the_pods_of_a_replica(old: str, new: str, expected: dict[str, object]) -> None:
    assert old in SERVICE
    assert cards(launch(SERVICE.replace(old, new))) == expected


def test_groups_that_differ_leave_the_card_open() -> None:
    card = "nodeSelector: {nvidia.com/gpu.product: %s}"
    group = f"    - template: {{spec: {{{card}, containers: [{{resources: {{limits: {{nvidia.com/gpu: %d}}}}}}]}}}}\n"
    text = SERVICE.replace("          accelerator_type: L4\n", "")
    head, _, _ = text.partition("    - replicas: 1\n")
    found = launch(head + group % ("A10G", 1) + group % ("H100", 8))
    assert cards(found) == {"gpu": "?A10G|H100", "gpus": "?1|8"}


def test_an_application_of_one_s_own_code() -> None:
    head, _, tail = SERVICE.partition("    - name: llms\n")
    own = "    - {name: mine, import_path: 'serve_vllm:app', runtime_env: {env_vars: {MODEL_ID: a/b}}}\n"
    found = launch(head + own + "  rayClusterConfig:" + tail.partition("  rayClusterConfig:")[2])
    assert texts(found.command) == ["serve", "run", "serve_vllm:app"]
    assert isinstance(found.env["MODEL_ID"], Word)
    assert (found.env["MODEL_ID"].text, cards(found), given(found)) == ("a/b", {"gpus": 4}, {})


def test_the_files_that_an_application_finds_in_its_pods() -> None:
    own = SERVICE.replace("ray.serve.llm:build_openai_app", "serve_vllm:app")
    mounts = "volumeMounts: [{name: v, mountPath: /app}], resources: {limits: {nvidia.com/gpu: 4}}}]"
    head, found_it, _ = own.partition("resources: {limits: {nvidia.com/gpu: 4}}}]")
    assert found_it
    found = launch(f"{head}{mounts}\n          volumes: [{{name: v, configMap: {{name: code}}}}]\n")
    assert {path: of.name for path, of in found.mounts.items()} == {"/app": "code"}


def test_a_text_that_is_no_configuration_serves_nothing() -> None:
    assert launches("apiVersion: ray.io/v1\nkind: RayService\nspec: {serveConfigV2: '{{ vllm }}: ['}\n") == []


FLEET = """\
apiVersion: orchestration.aibrix.ai/v1alpha1
kind: RayClusterFleet
metadata: {name: r1}
spec:
  template:
    spec:
      headGroupSpec:
        template:
          spec:
            containers:
            - image: vllm/vllm-openai
              command: [sh, -c, "ray start --head; vllm serve a/b -tp 16"]
              resources: {limits: {nvidia.com/gpu: 8}}
      workerGroupSpecs:
      - replicas: 1
        template: {spec: {containers: [{command: [ray, start], resources: {limits: {nvidia.com/gpu: 8}}}]}}
"""


def test_a_head_that_starts_the_engine_has_the_whole_cluster() -> None:
    found = launch(FLEET)
    assert (found.name, found.at.line, cards(found)) == ("RayClusterFleet/r1", 11, {"gpus": 8, "nodes": 2})


def test_a_job_s_entry_point() -> None:
    text = """\
    apiVersion: ray.io/v1
    kind: RayJob
    metadata: {name: batch}
    spec:
      entrypoint: python batch.py --model vllm
      runtimeEnvYAML: |
        env_vars: {A: "1"}
      rayClusterSpec:
        headGroupSpec:
          template: {spec: {containers: [{resources: {limits: {nvidia.com/gpu: 1}}}]}}
    """
    found = launch(text)
    assert found.script is not None
    assert (found.script.text, found.script.at.line) == ("python batch.py --model vllm", 5)
    assert cards(found) == {"gpus": 1, "nodes": 1}
    worker = "template: {spec: {containers: [{resources: {limits: {nvidia.com/gpu: 1}}}]}}"
    several = f"{text.rstrip()}\n        workerGroupSpecs:\n        - replicas: 3\n          {worker}\n"
    assert cards(launch(several)) == {"gpus": 1, "nodes": 4}
    assert isinstance(found.env["A"], Word)
    assert (found.env["A"].text, found.env["A"].at.line) == ("1", 7)
