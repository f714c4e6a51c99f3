"""Demand 3: what a model answers reaches people through a layer that can refuse it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import evidence
from vramguard.facts import PathClass
from vramguard.facts.fields import NumberField, SchemaClass
from vramguard.facts.values import UNREAD
from vramguard.link.code.masked import masked
from vramguard.link.code.outputs import REFUSING, exposures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts
    from vramguard.facts.outputs import Exposure, Layer
    from vramguard.source import Location

_NUMBERS: Final = ("number", "any")
_RECORDS: Final = ("cache", "database", "queue")
_ASKED: Final = {
    "number": "a number",
    "any": "a number or a label",
    "label": "a label",
    "text": "text",
    "vector": "a vector",
    "media": "an image or sound",
}


def refusing(exposure: Exposure) -> list[Layer]:
    """The layers that can refuse the answer."""
    return [layer for layer in exposure.layers if layer.kind in REFUSING]


def judged(facts: Facts, classes: tuple[PathClass, ...]) -> Iterator[tuple[Exposure, bool]]:
    """The ways of answers to people, and whether the path's class weighs them as warnings."""
    for exposure in exposures(facts):
        found = facts.classify(exposure.at.path)
        if found not in UNREAD:
            yield exposure, found in classes or exposure.at.path.endswith(".ipynb")


@check("unvalidated-output")
@dataclass(frozen=True)
class UnvalidatedOutput:
    """A model's answer goes to people, and nothing on the way can refuse it.

    `kinds` of answers are judged; those of `weaker` as warnings, and so are paths of the classes of `warnings`. Where a
    declared model of the response is what is lacking, the rule on its fields speaks instead.
    """

    kinds: tuple[str, ...] = ("number", "any", "label", "text", "media", "vector")
    weaker: tuple[str, ...] = ("label", "text", "media", "vector")
    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)
    stream: bool = False

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[object]()
        asked = self._asked(facts)
        for exposure, weak in judged(facts, self.warnings):
            if exposure.output.kind not in self.kinds or exposure.stream is not self.stream or refusing(exposure):
                continue
            if exposure.sink.kind in _RECORDS and exposure.at in asked:
                continue
            if exposure.output.kind in _NUMBERS and self._is_declared(exposure, facts):
                continue
            key = exposure.at, exposure.sink.name if exposure.sink.framework else ""
            if key in seen:
                continue
            seen.add(key)
            weaker = weak or exposure.output.kind in self.weaker or exposure.output.weak
            yield self._problem(exposure, Severity.WARNING if weaker else None)

    @staticmethod
    def _asked(facts: Facts) -> frozenset[Location]:
        """The answers that go to people through handlers which ask them: what is kept beside is a record of that."""
        handed = [one for one in exposures(facts) if one.sink.framework]
        open_ = {one.at for one in handed if not refusing(one) and all(layer.kind != "model" for layer in one.layers)}
        return frozenset(one.at for one in handed if one.at not in open_)

    @staticmethod
    def _is_declared(exposure: Exposure, facts: Facts) -> bool:
        """Whether a declared model holds the answer, of whose fields another rule speaks: not where it is put into a
        cache or a queue, which no handler declares, and any number is let through.
        """
        models = {layer.what for layer in exposure.layers if layer.kind == "model"}
        if exposure.sink.kind not in ("cache", "queue"):
            return bool(models)
        asked = [one for one in facts.of(NumberField) if one.model in models and one.kind != "int"]
        asks = [one for one in facts.of(SchemaClass) if one.name in models and (one.finite is not None or one.guards)]
        plain = [one for one in asked if one.finite is None and not (one.lower or one.upper or one.guards)]
        return bool(models) and (bool(asks) or not asked or plain != asked)

    @staticmethod
    def _problem(exposure: Exposure, severity: Severity | None) -> Problem:
        sink = exposure.sink
        near = [layer for layer in exposure.layers if layer.kind in ("confidence", "truth", "type")]
        values = {
            "call": exposure.output.call,
            "asked": _ASKED[exposure.output.kind],
            "sink": f"`{sink.name}`" + (f" ({sink.framework})" if sink.framework else f" ({sink.kind})"),
            "near": _near(near),
        }
        subject = f"{exposure.output.function} {exposure.output.call} {sink.name}"
        return Problem(exposure.at, values, evidence(exposure.steps), severity, subject=subject)


