"""SGLang's pool: what it must have for a workload, and how large it is on a card.

Its parts grow together: sliding layers have 0.8 of the other layers' tokens, states 0.9 of the other pool's bytes
(--swa-full-tokens-ratio, --mamba-full-memory-ratio), whatever a workload needs of each.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import bound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.engines.sglang.cells import Cells
    from vramguard.memory.ledger import Term

_POOL: Final = "SGLang 0.5.10, srt/mem_cache/memory_pool.py, MHATokenToKVPool, MLATokenToKVPool; swa_memory_pool.py"
_STATES: Final = "SGLang 0.5.10, srt/mem_cache/memory_pool.py, MambaPool; handle_max_mamba_cache"
_STATE_SHARE: Final = Fraction(9, 19)  # of the pool's bytes
_STATE_SLOTS: Final = 5  # of a sequence: its own, two of the prefix cache's, two written in turn
_STATE_BYTES: Final = 4  # of a number, at most; the lower bounds have 1


class Need(NamedTuple):
    """What a workload asks of the pool."""

    sequences: int
    tokens: int  # of each
    page: int  # at most
    kv_bytes: int
    window: int | None = None  # the shortest of the sliding layers'


class Room(NamedTuple):
    """What the pool of one card is, at least and at most: bytes, and tokens that every layer holds."""

    bytes: tuple[int, int]
    tokens: tuple[int, int]
    sequences: int | None  # whose states fit together, at least; None where there are none


def rows(kept: Cells, need: Need) -> Iterator[Term]:
    """Rows of the ledger for `need.sequences` sequences, each in whole pages, and one page for padding."""
    inputs = {
        "token": kept.token, "bytes": need.kv_bytes, "sequences": need.sequences, "tokens": need.tokens,
        "page": need.page, "layers": kept.layers[1], "least": kept.layers[0],
    }  # fmt: skip
    slots = "(sequences * ceil_div(tokens, page) * page + page)"
    every, lower = f"layers * {slots} * token * bytes", "least * sequences * tokens * token * bytes"
    if kept.state[1]:
        inputs |= {"state": kept.state[1], "least_state": kept.state[0]}
        states = f"({_STATE_SLOTS} * sequences + 1) * state * {_STATE_BYTES}"
        drawn = f"max({every}, ceil_div({states} * 10, 9))"
        yield bound("kv_cache/tokens", drawn, inputs, lower=lower, source=_POOL)
        drawn = f"max({states}, ceil_div({every} * 9, 10))"
        yield bound("kv_cache/states", drawn, inputs, lower="sequences * least_state", source=_STATES)
        return
    if kept.sliding[1]:
        # What slides may need the whole context; the other layers then have a quarter more.
        beside = {**inputs, "layers": kept.sliding[1], "least": kept.sliding[0], "window": need.window or need.tokens}
        lower_beside = lower.replace("tokens", "min(tokens, window)")
        yield bound("kv_cache/sliding", every, beside, lower=lower_beside, source=_POOL)
        every = f"layers * ceil_div({slots} * 5, 4) * token * bytes"
    yield bound("kv_cache/tokens", every, inputs, lower=lower, source=_POOL)


def padding(kept: Cells, need: Need) -> int:
    """Bytes of the page and the state that no sequence has."""
    return need.page * _token_bytes(kept, need) + kept.state[1] * _STATE_BYTES


def room(kept: Cells, need: Need, lower: int, upper: int) -> Room:
    """How far `lower` to `upper` bytes go; raises UnprovenError for a stage that keeps no tokens."""
    if not kept.layers[0] + kept.sliding[0]:
        raise UnprovenError("a stage that may have no layer that keeps tokens is not supported yet for sglang")
    lower, upper = max(lower, 0), max(upper, 0)
    ten = kept.token * need.kv_bytes * (10 * kept.layers[0] + 8 * kept.sliding[0])
    share, sequences = Fraction(1), None
    if kept.state[1]:
        share = 1 - _STATE_SHARE
        sequences = max(0, floor(lower * _STATE_SHARE) // (kept.state[1] * _STATE_BYTES) - 1) // _STATE_SLOTS
    tokens = floor(lower * share) // _token_bytes(kept, need) // need.page * need.page
    return Room((lower, upper), (tokens, upper * 10 // ten), sequences)


def _token_bytes(kept: Cells, need: Need) -> int:
    """Bytes of a token in every layer, at most."""
    return kept.token * need.kv_bytes * (kept.layers[1] + kept.sliding[1])
