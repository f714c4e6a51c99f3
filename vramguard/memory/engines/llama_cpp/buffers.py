"""What llama.cpp allocates on the card beside the model and the cache: the compute buffer, and the backend's pool.

A scheduler lays out every intermediate of the largest batch once (llama-context.cpp, sched_reserve; ggml-alloc.c). Its
buffer is bounded by the sum of what one layer computes, of the inputs, and of the largest single thing beside them:
docs/memory-model.md has the argument. The pool is what kernels borrow while they run (ggml-cuda.cu).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines.llama_cpp.layout import EMBEDDING
from vramguard.memory.ledger import bound
from vramguard.memory.runtime import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory.architecture import Architecture, Cache
    from vramguard.memory.engines.llama_cpp.layout import Entry
    from vramguard.memory.engines.llama_cpp.rows import Cells
    from vramguard.memory.ledger import Term
    from vramguard.memory.runtime import Device

_RESERVE: Final = "llama.cpp 0.5.0, src/llama-context.cpp (sched_reserve), src/llama-graph.cpp, ggml/src/ggml-alloc.c"
_KERNELS: Final = (
    "llama.cpp 0.5.0, ggml/src/ggml-cuda: ggml-cuda.cu (ggml_cuda_mul_mat_cublas_impl), mmq.cu, fattn-common.cuh"
)

# Sizes of a head for which the CUDA backend has a fused attention (fattn.cu, ggml_cuda_get_best_fattn_kernel).
_FUSED_HEADS: Final = frozenset((40, 64, 72, 80, 96, 112, 128, 256))
_LATENT_HEAD: Final = 576
_TURING: Final = (7, 5)
_AMPERE: Final = 8


class Batch(NamedTuple):
    """What is computed at once."""

    network: Architecture
    entries: tuple[Entry, ...]
    caches: tuple[Cache, ...]
    cells: Cells
    tokens: int
    fused: bool  # attention without a matrix of scores
    converted: bool  # the cache's type is not F16: kernels read a copy that is
    copied_bytes: int  # of a cached value, where an attention that is not fused copies the values turned, else 0
    latent: bool

    @property
    def used(self) -> int:
        """Experts that a token passes."""
        return self.network.sizes.get("num_experts_per_tok", 1)

    @property
    def heads(self) -> int:
        """Query heads."""
        return max(group.heads for group in self.network.attention)

    @property
    def head_dim(self) -> int:
        """Values of a head's query."""
        return max(group.head_dim for group in self.network.attention)

    @property
    def latent_rank(self) -> int:
        """Values that a token leaves in a latent cache, 0 for any other."""
        return max(cache.keys + cache.values for cache in self.caches) if self.latent else 0


def fuses(network: Architecture, *, latent: bool) -> bool:
    """Whether `-fa auto` turns the fused attention on: the backend must have it for the size of a head."""
    if latent:
        rank = max(cache.keys + cache.values for cache in network.caches)
        return rank == _LATENT_HEAD and all(group.heads > 1 for group in network.attention)
    return all(group.head_dim in _FUSED_HEADS for group in network.attention)


def width(batch: Batch) -> int:
    """Values that one token has in all that the widest layer computes, each of it counted once and none in place."""
    last = max((layer for entry in batch.entries for layer in entry.layers), default=0)
    return max(_width(batch, layer) for layer in range(last + 1))


