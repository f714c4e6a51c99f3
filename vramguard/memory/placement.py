"""Where the weights go under transformers' `device_map`: bytes on each card, what spills, and the map itself.

    placement = place(loaded, config, "auto", Memory(free=((low, high),) * gpus))
    placement.cards[0].upper_bytes, placement.spilled.upper_bytes, placement.layers[1]

The sizes that decide are not those that stay: transformers places a network before it is loaded, each weight in the
dtype that its class builds it in, quantized ones at a nominal size, and weights that stay float32 at their half-
precision size. What ends up on a card is counted from the ledger's rows.

With several cards the forward pass runs on one card after the other (accelerate's hooks move the hidden states along),
so that each card's peak is its own: its weights, the cache of its layers, and the largest moment of a pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.auto_device_map import (
    OFFLOADED,
    Device,
    Library,
    Limits,
    Range,
    balanced,
    cleaned,
    infer,
)
from vramguard.memory.expression import evaluate
from vramguard.memory.modules import Weight, row_of, starred, tree_of, weights_of
from vramguard.memory.weights import buffers, weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.modules import Row, Tree
    from vramguard.memory.quantization.scheme import Chooser
    from vramguard.memory.weights import Loaded

KINDS: Final = ("auto", "balanced", "balanced_low_0", "sequential")
OFF_CARD: Final = ("cpu", "disk", OFFLOADED)
_FLOAT32: Final = 4
# Bytes of an element that the quantizer will take, while modules are placed: transformers 5.23.0,
# quantizers/quantizer_bnb_4bit.py and quantizer_bnb_8bit.py (quantized_element_size).
_NOMINAL: Final = {"packed4": Fraction(1, 2), "packed8": Fraction(1)}
# Of every limit, what a quantizer leaves for buffers (adjust_max_memory): quantizer_bnb_4bit.py, quantizer_bnb_8bit.py.
_QUANTIZER_SHARE: Final = Fraction(9, 10)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the devices have, in bytes.

    `free` is what CUDA reports as free on each visible card once its context exists, between two values; `given` is the
    user's max_memory, which replaces it (the cards and "cpu" that it names, no others). The host's memory is never
    known without it: what leaves the cards is then OFFLOADED, to CPU or disk.
    """

    free: tuple[tuple[int, int], ...] = ()
    given: Mapping[Device, int] | None = None

    @property
    def limits(self) -> Limits:
        """Limits as accelerate's get_max_memory orders them: cards by number, then the CPU."""
        if self.given is None:
            return {**{n: Range(*free) for n, free in enumerate(self.free)}, OFFLOADED: Range(0, 0)}
        strange = [key for key in self.given if not isinstance(key, int) and key not in ("cpu", "disk")]
        if strange or any(isinstance(key, int) and key < 0 for key in self.given):
            raise UnprovenError(f"max_memory: {strange or 'a negative card'} is not a device")
        cards = sorted(key for key in self.given if isinstance(key, int))
        order: tuple[Device, ...] = (*cards, "cpu", "disk")
        return {key: Range(self.given[key], self.given[key]) for key in order if key in self.given}


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes of weights on one device, between two bounds (a quantizer may only bound its own)."""

    lower_bytes: int = 0
    upper_bytes: int = 0

    def plus(self, lower: int, upper: int) -> Share:
        """Add bytes to both bounds."""
        return Share(self.lower_bytes + lower, self.upper_bytes + upper)


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything is."""

    device_map: Mapping[str, Device]  # as `hf_device_map` shows it
    shares: Mapping[Device, Share]  # weights on every device that has any, off-card ones included
    layers: Mapping[Device, tuple[str, ...]] = field(default_factory=dict)  # modules that are never split, in order

    @property
    def cards(self) -> Mapping[int, Share]:
        """Weights on each card that has any."""
        return {device: share for device, share in self.shares.items() if isinstance(device, int)}

    def cached_layers(self, network: Architecture, card: int) -> int:
        """At most so many layers of a group of caches stand on a card: those of its modules that are never split.

        All of them, where layers are no such modules. A tower's layers count too: the number is an upper bound.
        """
        whole = sum(map(len, self.layers.values()))
        return network.layers if whole < network.layers else len(self.layers.get(card, ()))

    @property
    def worst_card(self) -> Share:
        """Bounds of the fullest card's weights."""
        shares = self.cards.values()
        lower = max((share.lower_bytes for share in shares), default=0)
        return Share(lower, max((share.upper_bytes for share in shares), default=0))

    @property
    def spilled(self) -> Share:
        """Weights that stand on no card."""
        shares = [share for device, share in self.shares.items() if device in OFF_CARD]
        return Share(sum(share.lower_bytes for share in shares), sum(share.upper_bytes for share in shares))


