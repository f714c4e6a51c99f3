"""data/gateways.toml: rows have sources, and names say what they should."""

from __future__ import annotations

from datetime import date

import pytest

from vramguard import data
from vramguard.link.routes.known import beside, default_timeout, made, model


def test_every_row_has_its_source_and_its_day() -> None:
    for kind, rows in data.load("gateways").items():
        for row in rows:
            assert row["source"], (kind, row)
            date.fromisoformat(row["date"])


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("vllm", "vLLM"),
        ("my-vllm-0", "vLLM"),
        ("ollama/ollama", "Ollama"),
        ("price-predictor", "a model server"),
        ("tgi", "Text Generation Inference"),
        ("model-server", "a model server"),
        ("tritonserver", "Triton"),
        ("litellm", "LiteLLM"),
        ("vllm-metrics", None),
        ("open-webui", None),
        ("ollama-webui", None),
        ("llm-frontend", None),
        ("vllm-llama-epp", None),
        ("strategic", None),
        ("minimum", None),
        ("api", None),
        ("inference-scheduler", None),
    ],
)
def test_a_model_by_its_name(name: str, known: str | None) -> None:
    found = model(name)
    assert (found.name if found else None) == known


def test_what_stands_beside_a_model() -> None:
    assert beside("llama-epp")
    assert not beside("llama-8b")


def test_hosts_that_controllers_make() -> None:
    assert made("price", "price-predictor")
    assert made("rayllm", "rayllm-head-svc")
    assert made("price", "price")
    assert not made("vllm", "vllm-llama-epp")


def test_defaults() -> None:
    assert default_timeout("nginx") == 60_000
    assert default_timeout("Envoy") == 15_000
    assert default_timeout("VirtualService") is None
