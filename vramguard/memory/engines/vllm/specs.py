"""From a network to what vLLM keeps of a sequence in each of its layers, as large as one rank has it.

The network's caches are those of transformers; vLLM's differ in what it serves, in what slides, and in latents and
states. What is not known to be laid out as described here raises UnprovenError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import lcm
from typing import Any, Final

from vramguard.memory.architecture import Architecture, Cache, Series, UnprovenError
from vramguard.memory.engines.vllm.layout import BLOCK_SIZE, ONE_BYTE, Kind, Layers, Manager, Options, Spec
from vramguard.memory.engines.vllm.states import StateLayers, state_layers
from vramguard.memory.expression import ceil_div

# Language models of which vLLM's class hands each layer its own window, or none (per_layer_sliding_window in
# model_executor/models of 0.19.0 and 0.33.0: afmoe, commandr, exaone4, gemma2, gemma3, gemma3n, gemma4, gpt_oss, llama,
# olmo2 or olmo3). A class that hands it none slides in all layers or in none, as config.sliding_window says.
_INTERLEAVED: Final = (
    *("afmoe", "cohere2", "cwm", "exaone4", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text"),
    *("gemma4_unified_text", "gpt_oss", "olmo3"),
)
_CHUNKED: Final = ("llama4", "llama4_text")
# Classes with a cache of the encoder that vLLM serves (model_executor/models/registry.py, every version).
_ENCODERS: Final = ("WhisperForConditionalGeneration",)
# Elements of an indexer's key that share a scale of 4 bytes (model_executor/models/deepseek_v2.py, Indexer).
_INDEXER_BLOCK: Final = 128
_HOPPER, _BLACKWELL = 9, 10
_WIDE: Final = 256
_SPARSE: Final = ("deepseek_v32", "glm_moe_dsa")
_SPARSE_BLOCK: Final = 64  # FLASHMLA_SPARSE and DeepseekV32IndexerBackend, every version
_FP8_DS_MLA: Final = 656  # bytes of a token (0.19.0, v1/kv_cache_interface.py, MLAAttentionSpec)
_KINDS: Final = {  # layer_types of a config
    Kind.FULL: ("full_attention", "attention", "global_attention"),
    Kind.SLIDING: ("sliding_attention",),
    Kind.CHUNKED: ("chunked_attention",),
    Kind.STATES: ("linear_attention", "mamba", "conv", "recurrent"),
}


def specs(
    network: Architecture, config: Mapping[str, Any], manager: Manager, options: Options, tensor_parallel: int = 1
) -> tuple[Layers, ...]:
    """What each layer of the network keeps, on one of `tensor_parallel` ranks.

    `config` is the one that the network was built from; it is asked for layer_types and sliding_window only.
    """
    text = _text(config)
    _refuse(network, text, manager)
    _refuse_shared_indexers(network, text, manager)
    states = state_layers(network, text, manager, options, tensor_parallel)
    block_size = _block_size(network, manager, options)
    layers = [
        layer
        for cache in network.caches
        if cache.keys or cache.values
        for layer in _attending(network, cache, manager, options, tensor_parallel, block_size)
    ]
    if states is not None:
        layers = _beside_states(network, layers, states, manager, options)
    return tuple(_numbered(network, text, layers))


def language(network: Architecture) -> str:
    """Model type of the language model: that inside, where the class has one."""
    return network.language or network.model_type


def _text(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The language model's config, where it stands inside."""
    inner = config.get("text_config") or config.get("llm_config") or config.get("thinker_config")
    return inner if isinstance(inner, Mapping) else config


def _refuse(network: Architecture, text: Mapping[str, Any], manager: Manager) -> None:
    """Raise for caches that vLLM does not lay out as the others."""
    if network.name not in _ENCODERS and any(cache.encoder or cache.tokens for cache in network.caches):
        raise UnprovenError(f"vLLM does not serve the encoder's cache of {network.name}")
    slides = [cache for cache in network.caches if cache.window is not None]
    attends = [cache for cache in network.caches if cache.keys or cache.values]
    declared, interleaved = text.get("sliding_window"), manager.interleaved
    own = _INTERLEAVED if interleaved is None else interleaved
    if slides and len(slides) < len(attends) and language(network) not in (*own, *_CHUNKED):
        raise UnprovenError(f"vLLM's sliding layers of {language(network)} are not described yet")
    if not slides and declared and text.get("use_sliding_window", True) and language(network) not in own:
        raise UnprovenError(f"config: sliding_window is {declared!r}, which vLLM obeys and transformers does not")


