"""Curves: every point is the prover's own, the largest value stands on them, and they end beyond the card."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from llama import LLAMA_8B

from vramguard.memory import Depth, Device, Prover, Workload
from vramguard.memory.curves import Curve, curves
from vramguard.memory.planning import longest, most

if TYPE_CHECKING:
    from vramguard.memory import Proof

CARD = Device("h100-sxm5-80gb", 84_927_609_569, "a log", 0, 960_998_933, "another log")
SMALL = replace(CARD, name="a-24gb", capacity_bytes=24 << 30)


def drawn(workload: Workload, card: Device = CARD, **config: object) -> tuple[Prover, Proof, dict[str, Curve]]:
    prover = Prover({**LLAMA_8B, **config}, Fraction(4, 5))
    asked = prover(workload, card, Depth.POOL)
    found = curves(prover, workload, card, prover.context, asked)
    return prover, asked, {curve.field: curve for curve in found}


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_points_are_the_proofs_at_their_values(engine: str) -> None:
    workload = Workload(engine=engine, dtype="bfloat16", max_model_len=4096)
    prover, asked, found = drawn(workload)
    for field, curve in found.items():
        for point in curve.points:
            proof = prover(replace(workload, **{field: point.value}), CARD)  # type: ignore[arg-type]  # fields by name
            assert proof.totals is not None
            bounds = (proof.totals.peak_lower_bytes, proof.totals.peak_upper_bytes)
            assert (point.answer, point.lower_bytes, point.upper_bytes) == (proof.answer, *bounds)
    assert asked.totals is not None
    at = {point.value: point.upper_bytes for point in found["concurrency"].points}
    assert at[1] == asked.totals.peak_upper_bytes
    assert found["max_model_len"].largest == longest(prover, workload, CARD, prover.context)
    assert found["concurrency"].largest == most(prover, workload, CARD, asked)


def test_points_ascend_and_hold_what_is_asked_and_both_sides_of_the_edge() -> None:
    _, _, found = drawn(Workload(engine="transformers", dtype="bfloat16", max_model_len=100_000), SMALL)
    for curve in found.values():
        values = [point.value for point in curve.points]
        assert values == sorted(set(values))
        assert curve.asked in values
        assert 2 <= len(values) <= 50
        assert [point.upper_bytes for point in curve.points] == sorted(point.upper_bytes for point in curve.points)
    context = found["max_model_len"]
    assert context.largest.value is not None
    answers = {point.value: point.answer.value for point in context.points}
    assert answers[context.largest.value] == "FITS"
    assert answers[context.largest.value + 1] != "FITS"
    assert max(answers) == 131_072  # the config's own context
    assert found["concurrency"].largest.value is None


def test_a_curve_ends_well_beyond_the_card() -> None:
    _, _, found = drawn(Workload(engine="transformers", dtype="bfloat16", max_model_len=4096))
    *before, last = found["concurrency"].points
    assert 2 * last.lower_bytes > 3 * CARD.capacity_bytes
    assert all(2 * point.lower_bytes <= 3 * CARD.capacity_bytes for point in before)


def test_nothing_is_drawn_of_what_is_not_known() -> None:
    assert drawn(Workload(), model_type="mamba", architectures=["MambaForCausalLM"])[2] == {}
    assert drawn(Workload(engine="vllm", tensor_parallel_size=7))[2] == {}


def test_half_the_samples_of_a_long_ledger() -> None:
    workload = Workload(engine="transformers", dtype="bfloat16")
    prover = Prover(LLAMA_8B, Fraction(4, 5))
    asked = prover(workload, CARD, Depth.POOL)
    longer = replace(asked, ledger=replace(asked.ledger, terms=asked.ledger.terms * 8))
    many, few = (curves(prover, workload, CARD, prover.context, proof)[0].points for proof in (asked, longer))
    assert len(few) <= len(many) // 2 + 2
    assert (few[0].value, few[-1].value) == (many[0].value, many[-1].value)


def test_a_curve_is_drawn_even_where_nothing_is_near_the_card() -> None:
    _, asked, found = drawn(Workload(engine="vllm", dtype="bfloat16"), SMALL, num_hidden_layers=320)
    assert asked.totals is not None
    assert asked.totals.peak_lower_bytes > 4 * SMALL.capacity_bytes
    assert [point.value for point in found["concurrency"].points] == [1, 2, 3, 4]


def test_a_training_is_drawn_over_its_batch() -> None:
    prover, asked, found = drawn(
        Workload(
            mode="training",
            max_model_len=512,
            lora_rank=8,
            lora_target_modules="all-linear",
            dtype="bfloat16",
            bf16=True,
        )
    )
    assert asked.totals is not None, asked.reason
    batch = found["per_device_train_batch_size"]
    at = {point.value: point for point in batch.points}
    assert at[batch.asked].upper_bytes == asked.totals.peak_upper_bytes
    assert "concurrency" not in found
    assert prover.context == 131_072
