"""Gates in Airflow's graphs of tasks that do not hold: a promotion that runs whatever became of the tasks before it,
a question that answers itself.

airflow.apache.org, "Trigger Rules": `all_done` and `always` run after failures as well; providers-standard,
operators/hitl.py: `defaults` are taken where nobody answers in time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step as Evidence
from vramguard.link.code.meaning import Own
from vramguard.link.code.words import literal, texts
from vramguard.link.pipelines import known
from vramguard.link.pipelines.gates import Defeated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.link.code.program import Ref
    from vramguard.link.pipelines.acts import Acts

_WHATEVER: Final = re.compile(r"(?:.*\.)?(all_done|always|all_done_setup_success)", re.IGNORECASE)
_OPERATOR: Final = re.compile(r"Operator$")
_ASKS: Final = re.compile(r"^(Approval|HITL\w*)Operator$")
_YES: Final = re.compile(r"approve|yes|accept|promote|deploy", re.IGNORECASE)


def defeated(acts: Acts) -> Iterator[Defeated]:
    """Every such task."""
    judged = set(acts.code.routines)
    for name, calls in acts.code.program.calls.items():
        if not _OPERATOR.search(name):
            continue
        for call in calls:
            if call.routine not in judged:
                continue
            task = literal(acts.code, acts.code.argument(call, "task_id", 0)) or name
            yield from _answered(acts, call, task) if _ASKS.search(name) else _runs(acts, call, task)


def _answered(acts: Acts, call: Ref, task: str) -> Iterator[Defeated]:
    given = acts.code.argument(call, "defaults")
    said = texts(acts.code, given) if given is not None else []
    if given is not None and any(map(_YES.fullmatch, said)):
        steps = (
            Evidence(call.at, f"`{task}` asks somebody"),
            Evidence(given.at, f"and takes `{said[0]}` for the answer"),
        )
        yield Defeated(given.at, "passed", task, "is answered by itself where nobody does", "what follows it", steps)


def _runs(acts: Acts, call: Ref, task: str) -> Iterator[Defeated]:
    """A task that brings a model into use, and runs after failures as well."""
    rule = acts.code.argument(call, "trigger_rule")
    if rule is None:
        return
    said = literal(acts.code, rule) or acts.code.written(rule)
    if not _WHATEVER.fullmatch(said):
        return
    brings = _promotes(acts, call)
    if brings is not None:
        steps = (Evidence(call.at, f"the task `{task}`"), brings)
        how = f"is not waited for: `trigger_rule={said}`"
        yield Defeated(rule.at, "passed", f"whatever stands before {task}", how, task, steps)


def _promotes(acts: Acts, call: Ref) -> Evidence | None:
    function = acts.code.argument(call, "python_callable")
    for one in acts.code.meanings.of(function) if function is not None else ():
        if isinstance(one, Own) and one.routine is not None:
            for routine in acts.code.reaches(one.routine):
                for found in acts.promoting.get(routine, ()):
                    if found.serving is not False:
                        return Evidence(
                            found.call.at, f"`{acts.code.written(found.call)}(…)` makes a model the one in use"
                        )
    command = acts.code.argument(call, "bash_command")
    for line in texts(acts.code, command) if command is not None else ():
        if any(row.kind == "promote" for row in known.doings(line)):
            return Evidence(call.at, f"`{line[:60]}`")
    return None
