"""VG207: what serves must not be in training mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from vramguard.checks import Severity
from vramguard.checks.training import TrainingModeInServing
from vramguard.classes import classifier
from vramguard.extract import extract
from vramguard.facts import Fact, Facts
from vramguard.source import Document, kind_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.checks import Problem

APP = "from fastapi import FastAPI\napp = FastAPI()\nCONFIG = open('conf/model.yaml')\n"
FLAG = "training: true\n"
DEPLOYMENT = """
apiVersion: apps/v1
kind: {kind}
metadata:
  name: llm
spec:
  template:
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.19.0
          env:
            - name: {name}
              value: "{value}"
"""


def problems(files: Mapping[str, str]) -> list[Problem]:
    facts: list[Fact] = []
    for path, text in files.items():
        document = read(path, text.encode(), kind=kind_of(path))
        assert isinstance(document, Document)
        facts.extend(extract(document))
    return list(TrainingModeInServing().find(Facts(facts, classifier({}), files)))


def test_a_flag_counts_where_what_serves_names_its_file() -> None:
    (found,) = problems({"svc/app.py": APP, "svc/conf/model.yaml": FLAG})
    assert found.at.path == "svc/conf/model.yaml"
    assert found.evidence[0].at.path == "svc/app.py"
    assert found.severity is None


@pytest.mark.parametrize(
    "files",
    [
        {"svc/conf/model.yaml": FLAG},
        {"svc/app.py": APP, "svc/conf/other.yaml": FLAG},
        {"svc/app.py": APP, "elsewhere/conf/model.yaml": FLAG},
        {"svc/app.py": APP, "svc/conf/model.yaml": FLAG + "epochs: 3\n"},
        {"train/app.py": APP, "train/conf/model.yaml": FLAG},
        {"tests/app.py": APP + "model = load(training=True)\n"},
    ],
)
def test_other_flags_are_none_of_ours(files: Mapping[str, str]) -> None:
    assert problems(files) == []


def test_gradients_are_a_warning() -> None:
    text = (
        "import torch\nfrom transformers import AutoModel\nfrom fastapi import FastAPI\napp = FastAPI()\n"
        "model = AutoModel.from_pretrained('x')\ndef f(x):\n    return model(x)\n"
    )
    (found,) = problems({"app.py": text})
    assert found.severity is Severity.WARNING


@pytest.mark.parametrize(
    ("kind", "name", "value", "count"),
    [
        ("Deployment", "TRAINING", "1", 1),
        ("StatefulSet", "MODEL_TRAINING_MODE", "true", 1),
        ("Deployment", "TRAINING", "0", 0),
        ("Deployment", "TRAINING_DATA", "true", 0),
        ("Job", "TRAINING", "true", 0),
    ],
)
def test_variables_of_workloads(kind: str, name: str, value: str, count: int) -> None:
    assert len(problems({"k8s.yaml": DEPLOYMENT.format(kind=kind, name=name, value=value)})) == count
