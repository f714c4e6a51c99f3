"""Which module goes to which device: what transformers decides for device_map="auto", and what accelerate would.

transformers 5.23.0 has its own `infer_auto_device_map` and `get_balanced_memory` (integrations/accelerate.py) and calls
accelerate's for nothing but the limits. They differ where weights are shared; see `Library`.

Sizes and limits may be known between two values only (a table beside the weights, a card's free memory). A comparison
that would come out either way raises UnprovenError: the result is what the library does for all values between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from vramguard.memory.modules import Item, Tree

Device = int | str  # a card's number, "cpu", "disk", or "offloaded" for one of these two
OFFLOADED: Final = "offloaded"  # where the host's memory is not known
_SHARE: Final = Fraction(9, 10)  # of the one card's memory where no max_memory is given; get_balanced_memory


class Range(NamedTuple):
    """Bytes that lie between two values, both included."""

    low: Fraction | int
    high: Fraction | int

    def times(self, share: Fraction) -> Range:
        """Take a share of it."""
        return Range(self.low * share, self.high * share)

    def least(self, other: Range) -> Range:
        """Return the smaller of the two, whichever that is."""
        return Range(min(self.low, other.low), min(self.high, other.high))


Limits = Mapping[Device, Range]


class Library(StrEnum):
    """Whose `infer_auto_device_map`: transformers 5 has its own, transformers 4 calls accelerate's.

    A shared weight counts where the class says that it is (transformers), or under its first name (accelerate). What
    shares several weights with a module counts once, or once for each. Where a module fits a device alone, but not with
    what shares its weights, it is split, or goes to the next device.
    """

    TRANSFORMERS = "transformers"
    ACCELERATE = "accelerate"


def balanced(tree: Tree, limits: Limits, *, given: bool, low_zero: bool = False) -> Limits:
    """Limits that spread a network over the cards: transformers' get_balanced_memory.

    `given` says that the user gave max_memory. Raises UnprovenError where transformers itself fails.
    """
    cards = sorted(card for card in limits if isinstance(card, int) and _positive(limits[card]))
    if not cards:
        return limits
    found = dict(limits)
    if len(cards) == 1:
        low_zero = False
        first = next(card for card in limits if isinstance(card, int))
        if not given:
            found[first] = found[first].times(_SHARE)
    share = _share(tree, len(cards) - 1 if low_zero else len(cards))
    for card in cards[:-1]:
        found[card] = found[card].least(_at(found, 0) if low_zero and card == 0 else share)
    if low_zero:
        others = [_at(found, number) for number in range(1, len(cards))]
        low = max(0, tree.root.size - sum(limit.high for limit in others))
        high = max(0, tree.root.size + tree.uncertain - sum(limit.low for limit in others))
        found[0] = _at(found, 0).least(Range(low, high))
    return found


def infer(tree: Tree, limits: Limits, library: Library = Library.TRANSFORMERS) -> dict[str, Device]:
    """Device of every module or parameter that is placed as one, in the order of placing.

    `limits` are in the order of the devices: cards, cpu. Without "cpu" what is left goes to disk; with
    OFFLOADED in its place, to one of the two. Raises UnprovenError where sizes are not known well enough, and
    where the library itself fails.
    """
    return _Run(tree, limits, library).run()


def cleaned(device_map: Mapping[str, Device], name: str = "") -> dict[str, Device]:
    """Return the map as from_pretrained shows it: modules of one device under the name of what holds them."""
    inside = {key: device for key, device in device_map.items() if not name or key.startswith(f"{name}.")}
    if len(inside) > 1 and len(set(inside.values())) == 1:
        return {name: next(iter(inside.values()))}
    depth = name.count(".") + 1 if name else 0
    found = {name: device_map[name]} if name in device_map else {}
    for child in dict.fromkeys(".".join(key.split(".")[: depth + 1]) for key in inside):
        found |= cleaned(device_map, child)
    return found


def _positive(limit: Range) -> bool:
    if limit.low <= 0 < limit.high:
        raise UnprovenError("device_map: whether a card has any free memory is not known")
    return limit.low > 0


def _at(limits: Limits, card: int) -> Range:
    """Limit of a card that transformers looks up by number, whether it is among the cards or not."""
    if card not in limits:
        raise UnprovenError(f"device_map: transformers fails for a max_memory without card {card}")
    return limits[card]


def _share(tree: Tree, cards: int) -> Range:
    """What each card but the last may take: an even share and a quarter more than the largest part.

    The last card keeps its limit.
    """
    whole = [item.size for item in tree.root.all() if item.whole]
    if tree.kept_whole and not whole:
        raise UnprovenError("device_map: transformers fails where no module is of a class that it does not split")
    own = (item.size - sum(child.size for child in item.children) for item in tree.root.all() if item.name)
    largest = max([*whole, *own], default=0)
    more = tree.uncertain
    low = tree.root.size // cards + largest * 5 // 4
    return Range(low, (tree.root.size + more) // cards + (largest + more) * 5 // 4)


@dataclass
class _Largest:
    """The largest part of what is still to be placed: one device keeps room for it."""

    size: int
    names: list[str]

    @classmethod
    def of(cls, items: Sequence[Item]) -> _Largest:
        found = cls(0, [])
        waiting = list(reversed(items))
        while waiting:
            item = waiting.pop()
            if item.children and not item.whole:
                waiting.extend(reversed(item.children))
            elif item.size > found.size:
                found = cls(item.size, [item.name])
            elif item.size == found.size:
                found.names.append(item.name)
        return found

    def without(self, name: str) -> list[str]:
        return [one for one in self.names if one != name and not one.startswith(f"{name}.")]


class _Run:
    """One pass over the modules, in their order, from one device to the next."""

    def __init__(self, tree: Tree, limits: Limits, library: Library) -> None:
        self.tree = tree
        self.library = library
        self.limits = limits
        self.devices: list[Device] = [*limits, *(["disk"] if "disk" not in limits and OFFLOADED not in limits else [])]
        cards = [device for device in self.devices if isinstance(device, int)]
        self.reserving = (*cards[:1], "cpu")  # where room for the largest part is kept
        self.used: dict[Device, int] = dict.fromkeys(self.devices, 0)
        self.current = 0
        self.waiting: list[Item] = [*tree.root.own, *tree.root.children, *tree.root.tables]
        self.largest = _Largest.of(self.waiting)
        self.placed: dict[str, Device] = {}

    def run(self) -> dict[str, Device]:
        while self.waiting:
            item = self.waiting.pop(0)
            names = self.largest.without(item.name)
            self.largest = _Largest(self.largest.size, names) if names else self._find_largest()
            sharing = self._sharing(item)
            if self._unlimited or self._fits(item, sharing):
                self._place(item, sharing)
            elif sharing and self._fits(item, ()) and self._split_sharing(item, sharing):
                continue
            elif self._splits(item, sharing):
                self.waiting[:0] = [*item.own, *item.children]
                self.largest = self._find_largest()
            else:
                self.used[self.device] += self._reserved
                self.current += 1
                self.waiting.insert(0, item)
        return self.placed

    @property
    def device(self) -> Device:
        return self.devices[self.current]

    @property
    def _unlimited(self) -> bool:
        return self.device in ("disk", OFFLOADED)

    @property
    def _reserved(self) -> int:
        return self.largest.size if self.device in self.reserving else 0

    def _find_largest(self) -> _Largest:
        return _Largest.of([item for item in self.waiting if item.module])

    def _sharing(self, item: Item) -> tuple[tuple[Item, str], ...]:
        """What holds the other names of weights in `item`, each with the name."""
        inside = f"{item.name}."
        found: list[tuple[Item, str]] = []
        for group in self.tree.ties:
            outside = [name for name in group if inside not in f"{name}."]
            if not outside or len(outside) == len(group):
                continue
            for name in outside:
                holder = next((one for one in self.waiting if name.startswith(f"{one.name}.")), None)
                if holder is None:
                    raise UnprovenError(f"device_map: {self.library} fails where {item.name} shares {name}")
                found.append((holder, name))
        if self.library is Library.ACCELERATE:
            return tuple(found)
        return tuple({holder.name: (holder, name) for holder, name in reversed(found)}.values())[::-1]

    def _size(self, item: Item, sharing: Sequence[tuple[Item, str]]) -> int:
        """Bytes of a module with what shares its weights.

        accelerate takes off what is shared, but counts it under its first name only, which is never still to come.
        """
        return item.size + sum(holder.size for holder, _ in sharing)

    def _fits(self, item: Item, sharing: Sequence[tuple[Item, str]]) -> bool:
        limit = self.limits[self.device]
        needed = self.used[self.device] + self._size(item, sharing) + self._reserved
        if needed + 2 * self.tree.uncertain <= limit.low:
            return True
        if needed > limit.high:
            return False
        raise UnprovenError(
            f"device_map: whether {item.name[:80]} is placed on {self.device} hangs on a few bytes: it takes "
            f"{needed} to {needed + 2 * self.tree.uncertain} there, of {int(limit.low)} to {int(limit.high)}"
        )

    def _place(self, item: Item, sharing: Sequence[tuple[Item, str]]) -> None:
        self.used[self.device] += self._size(item, sharing)
        self.placed[item.name] = self.device
        for holder, _ in sharing:
            self.waiting = [one for one in self.waiting if one.name != holder.name]
            self.placed[holder.name] = self.device

    def _split_sharing(self, item: Item, sharing: Sequence[tuple[Item, str]]) -> bool:
        """Split the first module that shares a weight and can be split; False where none can."""
        for holder, _ in sharing:
            if holder.children and not holder.whole:
                place = self.waiting.index(holder)
                self.waiting[place : place + 1] = [*holder.own, *holder.children]
                self.waiting.insert(0, item)
                self.largest = self._find_largest()
                return True
        return False

    def _splits(self, item: Item, sharing: Sequence[tuple[Item, str]]) -> bool:
        """Whether what does not fit is split rather than sent to the next device."""
        if not item.children or item.whole:
            return False
        if self.library is Library.TRANSFORMERS or not sharing or not self._fits(item, ()):
            return True
        # accelerate: a module that fits alone is split only where it fills the device to the last byte
        needed, limit = self.used[self.device] + item.size + self._reserved, self.limits[self.device]
        if needed + 2 * self.tree.uncertain >= limit.low and (self.tree.uncertain or limit.low != limit.high):
            raise UnprovenError(f"device_map: whether {item.name[:80]} is split hangs on a few bytes")
        return needed >= limit.low
