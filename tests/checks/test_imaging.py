"""VG706, VG707 and VG710: what was left on, how large images are, and whether a server hears of its end."""

from __future__ import annotations

import pytest
from pod_files import LIMITS, READY, findings, lines, server

from vramguard.checks import Severity

RUNTIME = "FROM nvidia/cuda:12.9.1-runtime-ubuntu22.04\n"
DRIVER = "https://raw.githubusercontent.com/GoogleCloudPlatform/container-engine-accelerators/master/daemonset.yaml"
TAGGED = "https://raw.githubusercontent.com/NVIDIA/k8s-device-plugin/v0.17.4/nvidia-device-plugin.yml"
VLLM = "FROM nvidia/cuda:12.9.1-base-ubuntu22.04\nRUN pip install vllm==0.19.0\n"


def env(name: str, value: str) -> str:
    return f'env: [{{name: {name}, value: "{value}"}}]'


def severities(rule: str, files: dict[str, str]) -> set[Severity]:
    return {one.severity for one in findings(rule, files)}


# VG706


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", Severity.ERROR),
        ("TORCH_DISTRIBUTED_DEBUG", "DETAIL", Severity.ERROR),
        ("FLASK_DEBUG", "1", Severity.ERROR),
        ("NCCL_DEBUG", "INFO", Severity.WARNING),
        ("NCCL_DEBUG", "trace", Severity.WARNING),
        ("VLLM_LOGGING_LEVEL", "DEBUG", Severity.WARNING),
        ("TRANSFORMERS_VERBOSITY", "debug", Severity.WARNING),
    ],
)
def test_a_variable_is_left_on(name: str, value: str, severity: Severity) -> None:
    files = {"llama.yaml": server(READY, LIMITS, env(name, value))}
    assert lines("VG706", files) == [("llama.yaml", env(name, value))]
    assert severities("VG706", files) == {severity}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CUDA_LAUNCH_BLOCKING", "0"),
        ("NCCL_DEBUG", "WARN"),
        ("VLLM_LOGGING_LEVEL", "INFO"),
        ("LOG_LEVEL", "DEBUG"),
        ("NCCL_DEBUG", "$(LEVEL)"),
        ("NCCL_DEBUG", "{{ .Values.level }}"),
    ],
)
def test_a_variable_that_is_off_or_not_known(name: str, value: str) -> None:
    assert lines("VG706", {"llama.yaml": server(READY, LIMITS, env(name, value))}) == []


@pytest.mark.parametrize("path", ["overlays/dev/llama.yaml", "llama-dev.yaml", "tests/llama.yaml", "ci/llama.yaml"])
def test_where_people_work_debugging_is_right(path: str) -> None:
    assert lines("VG706", {path: server(READY, LIMITS, env("CUDA_LAUNCH_BLOCKING", "1"))}) == []


def test_training_is_not_what_serves() -> None:
    job = server(LIMITS, env("NCCL_DEBUG", "INFO"), kind="Job", api="batch/v1")
    assert lines("VG706", {"job.yaml": job}) == []


def test_an_example_is_a_warning() -> None:
    files = {"examples/llama.yaml": server(READY, LIMITS, env("CUDA_LAUNCH_BLOCKING", "1"))}
    assert severities("VG706", files) == {Severity.WARNING}


def test_a_config_map_counts_where_somebody_takes_it_in() -> None:
    held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata:\n  NCCL_DEBUG: INFO\n"
    taken = server(READY, LIMITS, "envFrom: [{configMapRef: {name: settings}}]")
    assert lines("VG706", {"settings.yaml": held, "llama.yaml": taken}) == [("settings.yaml", "NCCL_DEBUG: INFO")]
    assert lines("VG706", {"settings.yaml": held, "llama.yaml": server(READY, LIMITS)}) == []


COMPOSE = "services:\n  api:\n    image: acme/api:3\n    command: {command}\n{more}"


