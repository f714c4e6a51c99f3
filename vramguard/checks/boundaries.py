"""Demand 3, at its edges: what a refusal leads to, and what enters the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import SHOWN, evidence
from vramguard.facts import PathClass
from vramguard.facts.values import UNREAD
from vramguard.link.code.dtypes import wide_tensors
from vramguard.link.code.refusals import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.boundaries import Refusal


@check("refusal-without-consequence")
@dataclass(frozen=True)
class RefusalWithoutConsequence:
    """A bad answer is refused, and the model goes on answering: nothing exits, flips readiness or trips a breaker.

    `shutdown`: what asks for more than a refusal: `nan`, and `price`, an answer under a name that ends in a word of
    `nonzero`. Whatever else a guard refuses may simply be refused. Paths of the classes of `warnings` are warned of.
    """

    shutdown: tuple[str, ...] = ("nan", "price")
    nonzero: tuple[str, ...] = ()
    warnings: tuple[PathClass, ...] = SHOWN

    def __post_init__(self) -> None:
        unknown = set(self.shutdown) - {"nan", "price"}
        if unknown:
            raise ValueError(f"`shutdown` names `{min(unknown)}`: nan and price are known")

    def find(self, facts: Facts) -> Iterator[Problem]:
        for refusal in refusals(facts):
            found = facts.classify(refusal.at.path)
            why = self._why(refusal)
            if found in UNREAD or not why:
                continue
            values = {"guard": refusal.guard, "call": refusal.call, "function": refusal.function, "what": why}
            severity = Severity.WARNING if found in self.warnings else None
            yield Problem(refusal.at, values, evidence(refusal.steps), severity, subject=refusal.function)

    def _why(self, refusal: Refusal) -> str:
        if (
            "price" in self.shutdown
            and refusal.excludes & {"zero", "negative"}
            and any(map(self._is_price, refusal.fields))
        ):
            return "a price that may not be charged"
        return "NaN" if "nan" in self.shutdown and "nan" in refusal.excludes else ""

    def _is_price(self, name: str) -> bool:
        words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
        return bool(words) and words[-1].lower().removesuffix("s") in self.nonzero


@check("undeclared-dtype")
@dataclass(frozen=True)
class UndeclaredDtype:
    """An array of float64 becomes a tensor while a request waits, and nothing says of which type."""

    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for wide in wide_tensors(facts):
            found = facts.classify(wide.at.path)
            if found not in UNREAD:
                values = {"call": wide.call, "origin": wide.origin}
                severity = Severity.WARNING if found in self.warnings else None
                yield Problem(wide.at, values, evidence(wide.steps), severity, subject=wide.call)
