"""Demand 2, at run time: what serves is in evaluation mode and keeps no gradients."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import Launch, PathClass, Word
from vramguard.source.program import PythonModule, TrainingMode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.source import Location

_UNJUDGED: Final = (PathClass.TEST, PathClass.DOCS, PathClass.VENDORED, PathClass.TRAINING)
_CONFIG: Final = "config"
_VARIABLE: Final = re.compile(r"(?:(?:IS_|MODEL_)?TRAINING(?:_MODE)?|DO_TRAIN|TRAIN_MODE)\Z")
_ON: Final = ("1", "true", "yes", "on")
# Kinds of workload that answer requests for as long as they run; a Job may well train.
_SERVING: Final = re.compile(
    r"(?:Deployment|StatefulSet|DaemonSet|ReplicaSet|InferenceService|LLMInferenceService|RayService|Service|Rollout|"
    r"LeaderWorkerSet|NIMService)/"
)
_WORDS: Final = {
    "flag": "`{what}` in a module that serves",
    "train": "`{what}` in a module that serves, and no eval() after it",
    "missing-eval": "`{what}`: a module that is built or unpickled is in training mode until it is told otherwise",
    "missing-inference-mode": "`{what}`: every request keeps the gradients' tensors of its whole forward pass",
    _CONFIG: "`{what}` in the configuration of what serves",
    "variable": "`{what}` in the environment of what serves",
}


@dataclass(frozen=True, slots=True)
class _Found:
    mode: TrainingMode
    evidence: Evidence


@check("training-mode")
@dataclass(frozen=True)
class TrainingModeInServing:
    """What serves must not be in training mode, nor keep gradients; `gradients` weighs the latter.

    A flag in a configuration file counts where a module that serves names the file, or where keys beside it are of
    serving; a variable of the environment where its workload serves. Not judged in the `unjudged` path classes.
    """

    gradients: Severity = Severity.WARNING
    unjudged: tuple[PathClass, ...] = _UNJUDGED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in (*_modes(facts), *_variables(facts)):
            mode = found.mode
            if facts.classify(mode.at.path) in self.unjudged:
                continue
            severity = self.gradients if mode.form == "missing-inference-mode" else None
            values = {"what": _WORDS[mode.form].format(what=mode.what)}
            subject = f"{mode.form} {mode.function} {mode.what}"
            yield Problem(mode.at, values, (found.evidence,), severity, subject=subject)


def _modes(facts: Facts) -> Iterator[_Found]:
    readers = _readers(facts)
    for mode in facts.of(TrainingMode):
        reader = _reader(mode.at.path, readers) if mode.form == _CONFIG else None
        if reader is not None:
            yield _Found(mode, Evidence(reader, "this serves, and its module names the file"))
        elif mode.serving is not None:
            what = (
                "this key beside it is of serving" if mode.form == _CONFIG else "this makes the module one that serves"
            )
            yield _Found(mode, Evidence(mode.serving, what))


def _readers(facts: Facts) -> list[PythonModule]:
    return [module for module in facts.of(PythonModule) if module.serves is not None and module.files]


def _reader(path: str, readers: list[PythonModule]) -> Location | None:
    """The place in a module that serves and names the file: from a folder around it, or bare, for one below its own."""
    for module in readers:
        folder = posixpath.dirname(module.at.path)
        around = [folder]
        while around[-1]:
            around.append(posixpath.dirname(around[-1]))
        below = posixpath.basename(path) in module.files and path.startswith(f"{folder}/" if folder else "")
        if below or any(
            posixpath.normpath(posixpath.join(base, file)) == path for file in module.files for base in around
        ):
            return module.serves
    return None


def _variables(facts: Facts) -> Iterator[_Found]:
    """Flags in the environment of a workload that serves."""
    for launch in facts.of(Launch):
        if not _SERVING.match(launch.name):
            continue
        for name, word in launch.env.items():
            if isinstance(word, Word) and word.known and _VARIABLE.match(name) and word.text.lower() in _ON:
                mode = TrainingMode(word.at, f"{name}={word.text}", "variable", launch.name, launch.at)
                yield _Found(mode, Evidence(launch.at, f"{launch.name} serves"))