def place(
    loaded: Loaded, config: Mapping[str, Any], device_map: str | int | Mapping[str, Device], memory: Memory
) -> Placement:
    """Place a network's weights as `from_pretrained(..., device_map=..., max_memory=...)` of transformers 5.23 does.

    Raises UnprovenError for a map, a class, a quantizer or limits whose result is not known.
    """
    if device_map in KINDS:
        return _automatic(loaded, config, str(device_map), memory)
    explicit = device_map if isinstance(device_map, Mapping) else {"": _device(device_map)}
    if len(explicit) == 1 and "" in explicit:
        return _on_one(loaded, _device(explicit[""]))
    row = row_of(loaded.network, config)
    named = {key: _device(device) for key, device in explicit.items()}
    bytes_of = _loaded_bytes(loaded, row)
    devices = {weight.name: _explicit_device(named, weight.name) for weight, _ in bytes_of}
    return Placement(named, _shares(bytes_of, devices))


def cache_share(group_bytes: int, layers: int, on_card: int) -> int:
    """Cache of a group of `layers` equal layers that is on a card with `on_card` of them: each layer's is its own."""
    return -(-group_bytes // layers) * min(layers, on_card) if layers else 0


def placing_tree(loaded: Loaded, row: Row, *, first: bool = False) -> Tree:
    """Tree of modules with the bytes that decide where they go; raises UnprovenError."""
    wide, item = {*row.get("wide", ())}, loaded.element_bytes
    nominal = _nominal(loaded)
    sizes = []
    for weight in weights_of(loaded.network, row):
        elements = weight.tensor.elements // weight.tensor.copies
        width = Fraction(_FLOAT32 if starred(weight.name) in wide else item)
        size = elements * (nominal(weight) or width)
        if size.denominator != 1:
            raise UnprovenError(f"device_map: {weight.name} of an odd number of elements is quantized to half bytes")
        sizes.append((weight.name, int(size)))
    return tree_of(loaded.network, row, sizes, item, first=first)


def _automatic(loaded: Loaded, config: Mapping[str, Any], kind: str, memory: Memory) -> Placement:
    limits, given = memory.limits, memory.given is not None
    try:
        row = row_of(loaded.network, config)
        tree = placing_tree(loaded, row)
    except UnprovenError:
        if _certainly_fits(loaded, limits, kind, given=given):
            return _on_one(loaded, next(iter(limits)))
        raise
    if kind != "sequential":
        limits = balanced(tree, limits, given=given, low_zero=kind == "balanced_low_0")
    if loaded.scheme is not None:
        limits = {device: limit.times(_QUANTIZER_SHARE) for device, limit in limits.items()}
    placed = infer(tree, limits, Library.TRANSFORMERS)
    if loaded.scheme is not None and any(device in OFF_CARD for device in placed.values()):
        raise UnprovenError(f"device_map: transformers refuses to offload what {loaded.scheme.method} quantizes")
    bytes_of = _loaded_bytes(loaded, row)
    device_map = cleaned(placed)
    devices = {weight.name: _holder(device_map, weight.name) for weight, _ in bytes_of}
    shares = _shares(bytes_of, devices)
    for name, holder in tree.shared.items():  # a weight that two devices share may stand on both
        _share_again(shares, bytes_of, _holder(device_map, name), (name, holder), devices)
    layers: dict[Device, tuple[str, ...]] = {}
    for item in tree.root.all():
        if item.whole:
            device = _holder(device_map, item.name)
            layers[device] = (*layers.get(device, ()), item.name)
    return Placement(device_map, shares, layers)


def _share_again(
    shares: dict[Device, Share],
    bytes_of: list[tuple[Weight, Share]],
    device: Device,
    names: tuple[str, str],
    devices: Mapping[str, Device],
) -> None:
    for weight, share in bytes_of:
        if weight.name in names and devices[weight.name] != device:
            shares[device] = shares.get(device, Share()).plus(0, share.upper_bytes)


def _certainly_fits(loaded: Loaded, limits: Limits, kind: str, *, given: bool) -> bool:
    """Whether the first card takes everything, whatever the order of modules and the size of the largest.

    transformers keeps room for the largest part, which is no more than all of it. While it places modules, a weight has
    its dense size or its quantized one.
    """
    cards = [device for device in limits if isinstance(device, int)]
    if not cards or (len(cards) > 1 and kind != "sequential"):
        return False
    dense = sum(max(tensor.elements * loaded.element_bytes, 0) for tensor in loaded.network.tensors)
    rows = sum(term.upper_bytes for term in weights(loaded))
    wide = sum(tensor.elements * _FLOAT32 for tensor in loaded.network.tensors) if loaded.network.float32 else 0
    tables = sum(term.upper_bytes for term in buffers(loaded.network))
    share = _QUANTIZER_SHARE if given else _QUANTIZER_SHARE * Fraction(9, 10)
    return 2 * (dense + rows + wide + tables) <= limits[cards[0]].low * share


def _on_one(loaded: Loaded, device: Device) -> Placement:
    rows = list(weights(loaded))
    share = Share(sum(row.lower_bytes for row in rows), sum(row.upper_bytes for row in rows))
    return Placement({"": device}, {device: share})


def _device(value: object) -> Device:
    """Card or off-card place that a device_map names; raises UnprovenError."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if value in ("cpu", "disk"):
        return str(value)
    found = re.fullmatch(r"cuda(?::(\d{1,3}))?", str(value))
    if found is None:
        raise UnprovenError(f"device_map: {value!r:.40} is not a device that is known")
    return int(found[1] or 0)  # "cuda" is card LOCAL_RANK, 0 outside torchrun


def _holder(device_map: Mapping[str, Device], name: str) -> Device:
    """Device of the module in the map that holds a name."""
    path = name
    while path:
        if path in device_map:
            return device_map[path]
        path = path.rpartition(".")[0]
    if "" not in device_map:
        raise UnprovenError(f"device_map: {name[:80]} is not in it")
    return device_map[""]


def _explicit_device(device_map: Mapping[str, Device], name: str) -> Device:
    """Device of a weight in a map of the user's.

    transformers matches names without regard to dots ("layers.1" takes "layers.10", where no longer key does),
    accelerate with; where the two disagree, so would what is loaded and what is dispatched.
    """
    keys = sorted((key for key in device_map if key), key=lambda key: (key.count("."), len(key)), reverse=True)
    matched = next((key for key in keys if name.startswith(key)), "")
    device = _holder(device_map, name)
    if matched in device_map and device_map[matched] != device:
        raise UnprovenError(f"device_map: {matched!r:.40} also matches {name[:80]}, of another module")
    return device


def _nominal(loaded: Loaded) -> Callable[[Weight], Fraction | None]:
    """Bytes that an element counts while modules are placed; None for those of the dtype that it is built in."""
    scheme = loaded.scheme
    if scheme is None:
        return lambda _: None
    if scheme.method != "bitsandbytes":
        raise UnprovenError(f"device_map: what {scheme.method} counts for a weight while it is placed is not known")
    size = _NOMINAL["packed4" if "compute_bytes" in scheme.detail else "packed8"]
    choose = scheme.rule.chooser(loaded.quantized)

    def nominal(weight: Weight) -> Fraction | None:
        module, _, last = weight.name.rpartition(".")
        return size if last == "weight" and choose(module, weight.tensor) is not None else None

    return nominal


def _loaded_bytes(loaded: Loaded, row: Row) -> list[tuple[Weight, Share]]:
    """Bytes of every copy of every weight on the device that holds it; they sum up to the ledger's rows."""
    rows = list(weights(loaded))
    plain = {term.name: term for term in rows}
    found = []
    choose = None if loaded.scheme is None else loaded.scheme.rule.chooser(loaded.quantized)
    for weight in weights_of(loaded.network, row):
        share = None if choose is None else _packed(loaded, choose, weight)
        if share is None:
            term = plain[f"weights/{weight.tensor.name}"]
            size = weight.tensor.elements // weight.tensor.copies * term.inputs["bytes"]
            share = Share(size, size)
        found.append((weight, share))
    total = Share(sum(share.lower_bytes for _, share in found), sum(share.upper_bytes for _, share in found))
    if (total.lower_bytes, total.upper_bytes) != (sum(t.lower_bytes for t in rows), sum(t.upper_bytes for t in rows)):
        raise UnprovenError("device_map: the weights of single modules do not add up to those of the network")
    return found


def _packed(loaded: Loaded, choose: Chooser, weight: Weight) -> Share | None:
    """Bytes of a weight that the quantizer takes, None for one that it leaves alone."""
    from vramguard.memory.quantization.scheme import matrix_of

    packing = choose(weight.name.rpartition(".")[0], weight.tensor)
    matrix = matrix_of(weight.tensor)
    if packing is None:
        return None
    if matrix is None:
        size = weight.tensor.elements // weight.tensor.copies * (packing.bias_bytes or loaded.element_bytes)
        return Share(size, size)
    parts = packing.parts(matrix, loaded.element_bytes)
    if parts is not None and loaded.scheme is not None and loaded.scheme.unpacks:
        parts = packing.unpacked(matrix, loaded.element_bytes) or parts
    if parts is None:
        return None
    upper = sum(evaluate(part.formula, part.inputs) for part in parts) * matrix.experts
    lower = sum(evaluate(part.lower or part.formula, part.inputs) for part in parts) * matrix.experts
    return Share(lower, upper)


def _shares(bytes_of: list[tuple[Weight, Share]], devices: Mapping[str, Device]) -> dict[Device, Share]:
    found: dict[Device, Share] = {}
    for weight, share in bytes_of:
        device = devices[weight.name]
        found[device] = found.get(device, Share()).plus(share.lower_bytes, share.upper_bytes)
    return found
