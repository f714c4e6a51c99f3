"""The proof of a training against traced steps: never below, and its exact rows what the step really holds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "benchmarks" / "training"), str(ROOT / "scripts")]
import measure  # noqa: E402
from recorder.families import FAMILIES, resized  # noqa: E402

from vramguard.trace.training import Asked, trace_step  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
WAYS = list(measure.ways())


@pytest.mark.parametrize(("number", "model_type"), list(enumerate(sorted(FAMILIES))))
def test_no_bound_is_below_its_trace(number: int, model_type: str) -> None:
    """Each family in another of the ways: benchmarks/training/measure.py runs all in all."""
    way = WAYS[number % len(WAYS)]
    row = measure.compare(resized(FAMILIES[model_type]), way)
    assert isinstance(row, measure.Row), row
    assert row.lower <= row.traced <= row.upper, way.name


@pytest.mark.parametrize("way", WAYS[:6], ids=lambda way: way.name)
def test_an_embedding_that_is_the_head(way: Any) -> None:  # noqa: ANN401 - measure.Way
    row = measure.compare({**resized(FAMILIES["llama"]), "tie_word_embeddings": True}, way)
    assert isinstance(row, measure.Row), row
    assert row.traced <= row.upper


def test_what_a_step_leaves_behind() -> None:
    """Gradients of every weight, two states of each and a count."""
    config = FAMILIES["llama"]
    step = trace_step(config, Asked(32, 2, optimizer=lambda weights: torch.optim.AdamW(weights, foreach=True)))
    weights = 4 * sum(prod for prod in _sizes(config))
    assert step.trace.cache_bytes == weights
    assert step.optimizer_bytes == 2 * weights + 4 * len(step.weights)
    assert 0 < step.forward_end < step.backward_end < step.trace.operations
    assert [number for number, _ in step.layers] == [3, 2, 1, 0]


def test_autocast_computes_in_float32_what_cuda_does() -> None:
    plain, cast = (
        trace_step(FAMILIES["gpt_neox"], Asked(32, 2, autocast=autocast)).trace for autocast in (False, True)
    )
    wide = {item.dtype for item in cast.allocations if item.operator == "aten.native_layer_norm.default"}
    assert wide == {"float32"}
    assert any(item.dtype == "bfloat16" for item in cast.allocations)
    assert not any(item.dtype == "bfloat16" for item in plain.allocations)


def _sizes(config: dict[str, Any]) -> list[int]:
    from vramguard.memory.families import architecture

    return [tensor.elements for tensor in architecture(config).tensors]
