"""States of recurrent layers as vLLM keeps them: the last inputs of a convolution beside what a scan has summed up.

(model_executor/layers/mamba/mamba_utils.py, MambaStateShapeCalculator and MambaStateDtypeCalculator, and
get_mamba_state_shape_from_config of each class.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import Architecture, Cache, UnprovenError
from vramguard.memory.engines.vllm.layout import Kind, Manager, Options, Spec

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Sizes(NamedTuple):
    """What families of Mamba 2 call their groups and chunks, and the chunk of those that name none."""

    groups: tuple[str, ...] = ("mamba_n_groups", "mamba_ngroups", "n_groups")
    chunks: tuple[str, ...] = ("mamba_chunk_size", "chunk_size")
    chunk: int = 2048  # config/model.py, get_mamba_chunk_size


SIZES: Final = _Sizes()


class StateLayers(NamedTuple):
    """Layers with states, before they are matched with layers that attend."""

    spec: Spec
    layers: int
    multiple: int  # of so many tokens are the blocks of attention beside them
    each_block: bool  # a state is kept for each block


class _Names(NamedTuple):
    """What a family calls its sizes; of groups and states where the convolution is over them too (Mamba 2)."""

    kernel: str | None
    groups: str | None = None
    state: str | None = None


_MAMBA: Final = _Names("mamba_d_conv", "mamba_n_groups", "mamba_d_state")
_DELTA: Final = _Names("linear_conv_kernel_dim")
_NAMES: Final = {
    "bamba": _MAMBA,
    "falcon_h1": _MAMBA,
    "granitemoehybrid": _MAMBA,
    "zamba2": _Names("mamba_d_conv", "mamba_ngroups", "mamba_d_state"),
    "nemotron_h": _Names("conv_kernel", "n_groups", "ssm_state_size"),
    "mamba2": _Names("conv_kernel", "n_groups", "state_size"),
    "mamba": _Names("conv_kernel"),
    "falcon_mamba": _Names("conv_kernel"),
    "jamba": _Names("mamba_d_conv"),
    "qwen3_next": _DELTA,
    "qwen3_5_text": _DELTA,
    "qwen3_5_moe_text": _DELTA,
    "olmo_hybrid": _DELTA,
    "kimi_linear": _DELTA,
    "lfm2": _Names("conv_l_cache"),
    "lfm2_moe": _Names("conv_l_cache"),
    "minimax": _Names(None),
}
MAMBA_1: Final = ("mamba", "falcon_mamba", "jamba")
MAMBA_2: Final = ("bamba", "falcon_h1", "granitemoehybrid", "zamba2", "nemotron_h", "mamba2")
DELTA: Final = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid", "kimi_linear")
LIGHTNING: Final = ("minimax",)
SHORT: Final = ("lfm2", "lfm2_moe")
_DELTAS: Final = ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text")  # of the class that may checkpoint
_CHECKPOINT_TOKENS: Final = 64  # 0.33.0, v1/attention/backends/gdn_attn.py, FLASHINFER_GDN_CHECKPOINT_ALIGNMENT
_FREE: Final = ("mamba", "falcon_mamba", "mamba2")  # classes without attention
# Hybrids that keep a state for each block if prefix caching is asked for (SupportsMambaPrefixCaching, 0.16.0-0.28.0).
_ALL: Final = ("bamba", "falcon_h1", "granitemoehybrid", "jamba", "nemotron_h", "zamba2")
_HOPPER: Final = 9
_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2}


def state_layers(
    network: Architecture, text: Mapping[str, Any], manager: Manager, options: Options, tensor_parallel: int
) -> StateLayers | None:
    """The layers with states on one of `tensor_parallel` ranks, None where there are none."""
    caches = [cache for cache in network.caches if cache.states and not (cache.keys or cache.values)]
    if not caches:
        return None
    kind = network.language or network.model_type
    if kind not in _NAMES or len(caches) != 1:
        raise UnprovenError(f"vLLM's cache of the states of {kind} is not described yet")
    if options.speculative_tokens and kind not in DELTA:
        raise UnprovenError(f"speculative decoding of {kind} is not supported yet")
    hybrid = any(cache.keys for cache in network.caches)
    if not hybrid and kind not in _FREE:
        raise UnprovenError(f"vLLM's cache of {kind} without a layer that attends is not described yet")
    mode = _mode(kind, manager, options, hybrid=hybrid)
    size = _state_bytes(network, caches[0], text, manager, options, tensor_parallel)
    most, least = _kept(kind, mode, manager, options)
    spec = Spec(Kind.STATES, state_bytes=size, states=most, least=least)
    multiple = _multiple(network, kind, mode, manager, options)
    return StateLayers(spec, caches[0].layers, multiple, each_block=mode == "all")


def _mode(kind: str, manager: Manager, options: Options, *, hybrid: bool) -> str:
    """How states are kept for prefix caching: none, align or all (MambaModelConfig.verify_and_update_config)."""
    caching = options.enable_prefix_caching
    if not (manager.hybrid_prefix_caching and hybrid if caching is None else caching):
        return "none"
    if not hybrid or not manager.aligned_states:
        raise UnprovenError(f"prefix caching of the states of {kind} is not supported in this version of vLLM")
    wanted = options.mamba_cache_mode or "none"
    if wanted == "none":
        wanted = "all" if manager.default_all else "align"
    return wanted if wanted == "align" or (kind in _ALL and manager.all_states) else "align"


def _kept(kind: str, mode: str, manager: Manager, options: Options) -> tuple[int, int]:
    """States of one request, at most and at least; of the mode all, those beside one for each block."""
    extra = options.speculative_tokens if manager.speculative_states else 0
    if mode == "all":
        return 0, 0
    if mode == "none":
        return 1 + extra, 1 + extra
    return 2 + extra + _checkpoints(kind, manager, options), 1


def _checkpoints(kind: str, manager: Manager, options: Options) -> bool:
    """Whether a prefill may keep one more state (num_prefill_checkpoint_blocks of each layer's get_kv_cache_spec)."""
    if kind in MAMBA_2:
        return "mamba2" in manager.checkpoints
    if kind == "kimi_linear":  # where its own kernels compute it; at most one
        return "kda" in manager.checkpoints
    return _checkpoints_delta(kind, manager, options)


def _checkpoints_delta(kind: str, manager: Manager, options: Options) -> bool:
    """Whether FlashInfer computes the delta rule, by default wherever it can, which also makes blocks longer.

    (0.33.0, model_executor/layers/mamba/gdn/qwen_gdn_linear_attn.py, _resolve_gdn_prefill_backend.)
    """
    if "delta" not in manager.checkpoints or kind not in _DELTAS:
        return False
    if options.state_checkpoints is None and options.capability > _HOPPER:
        raise UnprovenError(f"whether FlashInfer computes the delta rule of {kind} on this GPU is not known")
    return options.capability == _HOPPER if options.state_checkpoints is None else options.state_checkpoints


def _multiple(network: Architecture, kind: str, mode: str, manager: Manager, options: Options) -> int:
    """Tokens that blocks of attention beside the states are a multiple of."""
    if mode == "all":
        return next((network.sizes[name] for name in SIZES.chunks if network.sizes.get(name)), SIZES.chunk)
    return _CHECKPOINT_TOKENS if mode == "align" and _checkpoints_delta(kind, manager, options) else 1


def _state_bytes(
    network: Architecture, cache: Cache, text: Mapping[str, Any], manager: Manager, options: Options, parallel: int
) -> int:
    """Bytes of one request's state in one layer of one rank."""
    kind = network.language or network.model_type
    names = _NAMES[kind]
    conv_bytes = options.mamba_cache_bytes or options.dtype_bytes
    if names.kernel is None:
        return _split(kind, sum(state.elements for state in cache.states), parallel) * conv_bytes
    kernel = _size(network, names.kernel)
    inputs, *scans = cache.states
    channels, rest = divmod(inputs.elements, kernel)
    if rest:
        raise UnprovenError(f"the convolution of {kind} is not described yet")
    if names.groups and names.state:
        channels += 2 * _repeated(_size(network, names.groups), parallel) * _size(network, names.state)
    # transformers keeps as many inputs as the kernel is wide, vLLM not the one that is yet to come.
    convolution = _split(kind, channels, parallel) * (kernel - 1 + options.speculative_tokens) * conv_bytes
    scanned = _split(kind, sum(state.elements for state in scans), parallel)
    return convolution + scanned * _scan_bytes(kind, text, manager, options, conv_bytes)


def _scan_bytes(kind: str, text: Mapping[str, Any], manager: Manager, options: Options, conv_bytes: int) -> int:
    """Bytes of one element of the scan's state: --mamba-ssm-cache-dtype, the model's own word, or the convolution's."""
    if options.mamba_ssm_cache_bytes is not None:
        return options.mamba_ssm_cache_bytes
    if kind == "kimi_linear":
        return 4
    if kind == "nemotron_h" and manager.nemotron_scan:
        return _named(text.get("mamba_ssm_cache_dtype", manager.nemotron_scan))
    own = text.get("mamba_ssm_dtype") if kind.startswith("qwen3_5") else None
    return conv_bytes if own is None else _named(own)


def _named(dtype: object) -> int:
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise UnprovenError(f"config: {dtype!r} is not a dtype of states that is known")
    return _BYTES[dtype]


def _size(network: Architecture, name: str) -> int:
    if name not in network.sizes:
        raise UnprovenError(f"config: {name} is not known")
    return network.sizes[name]


def _split(kind: str, elements: int, parallel: int) -> int:
    if elements % parallel:
        raise UnprovenError(f"the states of {kind} do not divide among {parallel} ranks")
    return elements // parallel


def _repeated(groups: int, parallel: int) -> int:
    """Groups that are added so that each rank has those of its heads (extra_groups_for_head_shards)."""
    return 0 if groups % parallel == 0 else parallel - groups
