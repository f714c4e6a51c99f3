"""TensorRT-LLM: defaults, the share of what is free, and what public logs tell of cache and workspace."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama import LLAMA_8B, LLAMA_70B
from memory.engines.serving import GIB, device, proof, read, rows

from vramguard.memory import Answer, Workload
from vramguard.memory.engines import Ask, tensorrt_llm
from vramguard.memory.families import architecture

TRT = Workload(engine="tensorrt-llm")
TINY = LLAMA_8B | {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_key_value_heads": 4,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}
GPT_OSS_HEADS = LLAMA_8B | {
    "num_attention_heads": 64,
    "head_dim": 64,
    "num_key_value_heads": 8,
    "num_hidden_layers": 36,
}


def serving(config: dict[str, Any], workload: Workload = TRT) -> tensorrt_llm.Serving:
    network = architecture(config)
    tensorrt_llm.refuse(network, workload)
    ask = Ask(config, network, workload, device(workload.gpu or "h100-sxm5-80gb"))
    return tensorrt_llm.plan(ask, *tensorrt_llm.dtypes(network, workload))


@pytest.mark.parametrize(
    ("log", "config"),
    [
        ("trtllm_tinyllama_triton.log", TINY),
        ("trtllm_deepseek_distill_8b.log", LLAMA_8B),
        ("trtllm_gpt_oss_120b_spark.log", GPT_OSS_HEADS),  # its attention only: layers, key heads and their size
    ],
)
def test_bytes_of_a_token(log: str, config: dict[str, Any]) -> None:
    """Allocated GiB are the tokens that the log prints beside them, within the rounding of two places."""
    tokens = int(read(log, r"paged KV cache \((\d+)\)"))
    printed = Fraction(read(log, r"Allocated ([\d.]+) GiB for max tokens"))
    assert abs(Fraction(serving(config).kv_cache_bytes_per_token * tokens, GIB) - printed) <= Fraction(1, 200)


@pytest.mark.parametrize(
    ("log", "config", "batch"),
    [("trtllm_tinyllama_triton.log", TINY, 2048), ("trtllm_gpt_oss_120b_spark.log", GPT_OSS_HEADS, 64)],
)
def test_attention_workspace(log: str, config: dict[str, Any], batch: int) -> None:
    """The row is the log's, but for the alignment of its 23 buffers."""
    most = rows(proof(config, replace(TRT, max_num_seqs=batch)))["activations/attention_workspace"][1]
    logged = int(read(log, r"increase the size from 0 bytes to (\d+) bytes"))
    assert 0 <= most - logged < 23 * 128


def test_share_of_what_is_free() -> None:
    """0.9 of total less peak, the profiling's own cache given back; 0.9 of what an engine leaves."""
    log = "trtllm_gpt_oss_120b_spark.log"
    peak, total, own = (
        Fraction(read(log, pattern))
        for pattern in (r"torch \+ non-torch\): ([\d.]+)", r"device total memory ([\d.]+)", r"tmp kv_mem ([\d.]+)")
    )
    printed = Fraction(read(log, r"when calculating max tokens: ([\d.]+)"))
    fraction = Fraction(serving(LLAMA_8B).fraction)
    assert abs((total - peak + own) * fraction - printed) < Fraction(2, 100)
    log = "trtllm_engine_memory_doc.log"
    left, given_ = Fraction(read(log, r"available: ([\d.]+)")), Fraction(read(log, r"Allocated ([\d.]+) GiB for max"))
    assert abs(left * fraction - given_) < Fraction(2, 100)


def test_defaults_are_the_logs() -> None:
    resolved = proof(LLAMA_8B, TRT).workload
    log = "trtllm_deepseek_distill_8b.log"
    assert resolved.max_num_seqs == int(read(log, r"max_num_requests=(\d+)"))
    assert resolved.max_num_batched_tokens == int(read(log, r"max_num_tokens=(\d+)"))
    assert resolved.max_model_len == int(read(log, r"max_seq_len=(\d+)"))
    assert (resolved.block_size, resolved.gpu_memory_utilization, resolved.dtype) == (32, "0.9", "bfloat16")


def test_weights_of_a_card() -> None:
    one, eight = (rows(proof(LLAMA_8B, replace(TRT, gpus=n, tensor_parallel_size=n))) for n in (1, 8))
    name = "weights/model.layers.*.mlp.gate_up_proj.weight"
    assert one[name][0] == 8 * eight[name][0] == 32 * 28_672 * 4096 * 2
    tied = rows(proof(LLAMA_8B | {"tie_word_embeddings": True}, TRT))
    assert "weights/lm_head.weight" not in tied
    sixteen = serving(LLAMA_8B, replace(TRT, tensor_parallel_size=16))
    assert sixteen.kv_cache_bytes_per_token == 16 * 32 * 2 * 128 * 2  # a key head of each card's own
    odd = rows(proof(LLAMA_8B | {"vocab_size": 128_257}, replace(TRT, gpus=2, tensor_parallel_size=2)))
    assert odd["weights/lm_head.weight"][0] == 64_129 * 4096 * 2


