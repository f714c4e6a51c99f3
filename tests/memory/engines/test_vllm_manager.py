"""The KV-cache manager's replica against what real start-ups of vLLM printed, and against vLLM's own functions."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.shards import Rank, ranks
from vramguard.memory.engines.vllm.layout import Check, Kind, Layers, Manager, Options, Spec
from vramguard.memory.engines.vllm.manager import KVCache, plan
from vramguard.memory.engines.vllm.managers import MANAGERS, manager
from vramguard.memory.engines.vllm.specs import specs
from vramguard.memory.families import architecture

Config = dict[str, Any]

HERE = Path(__file__).parent
GIB = 1 << 30
ONE = Rank()
T = 8192  # max_num_batched_tokens of every start-up below


def _configs() -> dict[str, Config]:
    """Published configs by model id: as recorded, with each one's source beside it."""
    table = json.loads((HERE.parent / "recorded_parameters.json").read_text(encoding="utf-8"))
    models = json.loads((HERE / "vllm_models.json").read_text(encoding="utf-8"))
    read = {model["id"]: model["config"] for model in table["models"]}
    return read | {name: model["config"] for name, model in models.items()}


CONFIGS = _configs()


def of(version: str) -> Manager:
    """The manager of a release that was read."""
    found = manager(tuple(int(part) for part in version.split(".")))
    assert found is not None
    return found


READ = ("0.10.2", "0.16.0", "0.19.0", "0.20.0", "0.28.0", "0.33.0")


def cache(model: str, version: str = "0.19.0", rank: Rank = ONE, **options: Any) -> KVCache:  # noqa: ANN401
    """The plan for a published model."""
    return laid_out(version, CONFIGS[model], rank, **options)


def laid_out(version: str, config: Config, rank: Rank = ONE, **options: Any) -> KVCache:  # noqa: ANN401
    """The plan for a config."""
    chosen = Options(**{"max_num_batched_tokens": T, **options})
    layers = specs(architecture(config), config, of(version), chosen, rank.tensor_parallel)
    return plan(layers, of(version), chosen, rank)


class Receipt(NamedTuple):
    """What a start-up printed: cache in GiB, blocks and maximum concurrency."""

    model: str
    gib: str
    blocks: int | None
    concurrency: str
    tokens: int = 8192
    parallel: tuple[int, int] = (1, 1)
    dtype_bytes: int = 2
    kv_cache_dtype: str = "auto"


# vLLM 0.19.0 on H100 80GB: jgchn/llm-d-planner, accuracy/results/v0.19.0/results_raw.csv, commit
# a95e9f62e5de8cb5d2beb5f5279e7271a231416d. CodeLlama-7b attends as Llama-2-7b, Llama-3.1-8B-Instruct as Llama-3.1-8B,
# the instruction-tuned Gemma 2 as their bases.
LLAMA = "meta-llama/Llama-3.1-8B"
QWEN = "Qwen/Qwen2.5-7B-Instruct"
RECEIPTS = (
    Receipt("meta-llama/Llama-2-7b-hf", "61.66", 7891, "15.41"),
    Receipt(LLAMA, "58.11", 29751, "58.11"),
    Receipt(LLAMA, "58.11", 29751, "232.43", tokens=2048),
    Receipt(LLAMA, "58.11", 29751, "14.53", tokens=32768),
    Receipt(LLAMA, "42.80", 10956, "21.40", dtype_bytes=4),
    Receipt(LLAMA, "58.11", 59502, "116.21", kv_cache_dtype="fp8"),
    Receipt(LLAMA, "64.61", 33078, "64.61"),
    Receipt(LLAMA, "63.76", 65293, "127.53", parallel=(2, 1)),
    Receipt(LLAMA, "67.44", 138112, "269.75", parallel=(4, 1)),
    Receipt(LLAMA, "66.54", 67207, "131.26", parallel=(1, 2)),
    Receipt(LLAMA, "69.80", 141079, "275.54", parallel=(1, 4)),
    Receipt(QWEN, "58.53", 68500, "133.79"),
    Receipt(QWEN, "63.84", 149412, "291.82", parallel=(2, 1)),
    Receipt(QWEN, "67.34", 315205, "615.63", parallel=(4, 1)),
    Receipt("Qwen/Qwen3-8B", "57.50", 26168, "51.11"),
    Receipt("google/gemma-7b", "55.44", 8110, "15.84"),
    Receipt("google/gemma-2-2b", "66.47", 83770, "81.73"),
    Receipt("google/gemma-2-9b", "54.12", 21110, "20.60"),
    Receipt("google/gemma-2-27b", "20.59", 7335, "7.16"),
    Receipt("deepseek-ai/DeepSeek-V2-Lite-Chat", "43.61", 94097, "183.78"),
    Receipt("openai/gpt-oss-20b", "58.47", None, "155.75"),
)


