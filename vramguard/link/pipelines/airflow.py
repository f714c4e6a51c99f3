"""Airflow's graphs whose tasks start containers: what trains and what deploys is known by what a task is called.

A graph counts where it says both: a task that trains, and one after it that has the result loaded, with nobody asked
in between. airflow.apache.org, "DAGs" (`>>`, `schedule`); providers cncf.kubernetes, docker, amazon and google.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Word
from vramguard.link.code import program
from vramguard.link.code.dags import dag_of, dags, unwrapped
from vramguard.link.code.program import Ref
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import literal, texts, values
from vramguard.link.pipelines import known
from vramguard.link.pipelines.parts import MOST, Job, Pipeline, Step, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code

FORM: Final = "airflow"
_CONTAINERS: Final = (
    *("KubernetesPodOperator", "GKEStartPodOperator", "EksPodOperator", "DockerOperator", "DockerSwarmOperator"),
    *("EcsRunTaskOperator", "EcsOperator", "BatchOperator", "AwsBatchOperator", "SageMakerTrainingOperator"),
)
_BETWEEN: Final = re.compile(r"(Operator|Sensor)$")  # tasks through which the order goes
_ASKS: Final = re.compile(r"^(Approval|HITL\w*)Operator$")
_TIMES: Final = ("schedule", "schedule_interval", "timetable")
_NEVER: Final = frozenset({"None", "'@once'", '"@once"'})
_COMMAND: Final = ("cmds", "entrypoint", "arguments", "command")
_MOST_EDGES: Final = 5000
_ASIDE: Final = re.compile(
    r"\b(roll ?back|undeploy|notify|notification|report|check|validate|test|wait)\b", re.IGNORECASE
)


def pipelines(facts: Facts) -> Iterator[Pipeline]:
    """Every graph with a container that trains, and one after it that deploys, with nobody asked."""
    code = program(facts)
    tasks = {dag: calls for dag, calls in _by_graph(code).items() if any(_image(code, one) for one in calls)}
    if not tasks:
        return
    said = {one.call for one in dags(code, starting(facts))}  # what their code says has a finding of its own
    edges = _edges(code)
    for dag, calls in tasks.items():
        jobs = tuple(_job(code, one, edges) for one in calls[:MOST])
        name = literal(code, code.argument(dag, "dag_id", 0)) or "a graph"
        held = Pipeline(dag.at, FORM, name, (), jobs)
        if any(_brings(held, job) for job in jobs):
            triggers = () if dag in said else tuple(_triggers(code, dag))
            yield Pipeline(dag.at, FORM, name, triggers, jobs)


def _by_graph(code: Code) -> dict[Ref, list[Ref]]:
    """The tasks of each graph, in their order."""
    found: dict[Ref, list[Ref]] = {}
    judged = set(code.routines)
    names = code.program.calls
    if not any(name in names for name in _CONTAINERS):
        return found
    for name, calls in names.items():
        for call in calls if _BETWEEN.search(name) else ():
            dag = dag_of(code, call) if call.routine in judged else None
            if dag is not None:
                found.setdefault(dag, []).append(call)
    return found


def _name(code: Code, call: Ref) -> str:
    return code.written(call).rpartition(".")[2]


def _image(code: Code, call: Ref) -> str:
    """The image of a container, or the operator's name where it stands elsewhere; empty for other tasks."""
    name = _name(code, call)
    if name not in _CONTAINERS:
        return ""
    given = code.argument(call, "image")
    return next(iter(texts(code, given)), "") if given is not None else name


def _job(code: Code, call: Ref, edges: dict[Ref, list[Ref]]) -> Job:
    key = _task(code, call)
    needs = tuple(dict.fromkeys(_task(code, one) for one in edges.get(call, ())))
    gate = call.at if _ASKS.search(_name(code, call)) else None
    image = _image(code, call)
    given = [one for word in _COMMAND if (one := code.argument(call, word)) is not None] if image else []
    text = " ".join(word for one in given for word in texts(code, one))
    script = Word(text, call.at) if text else None
    return Job(call.at, key, (Step(call.at, key, script, image=image),), needs, gate)


def _task(code: Code, call: Ref) -> str:
    """A task by its id; by its place where that is made elsewhere."""
    return literal(code, code.argument(call, "task_id", 0)) or f"task at line {call.at.line}"


def _brings(pipeline: Pipeline, job: Job) -> bool:
    """Whether a container has loaded what one before it trained, and nobody is asked."""
    said = _said(job)
    if not known.says("deploying", said) or known.says("beside", said) or _ASIDE.search(said):
        return False
    before = pipeline.before(job)
    return any(_trains(one) for one in before) and not any(one.gate is not None for one in before)


def _trains(job: Job) -> bool:
    said = _said(job)
    return known.says("training", said) and not known.says("no-training", said)


def _said(job: Job) -> str:
    """What a container's task is called, in words; nothing of a task that starts none."""
    return job.key.replace("_", " ") if job.steps[0].image else ""


# ---- order, and clocks


def _edges(code: Code) -> dict[Ref, list[Ref]]:
    """The tasks right before each, as `a >> [b, c] >> d` and `d << a` say."""
    found: dict[Ref, list[Ref]] = {}
    left = _MOST_EDGES
    for routine in code.routines:
        for number, node in enumerate(routine.function.nodes):
            if node.op != "binary" or node.name not in (">>", "<<"):
                continue
            first, second = (_tasks(code, one) for one in Ref(routine, number).inputs())
            before, after = (first, second) if node.name == ">>" else (second, first)
            left -= 1 + len(before) + len(after) + len(before) * len(after)
            if left <= 0:
                return found
            for one in after:
                found.setdefault(one, []).extend(before)
    return found


def _tasks(code: Code, ref: Ref) -> list[Ref]:
    """The operators that one side of `>>` is: of a chain, those that it ends with."""
    if ref.node.op == "binary" and ref.node.name in (">>", "<<"):
        return _tasks(code, list(ref.inputs())[1])
    if ref.node.op == "items":
        return [call for one in ref.inputs() for call in _tasks(code, one)]
    return [one for one in unwrapped(code, ref) if one.node.op == "call"]


def _triggers(code: Code, dag: Ref) -> Iterator[Trigger]:
    for word in _TIMES:
        found = code.argument(dag, word)
        if found is not None:
            if not all(one.node.name in _NEVER for one in values(code, found)):
                at = found.at if found.at.line >= dag.at.line else dag.at
                yield Trigger(at, "event" if found.node.op == "items" else "clock", "schedule")
            return


__all__ = ["FORM", "pipelines"]
