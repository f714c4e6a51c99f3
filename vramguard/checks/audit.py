"""Demand 1: versions that are known to be vulnerable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.checks.shared import JUDGED, WEAKER, some, weight
from vramguard.facts import PathClass, Unaudited, Vulnerability

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts


@check("known-vulnerability")
@dataclass(frozen=True)
class KnownVulnerability:
    """A locked version that an advisory names. Judged where an audit is asked for (`--audit`)."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER
    unfixed: Severity = Severity.WARNING  # no version is mended yet: nobody can move to one

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each package and advisory."""
        for found in facts.of(Vulnerability):
            judged, severity = weight(self, facts, found.at.path)
            if judged:
                values = {
                    "name": found.name,
                    "version": found.version,
                    "advisory": found.ids[0],
                    "aliases": f" ({', '.join(found.ids[1:])})" if found.ids[1:] else "",
                    "summary": found.summary or "no summary",
                    "fixed": f"mended in {some(found.fixed, ', ')}" if found.fixed else "no version is mended yet",
                    "asked": found.asked,
                }
                weaker = severity or (None if found.fixed else self.unfixed)
                subject = f"{found.name};{found.ids[0]}"
                data = {"advisories": found.ids, "fixed": found.fixed, "asked": found.asked}
                yield Problem(found.at, values, severity=weaker, subject=subject, data=data)


@check("audit-inconclusive")
@dataclass(frozen=True)
class AuditInconclusive:
    """Packages that the audit could say nothing of: not audited is not clean."""

    classes: tuple[PathClass, ...] = JUDGED
    warnings: tuple[PathClass, ...] = WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each lock and reason."""
        for found in facts.of(Unaudited):
            judged, severity = weight(self, facts, found.at.path)
            if judged:
                count = len(found.packages)
                what = "1 package" if count == 1 else f"{count} packages" if count else "its packages"
                names = f" ({some(found.packages, ', ')})" if found.packages else ""
                values = {"what": what, "names": names, "reason": found.reason, "path": found.at.path}
                yield Problem(found.at, values, severity=severity, amount=max(1, count), subject=found.reason)
