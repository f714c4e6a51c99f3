"""TGI: what the launcher decides, what the warm-up leaves, and public start-up logs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama import LLAMA_8B, LLAMA_70B
from memory.engines.serving import GIB, device, proof, read, rows

from vramguard.memory import Answer, Workload
from vramguard.memory.engines import Ask, tgi, tgi_launcher
from vramguard.memory.families import architecture

TGI = Workload(engine="tgi", engine_version="3.3.7")
SWALLOW_7B = LLAMA_8B | {
    "intermediate_size": 11008,
    "num_key_value_heads": 32,
    "vocab_size": 43176,
    "max_position_embeddings": 4096,
}
MISTRAL_7B = LLAMA_8B | {
    "model_type": "mistral",
    "architectures": ["MistralForCausalLM"],
    "vocab_size": 32768,
    "max_position_embeddings": 32768,
    "sliding_window": None,
}
GEMMA_2B = {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"]}


def serving(config: dict[str, Any], workload: Workload = TGI) -> tgi.Serving:
    network = architecture(config)
    ask = Ask(config, network, workload, device(workload.gpu or "h100-sxm5-80gb"))
    found = tgi.plan(ask, *tgi.dtypes(network, workload))
    assert isinstance(found, tgi.Serving)
    return found


@pytest.mark.parametrize(
    ("log", "config", "workload"),
    [
        ("tgi_llama_8b_a10g.log", LLAMA_8B, Workload(engine_version="2.2.0", gpu="a10g-24gb")),
        ("tgi_swallow_7b_a10.log", SWALLOW_7B, Workload(engine_version="2.0.3", gpu="a10-24gb")),
        ("tgi_mistral_7b_a10g.log", MISTRAL_7B, Workload(engine_version="2.0.3", gpu="a10g-24gb")),
    ],
)
def test_the_cache_is_at_least_what_is_predicted(log: str, config: dict[str, Any], workload: Workload) -> None:
    """The log's tokens lie between what is certainly left and what there could be at most."""
    plan = serving(config, replace(workload, engine="tgi"))
    held = plan.holding(plan.tokens)
    measured = int(read(log, r"Setting max batch total tokens to (\d+)"))
    assert held.tokens <= measured <= held.upper_bytes // plan.kv_cache_bytes_per_token
    assert held.tokens >= measured // 2  # what the process takes was measured where it took most
    assert held.starts