@pytest.mark.parametrize(
    ("command", "more"),
    [
        ("[uvicorn, app:app, --reload]", ""),
        ('sh -c "cd /app && uvicorn app:app --reload"', "    restart: unless-stopped\n    volumes: ['../:/app']\n"),
        ("flask run --debug", ""),
    ],
)
def test_a_service_that_reloads(command: str, more: str) -> None:
    found = lines("VG706", {"compose.yaml": COMPOSE.format(command=command, more=more)})
    assert found == [("compose.yaml", f"command: {command}")]


GATEWAY = (
    "services:\n  gateway:\n    image: ghcr.io/acme/litellm:v1.80\n    command: >\n      --port 4000\n      {option}\n"
)


def test_a_gateway_that_logs_every_request() -> None:
    found = lines("VG706", {"compose.yaml": GATEWAY.format(option="--detailed_debug")})
    assert found == [("compose.yaml", "--detailed_debug")]
    assert lines("VG706", {"compose.yaml": GATEWAY.format(option="--num_workers 4")}) == []
    other = GATEWAY.format(option="--detailed_debug").replace("litellm", "shop")
    assert lines("VG706", {"compose.yaml": other}) == []


@pytest.mark.parametrize(
    ("option", "found"), [("--log-verbose=1", 1), ("--log-verbose 2", 1), ("--log-verbose=0", 0), ("--log-verbose", 0)]
)
def test_a_server_that_logs_every_step(option: str, found: int) -> None:
    text = f"services:\n  triton:\n    build: .\n    command: tritonserver --model-store=/models {option}\n"
    assert len(lines("VG706", {"compose.yaml": text})) == found


@pytest.mark.parametrize(("value", "found"), [("true", 1), ("false", 0), ("'{{ .Values.verbose }}'", 0)])
def test_a_gateways_own_configuration_logs_every_request(value: str, found: int) -> None:
    text = f"model_list: [{{model_name: chat}}]\nlitellm_settings:\n  set_verbose: {value}\n"
    assert len(lines("VG706", {"gateway.yaml": text})) == found
    assert lines("VG706", {"dev/gateway.yaml": text}) == []


@pytest.mark.parametrize(
    ("path", "command", "more"),
    [
        ("compose.yaml", "[uvicorn, app:app]", ""),
        ("compose.yaml", "[uvicorn, app:app, --reload]", "    volumes: ['./src:/app']\n"),
        ("compose.dev.yaml", "[uvicorn, app:app, --reload]", ""),
        ("compose.yaml", "[other, --reload]", ""),
    ],
)
def test_a_service_for_people_at_work(path: str, command: str, more: str) -> None:
    assert lines("VG706", {path: COMPOSE.format(command=command, more=more)}) == []


def test_the_variables_and_the_command_of_an_image() -> None:
    dockerfile = VLLM + "ENV CUDA_LAUNCH_BLOCKING=1\nCMD uvicorn app:app --reload\n"
    assert lines("VG706", {"Dockerfile": dockerfile}) == [
        ("Dockerfile", "ENV CUDA_LAUNCH_BLOCKING=1"),
        ("Dockerfile", "CMD uvicorn app:app --reload"),
    ]
    assert lines("VG706", {"Dockerfile.dev": dockerfile, ".devcontainer/Dockerfile": dockerfile}) == []


def test_a_stage_that_is_left_behind_is_not_the_image() -> None:
    dockerfile = "FROM ubuntu:24.04 AS build\nENV NCCL_DEBUG=INFO\nFROM ubuntu:24.04\nCOPY --from=build /a /a\n"
    assert lines("VG706", {"Dockerfile": dockerfile}) == []


PROGRAM = (
    "import torch\nfrom flask import Flask\napp = Flask('x')\nif __name__ == '__main__':\n    app.run(debug=True)\n"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (PROGRAM, "app.run(debug=True)"),
        ("import torch, gradio\ntorch.autograd.set_detect_anomaly(True)\n", "torch.autograd.set_detect_anomaly(True)"),
        ("import torch, uvicorn\nuvicorn.run('a:b', reload=True)\n", "uvicorn.run('a:b', reload=True)"),
        (
            "import os, torch, uvicorn\nos.environ['CUDA_LAUNCH_BLOCKING'] = '1'\n",
            "os.environ['CUDA_LAUNCH_BLOCKING'] = '1'",
        ),
    ],
)
def test_python_leaves_it_on(text: str, line: str) -> None:
    assert lines("VG706", {"serve.py": text}) == [("serve.py", line)]