def _width(batch: Batch, layer: int) -> int:
    hidden, total = batch.network.hidden, 0
    for entry in batch.entries:
        if layer not in entry.layers:
            continue
        if entry.name == "ffn_gate_inp":
            total += _ROUTER * entry.rows
        elif entry.experts:
            total += batch.used * (entry.rows // entry.experts)
        elif entry.packed:
            total += entry.rows
        elif "norm" in entry.name and entry.columns == hidden:
            total += hidden
        total += _beside(batch, entry)
    return total + _attention(batch) + 2 * hidden  # the residuals after each half


def _attention(batch: Batch) -> int:
    """Rotated queries and keys (no more of these), what comes out, and that in rows; a latent one's are in one form."""
    if batch.latent:
        return 3 * batch.heads * batch.latent_rank
    return 4 * batch.heads * batch.head_dim


_ROUTER: Final = 6  # scores, probabilities, their order and masks of groups


def _beside(batch: Batch, entry: Entry) -> int:
    """What follows a matrix: the activation before ffn_down, and what weighs and sums the experts."""
    if entry.name == "ffn_down_exps":
        each = entry.rows // entry.experts
        return batch.used * (entry.columns + each) + 2 * each
    if entry.name == "ffn_gate_exps" or (entry.name.endswith("_exps.bias") and "down" not in entry.name):
        return batch.used * (entry.rows // max(entry.experts, 1) if entry.experts else entry.columns)
    return entry.columns if entry.name.startswith("ffn_down") and entry.packed else 0


def compute(batch: Batch, moved_bytes: int) -> Iterator[Term]:
    """The compute buffer; `moved_bytes` is its room for weights and cache that a pass copies from the host."""
    network, tokens = batch.network, batch.tokens
    keeps = {f"cells_{place}": batch.cells.of(window) for place, window in enumerate(_windows(batch.caches))}
    values = 0 if batch.fused else sum(max(cache.values for cache in batch.caches) for _ in keeps)
    inputs = {"tokens": tokens, **keeps, "mask": 2 if batch.fused else 4, "hidden": network.hidden, "values": values}
    cells = " + ".join(keeps)
    formula = f"tokens * (({cells}) * mask + hidden * 4 + values * 8 + 128) + 65536"
    yield bound("activations/inputs", formula, inputs, source=_RESERVE)
    layer = {"tokens": tokens, "width": width(batch), "hidden": network.hidden, "moved": moved_bytes}
    yield bound("activations/layer", "tokens * (width + hidden) * 4 + 2 * moved", layer, source=_RESERVE)
    yield _largest(batch)


def _windows(caches: Sequence[Cache]) -> tuple[int | None, ...]:
    return tuple(dict.fromkeys(cache.window for cache in caches))


def _largest(batch: Batch) -> Term:
    """What is larger than all else: the scores of an attention that is not fused, a copy of the cache, the logits."""
    inputs = {"tokens": batch.tokens, "vocab": batch.network.vocab, "hidden": batch.network.hidden}
    cells = max(batch.cells.of(cache.window) for cache in batch.caches)
    logits = "tokens * (vocab + hidden) * 4"
    kept = max(cache.keys + cache.values for cache in batch.caches)
    if not batch.fused:
        copied = "streams * cells * kept * copied_bytes"
        formula = f"max(tokens * heads * cells * 4 + {copied}, {logits})"
        inputs |= {"heads": batch.heads, "copied_bytes": batch.copied_bytes}
    elif batch.converted:
        formula = f"max(streams * cells * kept * 2, {logits})"
    else:
        return bound("activations/largest", logits, inputs, source=_RESERVE)
    inputs |= {"streams": batch.cells.streams, "cells": cells, "kept": kept}
    return bound("activations/largest", formula, inputs, source=_RESERVE)


def pool(batch: Batch, kinds: frozenset[str], device: Device) -> Term:
    """What the largest kernel borrows: converted inputs and results, unpacked weights, and an attention's partial sums.

    Turing and newer multiply packed weights as they are, by inputs packed to 36 bytes for 32 values. Others unpack a
    whole matrix. An attention that is not fused converts its scores and the cache.
    """
    tokens = batch.tokens
    inner = max(entry.columns * _copies(batch, entry) for entry in batch.entries if entry.packed)
    outer = max(entry.rows // max(entry.experts, 1) * _copies(batch, entry) for entry in batch.entries if entry.packed)
    plain = kinds & {"F16", "BF16", "F32"}
    whole = device.capability < _TURING or "IQ1_M" in kinds or ("BF16" in kinds and device.generation < _AMPERE)
    unpacked = _largest_matrix(batch.entries) if whole else 0
    direct = not plain and not unpacked
    inputs = {"tokens": tokens, "inner": inner, "outer": 0 if direct else outer, "unpacked": unpacked}
    inputs |= {"multiprocessors": device.multiprocessors, "head_dim": max(batch.head_dim, batch.latent_rank)}
    product = "tokens * (inner + 512 + outer) * 2 + unpacked * 4 + 131072"
    partial = "multiprocessors * 4096 * (2 + head_dim)"
    if batch.fused:
        formula = f"max({product}, {partial})"
    else:
        inputs |= {"heads": batch.heads, "cells": max(batch.cells.of(cache.window) for cache in batch.caches)}
        inputs |= {"streams": batch.cells.streams, "kept": max(cache.keys + cache.values for cache in batch.caches)}
        scores = "tokens * heads * (cells + head_dim) * 2 + streams * cells * kept * 4"
        formula = f"max({product}, {scores})"
    return bound("activations/pool", f"{formula} + {2 * MIB}", inputs, source=_KERNELS)


def _copies(batch: Batch, entry: Entry) -> int:
    return batch.used if entry.experts else 1


def _largest_matrix(entries: Sequence[Entry]) -> int:
    return max(entry.values // max(entry.experts, 1) for entry in entries if entry.packed and entry.name != EMBEDDING)
