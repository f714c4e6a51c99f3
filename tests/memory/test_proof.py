"""The verdicts: anchors whose integers can be checked by hand, what is refused, and what must hold of any proof."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama import LLAMA_8B, LLAMA_70B
from memory import perturb, scores

from vramguard.checks.vram import device as catalogued
from vramguard.data import gpus
from vramguard.memory import Answer, Device, Kind, Proof, Workload, evaluate, prove
from vramguard.memory.families import architecture
from vramguard.memory.weights import Loaded, load, scheme_of, weights

MISTRAL = LLAMA_8B | {
    "model_type": "mistral",
    "architectures": ["MistralForCausalLM"],
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}
GPT2 = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}
MIXTRAL = MISTRAL | {
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "sliding_window": None,
    "num_hidden_layers": 2,
}
BUDGET = Fraction(4, 5)


def device(name: str = "h100-sxm5-80gb") -> Device:
    return catalogued(name)


def proof(config: dict[str, Any], workload: Workload | None = None, gpu: str = "h100-sxm5-80gb") -> Proof:
    return prove(config, workload or Workload(), device(gpu), BUDGET)


def test_a_config_that_asks_for_no_cache_proves_no_excess_by_one() -> None:
    """A generation_config.json may or may not turn the cache on: it counts in the upper bound only."""
    cached, uncached = (proof(LLAMA_8B | {"use_cache": use}, gpu="a100-sxm4-40gb") for use in (True, False))
    assert (cached.answer, uncached.answer) == (Answer.EXCEEDS, Answer.UNKNOWN)
    assert cached.totals is not None
    assert uncached.totals is not None
    assert cached.totals.peak_upper_bytes == uncached.totals.peak_upper_bytes
    assert cached.totals.peak_lower_bytes - uncached.totals.peak_lower_bytes == cached.totals.kv_cache_bytes


def test_llama_8b_fits_an_h100_at_full_context() -> None:
    found = proof(LLAMA_8B)
    assert found.answer is Answer.FITS
    assert found.budget_bytes == 67_942_087_655
    assert found.budget_fraction == "0.80"
    assert found.parameters == found.active_parameters == 8_030_261_248
    assert found.model_weight_bytes == 16_060_522_496
    assert found.kv_cache_bytes_per_token == 131_072
    assert found.totals is not None
    assert found.totals.weights_bytes == 16_060_522_496
    assert found.totals.kv_cache_bytes == 17_179_869_184
    # 4 hidden and 3 intermediate vectors of each token, and the small rows
    assert found.totals.activation_bytes >= 131072 * 2 * (4 * 4096 + 3 * 14336)
    assert found.headroom_bytes == found.budget_bytes - found.totals.peak_upper_bytes
    assert found.max_fitting_model_len == 131_072
    assert found.min_fitting_gpus == 1
    assert found.pool is None


@pytest.mark.parametrize(("gpu", "spilled"), [("h100-sxm5-80gb", 38), ("a100-sxm4-40gb", 61)])
def test_llama_70b_exceeds_one_card(gpu: str, spilled: int) -> None:
    """Whole layers, the norm and the head leave the card, on which the largest layer keeps room for its return."""
    found = proof(LLAMA_70B, Workload(device_map="auto"), gpu)
    assert found.answer is Answer.EXCEEDS
    layer, head, norm = 2 * (2 * 8192 * 9216 + 3 * 8192 * 28672 + 2 * 8192), 2 * 128256 * 8192, 2 * 8192
    assert found.spill_bytes == spilled * layer + head + norm
    free = device(gpu).capacity_bytes
    assert (
        80 * layer + 2 * head + norm - free
        < found.spill_bytes
        < 80 * layer + 2 * head + norm - free + 3 * head + 4 * layer
    )
    assert found.max_fitting_model_len == 0
    assert found.min_fitting_gpus is None
    assert str(found.budget_bytes) in (found.reason or "")


def test_nothing_spills_without_device_map() -> None:
    assert proof(LLAMA_70B).spill_bytes == 0
    assert proof(LLAMA_8B, Workload(device_map="auto")).spill_bytes == 0


def test_workload_is_resolved() -> None:
    workload = proof(LLAMA_8B).workload
    assert (workload.engine, workload.mode, workload.gpu, workload.gpus) == (
        "transformers",
        "inference",
        "h100-sxm5-80gb",
        1,
    )
    assert (workload.dtype, workload.kv_cache_dtype, workload.attn_implementation) == ("bfloat16", "bfloat16", "sdpa")
    assert (workload.max_model_len, workload.concurrency) == (131_072, 1)


def test_every_default_is_an_assumption() -> None:
    assumed = "\n".join(proof(LLAMA_8B).assumptions)
    for word in (
        "gpu is not",
        "engine is not",
        "engine_version is",
        "dtype is",
        "attn_",
        "max_model_len",
        "concurrency",
    ):
        assert word in assumed
    for word in ("sole tenant", "no leak", "fragmentation", "last token"):
        assert word in assumed
    said = Workload(
        engine="transformers",
        engine_version="5.23.0",
        gpu="h100-sxm5-80gb",
        dtype="bfloat16",
        attn_implementation="sdpa",
        max_model_len=8192,
        concurrency=2,
    )
    assert "not stated" not in "\n".join(proof(LLAMA_8B, said).assumptions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "mlc"}, "engine mlc"),
        ({"mode": "distillation"}, "mode distillation"),
        ({"engine_version": "4.44.0"}, "transformers 4.44.0"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size 2"),
        ({"pipeline_parallel_size": 4}, "pipeline_parallel_size 4"),
        ({"quantization": "awq"}, "quantization awq: the config has no quantization_config"),
        ({"quantization": "q4"}, "quantization 'q4' is not known"),
        ({"kv_cache_dtype": "fp8"}, "kv_cache_dtype fp8"),
        ({"dtype": "int8"}, "dtype int8"),
        ({"attn_implementation": "flex_attention"}, "flex_attention"),
        ({"max_model_len": 0}, "max_model_len 0"),
        ({"concurrency": -1}, "concurrency -1"),
    ],
)
def test_unsupported_is_unknown_and_named(changes: dict[str, Any], message: str) -> None:
    found = proof(LLAMA_8B, Workload(**changes))
    assert found.answer is Answer.UNKNOWN
    assert message in (found.reason or "")
    assert found.totals is None
    assert found.parameters == 8_030_261_248


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"model_type": "clip"},
        {"model_type": "bert"},  # causal or masked?
        {"model_type": 3},
        LLAMA_8B | {"hidden_size": "x"},
        LLAMA_8B | {"vocab_size": 10**80},
        LLAMA_8B | {"quantization_config": "awq"},
        LLAMA_8B | {"quantization_config": {"quant_method": "awq", "bits": 5}},
        LLAMA_8B | {"quantization_config": {"quant_method": "unheard-of"}},
    ],
)
def test_bad_config_is_unknown(config: dict[str, Any]) -> None:
    found = proof(config)
    assert found.answer is Answer.UNKNOWN
    assert found.reason


def test_a_class_without_a_longest_context_needs_one() -> None:
    mamba = perturb.base("mamba", "MambaForCausalLM")
    found = proof(mamba, Workload(dtype="bfloat16"))
    assert found.answer is Answer.UNKNOWN
    assert found.reason == "neither the workload nor the config of a mamba names a context"
    assert proof(mamba, Workload(dtype="bfloat16", max_model_len=4096)).answer is Answer.FITS


# Of Llama 8B: weights of the projections, rows and columns of them all together, and the bytes of all else.
LINEAR = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336)
ROWS = 32 * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096)
COLUMNS = 32 * (4 * 4096 + 2 * 4096 + 14336)
MATRICES = 32 * 7
REST = 2 * (2 * 128256 * 4096 + 65 * 4096)
CT: dict[str, Any] = {
    "quant_method": "compressed-tensors",
    "quantization_status": "compressed",
    "ignore": ["lm_head"],
}
W4 = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}
W8 = {"num_bits": 8, "type": "float", "strategy": "channel"}
A8 = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}


def grouped(**group: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return CT | {"config_groups": {"group_0": {"targets": ["Linear"], **group}}}


@pytest.mark.parametrize(
    ("quantization", "expected"),
    [
        # packed, a scale in float32 for 64 weights, the code book of each matrix
        ("nf4", LINEAR // 2 + 4 * LINEAR // 64 + 64 * MATRICES),
        # a scale in float32 for each row
        ("int8", LINEAR + 4 * ROWS),
        # packed, and a scale and a zero point for 128 weights
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, LINEAR // 2 + 2 * LINEAR // 128 + LINEAR // 256),
        # the same, and the group of each column
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128},
            LINEAR // 2 + 2 * LINEAR // 128 + LINEAR // 256 + 4 * COLUMNS,
        ),
        # a scale in float32 for each block of 128 x 128
        ({"quant_method": "fp8"}, LINEAR + 4 * LINEAR // 128**2),
        # the first pass unpacks the weights and keeps the scales: of 128 weights, with both sizes of each matrix ...
        (grouped(weights=W4), 2 * LINEAR + 2 * LINEAR // 128 + 16 * MATRICES),
        # ... or of each row
        (grouped(weights=W8, input_activations=A8), 2 * LINEAR + 2 * ROWS),
    ],
    ids=["nf4", "int8", "awq", "gptq", "fp8", "compressed-tensors-w4", "compressed-tensors-w8a8"],
)
def test_quantized_weights_decide(quantization: str | dict[str, Any], expected: int) -> None:
    flag, given = (quantization, None) if isinstance(quantization, str) else (None, quantization)
    config = LLAMA_8B | {"quantization_config": given}
    found = proof(config, Workload(quantization=flag, max_model_len=8192))
    assert found.model_weight_bytes == expected + REST
    assert found.answer is Answer.FITS
    assert found.workload.quantization is not None
    assert found.parameters == 8_030_261_248
    assert proof(config, Workload(quantization=flag, max_model_len=1_000_000)).answer is Answer.EXCEEDS


def test_quantizing_makes_70b_fit() -> None:
    assert proof(LLAMA_70B, Workload(max_model_len=8192)).answer is Answer.EXCEEDS
    assert proof(LLAMA_70B, Workload(max_model_len=8192, quantization="nf4")).answer is Answer.FITS


def test_a_flag_that_contradicts_the_config_is_unknown() -> None:
    given = LLAMA_8B | {"quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128}}
    assert "contradicts" in (proof(given, Workload(quantization="nf4")).reason or "")


def loaded(model_type: str, name: str, dtype: str, flag: str | None = None) -> Loaded:
    network = architecture(perturb.base(model_type, name))
    return load(network, dtype, scheme_of({}, flag), (9, 0))


@pytest.mark.parametrize(("model_type", "name"), scores.SAMPLE)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_quantizing_never_adds_weights(model_type: str, name: str, dtype: str) -> None:
    """Scales and code books of no class outweigh what packing its matrices saves."""
    dense = sum(term.upper_bytes for term in weights(loaded(model_type, name, dtype)))
    for flag in ("nf4", "bnb-nf4-dq", "bnb-fp4", "int8"):
        assert sum(term.upper_bytes for term in weights(loaded(model_type, name, dtype, flag))) < dense


@pytest.mark.parametrize(
    ("model_type", "name", "dtype", "pattern", "wide"),
    [
        ("t5", "T5ForConditionalGeneration", "float16", "DenseReluDense.wo.", True),
        ("t5", "T5ForConditionalGeneration", "bfloat16", "DenseReluDense.wo.", False),
        ("t5", "T5ForConditionalGeneration", "float16", "DenseReluDense.wi.", False),
        ("ernie4_5_moe", "Ernie4_5_MoeForCausalLM", "bfloat16", "e_score_correction_bias", True),
        ("ernie4_5_moe", "Ernie4_5_MoeForCausalLM", "bfloat16", "mlp.experts.", False),
    ],
)
def test_some_weights_stay_wide(model_type: str, name: str, dtype: str, pattern: str, wide: bool) -> None:  # noqa: FBT001
    rows = [term for term in weights(loaded(model_type, name, dtype)) if pattern in term.name]
    assert rows
    assert {term.inputs["bytes"] for term in rows} == {4 if wide else 2}
    wider = {term.inputs["bytes"] for term in weights(loaded(model_type, name, "float32"))}
    assert wider == {4}


def test_large_tables_beside_the_weights_are_rows() -> None:
    found = proof(perturb.base("gptj", "GPTJForCausalLM"), Workload(dtype="float16", max_model_len=64))
    rows = {term.name: term for term in found.ledger}
    (table,) = (name for name in rows if name.startswith("runtime/buffers/"))
    # sines and cosines of 64 dimensions at 2048 positions in each of 28 layers, in float32 whatever the dtype
    assert rows[table].lower_bytes == rows[table].upper_bytes == 28 * 2048 * 64 * 4
    assert rows["runtime/small_buffers"].upper_bytes == 28 * 2 * 4096 * 4 + (1 << 20)


def test_learned_positions_end() -> None:
    assert "1024 positions" in (proof(GPT2, Workload(max_model_len=2048)).reason or "")
    assert proof(LLAMA_8B, Workload(max_model_len=140_000)).answer is Answer.FITS


def test_open_dtype() -> None:
    """GPT-2's config names none: it fits whatever the dtype; Llama 8B at full context only in half precision."""
    small = proof(GPT2)
    assert small.answer is Answer.FITS
    assert small.workload.dtype == "float32"
    assert "named nowhere" in small.assumptions[0]
    between = proof({key: value for key, value in LLAMA_8B.items() if key != "torch_dtype"})
    assert between.answer is Answer.UNKNOWN
    assert "dtype" in (between.reason or "")
    large = proof({key: value for key, value in LLAMA_70B.items() if key != "torch_dtype"})
    assert large.answer is Answer.EXCEEDS
    assert large.workload.dtype in ("float16", "bfloat16")


