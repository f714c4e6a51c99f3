"""What vLLM does where a card lacks a type: `auto` falls back, and what turns to the V0 engine is not proved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import llama
import pytest
from memory.engines.serving import proof, rows

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


@pytest.mark.parametrize(
    ("version", "changes", "reason"),
    [
        ("0.10.0", {}, None),
        ("0.8.5", {}, None),
        ("0.9.2", {"gpu": "t4-16gb"}, "capability below 8.0"),
        ("0.9.2", {"dtype": "float32"}, "float32"),
        ("0.10.0", {"dtype": "float32"}, None),
        ("0.9.0", {"kv_cache_dtype": "fp8", "gpu": "b200-180gb"}, "fp8 cache"),
        ("0.10.0", {"kv_cache_dtype": "fp8", "gpu": "b200-180gb"}, None),
        ("0.8.5", {"pipeline_parallel_size": 2}, "pipelines"),
        ("0.9.2", {"pipeline_parallel_size": 2}, None),
        ("0.9", {"num_gpu_blocks_override": 4000}, "num_gpu_blocks_override"),
        ("0.10.0", {"num_gpu_blocks_override": 4000}, None),
        ("0.8.4", {}, "not supported"),
        ("0.8", {}, "not supported"),
    ],
)
def test_releases_with_two_engines(version: str, changes: dict[str, str], reason: str | None) -> None:
    found = proof(SMALL, asked(changes.pop("gpu", "h100-sxm5-80gb"), engine_version=version, **changes))
    assert (found.reason is None) == (reason is None), found.reason
    assert reason is None or reason in str(found.reason)


def test_a_release_that_is_not_stated_is_none_of_the_oldest() -> None:
    """Gemma 3's sliding layers keep every token before the hybrid manager, which `latest` has."""
    table = json.loads((Path(__file__).parent / "vllm_models.json").read_text(encoding="utf-8"))
    config = table["google/gemma-3-27b-it"]["config"]
    workload = asked("h100-sxm5-80gb", engine_version="0.10.0", max_model_len=32768)  # type: ignore[arg-type]
    recent, unstated, oldest = (
        rows(proof(config, replace(workload, engine_version=version)))["kv_cache/full"][1]
        for version in ("0.10.1", None, "0.9.0")
    )
    assert recent <= unstated < oldest / 4


def test_a_connector_keeps_sliding_layers_whole_by_release() -> None:
    """Before 0.23 whatever it is, unless they are asked for since 0.14; since then one that supports them does not."""
    table = json.loads((Path(__file__).parent / "vllm_models.json").read_text(encoding="utf-8"))
    config = table["google/gemma-3-27b-it"]["config"]

    def kept(version: str, **changes: object) -> set[str]:
        workload = replace(asked("h200-141gb", engine_version=version), max_model_len=32768, **changes)  # type: ignore[arg-type]
        return {name for name in rows(proof(config, workload)) if name.startswith("kv_cache/")} - {
            "kv_cache/null_block"
        }

    nixl: dict[str, object] = {"kv_connector": "NixlConnector"}
    assert kept("0.19.0") == {"kv_cache/full", "kv_cache/sliding"}
    assert kept("0.19.0", **nixl) == kept("0.10.2", **nixl) == {"kv_cache/full"}
    assert kept("0.19.0", disable_hybrid_kv_cache_manager=False, **nixl) == {"kv_cache/full", "kv_cache/sliding"}
    assert kept("0.13.0", disable_hybrid_kv_cache_manager=False, **nixl) == {"kv_cache/full"}
    assert kept("0.28.0", **nixl) == {"kv_cache/full", "kv_cache/sliding"}  # either way
    assert kept("0.19.0", kv_events=True) == {"kv_cache/full"}
    assert kept("0.20.0", kv_events=True) == {"kv_cache/full", "kv_cache/sliding"}


def test_what_a_connector_takes() -> None:
    plain, moved = (
        rows(proof(SMALL, replace(asked("h100-sxm5-80gb"), kv_connector=c))) for c in (None, "NixlConnector")
    )
    page = 16 * 8 * 128 * 2 * 2
    assert moved["runtime/kv_connector"] == (0, 4 * 128 * page + 8 * 128)
    assert moved.keys() - plain.keys() == {"runtime/kv_connector"}
    other = proof(SMALL, replace(asked("h100-sxm5-80gb"), kv_connector="LMCacheConnectorV1"))
    assert "LMCacheConnectorV1" in str(other.reason)


@pytest.mark.parametrize(
    ("gpu", "changes", "serves"),
    [
        ("h100-sxm5-80gb", {}, False),
        ("h100-sxm5-80gb", {"kv_cache_dtype": "fp8"}, False),
        ("h100-sxm5-80gb", {"attn_implementation": "flashinfer"}, True),
        ("l4-24gb", {}, False),
        ("l4-24gb", {"kv_cache_dtype": "fp8"}, True),
        ("l4-24gb", {"kv_cache_dtype": "bfloat16"}, False),
        ("t4-16gb", {}, True),
        ("b200-180gb", {}, True),
    ],
)
def test_flashinfers_buffers_stand_where_it_may_serve(gpu: str, changes: dict[str, str], *, serves: bool) -> None:
    found = rows(proof(SMALL, asked(gpu, **changes))).get("runtime/flashinfer_workspace")
    assert (found is not None) == serves
    eager = rows(proof(SMALL, replace(asked(gpu, **changes), enforce_eager=True))).get("runtime/flashinfer_workspace")
    # 51 sizes up to 512 on every card of 256 sequences or more: a wrapper of 8 MiB each.
    assert found is None or (eager is not None and found[1] - eager[1] >= 51 * (8 << 20))


@pytest.mark.parametrize(
    ("version", "batched"), [("0.10.2", 8192), ("0.11.0", 8192), ("0.11.1", 32768), ("0.19.0", 32768)]
)
def test_prompts_that_are_not_split_need_a_batch_of_the_whole_context(version: str, batched: int) -> None:
    workload = replace(asked("h100-sxm5-80gb", engine_version=version), max_model_len=32768)
    found = proof(SMALL, replace(workload, enable_chunked_prefill=False)).workload
    assert found.max_num_batched_tokens == batched
    assert proof(SMALL, workload).workload.max_num_batched_tokens == 8192
