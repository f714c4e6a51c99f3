"""What a pipeline is, whoever runs it: what starts it, its jobs in their order, and the steps of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vramguard.facts import Word
from vramguard.source import Location

MOST = 200  # jobs of one pipeline
HOSTED = frozenset(("workflow", "gitlab", "azure-pipelines", "circleci"))  # forms that a forge or a CI service runs


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts a pipeline. `kind`: clock, event, data (a push of data), push, hand, called (by another pipeline).

    `event`: its name as conditions ask for it (`schedule`); `of`: the pipelines whose end it is.
    """

    at: Location
    kind: str
    event: str
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step: a script, a command, or somebody's action with what it is given.

    `lenient`: where it is said that its failure is none.
    """

    at: Location
    name: str = ""
    script: Word | None = None
    uses: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    condition: str = ""
    lenient: Location | None = None

    @property
    def said(self) -> str:
        """What it is called, by its name or by what it uses."""
        return self.name or self.uses or "a step"


@dataclass(frozen=True, slots=True)
class Job:
    """Steps that run one after another. `needs`: the jobs that come first, by their keys.

    `gate`: where a person is asked before it runs; `environment` the name of the one that asks. `lets_on`: where it is
    said that the jobs after it run although nobody has answered. `events`: those on which it runs, None for all.
    """

    at: Location
    key: str
    steps: tuple[Step, ...]
    needs: tuple[str, ...] = ()
    gate: Location | None = None
    environment: str = ""
    condition: str = ""
    condition_at: Location | None = None
    lets_on: Location | None = None
    events: frozenset[str] | None = None
    calls: str = ""  # another pipeline that it is: the path of a workflow, the name of a template
    runner: str = ""
    label: str = ""  # what it is called for people

    @property
    def asks(self) -> bool:
        """Whether a person is asked before it runs."""
        return self.gate is not None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Jobs, and what starts them."""

    at: Location
    form: str
    name: str
    triggers: tuple[Trigger, ...]
    jobs: tuple[Job, ...]

    def before(self, job: Job) -> list[Job]:
        """Every job that has to end before one begins."""
        by_key = {one.key: one for one in self.jobs}
        found: list[Job] = []
        pending, seen = list(job.needs), {job.key}
        while pending:
            key = pending.pop()
            if key not in seen and key in by_key:
                found.append(by_key[key])
                pending += (name for name in by_key[key].needs if name not in seen)
            seen.add(key)
        return found
