"""The traced pass: agrees with PyTorch's own profiler on real runs, and says what it had to assume."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch.profiler import ProfilerActivity, profile  # noqa: E402

from vramguard.trace.forward import trace  # noqa: E402
from vramguard.trace.living import Living  # noqa: E402
from vramguard.trace.record import Allocation, Trace, TraceError  # noqa: E402

# What other libraries warn of is theirs.
pytestmark = pytest.mark.filterwarnings("ignore")

SMALL: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 500}
LLAMA = {"model_type": "llama", **SMALL, "num_key_value_heads": 2, "intermediate_size": 160}
MIXTRAL = {"model_type": "mixtral", **SMALL, "num_key_value_heads": 2, "intermediate_size": 96, "num_local_experts": 4}
GEMMA2 = {
    "model_type": "gemma2",
    **SMALL,
    "num_key_value_heads": 2,
    "intermediate_size": 160,
    "head_dim": 16,
    "sliding_window": 64,
}
GPT2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "vocab_size": 500}
LATENT = {
    "model_type": "deepseek_v3",
    **SMALL,
    "num_key_value_heads": 4,
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "intermediate_size": 160,
    "moe_intermediate_size": 32,
    "n_routed_experts": 8,
    "n_group": 2,
    "topk_group": 2,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
}
HYBRID = {
    "model_type": "qwen3_next",
    **SMALL,
    "num_hidden_layers": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "intermediate_size": 160,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
MAMBA2 = {
    "model_type": "mamba2",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "vocab_size": 500,
    "state_size": 16,
    "num_heads": 8,
    "head_dim": 16,
    "n_groups": 1,
}
BERT = {"model_type": "bert", **SMALL, "intermediate_size": 160, "architectures": ["BertForMaskedLM"]}
T5 = {"model_type": "t5", "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_heads": 4, "vocab_size": 500}
SCALARS = 64  # bytes of numbers inside operations, which no operation returns


def profiled(config: dict[str, Any], tokens: int, sequences: int, implementation: str | None) -> int:
    """Peak of the bytes that PyTorch's allocator gives out in a real run with real weights, from an idle start."""
    parsed = transformers.AutoConfig.for_model(**config)
    asked = {} if implementation is None else {"attn_implementation": implementation}
    model = transformers.AutoModelForCausalLM.from_config(parsed, dtype=torch.float32, **asked).eval()

    def run() -> None:
        given = {"input_ids": torch.full((sequences, tokens), 7)}
        if sequences > 1:
            given["attention_mask"] = torch.ones(sequences, tokens, dtype=torch.long)
            given["attention_mask"][0, 0] = 0  # or the mask would be found to hide nothing
        cache = transformers.DynamicCache(config=parsed)
        model(**given, past_key_values=cache, use_cache=True, logits_to_keep=1)

    with torch.no_grad():
        run()  # tables that are built once
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            run()
    events = sorted((e.start_ns(), e.nbytes()) for e in seen.profiler.kineto_results.events() if e.name() == "[memory]")
    alive = peak = 0
    for _, change in events:
        alive += change
        peak = max(peak, alive)
    return peak