def _refuse_shared_indexers(network: Architecture, text: Mapping[str, Any], manager: Manager) -> None:
    """Raise where not every sparse layer has an indexer, but for those that vLLM leaves out as well.

    (0.28.0, model_executor/models/deepseek_v2.py, DeepseekV2MLAAttention: every index_topk_freq-th layer has one.)
    """
    own = sum(cache.layers for cache in network.caches if cache.series)
    if own in (0, network.layers):
        return
    every, offset = text.get("index_topk_freq", 1), text.get("index_skip_topk_offset", 2)
    known = isinstance(every, int) and isinstance(offset, int) and every > 0 and not text.get("index_topk_pattern")
    built = sum(max(i - offset + 1, 0) % every == 0 for i in range(network.layers)) if known else 0
    if not manager.shares_indexers or built != own:
        raise UnprovenError(f"which layers of {language(network)} have an indexer is not described for this version")


def _block_size(network: Architecture, manager: Manager, options: Options) -> int:
    """--block-size, or what the attention backend asks for."""
    if any(cache.series for cache in network.caches):
        if options.block_size not in (None, _SPARSE_BLOCK):
            raise UnprovenError(f"--block-size {options.block_size} is not one of sparse latent attention")
        return _SPARSE_BLOCK
    if options.block_size is not None:
        return options.block_size
    if not latent_attention(network):
        return BLOCK_SIZE
    if options.capability == _HOPPER and options.kv_cache_dtype in ONE_BYTE and manager.quantized_latent_block:
        return manager.quantized_latent_block
    if options.capability == _BLACKWELL and network.sizes.get("qk_nope_head_dim") in manager.flashinfer_latent:
        return manager.flashinfer_latent_block
    return dict(manager.latent_blocks).get(options.capability, BLOCK_SIZE)


def latent_attention(network: Architecture) -> bool:
    """Whether any layer keeps latents instead of keys and values (DeepSeek's)."""
    return any(_latent(network, cache) for cache in network.caches)


def _latent(network: Architecture, cache: Cache) -> bool:
    """Whether a cache is one latent vector beside the rotary part of a key."""
    sizes = network.sizes
    return cache.keys == sizes.get("kv_lora_rank") and cache.values == sizes.get("qk_rope_head_dim")


