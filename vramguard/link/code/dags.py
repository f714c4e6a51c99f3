"""Airflow's graphs of tasks whose tasks train: `with DAG(…) as dag:` and `DAG(…)` with operators that name it.

A seam: other orchestrators' definitions in Python give the same `Dag`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Table
from vramguard.link.code.starts import PYTHON_OPERATORS, Start
from vramguard.link.code.words import literal, texts
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.starts import Starts

_COMMAND: Final = (
    "BashOperator",
    "DockerOperator",
    "KubernetesPodOperator",
    "SparkSubmitOperator",
    "SSHOperator",
    "EcsRunTaskOperator",
)
_TRAINING: Final = ("SageMakerTrainingOperator", "SageMakerTuningOperator", "CreateCustomTrainingJobOperator",
    "CreateCustomContainerTrainingJobOperator", "CreateCustomPythonPackageTrainingJobOperator",
    "CreateAutoMLTabularTrainingJobOperator",
    "MLEngineStartTrainingJobOperator")  # fmt: skip
_TASK: Final = Table([{"call": ["airflow.**.task", "airflow.**.task()", "airflow.**.task.*()"]}])
_CUT: Final = 190
_ROUNDS: Final = 8  # graphs that run one another
_ASKS: Final = re.compile(r"(Approval|HITL\w*)Operator$")


@dataclass(frozen=True)
class Dag:
    """A graph of tasks: its call, the task that trains, and a task that asks a person."""

    call: Ref
    start: Start
    gate: Ref | None = None


def dags(code: Code, starts: Starts) -> Iterator[Dag]:
    """Every graph of tasks of which one trains."""
    found: dict[Ref, Start] = {}
    tasks = (start for listed in starts.by.values() for start in listed if task_of(code, start))
    for start in (*(one for call in operators(code) if (one := trains(code, starts, call))), *tasks):
        dag = dag_of(code, start.call)
        if dag is not None:
            found.setdefault(dag, start)
    _triggering(code, starts, found)
    for dag, start in found.items():
        asking = [call for name in code.program.calls if _ASKS.search(name) for call in operators(code, (name,))]
        yield Dag(dag, start, next((call for call in asking if dag_of(code, call) == dag), None))


def _triggering(code: Code, starts: Starts, found: dict[Ref, Start]) -> None:
    """Add the graphs that run, with `TriggerDagRunOperator`, one that trains: one after another."""
    runs = {call: (dag, wanted) for call, wanted in starts.runs_of_dags if (dag := dag_of(code, call)) is not None}
    for _ in range(min(len(runs), _ROUNDS)):
        known = {literal(code, _id(code, dag)): start for dag, start in found.items()}
        for call, (dag, wanted) in runs.items():
            into = next((one for one in starts.dags_by_id.get(wanted, ()) if one in starts.plain), None)
            if dag in found or not (into or wanted in known):
                continue
            after = known.get(wanted)
            found[dag] = Start(call, into or (after.call.routine if after is not None else None), "job")


def _id(code: Code, dag: Ref) -> Ref | None:
    return code.argument(dag, "dag_id", 0)


def task_of(code: Code, start: Start) -> bool:
    """Whether a call makes a task of a graph out of a function that trains: `with DAG(…): train()` of a `@task`."""
    if start.into is None or not start.into.function.decorators:
        return False
    return any(_TASK.among(paths) is not None for _, paths in code.decorators(start.into))


def operators(code: Code, names: tuple[str, ...] = (*PYTHON_OPERATORS, *_COMMAND, *_TRAINING)) -> Iterator[Ref]:
    """The calls that make tasks of graphs."""
    judged = set(code.routines)
    for name in names:
        yield from (call for call in code.program.calls.get(name, ()) if call.routine in judged)


def trains(code: Code, starts: Starts, call: Ref) -> Start | None:
    """How an operator's task trains."""
    name = code.written(call).rpartition(".")[2]
    if name in _TRAINING:
        return Start(call, None, "job")
    if name in PYTHON_OPERATORS:
        function = code.argument(call, "python_callable")
        for one in code.meanings.of(function) if function is not None else ():
            if isinstance(one, Own) and one.routine is not None and one.routine in starts.down:
                return Start(call, one.routine, sure=one.routine in starts.plain)  # else a score decides as well
        return None
    words = [word for one in call.node.inputs[1:] if one != NONE for word in texts(code, call.to(one))]
    for path in starts.scripts(words):
        top = code.program.module(path)
        routine = code.program.routine(top, 0) if top is not None else None
        if routine is not None and routine in starts.down:
            return Start(call, routine, sure=routine in starts.plain)
    cut = any(len(word) > _CUT for word in words)  # a long script, of which the text goes on
    named = (
        cut
        and re.search(r"(^|_)(re)?train(ing)?($|_)|fine_?tune", literal(code, code.argument(call, "task_id", 0)))
        is not None
    )
    return Start(call, None, "launch", sure=False) if named or starts.says(words) else None


def dag_of(code: Code, call: Ref) -> Ref | None:
    """The graph that an operator belongs to: what `dag=` names, the `with` around, or the module's only one."""
    given = code.argument(call, "dag")
    places = [given] if given is not None else []
    function = call.routine.function
    places += [
        Ref(call.routine, function.blocks[n].test)
        for n in call.routine.blocks[call.node.block]
        if function.blocks[n].kind == "with"
    ]
    for place in places:
        for ref in unwrapped(code, place):
            if ref.node.op == "call" and code.written(ref).rpartition(".")[2] == "DAG":
                return ref
    return None


def unwrapped(code: Code, ref: Ref) -> Iterator[Ref]:
    """What a value is where it was made: through its names, the branches that join in it, and what a `with` enters."""
    if ref.number == NONE:
        return
    node = ref.node
    if node.op in ("enter", "join"):
        yield from (one for inner in ref.inputs() for one in unwrapped(code, inner))
    elif node.op == "name":
        for found in code.program.lookup(ref.routine, node.name):
            if found != ref:
                yield from unwrapped(code, found)
    else:
        yield ref
