"""Clocks that name what they run: Celery's tables of tasks, and the command line by which Prefect is told of a flow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.link.code.program import Ref
from vramguard.link.code.words import literal, text
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.starts import Starts

_BEATS: Final = ("beat_schedule", "CELERYBEAT_SCHEDULE", "CELERY_BEAT_SCHEDULE")
_DEPLOYS: Final = re.compile(r"\bprefect\s+(?:deploy|deployment\s+build)\b")
_TIMED: Final = re.compile(r"(?:^|\s)--(?:cron|interval|rrule)\b")
_ENTRY: Final = re.compile(r"[\w./-]{1,200}\.py:\w{1,200}")


def beats(code: Code, routines: list[Routine]) -> Iterator[tuple[Ref, str, list[Routine]]]:
    """The entries of Celery's tables: the place that names a task, its name, and those of some functions it may be."""
    tasks: Mapping[str, list[Routine]] | None = None
    for ref in _tables(code):
        keys = (text(ref.to(number).node) for number in ref.node.inputs[::2] if number != NONE)
        pairs = dict(zip(keys, ref.node.inputs[1::2], strict=False))
        if "task" in pairs and "schedule" in pairs:
            tasks = _tasks(code, routines) if tasks is None else tasks
            name = literal(code, ref.to(pairs["task"]))
            yield ref.to(pairs["task"]), name, tasks.get(name, [])


def _tables(code: Code) -> Iterator[Ref]:
    calls = code.program.calls.get("update", ())
    held = [call.to(number) for call in calls for word, number in call.node.arguments() if word == "beat_schedule"]
    held += [store.to(store.node.inputs[1]) for store in code.program.stores.get("beat_schedule", ())]
    for module in list(code.program.modules.values()):
        top = code.program.routine(module, 0)
        held += [Ref(top, number) for name in _BEATS for number in top.function.names.get(name, ())]
    for ref in held:
        if ref.node.op == "table":
            yield from (ref.to(number) for number in ref.node.inputs[1::2] if ref.to(number).node.op == "table")


def _tasks(code: Code, routines: list[Routine]) -> Mapping[str, list[Routine]]:
    """Functions by the names that Celery may know them under."""
    found: dict[str, list[Routine]] = {}
    for routine in routines:
        called = [ref for ref, _ in code.decorators(routine) if ref.node.op == "call"]
        names = {text(ref.to(n).node) for ref in called for word, n in ref.node.arguments() if word == "name"}
        parts = [*routine.path.removesuffix(".py").split("/"), routine.function.name]
        names |= {".".join(parts[number:]) for number in range(len(parts))}
        for name in names:
            found.setdefault(name, []).append(routine)
    return found


def timed_deployments(code: Code, starts: Starts) -> Iterator[tuple[Ref, Routine]]:
    """`subprocess.run(["prefect", "deploy", "flows/train.py:flow", "--cron", cron])`: the call, and the flow."""
    for call, row in code.calls("execute"):
        for place, words in starts.commands(call) if row["kind"] == "shell" else ():
            line = " ".join(words)
            if _DEPLOYS.search(line) and _TIMED.search(line):
                for name in dict.fromkeys(_ENTRY.findall(line)):
                    yield from ((place, routine) for routine in starts.entry(name))
