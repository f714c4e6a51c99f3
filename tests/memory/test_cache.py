"""Cache bytes: equal to the tensors and the storage that transformers' own cache holds after a real forward pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vramguard.memory.cache import cache_bytes, cache_bytes_per_token, growth_bytes
from vramguard.memory.expression import ceil_div, evaluate
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
    "max_position_embeddings": 64,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 10,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
WINDOW = 5
LATE = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
CASES: list[tuple[str, Config]] = [
    ("llama", {}),
    ("llama", {"head_dim": 6, "num_key_value_heads": 1}),
    ("mistral", {"sliding_window": WINDOW}),
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
LENGTHS = (1, WINDOW - 1, WINDOW, WINDOW + 1, 17)


def tensor_bytes(network: Architecture, tokens: int, sequences: int, kv_bits: int) -> int:
    return sum(group.tensor.bytes for group in cache_bytes(network, tokens, sequences, kv_bits))


def storage_bytes(network: Architecture, tokens: int, sequences: int, kv_bits: int) -> int:
    return sum(group.storage.bytes for group in cache_bytes(network, tokens, sequences, kv_bits))


# Without transformers


def test_bytes_per_token_of_llama_3_1_8b() -> None:
    network = architecture(PUBLISHED["meta-llama/Llama-3.1-8B"])
    assert cache_bytes_per_token(network, 16) == 131072
    assert storage_bytes(network, 131072, 1, 16) == 131072 * 131072


@pytest.mark.parametrize("name", PUBLISHED)
@given(tokens=st.integers(1, 200_000), sequences=st.integers(1, 64), kv_bits=st.sampled_from([4, 8, 16, 32]))
def test_more_tokens_sequences_or_bits_never_take_less(name: str, tokens: int, sequences: int, kv_bits: int) -> None:
    network = architecture(PUBLISHED[name])
    for amount in (tensor_bytes, storage_bytes, lambda *case: growth_bytes(*case).bytes):
        least = amount(network, tokens, sequences, kv_bits)
        assert 0 <= least <= amount(network, tokens + 1, sequences, kv_bits)
        assert least <= amount(network, tokens, sequences + 1, kv_bits)
        assert least <= amount(network, tokens, sequences, kv_bits + 1)
    assert tensor_bytes(network, tokens, sequences, kv_bits) <= storage_bytes(network, tokens, sequences, kv_bits)
    groups = cache_bytes(network, tokens, sequences, kv_bits)
    one_layer = max(ceil_div(group.storage.bytes, group.attention.layers) for group in groups)
    assert growth_bytes(network, tokens, sequences, kv_bits).bytes <= one_layer


def test_formulas_name_only_their_inputs() -> None:
    for group in cache_bytes(architecture(PUBLISHED["google/gemma-2-9b"]), 8192, 2, 16):
        for amount in (group.tensor, group.storage):
            assert evaluate(amount.formula, amount.inputs) == amount.bytes


# With transformers: it decides


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    pytest.importorskip("transformers", minversion="5")
    module: ModuleType = pytest.importorskip("torch")
    return module


def cache_of(torch: ModuleType, config: Config, tokens: int, sequences: int, device: str, dtype: str) -> Any:  # noqa: ANN401 - transformers' Cache
    """Cache of the config's model after a prefill."""
    transformers = pytest.importorskip("transformers")
    made = transformers.AutoConfig.for_model(**config)
    with torch.device(device), torch.no_grad():
        model = transformers.AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype)).eval()
        prompt = torch.ones((sequences, tokens), dtype=torch.long)
        return model(prompt, use_cache=True, logits_to_keep=1).past_key_values


def held(cache: Any, *, sliding: bool) -> tuple[int, int]:  # noqa: ANN401 - transformers' Cache
    """Tensor bytes and storage bytes of the layers that slide, or of those that do not."""
    tensors = [t for layer in cache.layers if layer.is_sliding == sliding for t in (layer.keys, layer.values)]
    return sum(t.numel() * t.itemsize for t in tensors), sum(t.untyped_storage().nbytes() for t in tensors)


