"""Quantities in words, rounded alike in rules' messages and in reports; exact bytes stand in the ledger and in JSON."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def gib(size: int) -> str:
    """Bytes as GiB with two decimals."""
    return f"{size / 2**30:,.2f}"


def margin(size: int) -> str:
    """A difference of bytes with its unit: GiB, or bytes where it is too small to show in GiB."""
    return f"{size:,} bytes" if abs(size) < 10 << 20 else f"{gib(size)} GiB"


def percent(share: str) -> str:
    """A share as `80 %`, given as the decimal or quotient of a proof."""
    return f"{float(Fraction(share)) * 100:g} %"


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


# What a rule's message may ask for, as `{peak:gib}`; without a unit a value is shown as it is.
UNITS: Mapping[str, Callable[[Any], str]] = {"plain": str, "count": "{:,}".format, "gib": gib, "percent": percent}
