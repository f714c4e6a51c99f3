"""The tensors of a checkpoint beside those that its config builds: where the two cannot both be true.

Names are compared with every number in them written `*`. A checkpoint may well hold other names than transformers
builds (old spellings, one tensor for each expert), and more than the config builds (buffers, a tied head, layers for
predicting further tokens, a vision tower): none of that is a contradiction.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import WeightIndex
    from vramguard.memory import Architecture
    from vramguard.source.heads import StoredTensor

Shape = tuple[int, ...]

WIDER = "dtype"  # the subject of a difference in the type of the weights
WIDTHS: Mapping[str, int] = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}  # bytes of the types that are not packed
_TOO_LARGE = Fraction(3, 2)  # what stands beside a language model in its files is not half of it
_DTYPES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}  # the same by a config's names
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)")
_EXPERTS = ".experts."
# What a module keeps beside its parameters, and old checkpoints hold: tables of positions, causal masks.
_BUFFER = re.compile(
    r"(?:^|\.)(?:inv_freq|rope\.freqs|rotary_pos_emb\.\w+|(?:attn|attention)\.(?:bias|masked_bias)|masked_bias"
    r"|position_ids|cos_cached|sin_cached)$"
)
# What a checkpoint may lack: tables that some classes compute (Marian's sines), and the head, which many embedding
# models do without although their config names the class that generates.
_SPARED = re.compile(r"(?:^|\.)embed_positions\.weight$|^lm_head\.")


class Difference(NamedTuple):
    """One contradiction: what it is about, and the sentence that says it."""

    subject: str
    what: str


@dataclass(frozen=True)
class _Held:
    """What a checkpoint holds: shapes by name, where every number of the name is `*`. None where no shape is known."""

    shapes: Mapping[str, Counter[Shape | None]]
    surplus: Mapping[str, int]  # by stack, the highest number of a layer that is one too many
    sized: bool

    def elements(self, *names: str) -> int:
        return sum(prod(shape or ()) * count for name in names for shape, count in self.shapes[name].items())

    @property
    def experts(self) -> tuple[int, int]:
        """Elements of the tensors that are stored among experts, and how many of them stand in vectors."""
        shapes = sum((found for name, found in self.shapes.items() if _EXPERTS in name), Counter[Shape | None]())
        sizes = [(prod(shape or ()) * count, len(shape or ())) for shape, count in shapes.items()]
        return sum(size for size, _ in sizes), sum(size for size, dimensions in sizes if dimensions == 1)


class _Built:
    """What a config builds, in the same form."""

    def __init__(self, network: Architecture) -> None:
        self.shapes: dict[str, Counter[Shape]] = defaultdict(Counter)
        self.layers: dict[str, int] = {}  # how many each stack has
        for tensor in network.tensors:
            name = _starred(tensor.name)
            self.shapes[name][tensor.shape] += tensor.copies
            if tensor.layers:
                self.layers[_stack(name)] = max(self.layers.get(_stack(name), 0), max(tensor.layers) + 1)
        # First words of the names: a checkpoint of the bare model lacks them.
        self._roots = sorted({name.partition(".")[0] for name in self.shapes})

    def name(self, starred: str) -> str:
        """The name by which the config's model knows a tensor of a checkpoint."""
        for candidate in (starred, *(f"{root}.{starred}" for root in self._roots)):
            if candidate in self.shapes or _stack(candidate) in self.layers:
                return candidate
        return starred

    def elements(self, *names: str) -> int:
        return sum(prod(shape) * count for name in names for shape, count in self.shapes[name].items())


def differences(held: Mapping[str, Shape | None], network: Architecture) -> Iterator[Difference]:
    """The gravest contradiction between the tensors held, by name, and those built; at most one.

    A shape is None where only the names are known, as from an index.
    """
    built = _Built(network)
    stored = _sorted_out(held, built)
    for judge in (_shapes, _too_few, _too_many, _experts, _absent, _biases):
        found = judge(stored, built)
        if found is not None:
            yield found
            return


def is_packed(tensors: Iterable[StoredTensor]) -> bool:
    """Whether a checkpoint is quantized, so that its shapes are not those that a config builds."""
    return any(tensor.dtype not in WIDTHS and not _BUFFER.search(tensor.name) for tensor in tensors)


def wider(tensors: Iterable[StoredTensor], network: Architecture) -> Iterator[Difference]:
    """Weights that for the most part are of a wider type than the config names; a few (norms, routers) often are."""
    width, elements = _DTYPES.get(network.dtype or ""), Counter[str]()
    for tensor in tensors:
        elements[tensor.dtype] += tensor.elements
    wide = {dtype: count for dtype, count in elements.items() if width and WIDTHS.get(dtype, 0) > width}
    if 2 * sum(wide.values()) > elements.total():
        most = max(wide, key=lambda dtype: wide[dtype])
        yield Difference(WIDER, f"the weights are stored as {most}, and the config names {network.dtype}")


