"""The tool's own checks: files that could not be judged, and files that say two things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.facts import DuplicateKey, PathClass
from vramguard.source import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts

# Where a file that does not parse is as a rule meant not to: a parser's test data, a vendored tree.
_UNSERVED = (PathClass.TEST, PathClass.DOCS, PathClass.VENDORED)


@check("unreadable-file")
@dataclass(frozen=True)
class UnreadableFile:
    """A file of a kind that we judge must be readable; in the `lenient` path classes it is a note."""

    lenient: tuple[PathClass, ...] = _UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(Unreadable):
            if not fact.template:
                severity = Severity.NOTE if facts.classify(fact.at.path) in self.lenient else None
                yield Problem(fact.at, {"reason": fact.reason}, severity=severity)


@check("template")
@dataclass(frozen=True)
class Template:
    """A file that a renderer has to fill in first, and that does not parse as it stands."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for fact in facts.of(Unreadable):
            if fact.template:
                yield Problem(fact.at, {"reason": fact.reason})


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
