"""Predicted beside measured, term by term: does each bound of a proof hold against what an engine printed?"""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from vramguard.memory import Workload
from vramguard.receipts.receipt import Measured, Receipt, Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory import Proof
    from vramguard.memory.ledger import Term

_HUNDREDTH: Final = Fraction(1, 100)
_WORKLOAD: Final = frozenset(field.name for field in fields(Workload))

# SGLang prints what became less free while it loaded: kernel modules come to the weights, 0.01 to 0.19 GiB in its logs.
_LOADED_MODULES: Final = 256 << 20

# Settings that the engine resolves from the checkpoint as well: what it was asked counts, the config says the rest.
_FROM_CONFIG: Final = frozenset({"quantization"})


@dataclass(frozen=True, slots=True)
class Row:
    """One term. Measured lies between `low` and `high`, as far as it was printed; predicted between the bounds given.

    `unit` is bytes, tokens or requests; a bound that the proof does not give is None, as is a term not printed.
    """

    term: str
    unit: str
    low: int | Fraction | None
    high: int | Fraction | None
    predicted_lower: int | Fraction | None = None
    predicted_upper: int | Fraction | None = None

    @property
    def measured(self) -> int | Fraction | None:
        """What was printed: the middle of its rounding."""
        if self.low is None or self.high is None:
            return None
        middle = Fraction(self.low + self.high, 2)
        return middle if self.unit == "requests" else int(middle)

    @property
    def holds(self) -> bool | None:
        """Whether the bounds can be true of what was measured; None where there is nothing to compare."""
        if self.low is None or self.high is None or (self.predicted_lower is None and self.predicted_upper is None):
            return None
        above = self.predicted_lower is not None and self.predicted_lower > self.high
        below = self.predicted_upper is not None and self.predicted_upper < self.low
        return not (above or below)

    @property
    def slack(self) -> int | Fraction | None:
        """How far the bound that decides is from what was measured: upper - measured, else measured - lower."""
        if (measured := self.measured) is None:
            return None
        if self.predicted_upper is not None:
            return self.predicted_upper - measured
        return None if self.predicted_lower is None else measured - self.predicted_lower


def compare(receipt: Receipt, proof: Proof) -> tuple[Row, ...]:
    """Every term that the log or the proof has, the worst card's on both sides.

    The cache is what is left of a budget: the proof bounds it from below, all that is taken from above.
    """
    said, ledger, totals = receipt.measured, proof.ledger, proof.totals
    rows = [_row("card", said.total, lower=proof.device.capacity_bytes)]
    groups = {"weights": said.weights, "activations": said.activation, "runtime": _outside(said)}
    for group, size in groups.items():
        beside = _LOADED_MODULES if receipt.engine == "sglang" and group == "weights" else 0
        upper = ledger.upper_bytes(group) + beside
        rows.append(_row(group, size, ledger.lower_bytes(group), upper) if totals else _row(group, size))
    graphs = [term for term in ledger.group("runtime") if "graph" in term.name]
    rows.append(_row("graphs", said.graphs, *_bounds(graphs)))
    rows.append(_row("reserved", _reserved(said), upper=proof.pool.reserved_bytes if proof.pool else None))
    rows.extend(_cache(said, proof))
    return tuple(row for row in rows if row.measured is not None or row.predicted_upper is not None)


def workload(receipt: Receipt) -> Workload:
    """What to prove for a log: what its engine ran with, as far as the log says."""
    said = receipt.settings
    known = {field.name: getattr(said, field.name) for field in fields(said) if field.name in _WORKLOAD}
    asked = {name: getattr(receipt.asked, name) for name in _FROM_CONFIG}
    if not said.enable_lora:  # a list of all arguments names the number of adapters that would be loaded
        asked |= {"max_loras": None, "max_lora_rank": None}
    cards = (said.tensor_parallel_size or 1) * (said.pipeline_parallel_size or 1)
    return Workload(**known | asked, engine=receipt.engine, engine_version=receipt.version, gpus=cards)


def _cache(said: Measured, proof: Proof) -> Iterator[Row]:
    pool = proof.pool
    yield _row("cache", said.kv_cache, lower=pool.kv_cache_bytes if pool else None)
    tokens = said.kv_cache_tokens
    yield Row("cache", "tokens", tokens, tokens, pool.kv_cache_tokens if pool else None)
    if said.concurrency is not None:
        printed = Fraction(said.concurrency)
        half = _HUNDREDTH / 2
        predicted = Fraction(pool.max_concurrency) if pool else None
        yield Row("full-length requests", "requests", printed - half, printed + half, predicted)


def _row(term: str, size: Size | None, lower: int | None = None, upper: int | None = None) -> Row:
    low, high = size or (None, None)
    return Row(term, "bytes", low, high, lower, upper)


def _bounds(terms: list[Term]) -> tuple[int | None, int | None]:
    if not terms:
        return None, None
    return sum(term.lower_bytes for term in terms), sum(term.upper_bytes for term in terms)


def _outside(said: Measured) -> Size | None:
    """What lies outside of weights, activations and cache: taken before, grown beside, captured after them."""
    beside = said.non_torch
    if beside is None and said.consumed is not None and said.weights is not None:
        beside = Size(said.consumed.low - said.weights.high, said.consumed.high - said.weights.low)
    return _sum(said.initial, beside, said.graphs)


def _reserved(said: Measured) -> Size | None:
    """All that the process holds once it serves."""
    return _sum(said.weights, said.activation, said.kv_cache, _outside(said))


def _sum(*sizes: Size | None) -> Size | None:
    known = [size for size in sizes if size is not None]
    return Size(sum(size.low for size in known), sum(size.high for size in known)) if len(known) == len(sizes) else None