def _near(layers: list[Layer]) -> str:
    if not layers:
        return ""
    what = {
        "confidence": "a threshold on the model's own confidence",
        "truth": "a test for emptiness",
        "type": "a test of its type",
    }
    return f"; {what[layers[0].kind]} (line {layers[0].at.line}) is no validation"


@check("leaky-guard")
@dataclass(frozen=True)
class LeakyGuard:
    """A number's guards all let NaN pass: every comparison with NaN is false, and `"NaN" in str(x)` never matches."""

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[object]()
        for exposure, weak in judged(facts, self.warnings):
            layers = refusing(exposure)
            numeric = [layer for layer in layers if layer.kind in ("bounds", "finite") or _spells_nan(layer)]
            if (
                exposure.output.kind == "text"
                or not numeric
                or any("nan" in layer.excludes for layer in exposure.layers)
            ):
                continue
            if any(layer.kind in ("schema", "member") for layer in exposure.layers) or _is_modelled(exposure, facts):
                continue
            guard = numeric[0]
            if guard.at in seen:
                continue
            seen.add(guard.at)
            values = {"guard": guard.what, "call": exposure.output.call, "sink": exposure.sink.name}
            yield Problem(
                guard.at, values, evidence(exposure.steps), Severity.WARNING if weak else None, subject=guard.what
            )


def _is_modelled(exposure: Exposure, facts: Facts) -> bool:
    """Whether a declared model may refuse the number: not one that takes any under the names that it goes by."""
    models = {layer.what for layer in exposure.layers if layer.kind == "model"}
    asked = [one for one in facts.of(NumberField) if one.model in models and one.name in exposure.fields]
    return bool(models) and not (asked and all(map(_is_plain, asked)))


def _is_plain(field: NumberField) -> bool:
    return field.kind == "float" and field.finite is None and not (field.lower or field.upper or field.guards)


def _spells_nan(layer: Layer) -> bool:
    return layer.kind == "text" and re.search("nan", layer.what, re.IGNORECASE) is not None


@check("masked-nan")
@dataclass(frozen=True)
class MaskedNan:
    """A bad value is made a good one on its way to people: NaN becomes 0.0, an exception becomes an empty answer."""

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[object]()
        for exposure, weak in judged(facts, self.warnings):
            for layer in exposure.layers:
                if layer.kind == "mask" and layer.at not in seen and exposure.output.kind != "text":
                    seen.add(layer.at)
                    values = {"mask": layer.what, "call": exposure.output.call, "sink": exposure.sink.name}
                    severity = Severity.WARNING if weak else None
                    yield Problem(layer.at, values, evidence(exposure.steps), severity, subject=layer.what)
        for exposure in masked(facts):
            layer = exposure.layers[0]
            if layer.at not in seen and facts.classify(layer.at.path) not in UNREAD:
                seen.add(layer.at)
                values = {"mask": layer.what, "call": exposure.output.call, "sink": exposure.sink.name}
                yield Problem(layer.at, values, evidence(exposure.steps), Severity.WARNING, subject=layer.what)


@check("assert-as-validator")
@dataclass(frozen=True)
class AssertAsValidator:
    """All that can refuse an answer is an `assert`, which `python -O` leaves out."""

    warnings: tuple[PathClass, ...] = (PathClass.EXAMPLE, PathClass.DOCS)

    def find(self, facts: Facts) -> Iterator[Problem]:
        seen = set[object]()
        for exposure, _ in judged(facts, self.warnings):
            layers = refusing(exposure)
            if not layers or any(layer.form != "assert" for layer in layers):
                continue
            if layers[0].at not in seen:
                seen.add(layers[0].at)
                values = {"guard": layers[0].what, "call": exposure.output.call, "sink": exposure.sink.name}
                yield Problem(layers[0].at, values, evidence(exposure.steps), subject=layers[0].what)