def test_defaults_of_the_second_release_are_the_logs() -> None:
    plan = serving(LLAMA_8B, Workload(engine="tgi", engine_version="2.2.0", gpu="a10g-24gb"))
    log = "tgi_llama_8b_a10g.log"
    assert plan.tokens == int(read(log, r"`max_total_tokens` to (\d+)"))
    prefill = int(read(log, r"`max_batch_prefill_tokens` to (\d+)"))
    assert plan.launch.prefill == -(-prefill // 16) * 16
    assert list(tgi_launcher.GRAPHS) == sorted(map(int, read(log, r"for sizes \[(.*)\]").split(", ")))


def test_the_process_is_what_the_log_leaves() -> None:
    """19880 MiB of nvidia-smi are the weights, 19056 tokens of cache, and the row of the process."""
    plan = serving(LLAMA_8B, Workload(engine="tgi", engine_version="2.2.0", gpu="a10g-24gb"))
    weights = sum(term.lower_bytes for term in plan.ledgers(4096)[0].group("weights"))
    cache = int(read("tgi_llama_8b_a10g.log", r"tokens to (\d+)")) * plan.kv_cache_bytes_per_token
    found = rows(proof(LLAMA_8B, plan.ask.workload))
    process = int(read("tgi_llama_8b_a10g.log", r"(\d+)MiB")) * (1 << 20)
    assert weights + cache + found["runtime/process"][1] == process


def test_a_card_without_known_speed_has_the_plain_default_and_flashinfer() -> None:
    """The log of Gemma 3 on two A6000: an unknown card; its own default is that of a vision model."""
    plan = serving(LLAMA_8B, replace(TGI, gpu="rtx-a6000-48gb", tensor_parallel_size=2))
    assert (plan.launch.attention, plan.launch.block) == ("flashinfer", 1)
    assert read("tgi_gemma3_27b_a6000_tp2.log", r"Using attention (\w+)") == "flashinfer"
    assert int(read("tgi_gemma3_27b_a6000_tp2.log", r"KV-cache blocks: \d+, size: (\d+)")) == 1
    assert plan.launch.prefill == 4096 + 128


@pytest.mark.parametrize(
    ("version", "gpu", "attention", "gemma2"),
    [
        ("2.2.0", "l4-24gb", "paged", "paged"),
        ("2.3.1", "l4-24gb", "flashinfer", "flashdecoding"),
        ("2.3.1", "t4-16gb", "flashinfer", "paged"),
        ("2.4.1", "l4-24gb", "flashinfer", "flashinfer"),
        ("3.0.2", "l4-24gb", "flashinfer", "flashinfer"),
    ],
)
def test_attention_by_release(version: str, gpu: str, attention: str, gemma2: str) -> None:
    workload = replace(TGI, engine_version=version, gpu=gpu)
    assert serving(LLAMA_8B, workload).launch.attention == attention
    assert serving({**GEMMA_2B, "head_dim": 256}, workload).launch.attention == gemma2


def test_sizes_of_the_releases_between() -> None:
    """2.3 has the lengths of 2.2; 2.4 reads prompts of 4096 tokens whatever the card, and takes what fits."""
    older, middle, newer = (
        serving(LLAMA_8B, replace(TGI, engine_version=version)).launch for version in ("2.2.0", "2.3.1", "2.4.1")
    )
    assert (middle.max_total_tokens, middle.limited) == (older.max_total_tokens, older.limited) == (4096, True)
    assert middle.prefill == 4096 - 1 + 50
    assert (newer.prefill, newer.limited, newer.max_total_tokens) == (4096 + 128, False, 131_072)


def test_a_release_without_a_class_leaves_it_to_transformers() -> None:
    found = proof(GEMMA_2B, replace(TGI, engine_version="2.0.4"))
    assert "no class of its own" in str(found.reason)
    assert proof(GEMMA_2B, replace(TGI, engine_version="2.3")).reason is None


def test_each_request_of_the_warm_up_has_whole_blocks() -> None:
    """Two requests of 4096 tokens in blocks of 256 take 32 blocks; the row counts at least as many tokens."""
    workload = replace(TGI, engine_version="2.3.1", gpu="l4-24gb", max_model_len=4000)
    plan = serving(GEMMA_2B, workload)
    assert plan.launch.block == 256
    counted = plan._warm_up(4000, tgi._WARM_CACHE).upper_bytes // plan._token_bytes
    assert counted >= 2 * 16 * 256


def test_the_launchers_arithmetic() -> None:
    """900 TFLOPS over 15.0 GFLOP a token; a prompt longer than the config's context never comes."""
    assert serving(LLAMA_8B).launch.prefill - 128 == 59_870 == 900 * 10**12 // _operations(LLAMA_8B)
    short = LLAMA_8B | {"max_position_embeddings": 8192}
    assert serving(short).launch.prefill == 8192 + 128
    two = replace(TGI, tensor_parallel_size=2)
    assert serving(LLAMA_8B, two).launch.prefill - 128 == 2 * 900 * 10**12 // _operations(LLAMA_8B)


def _operations(config: dict[str, Any]) -> int:
    """A second reading of launcher/src/main.rs, Config::flop."""
    head = config["hidden_size"] // config["num_attention_heads"]
    queries = 2 * config["num_attention_heads"] * head * config["hidden_size"]
    keys = 2 * config["num_key_value_heads"] * head * config["hidden_size"]
    mlp = 2 * 3 * config["hidden_size"] * config["intermediate_size"]
    return int(config["num_hidden_layers"] * (3 * queries + 2 * keys + mlp))


def test_all_cards_are_shards_unless_it_is_said() -> None:
    four, one = replace(TGI, gpus=4), replace(TGI, gpus=4, tensor_parallel_size=1)
    assert proof(LLAMA_8B, four).workload.tensor_parallel_size == 4
    assert any("split across all 4 GPUs" in sentence for sentence in proof(LLAMA_8B, four).assumptions)
    assert proof(LLAMA_8B, one).workload.tensor_parallel_size == 1
    older = proof(LLAMA_8B, replace(four, engine_version="3.3.5"))  # which counts `all` as one
    assert (older.answer, "num_shard is not stated" in str(older.reason)) == (Answer.UNKNOWN, True)


def test_weights_of_a_shard() -> None:
    """Embedding with one row more, head apart though tied, each matrix by its share, norms whole."""
    one = rows(proof(LLAMA_8B, TGI))
    assert one["weights/model.embed_tokens.weight"][0] == (128_256 + 1) * 4096 * 2
    tied = rows(proof(LLAMA_8B | {"tie_word_embeddings": True}, TGI))
    assert tied["weights/lm_head.weight"][0] == 128_256 * 4096 * 2
    four = rows(proof(LLAMA_8B, replace(TGI, gpus=4, tensor_parallel_size=4)))
    assert four["weights/model.embed_tokens.weight"][0] == (128_256 // 4 + 1) * 4096 * 2
    qkv = "weights/model.layers.*.self_attn.qkv_proj.weight"
    assert four[qkv][0] * 4 == one[qkv][0] == 32 * 6144 * 4096 * 2
    odd = rows(proof(LLAMA_8B | {"vocab_size": 128_257}, replace(TGI, gpus=2, tensor_parallel_size=2)))
    assert odd["weights/lm_head.weight"][0] == 128_257 * 4096 * 2  # a head that does not divide is whole
    assert odd["weights/model.embed_tokens.weight"][0] == (64_129 + 1) * 4096 * 2


def test_gemmas_norms_are_float32() -> None:
    gemma = architecture(GEMMA_2B)
    found = rows(proof(GEMMA_2B, replace(TGI, max_model_len=1024)))
    assert found["weights/model.norm.weight"][0] == gemma.hidden * 4
    assert serving(GEMMA_2B).loaded.dtype == "bfloat16"


def test_cache_rows() -> None:
    """Whole blocks, every layer full, one block for health checks."""
    paged = replace(TGI, attn_implementation="paged", max_model_len=1000, concurrency=3, kv_cache_dtype="fp8_e5m2")
    low, high = rows(proof(LLAMA_8B, paged))["kv_cache/paged"]
    assert low == 3 * 1008 * 32 * 2 * 1024
    assert high - low == 16 * 32 * 2 * 1024 + 32 * 4 * (1 << 20)
    slides = MISTRAL_7B | {"sliding_window": 4096}
    assert serving(slides).kv_cache_bytes_per_token == 131_072


def test_reservation_follows_the_share() -> None:
    short = replace(TGI, max_num_batched_tokens=2048)
    whole, half = (proof(LLAMA_8B, replace(short, gpu_memory_utilization=share)).pool for share in ("1.0", "0.5"))
    assert whole is not None
    assert half is not None
    capacity = device().capacity_bytes
    assert (whole.within_budget, half.within_budget) == (False, True)
    assert whole.reserved_bytes - half.reserved_bytes == capacity * 9 // 10 - capacity * 9 // 20
    assert capacity * 9 // 10 < whole.reserved_bytes <= capacity


@pytest.mark.parametrize(("version", "share"), [("3.0.1", 95), ("3.1.1", 93), ("3.2.3", 93), ("3.3.7", 90)])
def test_room_by_release(version: str, share: int) -> None:
    pool = proof(LLAMA_8B, replace(TGI, engine_version=version)).pool
    newest = proof(LLAMA_8B, TGI).pool
    assert pool is not None
    assert newest is not None
    more = device().capacity_bytes * (share - 90) // 100
    assert abs(pool.reserved_bytes - newest.reserved_bytes - more) <= 2


def test_what_does_not_fit_does_not_start() -> None:
    small = replace(TGI, gpu="a10g-24gb", max_model_len=131_072, max_num_batched_tokens=1024)
    pool = proof(LLAMA_8B, small).pool
    assert pool is not None
    assert pool.starts is False
    free = proof(LLAMA_8B, replace(small, max_model_len=None)).pool
    assert free is not None
    assert free.starts is True  # max_total_tokens becomes what fits


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"engine_version": "1.4.5"}, "1.4.5"),
        ({"engine_version": "2.5.0"}, "2.5.0"),
        ({"engine_version": "latest"}, "latest"),
        ({"pipeline_parallel_size": 2}, "pipeline_parallel_size"),
        ({"data_parallel_size": 2}, "data_parallel_size"),
        ({"quantization": "eetq"}, "eetq"),
        ({"kv_cache_memory_bytes": 1 << 30}, "kv_cache_memory_bytes"),
        ({"num_gpu_blocks_override": 100}, "num_gpu_blocks_override"),
        ({"cpu_offload_gb": "4"}, "cpu_offload_gb"),
        ({"attn_implementation": "sdpa"}, "sdpa"),
        ({"kv_cache_dtype": "int8"}, "int8"),
        ({"attn_implementation": "flashdecoding", "kv_cache_dtype": "fp8"}, "flashdecoding"),
        ({"tensor_parallel_size": 3}, "num_shard 3"),
        ({"tensor_parallel_size": 16}, "num_shard 16"),
        ({"block_size": 32}, "block_size 32"),
        ({"dtype": "float32"}, "float32"),
        ({"gpu": "v100-16gb"}, "7.5"),
        ({"gpu_memory_utilization": "1.5"}, "1.5"),
        ({"gpu_memory_utilization": "most"}, "most"),
        ({"max_model_len": 256}, "max_model_len 256"),
    ],
)
def test_refusals_name_the_feature(change: dict[str, Any], named: str) -> None:
    found = proof(LLAMA_8B, replace(TGI, **change))
    assert found.answer is Answer.UNKNOWN
    assert found.reason is not None
    assert named in found.reason


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "opt", "architectures": ["OPTForCausalLM"]}, "OPTForCausalLM"),
        (LLAMA_8B | {"head_dim": 64}, "head_dim 64"),
        (LLAMA_8B | {"quantization_config": {"quant_method": "awq"}}, "quantization_config"),
    ],
)
def test_what_a_config_says_is_refused(config: dict[str, Any], named: str) -> None:
    reason = proof(config, TGI).reason
    assert reason is not None
    assert named in reason


