"""Bytes of the cache that transformers keeps: what its tensors hold, and what storage they keep alive.

The two differ where a layer slides. Its cache holds the last window - 1 tokens, but after a prefill that is a view of
all tokens of the prompt, whose storage lives until the next step. A peak is made of storage.
(transformers 5.23, cache_utils: DynamicLayer, DynamicSlidingWindowLayer, LinearAttentionLayer.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Cache, Series
from vramguard.memory.expression import evaluate

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture

# Bits of one token in the layers of a group.
_TOKEN: Final = "layers * sequences * (keys + values) * kv_bits"


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes as a formula of the ledger's grammar and its inputs."""

    formula: str
    inputs: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Value of the formula."""
        return evaluate(self.formula, self.inputs)


@dataclass(frozen=True, slots=True)
class GroupCache:
    """Cache of the layers that keep alike; `tensor` and `storage` have the same inputs."""

    cache: Cache
    tensor: Amount  # what the cache's tensors hold
    storage: Amount  # what they keep alive at the worst moment, right after the prefill


def cache_bytes(architecture: Architecture, tokens: int, sequences: int, kv_bits: int) -> tuple[GroupCache, ...]:
    """Cache of each group of layers after a prefill of `sequences` x `tokens` tokens, `kv_bits` an element.

    No later moment of the same context holds more: a step replaces a sliding layer's storage by a smaller one.
    """
    return tuple(_group_cache(cache, tokens, sequences, kv_bits) for cache in architecture.caches)


def _group_cache(cache: Cache, tokens: int, sequences: int, kv_bits: int) -> GroupCache:
    inputs = {"layers": cache.layers, "sequences": sequences, "kv_bits": kv_bits}
    held, alive = [], []
    if cache.keys or cache.values:
        count = tokens if cache.tokens is None else cache.tokens
        inputs |= {"keys": cache.keys, "values": cache.values, "tokens": count}
        alive.append(f"{_TOKEN} * tokens")
        held.append(alive[0] if cache.window is None else f"{_TOKEN} * min(tokens, window - 1)")
        if cache.window is not None:
            inputs["window"] = cache.window
    for number, state in enumerate(cache.states):
        inputs[f"state_{number}"] = state.elements
        bits = "kv_bits" if state.bytes is None else str(8 * state.bytes)
        for parts in (held, alive):
            parts.append(f"layers * sequences * state_{number} * {bits}")
    for number, series in enumerate(cache.series):
        inputs |= {"tokens": tokens, f"series_{number}": series.elements, f"every_{number}": series.every}
        bits = "kv_bits" if series.bytes is None else str(8 * series.bytes)
        for parts, entries in zip((held, alive), _entries(series, f"every_{number}"), strict=True):
            parts.append(f"layers * sequences * series_{number} * {entries} * {bits}")
    tensor, storage = (f"ceil_div({' + '.join(parts)}, 8)" for parts in (held, alive))
    return GroupCache(cache, Amount(tensor, inputs), Amount(storage, inputs))


def _entries(series: Series, every: str) -> tuple[str, str]:
    """Number of entries that a series holds after a prefill, and of those that its storage has room for."""
    if series.rest:
        return f"(tokens - tokens // {every} * {every})", "tokens"
    count = "tokens" if series.every == 1 else f"(tokens // {every})"
    count = count if series.most is None else f"min({count}, {series.most})"
    return count, count


def cache_bytes_per_token(architecture: Architecture, kv_bits: int) -> int:
    """Bytes that one more token of one sequence adds to all layers of full attention."""
    full = (cache for cache in architecture.caches if cache.window is None and cache.tokens is None)
    elements = sum(cache.layers * (cache.keys + cache.values) for cache in full if not cache.encoder)
    grows = sum((_series_bits(cache, kv_bits) for cache in architecture.caches), Fraction(elements * kv_bits))
    return ceil(grows / 8)


def _series_bits(cache: Cache, kv_bits: int) -> Fraction:
    """Bits that one more token adds to the series of a group of layers, on average."""
    growing = (series for series in cache.series if series.most is None and not series.rest)
    bits = (Fraction(s.elements * (kv_bits if s.bytes is None else 8 * s.bytes), s.every) for s in growing)
    return cache.layers * sum(bits, Fraction(0))
