"""Launches with what stands elsewhere filled in."""

from __future__ import annotations

import pytest
from kube import cards, given, lines, texts, together
from timed import within

from vramguard.facts import Launch, Unknown, Word
from vramguard.link.manifests import expanded
from vramguard.source import Location

AT = Location("a.yaml", 3, 1, 3, 9)


def pod(container: str, volumes: str = "[]") -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata: {{name: x}}
spec:
  volumes: {volumes}
  containers:
  - image: vllm/vllm-openai
{container}"""


def config_map(name: str, **data: str) -> str:
    values = "".join(f"  {key}: {value}\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n{values}"


def one(files: dict[str, str]) -> Launch:
    (found,) = together(files)
    return found


def variable(launch: Launch, name: str) -> Word:
    value = launch.env[name]
    assert isinstance(value, Word)
    return value


# Variables


@pytest.mark.parametrize(
    ("text", "expected", "known"),
    [
        ("$(A)", "one", True),
        ("--model=$(A)", "--model=one", True),
        ("$(A)/$(A)", "one/one", True),
        ("$(B)", "$(B)", False),
        ("$$(A)", "$(A)", False),
        ("$(LOST)", "{{ x }}", False),
        ("$A", "$A", False),
        ("plain", "plain", True),
    ],
)
def test_a_word_is_expanded_as_kubernetes_does(text: str, expected: str, *, known: bool) -> None:
    values = {"A": Word("one", AT), "LOST": Word("{{ x }}", AT, known=False)}
    found = expanded(Word(text, Location("a.yaml", 9), known="$" not in text), values)
    assert (found.text, found.known) == (expected, known)


def test_a_word_that_is_one_variable_stands_where_its_value_does() -> None:
    values = {"A": Word("one", AT)}
    argument = Location("a.yaml", 9)
    assert expanded(Word("--model=$(A)", argument), values).at == AT
    assert expanded(Word("x $(A)", argument), values).at == argument


def test_a_script_keeps_its_own_variables_and_places() -> None:
    script = Word("cd $HOME\nvllm serve $(A) $B\n", AT, first=(4, 5))
    found = expanded(script, {"A": Word("one", AT)})
    assert (found.text, found.known, found.first) == ("cd $HOME\nvllm serve one $B\n", True, (4, 5))


def test_variables_of_variables() -> None:
    text = pod("""\
    args: [--model=$(MODEL)]
    env:
    - {name: OWNER, value: meta-llama}
    - {name: MODEL, value: $(OWNER)/Llama-3.1-8B}
    - {name: LATER, value: $(NEVER)}
""")
    found = one({"pod.yaml": text})
    assert texts(found.command) == ["--model=meta-llama/Llama-3.1-8B"]
    assert found.command[0].at.line == 11
    assert variable(found, "LATER").value == Unknown("$(NEVER)")


def test_variables_that_double_are_not_written_out() -> None:
    doubling = "".join(f"    - {{name: V{n + 1}, value: $(V{n})$(V{n})}}\n" for n in range(60))
    text = pod(f"    args: [$(V60)]\n    env:\n    - {{name: V0, value: lol}}\n{doubling}")
    with within(10):
        found = one({"pod.yaml": text})
    assert not found.command[0].known


# ConfigMaps

READS = pod("""\
    args: [--max-model-len=$(LENGTH)]
    env:
    - name: LENGTH
      valueFrom: {configMapKeyRef: {name: sizes, key: length}}
