"""Rows of the ledger for a quantized network: every weight either packed by its format or left as it is.

A format is two things: a `Rule`, which says what modules it takes, and a `Packing`, which says what tensors it stores
in a weight's place. `quantize` applies both to the tensors of an architecture, layer by layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from vramguard.memory.architecture import Tensor, UnprovenError
from vramguard.memory.ledger import Kind, Term, dense

if TYPE_CHECKING:
    from collections.abc import Iterator

MATRIX: Final = 2  # dimensions of a Linear's weight
STACK: Final = 3  # dimensions of the weights of all experts
_MATRICES: Final = ("linear", "linear_subclass", "conv1d", "embedding")  # kinds whose weight is a matrix


class Matrix(NamedTuple):
    """One weight as a matrix of (out_features, in_features), `experts` of them where they are stacked."""

    rows: int
    columns: int
    experts: int = 1
    name: str = "weight"  # last part of the parameter's name

    @property
    def elements(self) -> int:
        """Elements of one matrix."""
        return self.rows * self.columns


class Part(NamedTuple):
    """One tensor that a format stores of a weight; the formulas give the bytes of one matrix.

    `lower` is set where the bytes are only bounded, as where a kernel pads as it likes.
    """

    name: str  # packed, scales, zeros, ...
    formula: str
    inputs: Mapping[str, int]
    lower: str | None = None


Parts = tuple[Part, ...]


class Network(NamedTuple):
    """What a rule may ask of a network.

    Its tensors must end with the last of `named_parameters()`, whose module most quantizers leave alone. Beside the
    kinds of `Tensor` there is linear_subclass, which some quantizers take for a Linear and others do not (the output
    projection of torch's own MultiheadAttention, as in SigLIP's head).
    """

    tensors: Sequence[Tensor]
    fp32_modules: tuple[str, ...] = ()  # modules that its class keeps in float32 (T5's wo), which most quantizers skip
    model_type: str = ""  # of its config; where it is not given, names of another layout are UNKNOWN
    tied: bool = False  # the head has no weight of its own; a format that would pack it all the same is UNKNOWN


class Packing(Protocol):
    """What a format stores in the place of one weight."""

    @property
    def bias_bytes(self) -> int | None:
        """Bytes of one element of a packed module's bias, None where it is in the network's dtype."""

    def parts(self, matrix: Matrix, element_bytes: int) -> Parts | None:
        """Tensors in the weight's place, None where its shape makes the format leave it alone; UnprovenError."""

    def unpacked(self, matrix: Matrix, element_bytes: int) -> Parts | None:
        """Tensors in the weight's place once a forward pass has run, None where that changes nothing."""


Chooser = Callable[[str, Tensor], "Packing | None"]  # of a module's name and one of its tensors


class Rule(Protocol):
    """What modules a format takes."""

    def chooser(self, network: Network) -> Chooser:
        """Decide for this network; raises UnprovenError."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a network is quantized: what `quantize` needs, and what a proof must say beside it."""

    method: str  # transformers' name, as in quantization_config
    rule: Rule
    source: str
    dtypes: Mapping[str, str] = field(default_factory=dict)  # dtype that is asked for -> dtype that is loaded instead
    on_the_fly: bool = False  # quantized while it is loaded, from a checkpoint that is not
    capability: tuple[int, int] = (0, 0)  # least compute capability of a card
    below: str = "refused"  # what transformers does on a lesser card: refused, or dense (loads everything unpacked)
    refused: str | None = None  # why transformers 5.23 does not load it at all; other engines may
    unpacks: bool = False  # the first forward pass puts dense weights in the place of the packed ones; see `unpacked`
    assumptions: tuple[str, ...] = ()
    cache_bits: int | None = None  # of an element of the cache, where the checkpoint asks for another than the model's
    detail: Mapping[str, int] = field(default_factory=dict)  # what the rows of one method need to know

    def loads_as(self, dtype: str) -> str:
        """Dtype that the modules left alone take where `dtype` is asked for."""
        return self.dtypes.get(dtype, self.dtypes.get("*", dtype))


def quantize(network: Network | Sequence[Tensor], scheme: Scheme, element_bytes: int) -> tuple[Term, ...]:
    """One row for each distinct tensor in memory once the network is loaded; raises UnprovenError."""
    return tuple(_terms(as_network(network), scheme, element_bytes, after=False))


