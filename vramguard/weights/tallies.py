"""Statistics that grow block by block, and never hold more than one block.

Of a dtype of at most 16 bits every code is counted, and all else follows from the counts exactly; wider ones are summed
in float64, part by part, and the parts are joined by the rule of Chan, Golub and LeVeque (1979) for means and squares.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from vramguard.weights.forms import WORDS, Codes, Scales, Wide, codes, quiet, words
from vramguard.weights.results import Gap, Statistics

if TYPE_CHECKING:
    import numpy.typing as npt

    from vramguard.weights.forms import Form

SLICE: Final = 1 << 15  # values that are summed at once: they stay in a core's own cache
_FEW: Final = 4096  # words that are sooner sorted than counted
_FORMS: Final = {"f16": "F16", "f16-nibbles": "F16", "e8m0": "F8_E8M0", "e4m3": "F8_E4M3"}


class Tally(Protocol):
    """Statistics of one tensor while it is read."""

    def add(self, block: npt.NDArray[np.uint8]) -> None:
        """The next bytes, which end where an element (of a quantized tensor, a block) does."""
        ...

    def statistics(self) -> Statistics:
        """What was seen so far."""
        ...


def tally_of(form: Form, *, swapped: bool) -> Tally:
    """An empty tally; `swapped` where the file has the highest byte of a number first."""
    if isinstance(form, Codes):
        return _CodeTally(form, swapped=swapped)
    return _WideTally(form) if isinstance(form, Wide) else _ScaleTally(form, swapped=swapped)


class _CodeTally:
    """Counts the words of two bytes, of which there are few, whatever the tensor's size."""

    def __init__(self, form: Codes, *, swapped: bool) -> None:
        self._form, self._swapped = form, swapped
        self._few: list[npt.NDArray[np.uint16]] = []  # words of a small tensor, which are not worth a table
        self._words: npt.NDArray[np.int64] | None = None
        self._odd: list[int] = []  # the last byte of a tensor that has an odd number of them
        self._seen = 0
        self._first: int | None = None

    def add(self, block: npt.NDArray[np.uint8]) -> None:
        even = block.size & ~1
        self._count(words(block[:even], swapped=self._swapped))
        self._odd += block[even:].tolist()
        if self._first is None and self._may_be_bad(block):
            finite = np.isfinite(self._form.values[self._form.of(block, swapped=self._swapped)])
            self._first = None if finite.all() else self._seen + int(np.argmin(finite))
        self._seen += block.size * 8 // self._form.bits

    def _count(self, found: npt.NDArray[np.uint16]) -> None:
        if self._words is None and sum(map(len, self._few)) + found.size <= _FEW:
            self._few.append(found.copy())
            return
        if self._words is None:
            self._words = np.zeros(WORDS, np.int64)
            for few in self._few:
                np.add.at(self._words, few, 1)
        np.add.at(self._words, found, 1)

    def _may_be_bad(self, block: npt.NDArray[np.uint8]) -> bool:
        """Whether something in this block can be not finite; nothing was before."""
        return self._words is None or block.size % 2 > 0 or bool(self._words[self._form.watched].any())

    def statistics(self) -> Statistics:
        present, counts = self._counts()
        values = self._form.values[present]
        finite = np.isfinite(values)
        kinds: dict[str, Any] = {
            "nan": int(counts[np.isnan(values)].sum()),
            "positive_inf": int(counts[values == np.inf].sum()),
            "negative_inf": int(counts[values == -np.inf].sum()),
            "first": self._first,
        }
        return Statistics(self._seen, **kinds, **_weighted(values[finite], counts[finite]))

    def _counts(self) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """The codes that occur, and how often each does."""
        if self._words is None:
            found, counts = np.unique(np.concatenate([*self._few, np.empty(0, np.uint16)]), return_counts=True)
        else:
            found = np.flatnonzero(self._words)
            counts = self._words[found]
        if self._form.bits == 16:  # noqa: PLR2004 - bits
            return found, counts
        table = _halves(found, counts, 8)
        for byte in self._odd:
            table[byte] += 1
        if self._form.bits == 4:  # noqa: PLR2004 - bits
            table = _halves(np.arange(256), table, 4)
        present = np.flatnonzero(table)
        return present, table[present]