@pytest.mark.parametrize(
    "text",
    [
        "import torch, gradio\nif args.debug:\n    torch.autograd.set_detect_anomaly(True)\n",
        "import torch, gradio\ntorch.autograd.set_detect_anomaly(False)\n",
        "import torch\ntorch.autograd.set_detect_anomaly(True)\nfit(model)\n",
        "import os, deepspeed, torch\nos.environ['NCCL_DEBUG'] = 'INFO'\n",
        "from flask import Flask\nFlask('x').run(debug=settings.debug)\n",
        "# app.run(debug=True)\n",
        "def broken(:\n  app.run(debug=True)\n",
        PROGRAM.replace("import torch\n", ""),
    ],
)
def test_python_that_asks_first_or_is_no_server_of_a_model(text: str) -> None:
    assert lines("VG706", {"serve.py": text}) == []


def test_another_program_starts_the_module() -> None:
    served = {"serve.py": PROGRAM, "Dockerfile": 'FROM python:3.12\nCMD ["gunicorn", "serve:app"]\n'}
    assert lines("VG706", served) == []
    run = {**served, "Dockerfile": 'FROM python:3.12\nCMD ["python", "serve.py"]\n'}
    assert lines("VG706", run) == [("serve.py", "app.run(debug=True)")]


# VG707


@pytest.mark.parametrize(
    ("dockerfile", "severity", "words"),
    [
        ("FROM nvcr.io/nvidia/pytorch:24.07-py3\n", Severity.WARNING, "at least 20,000 MB"),
        ("ARG V=v0.11.0\nFROM vllm/vllm-openai:${V}\n", Severity.WARNING, "at least 12,000 MB"),
        ("FROM docker.io/rayproject/ray-ml:2.10.0-py310-gpu\n", Severity.WARNING, "at least 10,737 MB"),
        ("FROM nvidia/cuda:12.9.1-devel-ubuntu22.04\n", Severity.WARNING, "(devel)"),
        (
            "FROM nvidia/cuda:12.9.1-runtime-ubuntu22.04\nRUN pip install torch==2.3.0\n",
            Severity.WARNING,
            "CUDA is in it twice",
        ),
        ("FROM rayproject/ray:2.24.0-py310-cu118\nRUN pip install vllm==0.4.3\n", Severity.WARNING, "twice"),
        (
            "FROM ubuntu:24.04\nRUN apt-get update && apt-get install -y cuda-toolkit-12-8\n",
            Severity.WARNING,
            "cuda-toolkit-12-8",
        ),
        ("FROM python:3.12\nRUN hf download acme/llama-70b\nCMD python a.py\n", Severity.WARNING, "acme/llama-70b"),
        (
            'FROM python:3.12\nRUN python -c "from huggingface_hub import snapshot_download as s; '
            "snapshot_download('acme/llama-70b')\"\nCMD python a.py\n".replace(
                "import snapshot_download as s", "import *"
            ),
            Severity.WARNING,
            "acme/llama-70b",
        ),
        (
            "FROM python:3.12\nRUN git clone https://huggingface.co/acme/llama-70b /m\nCMD python a.py\n",
            Severity.WARNING,
            "acme/llama-70b",
        ),
    ],
)
def test_an_image_is_too_large(dockerfile: str, severity: Severity, words: str) -> None:
    found = findings("VG707", {"Dockerfile": dockerfile})
    assert [(one.severity, words in one.message) for one in found] == [(severity, True)]


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM nvidia/cuda:12.9.1-devel-ubi9 AS b\nFROM nvidia/cuda:12.9.1-base-ubi9\nCOPY --from=b /a /a\n",
        "FROM nvidia/cuda:12.9.1-base-ubuntu22.04\nRUN pip install torch==2.3.0\n",
        RUNTIME + "RUN pip install torch==2.3.0 --index-url https://download.pytorch.org/whl/cpu\n",
        "FROM nvidia/cuda:12.9.1-runtime-ubuntu22.04\nCOPY server /server\n",
        "FROM python:3.12-slim\nRUN pip install torch\n",
        "FROM acme/unknown:1\nRUN pip install vllm==0.19.0\n",
        "FROM ${BASE}\n",
        "FROM vllm/vllm-openai-cpu:v0.19.0\n",
        "FROM alpine:3.22\nRUN apk add gcc g++ make\n",
        "FROM python:3.12\nRUN hf download sentence-transformers/all-MiniLM-L6-v2\nCMD python a.py\n",
        "FROM python:3.12\nRUN hf download acme/llama-70b config.json\nCMD python a.py\n",
        "FROM python:3.12\nRUN hf download acme/rows --repo-type dataset\nCMD python a.py\n",
        "FROM python:3.12 AS a\nRUN hf download acme/llama-70b --local-dir /m\nFROM busybox\nCOPY --from=a /m /m\n",
        "FROM python:3.12\n",
        "",
    ],
)
def test_an_image_that_is_as_small_as_it_can_be_or_not_known(dockerfile: str) -> None:
    assert lines("VG707", {"Dockerfile": dockerfile}) == []


