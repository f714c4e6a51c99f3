"""Custom resources that state a model."""

from __future__ import annotations

import pytest
from kube import cards, facts, given, launch, launches, lines, texts

from vramguard.facts import Texts, Word


def test_kubeai() -> None:
    text = """\
    apiVersion: kubeai.org/v1
    kind: Model
    metadata: {name: llama}
    spec:
      url: hf://meta-llama/Llama-3.1-8B-Instruct
      engine: VLLM
      args: [--max-model-len=4096]
      env: {VLLM_ATTENTION_BACKEND: FLASHINFER}
      resourceProfile: nvidia-gpu-l4:2
    """
    found = launch(text)
    assert (found.form, found.name, found.entrypoint) == ("kubeai", "Model/llama", False)
    assert given(found) == {"engine": "VLLM", "model": "hf://meta-llama/Llama-3.1-8B-Instruct"}
    assert texts(found.command) == ["--max-model-len=4096"]
    assert (cards(found), lines(found)) == ({"gpu": "l4", "gpus": 2}, {"gpu": 9, "gpus": 9})
    assert isinstance(found.env["VLLM_ATTENTION_BACKEND"], Word)


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("cpu:2", {"accelerator": "cpu"}),
        ("google-tpu-v5e-2x2:4", {"accelerator": "tpu"}),
        ("gaudi-for-text-generation:1", {"accelerator": "gaudi"}),
        ("amd-gpu-mi300x:8", {"gpu": "mi300x", "gpus": 8}),
        ("mine:1", {"gpu": "mine", "gpus": 1}),
    ],
)
def test_profiles_of_kubeai(profile: str, expected: dict[str, object]) -> None:
    text = f"apiVersion: kubeai.org/v1\nkind: Model\nspec: {{engine: VLLM, resourceProfile: '{profile}'}}\n"
    assert cards(launch(text)) == expected


WORKSPACE = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: w}
resource: {instanceType: Standard_NC80adis_H100_v5, count: 6}
inference:
  preset: {name: deepseek-v3-0324}
  config: mine