def totals(index: WeightIndex, network: Architecture) -> Iterator[Difference]:
    """Totals of an index that are more than the config can build, where no header tells it better.

    Less is no contradiction: who saves a model that is spread over several cards may count the parts of one.
    """
    most = network.parameters + (network.vocab * network.hidden if network.tied else 0)
    width = _DTYPES.get(network.dtype or "")
    if index.total_parameters is not None and index.total_parameters > most:
        what = f"the index counts {index.total_parameters:,} parameters, and the config builds {network.parameters:,}"
        yield Difference("total_parameters", what)
    elif index.total_size is not None and width and index.total_size > most * width * _TOO_LARGE:
        what = f"the index counts {index.total_size:,} bytes, and the config builds {network.parameters * width:,}"
        yield Difference("total_size", f"{what} in {network.dtype}")


def _starred(name: str) -> str:
    return _NUMBER.sub("*", name)


def _stack(name: str) -> str:
    """What comes before a layer's number: `model.layers` of `model.layers.*.mlp`; empty where there is none."""
    before, star, _ = name.partition(".*.")
    return before if star else ""


def _sorted_out(held: Mapping[str, Shape | None], built: _Built) -> _Held:
    """The tensors of the layers that the config builds, and the layers beyond."""
    shapes: dict[str, Counter[Shape | None]] = defaultdict(Counter)
    beyond: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name, shape in held.items():
        known = built.name(_starred(name))
        if known not in built.shapes and _BUFFER.search(name):
            continue
        stack, number = _stack(known), _NUMBER.search(name)
        if number and int(number[0]) >= built.layers.get(stack, int(number[0]) + 1):
            beyond[stack, int(number[0])].add(known)
        else:
            shapes[known][shape] += 1
    surplus: dict[str, int] = {}
    for (stack, layer), names in beyond.items():
        if names <= shapes.keys():  # a layer like the others: one that predicts further tokens has parts of its own
            surplus[stack] = max(layer, surplus.get(stack, 0))
    return _Held(shapes, surplus, None not in held.values())


def _common(stored: _Held, built: _Built) -> list[str]:
    return [name for name in built.shapes if name in stored.shapes]


def _shapes(stored: _Held, built: _Built) -> Difference | None:
    """A tensor of another shape; one that is only stored the other way round takes the same memory."""
    other = []
    for name in _common(stored, built) if stored.sized else ():
        expected = {tuple(sorted(shape)) for shape in built.shapes[name]}
        found = next((shape for shape in stored.shapes[name] if tuple(sorted(shape or ())) not in expected), None)
        if found is not None:
            other.append((name, found, next(iter(built.shapes[name]))))
    if not other:
        return None
    name, found, shape = other[0]
    more = f", and {plural(len(other) - 1, 'more kind')} of tensor" if other[1:] else ""
    return Difference(name, f"`{name}` is {_size(found)} in the weights, and the config makes it {_size(shape)}{more}")


def _size(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _too_few(stored: _Held, built: _Built) -> Difference | None:
    """Fewer copies of a tensor than the config has layers for it."""
    for name in _common(stored, built):
        count, expected = stored.shapes[name].total(), built.shapes[name].total()
        if count < expected:
            return Difference(name, f"the config builds {expected:,} of `{name}`, and the weights hold {count:,}")
    return None


def _too_many(stored: _Held, built: _Built) -> Difference | None:
    """Layers beyond the config's number that are like the others."""
    for stack, last in stored.surplus.items():
        what = f"the weights hold `{stack}.{last}`, and the config builds {plural(built.layers[stack], 'layer')}"
        return Difference(stack, what)
    return None


def _experts(stored: _Held, built: _Built) -> Difference | None:
    """Experts, which are stored one by one and built as one tensor, by all of their parameters."""
    theirs, vectors = stored.experts
    ours = built.elements(*(name for name in built.shapes if _EXPERTS in name))
    # Some store a vector among their experts (the router's bias) that is built beside them.
    if not theirs or not stored.sized or theirs - vectors <= ours <= theirs:
        return None
    said = f"and the config builds {ours:,}" if ours else "and the config builds none"
    return Difference("experts", f"the weights hold experts of {theirs:,} parameters, {said}")


def _absent(stored: _Held, built: _Built) -> Difference | None:
    """Tensors for which the weights hold nothing, under that name or any other that the config does not build."""
    theirs, vectors = stored.experts
    absent = [name for name in built.shapes if name not in stored.shapes and not _SPARED.search(name)]
    absent = [name for name in absent if not (theirs and _EXPERTS in name)]
    foreign = [name for name in stored.shapes if name not in built.shapes]
    spare = stored.elements(*(name for name in foreign if _EXPERTS not in name)) + vectors
    lacking = built.elements(*absent) > spare if stored.sized else not foreign
    if not absent or not lacking:
        return None
    more = f" and {plural(len(absent) - 1, 'more kind')} of tensor" if absent[1:] else ""
    return Difference(absent[0], f"the config builds `{absent[0]}`{more}, and the weights hold nothing for it")


def _biases(stored: _Held, built: _Built) -> Difference | None:
    """A bias of a layer's tensor that the config builds without one: whoever loads it leaves the bias out."""
    for name in stored.shapes:
        weight = f"{name.removesuffix('.bias')}.weight"
        if name not in built.shapes and name.endswith(".bias") and weight in built.shapes and _stack(name):
            return Difference(name, f"the weights hold `{name}`, which the config does not build")
    return None
