"""What one card of a vLLM grid holds and computes: sizes worked out by hand from the model files, family by family."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from memory.engines.serving import device, proof, rows

from vramguard.memory import Workload
from vramguard.memory.engines import Ask
from vramguard.memory.engines.rotary import rotary_tables
from vramguard.memory.engines.shards import Rank, ranks, shares
from vramguard.memory.engines.vllm import batch
from vramguard.memory.engines.vllm.plan import Serving
from vramguard.memory.engines.vllm.plan import plan as serve
from vramguard.memory.families import architecture

sys.path.insert(0, str(Path(__file__).parents[1]))
import perturb

Config = dict[str, Any]
Shape = tuple[int, ...]
CATALOGUE = Path(__file__).parents[2] / "catalogue"
SERVED = Workload(engine="vllm", engine_version="0.33.0", max_model_len=4096)


def published(name: str) -> Config:
    config: Config = json.loads((CATALOGUE / f"{name}.json").read_text(encoding="utf-8"))
    return config


LLAMA = published("meta-llama--Llama-3.1-8B-Instruct")
QWEN3_NEXT = published("Qwen--Qwen3-Next-80B-A3B-Thinking")
DEEPSEEK = published("deepseek-ai--DeepSeek-V3")
GPT_OSS = published("openai--gpt-oss-20b")
NEMOTRON = published("nvidia--NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
GEMMA = published("nvidia--Gemma-4-31B-IT-NVFP4")
MIXTRAL = published("mistralai--Mixtral-8x7B-Instruct-v0.1")
FALCON = published("tiiuae--falcon-40b")


def base(model_type: str, name: str, **changes: Any) -> Config:  # noqa: ANN401 - of a config
    return {**perturb.base(model_type, name), **changes}


def held(config: Config, rank: Rank, ending: str) -> list[tuple[Shape | None, Shape]]:
    """Shapes of the tensors of that ending, at least and at most."""
    found = [share for share in shares(architecture(config), rank) if share.most.name.endswith(ending)]
    assert found, ending
    return [(share.least.shape if share.least else None, share.most.shape) for share in found]


def exactly(config: Config, rank: Rank, ending: str) -> list[Shape]:
    """Shapes where they are known."""
    pairs = held(config, rank, ending)
    assert all(least == most for least, most in pairs), pairs
    return [most for _, most in pairs]


def serving(config: Config, workload: Workload = SERVED, gpu: str = "h100-sxm5-80gb") -> Serving:
    return serve(Ask(config, architecture(config), workload, device(gpu)), "bfloat16")


BY_HAND = [
    # llama.py: QKVParallelLinear of 32 query and 8 key heads of 128; at 16 cards each has one of the key heads.
    (LLAMA, "q_proj.weight", {2: (2048, 4096), 4: (1024, 4096), 8: (512, 4096), 16: (256, 4096)}),
    (LLAMA, "k_proj.weight", {2: (512, 4096), 4: (256, 4096), 8: (128, 4096), 16: (128, 4096)}),
    (LLAMA, "o_proj.weight", {2: (4096, 2048), 8: (4096, 512)}),
    (LLAMA, "gate_proj.weight", {2: (7168, 4096), 8: (1792, 4096)}),
    (LLAMA, "down_proj.weight", {2: (4096, 7168), 8: (4096, 1792)}),
    (LLAMA, "input_layernorm.weight", {8: (4096,)}),
    (LLAMA, "embed_tokens.weight", {2: (64128, 4096), 8: (16032, 4096)}),
    # deepseek_v2.py: both projections to latents are replicated, those from them are columns; the router is replicated.
    (DEEPSEEK, "q_a_proj.weight", {8: (1536, 7168)}),
    (DEEPSEEK, "kv_a_proj_with_mqa.weight", {8: (576, 7168)}),
    (DEEPSEEK, "q_b_proj.weight", {8: (3072, 1536)}),
    (DEEPSEEK, "kv_b_proj.weight", {8: (4096, 512)}),
    (DEEPSEEK, "mlp.gate.weight", {8: (256, 7168)}),
    (DEEPSEEK, "experts.gate_up_proj", {8: (256, 512, 7168)}),
    (DEEPSEEK, "shared_experts.down_proj.weight", {8: (7168, 256)}),
    # gpt_oss.py: the bias of the second matrix is on every card, and added on one.
    (GPT_OSS, "experts.gate_up_proj", {2: (32, 2880, 2880), 4: (32, 2880, 1440)}),
    (GPT_OSS, "experts.gate_up_proj_bias", {2: (32, 2880)}),
    (GPT_OSS, "experts.down_proj", {2: (32, 1440, 2880)}),
    (GPT_OSS, "experts.down_proj_bias", {2: (32, 2880)}),
    # qwen3_next.py, Qwen3NextGatedDeltaNet: 16 key heads and 32 value heads of 128, all by heads.
    (QWEN3_NEXT, "in_proj_qkvz.weight", {2: (6144, 2048), 8: (1536, 2048)}),
    (QWEN3_NEXT, "in_proj_ba.weight", {2: (32, 2048)}),
    (QWEN3_NEXT, "conv1d.weight", {2: (4096, 1, 4), 8: (1024, 1, 4)}),
    (QWEN3_NEXT, "linear_attn.A_log", {8: (4,)}),
    (QWEN3_NEXT, "shared_expert_gate.weight", {8: (1, 2048)}),
    # mamba_mixer2.py: z and x of 4096, B and C of 8 groups of 128, 64 heads.
    (NEMOTRON, "mixer.in_proj.weight", {2: (5152, 2688), 8: (1288, 2688)}),
    (NEMOTRON, "mixer.conv1d.weight", {2: (3072, 1, 4), 8: (768, 1, 4)}),
    (NEMOTRON, "mixer.out_proj.weight", {8: (2688, 512)}),
    (NEMOTRON, "mixer.k_proj.weight", {2: (128, 2688), 8: (128, 2688)}),
    (MIXTRAL, "experts.gate_up_proj", {8: (8, 3584, 4096)}),
    # gpt_bigcode.py: one key head for all. mpt.py: Wqkv. phi3.py: gate and up in one.
    (base("gpt_bigcode", "GPTBigCodeForCausalLM"), "c_attn.weight", {2: (512, 768), 4: (320, 768)}),
    (base("mpt", "MptForCausalLM"), "Wqkv.weight", {4: (1536, 2048)}),
    (base("phi3", "Phi3ForCausalLM"), "gate_up_proj.weight", {4: (4096, 3072)}),
    # gpt2.py: Conv1D stands the other way round.
    (base("gpt2", "GPT2LMHeadModel"), "mlp.c_proj.weight", {4: (768, 768)}),
    # dbrx.py: FusedMoE. Transformers has the experts one below another, which is no reason to hold them all.
    (base("dbrx", "DbrxForCausalLM"), "experts.mlp.w1", {2: (7168, 2048), 4: (3584, 2048)}),
    (base("dbrx", "DbrxForCausalLM"), "experts.mlp.w2", {4: (3584, 2048)}),
    # jamba.py, mamba_mixer.py: A by channels, x_proj a RowParallelLinear.
    (base("jamba", "JambaForCausalLM"), "mamba.x_proj.weight", {8: (288, 1024)}),
    (base("jamba", "JambaForCausalLM"), "mamba.A_log", {8: (1024, 16)}),
    # granitemoehybrid.py: 2 x 8192 of z and x and 128 heads by cards, B and C of the one group of 256 on each.
    (base("granitemoehybrid", "GraniteMoeHybridForCausalLM"), "in_proj.weight", {8: (2064 + 512, 4096)}),
    (base("granitemoehybrid", "GraniteMoeHybridForCausalLM"), "conv1d.weight", {8: (1024 + 512, 1, 4)}),
    (base("granitemoehybrid", "GraniteMoeHybridForCausalLM"), "input_linear.weight", {8: (256, 4096)}),
    (base("granitemoehybrid", "GraniteMoeHybridForCausalLM"), "output_linear.weight", {8: (4096, 128)}),
    # gemma3n.py: VocabParallelEmbedding of vocab_size_per_layer_input.
    (base("gemma3n_text", "Gemma3nForCausalLM"), "embed_tokens_per_layer.weight", {2: (131072, 8960)}),
    # longcat_flash.py: FusedMoE of n_routed_experts, 512; the 256 that do nothing have no weights.
    (base("longcat_flash", "LongcatFlashForCausalLM"), "experts.gate_up_proj", {1: (512, 4096, 6144)}),
    # olmo_gdn_linear_attn.py
    (base("olmo_hybrid", "OlmoHybridForCausalLM"), "linear_attn.k_proj.weight", {2: (1440, 3840)}),
]


@pytest.mark.parametrize(
    ("config", "ending", "sizes"), BY_HAND, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_card_holds_what_the_model_file_gives_it(config: Config, ending: str, sizes: dict[int, Shape]) -> None:
    for parallel, shape in sizes.items():
        assert set(exactly(config, Rank(parallel), ending)) == {shape}, parallel


def test_each_kind_of_layer_repeats_its_own_key_heads() -> None:
    # gemma4.py: 16 key heads of 256 where a layer slides, 4 of 512 where it does not. Eight cards have 2 and 1 of them.
    assert exactly(GEMMA, Rank(4), "k_proj.weight") == [(1024, 5376), (512, 5376)]
    assert exactly(GEMMA, Rank(8), "k_proj.weight") == [(512, 5376), (512, 5376)]
    # mimo_v2.py: keys of 4 and 8 heads of 192, values of 128, of which only an interval is known.
    mimo = base("mimo_v2_flash", "MiMoV2FlashForCausalLM")
    assert exactly(mimo, Rank(8), "k_proj.weight") == [(192, 4096), (192, 4096)]
    assert all(
        least and least[0] * least[1] <= 128 * 4096 <= most[0] * most[1]
        for least, most in held(mimo, Rank(8), "v_proj.weight")
    )


def test_replicas_split_experts_together() -> None:
    # fused_moe/config.py, FusedMoEParallelConfig.make: the group of a layer of experts is that of all replicas.
    two = ranks(32, 2, 1, data_parallel=4)[0]
    assert exactly(MIXTRAL, two, "experts.gate_up_proj") == [(8, 2 * 14336 // 8, 4096)]
    assert exactly(MIXTRAL, two, "q_proj.weight") == [(2048, 4096)]
    whole = ranks(32, 2, 1, 8, 4)[0]
    assert exactly(MIXTRAL, whole, "experts.gate_up_proj") == [(1, 2 * 14336, 4096)]
    # Each gets the tokens of all.
    alone, many = (
        batch.activations(found.step_of(4096, found.grid[0], found.variants[-1]))[0].inputs
        for found in (serving(MIXTRAL, replace(SERVED, data_parallel_size=size)) for size in (1, 4))
    )
    kept = [each["experts_kept"] // (2 * 8192 * 2 * size) for each, size in ((alone, 1), (many, 4))]
    # Two buffers of a pair of token and expert: gate and up together, and the wider of a half of it and a hidden state.
    assert kept == [28672 + 14336, 7168 + 4096]


def test_norms_over_all_heads_may_be_split() -> None:
    olmo = base("olmo2", "Olmo2ForCausalLM")
    assert held(olmo, Rank(2), "q_norm.weight") == [((2048,), (4096,))]
    assert exactly(base("qwen3", "Qwen3ForCausalLM"), Rank(2), "q_norm.weight") == [(128,)]


def test_what_vllm_loads_beside_transformers() -> None:
    # gemma4.py: 5 layers of 2 heads of 512 have keys in the place of values, in matrices of their own.
    found = serving(published("google--gemma-4-26B-A4B"))
    values = [t for t in found.network.tensors if t.name.endswith("self_attn.v_proj.weight") and "vision" not in t.name]
    assert sorted((t.copies, t.shape) for t in values) == [(5, (1024, 2816)), (25, (2048, 2816))]
    # gemma3n.py before 0.33: qkv_proj of the 15 layers that take another's keys, of 2 key heads of 256.
    text = base("gemma3n_text", "Gemma3nForCausalLM")
    resident = {term.name: term for term in serving(text).step_of(4096, Rank(), serving(text).variants[-1]).resident}
    unused = resident["weights/unused_keys"]
    assert (unused.lower_bytes, unused.upper_bytes) == (0, 15 * 2 * 512 * 2048 * 2)


def test_falcon_caches_its_key_heads_once() -> None:
    # falcon.py: total_num_kv_heads is num_kv_heads, 8; transformers caches them repeated for all 128.
    found = rows(proof(FALCON, replace(SERVED, tensor_parallel_size=2, max_model_len=2048)))
    assert found["kv_cache/full"] == (2048 * 60 * 2 * 4 * 64 * 2,) * 2
    assert exactly_falcon() == [(4608, 8192)]


def exactly_falcon() -> list[Shape]:
    network = serving(FALCON).network
    return [share.most.shape for share in shares(network, Rank(2)) if "query_key_value" in share.most.name]


def test_routers_that_are_float32() -> None:
    # glm4_moe.py: the gate's params_dtype. Qwen3's is the model's.
    glm = serving(base("glm4_moe", "Glm4MoeForCausalLM"))
    gate = next(t for t in glm.step_of(4096, Rank(), glm.variants[-1]).resident if t.name.endswith("mlp.gate.weight"))
    assert gate.upper_bytes == 2 * gate.lower_bytes == gate.inputs["copies"] * 128 * 4096 * 4
    qwen = serving(published("Qwen--Qwen3-30B-A3B"))
    same = next(t for t in qwen.step_of(4096, Rank(), qwen.variants[-1]).resident if t.name.endswith("mlp.gate.weight"))
    assert same.upper_bytes == same.lower_bytes == 48 * 128 * 2048 * 2


@pytest.mark.parametrize(
    ("config", "positions", "rotated", "least"),
    [
        (LLAMA, 131072, 128, 128),
        # rotary_embedding/dynamic_ntk_scaling_rope.py: max_position * factor; only the upper bound knows it.
        ({**LLAMA, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, 262144, 128, 0),
        (base("gptj", "GPTJForCausalLM", rotary_dim=64), 2048, 64, 64),
        # nemotron_h.py: attention without positions, whatever its config says of them.
        ({**NEMOTRON, "rope_theta": 10000}, 262144, 128, 0),
    ],
)
def test_rotary_tables(config: Config, positions: int, rotated: int, least: int) -> None:
    network = architecture(config)
    (table,) = rotary_tables(config, network, 2)
    assert (table.inputs["positions"], table.inputs["rotated"]) == (positions, rotated)
    assert table.lower_bytes == (positions * least * 2 if least else 0)


def test_slots_of_adapters_have_the_sizes_of_a_card() -> None:
    # column_parallel_linear.py, row_parallel_linear.py and vocab_parallel_embedding.py of lora/layers, at rank 1.
    found = serving(LLAMA, replace(SERVED, max_loras=1, max_lora_rank=1, tensor_parallel_size=16))
    slots = next(t for t in found.step_of(4096, found.grid[0], found.variants[-1]).resident if "adapter" in t.name)
    h, q, kv, inner = 4096, 256, 128, 896
    layer = (h + q) + 2 * (h + kv) + (q + h) + 2 * (h + inner) + (inner + h)
    words = 2 * 2 * (128256 + 64 + h)
    assert slots.upper_bytes == (32 * layer + words) * 2


def test_drafting_layers_have_a_cache() -> None:
    # deepseek_mtp.py: one layer more with latent attention.
    workload = replace(SERVED, tensor_parallel_size=16, speculative_method="mtp", num_speculative_tokens=1)
    plain = rows(
        proof(
            DEEPSEEK,
            replace(workload, speculative_method=None, num_speculative_tokens=None),
        )
    )
    drafts = rows(proof(DEEPSEEK, workload))
    assert drafts["kv_cache/latent"][0] * 61 == plain["kv_cache/latent"][0] * 62


class Mixers:
    """Rows of kernels that the profile run leaves out."""

    @staticmethod
    def of(config: Config, **changes: Any) -> dict[str, int]:  # noqa: ANN401 - of a workload
        found = serving(config, replace(SERVED, **changes))
        (term,) = batch.kernels(found.step_of(4096, found.grid[0], found.variants[-1]))
        return {**term.inputs, "upper": term.upper_bytes}


def test_chunks_of_a_scan_are_counted() -> None:
    # ssd_combined.py: 64 heads of 64 x 128, chunks of 128 tokens.
    few, many = (Mixers.of(NEMOTRON, max_num_seqs=count) for count in (129, 257))
    assert (few["state"], few["chunk"], few["groups"], few["heads"]) == (64 * 64 * 128, 128, 8, 64)
    chunk = 8 * few["state"] + 8 * 64 * 128 + 4 * 8 * 128 * 128
    more = many["upper"] + many["profiled"] - few["upper"] - few["profiled"]
    # Each of 128 more prompts has a chunk, two seams, and its state before and after.
    assert more == 128 * (3 * chunk + 8 * few["state"])


def test_the_delta_rule_has_a_state_for_each_chunk() -> None:
    # chunk_delta_h.py: h in the model's dtype; 32 heads of 128 x 128.
    few, many = (Mixers.of(QWEN3_NEXT, max_num_seqs=count) for count in (65, 129))
    assert few["state"] == 32 * 128 * 128
    assert (few["projected"], few["convolved"], few["inner"], few["heads"]) == (12288 + 64, 8192, 4096, 32)
    more = many["upper"] + many["profiled"] - few["upper"] - few["profiled"]
    assert more == 64 * few["state"] * (2 + many["kept"])


def test_latent_prompts_are_computed_head_by_head() -> None:
    found = Mixers.of(DEEPSEEK, tensor_parallel_size=8, max_num_seqs=16)
    heads, tokens, pieces, h = 16, 8192, 32768, 7168
    width = tokens * (3 * 192 + 256 + 4 * 128) + pieces * (256 + 192 + 256)
    assert found["upper"] == 2 * heads * width + 4 * tokens * h * 2 - found["profiled"]
    # Values are padded to the width of keys where it is not FlashAttention 3.
    ampere = serving(
        DEEPSEEK,
        replace(SERVED, tensor_parallel_size=8, max_num_seqs=16, max_num_batched_tokens=8192),
        "a100-sxm4-80gb",
    )
    (padded,) = batch.kernels(ampere.step_of(4096, ampere.grid[0], ampere.variants[-1]))
    assert padded.upper_bytes - found["upper"] == 2 * heads * (tokens * (192 + 4 * 64) + pieces * 192)


def test_kernels_come_on_top_of_what_was_requested() -> None:
    workload = replace(SERVED, gpu="b200-180gb", max_num_batched_tokens=8192)
    for config in (QWEN3_NEXT, LLAMA):
        found = serving(config, workload, "b200-180gb") if config is LLAMA else serving(config)
        beside = sum(term.upper_bytes for term in batch.kernels(found.step_of(4096, found.grid[0], found.variants[-1])))
        holding = found.holding(4096)
        assert holding is not None
        assert holding.outside_bytes >= beside
        assert (beside > 0) is (config is QWEN3_NEXT)


def test_weights_on_the_host_leave_room_for_a_cache() -> None:
    config = published("Qwen--Qwen3-32B")
    plain, offloaded = (
        serving(config, replace(SERVED, gpu_memory_utilization="0.75", cpu_offload_gb=size)).holding(4096)
        for size in (None, "20")
    )
    assert plain is not None
    assert offloaded is not None
    assert plain.starts is False
    assert offloaded.upper_bytes - plain.upper_bytes == 20 << 30
    assert offloaded.starts is None


def test_communicators_count_where_the_baseline_is_older() -> None:
    # gpu_worker.py, init_device: before 0.11 the snapshot is taken before init_worker_distributed_environment.
    pools = {}
    for version in ("0.10.2", "0.11.0"):
        for parallel in (1, 2):
            workload = replace(SERVED, engine_version=version, tensor_parallel_size=parallel)
            found = serving(LLAMA, workload, "a100-sxm4-80gb").holding(4096)
            assert found is not None
            pools[version, parallel] = found.lower_bytes
    start = 2228014285 - 542239621  # measured rows: with ranks at most, alone at least
    assert pools["0.11.0", 1] == pools["0.10.2", 1]
    assert pools["0.11.0", 2] - pools["0.10.2", 2] == start


def test_quantized_experts_are_one_tensor_of_a_layer() -> None:
    # fp8.py, Fp8MoEMethod.create_weights: w13_weight of 128 experts, and w13_weight_scale_inv of 12 x 16 blocks each.
    found = rows(proof(published("Qwen--Qwen3-30B-A3B-FP8"), SERVED))
    experts = "weights/model.layers.*.mlp.experts.gate_up_proj"
    assert found[f"{experts}/packed"] == (48 * 128 * 1536 * 2048,) * 2
    assert found[f"{experts}/scales"] == (48 * 128 * 12 * 16 * 4,) * 2
    assert found["runtime/allocator_rounding"][1] < 1 << 30