def test_between_the_bounds_is_unknown() -> None:
    found = proof(LLAMA_8B, Workload(max_model_len=250_000))
    assert found.totals is not None
    assert found.totals.peak_lower_bytes <= found.budget_bytes < found.totals.peak_upper_bytes
    assert found.answer is Answer.UNKNOWN
    assert "lies between" in (found.reason or "")


def test_longest_context_is_exact() -> None:
    found = proof(LLAMA_8B, gpu="a100-sxm4-40gb")
    longest = found.max_fitting_model_len
    assert longest is not None
    assert proof(LLAMA_8B, Workload(max_model_len=longest), "a100-sxm4-40gb").answer is Answer.FITS
    assert proof(LLAMA_8B, Workload(max_model_len=longest + 1), "a100-sxm4-40gb").answer is not Answer.FITS


def test_sliding_cache_counts_its_storage() -> None:
    found = proof(MISTRAL)
    (row,) = found.ledger.group("kv_cache")
    assert row.kind is Kind.BOUND
    assert row.upper_bytes == 2 * 32 * 8 * 128 * 2 * 32768
    assert row.lower_bytes == 2 * 32 * 8 * 128 * 2 * 4095


def test_loading_counts_where_the_cache_is_small() -> None:
    rows = {term.name: term for term in proof(MIXTRAL, Workload(max_model_len=16)).ledger}
    assert rows["runtime/loading"].upper_bytes > 3 * 10**9
    rows = {term.name: term for term in proof(MIXTRAL).ledger}
    assert rows["runtime/loading"].upper_bytes == 0


