"""A network that no family knows, by the table of its tensors: what it takes at least, and never that it fits."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any, NamedTuple

import pytest

from vramguard import data
from vramguard.memory import Answer, Device, Workload, prove, weigh

LAYERS, HIDDEN, KV, WIDTH, VOCAB = 40, 8192, 8, 128, 100_000
CONFIG: dict[str, Any] = {
    "architectures": ["NovelForCausalLM"],
    "model_type": "novel",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HIDDEN // WIDTH,
    "num_key_value_heads": KV,
    "max_position_embeddings": 32768,
    "torch_dtype": "bfloat16",
}


class Row(NamedTuple):
    name: str
    shape: tuple[int, ...]
    copies: int = 1


ROWS = (
    Row("model.embed_tokens.weight", (VOCAB, HIDDEN)),
    Row("model.layers.*.self_attn.k_proj.weight", (KV * WIDTH, HIDDEN), LAYERS),
    Row("model.layers.*.self_attn.v_proj.weight", (KV * WIDTH, HIDDEN), LAYERS),
    Row("model.layers.*.mlp.up.weight", (65536, HIDDEN), LAYERS),
)
ELEMENTS = VOCAB * HIDDEN + 2 * KV * WIDTH * HIDDEN * LAYERS + 65536 * HIDDEN * LAYERS
CACHE = 2 * LAYERS * KV * WIDTH * 2  # bytes of a token


def weighed(gpu: str, config: dict[str, Any] | None = None, rows: tuple[Row, ...] = ROWS, **asked: Any) -> Any:  # noqa: ANN401
    row = data.gpu(gpu)
    assert row is not None
    device = Device(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Device)})
    given = {**CONFIG, **(config or {})}
    proof = prove(given, Workload(gpu=gpu, **asked), device, Fraction(4, 5))
    assert proof.parameters is None
    return weigh(proof, given, rows)


def test_weights_over_the_budget_exceed_with_their_row() -> None:
    proof = weighed("a100-sxm4-40gb")
    assert proof.answer is Answer.EXCEEDS
    assert proof.parameters == ELEMENTS
    assert proof.totals.weights_bytes == ELEMENTS * 2
    assert proof.totals.peak_lower_bytes == ELEMENTS * 2 + CACHE * 32768
    assert {term.name for term in proof.ledger} == {"weights/table", "kv_cache/confirmed"}
    assert proof.headroom_bytes < 0


def test_what_stays_within_is_unknown_and_never_fits() -> None:
    proof = weighed("h200-141gb", max_model_len=1024)
    assert proof.answer is Answer.UNKNOWN
    assert proof.totals is None
    assert f"{ELEMENTS * 2 + CACHE * 1024} bytes" in proof.reason
    assert "model_type 'novel' is not supported" in proof.reason


def test_a_cache_that_the_table_confirms_may_decide() -> None:
    within = weighed("h200-141gb", max_model_len=1024)
    over = weighed("h200-141gb", max_model_len=32768, concurrency=20)
    assert (within.answer, over.answer) == (Answer.UNKNOWN, Answer.EXCEEDS)
    assert over.totals.kv_cache_bytes == CACHE * 32768 * 20


@pytest.mark.parametrize(
    "change",
    [
        {"num_key_value_heads": 4},
        {"head_dim": 64},
        {"num_hidden_layers": 20},
        {"sliding_window": 4096},
        {"layer_types": ["full_attention"]},
        {"kv_lora_rank": 512},
        {"num_key_value_heads": None},
    ],
)
def test_a_cache_that_the_table_does_not_confirm_is_not_counted(change: dict[str, Any]) -> None:
    proof = weighed("a100-sxm4-40gb", change)
    assert {term.name for term in proof.ledger} == {"weights/table"}


def test_an_eight_bit_cache_takes_half() -> None:
    one, two = (weighed("a100-sxm4-40gb", kv_cache_dtype=kind) for kind in ("fp8", None))
    assert one.totals.kv_cache_bytes * 2 == two.totals.kv_cache_bytes


@pytest.mark.parametrize("cards", [{"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, {"gpus": 4}])
def test_several_cards_share_the_least(cards: dict[str, Any]) -> None:
    proof = weighed("t4-16gb", **cards)
    assert proof.totals.peak_lower_bytes == -(-ELEMENTS * 2 // 4) + -(-CACHE * 32768 // 4)


def test_without_a_dtype_the_least_is_two_bytes() -> None:
    assert weighed("a100-sxm4-40gb", {"torch_dtype": None}).totals.weights_bytes == ELEMENTS * 2
    assert weighed("a100-sxm4-40gb", dtype="float32").totals.weights_bytes == ELEMENTS * 4


@pytest.mark.parametrize(
    ("config", "asked", "words"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, {}, "a quantizer packs them"),
        ({}, {"quantization": "awq"}, "a quantizer packs them"),
        ({}, {"cpu_offload_gb": "10"}, "cpu_offload_gb may leave some of them off the card"),
        ({}, {"device_map": "auto"}, "device_map may leave some of them off the card"),
        ({}, {"mode": "training"}, "mode training"),
    ],
)
def test_what_may_stand_elsewhere_is_not_counted(config: dict[str, Any], asked: dict[str, Any], words: str) -> None:
    proof = weighed("a100-sxm4-40gb", config, **asked)
    assert proof.answer is Answer.UNKNOWN
    assert words in proof.reason
