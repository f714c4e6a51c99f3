"""What runs a module in Python: its cards, its variables, its image; and what is one deployment with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from repositories import FASTAPI, L4, POD, SERVE, found, lines, only, said

if TYPE_CHECKING:
    from collections.abc import Mapping

_SCRIPT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: code}
data:
  serve.py: |
    import os
    from ray import serve
    from vllm import AsyncEngineArgs

    @serve.deployment
    class Chat:
        def __init__(self, model: str, length: int, tp: int = 1):
            self.args = AsyncEngineArgs(model=model, max_model_len=length, tensor_parallel_size=tp)

    app = Chat.options(name="chat").bind(
        model=os.environ.get("MODEL_ID", "acme/default"),
        length=4096,
    )
---
"""
_RAY = """\
apiVersion: ray.io/v1
kind: RayService
metadata: {name: chat}
spec:
  serveConfigV2: |
    applications:
      - name: chat
        import_path: serve:app
        runtime_env:
          env_vars:
            MODEL_ID: "acme/large"
  rayClusterConfig:
    headGroupSpec:
      template:
        spec:
          containers: [{name: head, image: "rayproject/ray:2.50.0"}]
    workerGroupSpecs:
      - groupName: gpu
        template:
          spec:
            nodeSelector: {cloud.google.com/gke-accelerator: nvidia-l4}
            containers:
              - name: worker
                image: rayproject/ray:2.50.0
                resources: {limits: {nvidia.com/gpu: 2}}
"""


def test_python_inside_a_configmap_with_the_variables_of_what_serves_it() -> None:
    (one,) = found({"ray.yaml": _SCRIPT + _RAY})
    assert said(one) == {
        "engine": "vllm", "model": "acme/large", "max_model_len": 4096, "tensor_parallel_size": 1,
        "gpu": "l4-24gb", "gpus": 2,
    }  # fmt: skip
    assert (one.at.line, one.at.column) == (13, 25)  # of `AsyncEngineArgs(` in the YAML file
    text = (_SCRIPT + _RAY).split("\n")
    where = lines(one)
    assert text[where["model"][1] - 1].strip() == 'MODEL_ID: "acme/large"'
    assert text[where["max_model_len"][1] - 1].strip() == "length=4096,"
    assert one.name == "RayService/chat/chat: Chat.__init__"


def test_python_inside_a_quoted_value_has_the_place_of_its_text() -> None:
    text = "\"from vllm import LLM\\nLLM('acme/a')\\n\""
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: code}}\ndata:\n  run.py: {text}\n"
    (one,) = found({"code.yaml": manifest})
    assert (said(one), one.at.line) == ({"engine": "vllm", "model": "acme/a"}, 5)


@pytest.mark.parametrize("text", ["def broken(:\n      vllm", "import vllm\n      {{ .Values.code }}"])
def test_a_value_that_is_no_python_says_nothing(text: str) -> None:
    manifest = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: code}}\ndata:\n  run.py: |\n      {text}\n"
    assert found({"code.yaml": manifest}) == []