def test_stages_of_a_pipeline() -> None:
    """The first ones have a layer more; embedding on the first, head on the last."""
    plan = serving(LLAMA_70B, replace(TRT, pipeline_parallel_size=3))
    ledgers = [{term.name for term in ledger} for ledger in plan.ledgers(4096)]
    layers = [term.inputs["layers"] for ledger in plan.ledgers(4096) for term in ledger.group("kv_cache")]
    assert layers == [27, 27, 26]
    assert ["weights/model.embed_tokens.weight" in names for names in ledgers] == [True, False, False]
    assert ["weights/lm_head.weight" in names for names in ledgers] == [False, False, True]


def test_reservation_and_caps() -> None:
    workload = replace(TRT, max_model_len=8192, max_num_seqs=64)
    whole, half = (proof(LLAMA_8B, replace(workload, gpu_memory_utilization=share)).pool for share in ("0.9", "0.45"))
    capped = proof(LLAMA_8B, replace(workload, kv_cache_memory_bytes=4 * GIB)).pool
    blocks = proof(LLAMA_8B, replace(workload, num_gpu_blocks_override=256)).pool
    assert whole is not None
    assert half is not None
    assert capped is not None
    assert blocks is not None
    assert device().capacity_bytes * 9 // 10 < whole.reserved_bytes <= device().capacity_bytes
    assert half.reserved_bytes < whole.reserved_bytes
    assert half.kv_cache_bytes * 2 - whole.kv_cache_bytes <= 2 * 32 * 131_072  # but for whole blocks
    assert (capped.kv_cache_bytes, capped.kv_cache_tokens) == (4 * GIB, 32_768)
    assert (blocks.kv_cache_tokens, blocks.max_concurrency, blocks.starts) == (8192, "1.00", True)
    assert capped.within_budget


def test_a_cache_of_less_than_one_sequence_does_not_serve_it() -> None:
    small = proof(LLAMA_8B, replace(TRT, num_gpu_blocks_override=64)).pool
    assert small is not None
    assert small.starts is False


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"engine_version": "0.21.0"}, "Total Activation Memory"),
        ({"engine_version": "1.0.0"}, "TRTLLMSampler"),
        ({"engine_version": "1.3.0"}, "1.3.0"),
        ({"engine_version": "main"}, "main"),
        ({"data_parallel_size": 2}, "data_parallel_size"),
        ({"quantization": "fp8"}, "fp8"),
        ({"cpu_offload_gb": "4"}, "cpu_offload_gb"),
        ({"enable_expert_parallel": True}, "enable_expert_parallel"),
        ({"attn_implementation": "FLASHINFER"}, "FLASHINFER"),
        ({"kv_cache_dtype": "nvfp4"}, "nvfp4"),
        ({"block_size": 48}, "block_size 48"),
        ({"tensor_parallel_size": 3}, "tp_size 3"),
        ({"pipeline_parallel_size": 33}, "pipeline_parallel_size 33"),
        ({"dtype": "float32"}, "float32"),
        ({"gpu": "t4-16gb"}, "8.0"),
        ({"gpu_memory_utilization": "2"}, "gpu_memory_utilization 2 is not a share"),
    ],
)
def test_refusals_name_the_feature(change: dict[str, Any], named: str) -> None:
    found = proof(LLAMA_8B, replace(TRT, **change))
    assert found.answer is Answer.UNKNOWN
    assert found.reason is not None
    assert named in found.reason


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}, "MixtralForCausalLM"),
        (LLAMA_8B | {"head_dim": 96}, "[96]"),
        (LLAMA_8B | {"quantization_config": {"quant_method": "fp8"}}, "quantization_config"),
        (LLAMA_8B | {"torch_dtype": "float32"}, "float32"),
    ],
)
def test_what_a_config_says_is_refused(config: dict[str, Any], named: str) -> None:
    reason = proof(config, TRT).reason
    assert reason is not None
    assert named in reason


@given(tokens=st.integers(1, 131_072), prefill=st.integers(1, 32_768), batch=st.integers(1, 4096))
@settings(max_examples=40, deadline=None)
def test_more_is_never_less(tokens: int, prefill: int, batch: int) -> None:
    base = replace(TRT, max_model_len=tokens, max_num_batched_tokens=prefill, max_num_seqs=batch)
    most = _upper(base)
    for name, value in (("max_model_len", tokens), ("max_num_batched_tokens", prefill), ("max_num_seqs", batch)):
        more: dict[str, Any] = {name: value + 1 + value // 7}
        assert _upper(replace(base, **more)) >= most
    assert _upper(replace(base, concurrency=2)) >= most


def _upper(workload: Workload) -> int:
    plan = serving(LLAMA_8B, workload)
    return max(ledger.upper_bytes() for ledger in plan.ledgers(plan.tokens))


def test_the_proof_says_what_is_unmeasured() -> None:
    said = proof(LLAMA_8B, TRT).assumptions
    assert any(sentence.startswith("unmeasured: no public start-up log") for sentence in said)
    assert any("free_gpu_memory_fraction" in sentence for sentence in said)
    assert any("max_seq_len is lowered" in sentence for sentence in said)
