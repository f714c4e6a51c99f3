"""What holds of every proof of every engine, over published configs and drawn workloads."""

from __future__ import annotations

import json
import random
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from memory.engines.serving import device

from vramguard.memory import Answer, Proof, Workload, prove
from vramguard.memory.expression import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

CATALOGUE = sorted((Path(__file__).parents[2] / "catalogue").glob("*.json"))
ENGINES = ("transformers", "vllm", "sglang", "tgi", "tensorrt-llm", "llama.cpp")
SERVING = ("vllm", "sglang", "tgi", "tensorrt-llm")
VERSIONS: dict[str, tuple[str, ...]] = {
    "transformers": ("5.0.0", "5.23.0"),
    "vllm": ("0.10.1.1", "0.12.0", "0.16.0", "0.19.0", "0.20.0", "0.28.0", "0.33.0"),
    "sglang": ("0.4.6.post5", "0.4.10", "0.5.5", "0.5.10", "0.5.23"),
    "tgi": ("2.0.4", "2.2.0", "3.0.2", "3.3.7"),
    "tensorrt-llm": ("1.1.0", "1.2.1"),
    "llama.cpp": ("b9000",),
}
CARDS = ("h100-sxm5-80gb", "a100-sxm4-40gb", "l4-24gb", "b200-180gb", "rtx-4090-24gb", "t4-16gb")
FOUR_BITS = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
BUDGET = Fraction(4, 5)
SAMPLE = 24  # configs of one property and engine

Case = tuple[dict[str, Any], Workload]


@cache
def config(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def judged(of: dict[str, Any], workload: Workload) -> Proof:
    return prove(of, workload, device(workload.gpu or CARDS[0]), BUDGET)


def drawn(engine: str, seed: object, count: int = SAMPLE) -> Iterator[tuple[dict[str, Any], Workload, random.Random]]:
    """Configs, each with a workload that the engine may be asked for."""
    draw = random.Random(f"{engine} {seed}")
    for path in draw.sample(CATALOGUE, min(count, len(CATALOGUE))):
        yield config(path), workload(engine, draw), draw


def workload(engine: str, draw: random.Random) -> Workload:
    """Sizes of every magnitude; now and then a version, a grid of cards or a pool that somebody stated."""
    version = draw.choice(VERSIONS[engine]) if draw.random() < (0.9 if engine == "vllm" else 0.5) else None
    asked = Workload(
        engine=engine,
        engine_version=version,
        gpu=draw.choice(CARDS),
        max_model_len=int(2 ** draw.uniform(0, 17)),
        concurrency=draw.choice([None, 1, int(2 ** draw.uniform(0, 8))]),
    )
    if engine == "transformers":
        return replace(asked, attn_implementation=draw.choice([None, "eager", "sdpa"]))
    batched = draw.choice([None, int(2 ** draw.uniform(5, 16))])
    asked = replace(
        asked,
        max_num_batched_tokens=batched,
        max_num_seqs=draw.choice([None, int(2 ** draw.uniform(0, 10))]),
    )
    if engine == "llama.cpp":
        return replace(asked, n_gpu_layers=draw.choice([None, None, -1, 0, 20]))
    return replace(
        asked,
        tensor_parallel_size=draw.choice([None, 1, 2, 4, 8]),
        pipeline_parallel_size=draw.choice([None, None, 1, 2]) if engine != "tgi" else None,
        enforce_eager=draw.choice([None, False, True]),
        gpu_memory_utilization=draw.choice([None, None, "0.5", "0.85", "0.95"]),
    )


def upper(proof: Proof) -> int | None:
    return proof.totals.peak_upper_bytes if proof.totals else None


def bounds(proof: Proof, group: str) -> tuple[int, int]:
    return proof.ledger.lower_bytes(group), proof.ledger.upper_bytes(group)


def grown(draw: random.Random, value: int) -> int:
    return max(value + 1, int(value * draw.choice([1, 1.1, 2, 8])))


@pytest.mark.parametrize("name", ["max_model_len", "concurrency", "max_num_batched_tokens", "max_num_seqs"])
@pytest.mark.parametrize("engine", ENGINES)
def test_more_never_needs_less(engine: str, name: str) -> None:
    compared = 0
    for of, asked, draw in drawn(engine, name):
        value = getattr(asked, name) or int(2 ** draw.uniform(6, 13))
        small = judged(of, replace(asked, **{name: value}))
        large = judged(of, replace(asked, **{name: grown(draw, value)}))
        before, after = upper(small), upper(large)
        if before is not None and after is not None:
            compared += 1
            assert before <= after, (of.get("architectures"), small.workload, large.workload)
    assert compared


def test_fewer_bits() -> None: ...


def consistent(proof: Proof) -> None:
    """Raise where the numbers of one proof contradict each other."""
    if proof.totals is None:
        assert proof.answer is Answer.UNKNOWN
        assert proof.reason
        assert len(proof.reason.split()) > 2, proof.reason  # noqa: PLR2004 - a thing, and what about it
        assert not proof.ledger.terms
        return
    for term in proof.ledger:
        assert evaluate(term.formula, term.inputs) == term.upper_bytes, term
        assert evaluate(term.lower_formula or term.formula, term.inputs) == term.lower_bytes, term
        assert term.lower_bytes <= term.upper_bytes, term
        assert all(type(value) is int for value in term.inputs.values()), term
    groups = {term.group for term in proof.ledger}
    assert groups <= {"weights", "kv_cache", "activations", "runtime", "offload"}, groups
    names = [term.name for term in proof.ledger]
    assert len(set(names)) == len(names), names
    totals = proof.totals
    assert totals.peak_lower_bytes == sum(term.lower_bytes for term in proof.ledger)
    assert totals.peak_upper_bytes == sum(term.upper_bytes for term in proof.ledger)
    by_group = (totals.weights_bytes, totals.kv_cache_bytes, totals.activation_bytes, totals.runtime_bytes)
    assert sum(by_group) - proof.offload_bytes == totals.peak_upper_bytes
    assert (proof.answer is Answer.FITS) == (totals.peak_upper_bytes <= proof.budget_bytes)
    assert (proof.answer is Answer.EXCEEDS) == (totals.peak_lower_bytes > proof.budget_bytes)
    assert proof.headroom_bytes == proof.budget_bytes - totals.peak_upper_bytes
    assert (proof.reason is None) == (proof.answer is Answer.FITS)