def test_the_place_is_the_last_stage_and_the_ledger_is_its_evidence() -> None:
    dockerfile = (
        "FROM python:3.12 AS a\nFROM nvidia/cuda:12.9.1-devel-ubuntu22.04 AS b\nRUN pip install torch==2.9.1\n"
        "FROM b\nCMD python3 a.py\n"
    )
    (found,) = findings("VG707", {"Dockerfile": dockerfile})
    assert found.at.line == 4
    assert [one.at.line for one in found.evidence][:2] == [4, 3]
    assert "4,067 MB" in found.evidence[1].what


def test_packages_of_another_stage_are_taken_along_with_its_environment() -> None:
    taken = (
        "FROM nvidia/cuda:12.9.1-devel-ubuntu22.04 AS b\nRUN python3 -m venv /opt/venv && pip install torch==2.9.1\n"
        "FROM nvidia/cuda:12.9.1-runtime-ubuntu22.04\nCOPY --from=b {what} /opt/venv\n"
    )
    assert len(findings("VG707", {"Dockerfile": taken.format(what="/opt/venv")})) == 1
    assert findings("VG707", {"Dockerfile": taken.format(what="/app/report.txt")}) == []


def test_replicas_that_pull_it_are_counted() -> None:
    dockerfile = "FROM nvcr.io/nvidia/pytorch:24.07-py3\nCMD python3 a.py\n"
    pods = server(READY, LIMITS, spec="replicas: 8").replace("vllm/vllm-openai:v0.19.0", "registry.acme.io/llama:4")
    (found,) = findings("VG707", {"llama/Dockerfile": dockerfile, "deploy/llama.yaml": pods})
    assert "8 replicas pull 160,000 MB" in found.message
    (other,) = findings("VG707", {"other/Dockerfile": dockerfile, "deploy/llama.yaml": pods})
    assert "replicas" not in other.message


def test_an_environment_to_work_in_is_no_image_of_a_service() -> None:
    large = "FROM nvcr.io/nvidia/pytorch:24.07-py3\n"
    assert (
        lines("VG707", {".devcontainer/Dockerfile": large, "Dockerfile.dev": large, "jupyter/Dockerfile": large}) == []
    )


# VG710

SCRIPT = 'command: [sh, -c, "{}"]'


def test_a_server_below_a_shell() -> None:
    line = SCRIPT.format("vllm serve acme/llama-8b")
    assert lines("VG710", {"llama.yaml": server(READY, LIMITS, line)}) == [("llama.yaml", line)]