def test_a_mount_tells_which_of_two_scripts_of_one_name_runs() -> None:
    other = _SCRIPT.replace("name: code", "name: other").replace("4096", "1024")
    mounted = _RAY.replace(
        '[{name: head, image: "rayproject/ray:2.50.0"}]',
        "[{name: head, volumeMounts: [{name: v, mountPath: /home/ray}]}]\n"
        "          volumes: [{name: v, configMap: {name: code}}]",
    )
    one, two = found({"a.yaml": _SCRIPT, "b.yaml": other, "ray.yaml": mounted})
    assert (said(one)["max_model_len"], said(one)["model"], said(one)["gpus"]) == (4096, "acme/large", 2)
    assert (said(two)["max_model_len"], said(two)["model"], said(two).get("gpus")) == (1024, "acme/default", None)


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ('["python", "/app/serve.py"]', {"app/serve.py": SERVE}),
        ('["python", "-m", "shop.serve"]', {"shop/serve.py": SERVE}),
        ('["uvicorn", "shop.serve:app", "--port", "80"]', {"shop/serve.py": SERVE}),
        ('["gunicorn", "-k", "uvicorn.workers.UvicornWorker", "shop.serve:app"]', {"shop/serve.py": SERVE}),
        ('["fastapi", "run", "shop/serve.py"]', {"shop/serve.py": SERVE}),
        ('["streamlit", "run", "serve.py"]', {"serve.py": SERVE}),
        ('["sh", "-c", "cd /app && exec python serve.py"]', {"serve.py": SERVE}),
        (
            '["uvicorn", "app.main:app"]',
            {"app/main.py": f"{FASTAPI}from app.llm import llm\n", "app/llm.py": SERVE},
        ),
        (
            '["uvicorn", "app.main:app"]',
            {"app/main.py": f"{FASTAPI}from . import llm\n", "app/llm.py": SERVE},
        ),
    ],
)  # fmt: skip
def test_what_runs_a_module(command: str, files: Mapping[str, str]) -> None:
    (one,) = found({"k8s/chat.yaml": POD % command, **files})
    assert said(one) == L4
    assert lines(one)["model"] == ("k8s/chat.yaml", 14)


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ('["serve", "run"]', {"serve.py": SERVE}),
        ('["python", "serve.py"]', {"a/serve.py": SERVE, "b/serve.py": "from vllm import LLM\n"}),
        ('["python", "/app/serve.py"]', {"other/project/deep/serve.py": SERVE}),
    ],
)
def test_what_does_not_run_a_module(command: str, files: Mapping[str, str]) -> None:
    (one,) = found({"k8s/chat.yaml": POD % command, **files})
    assert said(one) == {"engine": "vllm", "model": '(os.environ["MODEL_ID"])'}


def test_a_service_and_the_recipe_of_its_image_are_one_deployment() -> None:
    compose = """\
services:
  chat:
    build: ./svc
    environment: {MODEL_ID: acme/small}
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 2, capabilities: [gpu]}]}}}
"""
    recipe = "FROM vllm/vllm-openai:v0.11.0\nENV MODEL_ID=acme/other\nENTRYPOINT vllm serve $MODEL_ID\n"
    (one,) = found({"compose.yaml": compose, "svc/Dockerfile": recipe})
    assert said(one) == {"engine": "vllm", "engine_version": "0.11.0", "model": "acme/small", "gpus": 2}
    words = compose.replace("    build: ./svc\n", '    build: ./svc\n    command: ["--model", "acme/c"]\n')
    recipe = 'FROM vllm/vllm-openai:v0.11.0\nENTRYPOINT ["vllm", "serve"]\nCMD ["acme/d"]\n'
    assert only({"compose.yaml": words, "svc/Dockerfile": recipe})["model"] == "acme/c"
    code = 'FROM python:3.12\nCMD ["python", "main.py"]\n'
    assert only({"compose.yaml": compose, "svc/Dockerfile": code, "svc/main.py": SERVE}) == {
        "engine": "vllm", "model": "acme/small", "gpus": 2,
    }  # fmt: skip


def test_a_command_of_bentoml_on_the_cards_of_its_service() -> None:
    service = """\
import bentoml

@bentoml.service(resources={"gpu": 2, "gpu_type": "nvidia-h100-80gb"})
class Chat:
    model = bentoml.models.HuggingFaceModel("acme/a")

    def __command__(self):
        return ["vllm", "serve", self.model, "--tensor-parallel-size", "2"]
"""
    assert only({"service.py": service}) == {
        "engine": "vllm", "model": "acme/a", "tensor_parallel_size": 2, "gpu": "h100-sxm5-80gb", "gpus": 2,
    }  # fmt: skip


def test_arguments_of_a_bento_in_pyproject() -> None:
    project = """\
[project]
name = "chat"
[tool.bentoml.build]
service = "service:LLM"
[tool.bentoml.build.args]
model_id = "acme/a"
gpu_type = "nvidia-l4"
tp = 2
"""
    (one,) = found({"pyproject.toml": project})
    assert said(one) == {"engine": "vllm", "model": "acme/a", "tensor_parallel_size": 2, "gpu": "l4-24gb", "gpus": 2}
    assert lines(one)["model"] == ("pyproject.toml", 6)


