"""Bytes of the KV cache that transformers keeps: what the tensors hold, and what storage they keep alive.

The two differ where a layer slides. Its cache holds the last window - 1 tokens, but after a prefill that is a view of
all tokens of the prompt, whose storage lives until the next step. A peak is made of storage.
(transformers 5.23, cache_utils: DynamicLayer, DynamicSlidingWindowLayer.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import Attention
from vramguard.memory.expression import evaluate

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture

# Bits of one token: its keys in one layer, and keys and values in all layers of a group.
_KEYS: Final = "sequences * kv_heads * head_dim * kv_bits"
_GROUP: Final = f"2 * layers * {_KEYS}"


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
    """Cache of the layers that share one attention; `tensor` and `storage` have the same inputs."""

    attention: Attention
    tensor: Amount  # what the cache's tensors hold
    storage: Amount  # what they keep alive at the worst moment, right after the prefill


def cache_bytes(architecture: Architecture, tokens: int, sequences: int, kv_bits: int) -> tuple[GroupCache, ...]:
    """Cache of each attention group after a prefill of `sequences` x `tokens` tokens, `kv_bits` an element.

    No later moment of the same context holds more: a step replaces a sliding layer's storage by a smaller one.
    """
    return tuple(_group_cache(group, tokens, sequences, kv_bits) for group in architecture.attention)


def _group_cache(group: Attention, tokens: int, sequences: int, kv_bits: int) -> GroupCache:
    inputs = _inputs(group, tokens, sequences, kv_bits)
    kept = "tokens" if group.window is None else "min(tokens, window - 1)"
    return GroupCache(
        attention=group,
        tensor=Amount(f"ceil_div({_GROUP} * {kept}, 8)", inputs),
        storage=Amount(f"ceil_div({_GROUP} * tokens, 8)", inputs),
    )


def growth_bytes(architecture: Architecture, tokens: int, sequences: int, kv_bits: int) -> Amount:
    """Most that the step which adds the last of `tokens` tokens holds beyond the cache's storage at `tokens`.

    A layer grows by concatenation, so old and new exist together for a moment. A full layer replaces its keys before
    its values: one old tensor is extra. A sliding layer makes both new tensors before it drops the old ones, which may
    be views of the whole prompt. One layer grows at a time: the group with the most counts. It is never more than the
    keys and values of one layer, so a prefill of the same tokens, whose layers hold those beside the cache, covers it.
    """
    amounts = [_growth(group, tokens, sequences, kv_bits) for group in architecture.attention]
    return max(amounts, key=lambda amount: amount.bytes)


def _growth(group: Attention, tokens: int, sequences: int, kv_bits: int) -> Amount:
    inputs = _inputs(group, tokens, sequences, kv_bits)
    if group.window is None:
        return Amount(f"ceil_div({_KEYS} * (tokens - 1), 8)", inputs)
    # old 2 (tokens - 1) and new 2 min(tokens, window), less the 2 tokens that the storage at `tokens` counts
    return Amount(f"ceil_div(2 * {_KEYS} * (min(tokens, window) - 1), 8)", inputs)


def cache_bytes_per_token(architecture: Architecture, kv_bits: int) -> int:
    """Bytes that one more token of one sequence adds to all layers of full attention."""
    full = (group for group in architecture.attention if group.window is None)
    elements = sum(2 * group.layers * group.cached_heads * group.head_dim for group in full)
    return -(-elements * kv_bits // 8)


def _inputs(group: Attention, tokens: int, sequences: int, kv_bits: int) -> dict[str, int]:
    inputs = {
        "layers": group.layers,
        "sequences": sequences,
        "tokens": tokens,
        "kv_heads": group.cached_heads,
        "head_dim": group.head_dim,
        "kv_bits": kv_bits,
    }
    return inputs if group.window is None else {**inputs, "window": group.window}
