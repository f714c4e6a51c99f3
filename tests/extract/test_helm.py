"""Values of charts: which deployments they are, read as the charts' templates read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.extract import helm
from vramguard.facts import HelmChart, HelmKey, HelmRelease, Launch, Subchart, Unknown
from vramguard.source import Document, read

if TYPE_CHECKING:
    from vramguard.facts import Fact


def said(text: str, path: str = "deploy/values.yaml") -> list[Fact]:
    document = read(path, text.encode(), kind="yaml")
    assert isinstance(document, Document), document
    return list(helm.extract(document))


def launches(text: str, path: str = "deploy/values.yaml") -> list[Launch]:
    return [fact for fact in said(text, path) if isinstance(fact, Launch)]


def line(launch: Launch) -> str:
    return " ".join(word.text for word in launch.command)


PRODUCTION = """\
servingEngineSpec:
  modelSpec:
  - name: big
    repository: vllm/vllm-openai
    tag: v0.19.0
    modelURL: Qwen/Qwen3-32B
    replicaCount: 2
    requestGPU: 4
    nodeSelectorTerms:
      - matchExpressions:
        - {key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-H100-80GB-HBM3]}
    vllmConfig:
      maxModelLen: 32768
      tensorParallelSize: 4
      pipelineParallelSize: 2
      gpuMemoryUtilization: 0.90
      enableChunkedPrefill: false
      extraArgs: ["--max-num-seqs", "64"]
"""


def test_production_stack_becomes_the_command_of_its_template() -> None:
    (found,) = launches(PRODUCTION)
    assert line(found) == (
        "vllm serve Qwen/Qwen3-32B --max-model-len 32768 --tensor-parallel-size 4 --gpu_memory_utilization 0.90 "
        "--no-enable-chunked-prefill --max-num-seqs 64"
    )
    assert found.image is not None
    assert (found.form, found.name, found.image.text) == ("helm", "big", "vllm/vllm-openai:v0.19.0")
    assert (found.hardware.gpu, found.hardware.gpus, found.hardware.nodes) == ("NVIDIA-H100-80GB-HBM3", 4, None)
    places = {word.text: word.at.line for word in found.command}
    assert (found.at.line, places["32768"], places["64"]) == (3, 13, 18)
    assert found.hardware.places["gpus"].line == 8


def test_a_ray_cluster_of_the_stack_has_its_head_and_its_workers() -> None:
    text = PRODUCTION + "    raySpec: {enabled: true}\n"
    (found,) = launches(text)
    assert found.hardware.nodes == 3
    assert "--pipeline-parallel-size 2" in line(found), "which only its own template reads"


def test_a_model_that_is_off_or_only_a_place_is_no_deployment() -> None:
    assert launches(PRODUCTION.replace("  - name: big", "  - name: big\n    enabled: false")) == []
    for placeholder in ('""', "changeme", '"<your-model>"'):
        assert launches(PRODUCTION.replace("Qwen/Qwen3-32B", placeholder)) == []


@pytest.mark.parametrize(
    ("gpus", "kind", "gpu", "count", "share"),
    [
        ("1", "nvidia.com/mig-3g.40gb", "mig-3g.40gb", 1, None),
        ("0.5", "nvidia.com/gpu", None, None, "0.5"),
        ("2", "amd.com/gpu", "amd.com/gpu", 2, None),
    ],
)
def test_what_cards_the_stack_asks_for(gpus: str, kind: str, gpu: str | None, count: int | None, share: str) -> None:
    text = PRODUCTION.replace("requestGPU: 4", f"requestGPU: {gpus}\n    requestGPUType: {kind}")
    (found,) = launches(text.replace("nodeSelectorTerms", "unheard"))
    assert (found.hardware.gpu, found.hardware.gpus, found.hardware.share) == (gpu, count, share)


MODELSERVICE = """\
multinode: {multinode}
modelArtifacts:
  name: Qwen/Qwen3-8B
  uri: "hf://{{{{ .Values.modelArtifacts.name }}}}"
decode:
  parallelism: {{tensor: 2, data: 4, workers: 2}}
  containers:
  - name: vllm
    image: ghcr.io/llm-d/llm-d-cuda:v0.5.0
    modelCommand: vllmServe
    args: ["--max-model-len", "16384"]
