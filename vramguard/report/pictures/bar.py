"""The card as one bar: the groups of the ledger stacked against the budget and what the card has. SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.report.pictures.figures import both, segments, share
from vramguard.report.pictures.markup import Markup, element
from vramguard.units import gib, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory import Proof, Totals
    from vramguard.report.pictures.figures import Segment

_TOP, _HEIGHT, _BELOW = 24, 44, 68  # of the bar, in pixels; its width is the page's
_PHONE, _DESKTOP = 320, 660  # pixels across the narrowest picture of each that a label has to fit into
_LETTER: Final = 7.4  # pixels of a letter in a label


class _Scale:
    """Bytes as per cent of the picture's width."""

    def __init__(self, whole: int) -> None:
        self.whole = max(whole, 1)

    def at(self, size: int) -> str:
        thousandths = 100_000 * size // self.whole
        return f"{thousandths // 1000}.{thousandths % 1000:03d}%"

    def anchored(self, size: int, *, inward: bool) -> dict[str, str | float]:
        """Where a label at `size` stands and which way it runs; `inward` runs left of it wherever there is room."""
        left = 2 * size > self.whole if inward else 4 * size > 3 * self.whole
        return {"x": self.at(size), "text_anchor": "end" if left else "start", "dx": -6 if left else 6}


def bar(proof: Proof, totals: Totals, name: str) -> Markup:
    """The picture. `name` tells its elements from those of another on the same page."""
    capacity = proof.device.capacity_bytes
    parts, scale = segments(proof), _Scale(max(capacity, totals.peak_upper_bytes, proof.budget_bytes))
    said = ", ".join(f"{part.group.label} {gib(part.end - part.start)} GiB" for part in parts)
    description = (
        f"{said}; together at most {both(totals.peak_upper_bytes)}, at least {both(totals.peak_lower_bytes)}. "
        f"The budget is {both(proof.budget_bytes)}, the card has {both(capacity)}."
    )
    return element(
        "svg",
        element("title", "What fills the card, to scale", id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        element("rect", x=0, y=_TOP, width=scale.at(capacity), height=_HEIGHT, class_="room"),
        *(_segment(part, scale, capacity) for part in parts),
        *_marks(proof, totals, scale),
        *(_label(part, scale) for part in parts),
        class_="bar",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def _segment(part: Segment, scale: _Scale, capacity: int) -> Markup:
    size, group = part.end - part.start, part.group
    title = element("title", f"{group.label}: {both(size)}, {share(size, capacity)} of the card")
    place: dict[str, str | float] = {"x": scale.at(part.start), "y": _TOP, "width": scale.at(size), "height": _HEIGHT}
    return element("rect", title, class_=f"seg g{group.slot}", **place)


def _label(part: Segment, scale: _Scale) -> Markup | None:
    """The name of a group inside its segment, where there is room for it."""
    size, group = part.end - part.start, part.group
    needs = (_LETTER * len(group.label) + 10) * scale.whole
    kind = "" if _PHONE * size > needs else " roomy"
    if _DESKTOP * size <= needs:
        return None
    y = _TOP + _HEIGHT // 2 + 5
    return element("text", group.label, x=scale.at(part.start), dx=7, y=y, class_=f"in i{group.slot}{kind}")


def _marks(proof: Proof, totals: Totals, scale: _Scale) -> Iterator[Markup]:
    """The budget above the bar, what the card has below it, and beneath both the bounds of the peak."""
    budget, capacity = proof.budget_bytes, proof.device.capacity_bytes
    yield _line(scale, budget, 4, _BELOW + 6, "bud")
    words = f"budget {gib(budget)} GiB ({percent(proof.budget_fraction)})"
    yield element("text", words, y=14, class_="tb", **scale.anchored(budget, inward=True))
    yield _line(scale, capacity, _TOP - 4, _BELOW + 20, "cap")
    words = f"card {gib(capacity)} GiB"
    yield element("text", words, y=_BELOW + 18, **scale.anchored(capacity, inward=True))
    low, high = totals.peak_lower_bytes, totals.peak_upper_bytes
    y = _BELOW + 31
    yield element("line", x1=scale.at(low), x2=scale.at(high), y1=y, y2=y, class_="range")
    yield _line(scale, low, y - 4, y + 4, "range")
    yield _line(scale, high, y - 4, y + 4, "range")
    words = f"peak {gib(low)} to {gib(high)} GiB" if low != high else f"peak {gib(high)} GiB"
    yield element("text", words, y=y + 18, **_beneath(scale, low, high))


def _beneath(scale: _Scale, low: int, high: int) -> dict[str, str | float]:
    """A label in the middle of the bounds, or from their outer end where it would leave a narrow picture."""
    middle = (low + high) // 2
    if 3 * middle < scale.whole:
        return {"x": scale.at(low), "text_anchor": "start"}
    if 3 * middle > 2 * scale.whole:
        return {"x": scale.at(high), "text_anchor": "end"}
    return {"x": scale.at(middle), "text_anchor": "middle"}


def _line(scale: _Scale, size: int, top: int, bottom: int, kind: str) -> Markup:
    return element("line", x1=scale.at(size), x2=scale.at(size), y1=top, y2=bottom, class_=kind)


def key(slot: int | None) -> Markup:
    """The colour of a group, as a legend has it; an empty box for what is free."""
    box = element("rect", x=1, y=1, width=12, height=12, class_="room" if slot is None else f"g{slot}")
    return element("svg", box, viewBox="0 0 14 14", class_="key", aria_hidden="true")


def strip(proof: Proof) -> Markup:
    """The peak against the budget on one card, small enough for a row of a table that says the same in numbers."""
    capacity, totals = proof.device.capacity_bytes, proof.totals
    if totals is None:
        return Markup()
    scale = _Scale(capacity)
    used = min(totals.peak_upper_bytes, capacity)
    return element(
        "svg",
        element("rect", x=0, y=2, width=scale.at(used), height=12, class_="used"),
        element("rect", x=0, y=2, width="100%", height=12, class_="room"),
        _line(scale, proof.budget_bytes, 0, 16, "cap"),
        class_=f"strip {proof.answer.value.lower()}",
        aria_hidden="true",
    )
