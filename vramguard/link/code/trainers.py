"""Trainers of frameworks as a repository sets them up: whether they write weights, and what refuses a NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.saves import Trainer
from vramguard.link.code import program
from vramguard.link.code.constants import UNSET
from vramguard.link.code.finite import Finite
from vramguard.link.code.lightning import UNSEEN, Callback, CommandLines, leaking, writes
from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.link.code.roles import Row, Table
from vramguard.link.code.saved import Saved
from vramguard.link.code.words import tokens
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Facts
    from vramguard.link.code import Code
    from vramguard.link.code.program import Routine

_STOPS: Final = ("should_training_stop", "should_stop", "stop_training", "should_save")
_ABSENT: Final = None
_DEEP: Final = 2  # functions between a fit and a save
_SAVING: Final = frozenset({"save", "saves", "store", "dump", "export", "persist", "write", "pickle"})


@dataclass(frozen=True)
class _Set:
    """A trainer being looked at. `uses`: the methods that are called on it, by their names."""

    call: Ref
    row: Row
    uses: dict[str, Ref]
    callbacks: list[Ref] | None  # the calls that make them; None where nobody can tell


class Trainers:
    """The trainers of a program that let a NaN be saved."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self.finite = Finite(code)
        self.saved = Saved(code, self.finite)
        self._lines = CommandLines(self)
        self._finders = {"transformers": self._transformers, "lightning": self._lightning, "keras": self._keras}

    def leaky(self) -> Iterator[Trainer]:
        """Every trainer that trains, saves and refuses nothing."""
        for call, row in self.code.calls("trainer"):
            line = self._lines.is_one(call)
            find = self._command_line if line else self._finders.get(row["framework"])
            known = any(not path.startswith("?") for path in self.code.meanings.called(call))
            if find is None or not known:
                continue
            value = call if row["fit"] else next(call.to(call.node.inputs[0]).inputs(), call)
            uses = self._uses(value)
            trains = [uses[name] for name in row["fit"] if name in uses]
            if not row["fit"] or trains or line:
                found = find(_Set(call, row, uses, self._callbacks(call, row, uses)))
                if found is not None:
                    yield found

    # The three frameworks.

    def _transformers(self, it: _Set) -> Trainer | None:
        arguments, unknown = self._arguments(it)
        strategy = self.setting(arguments, "save_strategy")
        saves = self._explicit(it)
        if strategy != "no":
            place = arguments[0].at if arguments else it.call.at
            how = (
                "is steps by default"
                if strategy is None
                else "is not in the text"
                if strategy is UNSET
                else f"is {strategy}"
            )
            saves.insert(0, Step(place, f"checkpoints are written: `save_strategy` {how}"))
        best = self.setting(arguments, "load_best_model_at_end") is True and strategy == "best"
        seen = self.setting(arguments, "logging_nan_inf_filter") is False
        if not saves or best or it.callbacks is None or self._refuses(it, logs=seen):
            return None
        leaks = (
            "logs the mean of recent losses where one is NaN (`logging_nan_inf_filter`)" if not seen else "reports NaN"
        )
        return self._trainer(it, f"{leaks} and saves whatever the loss is", saves, unknown)

    def _lightning(self, it: _Set) -> Trainer | None:
        if "**" in it.call.node.keywords or it.callbacks is None:
            return None
        saves = self._explicit(it)
        if writes(self._settings(it.call)):
            saves.insert(0, Step(it.call.at, "it writes checkpoints, as `enable_checkpointing` is not False"))
        if not saves or self.setting([it.call], "detect_anomaly") is True or self._refuses(it, logs=True):
            return None
        leaky = leaking(map(self.callback, it.callbacks))
        return None if leaky is None else self._trainer(it, UNSEEN, [*saves, *leaky])

    def _command_line(self, it: _Set) -> Trainer | None:
        trains = self.setting([it.call], "run") in (_ABSENT, True) or "fit" in it.uses
        found = self._lines.leaking(it.call) if trains and not self._refuses(it, logs=True) else None
        return None if found is None else self._trainer(it, UNSEEN, list(found.steps), found.unknown)

    def _settings(self, call: Ref) -> Callable[[str], object]:
        return lambda name: self.setting([call], name)

    def callback(self, call: Ref) -> Callback:
        """A callback that a call makes."""
        return Callback(call.at, self.code.written(call).rpartition(".")[2], self._settings(call))

    def _keras(self, it: _Set) -> Trainer | None:
        if it.callbacks is None or self._refuses(it, logs=True):
            return None
        if any(self._is(one, "TerminateOnNaN") and self.setting([one], "raise_error") is True for one in it.callbacks):
            return None
        keeps = [one for one in it.callbacks if self._is(one, "ModelCheckpoint")]
        best = [one for one in keeps if self.setting([one], "save_best_only") not in (_ABSENT, False)]
        steps = [Step(one.at, "this writes the weights whatever the loss is") for one in keeps if one not in best]
        steps += [
            Step(one.at, "this writes the weights whatever the loss is")
            for one in it.callbacks
            if self._is(one, "BackupAndRestore")
        ]
        restored = "load_weights" in it.uses or any(
            self._is(one, "EarlyStopping") and self.setting([one], "restore_best_weights") is not None
            for one in it.callbacks
        )
        if not restored:
            steps += self._explicit(it)
        steps += [
            Step(one.at, "this stops, and does not raise: what follows saves")
            for one in it.callbacks
            if steps and self._is(one, "TerminateOnNaN")
        ]
        return self._trainer(it, "goes on with a loss that is NaN, and the weights are saved", steps) if steps else None

    def _trainer(self, it: _Set, leaks: str, steps: list[Step], unknown: str = "") -> Trainer:
        name = self.code.name(it.call.routine)
        written = self.finite.text(it.call.to(it.call.node.inputs[0]), 1)
        trains = [Step(it.uses[one].at, f"`{one}` trains") for one in it.row["fit"] if one in it.uses]
        return Trainer(it.call.at, it.row["framework"], written, name, leaks, (*trains, *steps), unknown)

    # What they are given.

    def _uses(self, value: Ref) -> dict[str, Ref]:
        """The methods that are called on a value, wherever it goes."""
        found: dict[str, Ref] = {}
        for edge in self.code.flow.forward(value).edges:
            user = edge.user
            if user.node.op == "attr" and edge.position == 0:
                found.setdefault(user.node.name, user)
        return found

    def _explicit(self, it: _Set) -> list[Step]:
        """Saves that are asked for, on the trainer or on the model after it trained."""
        names = [*it.row.get("saves", ()), *(() if it.row["fit"] else ("save", "save_weights", "export"))]
        steps = [Step(it.uses[name].at, f"`{name}` writes the weights") for name in names if name in it.uses]
        trains = [it.uses[name] for name in it.row["fit"] if name in it.uses] or [it.call]
        steps += self._saves_after(trains)
        if not steps:
            steps += self._saves_after([call for one in trains for call in self.code.meanings.callers(one.routine)[:8]])
        return list({step.at.line: step for step in reversed(steps)}.values())[::-1]

    def _saves_after(self, places: list[Ref]) -> Iterator[Step]:
        """The saves of weights that follow in the function of each place."""
        for routine in {one.routine for one in places}:
            first = min(one.number for one in places if one.routine is routine)
            for number in routine.all_of("call"):
                call = Ref(routine, number)
                if number > first and self._writes(call, ()):
                    written = self.finite.text(call.to(call.node.inputs[0]), 1)
                    yield Step(call.at, f"`{written}` writes the weights")

    def _writes(self, call: Ref, frames: tuple[Ref, ...]) -> bool:
        """Whether a call writes weights, or is of a function of the repository that writes those it is given."""
        row = self.code.row("save", call)
        if row is not None:
            return self.saved.may_be(call, row) and self.saved.are_weights(call, frames)
        name = call.to(call.node.inputs[0]).node.name.rpartition(".")[2]
        if len(frames) >= _DEEP or not tokens(name) & _SAVING:
            return False
        return any(
            self._writes(Ref(routine, number), (*frames, call))
            for routine in self.code.meanings.routines(call)
            for number in routine.all_of("call")
        )

    def _arguments(self, it: _Set) -> tuple[list[Ref], str]:
        """The calls that make a trainer's arguments; what is not known of them."""
        keyword, position = it.row["arguments_at"]
        given = self._given(it.call, keyword, position)
        if given is None:
            return [], ""
        table = Table([{"call": it.row["arguments"]}])
        made = [
            call
            for call in self.finite.constants.made(given)
            if table.among(self.code.meanings.called(call)) is not None
        ]
        return made, "" if made else "its arguments are not in the text, so their defaults stand"

    def _callbacks(self, call: Ref, row: Row, uses: dict[str, Ref]) -> list[Ref] | None:
        """The calls that make a trainer's callbacks; None where something else may be among them."""
        given = [one for one in (self._given(call, name) for name in row["callbacks_at"]) if one is not None]
        added = [uses[name] for name in row.get("add_callback", ()) if name in uses]
        for attribute in added:
            for user in attribute.routine.users.get(attribute.number, ()):
                given += [attribute.to(number) for number in attribute.routine.function.nodes[user].inputs[1:]]
        found: list[Ref] = []
        for one in given:
            made = self.finite.constants.made(one)
            known = bool(made) or self._is_empty(one) or self._is_class(one)
            if not known or any(self.is_unknown(call) for call in made):
                return None
            found += made
        return found

    def _given(self, call: Ref, keyword: str, position: int = NONE) -> Ref | None:
        """An argument, of a table that is spread too."""
        given = self.code.argument(call, keyword, position)
        if given is None and "**" in call.node.keywords:
            found, _ = self.finite.constants.under(call, keyword)
            given = found[0] if found else None
        return given

    def is_unknown(self, call: Ref) -> bool:
        """Whether nobody can tell what a call makes."""
        paths = self.code.meanings.called(call)
        own = self.code.own_class(call) is not None or bool(self.code.meanings.routines(call))
        return not own and all(path.startswith("?") for path in paths)

    def _is_empty(self, ref: Ref) -> bool:
        """Nothing: None, `[]`, a parameter that is None by default and that nobody gives."""
        node = ref.node
        if node.op in ("or", "join"):
            return all(self._is_empty(one) for one in ref.inputs() if one != ref)
        if node.op == "param":
            return self.finite.constants.of(ref) is None
        return node.op == "const" or (node.op == "items" and not node.inputs)

    def _is_class(self, ref: Ref) -> bool:
        return any(isinstance(one, Own) and one.kind == "class" for one in self.code.meanings.of(ref))

    def setting(self, calls: list[Ref], keyword: str) -> object:
        """The value of a keyword; None where it is absent, UNSET where it is not in the text."""
        for call in calls:
            given = self._given(call, keyword)
            if given is None and "**" in call.node.keywords and not self.finite.constants.under(call, keyword)[1]:
                return UNSET
            if given is not None:
                found = self.finite.constants.of(given)
                if found is UNSET and given.node.op == "attr":
                    return given.node.name.lower()
                return found
        return _ABSENT

    def _is(self, call: Ref, name: str) -> bool:
        return self.code.written(call).rpartition(".")[2] == name

    # What refuses.

    def _refuses(self, it: _Set, *, logs: bool) -> bool:
        """Whether a method of one's own raises for what is not finite. `logs`: whether what is logged can be NaN."""
        owners = [self.code.own_class(it.call), *self._modules(it)]
        for owner in owners:
            if owner is not None and any(self.raises(one) for one in self.methods(owner, it.row["overrides"])):
                return True
        for call in it.callbacks or ():
            owner = self.code.own_class(call)
            hooks = [name for name in it.row["hooks"] if logs or name != "on_log"]
            if owner is not None and any(self.raises(one) for one in self.methods(owner, hooks)):
                return True
        return False

    def _modules(self, it: _Set) -> Iterator[Routine]:
        """The classes of what is trained: of a Lightning module that is fitted, of a model of Keras."""
        values = [next(it.call.to(it.call.node.inputs[0]).inputs(), it.call)] if not it.row["fit"] else []
        for name in it.row["fit"]:
            use = it.uses.get(name)
            for user in use.routine.users.get(use.number, ()) if use is not None else ():
                if use is not None and use.routine.function.nodes[user].op == "call":
                    number = use.routine.function.nodes[user].argument("model", 0)
                    values += [use.to(number)] if number != NONE else []
        for value in values:
            for one in self.code.meanings.of(value):
                if isinstance(one, Own) and one.kind == "instance" and one.routine is not None:
                    yield one.routine

    def methods(self, owner: Routine, names: list[str]) -> Iterator[Routine]:
        """The methods of these names of a class and its bases."""
        for one in self.code.meanings.ancestors(owner):
            yield from (method for method in self.code.program.methods(one) if method.function.name in names)

    def raises(self, method: Routine) -> bool:
        """Whether a method stops training at what is not finite."""
        stops = any(method.function.nodes[number].name in _STOPS for number in method.all_of("store"))
        for routine in self.code.reaches(method, 12):
            if self.finite.refusals(routine) or (stops and any(True for _ in self.finite.answers(routine))):
                return True
        return False


def leaky_trainers(facts: Facts) -> tuple[Trainer, ...]:
    """Every trainer of a framework that trains, saves and refuses no NaN."""
    return facts.once("leaky_trainers", lambda found: tuple(_last(list(Trainers(program(found)).leaky()))))


def _last(found: list[Trainer]) -> Iterator[Trainer]:
    """Of several fits of Keras before one save the last."""
    for one in found:
        places = {step.at for step in one.steps}
        later = (other for other in found if other.at.path == one.at.path and other.at > one.at)
        if one.framework != "keras" or not any(places <= {step.at for step in other.steps} for other in later):
            yield one
