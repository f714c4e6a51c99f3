"""KServe's services and runtimes, each file by itself; what they make together is test_manifests'."""

from __future__ import annotations

import pytest
from kube import cards, given, launch, launches, lines, texts

from vramguard.facts import Word


def service(predictor: str) -> str:
    return f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: llama}}
spec:
  transformer: {{containers: [{{image: transformers}}]}}
  predictor:
{predictor}"""


def test_a_model_that_a_runtime_serves() -> None:
    text = service("""\
    nodeSelector: {nvidia.com/gpu.product: NVIDIA-L4}
    model:
      modelFormat: {name: huggingface}
      runtime: mine
      storageUri: hf://meta-llama/Llama-3.1-8B:0123abc
      args: [--max_model_len=4096]
      env: [{name: A, value: b}]
      resources: {limits: {nvidia.com/gpu: 1}}
""")
    found = launch(text)
    assert (found.form, found.name, found.at.line, found.runtime) == ("kserve", "InferenceService/llama", 8, False)
    assert given(found) == {"model": "hf://meta-llama/Llama-3.1-8B", "revision": "0123abc"}
    assert {field: word.at.line for field, word in found.given.items()} == {"model": 11, "revision": 11}
    assert (found.joins["runtime"], "format" in found.joins) == ("mine", False)
    assert (texts(found.command), found.entrypoint) == (["--max_model_len=4096"], False)
    assert cards(found) == {"gpu": "NVIDIA-L4", "gpus": 1}
    assert lines(found) == {"gpu": 7, "gpus": 14}


@pytest.mark.parametrize(
    ("model", "stated", "joins"),
    [
        ("{modelFormat: {name: vLLM}, storageUri: 's3://b/m'}", {"model": "s3://b/m"}, "vLLM"),
        ("{modelFormat: {name: vLLM}, storage: {key: k, path: models/m}}", {"model": "models/m"}, "vLLM"),
        ("{modelFormat: {name: sklearn}, storageUri: 'gs://b/m'}", {}, "sklearn"),
        ("{modelFormat: {name: triton}, storageUri: 'gs://b/m'}", {}, "triton"),
        ("{modelFormat: {name: huggingface}, args: [--model_id=a/b]}", {}, "huggingface"),
    ],
)
def test_only_a_format_of_language_models_states_a_model(model: str, stated: dict[str, str], joins: str) -> None:
    found = launch(service(f"    model: {model}  # vllm\n"))
    assert given(found) == stated
    assert found.joins["format"] == joins


def test_older_services_name_the_format_as_a_key() -> None:
    found = launch(service("    sklearn: {storageUri: 'gs://b/m'}\n"))
    assert (found.joins["format"], given(found)) == ("sklearn", {})


def test_containers_of_its_own() -> None:
    found = launch(
        service("    containers: [{name: kserve-container, image: vllm/vllm-openai, args: [--model, a/b]}]\n")
    )
    assert (found.name, texts(found.command), found.joins) == ("InferenceService/llama", ["--model", "a/b"], {})


def test_workers() -> None:
    text = service("""\
    model: {modelFormat: {name: huggingface}, storageUri: 'hf://a/b'}
    workerSpec: {pipelineParallelSize: 2, tensorParallelSize: 8}
""")
    found = launch(text)
    assert cards(found) == {"gpus": 8, "nodes": 2}
    assert given(found) == {"model": "hf://a/b", "pipeline_parallel_size": "2", "tensor_parallel_size": "8"}
    size = found.env["TENSOR_PARALLEL_SIZE"]
    assert isinstance(size, Word)
    assert (size.text, size.at.line) == ("8", 8)


def test_a_runtime_waits_for_a_service() -> None:
    text = """\
    apiVersion: serving.kserve.io/v1alpha1
    kind: ClusterServingRuntime
    metadata: {name: mine}
    spec:
      supportedModelFormats: [{name: vLLM, autoSelect: true}, {name: onnx}]
      containers:
      - name: kserve-container
        image: vllm/vllm-openai
        args: ["--served-model-name={{.Name}}"]
    """
    found = launch(text)
    assert found.runtime
    assert found.joins == {"runtime": "mine", "formats": "vLLM", "container": "kserve-container"}
    assert launch(text.replace("spec:", "spec:\n      disabled: true")).joins["formats"] == ""


LANGUAGE = """\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: qwen}
spec:
  model: {uri: hf://Qwen/Qwen2.5-7B-Instruct}
  parallelism: {tensor: 2, data: 16, dataLocal: 8, expert: true}
  template:
    containers:
    - name: sidecar
      image: busybox
    - name: main
      args: [--seed=1]
      env: [{name: VLLM_ADDITIONAL_ARGS, value: --max-model-len=4096}]
      resources: {limits: {nvidia.com/gpu: 8}}
  worker: {containers: [{name: main}]}
  prefill:
    template:
      containers: [{name: main, command: [vllm, serve, /mnt/models], resources: {limits: {nvidia.com/gpu: 1}}}]
"""


def test_a_service_of_a_language_model() -> None:
    main, prefill = launches(LANGUAGE)
    assert (main.name, main.at.line) == ("LLMInferenceService/qwen", 11)
    assert texts(main.command)[:2] == ["sh", "-c"]
    assert texts(main.command)[2].startswith("vllm serve /mnt/models")
    assert texts(main.command)[3:] == ["--", "--seed=1"]
    assert given(main) == {
        "model": "hf://Qwen/Qwen2.5-7B-Instruct",
        "tensor_parallel_size": "2",
        "data_parallel_size": "16",
        "enable_expert_parallel": "true",
    }
    assert cards(main) == {"gpus": 8, "nodes": 2}
    assert (prefill.name, texts(prefill.command)) == (
        "LLMInferenceService/qwen/prefill",
        ["vllm", "serve", "/mnt/models"],
    )
    assert cards(prefill) == {"gpus": 1}


def test_a_service_that_names_a_model_alone() -> None:
    text = "apiVersion: serving.kserve.io/v1alpha1\nkind: LLMInferenceService\nspec: {model: {uri: 'hf://a/b'}}\n"
    found = launch(text)
    assert (given(found), found.at.line, found.entrypoint) == ({"model": "hf://a/b"}, 3, True)


@pytest.mark.parametrize(("count", "expected"), [("", 1), ("\n    serving.kserve.io/exp-dra-device-count: '2'", 2)])
def test_cards_that_the_controller_claims(count: str, expected: int) -> None:
    text = f"""\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata:
  annotations:
    serving.kserve.io/exp-dra-device-class: gpu.nvidia.com{count}
spec:
  model: {{uri: hf://a/b}}
  template: {{containers: [{{name: main}}]}}
"""
    assert cards(launch(text)) == {"gpus": expected}