def _attending(
    network: Architecture, cache: Cache, manager: Manager, options: Options, tensor_parallel: int, block_size: int
) -> list[Layers]:
    """The layers that keep as `cache` says."""
    if cache.states:
        raise UnprovenError(f"vLLM's cache of {network.name}, keys beside states in one layer, is not described yet")
    if _latent(network, cache):
        return _latent_layers(network, cache, manager, options, block_size)
    if cache.series or cache.keys != cache.values:
        raise UnprovenError(f"vLLM's cache of {network.name} is not described yet")
    heads, size = _heads(network, cache)
    if heads % tensor_parallel and tensor_parallel % heads:
        raise UnprovenError(f"{heads} KV heads and tensor_parallel_size {tensor_parallel} do not divide each other")
    token = max(1, heads // tensor_parallel) * options.head_bytes(manager, size, size)
    spec = Spec(Kind.FULL, block_size, token)
    if cache.encoder:
        tokens = _whole(network, cache)
        counted = max(tokens, options.max_num_batched_tokens) if manager.encoder_batch else tokens
        spec = replace(spec, kind=Kind.CROSS, window=counted, least=tokens)
    elif cache.window is not None:
        spec = _windowed(network, cache.window, spec, manager, options)
    return [Layers(spec, cache.layers)]


def _windowed(network: Architecture, window: int, spec: Spec, manager: Manager, options: Options) -> Spec:
    if language(network) in _CHUNKED:
        # Off by default for its latency since 0.10.1 (config/vllm.py, VllmConfig.__post_init__).
        kept = manager.chunked or options.chunked_local
        return replace(spec, kind=Kind.CHUNKED, window=window) if kept else spec
    window += manager.cohere_window if language(network).startswith("cohere2") else 0
    return replace(spec, kind=Kind.SLIDING, window=window, block_size=manager.sliding_block or spec.block_size)


def _heads(network: Architecture, cache: Cache) -> tuple[int, int]:
    """KV heads and their size."""
    fitting = {(g.kv_heads, g.head_dim) for g in network.attention if g.kv_heads * g.head_dim == cache.keys}
    same = {(g.kv_heads, g.head_dim) for g in network.attention if g.window == cache.window} & fitting
    found = same or fitting
    if len(found) != 1:
        raise UnprovenError(f"the KV heads of {network.name} are not known")
    return found.pop()


def _whole(network: Architecture, cache: Cache) -> int:
    """Tokens of the encoder."""
    if cache.tokens is None:
        raise UnprovenError(f"the encoder's tokens of {network.name} are not known")
    return cache.tokens


def _latent_layers(
    network: Architecture, cache: Cache, manager: Manager, options: Options, block_size: int
) -> list[Layers]:
    """MLA: every rank has the whole latent; a sparse layer has its indexer's keys beside it, in one byte each."""
    kind = language(network)
    if kind not in manager.latent_types:
        raise UnprovenError(f"this version of vLLM is not known to run {kind} with latent attention")
    packed = options.kv_cache_dtype == "fp8_ds_mla" or (cache.series and options.kv_cache_dtype in ONE_BYTE)
    token = _FP8_DS_MLA if packed else (cache.keys + cache.values) * options.element_bytes(manager)
    layers = [Layers(Spec(Kind.LATENT, block_size, token), cache.layers)]
    if cache.series:
        index = _indexer(kind, cache)
        scaled = index.elements + index.elements // _INDEXER_BLOCK * 4
        layers.append(Layers(Spec(Kind.LATENT, block_size, scaled, role="indexer"), cache.layers))
    return layers


def _indexer(kind: str, cache: Cache) -> Series:
    if kind not in _SPARSE or len(cache.series) != 1 or cache.series[0].every != 1:
        raise UnprovenError(f"vLLM's cache of {kind}, keys of an indexer, is not described yet")
    return cache.series[0]


def _beside_states(
    network: Architecture, layers: list[Layers], states: StateLayers, manager: Manager, options: Options
) -> list[Layers]:
    """Raise the blocks of attention until a state fits into a page, and the state's page to the same size.

    (0.19.0, models/config.py, HybridAttentionMambaModelConfig; 0.20.0, platforms/interface.py,
    Platform._align_hybrid_block_size.)
    """
    if not layers:
        return [Layers(states.spec, states.layers)]
    attention = {layer.spec for layer in layers}
    if len(attention) != 1 or next(iter(attention)).kind not in (Kind.FULL, Kind.LATENT):
        raise UnprovenError("vLLM's cache of states beside several kinds of attention is not described yet")
    spec = attention.pop()
    # What blocks are a multiple of anyway, then what states want.
    step = max(BLOCK_SIZE, spec.block_size) if manager.aligned_to_block else BLOCK_SIZE
    step = max(step, manager.latent_alignment) if spec.kind is Kind.LATENT else step
    if options.capability == _BLACKWELL and any(group.head_dim == _WIDE for group in network.attention):
        step = max(step, manager.wide_step)
    step = lcm(step, states.multiple)
    block = max(spec.block_size, step * ceil_div(states.spec.state_bytes, step * spec.token_bytes))
    raised = replace(spec, block_size=block)
    per_block = block if states.each_block else 0
    paged = replace(states.spec, padded=raised.page, block_size=per_block)
    if options.block_size is not None and options.block_size % BLOCK_SIZE:
        raise UnprovenError(f"--block-size {options.block_size} beside states is not described yet")
    return [Layers(raised, sum(layer.copies for layer in layers)), Layers(paged, states.layers)]


def _numbered(network: Architecture, text: Mapping[str, Any], layers: list[Layers]) -> list[Layers]:
    """Add the numbers of the layers, which pipeline stages depend on, where the config tells them."""
    count = network.sizes.get("decoder_layers", network.layers) if network.name in _ENCODERS else network.layers
    if all(layer.copies == count for layer in layers):
        return [layer._replace(numbers=tuple(range(count))) for layer in layers]
    listed = text.get("layer_types")
    if not isinstance(listed, list):
        return [layer._replace(numbers=_by_weights(network, layer)) for layer in layers]
    return [layer._replace(numbers=_by_types(listed, layer)) for layer in layers]


def _by_types(listed: list[Any], layer: Layers) -> tuple[int, ...] | None:
    kind = Kind.FULL if layer.spec.kind is Kind.LATENT else layer.spec.kind
    numbers = tuple(number for number, name in enumerate(listed) if name in _KINDS.get(kind, ()))
    # Layers that use the keys of another have no cache of their own, and are the last.
    return numbers[: layer.copies] if len(numbers) >= layer.copies else None


def _by_weights(network: Architecture, layer: Layers) -> tuple[int, ...] | None:
    """Numbers of layers with states, whose weights have names of their own; those of the others are the rest."""
    named = {t.layers for t in network.tensors if t.name.endswith((".conv1d.weight", ".conv.conv.weight"))}
    numbers = tuple(sorted({number for each in named for number in each}))
    if layer.spec.kind is not Kind.STATES:
        numbers = tuple(number for number in range(network.layers) if number not in numbers)
    return numbers if len(numbers) == layer.copies else None
