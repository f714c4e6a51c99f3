"""The peak against one field of the workload: a band between its bounds, the budget, the card, and what fits. SVG."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.report.ledger import beside, longest
from vramguard.report.pictures.figures import CURVES, both
from vramguard.report.pictures.markup import Markup, element, join
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory import Proof
    from vramguard.memory.curves import Curve, Point

_WIDTH, _HEIGHT = 440, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 418, 46, 276  # of the plot within the picture
_NAME: Final = 110  # of it, that the name of a level takes
_TICKS: Final = 6
_KIBI: Final = 1024


class _Axes(NamedTuple):
    """Values by powers of two across, bytes upwards."""

    first: int
    last: int
    top: int

    def x(self, value: int) -> float:
        """Where a value stands."""
        span = math.log2(self.last / self.first) or 1
        return _LEFT + (_RIGHT - _LEFT) * math.log2(value / self.first) / span

    def y(self, size: int) -> float:
        """Where so many bytes stand; what passes the top stands just beyond it, where nothing is drawn."""
        share = min(size / self.top, 2)
        return _BOTTOM - (_BOTTOM - _TOP) * share


def chart(curve: Curve, proof: Proof, name: str) -> Markup:
    """The picture. `name` tells its elements from those of another on the same page."""
    axes = _axes(curve, proof)
    shown, _ = CURVES[curve.field]
    clip = element("rect", x=_LEFT, y=_TOP, width=_RIGHT - _LEFT, height=_BOTTOM - _TOP)
    return element(
        "svg",
        element("title", f"Peak against {shown}", id=f"{name}-title"),
        element("desc", described(curve, proof), id=f"{name}-desc"),
        element("clipPath", clip, id=f"{name}-clip"),
        *_grid(curve, axes),
        element("g", *_band(curve.points, axes), clip_path=f"url(#{name}-clip)"),
        *_levels(proof, axes),
        *_marks(curve, axes),
        *_names(curve, proof, axes),
        *_dots(curve, axes),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        class_="chart",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def described(curve: Curve, proof: Proof) -> str:
    """The picture in words."""
    first, last = curve.points[0], curve.points[-1]
    shown, unit = CURVES[curve.field]
    return (
        f"The peak lies between {both(first.lower_bytes)} and {both(first.upper_bytes)} at {first.value:,} {unit}, "
        f"between {both(last.lower_bytes)} and {both(last.upper_bytes)} at {last.value:,}; "
        f"the budget is {both(proof.budget_bytes)}. {largest(curve, shown)}"
    )


def largest(curve: Curve, shown: str) -> str:
    """What fits, in a sentence, with what stops it."""
    found = curve.largest
    if found.value is None:
        return f"No {shown} is shown to fit."
    if found.limit == "budget":
        return f"The largest {shown} that fits is {found.value:,}; {found.value + 1:,} is not shown to."
    stop = {"config": "the config allows no more", "max_num_seqs": "the engine runs no more at once"}
    return f"Every {shown} up to {found.value:,} fits; {stop.get(found.limit, 'no more was tried')}."


def sayings(proof: Proof, found: Sequence[Curve]) -> Iterator[str]:
    """What would fit, and what else there is to say, as plain sentences."""
    yield from (largest(curve, CURVES[curve.field][0]) for curve in found)
    if all(curve.field != "max_model_len" for curve in found):
        yield from longest(proof)
    yield from beside(proof)


def _axes(curve: Curve, proof: Proof) -> _Axes:
    """Up to the peak, but not far beyond the card, or where the curve begins: the rest is said in numbers."""
    capacity, highest = proof.device.capacity_bytes, max(point.upper_bytes for point in curve.points)
    enough = max(capacity, curve.points[0].upper_bytes) * 3 // 2
    top = max(capacity * 27 // 25, min(highest * 27 // 25, enough), 1)
    return _Axes(curve.points[0].value, curve.points[-1].value, top)


def _grid(curve: Curve, axes: _Axes) -> Iterator[Markup]:
    step = _step(axes.top)
    for number in range(axes.top // step + 1):
        y = axes.y(number * step)
        yield element("line", x1=_LEFT, x2=_RIGHT, y1=y, y2=y, class_="grid")
        words = f"{number * step / 2**30:g}"
        yield element("text", words, x=_LEFT - 6, y=y + 4, text_anchor="end", class_="tick")
    yield element("text", "GiB", x=_LEFT - 6, y=_TOP - 8, text_anchor="end", class_="tick")
    for value in _across(axes):
        x = axes.x(value)
        yield element("line", x1=x, x2=x, y1=_BOTTOM, y2=_BOTTOM + 4, class_="range")
        yield element("text", _short(value), x=x, y=_BOTTOM + 18, text_anchor="middle", class_="tick")
    shown, unit = CURVES[curve.field]
    words = f"{shown}, {unit}" + (", in Ki of 1,024" if axes.last >= _KIBI else "")
    yield element("text", words, x=(_LEFT + _RIGHT) / 2, y=_HEIGHT - 6, text_anchor="middle", class_="tick")


def _step(top: int) -> int:
    """Bytes from one line of the grid to the next, so that there are at most seven."""
    for number in range(60):
        step = (1, 2, 5)[number % 3] * int(10 ** (number // 3)) * 2**30 // 1000
        if top // step <= _TICKS:
            return max(step, 1)
    return top


def _across(axes: _Axes) -> list[int]:
    """Powers of two that have a label, few enough to stand apart."""
    low, high = math.ceil(math.log2(axes.first)), math.floor(math.log2(axes.last))
    step = max(1, -(-(high - low + 1) // _TICKS))
    return [1 << power for power in range(high, low - 1, -step)][::-1]


def _short(value: int) -> str:
    return f"{value // _KIBI:,} Ki" if value >= _KIBI else f"{value}"


def _band(points: Sequence[Point], axes: _Axes) -> Iterator[Markup]:
    high = [_pair(axes.x(point.value), axes.y(point.upper_bytes)) for point in points]
    low = [_pair(axes.x(point.value), axes.y(point.lower_bytes)) for point in points]
    yield element("polygon", points=" ".join((*high, *reversed(low))), class_="band")
    yield element("polyline", points=" ".join(low), class_="lo")
    yield element("polyline", points=" ".join(high), class_="hi")


def _pair(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _levels(proof: Proof, axes: _Axes) -> Iterator[Markup]:
    for size, kind in ((proof.budget_bytes, "bud"), (proof.device.capacity_bytes, "cap")):
        yield element("line", x1=_LEFT, x2=_RIGHT, y1=axes.y(size), y2=axes.y(size), class_=kind)


def _names(curve: Curve, proof: Proof, axes: _Axes) -> Iterator[Markup]:
    """The budget, named below its line, and what the card has, named above: they may stand close."""
    budget, capacity = proof.budget_bytes, proof.device.capacity_bytes
    for words, y, kind in (
        (f"budget {gib(budget)}", axes.y(budget) + 15, "tb halo"),
        (f"card {gib(capacity)}", axes.y(capacity) - 6, "halo"),
    ):
        right = _crowd(curve, axes, y, _RIGHT - _NAME, _RIGHT) < _crowd(curve, axes, y, _LEFT, _LEFT + _NAME)
        x, anchor = (_RIGHT - 6, "end") if right else (_LEFT + 6, "start")
        yield element("text", words, x=x, y=y, text_anchor=anchor, class_=kind)


def _crowd(curve: Curve, axes: _Axes, y: float, left: float, right: float) -> int:
    """How much of the picture runs through a name at that height, between two ends of its line."""
    lines = [[(axes.x(at.value), axes.y(size(at))) for at in curve.points] for size in (_upper, _lower)]
    near = sum(
        left < max(x1, x2) and min(x1, x2) < right and min(y1, y2) < y + 6 and max(y1, y2) > y - 16
        for line in lines
        for (x1, y1), (x2, y2) in itertools.pairwise(line)
    )
    return near + sum(left <= axes.x(value) <= right for value in {curve.asked, curve.largest.value or curve.asked})


def _upper(point: Point) -> int:
    return point.upper_bytes


def _lower(point: Point) -> int:
    return point.lower_bytes


def _marks(curve: Curve, axes: _Axes) -> list[Markup]:
    """What is asked, and the largest that fits, each with its number in a line of its own above the plot."""
    at = {point.value: point for point in curve.points}
    asked, fits = at.get(curve.asked), at.get(curve.largest.value or 0)
    found = []
    if fits is not None:
        words = "asked, and the largest" if fits == asked else "largest"
        found.append(_mark(fits, axes, 34, f"{words} that fits: {fits.value:,}", diamond=True))
    if asked is not None and asked != fits:
        found.append(_mark(asked, axes, 16, f"asked: {asked.value:,}", diamond=False))
    return [part for layer in zip(*found, strict=True) for part in layer]  # no line goes through a label


def _mark(point: Point, axes: _Axes, y: int, words: str, *, diamond: bool) -> tuple[Markup, Markup, Markup]:
    """A line down from the label, the sign on the curve where that is in the picture, and the label."""
    x, at = axes.x(point.value), axes.y(point.upper_bytes)
    share = (x - _LEFT) / (_RIGHT - _LEFT)
    anchor = "start" if share < 1 / 3 else "end" if share > 2 / 3 else "middle"
    lead = element("line", x1=x, x2=x, y1=y + 4, y2=_BOTTOM, class_="lead")
    if at < _TOP:
        sign, beyond = Markup(), f" (at most {gib(point.upper_bytes)} GiB)"
    else:
        path = f"M{x:.1f} {at - 6:.1f}l6 6l-6 6l-6 -6z"
        sign = element("path", d=path, class_="mark") if diamond else element("circle", cx=x, cy=at, r=5, class_="mark")
        beyond = ""
    return lead, sign, element("text", f"{words}{beyond}", x=x, y=y, text_anchor=anchor, class_="halo")


def _dots(curve: Curve, axes: _Axes) -> Iterator[Markup]:
    """Every sample, with its numbers for a pointer that rests on it."""
    _, unit = CURVES[curve.field]
    for point in curve.points:
        x, y = axes.x(point.value), axes.y(point.upper_bytes)
        if y < _TOP:
            continue
        words = (
            f"{point.value:,} {unit}: at least {gib(point.lower_bytes)}, at most {gib(point.upper_bytes)} GiB, "
            f"{point.answer.value}"
        )
        yield join(
            element("circle", cx=x, cy=y, r=1.75, class_="dot"),
            element("circle", element("title", words), cx=x, cy=y, r=9, class_="hit"),
        )