""")


def test_a_variable_of_a_config_map_stands_there() -> None:
    found = one({"pod.yaml": READS, "sizes.yaml": config_map("sizes", length="'4096'")})
    assert texts(found.command) == ["--max-model-len=4096"]
    assert found.command[0].at == Location("sizes.yaml", 5, 11, 5, 17)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ({"a/pod.yaml#": "'1'", "a/b.yaml": "'2'"}, "1"),  # the file itself
        ({"a/b.yaml": "'2'", "c/d.yaml": "'3'"}, "2"),  # its folder
        ({"c/d.yaml": "'3'"}, "3"),  # the one of the repository
        ({"c/d.yaml": "'3'", "e/f.yaml": "'3'"}, "3"),  # two that agree
    ],
)
def test_the_nearest_config_map_counts(others: dict[str, str], expected: str) -> None:
    files = {"a/pod.yaml": READS}
    for path, value in others.items():
        text = config_map("sizes", length=value)
        if path.endswith("#"):
            files["a/pod.yaml"] += f"---\n{text}"
        else:
            files[path] = text
    found = one(files)
    assert texts(found.command) == [f"--max-model-len={expected}"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"c.yaml": config_map("other", length="'1'")},
        {"c.yaml": config_map("sizes", width="'1'")},
        {"c/d.yaml": config_map("sizes", length="'1'"), "e/f.yaml": config_map("sizes", length="'2'")},
    ],
)
def test_what_cannot_be_found_or_could_be_several_stays_unknown(files: dict[str, str]) -> None:
    found = one({"a/pod.yaml": READS, **files})
    assert variable(found, "LENGTH").value == Unknown("ConfigMap sizes, length")
    assert not found.command[0].known


def test_secrets_and_fields_of_the_pod_are_unknown() -> None:
    text = pod("""\
    env:
    - {name: A, valueFrom: {secretKeyRef: {name: hub, key: token}}}
    - {name: B, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
""")
    found = one({"pod.yaml": text})
    assert [variable(found, name).value for name in "AB"] == [
        Unknown("Secret hub, token"),
        Unknown("fieldRef status.podIP"),
    ]


def test_all_variables_of_a_config_map_come_before_the_container_s_own() -> None:
    text = pod("    envFrom: [{configMapRef: {name: shared}}]\n    env: [{name: A, value: own}]\n")
    found = one({"pod.yaml": text, "shared.yaml": config_map("shared", A="theirs", B="theirs")})
    assert [variable(found, name).text for name in "AB"] == ["own", "theirs"]


SCRIPT = "|\n    #!/bin/bash\n    vllm serve a/b\n"


@pytest.mark.parametrize(
    "command",
    [
        '["bash", "/scripts/start.sh"]',
        '["/bin/sh", "-x", "/scripts/start.sh"]',
        '["/scripts/start.sh"]',
        '["sh", "-c", "bash /scripts/start.sh --fast"]',
        '["bash", "-lc", "exec /scripts/start.sh"]',
    ],
)
def test_a_mounted_script_is_the_launch_s(command: str) -> None:
    text = pod(
        f"    command: {command}\n    volumeMounts: [{{name: s, mountPath: /scripts}}]\n",
        "[{name: s, configMap: {name: held}}]",
    )
    held = config_map("held", **{"start.sh": SCRIPT})
    found = one({"pod.yaml": text, "held.yaml": held})
    assert found.script is not None
    assert (found.script.text, found.script.place(1, 0, 4)) == (
        "#!/bin/bash\nvllm serve a/b\n",
        Location("held.yaml", 7, 5, 7, 9),
    )
    assert found.command == ()


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ('["bash", "/scripts/other.sh"]', SCRIPT),
        ('["sh", "-c", "cp /scripts/start.sh /tmp"]', SCRIPT),
        ('["python", "/scripts/start.sh"]', SCRIPT),
        ('["/scripts/start.sh"]', "|\n    #!/usr/bin/env python\n    import vllm\n"),
    ],
)
def test_what_is_no_mounted_shell_script_stays_a_command(command: str, script: str) -> None:
    text = pod(
        f"    command: {command}\n    volumeMounts: [{{name: s, mountPath: /scripts}}]\n",
        "[{name: s, configMap: {name: held}}]",
    )
    found = one({"pod.yaml": text, "held.yaml": config_map("held", **{"start.sh": script})})
    assert (found.script, bool(found.command)) == (None, True)


# KServe

SERVICE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: llama}
spec:
  predictor:
    model:
      modelFormat: {name: FORMAT}
      RUNTIME
      storageUri: hf://meta-llama/Llama-3.1-8B
      args: [--max-model-len=4096]
      env: [{name: A, value: service}]
      resources: {limits: {nvidia.com/gpu: 2}}
"""
RUNTIME = """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mine}
spec:
  nodeSelector: {nvidia.com/gpu.product: NVIDIA-L4}
  supportedModelFormats: [{name: mine, autoSelect: true}]
  containers:
  - name: kserve-container
    image: vllm/vllm-openai:v0.10.0
    command: [vllm, serve]
    args: [/mnt/models, "--served-model-name={{.Name}}", --port=8080]
    env: [{name: A, value: runtime}, {name: B, value: runtime}]
    resources: {limits: {nvidia.com/gpu: 1}}
  - {name: sidecar, image: vllm/router}
"""


def service(format_: str, runtime: str = "protocolVersion: v2") -> str:
    return SERVICE.replace("FORMAT", format_).replace("RUNTIME", runtime)


@pytest.mark.parametrize("text", [service("other", "runtime: mine"), service("mine")])
def test_a_service_and_its_runtime(text: str) -> None:
    found = one({"service.yaml": text, "runtime.yaml": RUNTIME})
    assert (found.name, found.at.path, found.entrypoint) == ("InferenceService/llama", "service.yaml", True)
    assert [(word.text, word.at.path, word.at.line) for word in found.command] == [
        ("vllm", "runtime.yaml", 10),
        ("serve", "runtime.yaml", 10),
        ("hf://meta-llama/Llama-3.1-8B", "service.yaml", 9),
        ("--served-model-name=llama", "runtime.yaml", 11),
        ("--port=8080", "runtime.yaml", 11),
        ("--max-model-len=4096", "service.yaml", 10),
    ]
    assert all(word.known for word in found.command)
    assert [variable(found, name).text for name in "AB"] == ["service", "runtime"]
    assert found.image is not None
    assert found.image.text == "vllm/vllm-openai:v0.10.0"
    assert (cards(found), lines(found)) == ({"gpu": "NVIDIA-L4", "gpus": 2}, {"gpu": 5, "gpus": 12})
    assert given(found) == {"model": "hf://meta-llama/Llama-3.1-8B"}


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (service("huggingface"), ["python3", "-m", "huggingfaceserver", "--model_name=llama"]),
        (service("vLLM"), ["python", "-m", "vllm.entrypoints.openai.api_server", "--port=8080"]),
        (service("any", "runtime: kserve-huggingfaceserver"), ["python3", "-m", "huggingfaceserver"]),
    ],
)
def test_runtimes_that_come_with_kserve(text: str, start: list[str]) -> None:
    found = one({"service.yaml": text})
    assert texts(found.command)[: len(start)] == start
    assert texts(found.command)[-1] == "--max-model-len=4096"
    assert (found.name, found.at.line) == ("InferenceService/llama", 6)


