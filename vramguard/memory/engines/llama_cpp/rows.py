"""Rows of the ledger for what llama.cpp allocates once: the file's tensors and the cache.

A buffer on the card holds its tensors one behind the other, each rounded up to 128 bytes; a row of a packed type that
is no multiple of 512 values is followed by what it lacks (llama.cpp 0.5.0, ggml/src/ggml-cuda/ggml-cuda.cu,
ggml_backend_cuda_buffer_type_get_alloc_size, ..._get_alignment; ggml/src/ggml-alloc.c,
ggml_backend_alloc_ctx_tensors_from_buft).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.llama_cpp.files import PLAIN, Model, kinds, size
from vramguard.memory.engines.llama_cpp.layout import EMBEDDING, OUTPUT, Entry
from vramguard.memory.ledger import Kind, Term
from vramguard.memory.quantization.gguf import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from vramguard.memory.architecture import Architecture, Cache

ALLOCATION: Final = "llama.cpp 0.5.0, ggml-cuda.cu (get_alloc_size, get_alignment), ggml-alloc.c (alloc_ctx_tensors)"
_CACHE: Final = "llama.cpp 0.5.0, src/llama-kv-cache.cpp (llama_kv_cache), src/llama-kv-cache-iswa.cpp (size_swa)"
_PADDING: Final = 512  # MATRIX_ROW_PADDING


class Placement(NamedTuple):
    """Which layers are on the card: the last ones, and behind them the output's (llama-model.cpp, load_tensors)."""

    layers: int
    on_card: int  # counts the output as one

    @property
    def first(self) -> int:
        """Number of the first layer on the card."""
        return min(self.layers, self.layers + 1 - self.on_card)

    def holds(self, entry: Entry, layer: int | None) -> bool:
        """Whether the tensor is on the card; the embedding never is."""
        if entry.name == EMBEDDING:
            return False
        if entry.name in ("rope_freqs", "rope_factors_long", "rope_factors_short"):
            return self.first < self.layers
        return layer >= self.first if layer is not None else self.on_card > 0


class File(NamedTuple):
    """A file of a network: its tensors and their types."""

    kind: str
    entries: tuple[Entry, ...]
    model: Model

    @property
    def bytes(self) -> int:
        """Bytes of all tensors, each once, at most."""
        return sum(
            size(kinds(self.kind, entry, layer or 0, self.model)[-1], entry.values)
            for entry, layer in _each(self.entries)
        )

    def loaded(self) -> Iterator[Entry]:
        """What is loaded: a network whose head is its embedding has that a second time, for the output."""
        yield from self.entries
        if self.model.tied:
            yield from (entry._replace(name=OUTPUT) for entry in self.entries if entry.name == EMBEDDING)


def _each(entries: Sequence[Entry]) -> Iterator[tuple[Entry, int | None]]:
    for entry in entries:
        for layer in entry.layers or (None,):
            yield entry, layer


def weights(file: File, placement: Placement, *, on_card: bool = True) -> tuple[Term, ...]:
    """One row for all tensors of a name and a type that are on the card, or that are not but for the embedding."""
    groups: dict[tuple[Entry, tuple[str, ...]], int] = defaultdict(int)
    for entry, layer in _each(tuple(file.loaded())):
        if entry.name != EMBEDDING and placement.holds(entry, layer) == on_card:
            groups[entry._replace(layers=()), kinds(file.kind, entry, layer or 0, file.model)] += 1
    return tuple(_weight(entry, types, copies) for (entry, types), copies in groups.items())


def _weight(entry: Entry, types: tuple[str, ...], copies: int) -> Term:
    inputs = {"copies": copies, "rows": entry.rows, "columns": entry.columns}
    least, most = types[0], types[-1]
    formula, added = _packed("rows * columns", entry.columns, most)
    inputs |= added
    lower = None
    if least != most or entry.spare:
        values = "(rows - spare) * columns" if entry.spare else "rows * columns"
        lower, added = _packed(values, entry.columns, least, "_least")
        inputs |= {**added, **({"spare": entry.spare} if entry.spare else {})}
    name, kind = f"weights/{entry.name}.{most.lower()}", Kind.BOUND if lower else Kind.EXACT
    return Term(name, f"copies * {formula}", inputs, kind, ALLOCATION, f"copies * {lower}" if lower else None)


