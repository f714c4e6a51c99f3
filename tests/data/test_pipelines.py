"""data/pipelines.toml: rows have sources, and commands mean what they should."""

from __future__ import annotations

import re
from datetime import date

import pytest
from timed import within

from vramguard import data
from vramguard.link.pipelines.known import action, doings, says


def test_every_row_has_its_source() -> None:
    tables = data.load("pipelines")
    date.fromisoformat(tables["default"]["date"])
    for kind in ("act", "action", "word", "runs_on"):
        assert all(row["source"] and row["pattern"] for row in tables[kind]), kind


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("torchrun --nproc-per-node 8 fit.py", {"train"}),
        ("dvc repro", {"train"}),
        ("make train", {"train"}),
        ("make train-data", set()),
        ("bash scripts/retrain.sh", {"train"}),
        ("bash scripts/train_tickets.sh", set()),
        ("docker run --rm shop/training:abc", {"train"}),
        ("docker run --rm shop/trains:abc", set()),
        ("aws sagemaker create-training-job --cli-input-json x", {"train"}),
        ("kubectl apply -f deploy/", {"deploy"}),
        ("kubectl -n prod set image deployment/m m=x", {"deploy"}),
        ("kubectl apply -f deploy/ --dry-run=server", set()),
        ("kubectl get pods", set()),
        ("kubectl patch pvc x", set()),
        ("helm upgrade --install m ./chart", {"deploy"}),
        ("helm lint ./chart", set()),
        ("gcloud run deploy m --image x", {"deploy"}),
        ("aws s3 sync models/ s3://shop-production/models", {"promote", "keep"}),
        ("aws s3 sync models/ s3://shop-candidates/models", {"keep"}),
        ("aws s3 sync public/ s3://shop-production/site", {"keep"}),
        ("docker push shop/price-model:latest", {"promote", "keep"}),
        ("docker push shop/price-model:1.4.2", {"keep"}),
        ("pytest -q", {"check"}),
        ("python src/evaluate_model.py", {"check"}),
        ("python devaluate.py", set()),
        ("gh pr merge --auto --squash 1", {"merge"}),
        ("pip install torch", set()),
    ],
)
def test_what_commands_do(command: str, kinds: set[str]) -> None:
    assert {row.kind for row in doings(command)} == kinds


def test_actions_and_words() -> None:
    assert [row.kind for row in action("azure/webapps-deploy@v3")] == ["deploy"]
    assert [row.kind for row in action("actions/checkout@v5")] == []
    assert says("serving", "models:/price@champion")
    assert not says("serving", "products")
    assert not says("training", "constraint")


@pytest.mark.parametrize(
    "pattern",
    [row["pattern"] for kind in ("act", "action", "word", "runs_on") for row in data.load("pipelines")[kind]],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    texts = ("a" * 4000, "kubectl " + "--a " * 1000, "docker run " + "x/" * 2000, "uv run " + "- " * 2000, "_-" * 2000)
    compiled = re.compile(pattern, re.IGNORECASE)
    with within(1):
        for text in texts:
            compiled.search(text)