def test_a_runtime_of_the_repository_is_taken_before_kserve_s() -> None:
    mine = RUNTIME.replace("name: mine, autoSelect", "name: huggingface, autoSelect")
    found = one({"service.yaml": service("huggingface"), "runtime.yaml": mine})
    assert texts(found.command)[:2] == ["vllm", "serve"]


@pytest.mark.parametrize("text", [service("mine", "runtime: lost"), service("unheard")])
def test_a_runtime_that_is_nowhere_adds_nothing(text: str) -> None:
    found = one({"service.yaml": text, "runtime.yaml": RUNTIME})
    assert (texts(found.command), found.image) == (["--max-model-len=4096"], None)


def test_runtimes_that_differ_and_could_both_be_meant_add_nothing() -> None:
    other = RUNTIME.replace("--port=8080", "--port=80")
    found = one({"service.yaml": service("mine"), "a/r.yaml": RUNTIME, "b/r.yaml": other})
    assert texts(found.command) == ["--max-model-len=4096"]


def test_an_image_of_nim_brings_its_model() -> None:
    nim = RUNTIME.replace("vllm/vllm-openai:v0.10.0", "nvcr.io/nim/meta/llama-3.1-8b:1.0")
    assert given(one({"service.yaml": service("mine"), "runtime.yaml": nim})) == {}


CONFIG = """\
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceServiceConfig
metadata: {name: fast}
spec:
  template:
    containers:
    - name: main
      image: ghcr.io/llm-d/llm-d-cuda:v0.9.0
      command: [vllm, serve, /mnt/models, --seed=1]
"""


def test_a_language_model_s_service_over_its_configurations() -> None:
    text = """\
    apiVersion: serving.kserve.io/v1alpha1
    kind: LLMInferenceService
    metadata: {name: qwen}
    spec:
      model: {uri: hf://a/b}
      baseRefs: [{name: fast}]
      template: {containers: [{name: main, resources: {limits: {nvidia.com/gpu: 1}}}]}
    """
    found = one({"qwen.yaml": text, "fast.yaml": CONFIG})
    assert texts(found.command) == ["vllm", "serve", "/mnt/models", "--seed=1"]
    assert (given(found), cards(found)) == ({"model": "hf://a/b"}, {"gpus": 1})
    without = one({"qwen.yaml": text})
    assert texts(without.command)[:2] == ["sh", "-c"]


# Others


