"""The SGLang engine against start-up logs that others published, and against what SGLang's own code computes."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from vramguard.checks.vram import device
from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import Ask, engine
from vramguard.memory.engines.sglang.plan import Serving
from vramguard.memory.engines.sglang.profiles import PROFILES, Asked, Card, defaults, profiles
from vramguard.memory.families import architecture
from vramguard.memory.proof import prove
from vramguard.memory.verdict import Answer, Workload

if TYPE_CHECKING:
    from vramguard.memory.ledger import Ledger

GIB = 1 << 30
LOGS = Path(__file__).parents[1] / "receipts" / "sglang"
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "rope_theta": 500000.0, "tie_word_embeddings": False,
}  # fmt: skip
QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864,
    "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
    "max_position_embeddings": 32768, "torch_dtype": "bfloat16", "rope_theta": 1000000.0, "tie_word_embeddings": True,
    "use_sliding_window": False,
}  # fmt: skip
QWEN3_14B = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 5120, "intermediate_size": 17408,
    "num_hidden_layers": 40, "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "max_position_embeddings": 40960, "torch_dtype": "bfloat16", "rope_theta": 1000000, "tie_word_embeddings": False,
    "use_sliding_window": False,
}  # fmt: skip
QWEN3_8B = {
    **QWEN3_14B, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32,
}  # fmt: skip
OLMO3_32B = {
    "architectures": ["Olmo3ForCausalLM"], "model_type": "olmo3", "hidden_size": 5120, "intermediate_size": 27648,
    "num_hidden_layers": 64, "num_attention_heads": 40, "num_key_value_heads": 8, "vocab_size": 100278,
    "max_position_embeddings": 65536, "torch_dtype": "bfloat16", "rope_theta": 500000, "tie_word_embeddings": False,
    "sliding_window": 4096, "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 16,
}  # fmt: skip
GPT_OSS = {
    "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "hidden_size": 2880, "intermediate_size": 2880,
    "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 201088,
    "num_local_experts": 32, "num_experts_per_tok": 4, "max_position_embeddings": 131072, "torch_dtype": "bfloat16",
    "sliding_window": 128, "layer_types": ["sliding_attention", "full_attention"] * 12,
}  # fmt: skip
QWEN3_NEXT = {
    "architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "hidden_size": 2048, "head_dim": 256,
    "intermediate_size": 5120, "num_hidden_layers": 48, "num_attention_heads": 16, "num_key_value_heads": 2,
    "vocab_size": 151936, "max_position_embeddings": 262144, "num_experts": 512, "num_experts_per_tok": 10,
    "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "linear_num_value_heads": 32,
    "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128, "torch_dtype": "bfloat16",
}  # fmt: skip
DEEPSEEK_V3 = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_attention_heads": 128,
    "num_key_value_heads": 128, "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
    "first_k_dense_replace": 3, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "vocab_size": 129280, "max_position_embeddings": 163840,
    "torch_dtype": "bfloat16", "n_group": 8, "topk_group": 4,
    "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"},
}  # fmt: skip
H100 = "h100-sxm5-80gb"


def serve(config: dict[str, Any], gpu: str = H100, **asked: object) -> Serving:
    workload = replace(Workload(engine="sglang"), **asked)  # type: ignore[arg-type]
    runs, network = engine("sglang"), architecture(config)
    runs.refuse(network, workload)
    (dtype,) = runs.dtypes(network, workload)
    plan = runs.plan(Ask(config, network, workload, device(gpu)), dtype)
    assert isinstance(plan, Serving)
    return plan


def upper(plan: Serving, group: str | None = None, tokens: int | None = None) -> int:
    return max(ledger.upper_bytes(group) for ledger in plan.ledgers(tokens or plan.tokens))


def row(ledger: Ledger, name: str) -> int:
    return sum(term.upper_bytes for term in ledger if term.name == name)


class Receipt(NamedTuple):
    """A log, and what was asked for; `page` is the attention backend's, `slack` of the pool at most."""

    log: str
    config: dict[str, Any]
    gpu: str
    asked: dict[str, Any]
    fraction: Fraction
    page: int = 1
    slack: Fraction = Fraction(3, 100)
    cell: int = 0  # bytes of a token in all layers of one card