@pytest.mark.parametrize(
    ("config", "sequences", "implementation"),
    [
        (LLAMA, 1, "sdpa"),
        (LLAMA, 1, "eager"),
        (LLAMA, 3, "sdpa"),
        (MIXTRAL, 1, "sdpa"),
        (GEMMA2, 1, "eager"),
        (GPT2, 1, "sdpa"),
        (GPT2, 3, "eager"),
        (HYBRID, 1, "sdpa"),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else str(value),
)
def test_the_profiler_of_a_real_run_agrees(config: dict[str, Any], sequences: int, implementation: str) -> None:
    real = profiled(config, 100, sequences, implementation)
    traced = trace(config, 100, sequences, implementation=implementation, dtype="float32").peak_bytes
    mask = sequences * 8  # the real run writes to the mask that the traced one takes as it is
    assert traced <= real <= traced + SCALARS + mask


def test_the_cache_is_what_the_config_says() -> None:
    seen = trace(LLAMA, 100, 2)
    one_layer = 2 * 2 * 100 * 2 * 16 * 2
    assert seen.by_layer() == {0: one_layer, 1: one_layer, 2: one_layer}
    assert seen.cache_bytes == 3 * one_layer
    held = [item for item in seen.allocations if item.cache == 1]
    assert {(item.shape, item.dtype, item.module, item.died) for item in held} == {
        ((2, 2, 100, 16), "bfloat16", "model.layers.1.self_attn", None)
    }


def test_lifetimes() -> None:
    seen = trace(LLAMA, 100)
    assert seen.peak_bytes == sum(item.bytes for item in seen.live(seen.peak_at)) == max(seen.levels)
    embeddings = next(item for item in seen.allocations if item.module == "model.embed_tokens")
    assert (embeddings.shape, embeddings.operator) == ((1, 100, 64), "aten.embedding.default")
    assert embeddings.bytes == 100 * 64 * 2
    # a name of the model's frame is bound to it until the model returns
    assert embeddings.died is not None
    assert all(
        item.died is None or item.died <= embeddings.died for item in seen.allocations if ".layers." in item.module
    )
    assert {item.module for item in seen.live(seen.operations - 1)} >= {"lm_head"}


def test_weights_are_listed_once_and_in_order() -> None:
    seen = trace({**LLAMA, "tie_word_embeddings": True}, 8)
    assert seen.weights[0] == 500 * 64 * 2
    linear = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160
    counted = 500 * 64 + 3 * (linear + 2 * 64) + 64
    assert sum(seen.weights) == 2 * counted + 2 * 4 * 8  # rotary frequencies, twice, in float32


def test_an_address_that_was_a_tables_is_counted_again() -> None:
    """A table of positions that is too short is replaced; what is made at its address next is an activation."""
    living = Living(10, 10)
    tables = [torch.zeros(1000) for _ in range(20)]
    living.ignore(tables)
    with living:
        del tables
        made = [torch.ones(1000) for _ in range(40)]
    assert len(living.finished().allocations) == len(made)


def test_a_step_sees_the_cache_before_it() -> None:
    prefill, step = trace(LLAMA, 100), trace(LLAMA, 1, past=100)
    assert step.cache_bytes == prefill.cache_bytes * 101 // 100
    before = [item for item in step.allocations if item.operator == "cache"]
    assert sum(item.bytes for item in before) == prefill.cache_bytes
    assert all(item.born == 0 and item.died is not None for item in before)
    assert step.peak_bytes < prefill.peak_bytes


def test_a_step_sees_what_the_encoder_returned() -> None:
    held = [item for item in trace(T5, 1, past=40).allocations if item.operator == "encoder"]
    assert [(item.shape, item.born, item.died) for item in held] == [((1, 40, 64), 0, None)]


def test_flash_attention_takes_no_mask_and_copies_what_is_padded() -> None:
    single = trace(LLAMA, 100, implementation="flash_attention_2")
    assert single.peak_bytes == trace(LLAMA, 100).peak_bytes
    padded = trace(LLAMA, 100, 3, implementation="flash_attention_2")
    attention = [item for item in padded.allocations if item.module == "model.layers.0.self_attn"]
    assert [item.shape for item in attention].count(
        (300, 4, 16)
    ) == 3  # queries without padding, output, and that with padding
    assert not any(item.shape[-2:] == (100, 100) for item in padded.allocations if len(item.shape) > 1)
    assert any("nonzero finds 300 of 300" in what for what in padded.assumed)


def test_flash_attention_only_where_it_is_supported() -> None:
    with pytest.raises(TraceError, match="Mamba2ForCausalLM does not support flash_attention_2"):
        trace(MAMBA2, 16, implementation="flash_attention_2")


def test_keys_and_values_of_different_widths_need_no_scores() -> None:
    narrow = {**LATENT, "v_head_dim": 32}  # queries and keys have 32: PyTorch's CPU has a kernel
    for config in (LATENT, narrow):
        seen = trace(config, 100)
        assert not any(item.shape[-2:] == (100, 100) for item in seen.allocations if len(item.shape) == 4)
    assert any("efficient_attention" in item.operator for item in trace(LATENT, 100).allocations)


@pytest.mark.parametrize(
    "config",
    [HYBRID, MAMBA2, BERT, T5, LATENT, {"model_type": "bart", "d_model": 64, "encoder_layers": 2, "decoder_layers": 2}],
    ids=lambda config: str(config["model_type"]),
)
def test_every_kind_of_network_is_traced(config: dict[str, Any]) -> None:
    one, three = trace(config, 40), trace(config, 40, 3)
    assert 0 < one.activation_bytes < three.activation_bytes
    cached = config["model_type"] != "bert"
    assert (one.cache_bytes > 0) is cached
    assert one.assumed == ()
    if cached:
        assert trace(config, 1, past=40).cache_bytes >= one.cache_bytes


def test_every_expert_may_see_every_token() -> None:
    eager = {**MIXTRAL, "experts_implementation": "eager"}
    seen = trace(eager, 100)
    experts = [
        item for item in seen.allocations if item.module == "model.layers.0.mlp.experts" and item.dtype == "bfloat16"
    ]
    assert max(item.shape[0] for item in experts if len(item.shape) == 2) == 100
    assert any("nonzero finds 100 of 200" in what for what in seen.assumed)
    # the loop needs less at once than the grouped product, which gathers every (token, choice) pair
    assert seen.peak_bytes < trace(MIXTRAL, 100).peak_bytes


def test_what_a_checkpoint_keeps_in_float32_is_kept() -> None:
    seen = trace({**T5, "architectures": ["T5ForConditionalGeneration"]}, 10, dtype="float16")
    wide = [item for item in seen.allocations if item.module.endswith("DenseReluDense.wo")]
    assert {item.dtype for item in wide} == {"float32"}


def test_logits() -> None:
    last, every = trace(LLAMA, 100), trace(LLAMA, 100, logits_to_keep=None)
    shapes = {seen: {item.shape for item in seen.allocations if item.module == "lm_head"} for seen in (last, every)}
    assert (1, 500) in shapes[last]
    assert (100, 500) in shapes[every]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "nonsense"}, "no model type nonsense"),
        ({**LLAMA, "architectures": ["LlamaForNothing"]}, "no class LlamaForNothing"),
        ({**LLAMA, "hidden_size": 65}, "LlamaForCausalLM|llama"),
        ({**LLAMA, "quantization_config": {"quant_method": "fp8"}}, "quantizer"),
        ({"model_type": "vit"}, "vit: AttributeError"),
    ],
)
def test_what_cannot_be_traced_says_why(config: dict[str, Any], words: str) -> None:
    with pytest.raises(TraceError, match=words):
        trace(config, 10)


