"""Pipelines of GitLab, Azure and CircleCI; flows that Prefect runs.

docs.gitlab.com, "CI/CD YAML syntax"; learn.microsoft.com, "YAML schema reference for Azure Pipelines" and "Manual
Validation task"; circleci.com, "Configuration reference"; docs.prefect.io, "Define deployments with YAML" (schedules,
active, entrypoint).
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from vramguard.link.pipelines.parts import MOST, Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Manifest, Word
    from vramguard.facts.nodes import Node

_RESERVED: Final = frozenset(
    {"default", "include", "stages", "variables", "workflow", "image", "services", "cache", "before_script", "spec"}
)
_STAGES: Final = ("build", "test", "deploy")  # GitLab's own, where a file names none
_SCHEDULE: Final = re.compile(r"CI_PIPELINE_SOURCE\s*==\s*[\"']schedule[\"']|^schedules$")
_EVENT: Final = re.compile(r"CI_PIPELINE_SOURCE\s*==\s*[\"'](trigger|pipeline|api)[\"']|^(triggers|pipelines|api)$")
_DEEP: Final = 5


def gitlab(manifest: Manifest) -> Pipeline:
    """A pipeline of GitLab, whose schedules stand in its rules."""
    root = manifest.node
    stages = [one.text for one in root.get("stages").list()] or list(_STAGES)
    nodes = {
        key: node
        for key, node in root.items()
        if key not in _RESERVED and not key.startswith(".") and isinstance(node.value, dict)
    }
    nodes = dict(islice(nodes.items(), MOST))
    staged = {key: _stage(node, stages) for key, node in nodes.items()}
    triggers = [Trigger(manifest.at, "push", "push")]
    jobs = []
    for key, node in nodes.items():
        found = list(_asked(node))
        triggers += found
        earlier = tuple(other for other, number in staged.items() if number < staged[key])
        needs = node.get("needs")
        named = tuple(one.get("job").text or one.text for one in needs.list())
        jobs.append(_gitlab_job(key, node, named if needs.value is not None else earlier, found))
    return Pipeline(manifest.at, "gitlab", manifest.at.path.rpartition("/")[2], tuple(triggers), tuple(jobs))


def _stage(node: Node, stages: list[str]) -> int:
    name = node.get("stage").text or "test"
    return stages.index(name) if name in stages else 0


def _asked(node: Node) -> Iterator[Trigger]:
    """Schedules and calls that a job's rules name."""
    held = [
        *(rule.get("if") for rule in node.get("rules").list()),
        *node.get("only").list(),
        *node.get("only", "refs").list(),
    ]
    for one in held:
        if _SCHEDULE.search(one.text):
            yield Trigger(one.at, "clock", "schedule")
        elif _EVENT.search(one.text):
            yield Trigger(one.at, "event", "trigger")


def _gitlab_job(key: str, node: Node, needs: tuple[str, ...], found: list[Trigger]) -> Job:
    rules = list(node.get("rules").list())
    gates = [one.get("when") for one in (node, *rules) if one.get("when").text == "manual"]
    place = node.get("environment")
    name = place.get("name").text if isinstance(place.value, dict) else place.text
    lines = [one for part in ("before_script", "script", "after_script") for one in _lines(node.get(part))]
    env = {name: one.text for name, one in node.get("variables").items() if one.text}
    steps = tuple(Step(word.at, "", word, env=env) for word in lines)
    ungated = [rule for rule in rules if rule.get("when").text not in ("manual", "never")]
    gate = gates[0].at if gates and not (rules and ungated) else place.at if name else None
    lenient = node.get("allow_failure")
    lets_on = gates[0].at if gates and not rules and lenient.text != "false" else None
    events = frozenset(one.event for one in found) if found and not _always(node) else None
    return Job(
        node.at,
        key,
        steps,
        needs,
        gate,
        name,
        lets_on=lets_on,
        events=events,
        condition="always()" if node.get("when").text == "always" else "",
    )


def _always(node: Node) -> bool:
    """Whether a job runs on pushes as well."""
    held = [*(rule.get("if").text for rule in node.get("rules").list()), *(one.text for one in node.get("only").list())]
    return any(not _SCHEDULE.search(text) and not _EVENT.search(text) for text in held)


def _lines(node: Node) -> Iterator[Word]:
    for one in node.list() if isinstance(node.value, list) else (node,):
        if isinstance(one.value, list):
            yield from one.words()
        elif word := one.word():
            yield word


def azure(manifest: Manifest) -> Pipeline:
    """A pipeline of Azure: stages, jobs, deployments to environments."""
    root = manifest.node
    triggers = [
        Trigger(one.get("cron").at, "clock", "schedule") for one in root.get("schedules").list() if one.get("cron")
    ]
    if root.get("trigger").text != "none":
        triggers.append(Trigger(manifest.at, "push", "push"))
    else:
        triggers.append(Trigger(root.get("trigger").at, "hand", "manual"))
    jobs: list[Job] = []
    stages = list(islice(root.get("stages").list(), MOST)) or [root]
    earlier: tuple[str, ...] = ()
    for stage in stages:
        own = list(_azure_jobs(stage, _azure_needs(stage, earlier)))
        jobs += own
        earlier = tuple(job.key for job in own) or earlier
    return Pipeline(manifest.at, "azure-pipelines", manifest.at.path.rpartition("/")[2], tuple(triggers), tuple(jobs))


