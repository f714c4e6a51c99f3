"""Found deployments from the file to the finding: what is judged, what is not, and on which line a finding stands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from llama import LLAMA_8B, LLAMA_70B

from vramguard import engine
from vramguard.discover import WorkTree
from vramguard.facts import Deployment
from vramguard.memory import Answer
from vramguard.target import Terms, prove_target

if TYPE_CHECKING:
    from conftest import Repo

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  nodeSelector:
    nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.19.0
    args:
    - --model=models/chat
    - --gpu-memory-utilization=0.7
    - --max-model-len=%s
    resources:
      limits: {nvidia.com/gpu: %s}
"""
CHAT = {"models/chat/config.json": json.dumps(LLAMA_8B)}


def judge(repo: Repo, files: dict[str, str], **overrides: Any) -> engine.Report:  # noqa: ANN401 - fields of Settings
    tree = WorkTree(repo(files))
    return engine.check(
        tree, engine.load_policy(tree, **{"ignore": ("VG110",), **overrides})
    )  # images are no matter here


def seen(report: engine.Report) -> list[tuple[str, str, int]]:
    return [(item.id, item.at.path, item.at.line) for item in report.findings]


def test_a_pod_is_proved_as_it_stands(repo: Repo) -> None:
    report = judge(repo, CHAT | {"pod.yaml": POD % (8192, 1)}, select=("VG1", "VG2"))
    assert seen(report) == []
    (proven,) = report.proofs
    assert (proven.proof.answer, proven.proof.device.name) == (Answer.FITS, "h100-sxm5-80gb")
    assert not proven.proof.gpu_assumed


def test_a_finding_stands_on_the_line_that_would_mend_it(repo: Repo) -> None:
    large = {"models/chat/config.json": json.dumps(LLAMA_70B)}
    assert ("VG201", "pod.yaml", 15) in seen(judge(repo, large | {"pod.yaml": POD % (8192, 1)})), "more cards"
    # A cache of 40 layers without shared heads: the weights fit, and a shorter context would.
    wide = LLAMA_8B | {"num_key_value_heads": 32, "num_hidden_layers": 40, "max_position_embeddings": 262144}
    report = judge(repo, {"models/chat/config.json": json.dumps(wide), "pod.yaml": POD % (131072, 1)})
    assert ("VG201", "pod.yaml", 13) in seen(report)


def test_cards_that_nobody_uses_are_said(repo: Repo) -> None:
    text = (POD % (8192, 4)).replace("    - --gpu-memory", "    - --tensor-parallel-size=2\n    - --gpu-memory")
    assert seen(judge(repo, CHAT | {"pod.yaml": text}, select=("VG2",))) == [("VG205", "pod.yaml", 16)]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("=models/chat", "=$(MODEL)", "its model is `$(MODEL)`"),
        ("8192", '{{ "{{" }}', "its max_model_len is"),
    ],
)
def test_what_somebody_else_fills_in_is_not_judged(repo: Repo, old: str, new: str, words: str) -> None:
    report = judge(repo, CHAT | {"pod.yaml": (POD % (8192, 1)).replace(old, new)}, select=("VG004", "VG202"))
    assert [item.id for item in report.findings] == ["VG004"]
    assert words in report.findings[0].message
    assert report.not_judged == 1


def test_a_model_that_nobody_knows_is_unproven_and_the_words_say_what_mends_it(repo: Repo) -> None:
    text = (POD % (8192, 1)).replace("models/chat", "acme/unheard-of")
    (finding,) = judge(repo, {"pod.yaml": text}, select=("VG202",)).findings
    assert finding.message.endswith("run `vramguard lock --model acme/unheard-of`")


def test_the_configuration_says_what_a_mounted_path_holds(repo: Repo) -> None:
    text = (POD % (8192, 1)).replace("models/chat", "/mnt/weights")
    (finding,) = judge(repo, {"pod.yaml": text}, select=("VG202",)).findings
    assert 'models = {"/mnt/weights" = "OWNER/NAME"}' in finding.message
    for holds in ("chat/config.json", "meta-llama/Llama-3.1-8B-Instruct"):
        settings = f'[models]\n"/mnt/weights" = "{holds}"\n'
        files = {"pod.yaml": text, "vramguard.toml": settings, "chat/config.json": json.dumps(LLAMA_8B)}
        report = judge(repo, files, select=("VG1", "VG2"))
        assert seen(report) == []
        assert f"`/mnt/weights` holds {holds}" in "".join(report.proofs[0].proof.assumptions)


def test_a_card_of_another_kind_and_a_test_are_listed_and_not_judged(repo: Repo) -> None:
    tpu = (POD % (8192, 1)).replace("nvidia.com/gpu: 1", "google.com/tpu: 4").replace("models/chat", "acme/unheard-of")
    report = judge(repo, {"tpu.yaml": tpu, "tests/pod.yaml": (POD % (8192, 1)).replace("models/chat", "acme/other")})
    assert [item.id for item in report.findings] == ["VG107"], "a revision is asked for whatever the card"
    found = report.facts.of(Deployment)
    assert [(item.at.path, item.accelerator) for item in found] == [("tests/pod.yaml", None), ("tpu.yaml", "tpu")]


