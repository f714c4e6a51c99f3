"""What starts training without a person, and how its result comes to be the one in use."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.facts.outputs import Step
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class RetrainTrigger:
    """Something that starts training. `kind`: clock, loop (it never ends and sleeps), event, score.

    `at` is where it stands: the call that schedules, the decorator, the call that a score leads to. `gate`: where a
    person is asked on the way. `sure`: not by names alone.
    """

    at: Location
    kind: str
    what: str  # as written: `schedule.every.day.do`
    starts: str  # the function that it starts
    steps: tuple[Step, ...]  # from the trigger to the act of training
    gate: Location | None = None
    sure: bool = True


@dataclass(frozen=True, slots=True)
class Promotion:
    """A call that makes a model the one in use. `kind`: alias, stage, approval, push, deploy, copy.

    `target`: the alias, stage or place; `serving` whether that is the one in use (None: nobody can tell). `trained`:
    the act of training after which it runs in one go; `by` how it comes to run without a person: chain, step, or empty.
    """

    at: Location
    kind: str
    what: str
    function: str
    target: str = ""
    serving: bool | None = True
    by: str = ""
    steps: tuple[Step, ...] = ()
    gate: Location | None = None


@dataclass(frozen=True, slots=True)
class Comparator:
    """What decides between a new model and the one in use, and lets one through that is not shown to be better.

    `faults`: absent (there is none to compare with), equal, nan, error (the comparison failed).
    """

    at: Location
    what: str
    faults: tuple[str, ...]
    promotes: str  # the promotion's call
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Pushed:
    """A job that writes models or data to a repository's branch. `of`: what it writes, as written."""

    at: Location
    what: str
    of: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class FetchedWeights:
    """Weights that come over the network and are loaded. `digest`: where one is compared, None for nowhere."""

    at: Location
    fetch: str
    load: str
    runs: bool  # loading runs code that the file holds
    steps: tuple[Step, ...]
    digest: Location | None = None
