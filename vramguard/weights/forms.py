"""How the values of a dtype lie in bytes: what turns a block of bytes into float64, or into counts.

The only modules that need numpy are this one and those that import it: `tallies`, `scanning`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

WORDS: Final = 1 << 16  # what two bytes can be
# Numbers that are not finite are our business, and no warning's: every function that may meet them is decorated.
quiet: Final = np.errstate(all="ignore")


class _Float(NamedTuple):
    """A float of a few bits: sign, exponent, mantissa. `special` is how the highest codes are taken."""

    exponent: int
    mantissa: int
    bias: int
    special: str


# OCP, "OFP8" (2023): E4M3 has no infinity and NaN where all bits but the sign are set; E5M2 is as IEEE 754 has it.
# FNUZ (Noune et al., arXiv:2206.02915; torch.float8_e4m3fnuz): no infinity, no -0, whose code is the only NaN, and a
# bias that is one higher. OCP, "Microscaling Formats (MX)" 1.0: E2M1 has neither NaN nor infinity.
_SMALL: Final = {
    "F8_E4M3": _Float(4, 3, 7, "fn"),
    "F8_E5M2": _Float(5, 2, 15, "ieee"),
    "F8_E4M3FNUZ": _Float(4, 3, 8, "fnuz"),
    "F8_E5M2FNUZ": _Float(5, 2, 16, "fnuz"),
    "F4": _Float(2, 1, 1, "none"),
}
_WIDE: Final = {"F32": "f4", "F64": "f8", "C64": "f4"}  # numpy's names, without the order of bytes


class Codes(NamedTuple):
    """A dtype of 4, 8 or 16 bits: the value of each code, and the words of two bytes in which one is not finite."""

    bits: int
    values: npt.NDArray[np.float64]
    watched: npt.NDArray[np.intp]

    def of(self, block: npt.NDArray[np.uint8], *, swapped: bool) -> npt.NDArray[Any]:
        """The codes of a block, one for each element; of two in a byte the low half comes first."""
        if self.bits == 16:  # noqa: PLR2004 - bits
            return words(block, swapped=swapped)
        if self.bits == 8:  # noqa: PLR2004 - bits
            return block
        return np.stack((block & 15, block >> 4), axis=-1).reshape(-1)


class Wide(NamedTuple):
    """A dtype that has more codes than anybody can count: numpy's own, and how many values one element has."""

    dtype: np.dtype[Any]
    parts: int


class Scales(NamedTuple):
    """A quantized type: a block of so many elements and bytes, and where its scales stand in it, by their form."""

    elements: int
    bytes: int
    fields: tuple[tuple[str, int], ...]


Form = Codes | Wide | Scales


def words(block: npt.NDArray[np.uint8], *, swapped: bool) -> npt.NDArray[np.uint16]:
    """A block as numbers of two bytes, `swapped` where it has the higher one first."""
    return block.view(">u2" if swapped else "<u2").astype(np.uint16, copy=False)


def form_of(dtype: str, *, swapped: bool = False) -> Form | None:
    """How a dtype of safetensors or GGUF is read; None for those of which only the bytes are digested."""
    if dtype in _WIDE:
        return Wide(np.dtype((">" if swapped else "<") + _WIDE[dtype]), 2 if dtype == "C64" else 1)
    return codes(dtype) or _scales().get(dtype)


@cache
@quiet
def codes(dtype: str) -> Codes | None:
    """A dtype of at most 16 bits."""
    if dtype == "F16":
        return _codes(16, np.arange(WORDS, dtype=np.uint16).view(np.float16).astype(np.float64))
    if dtype == "BF16":  # the upper half of a float32
        return _codes(16, (np.arange(WORDS, dtype=np.uint32) << 16).view(np.float32).astype(np.float64))
    if dtype == "F8_E8M0":  # OCP MX 1.0: powers of two without a sign, the last code is NaN
        return _codes(8, np.array([*(2.0 ** (code - 127) for code in range(255)), np.nan]))
    small = _SMALL.get(dtype)
    if small is None:
        return None
    bits = 1 + small.exponent + small.mantissa
    return _codes(bits, np.array([_value(small, code) for code in range(1 << bits)]))


def _codes(bits: int, values: npt.NDArray[np.float64]) -> Codes:
    bad = ~np.isfinite(values)
    every = np.arange(WORDS)
    if bits == 8:  # noqa: PLR2004 - bits
        return Codes(bits, values, np.flatnonzero(bad[every & 255] | bad[every >> 8]))
    return Codes(bits, values, np.flatnonzero(bad) if bits == 16 else np.empty(0, np.intp))  # noqa: PLR2004 - bits


def _value(form: _Float, code: int) -> float:
    """What a code of a small float is."""
    magnitude = code & ((1 << (form.exponent + form.mantissa)) - 1)
    negative = code != magnitude
    exponent, mantissa = divmod(magnitude, 1 << form.mantissa)
    last = exponent == (1 << form.exponent) - 1
    if form.special == "fnuz" and negative and not magnitude:
        return float("nan")
    if form.special == "fn" and last and mantissa == (1 << form.mantissa) - 1:
        return float("nan")
    if form.special == "ieee" and last:
        return float("nan") if mantissa else float("-inf" if negative else "inf")
    steps = mantissa + (1 << form.mantissa) if exponent else mantissa
    value: float = steps * 2.0 ** (max(exponent, 1) - form.bias - form.mantissa)
    return -value if negative else value


@cache
def _scales() -> dict[str, Scales]:
    """The quantized types of GGUF whose scales are known, by name."""
    from vramguard import data

    sizes = {row.name: row for row in data.ggml_types().values()}
    found = {}
    for row in data.load("ggml_scales")["type"]:
        block = sizes[row["name"]]
        fields = tuple((str(kind), int(offset)) for kind, offset in row["scales"])
        found[block.name] = Scales(block.elements, block.bytes, fields)
    return found


@quiet
def decode(form: Codes | Wide, block: npt.NDArray[np.uint8], *, swapped: bool) -> npt.NDArray[np.float64]:
    """The values of a block in float64, those of C64 part by part."""
    if isinstance(form, Wide):
        return block.view(form.dtype).astype(np.float64)
    values: npt.NDArray[np.float64] = form.values[form.of(block, swapped=swapped)]
    return values
