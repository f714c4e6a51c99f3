"""What is alive at each moment of a pass, as polynomials, and which of these moments can be the worst."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction
from functools import reduce
from math import prod
from typing import TYPE_CHECKING, Final, NamedTuple

from recorder.symbols import Monomial, Polynomial, Symbols, UnexpressedError, multiply

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vramguard.trace.record import Allocation, Trace

_ITEM_BYTES: Final = {"float32": 4, "float64": 8, "int64": 8, "int32": 4, "bool": 1, "uint8": 1, "complex64": 8}
_LAYER: Final = re.compile(r"\.(\d+)(?:\.|$)")


class Moment(NamedTuple):
    """Bytes alive beside weights and a complete cache, and where in the network."""

    where: str
    bytes: Polynomial


class StructureError(Exception):
    """The samples do not run the same operations."""


def moments(traces: Sequence[Trace], symbols: Symbols) -> list[Moment]:
    """The moments of a pass that was traced once for each sample; those that another covers are left out."""
    columns = _aligned(traces)
    sizes = [_size(column, symbols) for column in columns]
    return prune(_alive(columns, sizes))


def prune(found: Iterable[Moment]) -> list[Moment]:
    """Leave out every moment that another one covers, whatever the sizes are."""
    kept: list[Moment] = []
    for moment in sorted(found, key=lambda m: -sum(m.bytes.values())):
        if not any(covers(other.bytes, moment.bytes) for other in kept):
            kept = [other for other in kept if not covers(moment.bytes, other.bytes)]
            kept.append(moment)
    return kept


def covers(larger: Polynomial, smaller: Polynomial) -> bool:
    """Whether `larger` is at least `smaller` for all positive sizes: each term finds room in one that it divides."""
    room = dict(larger)
    for names, needed in sorted(smaller.items(), key=lambda item: -len(item[0])):
        left = needed
        for other in sorted((o for o in room if _divides(names, o)), key=len):
            taken = min(left, room[other])
            room[other] -= taken
            left -= taken
            if not left:
                break
        if left > 0:
            return False
    return True


def _divides(part: Monomial, whole: Monomial) -> bool:
    rest = list(whole)
    for name in part:
        if name not in rest:
            return False
        rest.remove(name)
    return True


def _aligned(traces: Sequence[Trace]) -> list[tuple[Allocation, ...]]:
    """The same allocation of every sample, side by side."""
    events = [_in_events(trace.allocations) for trace in traces]
    shapes = {tuple((a.operator, a.module, a.dtype, a.born, a.died, a.cache) for a in one) for one in events}
    if len(shapes) != 1:
        lengths = [(len(t.allocations), t.operations) for t in traces]
        raise StructureError(f"samples differ in structure: allocations and operations {lengths}")
    return [*zip(*events, strict=True)]


def _in_events(allocations: Sequence[Allocation]) -> tuple[Allocation, ...]:
    """Count births and deaths, not operations: a loop over experts that makes views makes as many as there are."""
    positions = sorted({p for a in allocations for p in (a.born, a.died) if p is not None})
    number = {position: index for index, position in enumerate(positions)}
    return tuple(replace(a, born=number[a.born], died=None if a.died is None else number[a.died]) for a in allocations)


def _size(column: tuple[Allocation, ...], symbols: Symbols) -> Polynomial:
    first = column[0]
    item = _ITEM_BYTES.get(first.dtype, 2)
    scale: Polynomial = {(): Fraction(item)} if first.dtype in _ITEM_BYTES else {("bytes",): Fraction(1)}
    elements = tuple(a.bytes // item for a in column)
    try:
        return multiply(_elements(column, elements, symbols), scale)
    except UnexpressedError as error:
        shapes = [a.shape for a in column]
        raise UnexpressedError(f"{first.module} {first.operator} {shapes}: {error}") from None


def _elements(column: tuple[Allocation, ...], elements: tuple[int, ...], symbols: Symbols) -> Polynomial:
    """Axis by axis where that explains it, else all at once (heads over key heads, times key heads)."""
    ranks = {len(a.shape) for a in column}
    if len(ranks) == 1 and all(prod(a.shape) == n for a, n in zip(column, elements, strict=True)):
        try:
            axes = [tuple(a.shape[axis] for a in column) for axis in range(ranks.pop())]
            return reduce(multiply, (symbols.express(axis) for axis in axes), {(): Fraction(1)})
        except UnexpressedError:
            pass
    return symbols.express(elements)


def _alive(columns: Sequence[tuple[Allocation, ...]], sizes: Sequence[Polynomial]) -> Iterable[Moment]:
    """Every moment at which something was made; what its own layer has not cached yet is subtracted."""
    born, died = defaultdict(list), defaultdict(list)
    missing: dict[int, Polynomial] = defaultdict(lambda: defaultdict(Fraction))
    for index, column in enumerate(columns):
        born[column[0].born].append(index)
        if column[0].cache is not None:
            _add(missing[column[0].cache], sizes[index], 1)
        elif column[0].died is not None:
            died[column[0].died].append(index)
    alive: Polynomial = defaultdict(Fraction)
    for at in sorted({*born, *died}):
        for index in died[at]:
            _add(alive, sizes[index], -1)
        for index in born[at]:
            layer = columns[index][0].cache
            _add(alive if layer is None else missing[layer], sizes[index], 1 if layer is None else -1)
        if born[at]:
            yield _moment(columns[born[at][-1]][0], alive, missing)


def _moment(last: Allocation, alive: Polynomial, missing: dict[int, Polynomial]) -> Moment:
    number = _LAYER.search(last.module)
    own = missing.get(int(number[1]), {}) if number and "encoder" not in last.module else {}
    net = {names: alive.get(names, Fraction(0)) - own.get(names, Fraction(0)) for names in {*alive, *own}}
    where = _LAYER.sub(".*.", last.module).rstrip(".")
    return Moment(f"{where}:{last.operator.split('.')[1]}", {names: c for names, c in net.items() if c > 0})


def _add(total: Polynomial, part: Polynomial, sign: int) -> None:
    for names, c in part.items():
        total[names] = total.get(names, Fraction(0)) + sign * c