def unpacked(network: Network | Sequence[Tensor], scheme: Scheme, element_bytes: int) -> tuple[Term, ...]:
    """Rows as `quantize` gives them, but from the first forward pass on, where the scheme unpacks then.

    compressed-tensors under transformers: every weight is dense from then on, and its scales stay. The peak of the
    weights is the greater of the two sums, plus one weight in both forms while it is converted.
    """
    return tuple(_terms(as_network(network), scheme, element_bytes, after=True))


def packed_matrices(network: Network, scheme: Scheme) -> frozenset[Matrix]:
    """Distinct matrices that the scheme packs; raises UnprovenError."""
    choose = scheme.rule.chooser(network)
    matrices = ((matrix_of(tensor), tensor) for tensor in network.tensors)
    return frozenset(matrix for matrix, tensor in matrices if matrix is not None and any(split(tensor, choose)))


def as_network(network: Network | Sequence[Tensor]) -> Network:
    """Take tensors alone for a network of which nothing else is known."""
    return network if isinstance(network, Network) else Network(network)


def matrix_of(tensor: Tensor) -> Matrix | None:
    """Return a weight as a matrix, None for a bias and whatever else no format packs."""
    name = tensor.name.rpartition(".")[2]
    if tensor.kind == "experts":
        if len(tensor.shape) != STACK:
            return None
        experts, rows, columns = tensor.shape
        return Matrix(rows, columns, experts, name)
    if tensor.kind not in _MATRICES or name != "weight" or len(tensor.shape) != MATRIX:
        return None
    rows, columns = tensor.shape if tensor.kind != "conv1d" else reversed(tensor.shape)
    return Matrix(rows, columns)


def split(tensor: Tensor, choose: Chooser) -> Mapping[Packing | None, int]:
    """How many copies of `tensor` each packing takes; None stands for those that are left alone."""
    return Counter(choose(name, tensor) for name in modules(tensor))


def modules(tensor: Tensor) -> Iterator[str]:
    """Name of the module of each copy: the layers' numbers in the place of the first *, experts' in the second's."""
    module = tensor.name.rpartition(".")[0]
    stars = module.count("*")
    if not stars:
        yield from [module] * tensor.copies
        return
    inner, rest = divmod(tensor.copies, len(tensor.layers) or 1)
    if not tensor.layers or rest or stars > MATRIX or (stars == 1 and inner != 1):
        raise UnprovenError(f"quantization: the layers that {tensor.name} stands for are not listed")
    for layer in tensor.layers:
        outer = module.replace("*", str(layer), 1)
        yield from (outer.replace("*", str(expert)) for expert in range(inner))


def _terms(network: Network, scheme: Scheme, element_bytes: int, *, after: bool) -> Iterator[Term]:
    choose = scheme.rule.chooser(network)
    for tensor in network.tensors:
        choices = split(tensor, choose)
        several = len([packing for packing in choices if packing is not None]) > 1
        for number, (packing, copies) in enumerate(choices.items()):
            some = tensor._replace(copies=copies)
            if packing is None:
                yield dense(some, element_bytes)
                continue
            label = f"{tensor.name}/group_{number}" if several else tensor.name
            yield from _packed(some, packing, element_bytes, label, scheme.source, after=after)


def _packed(
    tensor: Tensor, packing: Packing, element_bytes: int, label: str, source: str, *, after: bool
) -> Iterator[Term]:
    matrix = matrix_of(tensor)
    if matrix is None:  # the bias of a packed module
        yield dense(tensor, packing.bias_bytes or element_bytes)
        return
    parts = packing.parts(matrix, element_bytes)
    if parts is not None and after:
        parts = packing.unpacked(matrix, element_bytes) or parts
    if parts is None:
        yield dense(tensor, element_bytes)
        return
    for part in parts:
        yield _term(f"weights/{label}/{part.name}", part, tensor.copies * matrix.experts, source)


def _term(name: str, part: Part, copies: int, source: str) -> Term:
    inputs = {"copies": copies, **part.inputs}
    lower = None if part.lower is None else f"copies * ({part.lower})"
    kind = Kind.EXACT if lower is None else Kind.BOUND
    return Term(name, f"copies * ({part.formula})", inputs, kind, source, lower)