def test_actors_of_ray_are_on_their_own_cards() -> None:
    config = """\
applications:
  - name: both
    import_path: shop.serve:app
    deployments:
      - name: Large
        ray_actor_options: {num_gpus: 2, accelerator_type: H100}
      - name: Small
        ray_actor_options: {num_gpus: 0.5, accelerator_type: L4}
# vllm
"""
    code = """\
from vllm import LLM

class Large:
    def __init__(self):
        self.llm = LLM("acme/large", tensor_parallel_size=2)

class Small:
    def __init__(self):
        self.llm = LLM("acme/small")
"""
    large, small = found({"shop/serve.py": code, "serve.yaml": config})
    assert (said(large)["gpu"], said(large)["gpus"], large.unread) == ("h100-sxm5-80gb", 2, ())
    assert (said(small)["gpu"], small.unread) == ("l4-24gb", ("a share of a card (0.5)",))


def test_services_that_are_pinned_to_one_card_share_it() -> None:
    service = """\
  {name}:
    image: vllm/vllm-openai:v0.11.0
    command: ["--model", "acme/{name}"]
    deploy: {{resources: {{reservations: {{devices: [{{driver: nvidia, device_ids: {ids}, capabilities: [gpu]}}]}}}}}}
"""
    both = [service.format(name=name, ids=ids) for name, ids in (("a", '["0"]'), ("b", '["0"]'), ("c", '["1"]'))]
    one, two, three = found({"compose.yaml": "services:\n" + "".join(both)})
    assert one.card == two.card is not None
    assert three.card not in (None, one.card)
    chosen = both[0] + "    profiles: [small]\n"
    assert only({"compose.yaml": f"services:\n{chosen}"}).get("card") is None


def test_vllm_inside_of_triton() -> None:
    arguments = '{"model": "acme/a", "gpu_memory_utilization": 0.5, "max_model_len": 512, "enforce_eager": true}'
    (one,) = found({"models/chat/1/model.json": arguments})
    assert said(one) == {
        "engine": "triton:vllm", "model": "acme/a", "max_model_len": 512, "gpu_memory_utilization": "0.5",
        "enforce_eager": True,
    }  # fmt: skip
    config = """\
backend: "python"
instance_group [ { count: 2, kind: KIND_GPU, gpus: [ 0 ] } ]
parameters { key: "model_name" value: { string_value: "acme/a" } }
parameters { key: "max_model_len" value: { string_value: "512" } }
parameters { key: "dtype" value: { string_value: "float16" } }
"""
    assert only({"models/chat/config.pbtxt": config}) == {
        "engine": "triton:vllm", "model": "acme/a", "max_model_len": 512, "dtype": "float16", "gpus": 1,
        "processes_per_gpu": 2,
    }  # fmt: skip


def test_a_folder_of_the_repository_that_a_container_sees() -> None:
    service = """\
services:
  chat:
    image: vllm/vllm-openai:v0.11.0
    entrypoint: ["python3", "/app/main.py"]
    environment: {MODEL_ID: acme/small}
    volumes: ["./svc:/app"]
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
"""
    files = {"compose.yaml": service, "svc/main.py": SERVE, "other/main.py": SERVE}
    other, mounted = found(files)
    assert (mounted.at.path, said(mounted)) == (
        "svc/main.py", {"engine": "vllm", "engine_version": "0.11.0", "model": "acme/small", "gpus": 1},
    )  # fmt: skip
    assert said(other) == {"engine": "vllm", "model": '(os.environ["MODEL_ID"])'}


def test_an_actor_of_a_rayservice_has_the_cards_that_it_asks_for_of_its_pod() -> None:
    asked = (
        "        import_path: serve:app\n        deployments:\n"
        "          - {name: Chat, ray_actor_options: {num_gpus: 1, runtime_env: {env_vars: {MODEL_ID: acme/own}}}}\n"
        "          - {name: Other, ray_actor_options: {num_gpus: 2}}\n"
    )
    service = _RAY.replace("        import_path: serve:app\n", asked)
    (one,) = found({"ray.yaml": _SCRIPT + service})
    assert (said(one)["model"], said(one)["gpu"], said(one)["gpus"], one.unread) == ("acme/own", "l4-24gb", 1, ())
    half = service.replace("num_gpus: 1", "num_gpus: 0.5")
    (one,) = found({"ray.yaml": _SCRIPT + half})
    assert one.unread == ("a share of a card (0.5)",)
