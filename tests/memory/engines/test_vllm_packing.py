"""Packed weights under vLLM: what it refuses to split, and what its kernels round up."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import pytest
from llama import LLAMA_8B
from memory.engines.serving import device

from vramguard.memory import Answer, Proof, Workload, prove

CATALOGUE: Final = Path(__file__).parents[2] / "catalogue"
BLOCKS: Final[dict[str, Any]] = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}


def proved(config: dict[str, Any], version: str = "0.19.0", parallel: int = 1, **values: Any) -> Proof:  # noqa: ANN401
    workload = Workload("vllm", engine_version=version, tensor_parallel_size=parallel, max_model_len=8192, **values)
    return prove(config, workload, device(), Fraction(4, 5))


def read(name: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((CATALOGUE / f"{name}.json").read_text("utf-8"))
    return config


@pytest.mark.parametrize(
    ("inner", "parallel", "refused"), [(14336, 4, False), (14336 + 64 * 8, 8, True), (11008, 4, True)]
)
def test_blocks_of_a_scale_must_divide_a_cards_share(inner: int, parallel: int, *, refused: bool) -> None:
    found = proved(LLAMA_8B | {"intermediate_size": inner, "quantization_config": BLOCKS}, parallel=parallel)
    assert (found.mismatch is not None) is refused
    assert not refused or f"{inner // parallel} rows on a card are no whole number of blocks of 128" in str(
        found.reason
    )


def test_experts_are_refused_until_their_scales_are_made_finer() -> None:
    config = read("Qwen--Qwen3-235B-A22B-FP8")  # 1536 / 8 = 192
    assert "192 rows" in str(proved(config, "0.19.0", 8).mismatch)
    assert proved(config, "0.33.0", 8).answer is Answer.FITS
    assert proved(config, "0.19.0", 8, enable_expert_parallel=True).mismatch is None


def test_mxfp4_experts_are_rounded_as_the_cards_kernels_ask() -> None:
    sizes = {}
    for version in ("0.16.0", "0.19.0"):
        totals = proved(read("openai--gpt-oss-20b"), version).totals
        assert totals
        sizes[version] = totals.weights_bytes
    # Triton rounds 2880 rows of each expert's three matrices to 3072; Marlin to 2944, and 2880 columns to 3072.
    elements = 24 * 32 * 3
    assert sizes["0.19.0"] - sizes["0.16.0"] == pytest.approx(
        elements * (2944 * 3072 - 3072 * 2880) * 17 / 32, rel=0.01
    )


def test_a_method_that_a_release_no_longer_has_is_named() -> None:
    found = proved(LLAMA_8B, "0.33.0", quantization="bnb-nf4")
    assert found.reason == "vllm 0.33.0 has no quantization bitsandbytes"
    assert proved(LLAMA_8B, "0.19.0", quantization="bnb-nf4").answer is Answer.FITS


@pytest.mark.parametrize("name", ["Qwen--Qwen3-32B-FP8-Static-PerTensor", "nvidia--Gemma-4-31B-IT-NVFP4"])
def test_a_cache_that_the_checkpoint_asks_for_is_bounded_both_ways(name: str) -> None:
    either, wide, narrow = (proved(read(name), kv_cache_dtype=dtype) for dtype in (None, "bfloat16", "fp8"))
    assert either.totals
    assert wide.totals
    assert either.totals.kv_cache_bytes == wide.totals.kv_cache_bytes
    assert either.ledger.lower_bytes("kv_cache") == narrow.ledger.lower_bytes("kv_cache")
    assert any("fp8" in sentence for sentence in either.assumptions)
    assert not any("both ways are bounded" in sentence for sentence in wide.assumptions)