RECEIPTS = (
    Receipt("qwen3_8b_b200", QWEN3_8B, "b200-180gb", {"engine_version": "0.5.10"}, Fraction("0.854"), 64, cell=147456),
    Receipt("qwen3_8b_b300", QWEN3_8B, "gb300-288gb", {"engine_version": "0.5.12"}, Fraction("0.906"), 64, cell=147456),
    Receipt(
        "olmo3_32b_b200",
        OLMO3_32B,
        "b200-180gb",
        {"engine_version": "0.5.6", "gpu_memory_utilization": "0.8"},
        Fraction("0.8"),
        64,
        cell=262144,
    ),
    Receipt("llama_3_1_8b_h100", LLAMA, H100, {"engine_version": "0.4.6.post5"}, Fraction("0.88"), cell=131072),
    # NCCL takes 2.1 GiB before the weights on 8 x H200, and a few MiB here: a fifth of the pool of a card of 24 GB.
    Receipt(
        "qwen3_14b_rtx4090_tp4",
        QWEN3_14B,
        "rtx-4090-24gb",
        {"engine_version": "0.5.9", "gpu_memory_utilization": "0.8", "tensor_parallel_size": 4},
        Fraction("0.8"),
        slack=Fraction(21, 100),
        cell=40960,
    ),
)
IDS = [receipt.log for receipt in RECEIPTS]


class Log:
    """Figures of a start-up log, in GiB as printed."""

    def __init__(self, name: str) -> None:
        self.text = (LOGS / f"{name}.log").read_text(encoding="utf-8")

    def number(self, pattern: str) -> float | None:
        found = re.search(pattern, self.text)
        return None if found is None else float(found[1])

    def sure(self, pattern: str) -> float:
        found = self.number(pattern)
        assert found is not None, pattern
        return found

    @property
    def loaded(self) -> float:
        return self.sure(r"Load weight end.*avail mem=([\d.]+)")

    @property
    def weights(self) -> float:
        told = self.number(r"Load weight end.*mem usage=([\d.]+) GB")
        return self.sure(r"Load weight begin. avail mem=([\d.]+)") - self.loaded if told is None else told

    @property
    def begun(self) -> float:
        return self.loaded + self.weights

    @property
    def tokens(self) -> int:
        return int(self.number(r"#tokens: (\d+)") or self.sure(r"max_total_num_tokens=(\d+)"))

    @property
    def left(self) -> float:
        """Free memory in the last line that tells it."""
        return float(re.findall(r"(?:avail mem|available_gpu_mem)=([\d.]+)", self.text)[-1])


@pytest.mark.parametrize("receipt", RECEIPTS, ids=IDS)
def test_weights_of_a_log_are_the_rows_and_what_comes_with_the_first_kernels(receipt: Receipt) -> None:
    """The log tells how much less memory is free, which is the weights in whole blocks and some kernel modules."""
    (ledger, *_), measured = serve(receipt.config, receipt.gpu, **receipt.asked).ledgers(1), Log(receipt.log).weights
    assert ledger.lower_bytes("weights") / GIB <= measured + 0.01
    assert ledger.upper_bytes("weights") / GIB <= measured + 0.01
    assert measured <= ledger.upper_bytes("weights") / GIB + 0.25


@pytest.mark.parametrize("receipt", RECEIPTS, ids=IDS)
def test_the_cache_of_a_log_is_tokens_times_the_cell(receipt: Receipt) -> None:
    log, plan = Log(receipt.log), serve(receipt.config, receipt.gpu, **receipt.asked)
    printed = log.sure(r"K size: ([\d.]+)") + log.sure(r"V size: ([\d.]+)")
    one, two = (ledger.lower_bytes("kv_cache") for ledger in (plan.ledgers(1000)[0], plan.ledgers(2000)[0]))
    assert (two - one) // 1000 == receipt.cell
    assert (log.tokens + receipt.page) * receipt.cell / GIB == pytest.approx(printed, abs=0.011)