def test_no_pass_at_all() -> None:
    for tokens, sequences, past in ((0, 1, 0), (1, 0, 0), (1, 1, -1)):
        with pytest.raises(TraceError, match="no pass"):
            trace(LLAMA, tokens, sequences, past=past)


def test_a_pass_of_too_many_operations_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vramguard.trace.living.MOST_OPERATIONS", 100)
    with pytest.raises(TraceError, match="more than 100 operations"):
        trace(LLAMA, 10)


def test_nothing_is_left_behind() -> None:
    attention, swap = torch.nn.functional.scaled_dot_product_attention, torch.utils.swap_tensors
    trace(LLAMA, 10)
    with pytest.raises(TraceError):
        trace({**LLAMA, "hidden_size": 65}, 10)
    assert torch.nn.functional.scaled_dot_product_attention is attention
    assert torch.utils.swap_tensors is swap
    assert not torch.nn.modules.module._global_forward_pre_hooks
    assert not torch.nn.modules.module._global_forward_hooks


def test_an_empty_trace() -> None:
    empty = Trace((), 0)
    assert (empty.peak_bytes, empty.peak_at, empty.cache_bytes, empty.activation_bytes) == (0, 0, 0, 0)
    only = Allocation(8, (1,), "int64", "", "aten.zeros", 0, None, 3)
    assert Trace((only,), 1).activation_bytes == 0