@pytest.mark.parametrize(
    ("container", "pod"),
    [
        (SCRIPT.format("exec vllm serve acme/llama-8b"), ""),
        ("command: [bash, -c, vllm serve acme/llama-8b]", ""),
        ("command: [vllm, serve, acme/llama-8b]", ""),
        (SCRIPT.format("sleep infinity"), ""),
        (SCRIPT.format("vllm serve acme/llama-8b"), "shareProcessNamespace: true"),
        (
            SCRIPT.format("vllm serve acme/llama-8b")
            + "\nlifecycle: {preStop: {exec: {command: [sh, -c, pkill -TERM vllm]}}}",
            "",
        ),
    ],
)
def test_a_server_that_hears(container: str, pod: str) -> None:
    assert lines("VG710", {"llama.yaml": server(READY, LIMITS, container, pod=pod)}) == []


def test_without_a_card_nothing_is_held() -> None:
    assert lines("VG710", {"llama.yaml": server(READY, SCRIPT.format("vllm serve acme/llama-8b"))}) == []


SERVICE = (
    "services:\n  llama:\n    image: vllm/vllm-openai:v0.19.0\n    ports: ['8000:8000']\n    gpus: all\n"
    '    command: sh -c "vllm serve acme/llama-8b"\n'
)


def test_a_service_of_compose_and_its_init() -> None:
    assert lines("VG710", {"compose.yaml": SERVICE}) == [("compose.yaml", 'command: sh -c "vllm serve acme/llama-8b"')]
    assert lines("VG710", {"compose.yaml": SERVICE + "    init: true\n"}) == []


@pytest.mark.parametrize(
    ("last", "heard"),
    [
        ("CMD python3 server.py", False),
        ('ENTRYPOINT ["sh", "-c", "python3 server.py"]', False),
        ("ENTRYPOINT uvicorn app:app", False),
        ('SHELL ["/bin/bash", "-c"]\nCMD python3 server.py', True),
        ('CMD ["python3", "server.py"]', True),
        ("CMD exec python3 server.py", True),
        ("CMD python3 train.py", True),
        ('ENTRYPOINT ["tini", "--"]\nCMD ["sh", "-c", "python3 server.py"]', True),
    ],
)
def test_what_an_image_starts(last: str, *, heard: bool) -> None:
    found = findings("VG710", {"Dockerfile": VLLM + last + "\n"})
    assert (found == []) is heard


def test_an_image_for_no_card() -> None:
    assert findings("VG710", {"Dockerfile": "FROM python:3.12-slim\nCMD python3 server.py\n"}) == []


def test_a_script_of_the_repository_is_read() -> None:
    dockerfile = VLLM + 'COPY start.sh /start.sh\nENTRYPOINT ["/start.sh"]\n'
    stays, goes = "#!/bin/bash\ncd /app\nvllm serve m\n", "#!/bin/bash\ncd /app\nexec vllm serve m\n"
    assert len(findings("VG710", {"Dockerfile": dockerfile, "start.sh": stays})) == 1
    assert findings("VG710", {"Dockerfile": dockerfile, "start.sh": goes}) == []
    assert findings("VG710", {"Dockerfile": dockerfile}) == []


PLUGIN = (
    "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: plugin}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n"
    "  template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n      containers:\n      - name: plugin\n"
    "        image: {image}\n        env: [{{name: DP_DISABLE_HEALTHCHECKS, value: '{value}'}}]\n"
)