def test_a_service_of_ome() -> None:
    files = {
        "model.yaml": "apiVersion: ome.io/v1beta1\nkind: ClusterBaseModel  # vllm\nmetadata: {name: m}\n"
        "spec: {storage: {storageUri: 'hf://a/b'}}\n",
        "runtime.yaml": """\
            apiVersion: ome.io/v1beta1
            kind: ClusterServingRuntime
            metadata: {name: r}
            spec:
              engineConfig:
                leader:
                  runner:
                    image: lmsysorg/sglang
                    command: [python3, -m, sglang.launch_server, --model-path, $(MODEL_PATH)]
                    resources: {limits: {nvidia.com/gpu: 8}}
                worker: {size: 1}
            """,
        "service.yaml": """\
            apiVersion: ome.io/v1beta1
            kind: InferenceService  # sglang
            metadata: {name: s}
            spec: {model: {name: m}, runtime: {name: r}, engine: {minReplicas: 1}}
            """,
    }
    found = one(files)
    assert (found.name, texts(found.command)[-1], found.command[-1].at.path) == (
        "InferenceService/s/engine",
        "hf://a/b",
        "model.yaml",
    )
    assert cards(found) == {"gpus": 8, "nodes": 2}
    pinned = one({**files, "model.yaml": files["model.yaml"].replace("hf://a/b", "hf://a/b@abc")})
    assert given(pinned) == {"model": "hf://a/b", "revision": "abc"}


def test_a_cache_of_nim_says_the_model() -> None:
    cache = "apiVersion: apps.nvidia.com/v1alpha1\nkind: NIMCache\nmetadata: {name: c}\n"
    files = {
        "cache.yaml": cache + "spec: {source: {hf: {namespace: meta-llama, modelName: Llama-3.2-1B}}}  # nim\n",
        "service.yaml": """\
            apiVersion: apps.nvidia.com/v1alpha1
            kind: NIMService
            metadata: {name: s}
            spec: {image: {repository: nvcr.io/nim/nvidia/llm-nim, tag: "1"}, storage: {nimCache: {name: c}}}
            """,
    }
    found = one(files)
    assert (given(found), found.given["model"].at.path) == ({"model": "meta-llama/Llama-3.2-1B"}, "cache.yaml")


def test_settings_of_kaito_become_flags() -> None:
    workspace = """\
    apiVersion: kaito.sh/v1beta1
    kind: Workspace
    metadata: {name: w}
    resource: {instanceType: Standard_A}
    inference: {preset: {name: phi-4}, config: mine}
    """
    settings = "|\n    max_probe_steps: 6\n    vllm:\n      max-model-len: 4096\n      enforce-eager: true\n"
    found = one({"w.yaml": workspace, "c.yaml": config_map("mine", **{"inference_config.yaml": settings})})
    assert [(word.text, word.at.path, word.at.line) for word in found.command] == [
        ("--max-model-len=4096", "c.yaml", 8),
        ("--enforce-eager", "c.yaml", 9),
    ]


CLAIM = """\
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate  # vllm
metadata: {name: two}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.nvidia.com, count: 2}}]}}}
"""


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (CLAIM, {"gpus": 2}),
        (CLAIM.replace(", count: 2", ""), {"gpus": 1}),
        (
            CLAIM.replace("exactly: {deviceClassName: gpu.nvidia.com, count: 2}", "deviceClassName: gpu.nvidia.com"),
            {"gpus": 1},
        ),
        (CLAIM.replace("count: 2", "selectors: [{cel: {expression: old}}]"), {"gpus": 1, "gpu": "?old"}),
        (CLAIM.replace("gpu.nvidia.com", "nic.example.org"), {"gpus": "?two"}),
        (CLAIM.replace("name: two", "name: three"), {"gpus": "?two"}),
    ],
)
def test_claims(claim: str, expected: dict[str, object]) -> None:
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: x}
spec:
  resourceClaims: [{name: card, resourceClaimTemplateName: two}]
  containers: [{image: vllm, resources: {claims: [{name: card}]}}]
"""
    assert cards(one({"pod.yaml": text, "claim.yaml": claim})) == expected


def test_what_needs_nothing_is_handed_on_as_it_is() -> None:
    (found,) = together({"pod.yaml": pod("    args: [--model, a/b]\n")})
    (again,) = together({"pod.yaml": pod("    args: [--model, a/b]\n")})
    assert found == again
    assert texts(found.command) == ["--model", "a/b"]