@pytest.mark.parametrize("receipt", RECEIPTS, ids=IDS)
def test_tokens_follow_from_the_free_memory_of_a_log(receipt: Receipt) -> None:
    """SGLang's own rule, given what the log prints: what is free, less 1 - fraction of what was free at first."""
    log = Log(receipt.log)
    rest = log.loaded - log.begun * (1 - float(receipt.fraction))
    tokens = int(rest * GIB) // receipt.cell // receipt.page * receipt.page
    # The fraction of a card that the log does not name is known to three places, the memory to two.
    assert tokens == pytest.approx(log.tokens, rel=0.0015)


@pytest.mark.parametrize("receipt", RECEIPTS, ids=IDS)
def test_the_pool_of_a_log_lies_between_the_bounds(receipt: Receipt) -> None:
    log, plan = Log(receipt.log), serve(receipt.config, receipt.gpu, **receipt.asked)
    holding = plan.holding(plan.tokens)
    assert holding is not None
    assert plan.fraction[0] <= receipt.fraction <= plan.fraction[1]
    assert holding.tokens <= log.tokens <= min(room.tokens[1] for room in plan.rooms.values())
    assert 1 - Fraction(holding.tokens, log.tokens) <= receipt.slack


@pytest.mark.parametrize("receipt", RECEIPTS, ids=IDS)
def test_what_a_log_left_free_is_not_less_than_proved(receipt: Receipt) -> None:
    log, plan = Log(receipt.log), serve(receipt.config, receipt.gpu, **receipt.asked)
    holding = plan.holding(plan.tokens)
    assert holding is not None
    # A log of an older version tells it before graphs were captured.
    assert holding.reserved_bytes / GIB >= device(receipt.gpu).capacity_bytes / GIB - log.left
    outside = log.begun - log.left - float(receipt.fraction) * log.begun
    assert holding.outside_bytes / GIB >= outside


@pytest.mark.parametrize("receipt", RECEIPTS[:3], ids=IDS[:3])
def test_graphs_of_a_log_fit_into_their_rows(receipt: Receipt) -> None:
    log, plan = Log(receipt.log), serve(receipt.config, receipt.gpu, **receipt.asked)
    (ledger,) = plan.ledgers(plan.tokens)
    assert row(ledger, "runtime/decode_graphs") / GIB >= log.sure(r"Capture cuda graph end.*mem usage=([\d.]+)")
    pieces = log.number(r"Capture piecewise CUDA graph end.*mem usage=([\d.]+)")
    assert row(ledger, "runtime/prefill_graphs") / GIB >= (pieces or 0)


def test_a_small_server_fits_into_its_rows() -> None:
    """Qwen2.5 0.5B with a pool of 20480 tokens: between pool and graphs come tables and workspaces."""
    log = Log("qwen2_5_0_5b_h100")
    plan = serve(QWEN2, max_num_seqs=128, engine_version="0.5.8")
    (ledger,) = plan.ledgers(plan.tokens)
    assert log.weights == pytest.approx(ledger.upper_bytes("weights") / GIB, abs=0.06)
    assert log.sure(r"K size: ([\d.]+)") == pytest.approx(20481 * 24 * 128 * 2 / GIB, abs=0.005)
    assert row(ledger, "runtime/decode_graphs") / GIB >= 0.07
    used = log.begun - log.left - log.weights - 2 * 0.12
    assert ledger.upper_bytes("runtime") / GIB >= used


H100_MIB, T4_MIB, H200_MIB = 81559, 15360, 143771  # nvidia-smi


