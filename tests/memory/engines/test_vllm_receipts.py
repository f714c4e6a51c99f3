"""Real start-ups of vLLM beside the proof: weights, activations and the pool, within the promised tolerances."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import pytest
from memory.start_ups import proved, receipts

GIB: Final = 1 << 30
ROUNDING: Final = GIB // 200  # a log's two decimals
HUNDREDTH: Final = GIB // 100


def rows(name: str) -> list[dict[str, Any]]:
    """Receipts of whose model a config was read."""
    return [row for row in receipts(name) if "config" in row]


def label(row: dict[str, Any]) -> str:
    said = (row["tensor_parallel_size"], row["pipeline_parallel_size"], row["dtype"], row.get("kv_cache_dtype"))
    return "-".join(map(str, (row["model"].rpartition("/")[2], *said, row["max_model_len"])))


RECEIPTS: Final = [*rows("receipts"), *rows("held_out")]
# Where the promise is not kept: the cache of a card that weights nearly fill, for what communicators take is bounded by
# the largest log; and how Marlin rounds the experts of half of gpt-oss.
FULL_CARDS: Final = ("Kimi-Dev-72B-2-", "Qwen2.5-72B-Instruct-2-", "Llama-4-Scout-17B-16E-Instruct-4-")
ROUNDED: Final = ("gpt-oss-20b-2-",)


def but(*short: str) -> list[Any]:
    """The receipts, those that are named expected to fall short."""
    return [
        pytest.param(
            row, marks=pytest.mark.xfail(strict=True, reason="see above") if label(row).startswith(short) else ()
        )
        for row in RECEIPTS
    ]


@pytest.mark.parametrize("row", but(*ROUNDED), ids=label)
def test_weights_are_those_of_the_log(row: dict[str, Any]) -> None:
    proof = proved(row)
    assert proof.totals, proof.reason
    measured, upper = int(row["weights"] * GIB), proof.totals.weights_bytes
    assert proof.ledger.lower_bytes("weights") <= measured + ROUNDING
    if proof.model_type in ("deepseek_v2", "gpt_oss"):  # absorbed copies, sizes that kernels round up
        assert measured - ROUNDING <= upper <= measured + 6 * HUNDREDTH + ROUNDING
    else:
        assert abs(upper - measured) <= HUNDREDTH + ROUNDING


@pytest.mark.parametrize("row", RECEIPTS, ids=label)
def test_activations_are_bounded_and_close(row: dict[str, Any]) -> None:
    proof = proved(row)
    assert proof.totals, proof.reason
    measured = int(row["activation"] * GIB)
    assert measured - ROUNDING <= proof.totals.activation_bytes <= measured + 35 * HUNDREDTH + ROUNDING


@pytest.mark.parametrize("row", but(*FULL_CARDS), ids=label)
def test_the_pool_is_never_promised_larger_and_is_close(row: dict[str, Any]) -> None:
    proof = proved(row)
    assert proof.pool, proof.reason
    measured = int(row["kv_cache"] * GIB)
    assert Fraction(97, 100) * (measured - ROUNDING) <= proof.pool.kv_cache_bytes <= measured + ROUNDING
    assert Fraction(proof.pool.max_concurrency) <= Fraction(row["concurrency"])
    assert proof.pool.kv_cache_tokens <= row["kv_cache_tokens"]
    assert proof.pool.starts
