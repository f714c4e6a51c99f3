"""llama.cpp: its own loader's and scheduler's bytes, its logs, and what must hold of any plan."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama import LLAMA_8B
from memory.engines import serving

from vramguard.memory import Answer, Workload
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, engine
from vramguard.memory.engines.llama_cpp.files import FILES
from vramguard.memory.engines.llama_cpp.layout import FAMILIES
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from vramguard.memory.engines import Plan
    from vramguard.memory.ledger import Ledger

MIB = 1 << 20
RECORDED = json.loads((Path(__file__).parent / "recorded_llama_cpp.json").read_text(encoding="utf-8"))
# Files whose types depend on no importance matrix; where queries, keys and values are one matrix, on no older rule.
EXACT = (("F16", "Q8_0", "Q2_K", "Q3_K_M", "Q4_K_S", "Q4_K_M", "Q5_K_M", "Q6_K"), ("F16", "Q8_0", "Q6_K"))
FUSED = ("phi3", "gpt_neox")
COMPUTE = ("activations/inputs", "activations/layer", "activations/largest")


def plan(config: dict[str, Any], workload: Workload, gpu: str = "h100-sxm5-80gb") -> Plan:
    network, runs = architecture(config), engine("llama.cpp")
    runs.refuse(network, workload)
    return runs.plan(Ask(config, network, workload, serving.device(gpu)), runs.dtypes(network, workload)[0])


def ledger(config: dict[str, Any], workload: Workload, gpu: str = "h100-sxm5-80gb") -> Ledger:
    found = plan(config, workload, gpu)
    (only,) = found.ledgers(found.tokens)
    return only


def on_card(rows: Ledger) -> tuple[int, int]:
    """Bytes of weights on the card, at least and at most."""
    held = [term for term in rows.group("weights") if not term.name.endswith(".host")]
    return sum(term.lower_bytes for term in held), sum(term.upper_bytes for term in held)


def compute(rows: Ledger) -> int:
    return sum(term.upper_bytes for term in rows if term.name in COMPUTE)


@pytest.mark.parametrize("network", RECORDED["networks"], ids=lambda network: str(network["config"]["model_type"]))
def test_llama_cpp_itself_allocates_what_the_ledger_says(network: dict[str, Any]) -> None:
    """Recorded from llama.cpp over a card that allocates nothing: weights, cache, and the compute buffer."""
    for file, case, model, cached, reserved in network["rows"]:
        rows = ledger(network["config"], Workload(quantization=file, **RECORDED["cases"][case]))
        where = f"{file} {RECORDED['cases'][case]}"
        least, most = on_card(rows)
        assert least <= model <= most, where
        if network["config"]["model_type"] != "gemma3_text" and file in EXACT[network["config"]["model_type"] in FUSED]:
            assert least == most, where
        assert rows.lower_bytes("kv_cache") <= cached <= rows.upper_bytes("kv_cache"), where
        assert reserved <= compute(rows), where


def test_every_family_and_every_file_that_needs_no_matrix_is_recorded() -> None:
    found = {network["config"]["model_type"] for network in RECORDED["networks"]}
    assert found == set(FAMILIES)
    files = {row[0] for network in RECORDED["networks"] for row in network["rows"]}
    assert set(FILES) - files == {"F32", "BF16", "MXFP4_MOE"}


PYTHIA = {
    "model_type": "gpt_neox",
    "architectures": ["GPTNeoXForCausalLM"],
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 10240,
    "vocab_size": 50304,
    "max_position_embeddings": 2048,
    "rotary_pct": 0.25,
    "torch_dtype": "float16",
    "tie_word_embeddings": False,
}
TRILM = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 3072,
    "intermediate_size": 9216,
    "num_hidden_layers": 30,
    "num_attention_heads": 24,
    "num_key_value_heads": 24,
    "vocab_size": 50688,
    "max_position_embeddings": 2048,
    "torch_dtype": "float16",
}
DISTILLED = LLAMA_8B | {
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    }
}
LOGS = {
    "b4897_q8_0": (PYTHIA, "Q8_0", "v100-16gb"),
    "b4897_q6_k": (PYTHIA, "Q6_K", "v100-16gb"),
    "b4897_q4_k_m": (PYTHIA, "Q4_K_M", "v100-16gb"),
    "2024_f16": (TRILM, "F16", "h100-sxm5-80gb"),
    "ollama_2025_q4_k_m": (DISTILLED, "Q4_K_M", "h100-sxm5-80gb"),
}


@pytest.mark.parametrize("name", LOGS)
def test_public_logs_agree(name: str) -> None:
    """Model and cache to the printed rounding, the compute buffer never above the bound, which is within 0.2 GiB."""
    config, file, gpu = LOGS[name]
    log = f"llama_cpp_{name}.log"
    size = r"CUDA0 {}buffer size = +([0-9.]+) MiB"
    model, cached, reserved = (
        Fraction(serving.read(log, size.format(kind))) for kind in ("(?:model )?", "KV ", "compute ")
    )
    context, batch = (int(serving.read(log, rf"{key} += ([0-9]+)")) for key in ("n_ctx", "n_ubatch"))
    workload = Workload(
        quantization=file,
        max_model_len=context,
        max_num_seqs=1,
        max_num_batched_tokens=batch,
        attn_implementation="off",
    )
    rows = ledger(config, workload, gpu)
    rounding = Fraction(1, 200)
    assert rows.lower_bytes("weights") <= (model + rounding) * MIB
    assert rows.upper_bytes("weights") >= (model - rounding) * MIB
    if name != "b4897_q4_k_m":  # whose fused queries, keys and values are of an older rule
        assert rows.lower_bytes("weights") == rows.upper_bytes("weights")
    assert rows.lower_bytes("kv_cache") == rows.upper_bytes("kv_cache") == cached * MIB
    assert reserved * MIB <= compute(rows) <= (reserved + 205) * MIB


def test_layers_on_the_host_are_named_and_not_on_the_card() -> None:
    asked = Workload(quantization="Q8_0", max_model_len=4096)
    whole, part, none = (plan(LLAMA_8B, replace(asked, n_gpu_layers=layers)) for layers in (-1, 16, 0))
    (all_rows,), (rows,), (left,) = (found.ledgers(4096) for found in (whole, part, none))
    held = on_card(all_rows)[1]
    assert whole.offload_bytes == 0
    assert on_card(rows)[1] + part.offload_bytes == held == none.offload_bytes
    assert rows.upper_bytes("weights") == held
    assert 32 * rows.upper_bytes("kv_cache") == 15 * all_rows.upper_bytes("kv_cache")  # -ngl counts the output
    assert on_card(left) == (0, 0)
    assert left.upper_bytes("kv_cache") == 0


def test_llama_8b_in_bfloat16_by_hand() -> None:
    found = plan(LLAMA_8B, Workload(max_model_len=8192))
    (rows,) = found.ledgers(8192)
    layer = 2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096
    assert rows.lower_bytes("weights") == 2 * (32 * layer + 128256 * 4096) + 4 * 65 * 4096
    assert rows.lower_bytes("kv_cache") == 32 * 2 * 1024 * 8192 * 2
    assert found.model_weight_bytes == rows.lower_bytes("weights") + 2 * 128256 * 4096
    assert found.kv_cache_bytes_per_token == 32 * 2 * 1024 * 2


def test_a_packed_row_ends_where_the_allocator_says() -> None:
    """Q8_0 rows of 576 values lack 448 to a multiple of 512, once for each tensor."""
    config = LLAMA_8B | {"hidden_size": 576, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    rows = {term.name: term.upper_bytes for term in ledger(config, Workload(quantization="Q8_0", max_model_len=256))}
    packed = (576 * 576 + 448) // 32 * 34
    assert rows["weights/attn_q.q8_0"] == 32 * -(-packed // 128) * 128


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "cards": ({"gpus": 2}, "over 2 GPUs"),
    "tp": ({"tensor_parallel_size": 2}, "tensor_parallel_size 2"),
    "file": ({"quantization": "UD-Q4_K_XL"}, "UD-Q4_K_XL"),
    "flag": ({"quantization": "awq"}, "awq"),
    "cache": ({"kv_cache_dtype": "fp8"}, "fp8"),
    "values": ({"kv_cache_dtype": "q8_0", "attn_implementation": "off"}, "flash attention"),
    "attention": ({"attn_implementation": "sdpa"}, "sdpa"),
    "old": ({"engine_version": "b4897"}, "b4897"),
    "layers": ({"n_gpu_layers": -3}, "n_gpu_layers -3"),
    "draft": ({"num_speculative_tokens": 4}, "num_speculative_tokens"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_modelled_is_refused_by_name(case: str) -> None:
    asked, named = REFUSED[case]
    with pytest.raises(UnprovenError, match=named):
        plan(LLAMA_8B, Workload(**asked))


@pytest.mark.parametrize("model_type", ["gpt2", "mamba", "qwen3_next", "t5"])
def test_a_network_whose_conversion_is_not_followed_is_unknown(model_type: str) -> None:
    with pytest.raises(UnprovenError, match=f"{model_type} is not followed"):
        plan({"model_type": model_type}, Workload(max_model_len=256))


def test_a_network_without_its_own_head_where_llama_cpp_wants_one_is_unknown() -> None:
    with pytest.raises(UnprovenError, match="gptneox has no head"):
        plan(PYTHIA | {"tie_word_embeddings": True}, Workload())


def test_a_checkpoint_that_is_packed_already() -> None:
    packed = {"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "num_hidden_layers": 24}
    packed |= {"num_local_experts": 32, "torch_dtype": "bfloat16", "quantization_config": {"quant_method": "mxfp4"}}
    rows = {term.name for term in ledger(packed, Workload(max_model_len=256))}
    assert {"weights/ffn_up_exps.mxfp4", "weights/attn_q.bf16", "weights/output.bf16"} <= rows
    with pytest.raises(UnprovenError, match="Q4_K_M of a checkpoint in mxfp4"):
        ledger(packed, Workload(quantization="Q4_K_M", max_model_len=256))
    with pytest.raises(UnprovenError, match="checkpoint in awq"):
        ledger(LLAMA_8B | {"quantization_config": {"quant_method": "awq"}}, Workload(max_model_len=256))


@pytest.mark.parametrize(
    ("outer", "name", "inner"),
    [
        ("gemma3", "Gemma3ForConditionalGeneration", {"model_type": "gemma3_text"}),
        ("mistral3", "Mistral3ForConditionalGeneration", {"model_type": "mistral"}),
    ],
)
def test_a_file_of_a_class_with_pictures_has_the_language_model_alone(
    outer: str, name: str, inner: dict[str, Any]
) -> None:
    heads = {"num_hidden_layers": 12, "sliding_window": 512}
    config = {"model_type": outer, "architectures": [name], "text_config": inner | heads, "torch_dtype": "bfloat16"}
    alone = {"gemma3": "Gemma3ForCausalLM", "mistral3": "MistralForCausalLM"}[outer]
    text = inner | heads | {"architectures": [alone], "tie_word_embeddings": True, "torch_dtype": "bfloat16"}
    asked = Workload(max_model_len=4096, quantization="Q8_0")
    assert [*ledger(config, asked)] == [*ledger(text, asked)]


def test_the_verdict_and_what_it_rests_on() -> None:
    found = serving.proof(LLAMA_8B, Workload(engine="llama.cpp", quantization="Q4_K_M", max_model_len=8192))
    assert found.answer is Answer.FITS
    assert found.pool is None
    assert found.workload.quantization == "Q4_K_M"
    assert found.workload.n_gpu_layers == 33
    said = "\n".join(found.assumptions)
    for part in (
        "engine_version",
        "concurrency",
        "max_num_seqs is not stated; 4 slots",
        "flash attention is auto",
        "--fit",
    ):
        assert part in said
    assert "quantization is not stated" not in said


def test_what_was_resolved_proves_the_same() -> None:
    for asked in (Workload(max_model_len=5000), Workload(max_num_seqs=3, n_gpu_layers=9, attn_implementation="off")):
        found = plan(LLAMA_8B, asked)
        again = plan(LLAMA_8B, found.resolved(found.tokens))
        assert [*again.ledgers(again.tokens)[0]] == [*found.ledgers(found.tokens)[0]]


def test_an_open_dtype_is_judged_in_each() -> None:
    config = {key: value for key, value in LLAMA_8B.items() if key not in ("torch_dtype", "dtype")}
    network, runs = architecture(config), engine("llama.cpp")
    assert runs.dtypes(network, Workload()) == ("float16", "bfloat16", "float32")
    assert runs.dtypes(network, Workload(quantization="Q8_0")) == ("float16",)


@settings(max_examples=60, deadline=None)
@given(
    file=st.sampled_from(sorted(FILES)),
    context=st.integers(1, 200_000),
    more=st.integers(1, 100_000),
    slots=st.none() | st.integers(1, 16),
    batch=st.integers(1, 4096),
    attention=st.sampled_from((None, "off")),
)
def test_more_context_slots_and_batch_never_take_less(
    file: str, context: int, more: int, slots: int | None, batch: int, attention: str | None
) -> None:
    asked = Workload(
        quantization=file,
        max_model_len=context,
        max_num_seqs=slots,
        max_num_batched_tokens=batch,
        attn_implementation=attention,
    )
    rows = ledger(LLAMA_8B, asked)
    for grown in (
        replace(asked, max_model_len=context + more),
        replace(asked, max_num_batched_tokens=batch + 64),
        replace(asked, max_num_seqs=(slots or 0) + 20),
    ):
        assert ledger(LLAMA_8B, grown).upper_bytes() >= rows.upper_bytes()
    assert on_card(ledger(LLAMA_8B, replace(asked, n_gpu_layers=7)))[1] <= on_card(rows)[1]


@settings(max_examples=60, deadline=None)
@given(layers=st.integers(0, 40), file=st.sampled_from(sorted(FILES)))
def test_one_more_layer_on_the_card_is_one_less_on_the_host(layers: int, file: str) -> None:
    asked = Workload(quantization=file, max_model_len=1024, n_gpu_layers=layers)
    here, there = plan(LLAMA_8B, asked), plan(LLAMA_8B, replace(asked, n_gpu_layers=layers + 1))
    assert here.offload_bytes >= there.offload_bytes
    (fewer,), (more,) = here.ledgers(1024), there.ledgers(1024)
    assert on_card(fewer)[1] + here.offload_bytes == on_card(more)[1] + there.offload_bytes


def test_a_card_that_only_half_the_layers_fit_leans_on_the_host() -> None:
    asked = Workload(engine="llama.cpp", gpu="l4-24gb", quantization="F16", max_model_len=2048)
    assert serving.proof(LLAMA_8B, asked, Fraction(1, 2)).answer is Answer.EXCEEDS
    found = serving.proof(LLAMA_8B, replace(asked, n_gpu_layers=20), Fraction(1, 2))
    assert found.answer is not Answer.FITS or found.offload_bytes > 0