def test_an_unknown_card_is_a_reason_and_no_crash(repo: Repo) -> None:
    text = (POD % (8192, 1)).replace("NVIDIA-H100-80GB-HBM3", "NVIDIA-Z9000")
    (finding,) = judge(repo, CHAT | {"pod.yaml": text}, select=("VG202",)).findings
    assert "`NVIDIA-Z9000`, which no row of the GPU catalogue is" in finding.message


@pytest.mark.parametrize(
    ("flag", "excess"),
    [
        ("--some-new-buffer=9", "VG202"),  # it may take less as well
        ("--kv-transfer-config={kv_connector: LMCacheConnectorV1}", "VG201"),  # only more
    ],
)
def test_a_flag_that_no_proof_counts(repo: Repo, flag: str, excess: str) -> None:
    text = (POD % (8192, 1)).replace("    - --gpu-memory", f"    - '{flag}'\n    - --gpu-memory")
    (finding,) = judge(repo, CHAT | {"pod.yaml": text}, select=("VG201", "VG202")).findings
    assert (finding.id, f"`{flag.partition('=')[0]}" in finding.message) == ("VG202", True)
    assert "may change the peak, and no proof here counts it" in finding.message
    large = {"models/chat/config.json": json.dumps(LLAMA_70B), "pod.yaml": text}
    assert [item.id for item in judge(repo, large, select=("VG201", "VG202")).findings] == [excess]


CODE = """\
from transformers import pipeline

generate = pipeline("text-generation", model="models/chat", device_map="auto")
"""
RUN = """\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
  - name: shop
    image: shop:1
    command: [python, -m, shop.serve]
    resources:
      limits: {nvidia.com/gpu: 1}
  nodeSelector: {nvidia.com/gpu.product: Tesla-T4}
"""


def test_code_stands_on_the_card_of_the_pod_that_runs_it(repo: Repo) -> None:
    short = json.dumps(LLAMA_8B | {"max_position_embeddings": 2048})
    report = judge(repo, {"shop/serve.py": CODE, "pod.yaml": RUN, "models/chat/config.json": short}, select=("VG2",))
    assert seen(report) == [("VG201", "pod.yaml", 10), ("VG208", "shop/serve.py", 3)]
    assert report.proofs[0].proof.device.name == "t4-16gb"
    assert any(link.at.path == "pod.yaml" for link in report.findings[0].evidence)
    larger = RUN.replace("Tesla-T4", "NVIDIA-H100-80GB-HBM3")
    report = judge(repo, {"shop/serve.py": CODE, "pod.yaml": larger, "models/chat/config.json": short}, select=("VG2",))
    assert seen(report) == [], "the first card holds it all"


def test_a_context_that_is_too_long_is_no_weights_that_spill(repo: Repo) -> None:
    pod = RUN.replace("Tesla-T4", "NVIDIA-L4")
    found = judge(repo, CHAT | {"shop/serve.py": CODE, "pod.yaml": pod}, select=("VG201", "VG208")).findings
    assert [(item.id, item.severity.label) for item in found] == [("VG201", "error"), ("VG208", "warning")]
    assert "spill" not in found[1].message


def test_two_pods_that_run_the_same_code_are_two_deployments(repo: Repo) -> None:
    other = RUN.replace("name: shop}", "name: trial}").replace("Tesla-T4", "NVIDIA-A100-SXM4-40GB")
    report = judge(repo, CHAT | {"shop/serve.py": CODE, "a.yaml": RUN, "b.yaml": other})
    assert [item.gpu for item in report.facts.of(Deployment)] == ["t4-16gb", "a100-sxm4-40gb"]


def test_a_gpu_engine_without_a_gpu(repo: Repo) -> None:
    text = (POD % (8192, 1)).replace("limits: {nvidia.com/gpu: 1}", "limits: {cpu: 8}")
    assert seen(judge(repo, CHAT | {"pod.yaml": text}, select=("VG701",))) == [("VG701", "pod.yaml", 8)]
    cpu = text.replace("vllm/vllm-openai:v0.19.0", "vllm/vllm-openai-cpu:v0.19.0")
    assert seen(judge(repo, CHAT | {"pod.yaml": cpu}, select=("VG701",))) == []
    anywhere = text.replace("  nodeSelector:\n    nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3\n", "")
    paths = ("cpu/pod.yaml", "xeon-values.yaml", "pod.yaml")
    report = judge(repo, CHAT | dict.fromkeys(paths, anywhere), select=("VG701",))
    assert seen(report) == [("VG701", "pod.yaml", 6)], "whose path says that it is for processors has none to ask for"


