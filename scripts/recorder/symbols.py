"""Numbers in the config's own names: a vector of one number for each sample becomes a polynomial of named sizes."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from functools import reduce
from itertools import combinations_with_replacement
from math import lcm, prod
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Vector = tuple[int, ...]
Monomial = tuple[str, ...]  # names, sorted; () is the constant
Polynomial = dict[Monomial, Fraction]

_FACTORS: Final = (1, 2, 3, 4, 5, 6, 8, 16)
_TIMES: Final = (1, 2, 3, 4)  # factors in a sum
_LONG: Final = 3  # names of a product that is too long for a sum of three
_CHUNKS: Final = (16, 32, 64, 128, 256)  # sizes that code has fixed
_TELLING: Final = 5  # layers; a multiple of so many is their number's
_NAMED: Final = 8  # a number as small as these may be anything
_SMALL: Final = 64  # a constant beside a size: a kernel's reach, a few extra rows


class UnexpressedError(Exception):
    """A number that no name explains."""


def multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    """Product of two polynomials."""
    product: Polynomial = defaultdict(Fraction)
    for a, m in left.items():
        for b, n in right.items():
            product[tuple(sorted((*a, *b)))] += m * n
    return dict(product)


def text(polynomial: Mapping[Monomial, Fraction]) -> str:
    """A polynomial in the ledger's grammar, rounded up; shared factors stand in front."""
    whole = reduce(lcm, (c.denominator for c in polynomial.values()), 1)
    terms = [
        (c * whole, list(names)) for names, c in sorted(polynomial.items(), key=lambda item: (-len(item[0]), item[0]))
    ]
    shared: list[str] = []
    for name in terms[0][1][:] if len(terms) > 1 else []:
        if all(name in names for _, names in terms):
            shared.append(name)
            for _, names in terms:
                names.remove(name)
    inner = " + ".join(" * ".join([*([] if c == 1 and names else [str(c)]), *names]) for c, names in terms)
    formula = " * ".join([*shared, f"({inner})"]) if shared else inner
    return formula if whole == 1 else f"ceil_div({formula}, {whole})"