def printed(gib: str) -> tuple[int, int]:
    """The least and the most bytes that are printed as so many GiB."""
    half = Fraction(1, 200)
    low, high = ((Fraction(gib) + half * sign) * GIB for sign in (-1, 1))
    return int(low), int(high)


@pytest.mark.parametrize("receipt", RECEIPTS, ids=lambda r: f"{r.model}-{r.gib}-{r.tokens}-{r.parallel}")
def test_a_real_start_up(receipt: Receipt) -> None:
    tensor, stages = receipt.parallel
    layers = architecture(CONFIGS[receipt.model]).layers
    grid = ranks(layers, tensor, stages)
    formats: dict[str, Any] = {"dtype_bytes": receipt.dtype_bytes, "kv_cache_dtype": receipt.kv_cache_dtype}
    plans = [cache(receipt.model, rank=rank, **formats) for rank in grid]
    least, most = (min(one.blocks(size) for one in plans) for size in printed(receipt.gib))
    blocks = receipt.blocks
    if blocks is not None:
        # With stages, the GiB are those of one and the blocks those of the stage that has least.
        assert (least if stages == 1 else 1) <= blocks <= most
        assert f"{float(plans[0].max_concurrency(blocks, receipt.tokens)):.2f}" == receipt.concurrency
    low, high = (float(plans[0].max_concurrency(count, receipt.tokens)) for count in (least, most))
    assert stages > 1 or round(low, 2) <= float(receipt.concurrency) <= round(high, 2)
    assert stages > 1 or most - least <= GIB // 100 // plans[0].bytes_per_block + 1  # no looser than the log itself


# One request of 32k tokens in bfloat16 (facts of the research, computed apart from this code): GiB with 8,192 and
# with 16,384 tokens in flight, and without the hybrid manager.
GOLDEN = (
    ("google/gemma-3-27b-it", "6.73", "10.48", "15.50"),
    ("openai/gpt-oss-20b", "0.94", "1.13", "1.50"),
    ("deepseek-ai/DeepSeek-V3", "2.14", "2.14", "2.14"),
    (LLAMA, "4.00", "4.00", "4.00"),
)


@pytest.mark.parametrize(("model", "one_batch", "two_batches", "not_hybrid"), GOLDEN)
def test_golden_numbers(model: str, one_batch: str, two_batches: str, not_hybrid: str) -> None:
    made = (
        cache(model),
        cache(model, "0.33.0"),
        cache(model, disable_hybrid_kv_cache_manager=True),
    )
    found = [one.bytes_per_block * one.needed(32768) / GIB for one in made]
    assert [f"{size:.2f}" for size in found] == [one_batch, two_batches, not_hybrid]