@pytest.mark.parametrize(
    ("version", "card", "fraction"),
    [
        ("0.4.6.post5", Card(H100_MIB), "0.88"),
        ("0.4.6.post5", Card(H100_MIB, tensor_parallel=8), "0.81"),
        ("0.4.10", Card(H100_MIB), "0.874"),  # 9.5 + 0.5 GiB
        ("0.4.10", Card(T4_MIB), "0.807"),  # 2.8 + 0.1 GiB
        ("0.5.5", Card(H100_MIB), "0.835"),  # 512 + 1.5 * 8192 + 2 * 256 + 128
        ("0.5.5", Card(H200_MIB, tensor_parallel=8), "0.897"),  # 512 + 1.5 * 8192 + 2 * 512 + 1024
        ("0.5.10", Card(H100_MIB), "0.83"),  # 58 sizes of 8 MiB more
        ("0.5.10", Card(H100_MIB, latent=True), "0.816"),  # 1.5 GiB more
        # Halves, where SGLang's own method (run on a stub) says which way they go.
        ("0.4.10", Card(40960, tensor_parallel=4), "0.713"),
        ("0.5.10", Card(288000, stages=4), "0.905"),
        ("0.5.10", Card(T4_MIB), "0.735"),  # 512 + 3072 + 16 + 128 + 42 * 8
    ],
)
def test_fraction_is_what_the_version_computes(version: str, card: Card, fraction: str) -> None:
    (profile,) = profiles(version)
    assert defaults(profile, card, Asked()).fraction == Fraction(fraction)


@pytest.mark.parametrize(
    ("vision", "factor"),
    [
        ({"num_hidden_layers": 24, "hidden_size": 1024}, Fraction(95, 100)),
        ({"num_hidden_layers": 32, "hidden_size": 1280}, Fraction(95, 100) * (1 - (Fraction(25, 12) - 1) / 10)),
        ({"num_hidden_layers": 64, "hidden_size": 4096}, Fraction(76, 100)),
        ({"num_hidden_layers": 24}, Fraction(76, 100)),
    ],
)
def test_a_vision_tower_may_lower_the_fraction(vision: dict[str, int], factor: Fraction) -> None:
    plain, towered = (
        serve(config, engine_version="0.5.10").fraction for config in (LLAMA, LLAMA | {"vision_config": vision})
    )
    assert towered == (plain[0] * factor, plain[1])


def test_a_version_between_two_is_either() -> None:
    between = serve(LLAMA, engine_version="0.5.7")
    ends = [serve(LLAMA, engine_version=version) for version in ("0.5.5", "0.5.10")]
    assert between.fraction == (min(end.fraction[0] for end in ends), max(end.fraction[1] for end in ends))
    assert max(upper(end) for end in ends) <= upper(between) < max(upper(end) for end in ends) * 1.001
    assert any("0.5.7 was not read; it decides as 0.5.5 or 0.5.10" in said for said in between.assumptions(8))


def test_an_unknown_version_is_any() -> None:
    unknown = serve(LLAMA)
    known = [serve(LLAMA, engine_version=profile.name) for profile in PROFILES]
    most = max(upper(plan, "runtime") for plan in known)
    assert most <= upper(unknown, "runtime") < most * 1.001
    lows = [plan.holding(8192) for plan in known]
    mine = unknown.holding(8192)
    assert mine is not None
    assert mine.tokens == min(low.tokens for low in lows if low)
    assert mine.reserved_bytes >= max(low.reserved_bytes for low in lows if low)


GROWING: dict[str, list[dict[str, object]]] = {
    "context": [{"max_model_len": tokens} for tokens in (1024, 1025, 8192, 32768, 131072)],
    "concurrency": [{"concurrency": count} for count in (1, 2, 64, 600)],
    "chunk": [{"max_num_batched_tokens": tokens} for tokens in (2048, 8192, 16384)],
    "requests": [{"max_num_seqs": count} for count in (1, 64, 1024, 4096)],
    "cache bits": [{"kv_cache_dtype": name} for name in ("fp8_e5m2", "auto")],
    "graphs": [{"enforce_eager": eager} for eager in (True, False)],
}


