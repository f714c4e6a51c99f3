"""Demand 5: humans review the weights, and humans trigger the deployment; as Python code shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import SHOWN, evidence
from vramguard.facts import PathClass
from vramguard.facts.values import UNREAD
from vramguard.link.code.commits import pushed
from vramguard.link.code.comparators import comparators
from vramguard.link.code.promotions import promotions
from vramguard.link.code.triggers import triggers
from vramguard.link.code.weights import fetched_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.retraining import Promotion, RetrainTrigger
    from vramguard.source import Location

_HOW: Final = {
    "clock": "by the clock",
    "loop": "in a loop that never ends",
    "event": "at each event",
    "score": "when a score says so",
}
_FAULTS: Final = {
    "absent": "there is no model in use to compare with",
    "error": "the comparison itself fails",
    "equal": "both are equal",
    "nan": "a score is NaN",
}
_PREPARING: Final = ("tokenizer", "processor", "feature_extractor", "image_processor")


def severity(facts: Facts, at: Location, warnings: tuple[PathClass, ...], *, weak: bool = False) -> Severity | None:
    """A warning in examples, in documentation, in notebooks, and where names are all there is."""
    lighter = weak or facts.classify(at.path) in warnings or at.path.endswith(".ipynb")
    return Severity.WARNING if lighter else None


def judged(facts: Facts, at: Location) -> bool:
    """Whether a path is the repository's own, and no test."""
    return facts.classify(at.path) not in UNREAD


@check("autonomous-training")
@dataclass(frozen=True)
class AutonomousTraining:
    """Something starts training, and nobody is asked before its result can be loaded.

    `kinds`: clock, loop, event, score. What a person asks for (a command, a flag, an endpoint for training), and the
    first training of a model that is not there yet, are no triggers.
    """

    kinds: tuple[str, ...] = ("clock", "loop")
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in triggers(facts):
            if one.kind in self.kinds and one.gate is None and judged(facts, one.at):
                yield self._problem(facts, one)

    def _problem(self, facts: Facts, one: RetrainTrigger) -> Problem:
        act = one.steps[-1].at
        values = {
            "what": one.what,
            "starts": one.starts,
            "how": _HOW[one.kind],
            "where": f"{act.path}, line {act.line}",
        }
        weighs = severity(facts, one.at, self.warnings, weak=not one.sure)
        return Problem(one.at, values, evidence(one.steps), weighs, subject=f"{one.what} {one.starts}")


@check("auto-promotion")
@dataclass(frozen=True)
class AutoPromotion:
    """A model becomes the one in use in the same go that trained it.

    `kinds`: alias, stage, approval, copy, deploy, push, register (a version of what is loaded as the latest), replace
    (weights in a bucket that others fetch), reload (the server's own). Those of `weaker` are warnings. A script that a
    person runs to promote is silent, and so is what only a person's flag turns on.
    """

    kinds: tuple[str, ...] = (
        *("alias", "stage", "approval", "copy", "deploy", "push"),
        *("register", "replace", "reload"),
    )
    weaker: tuple[str, ...] = ("push", "deploy", "replace", "reload")
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        pushes = set[tuple[str, str]]()
        for one in promotions(facts):
            if one.kind not in self.kinds or not one.by or one.gate is not None or one.serving is not True:
                continue
            if not judged(facts, one.at) or self._is_aside(one):
                continue
            if one.kind == "push":  # weights, tokenizer and card go up one after another; an example says it once
                light = facts.classify(one.at.path) in self.warnings
                key = one.at.path, "" if light else one.function
                if key in pushes:
                    continue
                pushes.add(key)
            yield self._problem(facts, one)

    @staticmethod
    def _is_aside(one: Promotion) -> bool:
        """What is no model's; what a person's own cell uploads: that person is there, and nothing serves it yet."""
        base = one.what.rpartition(".")[0].rpartition(".")[2]
        by_hand = one.kind in ("deploy", "push") and one.at.path.endswith(".ipynb")
        return base in _PREPARING or "dataset" in base or by_hand

    def _problem(self, facts: Facts, one: Promotion) -> Problem:
        how = "right after training" if one.by == "chain" else "as a step of a pipeline"
        values = {"what": one.what, "target": f" as {one.target}" if one.target else "", "how": how}
        weighs = severity(facts, one.at, self.warnings, weak=one.kind in self.weaker)
        return Problem(one.at, values, evidence(one.steps), weighs, subject=f"{one.function} {one.what}")


@check("promotion-fails-open")
@dataclass(frozen=True)
class PromotionFailsOpen:
    """What compares a new model with the one in use lets one through that was not shown to be better.

    `faults` that count: absent, error, equal, nan.
    """

    faults: tuple[str, ...] = ("absent", "error", "equal", "nan")
    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in comparators(facts):
            found = [_FAULTS[fault] for fault in one.faults if fault in self.faults]
            if found and judged(facts, one.at):
                values = {"what": one.what, "promotes": one.promotes, "when": ", and where ".join(found)}
                weighs = severity(facts, one.at, self.warnings)
                yield Problem(one.at, values, evidence(one.steps), weighs, subject=f"{one.what} {one.promotes}")


@check("bot-commits-model")
@dataclass(frozen=True)
class BotCommitsModel:
    """A program writes models or data to a branch of a repository; no branch of its own, no request for a review."""

    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in pushed(facts):
            if judged(facts, one.at):
                values = {"what": one.what, "of": one.of}
                yield Problem(
                    one.at, values, evidence(one.steps), severity(facts, one.at, self.warnings), subject=one.of
                )


@check("weights-without-digest")
@dataclass(frozen=True)
class WeightsWithoutDigest:
    """Weights come over the network and are loaded, and nobody compares their digest on the way."""

    warnings: tuple[PathClass, ...] = SHOWN

    def find(self, facts: Facts) -> Iterator[Problem]:
        for one in fetched_weights(facts):
            if one.digest is None and judged(facts, one.at):
                runs = "; loading them runs the code that they hold" if one.runs else ""
                values = {"fetch": one.fetch, "load": one.load, "runs": runs}
                weighs = severity(facts, one.at, self.warnings, weak=not one.runs)
                yield Problem(one.at, values, evidence(one.steps), weighs, subject=f"{one.fetch} {one.load}")
