"""What runs between functions that do not call each other: servers, tasks of Airflow, assets of Dagster, tasks that are
submitted. What one answers, or is given, comes to another.

apache-airflow 3, providers/standard/operators/python.py (op_args, op_kwargs), models/taskinstance.py (xcom_pull,
xcom_push); dagster 1.13, decorators/asset_decorator.py (a parameter is the asset of its name); prefect 3, tasks.py
(submit); ray 2, remote_function.py (remote); celery 5, app/task.py (delay).
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.link.code.program import Ref
from vramguard.link.code.surfaces import relays
from vramguard.link.code.words import literal, text, values, within
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

_ASSET: Final = re.compile(r"^dagster\.(?:[\w.]*\.)?asset(\(\))?$")
_LAZY: Final = ("TrainSpec", "from_generator", "train")  # of tensorflow.estimator and tensorflow.data
_SUBMITS: Final = ("submit", "remote", "delay", "fn")
_RETURNED: Final = "return_value"  # the key of what a task answers


class Handovers(NamedTuple):
    """Where what a function answers comes to, and what a call's arguments become, by their positions."""

    answers: Mapping[Routine, tuple[Ref, ...]]
    given: Mapping[Ref, Mapping[int, tuple[Ref, ...]]]


class _Found:
    def __init__(self, code: Code) -> None:
        self.code = code
        self.answers: dict[Routine, list[Ref]] = defaultdict(list)
        self.given: dict[Ref, dict[int, tuple[Ref, ...]]] = defaultdict(dict)

    # Servers.

    def relay(self) -> None:
        """What a server's function answers comes to the next one."""
        for routine, then in relays(self.code).items():
            self.answers[routine] += list(parameters(then))[:1]

    # Airflow.

    def tasks(self) -> None:
        """Tasks that are made of functions, and what they leave for each other."""
        named: dict[str, list[Routine]] = defaultdict(list)
        for call in self._operators():
            for routine in self._functions(self.code.argument(call, "python_callable", 1)):
                named[literal(self.code, self.code.argument(call, "task_id", 0))].append(routine)
                self.answers[routine].append(call)  # `task.output`
                self._arguments(call, routine)
        pulls = self.code.program.calls.get("xcom_pull", ()) if named else ()
        for pull in pulls:
            self._pulled(pull, named)

    def _operators(self) -> Iterator[Ref]:
        for name, calls in self.code.program.calls.items():
            if name.endswith("Operator"):
                yield from (call for call in calls if "python_callable" in call.node.keywords)

    def _arguments(self, call: Ref, routine: Routine) -> None:
        """`op_args=[load.output]`, `op_kwargs={"rows": load.output}`."""
        named = {one.node.name: one for one in parameters(routine)}
        for position, (keyword, number) in enumerate(call.node.arguments(), 1):
            node = call.to(number).node
            if keyword == "op_args":
                count = len(node.inputs) if node.op == "items" else len(named)
                self.given[call][position] = tuple(named.values())[:count]
            elif keyword == "op_kwargs" and node.op == "table":
                keys = [text(call.to(one).node) for one in node.inputs[::2] if one != NONE]
                self.given[call][position] = tuple(named[key] for key in keys if key in named)

    def _pulled(self, pull: Ref, named: Mapping[str, list[Routine]]) -> None:
        """`ti.xcom_pull(task_ids="load", key="rows")`."""
        asked = self.code.argument(pull, "task_ids", 0)
        tasks = {text(one.node) for one in within(asked)} if asked is not None else set()
        key = literal(self.code, self.code.argument(pull, "key", 2)) or _RETURNED
        for routine in (one for task in sorted(tasks) for one in named.get(task, ())):
            if key == _RETURNED:
                self.answers[routine].append(pull)
                continue
            for push in self.code.program.calls.get("xcom_push", ()):
                if push.routine is routine and literal(self.code, self.code.argument(push, "key", 0)) == key:
                    value = push.node.argument("value", 1)
                    position = push.node.inputs.index(value) if value != NONE else NONE
                    self.given[push][position] = (*self.given[push].get(position, ()), pull)

    # Dagster.

    def assets(self) -> None:
        """An asset is given to whichever function has a parameter of its name."""
        found: dict[str, list[Routine]] = defaultdict(list)
        for routine in self.code.routines:
            for ref, paths in self.code.decorators(routine) if routine.function.decorators else ():
                if any(map(_ASSET.match, paths)):
                    name = literal(self.code, self.code.argument(ref, "name")) if ref.node.op == "call" else ""
                    found[name or routine.function.name].append(routine)
        for routine in (one for some in list(found.values()) for one in some):
            for parameter in parameters(routine):
                for maker in found.get(parameter.node.name, ()):
                    if maker is not routine:
                        self.answers[maker].append(parameter)

    # What is submitted.

    def submitted(self) -> None:
        """`train.submit(rows)`: the function's parameters are the call's."""
        for name in _SUBMITS:
            for call in self.code.program.calls.get(name, ()):
                function = call.to(call.node.inputs[0])
                base = function.to(function.node.inputs[0]) if function.node.op == "attr" else None
                for routine in self._functions(base):
                    self.answers[routine].append(call)
                    self._passed(call, routine)

    def lazy(self) -> None:
        """`TrainSpec(input_fn=lambda: rows(path))`, `from_generator(rows)`: what the function gives is the call's."""
        for name in _LAZY:
            for call in self.code.program.calls.get(name, ()):
                given = self.code.argument(call, "input_fn", NONE if name == "train" else 0)
                for routine in self._functions(given or self.code.argument(call, "generator")):
                    self.answers[routine].append(call)

    def columns(self) -> None:
        """`rows.assign(age=lambda rows: …)`: what the function gives is a column of the table."""
        for call in self.code.program.calls.get("assign", ()):
            for number in call.node.inputs[1:]:
                if call.to(number).node.op != "const":
                    for routine in self._functions(call.to(number)):
                        self.answers[routine].append(call)

    def _passed(self, call: Ref, routine: Routine) -> None:
        named = {one.node.name: one for one in parameters(routine)}
        for position, (keyword, _) in enumerate(call.node.arguments(), 1):
            target = named.get(keyword) if keyword else list(named.values())[position - 1 : position]
            if target:
                self.given[call][position] = (target,) if isinstance(target, Ref) else tuple(target)

    def _functions(self, ref: Ref | None) -> Iterator[Routine]:
        for value in values(self.code, ref) if ref is not None else ():
            yield from self.code.meanings.functions(value)


def parameters(routine: Routine) -> Iterator[Ref]:
    """The parameters of a function that are given one by one, without the object whose method it is."""
    names = [one.name for one in routine.function.parameters if not one.stars]
    numbers = {node.name: number for number, node in enumerate(routine.function.nodes) if node.op == "param"}
    for name in names:
        if name not in ("self", "cls") and name in numbers:
            yield Ref(routine, numbers[name])


def handovers(code: Code) -> Handovers:
    """What goes from function to function by other hands."""
    found = _Found(code)
    for find in (found.relay, found.tasks, found.assets, found.submitted, found.lazy, found.columns):
        find()
    answers = {routine: tuple(dict.fromkeys(refs)) for routine, refs in found.answers.items()}
    return Handovers(answers, dict(found.given))