@pytest.mark.parametrize("flag", GROWING)
@pytest.mark.parametrize("config", [LLAMA, GPT_OSS, QWEN3_NEXT], ids=["llama", "gpt-oss", "qwen3-next"])
def test_more_of_anything_never_needs_less(config: dict[str, Any], flag: str) -> None:
    sizes = [upper(serve(config, "b200-180gb", **{"max_model_len": 8192, **asked})) for asked in GROWING[flag]]
    assert all(one <= two for one, two in pairwise(sizes)), sizes


@pytest.mark.parametrize("config", [LLAMA, QWEN3_14B, DEEPSEEK_V3], ids=["llama", "qwen3", "deepseek"])
def test_more_cards_never_hold_more_weights_each(config: dict[str, Any]) -> None:
    for kind in ("tensor_parallel_size", "pipeline_parallel_size"):
        sizes = [upper(serve(config, "h200-141gb", **{kind: cards}), "weights", 1) for cards in (1, 2, 4, 8)]
        assert sizes == sorted(sizes, reverse=True)
        assert len(set(sizes)) == 4


def test_every_layer_keeps_every_token_where_the_class_has_no_second_pool() -> None:
    """Olmo 3 slides in 48 of 64 layers, and SGLang keeps all of them whole."""
    plan = serve(OLMO3_32B, "b200-180gb", block_size=1)
    (ledger,) = plan.ledgers(65536)
    assert row(ledger, "kv_cache/tokens") == 64 * 65537 * 2 * 1024 * 2


