"""Cache bytes: equal to the tensors and the storage that transformers' own cache holds after a real forward pass."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import perturb, scores

from vramguard.memory.architecture import Cache, Series, State
from vramguard.memory.cache import cache_bytes, cache_bytes_per_token
from vramguard.memory.expression import evaluate
from vramguard.memory.families import architecture

if TYPE_CHECKING:
    from types import ModuleType

    from vramguard.memory.architecture import Architecture

Config = dict[str, Any]

TABLE = json.loads(Path(__file__).with_name("recorded_parameters.json").read_text(encoding="utf-8"))
PUBLISHED: dict[str, Config] = {model["id"]: model["config"] for model in TABLE["models"]}

SMALL: Config = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 10,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
WINDOW = 36  # one less than the second length that the scoreboard traces
LATE = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
CASES: list[tuple[str, Config]] = [
    ("llama", {}),
    ("llama", {"head_dim": 6, "num_key_value_heads": 1}),
    ("mistral", {"sliding_window": WINDOW}),
    ("mistral", {"sliding_window": WINDOW + 1}),
    ("mistral", {"sliding_window": WINDOW + 2}),
    ("mistral", {"sliding_window": 2}),
    ("mistral", {"sliding_window": None}),
    ("mixtral", {"sliding_window": WINDOW}),
    ("qwen2", LATE),
    ("qwen2_moe", {**LATE, "max_window_layers": 3}),
    ("qwen3", LATE),
    ("qwen3_moe", LATE),
    ("gemma", {"head_dim": 6}),
    ("gemma2", {"head_dim": 6, "sliding_window": WINDOW}),
    ("phi3", {"sliding_window": WINDOW}),
    ("gpt2", {}),
    ("gpt_neox", {}),
    ("falcon", {}),
    ("falcon", {"multi_query": False}),
    ("falcon", {"parallel_attn": False}),
    ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
]
# A class of each other mechanism, with few layers: chunked, latent, latent with an indexer, keys of other layers,
# compressed, the encoder's keys, a recording's, and the states of Mamba, delta rules, convolutions and mixtures.
MECHANISMS = (
    *("Llama4ForCausalLM", "DeepseekV3ForCausalLM", "DeepseekV32ForCausalLM", "Gemma3nForCausalLM"),
    *("DeepseekV4ForCausalLM", "T5ForConditionalGeneration", "WhisperForConditionalGeneration", "MambaForCausalLM"),
    *("Mamba2ForCausalLM", "Qwen3NextForCausalLM", "Lfm2ForCausalLM", "BambaForCausalLM", "JambaForCausalLM"),
    *("KimiLinearForCausalLM", "InklingForCausalLM"),
)
OF_EACH = [(kind, name) for kind, name in scores.pairs() if name in MECHANISMS and kind != "llama4"]


def tensor_bytes(network: Architecture, tokens: int, sequences: int, kv_bits: int) -> int:
    return sum(group.tensor.bytes for group in cache_bytes(network, tokens, sequences, kv_bits))


def storage_bytes(network: Architecture, tokens: int, sequences: int, kv_bits: int) -> int:
    return sum(group.storage.bytes for group in cache_bytes(network, tokens, sequences, kv_bits))


# Without transformers


def test_bytes_per_token_of_llama_3_1_8b() -> None:
    network = architecture(PUBLISHED["meta-llama/Llama-3.1-8B"])
    assert cache_bytes_per_token(network, 16) == 131072
    assert storage_bytes(network, 131072, 1, 16) == 131072 * 131072


def test_bytes_per_token_of_deepseek_v3() -> None:
    """What its report says of multi-head latent attention: 576 numbers a token and layer."""
    network = architecture({"model_type": "deepseek_v3"})
    assert cache_bytes_per_token(network, 16) == 61 * (512 + 64) * 2
    assert storage_bytes(network, 1000, 2, 16) == tensor_bytes(network, 1000, 2, 16) == 2 * 1000 * 61 * 576 * 2


def with_cache(*caches: Cache) -> Architecture:
    return replace(architecture({"model_type": "llama", "num_hidden_layers": 1}), caches=caches)


@pytest.mark.parametrize(
    ("cache", "tokens", "tensors", "storage"),
    [
        # 10 tokens of 8 + 4 elements, 2 bytes each
        (Cache(8, 4), 10, 10 * 12 * 2, 10 * 12 * 2),
        # a window of 4 keeps three tokens for the next, as a view of all
        (Cache(8, 8, window=4), 10, 3 * 16 * 2, 10 * 16 * 2),
        (Cache(8, 8, window=4), 3, 3 * 16 * 2, 3 * 16 * 2),
        # a recording of seven frames, whatever the prompt
        (Cache(8, 8, encoder=True, tokens=7), 10, 7 * 16 * 2, 7 * 16 * 2),
        # states, the second in float32
        (Cache(states=(State(5), State(6, bytes=4))), 10, 5 * 2 + 6 * 4, 5 * 2 + 6 * 4),
        # an indexer's key of each token beside keys and values
        (Cache(8, 4, series=(Series(3),)), 10, 10 * (12 + 3) * 2, 10 * (12 + 3) * 2),
        # an entry of 8 for every 4 tokens: two of ten; the other two tokens wait, 16 elements each, as a view of all
        (Cache(series=(Series(8, 4), Series(16, 4, rest=True))), 10, (2 * 8 + 2 * 16) * 2, (2 * 8 + 10 * 16) * 2),
        (Cache(series=(Series(8, 4), Series(16, 4, rest=True))), 3, 3 * 16 * 2, 3 * 16 * 2),
        # of the entries that fill up only the last is kept, in float32
        (Cache(series=(Series(32, 4, bytes=4, most=1),)), 3, 0, 0),
        (Cache(series=(Series(32, 4, bytes=4, most=1),)), 9, 32 * 4, 32 * 4),
    ],
)
def test_each_part_by_hand(cache: Cache, tokens: int, tensors: int, storage: int) -> None:
    network = with_cache(replace(cache, layers=3))
    assert tensor_bytes(network, tokens, 2, 16) == 3 * 2 * tensors
    assert storage_bytes(network, tokens, 2, 16) == 3 * 2 * storage


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (Cache(8, 4, layers=3), 3 * 12 * 2),
        (Cache(8, 4, window=4), 0),
        (Cache(8, 4, encoder=True), 0),
        (Cache(8, 4, tokens=7), 0),
        (Cache(states=(State(5),)), 0),
        (Cache(8, 4, series=(Series(3),)), (12 + 3) * 2),
        (Cache(series=(Series(8, 4), Series(16, 4, rest=True), Series(32, 4, most=1))), 8 * 2 // 4),
        (Cache(series=(Series(1, 3),)), 1),  # two thirds, rounded up
        (Cache(series=(Series(8, 4, bytes=4),)), 8),
    ],
)
def test_what_one_more_token_adds(cache: Cache, expected: int) -> None:
    assert cache_bytes_per_token(with_cache(cache), 16) == expected


# A prompt that fills an entry leaves no rest: then its tensors hold less, never its storage.
SAWTOOTH = ("deepseek_v4",)


@pytest.mark.parametrize(
    "config",
    [*PUBLISHED.values(), *(perturb.base(*pair) for pair in OF_EACH)],
    ids=[*PUBLISHED, *(name for _, name in OF_EACH)],
)
@settings(max_examples=30)
@given(tokens=st.integers(1, 200_000), sequences=st.integers(1, 64), kv_bits=st.sampled_from([4, 8, 16, 32]))
def test_more_tokens_sequences_or_bits_never_take_less(
    config: Config, tokens: int, sequences: int, kv_bits: int
) -> None:
    network = architecture(config)
    for amount in (tensor_bytes, storage_bytes):
        least = amount(network, tokens, sequences, kv_bits)
        assert least > 0
        if amount is storage_bytes or network.model_type not in SAWTOOTH:
            assert least <= amount(network, tokens + 1, sequences, kv_bits)
        assert least <= amount(network, tokens, sequences + 1, kv_bits)
        assert least <= amount(network, tokens, sequences, kv_bits + 1)
    assert tensor_bytes(network, tokens, sequences, kv_bits) <= storage_bytes(network, tokens, sequences, kv_bits)


@pytest.mark.parametrize(("model_type", "name"), OF_EACH)
def test_formulas_name_only_their_inputs(model_type: str, name: str) -> None:
    groups = cache_bytes(architecture(perturb.base(model_type, name)), 8192, 2, 16)
    assert groups
    for group in groups:
        for amount in (group.tensor, group.storage):
            assert evaluate(amount.formula, amount.inputs) == amount.bytes


# With transformers: it decides


@pytest.fixture(scope="module")
def scoreboard() -> ModuleType:
    pytest.importorskip("torch")
    pytest.importorskip("transformers", minversion="5")
    return import_module("memory.scoreboard")


def name_of(model_type: str) -> str:
    (name,) = (name for kind, name in scores.pairs() if kind == model_type)
    return name


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize(
    "config",
    [
        *({"model_type": kind, "architectures": [name_of(kind)], **SMALL, **more} for kind, more in CASES),
        *(perturb.shallow(perturb.base(*pair)) for pair in OF_EACH),
    ],
    ids=[kind for kind, _ in (*CASES, *OF_EACH)],
)
def test_caches_are_those_of_transformers(scoreboard: ModuleType, config: Config) -> None:
    network = architecture(config)
    assert network.caches
    assert scoreboard.caches(config, network) == []
