"""Quantities in words, rounded as the rules' own messages round them; exact bytes stand in the ledger and in JSON."""

from __future__ import annotations

from fractions import Fraction

from vramguard.policy import UNITS


def gib(size: int) -> str:
    """Bytes as GiB with two decimals."""
    return UNITS["gib"](size)


def margin(size: int) -> str:
    """A difference of bytes with its unit: GiB, or bytes where it is too small to show in GiB."""
    return f"{size:,} bytes" if abs(size) < 10 << 20 else f"{gib(size)} GiB"


def percent(fraction: str) -> str:
    """A share as `80 %`, for a share given as the decimal or quotient of a proof."""
    return UNITS["percent"](Fraction(fraction))


def plural(count: int, noun: str) -> str:
    """`1 error`, `2 errors`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
