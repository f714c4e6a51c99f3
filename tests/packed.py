"""Repositories that packs are written for, and what is written for them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml

from vramguard.classes import classifier
from vramguard.extract import extract
from vramguard.facts import Fact, Facts
from vramguard.link.deployments import deployments
from vramguard.packs import planned
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vramguard.packs import Plan


def promtool() -> str:
    """Prometheus' own tool, of the PATH or of VRAMGUARD_PROMTOOL; the test is skipped where neither has it."""
    found = os.environ.get("VRAMGUARD_PROMTOOL") or shutil.which("promtool")
    if not found:
        pytest.skip("promtool is neither on the PATH nor named by VRAMGUARD_PROMTOOL (Debian's package `prometheus`)")
    return found


def workload(
    name: str,
    image: str,
    args: Sequence[str] = (),
    *,
    kind: str = "Deployment",
    gpus: int = 1,
    env: Sequence[dict[str, str]] = (),
) -> str:
    """A workload with a card and the Service that sends to it, in the namespace `serving`."""
    container: dict[str, Any] = {
        "name": "server",
        "image": image,
        "args": list(args),
        "env": list(env),
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": gpus, "memory": "64Gi"}},
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    workload_ = {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "serving"},
        "spec": spec,
    }
    ports = [{"name": "http", "port": 80, "targetPort": 8000}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "serving"},
        "spec": {"selector": labels, "ports": ports},
    }
    return str(yaml.safe_dump_all([workload_, service]))


_MODEL: Final = "--model=meta-llama/Llama-3.1-8B-Instruct"
_NANS: Final = ({"name": "VLLM_COMPUTE_NANS_IN_LOGITS", "value": "1"},)

VLLM: Final = workload("llama", "vllm/vllm-openai:v0.33.0", [_MODEL, "--tensor-parallel-size=2"], gpus=2, env=_NANS)
OLD_VLLM: Final = workload("llama", "vllm/vllm-openai:v0.8.5", [_MODEL], kind="StatefulSet")
SGLANG: Final = workload(
    "llama", "lmsysorg/sglang:v0.5.10", ["python3", "-m", "sglang.launch_server", "--model-path=/m"]
)
TGI: Final = workload("llama", "ghcr.io/huggingface/text-generation-inference:3.3.7", ["--model-id=/m"])
TRITON: Final = workload("price", "nvcr.io/nvidia/tritonserver:25.01-py3", ["tritonserver", "--model-repository=/m"])
OWN: Final = workload("recommender", "registry.example/recommender:1.0")
KSERVE: Final = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: ranking, namespace: models}
spec:
  predictor:
    model:
      modelFormat: {name: pytorch}
      storageUri: s3://models/ranking/7
      resources: {limits: {nvidia.com/gpu: 1}}
"""
COMPOSE: Final = """
services:
  llama:
    image: vllm/vllm-openai:v0.33.0
    command: --model meta-llama/Llama-3.1-8B-Instruct
    ports: ["8000:8000"]
    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}
"""

REPOSITORIES: Final = {
    "vllm": {"deploy/llama.yaml": VLLM},
    "old-vllm": {"deploy/llama.yaml": OLD_VLLM},
    "sglang": {"deploy/llama.yaml": SGLANG},
    "tgi": {"deploy/llama.yaml": TGI},
    "triton": {"deploy/price.yaml": TRITON},
    "own": {"deploy/recommender.yaml": OWN},
    "kserve": {"deploy/ranking.yaml": KSERVE},
    "compose": {"compose.yaml": COMPOSE},
    "many": {"deploy/llama.yaml": VLLM, "deploy/price.yaml": TRITON, "deploy/recommender.yaml": OWN},
}


def facts_of(files: Mapping[str, str]) -> Facts:
    """What the files say, and the deployments that are found in them."""
    found: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind) if (kind := kind_of(path)) else None
        if isinstance(document, Document):
            found.extend(extract(document))
    facts = Facts(found, classifier({}), files)
    return facts.adding(deployments(facts))


def plan(files: dict[str, str], pack: str, *beside: str) -> Plan:
    """What a pack writes for a repository."""
    return planned(facts_of(files), pack, beside)


def written(files: dict[str, str], pack: str, *beside: str) -> dict[str, str]:
    """The files of a pack, by the end of their path."""
    return {file.path.removeprefix("ops/vramguard/"): file.text for file in plan(files, pack, *beside).files}


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a text."""
    return [one for one in yaml.safe_load_all(text) if one]