prefill:
  create: false
  containers: [{{name: vllm, image: "ghcr.io/llm-d/llm-d-cuda:v0.5.0", modelCommand: vllmServe}}]
"""


def test_modelservice_counts_the_cards_of_its_grid() -> None:
    (found,) = launches(MODELSERVICE.format(multinode="true"))
    assert line(found) == (
        "vllm serve Qwen/Qwen3-8B --tensor-parallel-size 2 --data-parallel-size 4 --max-model-len 16384"
    )
    assert (found.name, found.hardware.gpus, found.hardware.nodes) == ("decode", 4, 2)
    (alone,) = launches(MODELSERVICE.format(multinode="false"))
    assert alone.hardware.nodes is None


@pytest.mark.parametrize(("kind", "accelerator"), [("cpu", "cpu"), ("intel-gaudi", "gaudi"), ("google", "tpu")])
def test_modelservice_on_what_is_no_gpu(kind: str, accelerator: str) -> None:
    (found,) = launches(MODELSERVICE.format(multinode="false") + f"accelerator: {{type: {kind}}}\n")
    assert found.hardware.accelerator == accelerator


def test_a_simulator_serves_no_model() -> None:
    text = MODELSERVICE.format(multinode="false").replace("llm-d-cuda:v0.5.0", "llm-d-inference-sim:v0.1")
    assert launches(text) == []


def test_kubeai_catalog_only_what_is_enabled() -> None:
    entry = "engine: VLLM, url: 'hf://Qwen/Qwen3-8B', resourceProfile: 'nvidia-gpu-l4:2', args: [--max-model-len=8192]"
    text = f"catalog:\n  one: {{enabled: true, {entry}}}\n  two: {{enabled: false, {entry}}}\n"
    (found,) = launches(text)
    assert (found.name, found.form, line(found)) == ("one", "helm", "--max-model-len=8192")
    assert len(launches(text + "all: {enabled: true}\n")) == 2


def test_opea_charts_and_their_cpu() -> None:
    vllm = "image: {repository: opea/vllm, tag: latest}\nLLM_MODEL_ID: Qwen/Qwen3-8B\nextraCmdArgs: [--dtype, half]\n"
    (found,) = launches(vllm + 'accelDevice: ""\n')
    assert (line(found), found.hardware.accelerator) == ("--dtype half --model Qwen/Qwen3-8B", "cpu")
    assert len(launches(vllm + "resources: {limits: {amd.com/gpu: 1}}\n")) == 1
    (found,) = launches(vllm + "accelDevice: nvidia\nresources: {limits: {nvidia.com/gpu: 1}}\n")
    assert (found.hardware.accelerator, found.hardware.gpus) == (None, 1)
    (tgi,) = launches(
        "tgi:\n  image: {repository: ghcr.io/huggingface/text-generation-inference, tag: 3.0.0}\n"
        "  LLM_MODEL_ID: Qwen/Qwen3-8B\n  MAX_INPUT_LENGTH: '1024'\n  MAX_TOTAL_TOKENS: ''\n"
    )
    assert {name: getattr(value, "text", "") for name, value in tgi.env.items()} == {
        "MODEL_ID": "Qwen/Qwen3-8B",
        "MAX_INPUT_LENGTH": "1024",
    }


def test_ollama_s_models_on_its_card_or_none() -> None:
    text = (
        "ollama:\n  gpu: {{enabled: {}, number: 2}}\n  models: {{pull: [llama3.2:1b], run: [llama3.2:1b, gemma:7b]}}\n"
    )
    first, second = launches(text.format("true"))
    assert [found.given["model"].text for found in (first, second)] == ["llama3.2:1b", "gemma:7b"]
    assert first.hardware.gpus == 2
    assert launches(text.format("false"))[0].hardware.accelerator == "cpu"


def test_a_nim_s_image_says_its_model() -> None:
    (found,) = launches(
        "nim-llm:\n  image: {repository: nvcr.io/nim/meta/llama-3.1-8b-instruct, tag: 1.8.4}\n"
        "  model: {name: meta/whatever}\n  resources: {limits: {nvidia.com/gpu: 1}}\n"
    )
    assert found.image is not None
    assert (found.name, found.image.text, found.given) == (
        "nim-llm",
        "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4",
        {},
    )


def test_any_chart_s_block_with_an_engine() -> None:
    (found,) = launches(
        "inference:\n  server:\n    image: {registry: docker.io, repository: vllm/vllm-openai, tag: v0.19.0}\n"
        "    model: {id: Qwen/Qwen3-8B}\n    maxModelLen: 8192\n"
        "    extraArgs: {max-num-seqs: 16, enforce_eager: true}\n"
        "    extraEnvVars: [{name: VLLM_USE_V1, value: '1'}]\n    resources: {limits: {nvidia.com/gpu: 2}}\n"
        "    nodeSelector: {cloud.google.com/gke-accelerator: nvidia-l4}\n"
    )
    assert found.image is not None
    assert (found.name, found.image.text) == ("inference.server", "docker.io/vllm/vllm-openai:v0.19.0")
    assert line(found) == "--max-num-seqs=16 --enforce-eager"
    assert {name: word.text for name, word in found.given.items()} == {
        "model": "Qwen/Qwen3-8B",
        "max_model_len": "8192",
    }
    assert (found.hardware.gpu, found.hardware.gpus, found.entrypoint) == ("nvidia-l4", 2, False)
    assert "VLLM_USE_V1" in found.env


def test_arguments_win_over_keys_and_one_text_is_several_words() -> None:
    (found,) = launches(
        "image: vllm/vllm-openai:v0.19.0\nmaxModelLen: 4096\nargs: |\n  --model Qwen/Qwen3-8B\n  --max-model-len 8192\n"
    )
    assert (line(found), found.given) == ("--model Qwen/Qwen3-8B --max-model-len 8192", {})
    assert [word.at.line for word in found.command] == [4, 4, 5, 5]


def test_what_is_no_deployment() -> None:
    assert launches("image: {repository: vllm/vllm-openai, tag: latest}\nservice: {port: 80}\n") == []
    assert launches("router: {image: lmcache/vllm-router, args: [--model, a/b]}\n") == []
    assert launches("vllm: {enabled: false, image: vllm/vllm-openai, args: [--model, a/b]}\n") == []
    assert launches("image: vllm/vllm-openai\nargs: [--model, '<model>']\n") == []
    assert launches("postgres: {image: bitnami/postgres, args: [--model, a/b], model: c/d}\n") == []


def test_only_files_named_as_values_are_values() -> None:
    text = "image: vllm/vllm-openai\nargs: [--model, a/b]\n"
    for path in ("values.yaml", "c/values-prod.yml", "c/gpu-values.yaml", "c/values/eu.yaml", "custom-values-a.yaml"):
        assert len(launches(text, path)) == 1, path
    for path in ("c/templates/values.yaml", "config.yaml", "c/settings.yaml"):
        assert launches(text, path) == []


def test_a_renderer_s_value_is_not_known() -> None:
    (found,) = launches('image: vllm/vllm-openai\nargs: ["--model={{ .Values.global.model }}"]\n')
    assert found.command[0].value == Unknown("--model={{ .Values.global.model }}")


def test_keys_that_state_a_field() -> None:
    text = "vllm:\n  image: vllm/vllm-openai\n  args: [--model, a/b]\n  maxModelLen: 8\nenv: {MAX_MODEL_LEN: '4'}\n"
    (key,) = (fact for fact in said(text) if isinstance(fact, HelmKey))
    assert (key.keys, key.field, key.at.line) == (("vllm", "maxModelLen"), "max_model_len", 4)


def test_a_chart_and_its_dependencies() -> None:
    (chart,) = said(
        "name: chat\ndependencies:\n- {name: vllm, alias: big, repository: 'file://../vllm', condition: big.enabled}\n",
        "chart/Chart.yaml",
    )
    assert isinstance(chart, HelmChart)
    assert chart.dependencies == (Subchart("big", "vllm", "file://../vllm", "big.enabled"),)


INLINE = "image: vllm/vllm-openai:v0.19.0\nargs: [--model, Qwen/Qwen3-8B]\n"


def indented(spaces: int) -> str:
    return INLINE.replace("image", " " * spaces + "image").replace("\nargs", "\n" + " " * spaces + "args")


SET = """\
releases:
- chart: r/llm
  set:
  - {name: a.image, value: "vllm/vllm-openai:v0.19.0"}
  - {name: a.args, value: "--model Qwen/Qwen3-8B"}
  - {name: "a.list[0]", value: 1}
