"""What one token, and one sequence, takes of SGLang's cache on one card.

SGLang has one pool of tokens for every layer: each layer keeps keys and values of every token, whatever its window.
Only some classes have a second, smaller pool for the layers that slide, and only recurrent layers keep states.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture, Cache
    from vramguard.memory.engines.shards import Rank

# SGLang, srt/configs/model_config.py, is_hybrid_swa_model, get_hybrid_layer_ids: 0.5.10, and what 0.5.23 has beside
_SLIDING: Final = frozenset(
    ("GptOssForCausalLM", "Llama4ForConditionalGeneration", "MiMoV2FlashForCausalLM", "Gemma4ForCausalLM",
     "Gemma4ForConditionalGeneration", "Gemma4UnifiedForConditionalGeneration", "GraniteSWAForCausalLM",
     "GraniteMoeSWAForCausalLM", "LagunaForCausalLM", "MellumForCausalLM", "MuseGlimmerForConditionalGeneration",
     "Step3p7ForConditionalGeneration")
)  # fmt: skip
# 0.5.23, srt/mem_cache/kv_cache_configurator.py: pools beside those below, for indexes, compressed keys or an encoder
_OTHER: Final = frozenset(
    ("BeamForCausalLM", "DeepseekV32ForCausalLM", "DeepseekV4ForCausalLM", "DiffusionGemmaForBlockDiffusion",
     "Dots3NoteForCausalLM", "Glm5NextForConditionalGeneration", "GlmMoeDsaForCausalLM", "HYV4ForCausalLM",
     "InklingForConditionalGeneration", "MiniMaxM3SparseForConditionalGeneration", "MllamaForConditionalGeneration",
     "Qwen4ExpForConditionalGeneration", "WhisperForConditionalGeneration")
)  # fmt: skip


class Cells(NamedTuple):
    """Elements on one card. `layers` and `sliding` are at least and at most how many layers of the stage there are."""

    token: int  # elements of one token in one layer
    layers: tuple[int, int]  # that keep every token
    sliding: tuple[int, int] = (0, 0)  # that have the smaller pool
    state: tuple[int, int] = (0, 0)  # elements of one sequence, in all the stage's layers together


def cells(network: Architecture, rank: Rank) -> Cells:
    """What a card keeps; raises UnprovenError for a cache that is not known to be SGLang's."""
    if network.name in _OTHER:
        raise UnprovenError(f"the pools that sglang has for {network.name} are not supported yet")
    keyed = [cache for cache in network.caches if cache.keys or cache.values]
    for cache in network.caches:
        _refuse(cache)
    states = _states(network, rank)
    if not keyed:
        raise UnprovenError(f"{network.name} keeps no keys: its pool in sglang is not supported yet")
    if len({(cache.keys, cache.values) for cache in keyed}) > 1:
        raise UnprovenError(f"{network.name} has layers with keys of several sizes, whose pool is not supported yet")
    token = _token(network, keyed[0], rank.tensor_parallel)
    slide = sum(cache.layers for cache in keyed if cache.window is not None)
    if slide and network.name in _SLIDING:
        full = sum(cache.layers for cache in keyed) - slide
        if full + slide != network.layers:
            raise UnprovenError(f"{network.name}: {network.layers - full - slide} layers have no cache of their own")
        return Cells(token, _staged(network, full, rank), _staged(network, slide, rank), states)
    # Without states the pool has a buffer for every layer, also for those that read another's (num_hidden_layers).
    count = sum(cache.layers for cache in keyed)
    if count > network.layers:
        raise UnprovenError(f"{network.name} has {count} caches in {network.layers} layers, which is not supported yet")
    least, most = _staged(network, count, rank)
    if any(cache.states for cache in network.caches):
        return Cells(token, (least, most), state=states)
    return Cells(token, (least, _staged(network, network.layers, rank)[1]))


def _refuse(cache: Cache) -> None:
    if cache.encoder or cache.tokens is not None:
        raise UnprovenError("the cache of an encoder's tokens is not supported yet for sglang")
    if cache.series:
        raise UnprovenError("sparse attention with an index of its own is not supported yet for sglang")


def _token(network: Architecture, cache: Cache, parallel: int) -> int:
    """Elements of one token in a layer: a latent stands on every card, heads are dealt, at least one to each."""
    if "kv_lora_rank" in network.sizes and cache.keys == network.sizes["kv_lora_rank"]:
        return cache.keys + cache.values
    counts = {group.kv_heads for group in network.attention}
    if len(counts) != 1:
        raise UnprovenError(f"{network.name} has layers with several numbers of key heads")
    heads = counts.pop()
    if not heads or gcd(cache.keys, cache.values) % heads:
        raise UnprovenError(f"{network.name}: {cache.keys} elements of a token are not {heads} heads")
    return (cache.keys + cache.values) // heads * max(1, heads // parallel)


def _states(network: Architecture, rank: Rank) -> tuple[int, int]:
    """Elements of one sequence's states: the largest is dealt by heads, of the others every card may have all."""
    least = most = 0
    for cache in network.caches:
        sizes = sorted(state.elements for state in cache.states)
        if sizes:
            layers, parallel = _staged(network, cache.layers, rank), rank.tensor_parallel
            least += layers[0] * (sum(sizes) // parallel)
            most += layers[1] * (sum(sizes[:-1]) + -(-sizes[-1] // parallel))
    return least, most


def _staged(network: Architecture, count: int, rank: Rank) -> tuple[int, int]:
    """How many of `count` of the network's layers the stage has, at least and at most."""
    here = rank.layers[1] - rank.layers[0]
    return max(0, count - (network.layers - here)), min(count, here)
