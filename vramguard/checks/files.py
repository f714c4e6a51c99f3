"""The tool's own checks: files that could not be judged, and files that say two things."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.checks.shared import JUDGED
from vramguard.extract.terraform import UNREAD
from vramguard.facts import DataFile, DuplicateKey, HelmUnrendered, Manifest, PathClass
from vramguard.link.judging import UNSERVED, not_judged
from vramguard.link.names import above
from vramguard.source import Unreadable
from vramguard.units import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.facts import Deployment, Facts
    from vramguard.source import Location

T = TypeVar("T")


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

    One problem for each chart's templates, for each file of configuration, and one each for all of the repository's
    programs, runtimes and trainings; each counts what it stands for. Those in the path classes `unjudged` are none.
    Parquet files that nothing here can read are one problem, and those of Terraform another.
    """

    unjudged: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        templates = [fact.at for fact in facts.of(Unreadable) if fact.template]
        charts = frozenset(posixpath.dirname(path) for path in facts.paths if path.endswith("Chart.yaml"))
        for _, places in _grouped(templates, lambda at: _chart(at.path, charts)):
            yield _templates(places)
        for failed in facts.of(HelmUnrendered):
            what = f"a chart that is not rendered, and so not judged: {failed.reason}"
            yield Problem(failed.at, {"what": what, "mend": _RENDER})
        for _, found in _grouped(not_judged(facts, frozenset(self.unjudged)), lambda pair: _together(pair[0])):
            yield _not_judged(found)
        unread = [fact for fact in facts.of(DataFile) if fact.unread and facts.classify(fact.at.path) in JUDGED]
        for reason, files in _grouped(unread, lambda fact: fact.unread):
            what = f"{plural(len(files), 'file')} of data not judged: {reason}"
            yield Problem(files[0].at, {"what": what, "mend": _INSTALL}, amount=len(files))
        for reason, found_ in _grouped((one for one in facts.of(Manifest) if one.form == UNREAD), lambda one: one.name):
            what = f"{plural(len(found_), 'file')} of Terraform not judged: {reason}"
            yield Problem(found_[0].at, {"what": what, "mend": _TERRAFORM}, amount=len(found_))


_INSTALL = "Install the extra that reads Parquet files (`vramguard[data]`), or leave their review to a person."
_TERRAFORM = "Install the extra that reads Terraform (`vramguard[terraform]`), or leave its review to a person."
_RENDER = "Judge what it renders to: render it in CI, and check the result."
_DECLARE = "Say what it is in production as a `[[tool.vramguard.deployment]]`, or give the value where it is named."
_NOTHING = "Declare it as a `[[tool.vramguard.deployment]]` of mode training, if its memory is to be proved."
_EVIDENCE = 20  # places that are listed of many
# What is not written down to be run as it stands: by who fills it in, what all of it is called.
_PROGRAMS, _RUNTIMES, _TRAINING = "programs", "runtimes", "training"
_WORDS = {
    _PROGRAMS: "{count} in Python {verb} not judged, as values come from elsewhere; of the first, {reason}",
    _RUNTIMES: "{count} of runtimes {verb} not judged: a runtime is filled in by each service that uses it",
    _TRAINING: "{count} that train {verb} not judged: their cards or arguments are decided elsewhere",
}


_MENDS = {_PROGRAMS: _DECLARE, _RUNTIMES: _DECLARE, _TRAINING: _NOTHING}


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> Iterator[tuple[str, list[T]]]:
    """Items by their key, in the order in which the keys come first."""
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.items()


def _chart(path: str, charts: frozenset[str]) -> str:
    """The folder of the chart that a template is of; a file that is of none stands for itself."""
    return next((f"{folder}/" for folder in above(path) if folder in charts), path)


def _templates(places: list[Location]) -> Problem:
    first, *others = places
    more = f" (and {plural(len(others), 'more template')} of this chart)" if others else ""
    what = f"a template, not judged: a renderer has to fill it in first{more}"
    return Problem(first, {"what": what, "mend": _RENDER}, amount=len(places))


def _together(deployment: Deployment) -> str:
    """With what else a deployment is told of in one problem."""
    if deployment.training:
        return _TRAINING
    if deployment.pattern:
        return _RUNTIMES
    return _PROGRAMS if deployment.form == "python" else deployment.at.path


def _not_judged(found: list[tuple[Deployment, str]]) -> Problem:
    """Deployments that are not judged, in the words of the first."""
    (deployment, reason), *others = found
    together = _together(deployment)
    words = _WORDS.get(together) if others or together == _RUNTIMES else None
    if words is None:
        model = f"`{deployment.model}`" if isinstance(deployment.model, str) else "a model"
        more = f" (and {plural(len(others), 'more deployment')} of this file)" if others else ""
        what = f"the deployment of {model} is not judged: {reason}{more}"
    else:
        count, verb = plural(len(found), "deployment"), "is" if len(found) == 1 else "are"
        what = words.format(count=count, verb=verb, reason=reason)
    return Problem(
        at=deployment.at,
        values={"what": what, "mend": _MENDS.get(together, _RENDER)},
        evidence=tuple(Evidence(other.at, f"not judged: {why}") for other, why in others[:_EVIDENCE]),
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
