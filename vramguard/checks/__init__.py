"""Kinds of demand: pure functions of facts and of a rule's parameters.

A check is a frozen dataclass under `@check("name")`; its fields are the parameters that a rule's stanza may set, its
docstring is the documentation. It yields places and values; the words stand in `policies/*.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from vramguard.memory import Proof
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.facts import Facts


class Severity(IntEnum):
    """How much a finding weighs, in rising order."""

    NOTE = 1
    WARNING = 2
    ERROR = 3

    @property
    def label(self) -> str:
        """The word used in reports and configuration."""
        return self.name.lower()


class Evidence(NamedTuple):
    """One link of the chain that led to a problem."""

    at: Location
    what: str


class Pin(NamedTuple):
    """What would make a requirement exact: the version that a lock holds, and its hashes where the file has some."""

    at: Location
    name: str
    version: str
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Where a demand is broken, and the values that the rule's words name.

    `amount` is how much is broken (lines, bytes): a change that makes it grow adds a problem even where one stood.
    `severity` is set where the check itself, by its parameters, weighs this case differently from its rule.
    """

    at: Location
    values: Mapping[str, Any]
    evidence: tuple[Evidence, ...] = ()
    severity: Severity | None = None
    amount: int = 1
    subject: str = ""  # what the problem is about; with the rule and the path it identifies it when lines move
    data: Mapping[str, Any] = field(default_factory=dict)
    proof: Proof | None = None
    pins: tuple[Pin, ...] = ()  # what would mend it, without asking anybody


class Check(Protocol):
    """A kind of demand with its parameters filled in."""

    def find(self, facts: Facts) -> Iterable[Problem]:
        """Every place that breaks the demand."""
        ...


CHECKS: dict[str, type[Check]] = {}
_MODULES = (
    *("vram", "certificates", "serving", "training", "deployments", "weights", "files", "helm"),
    *("pinning", "locks", "models", "installs", "images", "combinations", "audit", "artefacts", "datafiles"),
    *("outputs", "retraining", "fields", "health", "breakers", "saves", "boundaries", "handling", "datasets"),
    *("routes",),
    *("scaling", "pods"),
    *("telemetry",),
    *("pipelines",),
    *("imaging",),
)


def check(name: str) -> Callable[[type[Check]], type[Check]]:
    """Register a kind of check under the name that rules use."""

    def register(kind: type[Check]) -> type[Check]:
        CHECKS[name] = kind
        return kind

    return register


def kind(name: str) -> type[Check] | None:
    """The kind of check of that name, no more modules imported than it takes to find it; None where there is none."""
    for module in _MODULES:
        if name in CHECKS:
            break
        import_module(f"{__name__}.{module}")
    return CHECKS.get(name)


def load() -> Mapping[str, type[Check]]:
    """Every kind of check, its modules imported on first use."""
    for module in _MODULES:
        import_module(f"{__name__}.{module}")
    return CHECKS


def once(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Each problem of a line once, however many overlays and services take in what it says."""
    seen = set[tuple[Location, str]]()
    for problem in problems:
        key = problem.at, repr(problem.values)
        if key not in seen:
            seen.add(key)
            yield problem
