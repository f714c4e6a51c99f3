"""Proofs of training: what stands in their ledgers, what they refuse, and that more never needs less."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import pytest

from vramguard.memory import Answer, Device, Kind, Proof, Workload, evaluate, prove
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.training import recorded
from vramguard.memory.training.adapters import default_targets

DEVICE = Device("card", 80 << 30, "a test", 0, 1 << 30, "a test")
LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
    "num_attention_heads": 32, "num_key_value_heads": 4, "num_hidden_layers": 22, "vocab_size": 32000,
    "max_position_embeddings": 2048, "torch_dtype": "bfloat16",
}  # fmt: skip
PARAMETERS = 1_100_048_384


def proof(config: dict[str, Any] = LLAMA, **workload: Any) -> Proof:  # noqa: ANN401 - fields of Workload
    asked: dict[str, Any] = {"mode": "training", "max_model_len": 1024, "per_device_train_batch_size": 2} | workload
    return prove(config, Workload(**asked), DEVICE, Fraction(4, 5))


def rows(found: Proof, group: str) -> dict[str, int]:
    return {term.name: term.upper_bytes for term in found.ledger if term.group == group}


def test_weights_gradients_and_states_are_exact() -> None:
    found = proof()
    assert found.totals is not None
    totals = found.totals
    assert (totals.weights_bytes, totals.gradient_bytes, totals.optimizer_bytes) == tuple(
        PARAMETERS * size for size in (2, 2, 4)
    )
    kinds = {term.kind for term in found.ledger if term.group in ("weights", "gradients", "optimizer")}
    assert kinds == {Kind.EXACT}
    assert found.answer is Answer.FITS
    assert totals.peak_upper_bytes == sum(term.upper_bytes for term in found.ledger)


def test_each_row_is_what_its_formula_gives() -> None:
    for found in (
        proof(),
        proof(gpus=8, zero_stage=3, bf16=True),
        proof(lora_rank=8, lora_target_modules="all-linear"),
    ):
        for term in found.ledger:
            assert evaluate(term.formula, term.inputs) == term.upper_bytes
            assert term.lower_bytes <= term.upper_bytes


@pytest.mark.parametrize(
    ("optim", "states"),
    [
        ("adamw_torch", 4), ("adamw_torch_fused", 4), ("sgd", 0), ("rmsprop", 2), ("adagrad", 2), ("lion_32bit", 4),
        ("paged_adamw_32bit", 8),
    ],
)  # fmt: skip
def test_bytes_of_states_for_each_element(optim: str, states: int) -> None:
    found = proof(optim=optim)
    assert found.totals is not None
    assert found.totals.optimizer_bytes == PARAMETERS * states


def test_states_of_eight_bits_are_wide_for_embeddings_and_small_weights() -> None:
    found = rows(proof(optim="adamw_bnb_8bit"), "optimizer")
    embedding, head = 32000 * 2048, "optimizer/lm_head.weight"
    assert found["optimizer/model.embed_tokens.weight"] == embedding * 8
    assert found[head] == 2 * (embedding + 4 * embedding // 256)
    assert found["optimizer/model.norm.weight"] == 2048 * 8


def test_paged_states_may_be_elsewhere() -> None:
    assert {term.lower_bytes for term in proof(optim="paged_adamw_8bit").ledger.group("optimizer")} == {0}


def test_adafactor_keeps_a_row_and_a_column() -> None:
    assert rows(proof(optim="adafactor"), "optimizer")["optimizer/lm_head.weight"] == 4 * (32000 + 2048)


def test_adapters_alone_are_trained() -> None:
    found = proof(lora_rank=16, lora_target_modules="q_proj,v_proj", gradient_checkpointing=True)
    assert found.totals is not None
    thin = 22 * 16 * ((2048 + 2048) + (2048 + 256))
    assert found.totals.gradient_bytes == thin * 4
    assert found.totals.optimizer_bytes == thin * 8
    assert found.totals.weights_bytes == PARAMETERS * 2 + thin * 4
    wide = proof(lora_rank=16, lora_target_modules="all-linear", gradient_checkpointing=True)
    assert wide.totals is not None
    assert wide.totals.gradient_bytes == 4 * 22 * 16 * (2 * 4096 + 2 * 2304 + 3 * 7680)


def test_a_packed_base_is_trained_through_adapters() -> None:
    found = proof(quantization="bnb-nf4", lora_rank=8, lora_target_modules="q_proj", bf16=True)
    assert found.totals is not None
    assert found.totals.weights_bytes < PARAMETERS * 2
    assert "activations/bitsandbytes" in rows(found, "activations")


def test_peft_chooses_modules_that_nobody_names() -> None:
    chosen = proof(lora_rank=8)
    assert chosen.totals == proof(lora_rank=8, lora_target_modules="q_proj,v_proj").totals
    assert any("q_proj,v_proj is assumed, as peft does for llama" in one for one in chosen.assumptions)
    with pytest.raises(UnprovenError, match="peft chooses none for 'granite'"):
        default_targets("granite")


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        ({"optim": "lomo"}, "optim lomo"),
        ({"lora_rank": 8, "lora_target_modules": "c_attn"}, "no linear module 'c_attn'"),
        ({"quantization": "bnb-nf4"}, "are trained with adapters"),
        ({"quantization": "bnb-int8", "lora_rank": 8, "lora_target_modules": "q_proj"}, "quantization bitsandbytes"),
        ({"attn_implementation": "flash_attention_2"}, "flash_attention_2 is not recorded"),
        ({"engine": "vllm"}, "engine vllm does not train"),
        ({"zero_stage": 4, "gpus": 8}, "zero_stage 4"),
        ({"zero_stage": 2, "fsdp": "full_shard", "gpus": 8}, "both stated"),
        ({"zero_stage": 2, "gpus": 8}, "needs bf16 or fp16"),
        ({"zero_stage": 2, "gpus": 8, "bf16": True, "optim": "adamw_8bit"}, "is not known"),
        ({"fsdp": "hybrid_shard", "gpus": 8}, "fsdp hybrid_shard"),
        ({"bf16": True, "fp16": True}, "both stated"),
        ({"gpus": 2, "tensor_parallel_size": 2}, "tensor_parallel_size 2"),
        ({"per_device_train_batch_size": 0}, "not a positive number"),
    ],
)
def test_what_is_not_known_is_named(workload: dict[str, Any], reason: str) -> None:
    found = proof(**workload)
    assert found.answer is Answer.UNKNOWN
    assert reason in str(found.reason)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]}, "is not recorded"),
        ({"hidden_act": "gelu_new"}, "recorded with silu, not with gelu_new"),
        ({"attention_dropout": 0.1, "attn_implementation": "eager"}, "without attention_dropout"),
    ],
)
def test_a_network_that_was_not_recorded_is_named(change: dict[str, Any], reason: str) -> None:
    found = proof({**LLAMA, **change})
    assert found.answer is Answer.UNKNOWN
    assert reason in str(found.reason)


@pytest.mark.parametrize("more", [
    {}, {"bf16": True}, {"gradient_checkpointing": True}, {"gradient_accumulation_steps": 4},
    {"gpus": 4}, {"gpus": 4, "zero_stage": 2, "bf16": True}, {"gpus": 4, "fsdp": "full_shard auto_wrap", "bf16": True},
    {"lora_rank": 8, "lora_target_modules": "all-linear"},
])  # fmt: skip
def test_longer_sequences_and_larger_batches_need_no_less(more: dict[str, Any]) -> None:
    last = 0
    for tokens, batch in ((64, 1), (65, 1), (512, 1), (512, 2), (2048, 2), (2048, 9)):
        found = proof(max_model_len=tokens, per_device_train_batch_size=batch, **more)
        assert found.totals is not None, found.reason
        assert found.totals.peak_upper_bytes >= last
        last = found.totals.peak_upper_bytes


def test_cards_share_what_is_divided() -> None:
    sizes = {}
    for stage in (1, 2, 3):
        found = proof(gpus=8, zero_stage=stage, bf16=True, gradient_checkpointing=True)
        assert found.totals is not None, found.reason
        sizes[stage] = found.totals
        assert found.totals.optimizer_bytes == 12 * -(-(PARAMETERS + 4096) // 8)
    assert sizes[1].weights_bytes == sizes[2].weights_bytes == PARAMETERS * 2
    assert sizes[1].gradient_bytes > sizes[2].gradient_bytes
    plain, buckets = proof(), proof(gpus=2)
    assert plain.totals is not None
    assert buckets.totals is not None
    assert buckets.totals.gradient_bytes == 2 * plain.totals.gradient_bytes


def test_checkpointing_needs_less_and_accumulation_more() -> None:
    plain, less = proof(), proof(gradient_checkpointing=True)
    more = proof(gradient_accumulation_steps=2)
    peaks = [found.totals.peak_upper_bytes for found in (less, plain, more) if found.totals]
    assert peaks == sorted(peaks)


def test_what_is_assumed_is_said() -> None:
    said = " ".join(proof(optim=None).assumptions)
    assert "optim is not stated; adamw_torch_fused is assumed" in said
    assert "transformers' Trainer" in said


@pytest.mark.parametrize("model_type", recorded.families())
def test_recorded_moments_grow(model_type: str) -> None:
    row = recorded._load(model_type)
    assert row is not None
    for way in row["regimes"].values():
        for moment in way["moments"]:
            for table in (moment["bytes"], moment["gradients"]):
                assert all(isinstance(times, int) and times > 0 for times in table.values())
        assert prod(way["tensors"]) > 0