def _packed(values: str, columns: int, kind: str, suffix: str = "") -> tuple[str, Mapping[str, int]]:
    """Bytes of a tensor as a formula, rounded as the allocator does, and the inputs that it adds."""
    if kind in PLAIN:
        return f"(ceil_div({values} * width{suffix}, 128) * 128)", {f"width{suffix}": PLAIN[kind]}
    block, width = BLOCKS[kind]
    inputs = {f"block{suffix}": block, f"width{suffix}": width, f"lacking{suffix}": -columns % _PADDING}
    return f"(ceil_div(({values} + lacking{suffix}) // block{suffix} * width{suffix}, 128) * 128)", inputs


class Cells(NamedTuple):
    """How many tokens the cache has room for."""

    streams: int  # caches of their own, one for each sequence, or one for all
    tokens: int  # of each
    sequences: int  # that share one, where there is one
    batch: int  # tokens that are computed at once

    def of(self, window: int | None) -> int:
        """Tokens that a layer keeps: those of its window and of one batch, in whole 256."""
        if window is None:
            return self.tokens
        shared = self.sequences if self.streams == 1 else 1
        return padded(min(self.tokens, window * shared + self.batch))


def padded(tokens: int) -> int:
    """Whole 256 (llama-context.cpp, n_ctx; llama-kv-cache-iswa.cpp, size_swa)."""
    return -(-tokens // 256) * 256


def kept(network: Architecture, *, slides: bool) -> tuple[Cache, ...]:
    """What each layer keeps in llama.cpp: a window only where it knows caches that slide; raises UnprovenError."""
    for group in network.caches:
        if group.states or group.series or group.encoder or group.tokens is not None:
            raise UnprovenError("llama.cpp: a cache that is not of keys and values alone is not modelled yet")
    if slides:
        return network.caches
    alike: dict[Cache, int] = defaultdict(int)
    for group in network.caches:
        alike[replace(group, window=None, layers=1)] += group.layers
    return tuple(replace(group, layers=layers) for group, layers in alike.items())


def cache(caches: Sequence[Cache], cells: Cells, kind: str, placement: Placement, *, latent: bool) -> Iterator[Term]:
    """Keys and values of the layers on the card, one row for each kind of layer."""
    away = placement.first
    for group in caches:
        on_card = max(0, group.layers - away), min(group.layers, placement.layers - away)
        yield _layers(group, cells, kind, on_card, latent=latent)


def _layers(group: Cache, cells: Cells, kind: str, layers: tuple[int, int], *, latent: bool) -> Term:
    """The row of layers that keep alike, of which at least and at most so many are on the card."""
    widths = (group.keys + group.values,) if latent else (group.keys, group.values)
    inputs = {"streams": cells.streams, "cells": cells.of(group.window)}
    parts = []
    for number, (part, width) in enumerate(zip(("keys", "values"), widths, strict=False)):
        formula, added = _packed(f"streams * cells * {part}", width, kind, f"_{number}" if number else "")
        parts.append(formula)
        inputs |= {part: width, **added}
    both = " + ".join(parts)
    name = "full" if group.window is None else f"sliding_{group.window}"
    lower = None if layers[0] == layers[1] else f"least * ({both})"
    inputs |= {"layers": layers[1], "least": layers[0]} if lower else {"layers": layers[1]}
    return Term(f"kv_cache/{name}", f"layers * ({both})", inputs, Kind.BOUND if lower else Kind.EXACT, _CACHE, lower)


def widest(file: File) -> int:
    """Bytes of the largest set of weights that one part of a pass needs: a layer's, or the output's."""
    sums: dict[int | None, int] = defaultdict(int)
    for entry, layer in _each(tuple(file.loaded())):
        if entry.name != EMBEDDING:
            sums[layer] += size(kinds(file.kind, entry, layer or 0, file.model)[-1], entry.values)
    return max(sums.values())
