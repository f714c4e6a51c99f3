"""Demand 3, in schemas: the numbers of an answer are finite, and a price is never zero."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED, SHOWN, weight
from vramguard.facts import PathClass, Unknown
from vramguard.facts.fields import INFINITY, MINUS_INFINITY, NAN, NEGATIVE, SAMPLES, ZERO
from vramguard.link.fields import Answered, answered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.fields import Bound

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
# Bounds of these do not refuse NaN: `price <= 0` is false of it (both tried, see extract/fields).
_BLIND: Final = ("protoc-gen-validate", "marshmallow")
# A difference of two times of the service's own clock is finite.
_TIMER: Final = re.compile(
    r"latency|elapsed|(process|processing|inference|infer|response|execution|generation|query|search|total|took|run)_?"
    r"(time|ms|millis|seconds|secs|duration|s)(_|$)|^took|^uptime|^ms$",
    re.IGNORECASE,
)
_ANSWERED: Final = frozenset(
    {"predicted", "estimated", "expected", "forecast", "forecasted"}
)  # a time that a model says
_CONTRACTS: Final = ("openapi", "jsonschema")  # JSON has no NaN


@check("finite-response")
@dataclass(frozen=True)
class FiniteResponse:
    """A number in the answer of a handler that gives model output refuses NaN and both infinities.

    Refused is what `FiniteFloat`, `allow_inf_nan=False`, bounds on both sides, or a validator of the repository turn
    away. `besides` names fields that need not; a field whose name has a word of `clocks` is measured, not answered by a
    model, and at most warned of. `classes` are judged, `warnings` are at most warned of.
    """

    besides: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in facts.once("answered numbers", _answered):
            number = found.number
            judged, severity = weight(self, facts, number.at.path)
            if not judged or not found.python or found.refuses or found.guarded or number.kind == "int":
                continue
            if number.name in self.besides or _TIMER.search(number.name):
                continue
            clock = Severity.WARNING if self._is_measured(number.name) else None
            passing = [name for name in (NAN, INFINITY, MINUS_INFINITY) if _passes(found, name)]
            if passing:
                what = "NaN and infinity" if NAN in passing else "infinity"
                yield _problem(found, what, severity or clock)

    def _is_measured(self, name: str) -> bool:
        words = set(_parts(name))
        return bool(words & set(self.clocks)) and not words & _ANSWERED


@check("nonzero-price")
@dataclass(frozen=True)
class NonzeroPrice:
    """A price in the answer of a handler that gives model output is above zero.

    `usual`: words that mostly name what is never zero, a warning. `nonzero`: the words that this organisation says
    are never zero, at the rule's own severity. `alone`: usual words that count only as a whole name, and not of whole
    numbers, which count rows. A word is the last of a field's name, `unit_price` and `predictedPrice`
    for price; several are joined by `_`. `but`: words that make a name another thing's; `after`: words that may follow.
    """

    usual: tuple[str, ...] = ()
    nonzero: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    unconfigured: Severity = Severity.WARNING
    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in facts.once("answered numbers", _answered):
            judged, severity = weight(self, facts, found.number.at.path)
            lexicon = self._lexicon(found)
            what = self._allows(found) if judged and lexicon is not None else ""
            if what:
                own = self.unconfigured if lexicon == "usual" else None
                yield _problem(found, what, min(filter(None, (severity, own)), default=None))

    def _lexicon(self, found: Answered) -> str | None:
        """Whether the name is of the organisation's lexicon, or of the usual one; None if of neither."""
        parts = _parts(found.number.name)
        parts = parts[: next((number for number, part in enumerate(parts) if number and part in ("per", "in")), None)]
        heads = [parts]  # `price_usd`, then `price`
        while len(heads[-1]) > 1 and (heads[-1][-1] in self.after or heads[-1][-1].isdigit()):
            heads.append(heads[-1][:-1])
        if any(self._ends(head, self.nonzero) for head in heads):
            return "nonzero"
        words = set(parts)
        whole = "_".join(parts) in self.alone and found.number.kind != "int"
        if words & set(self.but) or not (whole or any(self._ends(head, self.usual) for head in heads)):
            return None
        if found.counts and "cost" in words:  # of a call to a language model: it may well be nothing
            return None
        return "usual"

    @staticmethod
    def _ends(parts: list[str], lexicon: tuple[str, ...]) -> bool:
        name = "_".join(parts)
        single = "_".join([*parts[:-1], parts[-1].removesuffix("s")]) if parts else ""
        return any(one == word or one.endswith(f"_{word}") for one in (name, single) for word in lexicon)

    @staticmethod
    def _allows(found: Answered) -> str:
        """What of zero, negative numbers and, in protobuf, NaN the field lets through, in words."""
        default = found.number.default
        if default is not None and not isinstance(default, Unknown) and default <= 0 and found.python:
            return f"a default of {float(default):g}, which no bound is asked about"
        words = [word for name, word in ((ZERO, "0"), (NEGATIVE, "negative numbers")) if _passes(found, name)]
        carries = found.number.kind == "float" and not found.python and found.form not in _CONTRACTS
        if carries and _passes(found, NAN):
            words.append("NaN")
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _answered(facts: Facts) -> tuple[Answered, ...]:
    return tuple(answered(facts))


def _passes(found: Answered, sample: str) -> bool:
    """Whether a field certainly lets a value through; what nobody can tell does not count against it."""
    number, value = found.number, SAMPLES[sample]
    if sample in (NAN, INFINITY, MINUS_INFINITY) and (found.finite is True or isinstance(found.finite, Unknown)):
        return False
    blind = found.form in _BLIND or number.form in _BLIND
    ends = ((number.lower, 1), (number.upper, -1))
    if any(bound is not None and _refuses(bound, side, value, blind=blind) for bound, side in ends):
        return False
    return not any(sample in guard.refuses or sample in guard.unclear for guard in found.guards)


def _refuses(bound: Bound, side: int, value: float, *, blind: bool) -> bool:
    """Whether a lower (side 1) or upper bound (-1) refuses a value, or may: one that is not known counts as one."""
    if value != value:  # noqa: PLR0124 - NaN
        return not blind
    if bound.infinite:
        return bound.strict and value * side == float("-inf")
    if isinstance(bound.value, Unknown):
        return abs(value) != float("inf") or value * side < 0
    ahead = (value - float(bound.value)) * side
    return ahead < 0 or (ahead == 0 and bound.strict)


def _parts(name: str) -> list[str]:
    return [part.lower() for part in _WORD.findall(name)]


def _problem(found: Answered, what: str, severity: Severity | None) -> Problem:
    number = found.number
    chain = [Evidence(found.at, f"`{found.handler}` answers with it")] if found.python else []
    chain += [Evidence(schema.at, f"through {schema.name}") for schema in found.through]
    values = {"model": number.model, "field": number.name, "type": number.type, "what": what, "handler": found.handler}
    return Problem(number.at, values, tuple(chain), severity, subject=f"{number.model}.{number.name}")