def test_turing_has_no_fused_kernel_for_bfloat16() -> None:
    small = LLAMA_8B | {"num_hidden_layers": 2, "vocab_size": 32000, "max_position_embeddings": 4096}
    names = [term.name for term in proof(small, gpu="t4-16gb").ledger]
    assert "activations/cuda_math_attention" in names
    assert "activations/cuda_math_attention" not in [term.name for term in proof(small).ledger]


def test_flags_of_other_engines_are_named() -> None:
    assumed = proof(LLAMA_8B, Workload(max_num_seqs=256, gpu_memory_utilization="0.9")).assumptions
    assert "max_num_seqs 256 has no effect on transformers" in assumed
    assert "gpu_memory_utilization 0.9 has no effect on transformers" in assumed


def test_budget_is_a_share() -> None:
    for budget in (Fraction(0), Fraction(5, 4)):
        with pytest.raises(ValueError, match="not a share"):
            prove(LLAMA_8B, Workload(), device(), budget)
    third = prove(LLAMA_8B, Workload(), device(), Fraction(1, 3))
    assert third.budget_fraction == "1/3"
    assert prove(LLAMA_8B, Workload(), device(), Fraction(3, 4)).budget_fraction == "0.75"
    assert prove(LLAMA_8B, Workload(), device(), Fraction(1)).budget_fraction == "1.00"


