"""How a model becomes the one in use: promotions, what runs them, and comparators that let through what is not better.

A promotion runs without a person where one function leads first to training and then to it, or where it is a step of
a pipeline and a comparison decides. A flag that a person sets, or a question, on the way makes it a person's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.retraining import Promotion
from vramguard.link.code import program
from vramguard.link.code.constants import Constants
from vramguard.link.code.newest import Newest
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Row, Table
from vramguard.link.code.triggers import starting
from vramguard.link.code.words import text, texts, tokens, values
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine
    from vramguard.link.code.starts import Start, Starts
    from vramguard.source import Location

_DEEP: Final = 6  # calls above a promotion
_STEPS: Final = Table([{"call": [
    "zenml.**step", "zenml.**step()", "dagster.{op,asset}", "dagster.{op,asset}()", "airflow.**.task",
    "airflow.**.task()", "kfp.**component", "kfp.**component()", "metaflow.step",
]}])  # fmt: skip
_MODEL: Final = re.compile(
    r"model|weight|checkpoint|ckpt|candidate|champion|\.(pt|pth|pkl|pickle|joblib|onnx|h5|keras|safetensors|bin|ubj|cbm|gguf|mar)\b",
    re.IGNORECASE,
)

_BACK: Final = re.compile(r"roll_?back|revert", re.IGNORECASE)


@dataclass(frozen=True)
class Promoting:
    """A promotion as a place of the program, with what it sets: `serving` None where nobody can tell."""

    call: Ref
    row: Row
    target: str
    serving: bool | None


@dataclass(frozen=True)
class Above:
    """A way up from a promotion: the calls that lead to it, the nearest first."""

    calls: tuple[Ref, ...]

    @property
    def top(self) -> Ref:
        """The uppermost call."""
        return self.calls[-1]


class Promotions:
    """The promotions of a program."""

    def __init__(self, code: Code, starts: Starts) -> None:
        self.code = code
        self.starts = starts
        self.constants = Constants(code)
        self.newest = Newest(code)

    def all(self) -> Iterator[Promoting]:
        """Every call that promotes, or would if its argument said so."""
        for call, row in self.code.calls("promote"):
            if self._is_unless(call, row) or self._takes_back(call):
                continue
            if row.get("registers"):
                name = self.newest.registered(call, row)
                if name:
                    yield Promoting(call, row, f"models:/{name}/latest", True)
                continue
            target, serving = self._target(call, row)
            if row["kind"] == "push" and self._is_of_files(call):
                continue
            if serving is not True and row["kind"] == "copy" and self.newest.replaces(call):
                yield Promoting(call, {**row, "kind": "replace"}, "", True)
            elif not row.get("weak") or self._is_model(call):
                yield Promoting(call, row, target, serving)
        for call in self.newest.reloads():
            yield Promoting(call, {"kind": "reload"}, "", True)

    def known(self) -> Iterator[Promoting]:
        """Those of them that more than names tell."""
        return (one for one in self.all() if one.row["kind"] not in ("replace", "reload"))

    def find(self) -> Iterator[Promotion]:
        """Promotions as facts, each with how it comes to run."""
        for one in self.all():
            if one.serving is False:
                continue
            by, steps, gate = self._by(one)
            kind, function = str(one.row["kind"]), self.code.name(one.call.routine)
            yield Promotion(
                one.call.at, kind, self.code.written(one.call), function, one.target, one.serving, by, steps, gate
            )

    # ---- what it sets

    def _is_unless(self, call: Ref, row: Row) -> bool:
        unless = row.get("unless")
        found = None if unless is None else self._argument(call, unless["arguments"])
        return unless is not None and found is not None and found.node.name == str(unless["is"][0]).capitalize()

    def _takes_back(self, call: Ref) -> bool:
        """Whether it is the way back to a model that has served before, by the name of what does it."""
        return _BACK.search(f"{call.at.path.rpartition('/')[2]} {self.code.name(call.routine)}") is not None

    def _is_of_files(self, call: Ref) -> bool:
        """Whether files are uploaded of which no name says that they are a model's: an application, a card."""
        sent = (
            self._argument(call, ["folder_path", "path_or_fileobj"]) if "upload_" in self.code.written(call) else None
        )
        return sent is not None and not self._is_named_model(sent)

    def _argument(self, call: Ref, words: list[object]) -> Ref | None:
        return next(self._arguments(call, words), None)

    @staticmethod
    def _arguments(call: Ref, words: list[object]) -> Iterator[Ref]:
        for word in words:
            number = call.node.argument("-", word) if isinstance(word, int) else call.node.argument(str(word))
            if number != NONE:
                yield call.to(number)

    def _target(self, call: Ref, row: Row) -> tuple[str, bool | None]:
        when = row.get("when")
        if when is None:
            return "", True
        given = list(self._arguments(call, when["arguments"]))
        if not given:
            return "", True if when.get("default") else None
        said = [text for ref in given for text in self._said(ref)]
        wanted = [str(one).lower() for one in when.get("is", ())]
        words = {word for ref in given for word in tokens(self._named(ref))}
        said += [one for one in wanted if one in words]  # `ModelStages.PRODUCTION`, `settings.champion_alias`
        for one in said:
            low = one.lower()
            if (
                low in wanted
                or low.rpartition(".")[2] in wanted
                or any(fnmatchcase(low, p) for p in when.get("matches", ()))
            ):
                return one, True
        if not said:
            return "", None
        return said[0], False

    def _named(self, ref: Ref) -> str:
        """What an attribute, or a key, is called."""
        if ref.node.op == "item":
            return text(ref.to(ref.node.inputs[1]).node)
        return self.code.written(ref) if ref.node.op == "attr" else ""

    def _said(self, ref: Ref) -> Iterator[str]:
        """The values of an argument: strings, `ModelStages.PRODUCTION`, those of a list, what a function answers."""
        for one in values(self.code, ref):
            chosen = [text for _, text in self.answers(one)]
            if chosen:
                yield from chosen
            elif one.node.op == "const":
                yield text(one.node) or one.node.name
            elif one.node.op in ("items", "format", "binary", "call"):
                yield from texts(self.code, one)
            elif one.node.op == "attr" and isinstance(said := self.constants.of(one), str):
                yield said  # a field of a class of settings

    def answers(self, ref: Ref) -> Iterator[tuple[Ref, str]]:
        """The strings that a function chooses from, each with its `return`: `alias, why = decide()`."""
        call = ref.to(ref.node.inputs[0]) if ref.node.op == "part" else ref
        if call.node.op != "call":
            return
        for routine in self.code.meanings.routines(call):
            for number in routine.all_of("return") if routine.function.kind == "function" else ():
                given = next(Ref(routine, number).inputs(), None)
                if given is not None and ref.node.op == "part" and given.node.op == "items":
                    place = int(ref.node.name) if ref.node.name.isdigit() else NONE
                    given = given.to(given.node.inputs[place]) if 0 <= place < len(given.node.inputs) else None
                if given is not None and text(given.node):
                    yield Ref(routine, number), text(given.node)

    def choices(self, one: Promoting) -> Iterator[Ref]:
        """Where a promotion's target is chosen, if it is the one in use: the `return` of a function, or what stands
        in one branch of the same.
        """
        when = one.row.get("when", {})
        wanted = [str(word).lower() for word in when.get("is", ())]
        for given in self._arguments(one.call, when.get("arguments", ())):
            for ref in values(self.code, given):
                yield from (answer for answer, said in self.answers(ref) if said.lower() in wanted)
                if given.node.op == "join" and ref.routine is given.routine and text(ref.node).lower() in wanted:
                    yield ref

    def _is_model(self, call: Ref) -> bool:
        """Whether what is copied is a model's, as names and paths say."""
        return any(self._is_named_model(call.to(number)) for number in call.node.inputs[1:])

    def _is_named_model(self, ref: Ref) -> bool:
        return any(_MODEL.search(word) for word in (*texts(self.code, ref), self.code.written(ref)))

    # ---- how it comes to run

    def _by(self, one: Promoting) -> tuple[str, tuple[Step, ...], Location | None]:
        """Chain or step, with the evidence; empty where a person runs it."""
        for above in self.above(one.call):
            by_hand = above.top.routine.module.notebook and len(above.calls) > 1  # cells that a person runs
            start = None if by_hand else self._trained_before(above)
            if start is not None and not self.is_flagged(above, start):
                routines = [call.routine for call in above.calls]
                gate = next(
                    (found for routine in routines if (found := self.starts.conditions.gate(routine)) is not None), None
                )
                steps = (*self.starts.steps(self.starts.chain(start)), *self._down(above, one))
                return "chain", steps, gate.at if gate is not None else None
        if (
            one.row["kind"] in ("alias", "stage", "approval")
            and self._is_step(one.call.routine)
            and self._is_decided(one.call)
        ):
            return (
                "step",
                (Step(one.call.at, f"`{self.code.name(one.call.routine)}` is a step of a pipeline, and decides"),),
                None,
            )
        if "RegisterModel" in self.code.written(one.call):
            return "step", (Step(one.call.at, "a step of a pipeline registers each model as approved"),), None
        return "", (), None

    def above(self, call: Ref) -> Iterator[Above]:
        """The ways up from a call, breadth first; itself alone first."""
        pending = [Above((call,))]
        seen = {call.routine}
        for one in pending:
            yield one
            if len(one.calls) > _DEEP:
                continue
            for caller in self.starts.callers(one.top.routine):
                if caller.routine not in seen and len(seen) < 60:  # noqa: PLR2004 - functions above one promotion
                    seen.add(caller.routine)
                    pending.append(Above((*one.calls, caller)))

    def _trained_before(self, above: Above) -> Start | None:
        """A call that starts training, before the way to the promotion in the same function."""
        top = above.top
        for start in self.starts.by.get(top.routine, ()):
            if start.call.number < top.number and self._together(start.call, top):
                return start
        return None

    @staticmethod
    def _together(first: Ref, second: Ref) -> bool:
        """Whether both may run in one go: not in an `if` and its `else`."""
        blocks = first.routine.function.blocks
        ours, theirs = (first.routine.blocks[ref.node.block] for ref in (first, second))
        for one in ours:
            for two in theirs:
                same = blocks[one].test == blocks[two].test != NONE and blocks[one].kind in ("if", "else")
                if same and blocks[one].holds is not blocks[two].holds:
                    return False
        return True

    def is_flagged(self, above: Above, start: Start | None = None) -> bool:
        """Whether a person's flag stands on the way: `if args.push_to_hub:`.

        A parameter that callers set does not count, nor a flag without which nothing is trained either.
        """
        shared = {condition.test for condition in self.code.guards.around(start.call)} if start is not None else set()
        for number, call in enumerate(above.calls):
            for condition, kind in self.starts.conditions.around(call):
                if kind in ("flag", "gate") and condition.test not in shared:
                    return True
            caller = above.calls[number + 1] if number + 1 < len(above.calls) else None
            if self._is_left_open(call, caller):
                return True
        return False

    def _is_left_open(self, call: Ref, caller: Ref | None) -> bool:
        """`if push_to_hub:` of a parameter that nobody who calls sets to true for good."""
        for condition in self.code.guards.around(call):
            tests = (
                [condition.test, *condition.test.inputs()]
                if condition.test.node.op in ("and", "or")
                else [condition.test]
            )
            for test in tests:
                if test.node.op == "param" and not self._is_on(caller, call.routine, test.node.name):
                    return True
        return False

    def _is_on(self, caller: Ref | None, routine: Routine, name: str) -> bool:
        """Whether a parameter is on: true where it is called, or by itself; anything where it is none by itself."""
        method = self.code.program.parent(routine).function.kind == "class"
        position, default = next(
            (
                (number - method, one.default)
                for number, one in enumerate(routine.function.parameters)
                if one.name == name
            ),
            (0, NONE),
        )
        by_itself = self.code.program.parent(routine).function.nodes[default].name if default != NONE else ""
        given = self.code.argument(caller, name, position) if caller is not None else None
        if given is None:
            return by_itself not in ("", "False", "None", "''", '""')
        if given.node.name in ("False", "None"):
            return False
        return given.node.op == "const" or by_itself == "None"

    def _is_decided(self, call: Ref) -> bool:
        """Whether a condition, or a lookup that failed, decides on a promotion."""
        kinds = {call.routine.function.blocks[number].kind for number in call.routine.blocks[call.node.block]}
        return bool(kinds & {"if", "else", "except"})

    def _is_step(self, routine: Routine) -> bool:
        return any(_STEPS.among(paths) is not None for _, paths in self.code.decorators(routine))

    def _down(self, above: Above, one: Promoting) -> Iterator[Step]:
        for call, into in zip(above.calls[:0:-1], above.calls[-2::-1], strict=True):
            yield Step(call.at, f"`{self.code.written(call)}(…)` runs `{self.code.name(into.routine)}`")
        target = f" ({one.target})" if one.target else ""
        yield Step(one.call.at, f"`{self.code.written(one.call)}(…)` makes it the model in use{target}")


def promotions(facts: Facts) -> tuple[Promotion, ...]:
    """Every promotion of a repository."""
    return facts.once("promotions", lambda facts: tuple(Promotions(program(facts), starting(facts)).find()))


__all__ = ["Above", "Promoting", "Promotions", "promotions"]
