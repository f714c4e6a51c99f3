"""Jobs that write models or data to a repository's branch: `git add models/ … git push`, or a host's interface.

A job is what trains, what a trigger starts, or what adds the files of models and data by name. A branch of its own, or
a request that a person merges, satisfies.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.retraining import Pushed
from vramguard.link.code import program
from vramguard.link.code.roles import rows
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.program import Ref, Routine
    from vramguard.link.code.starts import Starts

_ARTEFACT: Final = re.compile(
    r"(^|[/\s._-])(models?|weights|checkpoints?|data|datasets?|artifacts?|mlruns|predictions|metrics)([/\s._-]|$)"
    r"|\.(pth?|ckpt|pkl|joblib|onnx|h5|keras|safetensors|csv|parquet|jsonl|dvc)\b",
    re.IGNORECASE,
)
_GITPYTHON: Final = re.compile(r"\.(git|index|origin|remote)\.(add|commit|push)$")
_PUSH: Final = re.compile(r"\bgit push\b")
_ADD: Final = re.compile(r"\bgit (add|commit)\b")
_ELSEWHERE: Final = re.compile(r"\b(checkout -[bB]|switch -c|gh pr create|pull-request|--draft)\b")


class Commits:
    """The pushes of a program."""

    def __init__(self, code: Code, starts: Starts) -> None:
        self.code = code
        self.starts = starts

    def find(self) -> Iterator[Pushed]:
        """One for each function that pushes models or data."""
        for routine, lines in self._lines().items():
            pushes = [call for call, said in lines if _PUSH.search(said)]
            adds = [(call, said) for call, said in lines if _ADD.search(said)]
            whole = " ; ".join(said for _, said in lines)
            if not pushes or not adds or _ELSEWHERE.search(whole) or self.starts.conditions.gate(routine) is not None:
                continue
            call, of = next(((call, said) for call, said in adds if _ARTEFACT.search(said)), (None, ""))
            if call is None and routine in self.starts.by:
                call, of = adds[0]
            if call is not None:
                yield Pushed(
                    pushes[0].at,
                    self.code.written(pushes[0]),
                    of,
                    (Step(call.at, f"`{of}`"), Step(pushes[0].at, "pushes it")),
                )

    def _lines(self) -> dict[Routine, list[tuple[Ref, str]]]:
        """What each function says to git: command lines, and the methods of GitPython in the same words."""
        found: dict[Routine, list[tuple[Ref, str]]] = {}
        for call, row in self.code.calls("execute"):
            said = " ".join(texts(self.code, call)) if row["kind"] == "shell" else ""
            if "git" in said:
                found.setdefault(call.routine, []).append((call, said))
        if rows().get("commit"):
            for call, _ in self.code.calls("commit"):
                last = self.code.written(call).rpartition(".")[2]
                if last in ("add", "commit", "push"):
                    found.setdefault(call.routine, []).append((call, f"git {last} {' '.join(texts(self.code, call))}"))
        for name in ("add", "commit", "push") if found else ():
            for call in self.code.program.calls.get(name, ()):
                known = [one for one, _ in found.get(call.routine, ())]
                written = self.code.written(call)
                if known and call not in known and (written == name or _GITPYTHON.search(f".{written}")):
                    found[call.routine].append((call, f"git {name} {' '.join(texts(self.code, call))}"))
        return found


def pushed(facts: Facts) -> tuple[Pushed, ...]:
    """Every push of models or data."""
    return facts.once("pushed", lambda facts: tuple(Commits(program(facts), starting(facts)).find()))
