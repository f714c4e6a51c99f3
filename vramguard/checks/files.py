"""The tool's own checks: files that could not be judged, and files that say two things."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import DuplicateKey, HelmUnrendered, PathClass
from vramguard.link.judging import UNSERVED, not_judged
from vramguard.source import Unreadable
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts


@check("unreadable-file")
@dataclass(frozen=True)
class UnreadableFile:
    """A file of a kind that we judge must be readable; in the `lenient` path classes it is a note."""

    lenient: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(Unreadable):
            if not fact.template:
                severity = Severity.NOTE if facts.classify(fact.at.path) in self.lenient else None
                yield Problem(fact.at, {"reason": fact.reason}, severity=severity)


@check("template")
@dataclass(frozen=True)
class Template:
    """What a renderer has to fill in first: files that do not parse as they stand, and deployments with such a value.

    One problem for each file, which counts its deployments; those in the path classes `unjudged` are none.
    """

    unjudged: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(Unreadable):
            if fact.template:
                yield Problem(fact.at, {"what": "a template, not judged: a renderer has to fill it in first"})
        for failed in facts.of(HelmUnrendered):
            yield Problem(failed.at, {"what": f"a chart that is not rendered, and so not judged: {failed.reason}"})
        for _, found in groupby(not_judged(facts, frozenset(self.unjudged)), key=lambda pair: pair[0].at.path):
            yield _not_judged(list(found))


def _not_judged(found: list[tuple[Deployment, str]]) -> Problem:
    """All deployments of one file that are not judged, in the words of the first."""
    (deployment, reason), *others = found
    model = f"`{deployment.model}`" if isinstance(deployment.model, str) else "a model"
    more = f" (and {plural(len(others), 'more deployment')} of this file)" if others else ""
    return Problem(
        at=deployment.at,
        values={"what": f"the deployment of {model} is not judged: {reason}{more}"},
        evidence=tuple(Evidence(other.at, f"not judged: {why}") for other, why in others),
        amount=len(found),
    )


@check("duplicate-key")
@dataclass(frozen=True)
class RepeatedKey:
    """A key that stands twice in one mapping."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(DuplicateKey):
            yield Problem(fact.at, {"message": fact.message}, subject=fact.message)


@check("internal")
@dataclass(frozen=True)
class Internal:
    """Findings that the engine itself makes (suppressions, a weakened policy); the stanza holds their words."""

    def find(self, facts: Facts) -> Iterator[Problem]:  # noqa: ARG002 - the protocol's signature
        yield from ()