CONFIGS = st.sampled_from(
    [LLAMA_8B, LLAMA_70B, MISTRAL, GPT2, MIXTRAL, *(perturb.base(*pair) for pair in scores.SAMPLE)]
)
TOKENS = st.integers(1, 1024) | st.integers(1, 200_000)


@given(CONFIGS, TOKENS, st.integers(1, 16), st.sampled_from(sorted(gpus())), st.sampled_from(["sdpa", "eager"]))
@settings(deadline=None)  # the first example of a class reads its formulas from disk
def test_answer_follows_from_the_ledger(
    config: dict[str, Any], tokens: int, concurrency: int, gpu: str, implementation: str
) -> None:
    workload = Workload(
        dtype="bfloat16", max_model_len=tokens, concurrency=concurrency, attn_implementation=implementation
    )
    found = proof(config, workload, gpu)
    if found.totals is None:
        assert found.answer is Answer.UNKNOWN
        assert found.reason
        return
    for term in found.ledger:
        assert evaluate(term.formula, term.inputs) == term.upper_bytes
        assert evaluate(term.lower_formula or term.formula, term.inputs) == term.lower_bytes
        assert term.kind is Kind.EXACT or term.source or term.group in ("activations", "runtime")
    assert len({term.name for term in found.ledger}) == len(found.ledger.terms)
    lower, upper = found.totals.peak_lower_bytes, found.totals.peak_upper_bytes
    assert lower == sum(term.lower_bytes for term in found.ledger)
    assert upper == sum(term.upper_bytes for term in found.ledger)
    assert (found.answer is Answer.FITS) == (upper <= found.budget_bytes)
    assert (found.answer is Answer.EXCEEDS) == (lower > found.budget_bytes)


