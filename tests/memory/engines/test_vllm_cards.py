"""What vLLM does where a card lacks a type: `auto` falls back, and what turns to the V0 engine is not proved."""

from __future__ import annotations

from dataclasses import replace

import llama
import pytest
from memory.engines.serving import proof

from vramguard.memory import Workload

SMALL = {**llama.LLAMA_8B, "num_hidden_layers": 2}


def asked(gpu: str, **changes: str) -> Workload:
    return replace(Workload(engine="vllm", engine_version="0.19.0", max_model_len=2048, gpu=gpu), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "gpu", "dtype"),
    [
        (SMALL, "t4-16gb", "float16"),
        (SMALL, "a100-sxm4-40gb", "bfloat16"),
        ({**SMALL, "torch_dtype": "float16"}, "t4-16gb", "float16"),
    ],
)
def test_auto_is_a_type_that_the_card_has(config: dict[str, object], gpu: str, dtype: str) -> None:
    assert proof(config, asked(gpu)).workload.dtype == dtype


def test_a_type_that_is_asked_for_is_refused() -> None:
    assert "refuses bfloat16" in str(proof(SMALL, asked("t4-16gb", dtype="bfloat16")).reason)


@pytest.mark.parametrize(("gpu", "known"), [("a100-sxm4-40gb", 0), ("h100-sxm5-80gb", 1)])
def test_an_fp8_cache_without_kernels_is_the_v0_engine(gpu: str, known: int) -> None:
    found = proof(SMALL, asked(gpu, engine_version="0.10.2", kv_cache_dtype="fp8"))
    assert (found.reason is None) == bool(known)
