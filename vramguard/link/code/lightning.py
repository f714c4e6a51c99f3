"""Lightning's checkpoints: which callbacks keep what is not finite, those of a configuration in YAML included.

`LightningCLI` makes its trainer of a configuration: callbacks of `trainer_defaults` are added to those of the file
(lightning 2.6.1, pytorch/cli.py, _instantiate_trainer).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.facts.saves import TrainerSettings
from vramguard.facts.values import UNREAD
from vramguard.link.code.constants import literal
from vramguard.link.code.meaning import Own
from vramguard.link.code.program import Ref
from vramguard.source import Location
from vramguard.source.graph import NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.facts.saves import ConfiguredCallback
    from vramguard.link.code.program import Routine
    from vramguard.link.code.trainers import Trainers

UNSEEN: Final = "writes checkpoints that nobody looks at: no callback stops at a loss that is not finite"
_HOOKS: Final = [
    *("on_train_batch_end", "on_before_zero_grad", "on_before_optimizer_step", "on_after_backward"),
    *("on_train_epoch_end", "on_before_backward"),
]
_OFF: Final = ("enable_checkpointing", "checkpoint_callback")


@dataclass(frozen=True)
class Callback:
    """A callback, wherever it is made. `setting`: the value of an argument, None for an absent one."""

    at: Location
    name: str
    setting: Callable[[str], object]

    @property
    def leaks(self) -> bool:
        """Whether a ModelCheckpoint saves more than what is better."""
        last, kept = self.setting("save_last"), self.setting("save_top_k")
        return self.setting("monitor") is None or last not in (None, False) or kept == -1


def configured(found: ConfiguredCallback) -> Callback:
    """A callback of YAML."""
    settings = dict(found.settings)
    return Callback(found.at, found.path.rpartition(".")[2], settings.get)


def leaking(callbacks: Iterable[Callback]) -> tuple[Step, ...] | None:
    """Checkpoints that are kept whatever the loss is; None where something stops at one that is not finite."""
    named = list(callbacks)
    keeps = [one for one in named if one.name == "ModelCheckpoint"]
    finite = any(one.name == "EarlyStopping" and one.setting("check_finite") in (None, True) for one in named)
    leaky = [one for one in keeps if one.leaks]
    if finite and len(keeps) > len(leaky) == 0:
        return None
    return tuple(Step(one.at, "this keeps checkpoints whatever the loss is") for one in leaky)


def writes(setting: Callable[[str], object]) -> bool:
    """Whether a trainer writes checkpoints by itself."""
    return all(setting(name) is not False for name in _OFF) and setting("fast_dev_run") in (None, False, 0)


def _entry(given: Ref | None, key: str) -> Ref | None:
    """What a table of the program has under a key."""
    if given is None or given.node.op != "table":
        return None
    pairs = zip(given.node.inputs[::2], given.node.inputs[1::2], strict=True)
    return next(
        (given.to(held) for one, held in pairs if one != NONE and literal(given.to(one).node.name) == key), None
    )


def _near(facts: Facts, path: str) -> list[TrainerSettings]:
    """The configurations that a command line may be run with: those below its folder or of its name, else all."""
    found = [one for one in facts.of(TrainerSettings) if facts.classify(one.at.path) not in UNREAD]
    folder, base = posixpath.split(path)
    near = [one for one in found if folder and one.at.path.startswith(f"{folder}/")]
    stem = base.removesuffix(".py")
    named = [one for one in found if stem in posixpath.basename(one.at.path)]
    return near or named or found


@dataclass(frozen=True)
class Leak:
    """What a command line trains with and lets through. `unknown`: what of it is not in the text."""

    steps: tuple[Step, ...]
    unknown: str = ""


class CommandLines:
    """The calls of `LightningCLI`, and of one's own classes below it."""

    def __init__(self, trainers: Trainers) -> None:
        self.trainers = trainers
        self.code = trainers.code

    def is_one(self, call: Ref) -> bool:
        """Whether a call makes a trainer of a configuration."""
        return any(path.endswith("LightningCLI") for path in self.code.meanings.called(call))

    def leaking(self, call: Ref) -> Leak | None:
        """The first configuration with which nothing stops at a loss that is not finite; without any the defaults."""
        if "**" in call.node.keywords or self._is_guarded(call):
            return None
        given = self.code.argument(call, "trainer_defaults")
        held = _entry(given, "callbacks")
        made = self.trainers.finite.constants.made(held) if held is not None else []
        unknown = (given is not None and given.node.op != "table") or (held is not None and not made)
        if unknown or any(map(self.trainers.is_unknown, made)) or self._raise(made):
            return None
        added = [self.trainers.callback(one) for one in made]
        files = _near(self.code.facts, call.at.path)
        if not files:
            return self._leak(call, given, added, None)
        return next((leak for one in files if (leak := self._leak(call, given, added, one)) is not None), None)

    def _leak(self, call: Ref, given: Ref | None, added: list[Callback], file: TrainerSettings | None) -> Leak | None:
        own = file.callbacks if file is not None else ()
        settings = dict(file.settings) if file is not None else {}

        def setting(name: str) -> object:
            default = _entry(given, name)
            constant = self.trainers.finite.constants.of(default) if default is not None else None
            return settings.get(name, constant)

        callbacks = [*added, *map(configured, own)]
        leaky = leaking(callbacks)
        keeps = writes(setting) or any(one.name == "ModelCheckpoint" for one in callbacks)
        stops = setting("detect_anomaly") is True or any(map(self._stops, own))
        if leaky is None or not keeps or stops:
            return None
        if file is None:
            first = Step(call.at, "it writes checkpoints, as `enable_checkpointing` is not False")
            return Leak((first, *leaky), "its configuration is not in the text, so the defaults stand")
        return Leak((Step(file.at, "with this trainer it writes checkpoints"), *leaky))

    def _is_guarded(self, call: Ref) -> bool:
        """Whether a class of one's own adds callbacks that may stop: to the command line, or to what it trains."""
        owner = self.code.own_class(call)
        for method in self.trainers.methods(owner, ["add_arguments_to_parser"]) if owner is not None else ():
            calls = (Ref(method, number) for number in method.all_of("call"))
            added = (one for one in calls if self.code.written(one).endswith("add_lightning_class_args"))
            if any(self.code.written(one.to(one.node.inputs[1])).endswith("EarlyStopping") for one in added):
                return True
        hooks = ["configure_callbacks"]
        return any(any(True for _ in self.trainers.methods(one, hooks)) for one in self._trained(call)) or any(
            self.trainers.raises(method)
            for one in self._trained(call)
            for method in self.trainers.methods(one, ["training_step", "on_before_optimizer_step", "on_after_backward"])
        )

    def _trained(self, call: Ref) -> Iterator[Routine]:
        """The classes of the repository that a command line is given."""
        for number in call.node.inputs[1:3]:
            for one in self.code.meanings.of(call.to(number)):
                if isinstance(one, Own) and one.kind == "class" and one.routine is not None:
                    yield one.routine

    def _raise(self, made: list[Ref]) -> bool:
        return any(owner is not None and self._hooks_raise(owner) for owner in map(self.code.own_class, made))

    def _stops(self, found: ConfiguredCallback) -> bool:
        """Whether a callback of one's own, known by its path in YAML, raises."""
        base, _, name = found.path.rpartition(".")
        file = base.replace(".", "/") + ".py"
        for path, module in list(self.code.program.modules.items()) if base else ():
            if f"/{path}".endswith(f"/{file}"):
                classes = [n for n, one in enumerate(module.functions) if (one.kind, one.name) == ("class", name)]
                return any(self._hooks_raise(self.code.program.routine(module, number)) for number in classes)
        return False

    def _hooks_raise(self, owner: Routine) -> bool:
        return any(map(self.trainers.raises, self.trainers.methods(owner, _HOOKS)))