@pytest.mark.parametrize("pair", scores.SAMPLE, ids=str)
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 1024), st.integers(1, 8), st.integers(0, 100_000), st.integers(0, 8), st.data())
def test_more_never_needs_less(
    pair: tuple[str, str], tokens: int, sequences: int, more_tokens: int, more_sequences: int, data: st.DataObject
) -> None:
    config = perturb.base(*pair)
    network = architecture(config)
    limit = network.context if network.learned_positions else 10**9
    kernel = data.draw(st.sampled_from([None, "eager"]))
    small = Workload(
        dtype="float16", max_model_len=min(tokens, limit), concurrency=sequences, attn_implementation=kernel
    )
    large = replace(small, concurrency=sequences + more_sequences, max_model_len=min(tokens + more_tokens, limit))
    first, second = proof(config, small).totals, proof(config, large).totals
    wide = proof(config, replace(small, dtype="float32")).totals
    assert first is not None
    assert second is not None
    assert wide is not None
    assert first.peak_upper_bytes <= min(second.peak_upper_bytes, wide.peak_upper_bytes)
    assert first.peak_lower_bytes <= min(second.peak_lower_bytes, wide.peak_lower_bytes)


def test_a_flat_config_of_a_class_with_parts_needs_what_the_nested_one_does() -> None:
    """Older configs have the language model's keys beside the others; recorded formulas name them as its part's."""
    path = Path(__file__).parents[1] / "catalogue" / "Qwen--Qwen2.5-VL-7B-Instruct.json"
    flat = json.loads(path.read_text("utf-8"))
    outer = ("architectures", "model_type", "vision_config", "torch_dtype", "tie_word_embeddings")
    kept = {key: flat[key] for key in flat if key in outer or key.endswith("_token_id")}
    nested = kept | {"text_config": {key: flat[key] for key in flat if key not in kept}}
    found, same = (proof(config, Workload(max_model_len=4096)).totals for config in (flat, nested))
    assert found is not None
    assert found == same
