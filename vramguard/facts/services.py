"""How Python code serves: its health routes, what it asks of others, how long it waits, how often it tries again, and
what answers where the first does not.
"""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.facts.outputs import Step
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class HealthRoute:
    """A route that says how an application is: `/health`, `/ready`. `at` is its function.

    `constant`: it answers whatever the state of the model. `model`: where the application asks its model, which this
    route never does; None where no model is known. `deep`: another of its routes reads some state. `others`: more that
    are constant.
    """

    at: Location
    function: str
    path: str
    constant: bool
    model: Step | None
    deep: bool
    others: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class SlowAnswer:
    """A model that a handler runs in its own process, and nothing bounds the time. `at` is the handler's call."""

    at: Location
    call: str
    model: str
    handler: str
    framework: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class OutboundCall:
    """A call over the network on the way of a request, without a timeout of its own. `at`: where one belongs.

    `default_s` is what the library waits then, in seconds; 0 for ever. `client`: as written, what takes the timeout.
    """

    at: Location
    client: str
    call: str
    default_s: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """What tries again. `attempts`: with the first; 0 for without end. `form`: decorator, call, loop.

    `around` is the call over the network or of a model that it repeats, as written. `product`: how many calls the
    retries on one path make together, those of `steps`. `paused`: it waits a second or more between.
    """

    at: Location
    written: str
    form: str
    attempts: int
    around: str
    product: int
    steps: tuple[Step, ...]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Fallback:
    """What answers where a call of a model fails. `at`: the call of the fallback.

    `kind`: model (another one of the same place), primary (the one that failed), cycle (the function around). `same`:
    asked the same again.
    """

    at: Location
    call: str
    primary: str
    kind: str
    same: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class LatencyGuard:
    """A breaker or a threshold that no slow answer reaches. `kind`: breaker (around a call without a timeout), clock
    (measured beside a threshold that nothing compares with it: `what`).
    """

    at: Location
    kind: str
    what: str
    call: str
    steps: tuple[Step, ...]
