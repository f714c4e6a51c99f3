"""Bytes with their reasons: a ledger of terms, each with the formula and the integers that give its bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from vramguard.memory.expression import evaluate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.architecture import Tensor


OFFLOAD: Final = "offload"  # the group of rows that take bytes off a card, and may be negative


class Kind(StrEnum):
    """How a term is known."""

    EXACT = "exact"  # arithmetic from the config
    BOUND = "bound"  # an inequality whose argument is in docs/memory-model.md
    MEASURED = "measured"  # a constant with its source row


@dataclass(frozen=True, slots=True)
class Term:
    """One row: at least `lower_bytes`, at most `upper_bytes`. Build it with `exact`, `bound` or `measured`.

    `formula` gives the upper bytes and `lower_formula` (where it differs, else None) the lower bytes, both from
    `inputs`; the bytes are computed from them here and nowhere else, so that they cannot disagree.
    """

    name: str  # group and item, as weights/embedding
    formula: str
    inputs: Mapping[str, int]
    kind: Kind
    source: str | None = None
    lower_formula: str | None = None
    upper_bytes: int = field(init=False)
    lower_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        """Raise FormulaError where a formula does not evaluate, ValueError where the bounds contradict each other."""
        upper = evaluate(self.formula, self.inputs)
        lower = upper if self.lower_formula is None else evaluate(self.lower_formula, self.inputs)
        if not lower <= upper or (lower < 0 and self.group != OFFLOAD):
            raise ValueError(f"{self.name}: {lower} <= {upper} does not hold")
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))
        object.__setattr__(self, "upper_bytes", upper)
        object.__setattr__(self, "lower_bytes", lower)

    @property
    def group(self) -> str:
        """What stands before the first slash of the name."""
        return self.name.partition("/")[0]


def exact(name: str, formula: str, inputs: Mapping[str, int], source: str | None = None) -> Term:
    """Build a term that is arithmetic from the config."""
    return Term(name, formula, inputs, Kind.EXACT, source)


def dense(tensor: Tensor, element_bytes: int, group: str = "weights") -> Term:
    """Build the row of a tensor as it is: exact, in bytes."""
    sizes = {f"size_{axis}": size for axis, size in enumerate(tensor.shape)}
    inputs = {"copies": tensor.copies, **sizes, "bytes": element_bytes}
    return exact(f"{group}/{tensor.name}", " * ".join(inputs), inputs)


def bound(name: str, formula: str, inputs: Mapping[str, int], *, lower: str = "0", source: str | None = None) -> Term:
    """Build a term that lies between the formulas `lower` and `formula`."""
    return Term(name, formula, inputs, Kind.BOUND, source, lower)


def measured(name: str, lower_bytes: int, upper_bytes: int, source: str) -> Term:
    """Build a term that was read off a device, between the two values of its source."""
    return Term(name, "upper", {"lower": lower_bytes, "upper": upper_bytes}, Kind.MEASURED, source, "lower")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Terms in the order in which a person would explain them; their sum is the peak."""

    terms: tuple[Term, ...] = ()

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms)

    def group(self, name: str) -> tuple[Term, ...]:
        """Terms whose name begins with `name/`."""
        return tuple(term for term in self.terms if term.group == name)

    def lower_bytes(self, group: str | None = None) -> int:
        """Sum of the lower bounds, of one group or of all."""
        return sum(term.lower_bytes for term in self.terms if group in (None, term.group))

    def upper_bytes(self, group: str | None = None) -> int:
        """Sum of the upper bounds, of one group or of all."""
        return sum(term.upper_bytes for term in self.terms if group in (None, term.group))
