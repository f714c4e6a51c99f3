"""Branches of Airflow's graphs: a function that answers with the id of the task that runs next, and one that trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.code.dags import dag_of, operators, task_of, trains
from vramguard.link.code.program import Ref
from vramguard.link.code.words import literal, text, tokens, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code import Code
    from vramguard.link.code.guards import Condition
    from vramguard.link.code.program import Routine
    from vramguard.link.code.starts import Start, Starts

_BRANCHING: Final = ("BranchPythonOperator", "BranchPythonVirtualenvOperator", "BranchExternalPythonOperator")


def branches(code: Code, starts: Starts) -> Iterator[tuple[Condition, Start]]:
    """The scores that decide whether a graph goes on with the task that trains, and that task."""
    for call, routine in _branching(code):
        tasks = _training(code, starts, dag_of(code, call))
        for answer, said in _answers(routine) if tasks else ():
            start = tasks.get(said)
            condition = starts.conditions.score(answer) if start is not None else None
            if condition is not None and start is not None and not _is_asked_for(starts, condition.test):
                yield condition, start


def _is_asked_for(starts: Starts, test: Ref) -> bool:
    """`if FORCE_RETRAIN:`: a person says so."""
    names = starts.conditions.variables(test.routine)
    said = (word for one in within(test) for word in (one.node.name, *names.get(one.number, ())))
    return any(tokens(word) & {"force", "forced", "manual"} for word in said)


def _branching(code: Code) -> Iterator[tuple[Ref, Routine]]:
    """Operators that branch, and calls of tasks that do, each with the function that decides."""
    for call in operators(code, _BRANCHING):
        given = code.argument(call, "python_callable")
        if given is not None:
            yield from ((call, routine) for routine in code.meanings.functions(given))
    for branch in code.program.calls.get("branch", ()):  # `@task.branch(…)`
        yield from _decorated(code, branch)


def _decorated(code: Code, decorator: Ref) -> Iterator[tuple[Ref, Routine]]:
    for routine in code.program.inside(decorator.routine):
        if decorator.number in routine.function.decorators:
            yield from ((call, routine) for call in code.meanings.callers(routine))


def _training(code: Code, starts: Starts, dag: Ref | None) -> dict[str, Start]:
    """The tasks of a graph that train, by their ids."""
    found: dict[str, Start] = {}
    for call in operators(code) if dag is not None else ():
        start = trains(code, starts, call) if dag_of(code, call) == dag else None
        if start is not None:
            found[literal(code, code.argument(call, "task_id", 0))] = start
    for listed in starts.by.values() if dag is not None else ():
        for start in listed:
            if task_of(code, start) and start.into is not None and dag_of(code, start.call) == dag:
                found[start.into.function.name] = start
    return {name: start for name, start in found.items() if name}


def _answers(routine: Routine) -> Iterator[tuple[Ref, str]]:
    """What a function answers with, word by word: `return "retrain"`, `return ["retrain", "report"]`."""
    for number in routine.all_of("return"):
        answer = Ref(routine, number)
        for given in answer.inputs() if NONE not in answer.node.inputs else ():
            listed = given.inputs() if given.node.op == "items" else [given]
            yield from ((answer, said) for one in listed if (said := text(one.node)))
