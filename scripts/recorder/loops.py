"""Loops over the prompt: every sample goes round as often, and a formula says how often that is for another prompt."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from recorder.symbols import Polynomial

SAME: Final = (61,) * 4  # of one structure where code loops over tokens; no size of a network is a multiple of it
BLOCKS: Final = 41  # whole blocks that every sample fills where code loops over blocks
NEARLY: Final = 5  # iterations that a list lacks while a loop fills it, and a factor of 4 bytes


def over_tokens(polynomial: Polynomial) -> Polynomial:
    """A polynomial with the prompt's length in place of what a loop over it made: as many alike, or nearly as many."""
    result: Polynomial = defaultdict(Fraction)
    for names, c in polynomial.items():
        whole, left = (Fraction(0), c) if "tokens" in names else _times(c, SAME[0])
        result[tuple(sorted((*names, "tokens")))] += whole
        result[names] += left
    return {names: c for names, c in result.items() if c}


def over_blocks(polynomial: Polynomial, block: str) -> Polynomial:
    """A polynomial with the prompt's length in place of what a loop over its blocks made, one a block."""
    result: Polynomial = defaultdict(Fraction)
    for names, c in polynomial.items():
        whole, left = (Fraction(0), c) if "tokens" in names else _times(c, BLOCKS)
        each = [f"min(tokens, {block})" if name == block else name for name in names]
        others = each.copy()
        number = f"ceil_div(tokens, {block})"  # of blocks; what each has of its tokens adds up to the prompt's
        if block in names:
            others.remove(f"min(tokens, {block})")
            number = "tokens"
        result[tuple(sorted((*others, number)))] += whole
        result[tuple(sorted(each))] += left
    return {names: c for names, c in result.items() if c}


def _times(coefficient: Fraction, iterations: int) -> tuple[Fraction, Fraction]:
    """How often a loop's iterations are in a coefficient, all or nearly all of them, and what is left."""
    whole, left = divmod(coefficient, iterations)
    return (Fraction(whole + 1), Fraction(0)) if left > iterations - NEARLY else (Fraction(whole), left)