"""


def test_a_workspace_of_kaito() -> None:
    found = launch(WORKSPACE)
    assert given(found) == {
        "engine": "vllm",
        "model": "deepseek-ai/DeepSeek-V3-0324",
        "revision": "e9b33add76883f293d6bf61f6bd89b497e80e335",
    }
    assert (found.name, found.at.line, found.joins) == ("Workspace/w", 5, {"config": "mine"})
    assert cards(found) == {"gpu": "Standard_NC80adis_H100_v5", "nodes": 6}
    assert set(lines(found).values()) == {4}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("deepseek-v3-0324", "Qwen/Qwen3-8B", {"engine": "vllm", "model": "Qwen/Qwen3-8B"}),
        ("deepseek-v3-0324", "of-my-own", {"engine": "vllm", "model": "of-my-own"}),
        ("name: w", "name: w, annotations: {kaito.sh/runtime: transformers}", {"engine": "transformers"}),
        ("inference:", "tuning:", {"engine": "transformers", "mode": "training"}),
    ],
)
def test_what_a_workspace_states(old: str, new: str, expected: dict[str, str]) -> None:
    found = given(launch(WORKSPACE.replace(old, new)))
    assert {key: found.get(key) for key in expected} == expected


def test_a_set_of_workspaces_on_slices() -> None:
    text = """\
    apiVersion: kaito.sh/v1beta1
    kind: InferenceSet
    metadata: {name: s}
    spec:
      template:
        inference: {preset: {name: phi-4-mini-instruct}}
        resource: {partition: {mode: mig, profile: 2g.24gb}}
    """
    found = launch(text)
    assert (given(found)["model"], cards(found)) == (
        "microsoft/Phi-4-mini-instruct",
        {"gpu": "mig-2g.24gb", "gpus": 1},
    )


def test_roles_of_kaito() -> None:
    text = """\
    apiVersion: kaito.sh/v1alpha1
    kind: MultiRoleInference
    metadata: {name: pd}
    spec:
      model: {name: deepseek-ai/DeepSeek-V3}
      roles:
      - {type: prefill, instanceType: Standard_A}
      - {type: decode, instanceType: Standard_B}
    """
    assert [(found.name, cards(found), given(found)["model"]) for found in launches(text)] == [
        ("MultiRoleInference/pd/prefill", {"gpu": "Standard_A"}, "deepseek-ai/DeepSeek-V3"),
        ("MultiRoleInference/pd/decode", {"gpu": "Standard_B"}, "deepseek-ai/DeepSeek-V3"),
    ]


def test_dynamo() -> None:
    text = """\
    apiVersion: nvidia.com/v1alpha1
    kind: DynamoGraphDeployment
    metadata: {name: g}
    spec:
      envs: [{name: A, value: of all}]
      services:
        Planner: {replicas: 1}
        Decode:
          envFromSecret: hub
          envs: [{name: B, value: of one}]
          multinode: {nodeCount: 2}
          resources: {limits: {gpu: "8"}}
          extraPodSpec:
            nodeSelector: {nvidia.com/gpu.product: NVIDIA-H200}
            mainContainer:
              image: nvcr.io/nvidia/ai-dynamo/vllm-runtime:0.8.0
              command: [python3]
              args: [-m, dynamo.vllm, --model, a/b]
    """
    found = launch(text)
    assert (found.name, found.at.line, found.form) == ("DynamoGraphDeployment/g/Decode", 8, "dynamo")
    assert (cards(found), lines(found)) == (
        {"gpu": "NVIDIA-H200", "gpus": 8, "nodes": 2},
        {"gpu": 14, "gpus": 12, "nodes": 11},
    )
    assert texts(found.command) == ["python3", "-m", "dynamo.vllm", "--model", "a/b"]
    assert [word.text for word in found.env.values() if isinstance(word, Word)] == ["of all", "of one"]
    assert [(of.kind, of.name) for of in found.references] == [("Secret", "hub")]


def test_llm_d_model_service() -> None:
    text = """\
    apiVersion: llm-d.ai/v1alpha1
    kind: ModelService
    metadata: {name: m}
    spec:
      modelArtifacts: {uri: hf://a/b}
      decode:
        parallelism: {tensor: 4}
        acceleratorTypes: {labelKey: nvidia.com/gpu.product, labelValues: [NVIDIA-H100]}
        containers: [{name: vllm, args: [--seed=1], resources: {limits: {nvidia.com/gpu: 4}}}]
    """
    found = launch(text)
    assert given(found) == {"model": "hf://a/b", "tensor_parallel_size": "4"}
    assert cards(found) == {"gpu": "NVIDIA-H100", "gpus": 4}


def test_a_claim_on_a_pool_of_aibrix() -> None:
    text = """\
    apiVersion: model.aibrix.ai/v1alpha1
    kind: ModelClaim
    metadata: {name: m}
    spec: {artifactURL: 'huggingface://Qwen/Qwen3-0.6B', engine: vllm, engineConfig: {args: {--max-model-len: "2048"}}}
    """
    found = launch(text)
    assert given(found) == {"engine": "vllm", "model": "huggingface://Qwen/Qwen3-0.6B"}
    assert texts(found.command) == ["--max-model-len=2048"]


def test_the_production_stack_s_runtime() -> None:
    text = """\
    apiVersion: production-stack.vllm.ai/v1alpha1
    kind: VLLMRuntime
    metadata: {name: r}
    spec:
      model: {modelURL: a/b, maxModelLen: 4096, dtype: bfloat16, maxNumSeqs: 32, enableLoRA: false}
      vllmConfig: {tensorParallelSize: 2, gpuMemoryUtilization: "0.8", maxLoras: 4, extraArgs: [--seed=1]}
      deploymentConfig:
        resources: {cpu: "5", gpu: "2"}
        image: {registry: docker.io, name: lmcache/vllm-openai:v1}
    """
    found = launch(text)
    assert given(found) == {
        "engine": "vllm",
        "model": "a/b",
        "max_model_len": "4096",
        "dtype": "bfloat16",
        "max_num_seqs": "32",
        "tensor_parallel_size": "2",
        "gpu_memory_utilization": "0.8",
    }
    assert found.image is not None
    assert (found.image.text, cards(found)) == ("docker.io/lmcache/vllm-openai:v1", {"gpus": 2})
    assert "max_loras" in given(launch(text.replace("enableLoRA: false", "enableLoRA: true")))


NIM = """\
apiVersion: apps.nvidia.com/v1alpha1
kind: NIMService
metadata: {name: n}
spec:
  image: {repository: nvcr.io/nim/meta/llama-3.1-8b-instruct, tag: "1.12.0"}
  env: [{name: NIM_MAX_MODEL_LEN, value: "4096"}]
  nodeSelector: {nvidia.com/gpu.product: NVIDIA-L40S}
  storage: {nimCache: {name: cached}}
  resources: {limits: {nvidia.com/gpu: 1}}
"""


def test_a_service_of_nim() -> None:
    found = launch(NIM)
    assert found.image is not None
    assert (found.form, found.image.text, found.image.at.line) == (
        "nim",
        "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.12.0",
        5,
    )
    assert (cards(found), found.joins) == ({"gpu": "NVIDIA-L40S", "gpus": 1}, {"nim-cache": "cached"})


@pytest.mark.parametrize(
    ("instead", "expected"),
    [
        ("multiNode: {parallelism: {pipeline: 2, tensor: 8}}", {"gpus": 8, "nodes": 2}),
        ("multiNode: {size: 2, gpusPerPod: 8}", {"gpus": 8, "nodes": 2}),
        ("draResources: [{resourceClaimTemplateName: one-card}]", {"gpus": "?one-card"}),
        ("draResources: [{claimCreationSpec: {devices: [{name: gpu, count: 2}]}}]", {"gpus": 2}),
        (
            "draResources: [{claimCreationSpec: {devices: [{celExpressions: [is a100]}]}}]",
            {"gpu": "?is a100", "gpus": 1},
        ),
    ],
)
def test_cards_of_nim(instead: str, expected: dict[str, object]) -> None:
    text = NIM.replace("resources: {limits: {nvidia.com/gpu: 1}}", instead).replace("  nodeSelector", "  x")
    assert cards(launch(text)) == expected


def test_a_pipeline_of_nim_and_a_cache() -> None:
    text = """\
    apiVersion: apps.nvidia.com/v1alpha1
    kind: NIMPipeline
    metadata: {name: p}
    spec:
      services:
      - {name: a, enabled: true, spec: {image: {repository: nvcr.io/nim/a, tag: 1}}}
      - {name: b, enabled: false, spec: {image: {repository: nvcr.io/nim/b, tag: 1}}}
    ---
    apiVersion: apps.nvidia.com/v1alpha1
    kind: NIMCache
    metadata: {name: cached}
    spec: {source: {hf: {namespace: meta-llama, modelName: Llama-3.2-1B, revision: abc}}}
    """
    found, cache = facts(text)
    assert isinstance(cache, Texts)
    assert [launch.name for launch in launches(text)] == ["NIMPipeline/p/a"]
    assert found in launches(text)
    assert {key: word.text for key, word in cache.values.items()} == {
        "model": "meta-llama/Llama-3.2-1B",
        "revision": "abc",
    }