"""


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  source:\n    path: charts/llm\n    helm:\n"
            "      valueFiles: [prod.yaml, ../x.yaml, $v/env/a.yaml]\n      values: |\n" + indented(8),
            ("charts/llm", ("charts/llm/prod.yaml", "charts/x.yaml", "env/a.yaml")),
        ),
        (
            "apiVersion: argoproj.io/v1alpha1\nkind: Application\nspec:\n  sources:\n  - chart: llm\n    helm:\n"
            "      valuesObject:\n" + indented(8),
            (None, ()),
        ),
        (
            "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec:\n  chart:\n    spec:\n      chart: ./llm\n"
            "      sourceRef: {kind: GitRepository}\n  values:\n" + indented(4),
            ("llm", ()),
        ),
        (
            "releases:\n- name: llm\n  chart: ./charts/llm\n  values:\n  - env/prod.yaml\n  -\n" + indented(4),
            ("apps/charts/llm", ("apps/env/prod.yaml",)),
        ),
        (
            SET,
            (None, ()),
        ),
    ],
)
def test_values_that_stand_where_a_chart_is_installed(text: str, release: tuple[str | None, tuple[str, ...]]) -> None:
    facts = said(text, "apps/llm.yaml")
    (found,) = (fact for fact in facts if isinstance(fact, HelmRelease))
    assert (found.chart, found.files) == release
    (launch,) = (fact for fact in facts if isinstance(fact, Launch))
    assert line(launch) == "--model Qwen/Qwen3-8B"
    model = launch.command[1].at.line
    assert "Qwen/Qwen3-8B" in text.split("\n")[model - 1]


def test_a_path_out_of_the_repository_is_no_path() -> None:
    text = "releases:\n- {chart: ../../../etc, values: [../../../etc/passwd, '{{ .Env }}.yaml', /etc/x, \"a\\0b\"]}\n"
    (found,) = (fact for fact in said(text, "apps/helmfile.yaml") if isinstance(fact, HelmRelease))
    assert (found.chart, found.files) == (None, ())


@pytest.mark.parametrize(
    "text",
    [
        "vllm: 3\nservingEngineSpec: [1]\ncatalog: {a: 1}\nmodelArtifacts: x\nollama: []\nLLM_MODEL_ID: {}\nimage: 7\n",
        "servingEngineSpec: {modelSpec: [1, null, {modelURL: [a]}, {modelURL: a/b, vllmConfig: 3, requestGPU: []}]}\n",
        "modelArtifacts: {uri: 'hf://a/b'}\ndecode: {containers: [1, {args: 3}], parallelism: {data: -1}}\n",
        "vllm: {image: {repository: [1]}, args: [[1]], env: [1, {name: 2}], resources: {limits: 3}}\n",
        "a: &a [vllm, vllm]\nb: &b [*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]\n",
        "vllm:\n  args: '" + "--model x " * 20_000 + "'\n  image: vllm/vllm-openai\n",
        "vllm: {model: 'path/to/" + " " * 100_000 + "x', image: vllm/vllm-openai}\n",
    ],
)
def test_what_no_chart_has_crashes_nothing(text: str) -> None:
    assert isinstance(said(text), list)


def test_values_for_a_chart_elsewhere_whose_model_is_its_own() -> None:
    text = "vllm:\n  image: {repository: vllm/vllm-openai}\n  args: [--dtype, half]\n"
    text += "  resources: {limits: {nvidia.com/gpu: 1}}\n"
    (found,) = launches(text, "deploy/values-prod.yaml")
    assert (found.given["model"].known, found.hardware.gpus) == (False, 1)
    assert launches(text, "deploy/values.yaml") == [], "a chart's defaults, which its user completes"
    assert launches(text.partition("  resources")[0], "deploy/values-prod.yaml") == []


def test_opea_s_engines_without_an_image_are_its_charts_own() -> None:
    (found,) = launches("vllm: {enabled: true, LLM_MODEL_ID: Qwen/Qwen3-8B}\nagent: {LLM_MODEL_ID: Qwen/Qwen3-8B}\n")
    assert (found.name, found.given["engine"].text, found.hardware.accelerator) == ("vllm", "vllm", "cpu")
    (ollama,) = launches("image: {repository: ollama/ollama}\nLLM_MODEL_ID: llama3.2:1b\n")
    assert {name: word.text for name, word in ollama.given.items()} == {"engine": "ollama", "model": "llama3.2:1b"}
