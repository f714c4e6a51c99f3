"""What happens where a model's answer is refused, and which numbers enter a model."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.facts.outputs import Step
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Refusal:
    """A guard that refuses a bad answer, and nothing else: the process goes on as if the next were better.

    `guard`: as written. `excludes`: which of nan, inf, zero and negative it refuses. `fields`: names of the answer.
    """

    at: Location
    guard: str
    call: str
    function: str
    excludes: frozenset[str]
    fields: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class WideTensor:
    """An array of float64 that becomes a tensor while a request waits. `origin`: what made it one, as written."""

    at: Location
    call: str
    origin: str
    steps: tuple[Step, ...]
