"""Where weights are trained and written, and what looks at them first."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.facts.outputs import Step
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class FiniteCheck:
    """A look at whether a loss, a gradient or the weights are finite.

    `flaw` says why it refuses nothing; empty for one that does.
    """

    at: Location
    what: str  # as written: `torch.isnan(loss)`
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Save:
    """A call that writes weights, or pushes them to where others load them.

    `steps` lead from the loop to it; `checks` are those that bear on it.
    """

    at: Location
    call: str
    function: str
    steps: tuple[Step, ...] = ()
    checks: tuple[FiniteCheck, ...] = ()

    @property
    def guarded(self) -> bool:
        """Whether weights that are not finite are refused before they are written."""
        return any(not check.flaw for check in self.checks)


@dataclass(frozen=True, slots=True)
class TrainingLoop:
    """A hand-written loop that changes weights, and the saves that it comes to. `step`: the call that changes them."""

    at: Location
    function: str
    step: str
    step_at: Location
    saves: tuple[Save, ...] = ()


@dataclass(frozen=True, slots=True)
class Trainer:
    """A framework's own loop, as the repository sets it up, where it writes weights.

    `leaks` says what its settings let through; empty where they refuse weights that are not finite. `steps`: what makes
    it save, and the settings that were meant to guard. `unknown`: arguments that are not in the text.
    """

    at: Location
    framework: str
    call: str
    function: str
    leaks: str
    steps: tuple[Step, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredCallback:
    """A callback of a trainer as YAML makes it. `settings`: its plain arguments, by name."""

    at: Location
    path: str  # of the class: `lightning.pytorch.callbacks.ModelCheckpoint`
    settings: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """The `trainer:` of a configuration that Lightning's command line reads. `settings`: its plain values, by name."""

    at: Location
    settings: tuple[tuple[str, object], ...]
    callbacks: tuple[ConfiguredCallback, ...] = ()
