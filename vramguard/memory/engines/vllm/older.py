"""What releases before 0.10.2 leave to their V0 engine, or do in a way that was not read: neither is proved.

Up to 0.10.2 vLLM has two engines. V1 is the default, and what it cannot run falls back to V0 (engine/arg_utils.py,
EngineArgs._is_v1_supported_oracle; read in 0.8.5, 0.9.0 to 0.9.2, 0.10.0, 0.10.1.1 and 0.10.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.engines.vllm.profiles import implementations, releases
from vramguard.memory.engines.vllm.specs import language, latent_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.vllm.profiles import Profile
    from vramguard.memory.weights import Loaded

_AMPERE: Final = 8
# Classes with SupportsV0Only in a release before 0.10.2 (model_executor/models); those with states have it as well.
_V0_ONLY: Final = frozenset(
    (
        *("BartForConditionalGeneration", "BloomForCausalLM", "Florence2ForConditionalGeneration", "GritLM"),
        *("MBartForConditionalGeneration", "MllamaForConditionalGeneration", "WhisperForConditionalGeneration"),
    )
)
# Formats whose kernels and buffers are those of the releases that were read whole.
_FORMATS: Final = ("fp8", "awq", "gptq", "compressed-tensors")


def v0_engine(profile: Profile, loaded: Loaded, ask: Ask) -> str | None:
    """Return what makes a release turn to its V0 engine; None where it does not."""
    if not profile.v0_engine:
        return None
    return next((reason for applies, reason in _falls_back(profile, loaded, ask) if applies), None)


def _falls_back(profile: Profile, loaded: Loaded, ask: Ask) -> Iterator[tuple[bool, str]]:
    workload, device, network, first = ask.workload, ask.device, loaded.network, profile.span[0]
    yield not _has_cache(profile, loaded, ask), f"a {workload.kv_cache_dtype} cache on this card"
    if first >= (0, 10, 2):
        return
    yield device.generation < _AMPERE, "cards of compute capability below 8.0"
    yield first < (0, 10) and loaded.dtype == "float32", "float32"
    yield network.name in _V0_ONLY, network.name
    yield any(cache.states for cache in network.caches), "layers with states"
    yield first < (0, 10) and workload.speculative_method is not None, "speculative decoding"
    yield first < (0, 9) and (workload.pipeline_parallel_size or 1) > 1, "pipelines without Ray"


def _has_cache(profile: Profile, loaded: Loaded, ask: Ask) -> bool:
    """Whether V1 has kernels for the type of the cache.

    FlashAttention reads fp8 on Hopper alone, every backend of Blackwell does since 0.10, and those of latents since
    0.10.2 (platforms/cuda.py, is_kv_cache_dtype_supported; before 0.10 within the oracle itself).
    """
    said = ask.workload.kv_cache_dtype or "auto"
    if said == "auto":
        return True
    if ask.workload.attn_implementation == "flashinfer":
        return profile.span[0] >= (0, 10) and ask.device.compute_capability == "10.0"
    if profile.span[0] >= (0, 10, 2) and (not said.startswith("fp8") or latent_attention(loaded.network)):
        return True
    return said.startswith("fp8") and ask.device.compute_capability in _READS_FP8[profile.span[0] >= (0, 10)]


_READS_FP8: Final = {False: ("9.0",), True: ("9.0", "10.0")}


def _slides(network: Architecture) -> bool:
    return any(cache.window is not None for cache in network.caches)


def not_read(profile: Profile, loaded: Loaded, ask: Ask) -> str | None:
    """Return what of a deployment was not read in a release before 0.10.1; None where all of it was."""
    if profile.span[0] < (0, 11) and ask.workload.attn_implementation == "flashinfer" and _slides(loaded.network):
        # config/__init__.py, ModelConfig: cuts the context to the window (before 0.10.1 config.py)
        return "FlashInfer with sliding layers"
    if profile.span[0] >= (0, 10, 1):
        return None
    return next((reason for applies, reason in _unread(profile, loaded, ask) if applies), None)


def _unread(profile: Profile, loaded: Loaded, ask: Ask) -> Iterator[tuple[bool, str]]:
    workload, network, first = ask.workload, loaded.network, profile.span[0]
    sees = "multimodal" in implementations(network.name, workload.engine_version)
    # The profile run encodes one item more before 0.10 (v1/worker/gpu_model_runner.py, profile_run: cdiv).
    yield first < (0, 10) and sees, "pictures and sound"
    # v1/attention/backends/mla/common.py: other workspaces.
    yield latent_attention(network), "latent attention"
    yield language(network) in ("gemma3n_text", "exaone4"), f"the cache of {network.name}"
    yield (workload.data_parallel_size or 1) > 1, "data parallelism"
    scheme = loaded.scheme
    yield scheme is not None and scheme.method not in _FORMATS, f"quantization {scheme.method if scheme else ''}"
    # 0.9.1, v1/core/kv_cache_utils.py, get_num_blocks: logs an override and does not obey it.
    low, high = releases(workload.engine_version)
    yield workload.num_gpu_blocks_override is not None and low <= (0, 9, 1) <= high, "num_gpu_blocks_override"
