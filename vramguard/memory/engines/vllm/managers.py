"""The KV-cache managers of vLLM, each by the first release that has it; it stands until the next row.

What a row changes was read in that release and found unchanged in all releases up to the next row, 0.8.5 to 0.33.0.
How layers are grouped and counted was also compared, release by release, with what vLLM's own functions answer
(scripts/record_vllm_manager.py). Sources are files of that release under vllm/.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vramguard.memory.engines.vllm.layout import Check, Manager, Unify

_FIRST: Final = Manager(
    # v1/core/kv_cache_utils.py, get_kv_cache_config: unify_hybrid_kv_cache_specs always; a layer of any other kind is
    # NotImplementedError
    hybrid=False,
    merges_windows=True,
    # config.py, ModelConfig.__init__: interleaved_attn_models
    interleaved=frozenset(("gemma2", "gemma3_text", "cohere2")),
    # v1/core/kv_cache_utils.py, get_kv_cache_config, of each worker alone: the smaller kind decides, pages must agree
    global_groups=False,
    one_type=False,
    unify=Unify.REFUSED,
    # the same file, check_enough_kv_cache_memory: the sum over layers
    check=Check.LAYERS,
    # models/config.py, MambaModelConfig: prefix caching is off; v1/kv_cache_interface.py, MambaSpec: a block a request
    aligned_states=False,
    all_states=False,
    speculative_states=False,
    # platforms/cuda.py, check_and_update_config: FLASHMLA 64 on Hopper, CUTLASS_MLA 128 on Blackwell
    latent_blocks=((9, 64), (10, 128)),
    # config/__init__.py: max_num_encoder_input_tokens = get_encdec_max_encoder_len
    encoder_batch=False,
    # config/__init__.py, is_deepseek_mla
    latent_types=frozenset(("deepseek_v2", "deepseek_v3", "kimi_k2")),
)
# v1/core/kv_cache_utils.py, FullAttentionSpec.merge: layers of several windows are not made one kind
_0_9: Final = replace(_FIRST, merges_windows=False)
# the same file, _get_kv_cache_config_uniform_page_size
_0_9_1: Final = replace(_0_9, hybrid=True)
# v1/worker/gpu_model_runner.py, get_kv_cache_spec: ChunkedLocalAttentionSpec, whatever else is asked for
_0_10: Final = replace(_0_9_1, chunked=True)
# config/__init__.py, VllmConfig.__post_init__: chunks only with VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE
_0_10_1: Final = replace(_0_10, chunked=False, interleaved=None)
_0_11: Final = replace(
    _0_10_1,
    # v1/core/kv_cache_utils.py, get_kv_cache_configs: groups of the whole network; UniformTypeKVCacheSpecs, which every
    # worker gets as it is for the whole network
    global_groups=True,
    one_type=True,
    cuts_sizes=False,
    latent_types=_0_10_1.latent_types | {"deepseek_v32", "longcat_flash"},
)
_0_11_1: Final = replace(
    _0_11,
    # models/config.py, HybridAttentionMambaModelConfig
    latent_alignment=64,
    wide_step=32,
    latent_types=_0_11.latent_types | {"kimi_linear"},
)
_0_12: Final = replace(
    _0_11_1,
    # v1/core/kv_cache_utils.py: unify_kv_cache_spec_page_size; a larger kind of less than 1.25 times the smaller
    unify=Unify.MULTIPLE,
    even=(5, 4),
)
# config/scheduler.py, max_num_encoder_input_tokens; models/config.py, NemotronHForCausalLMConfig
_0_13: Final = replace(_0_12, encoder_batch=True, nemotron_scan="float16")
# v1/core/kv_cache_utils.py, _max_memory_usage_bytes_from_groups
_0_14: Final = replace(_0_13, check=Check.FIRST_GROUP)
_0_15: Final = replace(
    _0_14,
    # v1/kv_cache_interface.py, MambaSpec.max_memory_usage_bytes; models/config.py, MambaModelConfig
    aligned_states=True,
    all_states=True,
    speculative_states=True,
    # platforms/cuda.py, check_and_update_config: FLASHINFER_MLA first, with 64
    flashinfer_latent=(128,),
    flashinfer_latent_block=64,
    # transformers_utils/model_arch_config_convertor.py, is_deepseek_mla
    latent_types=_0_14.latent_types | {"glm4_moe_lite"},
)
_0_16: Final = replace(_0_15, latent_types=_0_15.latent_types | {"glm_moe_dsa"})
_0_17: Final = replace(
    _0_16,
    # v1/core/kv_cache_utils.py, _project_kv_cache_groups_to_worker
    cuts_sizes=True,
    check=Check.STAGE_GROUP,
    # spelled AXK1 before 0.26.0
    latent_types=_0_16.latent_types | {"axk1"},
)
_0_18: Final = replace(
    _0_17,
    # platforms/cuda.py, _get_backend_priorities, and get_preferred_block_size of the backend: on Hopper FLASH_ATTN_MLA
    # 16, with fp8 FLASHMLA 64; on Blackwell FLASHINFER_MLA 32, or CUTLASS_MLA 128
    latent_blocks=((10, 128),),
    flashinfer_latent=(64, 128, 192),
    flashinfer_latent_block=32,
    # models/config.py, HybridAttentionMambaModelConfig
    wide_step=0,
    quantized_latent_block=64,
    # v1/core/kv_cache_utils.py: of less than 1.5 times
    even=(3, 2),
)
# v1/core/kv_cache_utils.py, _max_memory_usage_bytes_from_groups
_0_19: Final = replace(_0_18, check=Check.GROUPS)
_0_20: Final = replace(
    _0_19,
    # platforms/interface.py, _align_hybrid_block_size
    aligned_to_block=True,
    latent_alignment=0,
    # v1/kv_cache_interface.py, KVQuantMode
    scales=True,
    nemotron_scan="float32",
)
# model_executor/models/deepseek_v2.py, index_topk_freq
_0_21: Final = replace(_0_20, shares_indexers=True)
# v1/core/kv_cache_utils.py, get_kv_cache_capacity
_0_24: Final = replace(_0_21, prints_capacity=True)
# model_executor/layers/attention/attention.py, get_kv_cache_spec: the smallest kernel block
_0_25: Final = replace(_0_24, sliding_block=16)
# config/vllm.py, max_in_flight_tokens; config/model.py, is_prefix_caching_supported
_0_26: Final = replace(_0_25, in_flight=True, hybrid_prefix_caching=True)
# platforms/interface.py, _align_hybrid_block_size
_0_27: Final = replace(_0_26, latent_alignment=128)
# models/config.py, MambaModelConfig
_0_28: Final = replace(_0_27, default_all=False)
_0_29: Final = replace(
    _0_28,
    # v1/core/kv_cache_utils.py (0.33.0: kv_cache_planning.py), unify_kv_cache_spec_page_size, get_kv_cache_configs
    unify=Unify.PADDED,
    check=Check.USABLE,
    # models/kimi_k3/nvidia/kda.py, get_kv_cache_spec
    checkpoints=frozenset(("kda",)),
    # model_executor/models/commandr.py
    cohere_window=1,
)
# model_executor/layers/attention/attention.py, get_kv_cache_spec: as many tokens as the others
_0_30: Final = replace(_0_29, sliding_block=0)
# v1/kv_cache_interface.py, MambaSpec; model_executor/layers/mamba/mamba_mixer2.py, get_kv_cache_spec
_0_32: Final = replace(_0_30, all_states=False, checkpoints=frozenset(("kda", "mamba2")))
# model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, get_kv_cache_spec
_0_33: Final = replace(_0_32, checkpoints=frozenset(("kda", "mamba2", "delta")))

MANAGERS: Final = {
    "0.8.5": _FIRST,
    "0.9.0": _0_9,
    "0.9.1": _0_9_1,
    "0.10.0": _0_10,
    "0.10.1": _0_10_1,
    "0.11.0": _0_11,
    "0.11.1": _0_11_1,
    "0.12.0": _0_12,
    "0.13.0": _0_13,
    "0.14.0": _0_14,
    "0.15.0": _0_15,
    "0.16.0": _0_16,
    "0.17.0": _0_17,
    "0.18.0": _0_18,
    "0.19.0": _0_19,
    "0.20.0": _0_20,
    "0.21.0": _0_21,
    "0.24.0": _0_24,
    "0.25.0": _0_25,
    "0.26.0": _0_26,
    "0.27.0": _0_27,
    "0.28.0": _0_28,
    "0.29.0": _0_29,
    "0.30.0": _0_30,
    "0.32.0": _0_32,
    "0.33.0": _0_33,
}


def manager(release: tuple[int, ...]) -> Manager | None:
    """Return the manager of a release, as (0, 19, 1); None where it was not read."""
    rows = {tuple(int(part) for part in first.split(".")): row for first, row in MANAGERS.items()}
    held = [first for first in rows if first <= release]
    return rows[max(held)] if held and release[:2] <= (0, 33) else None