@given(
    tokens=st.integers(512, 131_072),
    prefill=st.integers(1, 65_536),
    sequences=st.integers(1, 512),
    attention=st.sampled_from(sorted(tgi_launcher.BLOCKS)),
)
@settings(max_examples=40, deadline=None)
def test_more_is_never_less(tokens: int, prefill: int, sequences: int, attention: str) -> None:
    """Context, prefill, sequences: the upper bound never falls."""
    base = replace(
        TGI,
        max_model_len=tokens,
        max_num_batched_tokens=prefill,
        max_num_seqs=sequences,
        attn_implementation=attention,
    )
    most = _upper(base)
    for name, value in (("max_model_len", tokens), ("max_num_batched_tokens", prefill), ("max_num_seqs", sequences)):
        more: dict[str, Any] = {name: value + 1 + value // 7}
        assert _upper(replace(base, **more)) >= most
    assert _upper(replace(base, concurrency=2)) >= most


def _upper(workload: Workload) -> int:
    plan = serving(LLAMA_8B, workload)
    return plan.ledgers(plan.tokens)[0].upper_bytes()


@pytest.mark.parametrize("config", [LLAMA_8B, LLAMA_70B, MISTRAL_7B, SWALLOW_7B])
def test_more_cards_never_hold_more_each(config: dict[str, Any]) -> None:
    weights = [
        sum(
            term.upper_bytes
            for term in serving(config, replace(TGI, tensor_parallel_size=n)).ledgers(4096)[0].group("weights")
        )
        for n in (1, 2, 4, 8)
    ]
    assert weights == sorted(weights, reverse=True)


def test_assumptions_say_what_the_share_is() -> None:
    said = proof(LLAMA_8B, TGI).assumptions
    assert any("cuda_memory_fraction" in sentence for sentence in said)
    assert not any("engine_version" in sentence for sentence in said)
    unstated = proof(LLAMA_8B, replace(TGI, engine_version=None)).assumptions
    assert (
        "engine_version is not stated; each row is the largest of every release that was read, 2.0 to 3.3" in unstated
    )
    assert set(said) < set(unstated)
    resolved = proof(LLAMA_8B, TGI).workload
    assert (resolved.max_num_seqs, resolved.gpu_memory_utilization, resolved.block_size) == (128, "1.0", 1)
    assert proof(LLAMA_8B, TGI).pool is not None
    assert (
        rows(proof(LLAMA_8B, TGI))["activations/warm_up_logits"][1] > 10 * GIB
    )  # 60 thousand rows of 128 thousand words


def test_the_longest_context_is_asked_with_the_batch_that_it_brings() -> None:
    workload = Workload(engine="tgi", gpu="a100-pcie-40gb", max_model_len=8192)
    longest = proof(LLAMA_8B, workload).max_fitting_model_len or 0
    answers = [proof(LLAMA_8B, replace(workload, max_model_len=longest + more)).answer for more in (0, 1)]
    assert answers == [Answer.FITS, Answer.UNKNOWN]