class Symbols:
    """The names of one architecture, and for each sample what they stand for."""

    def __init__(
        self,
        names: Mapping[str, Vector],
        tokens: Vector,
        sequences: Vector,
        *,
        narrow: bool,
        chunks: tuple[int, ...] = (),
    ) -> None:
        self._tokens, self._sequences, self._narrow = tokens, sequences, narrow
        self._chunks = (*_CHUNKS, *chunks)
        self._layers = names.get("num_hidden_layers", (0,))[0]
        self._found: dict[Vector, Polynomial | None] = {}
        varied = {name: vector for name, vector in names.items() if len({*vector}) > 1}
        # What no sample could change keeps its name where its number is no other's.
        values = [vector[0] for name, vector in names.items() if name not in varied]
        self._steady = {
            v[0]: n for n, v in names.items() if n not in varied and v[0] >= _NAMED and values.count(v[0]) == 1
        }
        self._table = _products({**varied, **_prompt(tokens, sequences)}, self._derived(varied))
        for number, steady in self._steady.items():
            for name, vector in varied.items():
                self._table.setdefault(tuple(number * v for v in vector), tuple(sorted((name, steady))))
        self._parts = {v: names for v, names in self._table.items() if len(names) < _LONG and "tokens" not in names[1:]}

    def express(self, vector: Vector) -> Polynomial:
        """The polynomial that gives each sample's number, or a little more; raises UnexpressedError."""
        if vector not in self._found:
            self._found[vector] = self._search(vector)
        found = self._found[vector]
        if found is None:
            raise UnexpressedError(str(vector))
        return found

    def _derived(self, varied: Mapping[str, Vector]) -> dict[str, Vector]:
        """What a prompt's length and a size of the code or of the config make together."""
        derived: dict[str, Vector] = {}
        for name, vector in varied.items():
            if "chunk" in name:
                derived[f"ceil_div(tokens, {name})"] = tuple(
                    -(-t // v) for t, v in zip(self._tokens, vector, strict=True)
                )
            if "window" in name or "chunk" in name:
                derived[f"min(tokens, {name})"] = tuple(min(t, v) for t, v in zip(self._tokens, vector, strict=True))
        for size in self._chunks:
            derived[f"ceil_div(tokens, {size})"] = tuple(-(-t // size) for t in self._tokens)
        return {name: vector for name, vector in derived.items() if len({*vector}) > 1}  # else any number may be meant

    def _search(self, vector: Vector) -> Polynomial | None:
        if len({*vector}) == 1 and vector[0] % self._tokens[0]:
            return self._constant(vector[0])
        for names in (("sequences", "tokens"), ("tokens",), ("sequences",), ()):
            rest = self._divided(vector, names)
            found = None if rest is None else self._product(rest)
            if found is not None:
                return multiply(found, {names: Fraction(1)})
        return self._sum(vector)

    def _constant(self, number: int) -> Polynomial:
        if self._layers >= _TELLING and number and number % self._layers == 0:
            return {("num_hidden_layers",): Fraction(number // self._layers)}
        chunks = -(-self._tokens[0] // 64)  # where every sample fills as many, their number looks like a constant
        if self._narrow and number and number % chunks == 0:
            return {("ceil_div(tokens, 64)",): Fraction(number // chunks)}
        if number in self._steady:
            return {(self._steady[number],): Fraction(1)}
        return {(): Fraction(number)}

    def _divided(self, vector: Vector, names: tuple[str, ...]) -> Vector | None:
        for name in names:
            divisor = self._tokens if name == "tokens" else self._sequences
            steady = len({*divisor}) == 1 and (name == "sequences" or divisor[0] == 1)
            if steady or any(v % d for v, d in zip(vector, divisor, strict=True)):
                return None
            vector = tuple(v // d for v, d in zip(vector, divisor, strict=True))
        return vector

    def _product(self, vector: Vector) -> Polynomial | None:
        """A product of names, times or over a small number."""
        if len({*vector}) == 1:
            return self._constant(vector[0])
        for times in _FACTORS:
            if not any(v % times for v in vector):
                names = self._table.get(tuple(v // times for v in vector))
                if names is not None:
                    return {names: Fraction(times)}
        for over in _FACTORS[1:]:
            names = self._table.get(tuple(v * over for v in vector))
            # A half, say, of what may change; not a share for each of a number that no sample changed.
            if names is not None and over not in self._steady and {*names}.isdisjoint(self._steady.values()):
                return {names: Fraction(1, over)}
        return self._scaled(vector)

    def _scaled(self, vector: Vector) -> Polynomial | None:
        """A product of names times one number, which is a name's that no sample could change, or the code's own."""
        for column, names in self._table.items():
            ratio, rest = divmod(vector[0], column[0])
            if ratio and not rest and all(v == ratio * c for v, c in zip(vector, column, strict=True)):
                number = self._steady.get(ratio)
                return {names: Fraction(ratio)} if number is None else {tuple(sorted((*names, number))): Fraction(1)}
        return None

    def _sum(self, vector: Vector) -> Polynomial | None:
        """Two products or three, or a product and a small constant; a negative constant is dropped."""
        one_more = tuple(v + 1 for v in vector)  # a prompt and a kernel's reach, which overlap in one token
        for parts in (self._offset(vector), self._pair(vector), self._pair(one_more)):
            if parts is not None:
                return parts
        beside_one = self._pair(tuple(v - 1 for v in vector)) if min(vector) > 1 else None  # a sink, say
        if beside_one is not None:
            return {**beside_one, (): Fraction(1)}
        for times in _TIMES[:2]:
            for column, names in self._parts.items():
                rest = tuple(v - times * c for v, c in zip(vector, column, strict=True))
                pair = self._pair(rest, names) if min(rest) > 0 else None
                if pair is not None:
                    return {names: Fraction(times), **pair}
        for number, name in self._steady.items():
            rest = tuple(v - number for v in vector)
            left = (self._product(rest) or self._pair(rest)) if min(rest) > 0 else None
            if left is not None and (name,) not in left:
                return {(name,): Fraction(1), **left}
        return None

    def _offset(self, vector: Vector) -> Polynomial | None:
        for times in _TIMES:
            for column, names in self._table.items():
                first = vector[0] - times * column[0]
                if abs(first) <= _SMALL and all(v - times * c == first for v, c in zip(vector, column, strict=True)):
                    return {names: Fraction(times), **({(): Fraction(first)} if first > 0 else {})}
        return None

    def _pair(self, vector: Vector, without: Monomial | None = None) -> Polynomial | None:
        for times in _TIMES:
            for column, names in self._parts.items():
                rest = tuple(v - times * c for v, c in zip(vector, column, strict=True))
                if min(rest) <= 0 or names == without:
                    continue
                for second in _TIMES:
                    other = None if any(r % second for r in rest) else self._parts.get(tuple(r // second for r in rest))
                    if other is not None and other not in (names, without):
                        return {names: Fraction(times), other: Fraction(second)}
        return None


def _prompt(tokens: Vector, sequences: Vector) -> dict[str, Vector]:
    return {"tokens": tokens, **({"sequences": sequences} if len({*sequences}) > 1 else {})}


def _products(names: Mapping[str, Vector], derived: Mapping[str, Vector]) -> dict[Vector, Monomial]:
    """Each name, and products of two; of three with the prompt's length."""
    table: dict[Vector, Monomial] = {}
    for name, vector in [*names.items(), *derived.items()]:
        table.setdefault(vector, (name,))
    for chunks, vector in derived.items():  # a prompt padded to whole chunks, and what there is of something in each
        for name in names:
            numbers = tuple(c * n for c, n in zip(vector, names[name], strict=True))
            table.setdefault(numbers, tuple(sorted((chunks, name))))
    for size in (2, 3):
        for parts in combinations_with_replacement(sorted(names), size):
            if size == 2 or "tokens" in parts:  # noqa: PLR2004
                vector = tuple(prod(numbers) for numbers in zip(*(names[name] for name in parts), strict=True))
                table.setdefault(vector, parts)
    return table