CASES = json.loads((HERE / "recorded_vllm_manager.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("version", CASES)
def test_vllm_decides_the_same(version: str) -> None:
    """Layouts at random: vLLM's own functions, run by scripts/record_vllm_manager.py, gave these numbers."""
    manager = of(version)
    cases = CASES[version]
    assert len(cases) >= 40
    for case in cases:
        layers = [Layers(_spec(spec), len(numbers), tuple(numbers)) for spec, numbers in case["layers"]]
        options = Options(
            case["batched"],
            disable_hybrid_kv_cache_manager=case["not_hybrid"],
            concurrent_batches=len(case["bounds"]) - 1 + case["asynchronous"],
        )
        bounds = case["bounds"]
        grid = [Rank(1, len(bounds) - 1, i, (bounds[i], bounds[i + 1])) for i in range(len(bounds) - 1)]
        if case["stages"] is None:  # vLLM refused to start
            with pytest.raises(UnprovenError):
                [plan(layers, manager, options, rank) for rank in grid]
            continue
        for rank, stage in zip(grid, case["stages"], strict=True):
            made = plan(layers, manager, options, rank)
            assert made.blocks(stage["available"]) == stage["blocks"], case
            assert made.needed(case["tokens"]) == stage["needed"], case
            assert made.required(case["tokens"]) == stage["required"], case


def _spec(values: dict[str, Any]) -> Spec:
    return Spec(**{**values, "kind": Kind(values["kind"])})


def test_groups_with_padding_layers() -> None:
    """12 sliding layers and 13 full ones: 26 layers' bytes, not 36, since padding is cheaper (0.16.0)."""
    layers = (Layers(Spec(Kind.SLIDING, 16, 64, window=128), 12), Layers(Spec(Kind.FULL, 16, 64), 13))
    widths = {v: plan(layers, of(v), Options(T), ONE).bytes_per_block // 1024 for v in READ}
    assert widths == {"0.10.2": 12, "0.16.0": 13, "0.19.0": 13, "0.20.0": 13, "0.28.0": 13, "0.33.0": 13}
    wider = (layers[0], replaced(layers[1], 16))  # 16 < 1.5 x 12, but not < 1.25 x 12
    groups = {v: len(plan(wider, of(v), Options(T), ONE).groups) for v in READ}
    assert groups == {"0.10.2": 3, "0.16.0": 3, "0.19.0": 2, "0.20.0": 2, "0.28.0": 2, "0.33.0": 2}


def replaced(layers: Layers, copies: int) -> Layers:
    return layers._replace(copies=copies)


def test_key_heads_are_repeated_where_ranks_outnumber_them() -> None:
    two, four, eight, sixteen = (cache(LLAMA, rank=Rank(tp)).bytes_per_block for tp in (2, 4, 8, 16))
    assert two == 2 * four == 4 * eight
    assert sixteen == eight
    with pytest.raises(UnprovenError, match="8 KV heads and tensor_parallel_size 3"):
        cache(LLAMA, rank=Rank(3))


def test_a_latent_is_whole_on_every_rank() -> None:
    model = "deepseek-ai/DeepSeek-V3"
    assert cache(model, rank=Rank(8)).bytes_per_block == cache(model).bytes_per_block == 61 * 16 * 576 * 2
    sizes = {v: cache(model, v).groups[0].spec.block_size for v in READ}
    assert sizes == {"0.10.2": 64, "0.16.0": 64, "0.19.0": 16, "0.20.0": 16, "0.28.0": 16, "0.33.0": 16}
    assert cache(model, kv_cache_dtype="fp8").groups[0].spec.block_size == 64
    blackwell = {v: cache(model, v, capability=10).groups[0].spec.block_size for v in READ}
    assert blackwell == {"0.10.2": 128, "0.16.0": 64, "0.19.0": 32, "0.20.0": 32, "0.28.0": 32, "0.33.0": 32}


def test_a_sparse_layer_has_its_indexer_beside_it() -> None:
    model = "deepseek-ai/DeepSeek-V3.2"
    assert cache(model).bytes_per_block == 61 * 64 * (576 * 2 + 132)
    assert cache(model, kv_cache_dtype="fp8").bytes_per_block == 61 * 64 * (656 + 132)
    with pytest.raises(UnprovenError, match="deepseek_v32"):
        cache(model, "0.10.2")
    # GLM-5.2: an indexer in 21 of 78 layers, which vLLM knows since the version that shares them.
    shared = cache("zai-org/GLM-5.2", "0.28.0")
    assert shared.bytes_per_block == 64 * (78 * 576 * 2 + 21 * 132)
    with pytest.raises(UnprovenError, match="indexer"):
        cache("zai-org/GLM-5.2", "0.20.0")


def test_chunked_layers_keep_every_token_by_default() -> None:
    model = "meta-llama/Llama-4-Scout-17B-16E-Instruct"
    full, chunked = cache(model), cache(model, chunked_local=True)
    assert full.needed(131072) == 8192
    assert chunked.needed(131072) == 8192 + 3 * (8192 + T) // 16
    assert chunked.bytes_per_block * 4 == full.bytes_per_block


def test_chunks_are_kept_by_default_in_one_release() -> None:
    model = "meta-llama/Llama-4-Scout-17B-16E-Instruct"
    counts = {version: cache(model, version).needed(131072) for version in ("0.9.2", "0.10.0", "0.10.1")}
    assert counts == {"0.9.2": 8192, "0.10.0": 8192 + 3 * (8192 + T) // 16, "0.10.1": 8192}


def test_before_the_hybrid_manager_every_layer_keeps_every_token() -> None:
    model = "google/gemma-3-27b-it"
    made = {version: cache(model, version) for version in ("0.8.5", "0.9.0", "0.9.1", "0.10.0")}
    assert [len(each.groups) for each in made.values()] == [1, 1, 7, 7]
    assert made["0.9.0"].bytes_per_block == 62 * 16 * 16 * 128 * 2 * 2
    assert made["0.9.0"].needed(32768) == 2048
    # What is looked at when it starts is what each layer would need by itself.
    assert made["0.9.0"].required(32768) < 2048 * made["0.9.0"].bytes_per_block
    with pytest.raises(UnprovenError, match="exaone4"):
        cache_of_exaone("0.10.0")


def cache_of_exaone(version: str) -> KVCache:
    config = {"model_type": "exaone4", "architectures": ["Exaone4ForCausalLM"], "sliding_window": 4096}
    return laid_out(version, {**config, "sliding_window_pattern": 4})


def test_pages_are_unified_by_longer_blocks() -> None:
    """Gemma 4: two key heads of 512 in full layers, eight of 256 in sliding ones, so a full block is twice as long."""
    made = cache("google/gemma-4-26B-A4B", "0.20.0")
    assert {group.spec.kind: group.spec.block_size for group in made.groups} == {Kind.SLIDING: 16, Kind.FULL: 32}
    with pytest.raises(UnprovenError, match="cannot unify"):
        cache("google/gemma-4-26B-A4B", "0.10.2")


QWEN_NEXT = {"model_type": "qwen3_next", "architectures": ["Qwen3NextForCausalLM"]}


def states(version: str, config: Config = QWEN_NEXT, rank: Rank = ONE, **options: Any) -> KVCache:  # noqa: ANN401
    return laid_out(version, config, rank, **options)


def test_blocks_are_raised_to_hold_a_state() -> None:
    """Qwen3-Next as vLLM reports it: 544 tokens a block and 1.49 % of padding in bfloat16, 1,056 tokens in float32."""
    made = states("0.19.0")
    assert [group.spec.block_size for group in made.groups if group.spec.kind is Kind.FULL] == [544]
    state = next(group.spec for group in made.groups if group.spec.kind is Kind.STATES)
    assert state.state_bytes == 3 * 8192 * 2 + 32 * 128 * 128 * 2
    assert f"{100 * (state.page - state.state_bytes) / state.state_bytes:.2f}" == "1.49"
    assert max(group.spec.block_size for group in states("0.16.0", capability=10).groups) == 544  # a multiple of 32
    wide = states("0.19.0", mamba_ssm_cache_bytes=4)
    assert max(group.spec.block_size for group in wide.groups) == 1056
    # 36 layers with states beside 12 that attend: four groups of 12.
    assert len(made.groups) == 4
    assert made.needed(32768) == -(-32768 // 544) + 3


def test_prefix_caching_keeps_more_states() -> None:
    without, default = states("0.28.0", enable_prefix_caching=False), states("0.28.0")
    assert default.needed(32768) - without.needed(32768) == 3
    assert states("0.20.0").needed(32768) == without.needed(32768)
    assert states("0.20.0", enable_prefix_caching=True).needed(32768) == default.needed(32768)
    checked = states("0.33.0")
    assert max(group.spec.block_size for group in checked.groups) == 576  # a multiple of 64
    assert checked.needed(32768) == -(-32768 // 576) + 3 * 3
    assert states("0.33.0", capability=8).needed(32768) == default.needed(32768)
    with pytest.raises(UnprovenError, match="FlashInfer"):
        states("0.33.0", capability=10)


def test_states_of_other_families() -> None:
    nano = cache("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    scan = next(group.spec for group in nano.groups if group.spec.kind is Kind.STATES)
    # 64 heads of 64 and 8 groups of 128, twice: 6,144 channels, the last three inputs; the scan in float32.
    assert scan.state_bytes == 6144 * 3 * 2 + 64 * 64 * 128 * 4
    # 6 layers attend, so 23 with states make four groups, the last of them with a layer of padding.
    assert [sum(count for _, count in group.members) for group in nano.groups if group.spec == scan] == [6, 6, 6, 5]
    mamba = {"model_type": "mamba2", "architectures": ["Mamba2ForCausalLM"]}
    alone = states("0.19.0", mamba)
    assert alone.needed(1) == alone.needed(10**6) == 1
    split = states("0.19.0", mamba, Rank(16))  # 8 groups on 16 ranks: each rank has one
    assert split.groups[0].spec.state_bytes == (8192 + 2 * 16 * 128) // 16 * 3 * 2 + 1048576 // 16 * 2
    lfm: Config = {"model_type": "lfm2", "architectures": ["Lfm2ForCausalLM"], "num_hidden_layers": 4}
    lfm["layer_types"] = ["conv"] * 3 + ["full_attention"]
    short = next(group.spec for group in states("0.19.0", lfm).groups if group.spec.kind is Kind.STATES)
    assert short.state_bytes == 2560 * 2 * 2


def test_a_prefill_keeps_one_more_state_in_newer_releases() -> None:
    nano = "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"
    counts = {version: cache(nano, version).needed(1) for version in ("0.25.0", "0.27.0", "0.28.0", "0.30.0", "0.32.0")}
    # One block of attention and four groups of states: kept once, for every block, twice, twice and once in between.
    assert counts == {"0.25.0": 5, "0.27.0": 5, "0.28.0": 9, "0.30.0": 9, "0.32.0": 13}
    assert cache(nano, "0.27.0").needed(10**6) > cache(nano, "0.28.0").needed(10**6)


def test_a_latent_beside_states_has_long_blocks() -> None:
    """Kimi Linear: a state of 2,170,880 bytes is 1,885 tokens of 576 latent numbers."""
    config = {"model_type": "kimi_linear", "architectures": ["KimiLinearForCausalLM"]}
    blocks = {v: max(g.spec.block_size for g in states(v, config).groups) for v in ("0.11.1", "0.20.0", "0.27.0")}
    assert blocks == {"0.11.1": 1920, "0.20.0": 1888, "0.27.0": 1920}
    assert max(g.spec.block_size for g in states("0.27.0", config, capability=10).groups) == 1920


def test_the_mode_all_keeps_a_state_for_each_block() -> None:
    bamba = {"model_type": "bamba", "architectures": ["BambaForCausalLM"], "attn_layer_indices": [9, 18, 27]}
    made = states("0.19.0", bamba, enable_prefix_caching=True)
    full = next(group.spec for group in made.groups if group.spec.kind is Kind.FULL)
    assert full.block_size % 256 == 0  # mamba_chunk_size
    assert made.needed(32768) == len(made.groups) * -(-32768 // full.block_size)
    assert states("0.28.0", bamba).needed(32768) < made.needed(32768)


def test_whisper_keeps_the_encoders_tokens() -> None:
    config = {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}
    assert states("0.10.2", config).needed(448) == 28 + 94
    assert states("0.19.0", config).needed(448) == 28 + T // 16
    cross = next(term for term in states("0.19.0", config).terms(448, 1) if "cross" in term.name)
    assert cross.lower_bytes == 94 * states("0.19.0", config).bytes_per_block
    bart = {"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}
    with pytest.raises(UnprovenError, match="BartForConditionalGeneration"):
        states("0.19.0", bart)


def test_formats_of_the_cache() -> None:
    full, half = (cache("Qwen/Qwen3-8B", "0.20.0", kv_cache_dtype=name).bytes_per_block for name in ("auto", "fp8"))
    assert full == 2 * half
    scaled = cache("Qwen/Qwen3-8B", "0.20.0", kv_cache_dtype="fp8_per_token_head").bytes_per_block
    assert scaled == 36 * 16 * 8 * (256 + 8)
    packed = cache("Qwen/Qwen3-8B", "0.20.0", kv_cache_dtype="nvfp4").bytes_per_block
    assert packed == 36 * 16 * 8 * 2 * (64 + 8)
    with pytest.raises(UnprovenError, match="nvfp4"):
        cache("Qwen/Qwen3-8B", "0.19.0", kv_cache_dtype="nvfp4")


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (LLAMA, {"context_parallel": 2}, "context parallelism"),
        ({"model_type": "deepseek_v4", "architectures": ["DeepseekV4ForCausalLM"]}, {}, "DeepseekV4ForCausalLM"),
        ({"model_type": "flint", "architectures": ["FlintForCausalLM"]}, {}, "flint"),
        ({**QWEN_NEXT, "sliding_window": 4096}, {}, "sliding_window"),
        ({"model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"]}, {"rank": Rank(1, 2, 0, (0, 18))}, "stages"),
    ],
)
def test_what_is_not_known_is_refused(config: Any, options: dict[str, Any], message: str) -> None:  # noqa: ANN401
    with pytest.raises(UnprovenError, match=message):
        states("0.28.0", CONFIGS[config] if isinstance(config, str) else config, **options)


def test_stages_have_their_layers_by_the_listed_kinds() -> None:
    """gpt-oss-20b lists its 24 layers in turn: each half has 6 of each kind, in the two groups of the whole."""
    halves = [cache("openai/gpt-oss-20b", rank=rank) for rank in ranks(24, 1, 2)]
    whole = cache("openai/gpt-oss-20b")
    assert [half.bytes_per_block for half in halves] == [whole.bytes_per_block // 2] * 2
    assert halves[0].needed(4096) == whole.needed(4096)


def test_stages_of_layers_with_states() -> None:
    """Qwen3-Next names no kinds of layers, but their weights do: every fourth of 48 attends."""
    halves = [states("0.19.0", rank=rank) for rank in ranks(48, 1, 2)]
    assert [[group.members[0][1] for group in half.groups] for half in halves] == [[6] * 4] * 2


def test_a_release_that_was_not_read_has_no_manager() -> None:
    assert manager((0, 8, 4)) is None
    assert manager((0, 34, 0)) is None
    assert manager((0, 19, 1)) is MANAGERS["0.19.0"]
    assert manager((0, 10, 2)) is MANAGERS["0.10.1"]
    assert manager((0, 33, 0)) is MANAGERS["0.33.0"]


def test_the_null_block_counts_at_start() -> None:
    older, newer = cache(LLAMA, "0.28.0"), cache(LLAMA, "0.29.0")
    assert of("0.29.0").check is Check.USABLE
    assert newer.required(8192) - older.required(8192) == newer.bytes_per_block
    assert older.required(8192) == 512 * older.bytes_per_block


def test_what_is_printed_as_the_size_of_the_cache() -> None:
    """58.11 GiB of Llama 3.1 8B: 476,016 tokens (0.19.0); of gpt-oss-20b with tp 2: 2,591,776 of 323,972 blocks."""
    assert cache(LLAMA).capacity(29751, 8192) == 476016
    assert cache("openai/gpt-oss-20b", rank=Rank(2)).capacity(323972, 8192) == 2591776
    assert cache(LLAMA, "0.28.0").capacity(29751, 8192) == 476016


KINDS = st.sampled_from([Kind.FULL, Kind.SLIDING, Kind.CHUNKED, Kind.STATES])


@st.composite
def _layouts(draw: st.DrawFn) -> list[Layers]:
    """Layers of one to three kinds with pages of one size."""
    kinds = draw(st.lists(KINDS, min_size=1, max_size=3, unique=True))
    made = []
    for kind in kinds:
        window = draw(st.integers(1, 5000)) if kind in (Kind.SLIDING, Kind.CHUNKED) else 0
        spec = Spec(kind, 16, 64, window=window)
        if kind is Kind.STATES:
            spec = Spec(kind, state_bytes=1000, padded=1024, states=draw(st.integers(1, 4)), least=1)
        made.append(Layers(spec, draw(st.integers(1, 40))))
    return made


@given(_layouts(), st.integers(1, 200_000), st.integers(1, 40), st.integers(1, 20_000), st.sampled_from([*MANAGERS]))
@settings(max_examples=150, deadline=None)
def test_more_is_never_less(layers: list[Layers], tokens: int, concurrency: int, batched: int, version: str) -> None:
    manager = MANAGERS[version]
    layers = layers if manager.hybrid else layers[:1]  # else it refuses what keeps more than one kind

    def total(tokens: int, concurrency: int, batched: int) -> tuple[int, int]:
        made = plan(layers, manager, Options(batched), ONE)
        terms = made.terms(tokens, concurrency)
        assert sum(term.upper_bytes for term in terms) == made.bytes_per_block * (1 + concurrency * made.needed(tokens))
        return sum(term.lower_bytes for term in terms), sum(term.upper_bytes for term in terms)

    least = total(tokens, concurrency, batched)
    assert least[0] <= least[1]
    for more in (
        (tokens + 17, concurrency, batched),
        (tokens, concurrency + 1, batched),
        (tokens, concurrency, batched + 9),
    ):
        lower, upper = total(*more)
        assert lower >= least[0]
        assert upper >= least[1]


@given(_layouts(), st.integers(1, 100_000), st.integers(1 << 20, 1 << 40), st.sampled_from([*MANAGERS]))
@settings(max_examples=100, deadline=None)
def test_as_many_requests_fit_as_the_concurrency_says(
    layers: list[Layers], tokens: int, available: int, version: str
) -> None:
    layers = layers if MANAGERS[version].hybrid else layers[:1]
    made = plan(layers, MANAGERS[version], Options(T), ONE)
    blocks = made.blocks(available)
    fitting = int(made.max_concurrency(blocks, tokens))
    assert fitting * made.needed(tokens) <= blocks < (fitting + 1) * made.needed(tokens)
    assert blocks * made.bytes_per_block <= available < (blocks + 1) * made.bytes_per_block
