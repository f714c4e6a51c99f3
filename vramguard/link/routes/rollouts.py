"""Rollouts by steps, and whether anything aborts them: Argo Rollouts and Flagger.

argoproj/argo-rollouts, docs/features/analysis.md (an expression on no data, NaN and Infinity, failureLimit);
fluxcd/flagger, docs/gitbook/usage/how-it-works.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts.outputs import Step
from vramguard.link.routes.parts import Staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Manifest
    from vramguard.facts.nodes import Node
    from vramguard.link.routes.targets import Targets

_NUMBER: Final = r"[-+]?\d{1,12}(?:\.\d{1,12})?"
_DEFAULT = re.compile(rf"default\(\s*result(?:\[0\])?\s*,\s*({_NUMBER})\s*\)\s*(<=|>=|<|>|==)\s*({_NUMBER})")
_ONE: Final = r"result(?:\[0\])?"
_NO_DATA: Final = rf"(?:result\s*==\s*nil|len\(\s*result\s*\)\s*==\s*0|isNil\(\s*result\s*\)|isNaN\(\s*{_ONE}\s*\))"
_EMPTY = re.compile(rf"{_NO_DATA}\s*\|\||\|\|\s*{_NO_DATA}")
_VECTOR = re.compile(rf"\bor\s+(?:on\s*\([^()]{{0,200}}\)\s*)?vector\(\s*({_NUMBER})\s*\)\s*\)*\s*$")
_RESULT = re.compile(rf"result(?:\[0\])?\s*(<=|>=|<|>|==)\s*({_NUMBER})")
_MAX: Final = 2000


def parts(targets: Targets) -> Iterator[Staging]:
    """Every rollout of a model that nothing aborts, and every analysis that passes without data."""
    cluster = targets.cluster
    for rollout in cluster.of("Rollout", group="argoproj.io"):
        surface = cluster.surface_of(rollout)
        canary = rollout.node.get("spec", "strategy", "canary")
        blue = rollout.node.get("spec", "strategy", "blueGreen")
        if surface and not rollout.guessed and (canary.value is not None or blue.value is not None):
            steps = targets.of_surface(surface).steps
            if canary.value is not None and not _analysed(canary):
                yield Staging(canary.at, rollout.title, "its steps go on without any analysis", open=False, steps=steps)
            elif blue.value is not None and not (blue.get("prePromotionAnalysis") or blue.get("postPromotionAnalysis")):
                yield Staging(blue.at, rollout.title, "it is promoted without any analysis", open=False, steps=steps)
    for flagged in cluster.of("Canary", group="flagger.app"):
        yield from _flagger(targets, flagged)
    if cluster.surfaces:
        for template in cluster.of("AnalysisTemplate", "ClusterAnalysisTemplate"):
            for metric in template.node.get("spec", "metrics").list():
                yield from _metric(template, metric)


def _analysed(canary: Node) -> bool:
    return bool(canary.get("analysis")) or any(
        step.get("analysis") or step.get("experiment", "analyses") for step in canary.get("steps").list()
    )


def _flagger(targets: Targets, canary: Manifest) -> Iterator[Staging]:
    spec = canary.node.get("spec")
    kind, name = spec.get("targetRef", "kind").text, spec.get("targetRef", "name").text
    surfaces = [one for held in targets.cluster.named(canary, kind, name) if (one := targets.cluster.surface_of(held))]
    analysis = spec.get("analysis") or spec.get("canaryAnalysis")
    for surface in surfaces[:1] if not canary.guessed else ():
        steps = targets.of_surface(surface).steps
        if spec.get("skipAnalysis").text == "true":
            yield Staging(spec.get("skipAnalysis").at, canary.title, "skipAnalysis is true", open=False, steps=steps)
        elif not (analysis.get("metrics").value or analysis.get("webhooks").value):
            at = analysis.at if analysis else canary.at
            yield Staging(at, canary.title, "its analysis has no metric", open=False, steps=steps)


def _metric(template: Manifest, metric: Node) -> Iterator[Staging]:
    name = f"{template.title}, `{metric.get('name').text}`"
    condition = metric.get("successCondition")
    text = condition.text[:_MAX]
    query = metric.get("provider", "prometheus", "query")
    if why := _passes(text, query.text[-_MAX:].strip()):
        at = condition.at
        steps = (Step(query.at, "the query"),) if query else ()
        yield Staging(at, name, why, open=True, steps=steps)
    for key in ("failureLimit", "consecutiveErrorLimit", "inconclusiveLimit"):
        if metric.get(key).text == "-1":
            yield Staging(metric.get(key).at, name, f"{key}: -1 lets every failure pass", open=True)


def _passes(condition: str, query: str) -> str:
    """Why a condition holds where there is no data; empty where it does not."""
    if found := _DEFAULT.search(condition):
        return f"`{found[0]}` holds where there is no data" if _holds(found[1], found[2], found[3]) else ""
    if found := _EMPTY.search(condition):
        return f"`{found[0].strip('| ')}` lets it pass where there is no data"
    vector, compared = _VECTOR.search(query), _RESULT.search(condition)
    if vector and compared and _holds(vector[1], compared[1], compared[2]):
        return f"`{vector[0].strip()}` makes a number of no data, and `{compared[0]}` holds for it"
    return ""


def _holds(left: str, operator: str, right: str) -> bool:
    one, other = float(left), float(right)
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other, "==": one == other}[operator]