def _halves(found: npt.NDArray[Any], counts: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """How often each code of so many bits occurs, where two of them are in one that was counted."""
    table = np.zeros(1 << bits, np.int64)
    np.add.at(table, found & ((1 << bits) - 1), counts)
    np.add.at(table, found >> bits, counts)
    return table


def _weighted(values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Statistics of distinct finite values, each of which occurs so often."""
    total = int(counts.sum())
    if not total:
        return {"zeros": 0}
    mean = float((counts * values).sum()) / total
    squares = float((counts * (values - mean) ** 2).sum())
    zeros = int(counts[values == 0].sum())
    return _moments(total, zeros, (float(values.min()), float(values.max())), mean, squares)


def _moments(count: int, zeros: int, ends: tuple[float, float], mean: float, squares: float) -> dict[str, Any]:
    low, high = ends
    found = {
        "min": low + 0.0,  # 0 for -0
        "max": high + 0.0,
        "mean": mean + 0.0,
        "std": math.sqrt(squares / count) if squares >= 0 else math.nan,
        "abs_max": max(abs(low), abs(high)),
        "norm": math.sqrt(squares + count * mean * mean) if squares >= 0 else math.nan,
    }
    return {"zeros": zeros, **{key: held(value) for key, value in found.items()}}


def held(value: float) -> float | None:
    """A number, or None where float64 could not hold it."""
    return value if math.isfinite(value) else None


class _WideTally:
    """Sums of values that are as wide as the sums' own or half as wide."""

    def __init__(self, form: Wide) -> None:
        self._form = form
        self._seen = self._finite = self._zeros = 0
        self._nan = self._positive = self._negative = 0
        self._first: int | None = None
        self._low, self._high = math.inf, -math.inf
        self._mean = self._squares = 0.0

    @quiet
    def add(self, block: npt.NDArray[np.uint8]) -> None:
        values = block.view(self._form.dtype)
        for start in range(0, values.size, SLICE):
            self._add(values[start : start + SLICE])

    def _add(self, part: npt.NDArray[Any]) -> None:
        size = part.size
        low, high = float(part.min()), float(part.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            part = self._without(part)
            if part.size:
                low, high = float(part.min()), float(part.max())
        self._seen += size
        if part.size:
            self._low, self._high = min(self._low, low), max(self._high, high)
            self._zeros += int(np.count_nonzero(part == 0))
            self._join(part.astype(np.float64))

    def _without(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Count what is not finite, and return the rest."""
        finite = np.isfinite(part)
        self._nan += int(np.count_nonzero(np.isnan(part)))
        self._positive += int(np.count_nonzero(part == np.inf))
        self._negative += int(np.count_nonzero(part == -np.inf))
        if self._first is None:
            self._first = (self._seen + int(np.argmin(finite))) // self._form.parts
        kept: npt.NDArray[Any] = part[finite]
        return kept

    def _join(self, part: npt.NDArray[np.float64]) -> None:
        count, mean = part.size, float(part.sum()) / part.size
        part -= mean
        part *= part
        squares = float(part.sum())
        total = self._finite + count
        step = mean - self._mean
        self._squares += squares + step * step * self._finite * count / total
        self._mean += step * count / total
        self._finite = total

    def statistics(self) -> Statistics:
        found: dict[str, Any] = {"zeros": 0}
        if self._finite:
            found = _moments(self._finite, self._zeros, (self._low, self._high), self._mean, self._squares)
        return Statistics(self._seen, self._nan, self._positive, self._negative, self._first, **found)


class _ScaleTally:
    """Counts the scales of a quantized tensor's blocks that are not finite."""

    def __init__(self, form: Scales, *, swapped: bool) -> None:
        self._form, self._swapped = form, swapped
        self._blocks = self._nan = self._positive = self._negative = 0
        self._first: int | None = None

    def add(self, block: npt.NDArray[np.uint8]) -> None:
        rows = block.reshape(-1, self._form.bytes)
        firsts = [self._count(rows, kind, offset) for kind, offset in self._form.fields]
        found = [first for first in firsts if first is not None]
        if self._first is None and found:
            self._first = (self._blocks + min(found)) * self._form.elements
        self._blocks += len(rows)

    def _count(self, rows: npt.NDArray[np.uint8], kind: str, offset: int) -> int | None:
        """Count one scale of every block; the first block in which it is not finite."""
        form = codes(_FORMS[kind])
        assert form is not None  # noqa: S101 - all of them have at most 16 bits
        values = form.values[_scale(rows, kind, offset, swapped=self._swapped)]
        finite = np.isfinite(values)
        if finite.all():
            return None
        self._nan += int(np.count_nonzero(np.isnan(values)))
        self._positive += int(np.count_nonzero(values == np.inf))
        self._negative += int(np.count_nonzero(values == -np.inf))
        return int(np.argmin(finite))

    def statistics(self) -> Statistics:
        scales = self._blocks * len(self._form.fields)
        return Statistics(scales, self._nan, self._positive, self._negative, self._first)


def _scale(rows: npt.NDArray[np.uint8], kind: str, offset: int, *, swapped: bool) -> npt.NDArray[Any]:
    """The code of one scale in each block."""
    if kind in {"e8m0", "e4m3"}:
        byte: npt.NDArray[Any] = rows[:, offset]
        return byte
    length = 8 if kind == "f16-nibbles" else 2
    held = words(np.ascontiguousarray(rows[:, offset : offset + length]).reshape(-1), swapped=swapped)
    if length == 2:  # noqa: PLR2004 - bytes of one word
        return held
    nibbles = held.reshape(-1, 4) >> 12
    code: npt.NDArray[Any] = nibbles[:, 0] | nibbles[:, 1] << 4 | nibbles[:, 2] << 8 | nibbles[:, 3] << 12
    return code


class GapTally:
    """How two tensors of one shape differ, block by block."""

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._seen = self._differing = self._not_compared = 0
        self._squares, self._max, self._at = 0.0, 0.0, -1

    def same(self, values: int) -> None:
        """So many values that are equal."""
        self._seen += values

    @quiet
    def add(self, old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> None:
        distance = np.abs(new - old)
        if not math.isfinite(distance.max()):
            self._differing += self._set_apart(old, new, distance)
        self._differing += int(np.count_nonzero(distance))
        largest = int(np.argmax(distance))
        if distance[largest] > self._max:
            self._max, self._at = float(distance[largest]), self._seen + largest
        distance *= distance
        self._squares += float(distance.sum())
        self._seen += old.size

    def _set_apart(
        self, old: npt.NDArray[np.float64], new: npt.NDArray[np.float64], distance: npt.NDArray[np.float64]
    ) -> int:
        """Take what is not finite out of the distances; how much of that is another value than it was."""
        apart = ~(np.isfinite(old) & np.isfinite(new))
        distance[apart] = 0
        other = int(np.count_nonzero(apart & (old != new) & ~(np.isnan(old) & np.isnan(new))))
        self._not_compared += other
        return other

    def gap(self, old: Statistics, new: Statistics) -> Gap:
        """The result; the norms are those of the two sides' finite values."""
        at = self._at // self._parts if self._at >= 0 else None
        relative = change = None
        if old.norm:
            relative = held(math.sqrt(self._squares) / old.norm)
            change = None if new.norm is None else held((new.norm - old.norm) / old.norm)
        return Gap(self._differing, self._not_compared, held(self._max), at, relative, change)