def test_a_job_of_an_engine_asks_for_its_gpu_too(repo: Repo) -> None:
    pod = (POD % (8192, 1)).replace("limits: {nvidia.com/gpu: 1}", "limits: {cpu: 8}")
    spec = "".join(f"    {line}\n" for line in pod[pod.index("spec:") :].splitlines())
    job = f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: chat}}\nspec:\n  template:\n{spec}"
    for text, rules in ((job, ["VG209"]), (job.replace("cpu: 8", "nvidia.com/gpu: 1"), []), (pod, ["VG701"])):
        report = judge(repo, CHAT | {"pod.yaml": text}, select=("VG209", "VG701"))
        assert [rule for rule, *_ in seen(report)] == rules, "one of the two speaks"


@pytest.mark.parametrize(
    ("limits", "pod"),
    [
        ("nvidia.com/mig-3g.40gb: 1", ""),
        ("nvidia.com/gpumem: 8000", ""),
        ("aliyun.com/gpu-mem: 20", ""),
        ("nvidia.com/pgpu: 1", ""),
        ("deviceclass.resource.kubernetes.io/gpu.nvidia.com: 1", ""),
        ("cpu: 8", "  runtimeClassName: nvidia\n"),
        ("cpu: 8}, claims: [{name: card}]} #", "  resourceClaims: [{name: card, resourceClaimTemplateName: one}]\n"),
    ],
)
def test_cards_that_are_got_by_other_means_are_asked_for(repo: Repo, limits: str, pod: str) -> None:
    text = (POD % (8192, 1)).replace("limits: {nvidia.com/gpu: 1}", f"limits: {{{limits}}}")
    text = text.replace("  containers:", f"{pod}  containers:")
    assert seen(judge(repo, CHAT | {"pod.yaml": text}, select=("VG701",))) == []


@pytest.mark.parametrize(
    "command", ["vllm bench serve --model models/chat", "vllm-router --port 80", "curl x/v1/models"]
)
def test_a_client_of_an_engine_asks_for_no_gpu(repo: Repo, command: str) -> None:
    text = (POD % (8192, 1)).replace("limits: {nvidia.com/gpu: 1}", "limits: {cpu: 8}")
    start = text.index("    args:")
    words = "[" + ", ".join(command.split()) + "]"
    client = f"{text[:start]}    command: {words}\n{text[text.index('    resources:') :]}"
    assert seen(judge(repo, CHAT | {"pod.yaml": client}, select=("VG701",))) == []


def test_the_card_of_a_nim_is_judged_and_its_name_is_not_one_of_the_hub(repo: Repo) -> None:
    text = (POD % (8192, 1)).replace("vllm/vllm-openai:v0.19.0", "nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3.3")
    start, end = text.index("    args:"), text.index("    resources:")
    (finding,) = judge(repo, {"pod.yaml": text[:start] + text[end:]}, select=("VG107", "VG202")).findings
    assert (finding.id, finding.at.line) == ("VG202", 9)
    assert "vramguard lock" not in finding.message


def test_the_model_that_a_controller_mounts_is_the_one_that_its_resource_names(repo: Repo) -> None:
    text = """\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: chat}
spec:
  model: {uri: hf://acme/chat-7b, name: chat}
  template:
    containers:
    - name: main
      image: vllm/vllm-openai:v0.19.0
      command: [sh, -c, "vllm serve /mnt/models --served-model-name chat"]
      resources: {limits: {nvidia.com/gpu: 1}}
"""
    report = judge(repo, {"service.yaml": text}, select=("VG202",))
    assert [(item.model, item.places["model"].line) for item in report.facts.of(Deployment)] == [("acme/chat-7b", 5)]


def test_a_deployment_is_proved_by_any_line_of_its_file(repo: Repo) -> None:
    text = "\n".join(
        ["# a script that starts two", "", "vllm serve a/b --gpu-memory-utilization 0.7", "", "vllm serve c/d"]
    )
    root = repo({"serve.sh": text})
    terms = Terms(None, None)
    models = [prove_target(f"{root}/serve.sh:{line}", terms, {}).model for line in (1, 3, 4, 5, 9)]
    assert models == ["a/b", "a/b", "a/b", "c/d", "c/d"]


@pytest.mark.parametrize(
    ("image", "config"),
    [
        ("ghcr.io/huggingface/text-embeddings-inference:1.8", {"architectures": ["BertModel"], "model_type": "bert"}),
        ("vllm/vllm-openai:v0.19.0", {"architectures": ["BertModel"], "model_type": "bert"}),
    ],
)
def test_what_is_no_language_model_is_said_and_not_judged(repo: Repo, image: str, config: dict[str, Any]) -> None:
    flag = "--model-id=" if "embeddings" in image else "--model="
    text = (POD % (512, 1)).replace("vllm/vllm-openai:v0.19.0", image).replace("--model=", flag)
    report = judge(repo, {"pod.yaml": text, "models/chat/config.json": json.dumps(config)}, select=("VG2", "VG006"))
    assert [(item.id, item.severity.label) for item in report.findings] == [("VG006", "note")]
    assert report.proofs == []


def test_a_device_map_of_another_kind_of_model_is_nothing(repo: Repo) -> None:
    files = {"shop/serve.py": CODE, "models/chat/config.json": '{"architectures": ["BertModel"], "model_type": "bert"}'}
    assert [item.id for item in judge(repo, files, select=("VG208", "VG006")).findings] == ["VG006"]
