"""What stands between users and a model, whatever it is written in: routes, breakers, queues, fallbacks, balances."""

from __future__ import annotations

from dataclasses import dataclass, field

from vramguard.facts import Unknown
from vramguard.facts.outputs import Step
from vramguard.link.cluster import Surface
from vramguard.source import Location


@dataclass(frozen=True)
class Setting:
    """A number that somebody wrote: milliseconds of a duration, or a count; Unknown for what a renderer fills in."""

    at: Location
    value: int | Unknown
    written: str

    @property
    def known(self) -> int | None:
        """The number, None where it is not known."""
        return self.value if isinstance(self.value, int) else None


@dataclass(frozen=True)
class Target:
    """What serves a model behind a route. `surface` is None for what stands outside of the repository's objects."""

    name: str
    step: Step  # the place that says so
    streams: bool = False  # it answers in tokens, so that the budget is one on the first of them
    gpu: Location | None = None
    replicas: int | None = None  # None where nobody says, or an autoscaler does
    surface: Surface | None = None
    fewest: int | None = None  # replicas that an autoscaler leaves at least, where it says so

    @property
    def key(self) -> tuple[str, Location | None]:
        """What two routes to one target have in common."""
        return self.name, self.surface.at if self.surface else None

    @property
    def steps(self) -> tuple[Step, ...]:
        """That it serves a model, and that it asks for a GPU where it does."""
        card = (Step(self.gpu, "which asks for a GPU here"),) if self.gpu else ()
        return (self.step, *card)


@dataclass(frozen=True)
class Route:
    """One way to a model. Durations in milliseconds; a timeout of 0 is none."""

    at: Location
    system: str  # VirtualService, nginx ...
    name: str
    target: Target
    timeout: Setting | None = None
    default: int | None = None  # milliseconds that the system takes where nothing is written; None: without end
    retries: Setting | None = None  # attempts after the first; negative: without end
    first: Setting | None = None  # bound on the first byte of an answer, or between two: no timeout of a whole answer
    per_try: Setting | None = None
    managed: bool = False  # by a mesh or a gateway that knows breakers
    attempts: bool = False  # `retries` counts the first attempt too
    judged: bool = True  # whether the absence of a timeout says anything
    gone: bool = False  # a template may leave parts out: only what is written counts


@dataclass(frozen=True)
class Breaker:
    """What takes a destination out of service, or should. `target` is None where it is for every destination."""

    at: Location
    system: str
    name: str
    target: Target | None
    trips: bool = True  # False: an object where a breaker would stand, and none does
    errors_only: bool = False
    windows: tuple[Setting, ...] = ()  # how often it looks, or over how long
    ejection: Setting | None = None
    most: Setting | None = None  # percent of the destinations that it may take out
    least: Setting | None = None  # percent of them that have to be healthy
    gone: bool = False


@dataclass(frozen=True)
class Queue:
    """Requests that wait without an end."""

    at: Location
    system: str
    what: str
    target: Target


@dataclass(frozen=True)
class Fallback:
    """What answers where the primary does not: `cycle` leads back to it, `model` is another one on the same pool."""

    at: Location
    system: str
    primary: str
    to: str
    kind: str
    shares: str = ""  # what both stand on
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Balance:
    """How requests are shared out among GPUs, by what says nothing of a GPU."""

    at: Location
    system: str
    what: str
    target: Target


@dataclass(frozen=True)
class Staging:
    """A rollout by steps that nothing aborts (`open` False), or whose condition holds where there is no data."""

    at: Location
    name: str
    what: str
    open: bool
    steps: tuple[Step, ...] = field(default_factory=tuple)


Part = Route | Breaker | Queue | Fallback | Balance | Staging
