"""The language of the ledger's formulas: integers, names, + - * //, min, max, ceil_div and parentheses, nothing else.

The grammar is fixed, so that a proof can be re-evaluated by a program that shares no code with this one:

    sum     = product { ("+" | "-") product }
    product = factor { ("*" | "//") factor }
    factor  = integer | name | "-" factor | "(" sum ")" | function "(" sum { "," sum } ")"
    function = "min" | "max" | "ceil_div"

Operators of one level associate to the left; `//` rounds towards minus infinity, `ceil_div` towards plus infinity.
Every formula within the limits below evaluates to one integer or raises `FormulaError`: nothing loops, and nothing
is looked up but the inputs.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_LENGTH: Final = 10_000  # characters of a formula
MAX_DEPTH: Final = 40  # nested parentheses, calls and signs
MAX_BITS: Final = 256  # size of any value on the way; a card's bytes need 38

_TOKEN: Final = re.compile(r"\s*(?:(?P<integer>[0-9]+)|(?P<name>[a-z_][a-z0-9_]*)|(?P<mark>//|[-+*(),]))")
_FUNCTIONS: Final = ("min", "max", "ceil_div")


class FormulaError(ValueError):
    """A formula that is malformed, names an unknown input, divides by zero, or grows past the limits."""


def ceil_div(dividend: int, divisor: int) -> int:
    """Quotient rounded up; the divisor must not be zero."""
    return -(-dividend // divisor)


def evaluate(formula: str, inputs: Mapping[str, int]) -> int:
    """Value of `formula` with each name replaced by its input; raises FormulaError."""
    return _value(formula, tuple(inputs.items()))


@lru_cache(maxsize=4096)
def _value(formula: str, inputs: tuple[tuple[str, int], ...]) -> int:
    """`evaluate`, kept: the variants of an engine share most of their rows."""
    parser = _Parser(formula, dict(inputs))
    value = parser.sum(0)
    if parser.peek() is not None:
        raise FormulaError(f"unexpected {parser.peek()!r} in formula: {formula[:200]}")
    return value


def names(formula: str) -> frozenset[str]:
    """Names of the inputs that `formula` reads."""
    return frozenset(token for token in _split(formula) if token[0].isalpha() or token[0] == "_") - {*_FUNCTIONS}


@lru_cache(maxsize=1024)
def _split(formula: str) -> tuple[str, ...]:
    """The tokens, kept: one formula is evaluated for every variant of an engine, and for every context tried."""
    return tuple(_tokens(formula))


def _tokens(formula: str) -> Iterator[str]:
    if len(formula) > MAX_LENGTH:
        raise FormulaError(f"formula longer than {MAX_LENGTH} characters")
    text, position = formula.rstrip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FormulaError(f"unexpected character {text[position:].lstrip()[0]!r} in formula: {formula[:200]}")
        yield match[0].strip()
        position = match.end()


class _Parser:
    """Evaluates while it reads: one method per rule of the grammar."""

    def __init__(self, formula: str, inputs: Mapping[str, int]) -> None:
        self._formula = formula
        self._inputs = inputs
        self._tokens = _split(formula)
        self._next = 0

    def peek(self) -> str | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def sum(self, depth: int) -> int:
        value = self._product(depth)
        while (operator := self.peek()) in ("+", "-"):
            self._take()
            right = self._product(depth)
            value = self._bounded(value + right if operator == "+" else value - right)
        return value

    def _product(self, depth: int) -> int:
        value = self._factor(depth)
        while (operator := self.peek()) in ("*", "//"):
            self._take()
            right = self._factor(depth)
            value = self._bounded(value * right) if operator == "*" else value // self._divisor(right)
        return value

    def _factor(self, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise FormulaError(f"formula nested deeper than {MAX_DEPTH}")
        word = self._take()
        if word == "-":
            return -self._factor(depth + 1)
        if word == "(":
            value = self.sum(depth + 1)
            self._expect(")")
            return value
        if word in _FUNCTIONS and self.peek() == "(":
            return self._call(word, depth + 1)
        if word.isdigit():
            # The limit on length is far beyond the limit on size: refuse before the conversion costs anything.
            return self._bounded(int(word)) if len(word) <= MAX_BITS else self._too_large()
        if word in self._inputs:
            return self._bounded(self._inputs[word])
        raise FormulaError(f"no input {word!r} for formula: {self._formula[:200]}")

    def _call(self, function: str, depth: int) -> int:
        self._expect("(")
        values = [self.sum(depth)]
        while self.peek() == ",":
            self._take()
            values.append(self.sum(depth))
        self._expect(")")
        if function == "min":
            return min(values)
        if function == "max":
            return max(values)
        if len(values) != 2:  # noqa: PLR2004 - a quotient has two parts
            raise FormulaError("ceil_div takes two values")
        return ceil_div(values[0], self._divisor(values[1]))

    def _take(self) -> str:
        token = self.peek()
        if token is None:
            raise FormulaError(f"formula ends too early: {self._formula[:200]}")
        self._next += 1
        return token

    def _expect(self, mark: str) -> None:
        token = self._take()
        if token != mark:
            raise FormulaError(f"expected {mark!r}, found {token!r} in formula: {self._formula[:200]}")

    def _divisor(self, value: int) -> int:
        if value == 0:
            raise FormulaError(f"division by zero in formula: {self._formula[:200]}")
        return value

    def _bounded(self, value: int) -> int:
        return value if value.bit_length() <= MAX_BITS else self._too_large()

    def _too_large(self) -> int:
        raise FormulaError(f"a value of more than {MAX_BITS} bits in formula: {self._formula[:200]}")
