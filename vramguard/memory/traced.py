"""A traced forward pass as rows of the ledger: numbers that somebody else has measured, whoever it was.

This package runs no model. Whoever can (vramguard.trace) answers a `Pass` with a `Traced`; the proof then takes the
traced peak for the moments that it would have computed, and the replayed allocator for fragmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.activation import Prefill


@dataclass(frozen=True, slots=True)
class Pass:
    """What is to be traced: a prefill of `sequences` prompts of `tokens` tokens, more than one padded."""

    class_name: str
    tokens: int
    sequences: int
    dtype: str
    implementation: str | None  # of attention, None for the class's own


@dataclass(frozen=True, slots=True)
class Traced:
    """What the pass came to, in bytes."""

    peak_bytes: int  # asked for at once beside weights, cache included
    cache_bytes: int  # storage that the complete cache keeps
    allocated_bytes: int  # in blocks of the allocator at the worst moment, weights included
    reserved_bytes: int  # that the allocator took from the card for all of it
    mask_heads: int  # masks of one sequence that a fused attention kernel was given, 0 for none
    source: str  # versions of what was asked
    assumed: tuple[str, ...] = ()  # where the code looked at a value that only weights decide


# Answers for a config; raises UnprovenError where the pass cannot be run.
Tracing = Callable[[Mapping[str, object], Pass], Traced]


def traced_rows(traced: Traced, run: Prefill, cache: Sequence[Term]) -> tuple[Term, ...]:
    """The pass's own row; raises UnprovenError where the trace keeps more cache than the rows of `cache` count."""
    counted = sum(term.upper_bytes for term in cache)
    if traced.cache_bytes > counted:
        raise UnprovenError(f"the traced cache is {traced.cache_bytes} bytes, the config's {counted}: one is wrong")
    inputs = {**run.inputs, "peak": traced.peak_bytes, "cache": traced.cache_bytes, "vocab": run.architecture.vocab}
    # generate() then samples: see activation.py
    sampling = "sequences * tokens * hidden * 2 * bytes + sequences * vocab * 64"
    lower = "max(0, min(peak - cache, sequences * tokens * hidden * bytes))"
    return (bound("activations/traced", f"max(peak - cache, {sampling})", inputs, lower=lower, source=traced.source),)


def fragmentation(traced: Traced) -> Term:
    """What the allocator had taken from the card beyond the blocks that it had given out at the worst moment."""
    inputs = {"reserved": traced.reserved_bytes, "allocated": traced.allocated_bytes}
    source = f"{traced.source}; PyTorch, c10/cuda/CUDACachingAllocator.cpp, replayed over the trace"
    return bound("runtime/fragmentation", "max(0, reserved - allocated)", inputs, source=source)


def assumptions(traced: Traced | None) -> tuple[str, ...]:
    """What the method assumes, in sentences; formulas assume that nothing is lost between blocks."""
    if traced is None:
        return (
            "fragmentation: free memory that PyTorch's allocator caches between blocks is reusable and not counted",
        )
    return (
        "trace: the pass on CUDA allocates as on the CPU and in the same order, but for the rows named cuda_",
        "trace: a request with fewer tokens or sequences needs no more than the one traced",
        *(f"trace: {what}" for what in traced.assumed),
    )