@pytest.mark.parametrize(("value", "found"), [("all", 1), ("xids", 1), ("13,31", 0), ("", 0)])
def test_a_device_plugin_that_does_not_look(value: str, found: int) -> None:
    files = {"plugin.yaml": PLUGIN.format(image="nvcr.io/nvidia/k8s-device-plugin:v0.17.4", value=value)}
    assert [one.severity for one in findings("VG710", files)] == [Severity.ERROR] * found


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("nvcr.io/nvidia/k8s-device-plugin", 1),
        ("nvcr.io/nvidia/k8s-device-plugin:latest", 1),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.17.4", 0),
        ("nvcr.io/nvidia/k8s-device-plugin@sha256:" + "0" * 64, 0),
        ("acme/device-plugin:latest", 0),
    ],
)
def test_a_device_plugin_of_no_version(image: str, found: int) -> None:
    assert len(findings("VG710", {"plugin.yaml": PLUGIN.format(image=image, value="")})) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("helm install gpu-operator nvidia/gpu-operator -n gpu-operator", 1),
        ("helm upgrade --install --wait nvdp nvdp/nvidia-device-plugin", 1),
        ("helm install --generate-name nvidia/gpu-operator --version=v25.3.0", 0),
        ("helm install gpu-operator ./charts/gpu-operator", 0),
        ("helm repo add nvidia https://helm.ngc.nvidia.com/nvidia", 0),
        (f"kubectl apply -f {DRIVER}", 1),
        (f"kubectl create -f {TAGGED}", 0),
    ],
)
def test_what_a_script_installs(line: str, found: int) -> None:
    assert len(findings("VG710", {"install.sh": f"set -e\n{line}\n"})) == found


@pytest.mark.parametrize(("version", "found"), [("", 1), ("version: '*'", 1), ("version: v25.3.0", 0)])
def test_a_release_of_the_operator(version: str, found: int) -> None:
    release = (
        "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: gpu-operator}\nspec:\n  chart:\n"
        f"    spec:\n      chart: gpu-operator\n      {version}\n"
    )
    assert len(findings("VG710", {"operator.yaml": release})) == found


@pytest.mark.parametrize(("revision", "found"), [("", 1), ("targetRevision: HEAD", 1), ("targetRevision: v25.3.0", 0)])
def test_an_application_of_the_operator(revision: str, found: int) -> None:
    application = (
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: gpu-operator}\nspec:\n  source:\n"
        f"    repoURL: https://helm.ngc.nvidia.com/nvidia\n    chart: gpu-operator\n    {revision}\n"
    )
    assert len(findings("VG710", {"operator.yaml": application})) == found


def test_a_base_that_is_too_large_by_itself_blocks_once_something_is_added() -> None:
    base = "FROM vllm/vllm-openai:v0.11.0\n"
    (alone,) = findings("VG707", {"Dockerfile": base})
    (more,) = findings("VG707", {"Dockerfile": base + "RUN hf download meta-llama/Llama-2-13b-hf\n"})
    assert (alone.severity, more.severity) == (Severity.WARNING, Severity.ERROR)


@pytest.mark.parametrize(
    "text",
    [
        'import os\nimport torch\nos.environ["NCCL_DEBUG"] = 0x' + "f" * 4000 + "\n",
        "import torch\nif " + "+".join(["a"] * 1200) + ":\n    f(debug=True)\n",
    ],
)
def test_python_that_nobody_writes_says_nothing(text: str) -> None:
    assert findings("VG706", {"serve.py": text}) == []


LOADS = "from llama_cpp import Llama\n\nmodel = Llama(model_path='models/sql.Q8_0.gguf')\n"


@pytest.mark.parametrize(
    ("copy", "loads", "found"),
    [
        ("COPY models/ /app/models/", LOADS, 1),
        ("COPY ./models/sql.Q8_0.gguf /app/models/", LOADS, 1),
        ("COPY app/ /app/", LOADS, 0),
        ("COPY . /app/", LOADS, 0),  # whether the folder is part of it, another file says
        ("COPY models/ /app/models/", LOADS.replace("sql", "sql-tiny"), 0),
        ("COPY models/ /app/models/", LOADS.replace("models/", "/mnt/"), 0),
    ],
)
def test_weights_that_are_put_beside_the_image_before_it_is_built(copy: str, loads: str, found: int) -> None:
    dockerfile = f"FROM python:3.12-slim\n{copy}\nCMD [python, app.py]\n"
    assert len(lines("VG707", {"Dockerfile": dockerfile, "app.py": loads})) == found
