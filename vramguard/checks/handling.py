"""Demand 3: what a schema refuses is refused, and what a model writes is data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import evidence
from vramguard.facts import PathClass
from vramguard.facts.values import UNREAD
from vramguard.link.code.handling import bypasses, executions
from vramguard.link.code.swallowed import swallowed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.source import Location

_LED: Final = {
    "response": "`{act}` is sent as it is",
    "undeclared": "`response_model=None` switches it off",
    "construct": "`{act}` asks nothing",
    "jsonify": "`{act}` writes whatever it is given",
}
_GOES_ON: Final = {
    "passes": "goes on with what was refused",
    "raw": "answers with what was refused",
    "text": "answers a text as if it were the model's answer",
}
_DONE: Final = {
    "code": "runs as code",
    "shell": "runs as a command",
    "sql": "runs as a query",
    "tool": "chooses by its name what is called",
    "parse": "is taken apart and used without a schema",
}


def _weighed(facts: Facts, at: Location, warnings: tuple[PathClass, ...], *, weak: bool = False) -> Severity | None:
    """Less where a path is an example's."""
    lower = weak or facts.classify(at.path) in warnings or at.path.endswith(".ipynb")
    return Severity.WARNING if lower else None


@check("validation-bypassed")
@dataclass(frozen=True)
class ValidationBypassed:
    """A model's answer is led around a schema that the repository has for it."""

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in bypasses(facts):
            if facts.classify(one.at.path) not in UNREAD:
                values = {
                    "call": one.output.call,
                    "model": one.model,
                    "how": _LED[one.form].format(act=one.act),
                }
                severity = _weighed(facts, one.at, self.warnings, weak=one.output.weak)
                yield Problem(one.at, values, evidence(one.steps), severity, subject=f"{one.model} {one.act}")


@check("swallowed-validation-error")
@dataclass(frozen=True)
class SwallowedValidationError:
    """A refused answer goes on: the handler passes, answers what was refused, or a text that says so with success."""

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in swallowed(facts):
            if facts.classify(one.at.path) not in UNREAD:
                values = {
                    "caught": one.caught,
                    "validator": one.validator,
                    "call": one.output.call,
                    "how": _GOES_ON[one.how],
                }
                severity = _weighed(facts, one.at, self.warnings)
                subject = f"{one.function} {one.validator} {one.caught}"
                yield Problem(one.at, values, evidence(one.steps), severity, subject=subject)


@check("executed-model-output")
@dataclass(frozen=True)
class ExecutedModelOutput:
    """A model's text becomes code, a command, a query or the name of what is called; those of `weaker` are warnings."""

    weaker: tuple[str, ...] = ("parse", "tool")
    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in executions(facts):
            if facts.classify(one.at.path) not in UNREAD:
                values = {"call": one.output.call, "done": _DONE[one.kind], "act": one.act}
                severity = _weighed(facts, one.at, self.warnings, weak=one.kind in self.weaker)
                yield Problem(one.at, values, evidence(one.steps), severity, subject=f"{one.act} {one.output.call}")