def _azure_needs(stage: Node, earlier: tuple[str, ...]) -> tuple[str, ...]:
    """The jobs before a stage: of the one before, unless it says that there are none."""
    after = stage.get("dependsOn")
    return () if isinstance(after.value, list) and not after.value else earlier


def _azure_jobs(stage: Node, earlier: tuple[str, ...]) -> Iterator[Job]:
    prefix = stage.get("stage").text
    found = list(islice(stage.get("jobs").list(), MOST)) or [stage]
    for number, node in enumerate(found):
        name = node.get("job").text or node.get("deployment").text or str(number)
        place = node.get("environment")
        environment = place.get("name").text if isinstance(place.value, dict) else place.text
        steps = [step for held in _azure_steps(node, 0) for step in held.list()]
        made = tuple(_azure_step(one) for one in steps if isinstance(one.value, dict))
        asks = next((step.at for step in made if step.uses.startswith("ManualValidation@")), None)
        resumes = next((step.lenient for step in made if step.uses.startswith("ManualValidation@")), None)
        needs = tuple(f"{prefix}/{word.text}" for word in node.get("dependsOn").words()) or earlier
        gate = asks or (place.at if environment else None)
        condition = node.get("condition") or stage.get("condition")
        yield Job(
            node.at if node is not stage or prefix else stage.at,
            f"{prefix}/{name}",
            made,
            needs,
            gate,
            environment,
            condition.text,
            condition.at if condition else None,
            resumes,
            label=node.get("displayName").text or prefix,
        )


def _azure_steps(node: Node, depth: int) -> Iterator[Node]:
    if depth > _DEEP:
        return
    yield node.get("steps")
    for key in ("strategy", "runOnce", "rolling", "canary", "deploy"):
        if node.get(key):
            yield from _azure_steps(node.get(key), depth + 1)


def _azure_step(node: Node) -> Step:
    script = next((node.get(key).word() for key in ("script", "bash", "pwsh", "powershell") if node.get(key)), None)
    task = node.get("task").text
    given = {key: one.text for key, one in node.get("inputs").items() if one.text}
    held = node.get("inputs", "inlineScript").word() or node.get("inputs", "script").word()
    lenient = node.get("inputs", "onTimeout") if task.startswith("ManualValidation@") else node.get("continueOnError")
    says = lenient.text in ("resume", "true")
    env = {key: one.text for key, one in node.get("env").items() if one.text}
    return Step(
        node.at,
        node.get("displayName").text,
        script or held,
        task,
        given,
        env,
        "",
        node.get("condition").text,
        lenient.at if says else None,
    )


def circleci(manifest: Manifest) -> Iterator[Pipeline]:
    """The workflows of CircleCI, each with its own triggers."""
    root = manifest.node
    bodies = dict(root.get("jobs").items())
    for name, node in root.get("workflows").items():
        if not isinstance(node.value, dict):
            continue
        crons = [one.get("schedule", "cron") for one in node.get("triggers").list() if one.get("schedule", "cron")]
        triggers = tuple(Trigger(one.at, "clock", "schedule") for one in crons) or (Trigger(node.at, "push", "push"),)
        jobs = tuple(_circle_job(one, bodies) for one in node.get("jobs").list())
        yield Pipeline(node.at, "circleci", name, triggers, jobs)


def _circle_job(node: Node, bodies: Mapping[str, Node]) -> Job:
    key, given = (
        next(node.items(), (node.text, node.get("-"))) if isinstance(node.value, dict) else (node.text, node.get("-"))
    )
    name = given.get("name").text or key
    needs = tuple(word.text for word in given.get("requires").words())
    gate = given.get("type").at if given.get("type").text == "approval" else None
    body = bodies.get(key)
    if body is None:
        return Job(node.at, name, (), needs, gate)
    env = {one: held.text for one, held in body.get("environment").items() if held.text}
    steps = tuple(_circle_step(one, env) for one in body.get("steps").list())
    return replace(Job(body.at, name, steps, needs, gate), label=key)


def _circle_step(node: Node, env: Mapping[str, str]) -> Step:
    run = node.get("run")
    script = run.get("command").word() if isinstance(run.value, dict) else run.word()
    uses = "" if script else next((key for key, _ in node.items()), node.text)
    when = "always()" if run.get("when").text == "always" else ""
    return Step(node.at, run.get("name").text, script, uses, env=env, condition=when)


def prefect(manifest: Manifest) -> Iterator[Pipeline]:
    """The deployments of a prefect.yaml: the flow that each runs, and its clocks that are not switched off."""
    for node in islice(manifest.node.get("deployments").list(), MOST):
        clocks = [*node.get("schedules").list(), node.get("schedule")]
        timed = [
            one.get(key)
            for one in clocks
            for key in ("cron", "interval", "rrule")
            if one.get(key) and one.get("active").text != "false"
        ]
        name = node.get("name").text or "a deployment"
        entry = node.get("entrypoint")
        step = Step(entry.at, name, uses=f"prefect:{entry.text}")
        triggers = tuple(Trigger(one.at, "clock", "schedule") for one in timed)
        yield Pipeline(node.at, "prefect", name, triggers, (Job(node.at, name, (step,)),) if entry else ())
