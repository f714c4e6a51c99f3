"""Gates that do not hold: what measures and may fail, what runs whatever was said, and who answers for himself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step as Evidence
from vramguard.link.pipelines import conditions, known
from vramguard.link.pipelines.acts import plain
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.pipelines.flows import Flows
    from vramguard.link.pipelines.models import Models
    from vramguard.link.pipelines.parts import Job, Pipeline, Step

_OPEN: Final = re.compile(
    r"^(?P<gate>[^#]*?[^|\s])\s*\|\|\s*(?:\{\s*)?(?:true|:|echo\b|printf\b|exit 0|/bin/true)", re.DOTALL
)
_BRINGS: Final = ("promote", "deploy", "bump")
_LONGEST: Final = 4000  # characters of a line


@dataclass(frozen=True, slots=True)
class Defeated:
    """A gate, and what takes its force. `kind`: open (a measure that cannot fail), passed (a person unheard)."""

    at: Location
    kind: str
    gate: str
    how: str
    brings: str
    steps: tuple[Evidence, ...]


def defeated(flows: Flows, models: Models) -> Iterator[Defeated]:
    """Every gate of a pipeline that brings a model into use, and that does not hold it back."""
    for pipeline in flows.all:
        ends = [(job, act) for job in pipeline.jobs for act in flows.acts.of(job) if act.kind in _BRINGS]
        ends = [
            (job, act)
            for job, act in ends
            if not flows.acts.tries(job, pipeline) and models.concerns(pipeline, job, act)
        ]
        seen: set[Location] = set()
        for job, act in ends:
            brings = act.shown
            for one in (
                *_open(flows, pipeline, job, brings),
                *_passed(flows, pipeline, job, brings),
                *_answered(flows, pipeline, brings),
            ):
                if one.at not in seen:
                    seen.add(one.at)
                    yield one


# ---- measures that cannot fail


def _open(flows: Flows, pipeline: Pipeline, job: Job, brings: str) -> Iterator[Defeated]:
    before = pipeline.before(job)
    for one in (*before, job):
        for step in one.steps:
            yield from _lenient(flows, one, step, brings)
    checks = [act for one in before for act in flows.acts.of(one) if act.kind == "check"]
    asked = [one for one in before if flows.asks(one)]
    if checks and not asked and job.condition_at is not None and conditions.whatever(job.condition):
        steps = (
            Evidence(checks[0].at, f"`{checks[0].shown}` checks"),
            Evidence(job.condition_at, "this job runs all the same"),
        )
        yield Defeated(job.condition_at, "open", checks[0].shown, f"`{_short(job.condition)}`", brings, steps)


def _lenient(flows: Flows, job: Job, step: Step, brings: str) -> Iterator[Defeated]:
    lines = list(_lines(step))
    for at, line in lines:
        match = _OPEN.match(line)
        if match and _is_check(match["gate"]):
            how = f"`{_short(line[match.end('gate') :].strip())}`"
            yield Defeated(at, "open", _short(match["gate"].strip()), how, brings, ())
    found = [act for act in flows.acts.of(job) if act.step is step and act.kind == "check"]
    for place in (step.lenient, job.lets_on):
        if place is not None and found:
            yield Defeated(
                place,
                "open",
                found[0].shown,
                "`continue-on-error: true`",
                brings,
                (Evidence(found[0].at, "the check"),),
            )


def _is_check(text: str) -> bool:
    line = plain(text.strip().rpartition("&&")[2].strip())
    return any(row.kind == "check" for row in known.doings(line))


def _lines(step: Step) -> Iterator[tuple[Location, str]]:
    """The lines of a script, each with those that it goes on in."""
    script = step.script
    if script is None or "||" not in script.text:
        return
    row = script.first[0] if script.first else script.at.line
    held, start = "", row
    for number, line in enumerate(script.text.split("\n"), row):
        held, start = (held + line, start) if held else (line, number)
        if line.rstrip().endswith("\\"):
            held = held.rstrip()[:-1] + " "
            continue
        if len(held) < _LONGEST:
            yield Location(script.at.path, start, 1, number, 1), held.strip()
        held = ""


# ---- people who are not heard


def _passed(flows: Flows, pipeline: Pipeline, job: Job, brings: str) -> Iterator[Defeated]:
    """A person who is asked, and does not hold the job back."""
    if flows.asks(job):
        return
    asking = [one for one in pipeline.jobs if one.gate is not None and one is not job and _is_gate(flows, one)]
    before = pipeline.before(job)
    for gate in asking:
        place = gate.gate or gate.at
        steps = (
            Evidence(place, f"`{gate.key}` asks somebody"),
            Evidence(job.at, f"`{job.key}` brings the model into use"),
        )
        if gate.lets_on is not None and gate in before:
            yield Defeated(gate.lets_on, "passed", gate.key, "goes on although nobody has answered", brings, steps)
        elif gate in before and conditions.whatever(job.condition):
            yield Defeated(
                job.condition_at or job.at,
                "passed",
                gate.key,
                f"is not waited for: `{_short(job.condition)}`",
                brings,
                steps,
            )
        elif gate not in before and not any(one in before for one in asking) and job not in pipeline.before(gate):
            yield Defeated(job.at, "passed", gate.key, "does not stand before it", brings, steps)


def _is_gate(flows: Flows, job: Job) -> bool:
    """Whether a job is there to ask: it does nothing of its own that would need the answer."""
    return not any(act.kind in (*_BRINGS, "committed", "train") for act in flows.acts.of(job)) and (
        not job.steps or known.says("approving", f"{job.key} {job.label} {job.environment}")
    )


def _answered(flows: Flows, pipeline: Pipeline, brings: str) -> Iterator[Defeated]:
    for job in pipeline.jobs:
        for act in flows.acts.of(job):
            if act.kind == "approve":
                yield Defeated(
                    act.at,
                    "passed",
                    "the question",
                    "is answered by the pipeline itself",
                    brings,
                    (Evidence(act.at, f"`{act.shown}`"),),
                )


def _short(text: str) -> str:
    flat = " ".join(text.split()).replace("`", "'")
    return flat if len(flat) < 60 else f"{flat[:60]}…"  # noqa: PLR2004 - of a message
