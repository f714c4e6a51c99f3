"""Numbers that a deployment states in words: exact, bounded, or refused."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from vramguard.memory.architecture import UnprovenError

_DECIMAL: Final = re.compile(r"[0-9]{0,9}\.?[0-9]{1,18}|[0-9]{1,9}\.")


def decimal(name: str, said: str) -> Fraction:
    """The number that `said` writes as a decimal without a sign; raises UnprovenError naming it otherwise."""
    if not _DECIMAL.fullmatch(said):
        raise UnprovenError(f"{name} {said:.40} is not a decimal number")
    return Fraction(said)


def share(name: str, said: str) -> Fraction:
    """The share of a card that `said` writes, above 0 and at most 1; raises UnprovenError naming it otherwise."""
    found = decimal(name, said)
    if not 0 < found <= 1:
        raise UnprovenError(f"{name} {said:.40} is not a share of a card")
    return found