def test_sliding_layers_have_a_pool_of_their_own() -> None:
    (ledger,) = serve(GPT_OSS, block_size=1).ledgers(131072)
    assert row(ledger, "kv_cache/sliding") == 12 * 131073 * 1024 * 2
    assert row(ledger, "kv_cache/tokens") == 12 * -(-131073 * 5 // 4) * 1024 * 2
    assert ledger.lower_bytes("kv_cache") == 12 * (128 + 131072) * 1024 * 2


def test_states_have_a_share_of_the_pool() -> None:
    plan = serve(QWEN3_NEXT, "h200-141gb", tensor_parallel_size=2, concurrency=4)
    (ledger,) = plan.ledgers(4096)
    assert row(ledger, "kv_cache/states") >= 4 * 36 * (32 // 2 * 128 * 128 * 4)
    holding = plan.holding(4096)
    assert holding is not None
    assert 0 < holding.concurrency[0] / holding.concurrency[1] < holding.tokens / 4096


def test_a_latent_stands_on_every_card() -> None:
    alone, shared = (
        serve(DEEPSEEK_V3, "h200-141gb", tensor_parallel_size=cards, block_size=1).ledgers(1000)[0] for cards in (1, 8)
    )
    assert row(alone, "kv_cache/tokens") == row(shared, "kv_cache/tokens") == 61 * 1001 * 576 * 2
    assert row(shared, "weights/absorbed_latents") == 61 * 128 // 8 * (128 + 128) * 512 * 2


def test_experts_spread_over_the_cards() -> None:
    spread = serve(DEEPSEEK_V3, "h200-141gb", tensor_parallel_size=8, enable_expert_parallel=True)
    weights = {term.name: term for term in spread.ledgers(1)[0].group("weights")}
    (experts,) = [term for name, term in weights.items() if name.endswith("experts.down_proj/packed")]
    assert experts.lower_bytes == 58 * 32 * 7168 * 2048


def test_the_largest_fraction_keeps_the_reservation_within_the_budget() -> None:
    workload = Workload(engine="sglang", max_model_len=8192, engine_version="0.5.10")
    proof = prove(LLAMA, workload, device(H100), Fraction(8, 10))
    assert proof.pool is not None
    assert not proof.pool.within_budget
    assert proof.pool.largest_utilization is not None
    mended = prove(
        LLAMA, replace(workload, gpu_memory_utilization=proof.pool.largest_utilization), device(H100), Fraction(8, 10)
    )
    assert mended.answer is Answer.FITS
    assert mended.pool is not None
    assert mended.pool.within_budget


def test_a_context_that_the_pool_cannot_hold_does_not_start() -> None:
    plan = serve(LLAMA, "l4-24gb", engine_version="0.5.10")
    holding = plan.holding(131072)
    assert holding is not None
    assert holding.starts is False
    assert holding.refusal is None
    full = serve(QWEN3_14B, "l4-24gb", engine_version="0.5.10").holding(4096)
    assert full is not None
    assert full.refusal is not None
    assert "--mem-fraction-static" in full.refusal


@pytest.mark.parametrize(
    ("config", "gpu", "asked", "named"),
    [
        (LLAMA, H100, {"engine_version": "0.3.0"}, "sglang 0.3.0 was not read"),
        (LLAMA, H100, {"engine_version": "0.9.0"}, "sglang 0.9.0 was not read"),
        (LLAMA, H100, {"engine_version": "main"}, "sglang main"),
        (GPT_OSS, H100, {"engine_version": "0.4.10"}, "no class of its own for GptOssForCausalLM"),
        ({**LLAMA, "architectures": ["BloomForCausalLM"], "model_type": "bloom"}, H100, {}, "no class of its own"),
        (LLAMA, H100, {"cpu_offload_gb": "4"}, "cpu_offload_gb"),
        (LLAMA, H100, {"kv_cache_dtype": "int8"}, "kv_cache_dtype int8"),
        (LLAMA, H100, {"quantization": "fp8"}, "quantization fp8 while loading"),
        (LLAMA, H100, {"gpu_memory_utilization": "1.5"}, "mem_fraction_static 1.5"),
        (LLAMA, H100, {"tensor_parallel_size": 3}, "tensor_parallel_size 3"),
        ({**GPT_OSS, "quantization_config": {"quant_method": "mxfp4"}}, H100, {}, "quantization mxfp4"),
    ],
)
def test_what_is_not_modelled_is_refused_by_name(
    config: dict[str, Any], gpu: str, asked: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnprovenError, match=re.escape(named)):
        serve(config, gpu, **asked).ledgers(1)


def test_cards_of_other_makers_are_refused() -> None:
    other = replace(device(H100), name="other", compute_capability="0.0")
    proof = prove(LLAMA, Workload(engine="sglang"), other, Fraction(8, 10))
    assert proof.answer is Answer.UNKNOWN
    assert proof.reason == "sglang on other is not supported yet, NVIDIA's cards are"


def test_float32_is_halved_unless_it_is_asked_for() -> None:
    runs, network = engine("sglang"), architecture({**LLAMA, "torch_dtype": "float32"})
    assert runs.dtypes(network, Workload()) == ("float16",)
    assert runs.dtypes(network, Workload(dtype="float32")) == ("float32",)
    assert runs.dtypes(architecture(LLAMA), Workload(dtype="auto")) == ("bfloat16",)


def test_resolved_and_assumptions_name_what_was_filled_in() -> None:
    plan = serve(LLAMA, engine_version="0.5.10")
    resolved = plan.resolved(plan.tokens)
    assert (resolved.max_num_batched_tokens, resolved.max_num_seqs, resolved.max_model_len) == (8192, 256, 131072)
    said = " ".join(plan.assumptions(plan.tokens))
    for name in ("dtype", "max_model_len", "concurrency", "max_running_requests", "mem_fraction_static", "page_size"):
        assert f"{name} is not stated" in said
    assert resolved.gpu_memory_utilization == "0.835"
    stated = serve(LLAMA, dtype="bfloat16", max_num_seqs=8, gpu_memory_utilization="0.5", block_size=64, concurrency=2)
    assert " is not stated" not in " ".join(stated.assumptions(8192)).replace(
        "engine_version is not stated", ""
    ).replace("max_model_len is not stated", "")
