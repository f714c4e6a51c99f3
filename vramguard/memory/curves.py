"""How the peak grows with context and with concurrency: a proof at each of several sizes, and the last that fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.planning import Largest, batch, longest, most
from vramguard.memory.proof import Depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.memory.planning import Judge
    from vramguard.memory.runtime import Device
    from vramguard.memory.verdict import Answer, Proof, Workload

_LEAST: Final = {
    "max_model_len": 256,
    "concurrency": 1,
    "per_device_train_batch_size": 1,
}  # where a curve begins, unless less is asked for
_SAMPLES: Final = 24
_FEW: Final = 3  # samples after which a curve may end
_LONG: Final = 100  # rows of a ledger beyond which half the samples are taken: each of them takes long
_BEYOND: Final = 3  # halves of the card, where a curve ends


class Point(NamedTuple):
    """Both bounds of the peak at one value."""

    value: int
    answer: Answer
    lower_bytes: int
    upper_bytes: int


class Curve(NamedTuple):
    """The peak over one field of the workload, all else as it is asked for; the points ascend."""

    field: str
    asked: int
    points: tuple[Point, ...]
    largest: Largest


def curves(judge: Judge, workload: Workload, device: Device, context: int, asked: Proof) -> tuple[Curve, ...]:
    """The curves of what was `asked`; none where its peak is not known. `context` is the config's, 0 without one."""
    if asked.totals is None:
        return ()
    tokens = asked.workload.max_model_len or context
    across = _Sampler(judge, device, "max_model_len", asked)
    found = (
        across.curve(tokens, longest(across.judge, workload, device, context), context, workload) if tokens else None,
        _over(judge, workload, device, asked),
    )
    return tuple(curve for curve in found if curve is not None and len(curve.points) > 1)


def _over(judge: Judge, workload: Workload, device: Device, asked: Proof) -> Curve:
    """Over the sequences at once; of what trains, over the batch of each card."""
    sampler = _Sampler(judge, device, batch(workload), asked)
    found = most(sampler.judge, workload, device, asked)
    return sampler.curve(asked.workload.concurrency or 1, found, 0, workload)


class _Sampler:
    """Proofs over one field, each asked for once; what a search has tried belongs to the curve as well."""

    def __init__(self, judge: Judge, device: Device, field: str, asked: Proof) -> None:
        self._judge, self._device, self._field = judge, device, field
        self._found: dict[int, Proof] = {}
        self._most = _SAMPLES if len(asked.ledger.terms) <= _LONG else _SAMPLES // 2

    def judge(self, workload: Workload, device: Device, depth: Depth) -> Proof:
        value: int = getattr(workload, self._field)
        if value not in self._found:
            self._found[value] = self._judge(workload, device, depth)
        return self._found[value]

    def curve(self, asked: int, largest: Largest, high: int, workload: Workload) -> Curve:
        """The curve up to `high`, else to where it is well beyond the card."""

        def at(value: int) -> Proof:
            return self.judge(_asking(workload, self._field, value), self._device, Depth.ANSWER)

        end = max(high, asked, largest.value or 0) if high else 0
        shown = set(self._sampled(at, min(asked, _LEAST[self._field]), end)) | {asked, *self._edge(largest, end)}
        last = max(shown)
        for value in shown:
            at(value)
        points = (
            Point(value, proof.answer, proof.totals.peak_lower_bytes, proof.totals.peak_upper_bytes)
            for value, proof in sorted(self._found.items())
            if proof.totals is not None and min(shown) <= value <= last
        )
        return Curve(self._field, asked, tuple(points), largest)

    @staticmethod
    def _edge(largest: Largest, end: int) -> set[int]:
        """The largest that fits and the next one, which does not."""
        if largest.value is None:
            return set()
        further = largest.limit == "budget" and (not end or largest.value < end)
        return {largest.value, largest.value + 1} if further else {largest.value}

    def _sampled(self, at: Callable[[int], Proof], low: int, end: int) -> Iterator[int]:
        """Values by doubling, and halfway between; the end itself where there is one."""
        values = list(_doubling(low, end)) if end else []
        if end:
            step = -(-len(values) // self._most)
            yield from values[::step]
            yield end
            return
        for number, value in enumerate(_doubling(low, 1 << 17)):
            yield value
            totals = at(value).totals
            if number < _FEW and totals is not None:
                continue
            if totals is None or 2 * totals.peak_lower_bytes > _BEYOND * self._device.capacity_bytes:
                return
            if number >= self._most:
                return


def _asking(workload: Workload, field: str, value: int) -> Workload:
    asking: Workload = replace(workload, **{field: value})  # type: ignore[arg-type]
    return asking


def _doubling(low: int, high: int) -> Iterator[int]:
    value = max(low, 1)
    while value <= high:
        yield value
        if value % 2 == 0 and value * 3 // 2 <= high:
            yield value * 3 // 2
        value *= 2
