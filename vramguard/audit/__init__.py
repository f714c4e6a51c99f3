"""Which of the locked versions are known to be vulnerable: pip-audit is asked, and doubted.

It says "No known vulnerabilities found" and exits 0 where its service answers 404 for every package, so its silence
counts only once it has reported a release with well-known advisories, and has answered for every package by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard import data
from vramguard.audit.asking import Asking, AuditError, Service
from vramguard.audit.kept import Kept
from vramguard.facts import Unaudited, Vulnerability
from vramguard.link.resolved import CONDA, resolved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from vramguard.audit.asking import Answer, Package
    from vramguard.facts import Facts
    from vramguard.link.resolved import Held, Resolved

__all__ = ["Service", "audited"]


def audited(facts: Facts, service: Service) -> list[Vulnerability | Unaudited]:
    """What is known of every version that a lock, or a list of exact requirements, holds.

    What could not be asked is an `Unaudited`, never nothing. Asks the network; answers are kept for a day.
    """
    every = resolved(facts)
    asked = sorted({(held.name, held.version) for file in every if file.form not in CONDA for held in file.packages})
    kept = Kept(service)
    missing = [package for package in asked if kept.get(package) is None]
    failure = ""
    try:
        answers = _ask(missing, service) if missing else {}
        kept.put(answer for answer in answers.values() if not answer.skipped)
    except AuditError as error:
        answers, failure = {}, str(error)
    known = {package: kept.get(package) or answers.get(package) for package in asked}
    return [fact for file in every for fact in _facts(file, known, failure)]


def _ask(packages: Iterable[Package], service: Service) -> Mapping[Package, Answer]:
    """Answers for all packages, from a service that has shown that it reports what it should."""
    asking = Asking(service)
    for row in data.load("audit")["canary"]:
        canary = row["name"], row["version"]
        answer = asking.answers([canary]).get(canary)
        reported = {name for advisory in answer.advisories for name in advisory.ids} if answer else set()
        if not reported.intersection(row["advisories"]):
            silent = f"{service} does not report {canary[0]} {canary[1]}, which has {row['advisories'][0]}"
            raise AuditError(f"{silent}: its silence says nothing")
    return asking.answers(packages)


def _facts(file: Resolved, known: Mapping[Package, Answer | None], failure: str) -> Iterator[Vulnerability | Unaudited]:
    if file.form in CONDA:
        yield Unaudited(file.at, "it holds conda packages, of which the advisories of PyPI say nothing", ())
        return
    unanswered: dict[str, list[str]] = {}
    for held in file.packages:
        answer = known[held.name, held.version]
        if answer is None or answer.skipped:
            reason = failure if answer is None and failure else answer.skipped if answer else "the audit left it out"
            unanswered.setdefault(reason, []).append(f"{held.name} {held.version}")
        else:
            yield from _vulnerabilities(held, answer)
    for reason, names in unanswered.items():
        yield Unaudited(file.at, reason, tuple(names))


def _vulnerabilities(held: Held, answer: Answer) -> Iterator[Vulnerability]:
    for advisory in answer.advisories:
        yield Vulnerability(
            held.at, held.name, held.version, advisory.ids, advisory.fixed, advisory.summary, answer.asked
        )