def counted(network: Architecture, tokens: int, sequences: int, kv_bits: int, *, sliding: bool) -> tuple[int, int]:
    groups = [
        group
        for group in cache_bytes(network, tokens, sequences, kv_bits)
        if (group.attention.window is not None) == sliding
    ]
    return sum(group.tensor.bytes for group in groups), sum(group.storage.bytes for group in groups)


@pytest.mark.parametrize(("model_type", "changes"), CASES)
@pytest.mark.parametrize("sequences", [1, 3])
def test_cache_of_small_models(torch: ModuleType, model_type: str, changes: Config, sequences: int) -> None:
    config = {"model_type": model_type, **SMALL, **changes}
    network = architecture(config)
    for tokens in LENGTHS:
        cache = cache_of(torch, config, tokens, sequences, "cpu", "float32")
        assert len(cache.layers) == network.layers
        for sliding in (False, True):
            assert counted(network, tokens, sequences, 32, sliding=sliding) == held(cache, sliding=sliding), tokens


@pytest.mark.parametrize(
    "name",
    [
        "meta-llama/Llama-3.1-8B",
        "mistralai/Mistral-7B-v0.1",
        "google/gemma-2-2b",
        "microsoft/Phi-3-mini-4k-instruct",
        "openai-community/gpt2",
        "EleutherAI/pythia-6.9b",
        "tiiuae/falcon-40b",
    ],
)
def test_cache_of_published_models_at_full_context(torch: ModuleType, name: str) -> None:
    network = architecture(PUBLISHED[name])
    cache = cache_of(torch, PUBLISHED[name], network.context, 1, "meta", "bfloat16")
    for sliding in (False, True):
        assert counted(network, network.context, 1, 16, sliding=sliding) == held(cache, sliding=sliding)


def peak_of_step(torch: ModuleType, cache: Any, network: Architecture, sequences: int) -> int:  # noqa: ANN401 - Cache
    """Most bytes of storage alive while one token is added to every layer, not counting the token itself."""
    from torch.multiprocessing.reductions import StorageWeakRef
    from torch.utils._python_dispatch import TorchDispatchMode

    alive: dict[int, tuple[Any, int]] = {}
    peak = 0

    def see(tensor: Any) -> None:  # noqa: ANN401 - a torch.Tensor
        storage = tensor.untyped_storage()
        alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())

    class Watch(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
        def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
            nonlocal peak
            result = func(*args, **(kwargs or {}))
            see(result)
            peak = max(peak, sum(size for ref, size in alive.values() if not ref.expired()))
            return result

    for layer in cache.layers:
        see(layer.keys)
        see(layer.values)
    group = network.attention[0]
    for index in range(network.layers):
        token = torch.zeros((sequences, group.cached_heads, 1, group.head_dim))
        with Watch():
            cache.update(token, token, index)
    return peak


@pytest.mark.parametrize(("model_type", "changes"), CASES)
def test_growth_of_one_step(torch: ModuleType, model_type: str, changes: Config) -> None:
    config = {"model_type": model_type, **SMALL, **changes}
    network = architecture(config)
    element = 32 // 8 * network.attention[0].cached_heads * network.attention[0].head_dim * 2  # of two sequences
    for tokens in LENGTHS[1:]:
        cache = cache_of(torch, config, tokens - 1, 2, "cpu", "float32")
        peak = peak_of_step(torch, cache, network, 2)
        bound = storage_bytes(network, tokens, 2, 32) + growth_bytes(network, tokens, 2, 32).bytes
        window = network.attention[0].window
        if len(network.attention) > 1:
            assert peak <= bound
        elif window is None or tokens <= window:
            assert peak == bound
        else:  # it peaks in the first layer, where the storage of the others lacks the new token
            assert peak == bound - 2 * (network.layers - 1) * element
