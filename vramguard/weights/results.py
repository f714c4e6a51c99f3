"""What a review of weights says: statistics of each tensor, what is wrong, and what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DIMENSIONS: Final = 8  # that are shown

Examined = Literal["values", "scales", "none"]

# What is wrong, in the order in which it is shown. `non-finite` first: it is what the command is for.
KINDS: Final[Mapping[str, str]] = {
    "non-finite": "a value, or the scale of a block, is NaN or infinite",
    "missing": "a file or a tensor that belongs to the weights is not there",
    "unreadable": "cut short, broken, or no file that can be read",
    "pointer": "the file itself is kept elsewhere (git-lfs, git-annex, xet)",
    "pickle": "a pickle, or named like one, runs code when it is opened; it never is: save it as safetensors",
    "format": "weights in a format that is not read here",
    "index": "the index and the files contradict each other",
}
INCOMPLETE: Final = frozenset({"missing", "unreadable", "pointer", "index"})  # the digest would not be of the whole


def brief(numbers: Sequence[int]) -> str:
    """`[2, 3]`; of more dimensions than any real tensor has, the first ones."""
    shown = [str(number) for number in numbers[:_DIMENSIONS]]
    return f"[{', '.join([*shown, '...'] if len(numbers) > _DIMENSIONS else shown)}]"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps the weights from being vouched for; or a note. `of_against`: it is the other side's."""

    kind: str
    message: str
    file: str | None = None
    tensor: str | None = None
    of_against: bool = False


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the values of one tensor are.

    `values` is how many were looked at: the elements; of C64 both parts of each; of a quantized tensor its scales.
    `nan`, `positive_inf` and `negative_inf` count them by kind, `first` is the element (counted in the order of the
    file, from 0) that is the first of them. Everything below is over the finite values, in float64, and None where
    there is none, where only scales were looked at, or where float64 cannot hold it (of F64 beyond 1e154 alone).
    `zeros` counts 0 and -0; `mean` is the arithmetic mean; `std` the square root of the mean squared distance from it
    (of the population: divided by their number, not by one less); `abs_max` the largest magnitude; `norm` the square
    root of the sum of squares.
    """

    values: int
    nan: int = 0
    positive_inf: int = 0
    negative_inf: int = 0
    first: int | None = None
    zeros: int | None = None
    min: float | None = None
    max: float | None = None
    mean: float | None = None
    std: float | None = None
    abs_max: float | None = None
    norm: float | None = None

    @property
    def non_finite(self) -> int:
        return self.nan + self.positive_inf + self.negative_inf

    @property
    def zero_share(self) -> float | None:
        """Zeros among all values, finite or not."""
        return None if self.zeros is None or not self.values else self.zeros / self.values


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor: as its file describes it, the digest of its bytes, and what its values are.

    `examined`: all its values; of a quantized one the scales of its blocks; or nothing but its bytes (integers,
    six-bit floats, of which no code is NaN or infinite, and types whose layout is not known), with no statistics.
    """

    name: str
    dtype: str  # as its format writes it
    shape: tuple[int, ...]  # the outermost dimension first
    elements: int
    bytes: int
    file: str
    sha256: str
    examined: Examined
    statistics: Statistics | None

    def index(self, element: int) -> tuple[int, ...]:
        """Where an element stands, by its number in the order of the file."""
        found = []
        for length in reversed(self.shape):
            element, place = divmod(element, length)
            found.append(place)
        return tuple(reversed(found))

    def place(self, element: int) -> str:
        """Where an element stands, in words."""
        return brief(self.index(element))


@dataclass(frozen=True, slots=True)
class Gap:
    """How the values of a tensor differ from those that it had, element by element, in float64.

    `differing` elements have another value (NaN is like NaN, 0 like -0); of those, `not_compared` are not finite on
    one side or both. `max_abs` is the largest |new - old| of the others, at the element `at`. `relative` is the norm of
    new - old over the norm of old; `norm_change` is (norm of new - norm of old) over the norm of old. Both are None
    where old has no norm above 0, and each is None where float64 cannot hold it.
    """

    differing: int
    not_compared: int
    max_abs: float | None
    at: int | None
    relative: float | None
    norm_change: float | None


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor that is not what it was: added, removed, reshaped, retyped or changed, by its name.

    `gap` is there where both sides have the same shape and values that are read.
    """

    kind: str
    name: str
    before: Tensor | None
    after: Tensor | None
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file of weights that was read."""

    path: str
    format: str
    bytes: int
    tensors: int


@dataclass(frozen=True, slots=True)
class Side:
    """Weights that were read, their tensors by name. `digest` is None where they are not whole."""

    target: str
    files: tuple[File, ...]
    tensors: tuple[Tensor, ...]
    digest: str | None


@dataclass(frozen=True, slots=True)
class Review:
    """The weights, what keeps them from being vouched for, and what has changed since the others, if asked."""

    side: Side
    problems: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    against: Side | None = None
    changes: tuple[Change, ...] = ()
    unchanged: int = 0
