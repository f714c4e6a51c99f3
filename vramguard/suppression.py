"""Exemptions: comments in the files themselves, and waivers in the configuration.

`# vramguard: ignore[VG101] reason` holds for its own (logical) line, or alone on a line for the next one.
A reason is required; `until=YYYY-MM-DD` beside it makes the exemption lapse. A comment that says neither `ignore` nor
`word[` after the colon is prose.
"""

from __future__ import annotations

import io
import re
import tokenize
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from vramguard.checks import Problem
from vramguard.discover import matcher
from vramguard.policy import Finding
from vramguard.source import Location, under

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.settings import Configuration, EvidenceTable, Waiver
    from vramguard.source import Document

_COMMENT = re.compile(r"(?:^|(?<=\s))#\s*vramguard\s*:\s*(?P<body>(?:ignore\b|\w+\s*\[).*)$", re.IGNORECASE)
_BODY = re.compile(r"ignore\[(?P<rules>[^\]]*)\](?P<rest>.*)$")
_UNTIL = re.compile(r"\buntil\s*=\s*(\S*)")
# Kinds of file whose comments begin with `#`; in the lines of the first few nothing else is taken for one.
_LINES = frozenset({"requirements", "shell", "makefile", "dockerfile", "dotenv"})
_COMMENTED = _LINES | {"toml", "yaml", "python"}


@dataclass(frozen=True, slots=True)
class Comment:
    """One suppression comment, and the lines it speaks for. `flaw`: why it does not hold, as written."""

    at: Location
    lines: tuple[int, int]
    rules: tuple[str, ...] = ()
    reason: str = ""
    until: date | None = None
    flaw: str = ""

    def covers(self, finding: Finding) -> bool:
        """Whether this comment speaks for the finding."""
        overlaps = self.lines[0] <= finding.at.end_line and finding.at.line <= self.lines[1]
        return self.at.path == finding.at.path and overlaps and finding.id in self.rules


class Suppressed(NamedTuple):
    """A finding that somebody has accepted, why, and where that stands; `written` in the file, not in a waiver."""

    finding: Finding
    reason: str
    at: Location
    written: bool


def comments(document: Document) -> Iterator[Comment]:
    """Every suppression comment of one document."""
    if document.kind not in _COMMENTED or "vramguard" not in document.text.lower():
        return
    found = [(number, match) for number, line in enumerate(document.lines, 1) if (match := _COMMENT.search(line))]
    if not found:
        return
    inside = _values(document)
    first, following = _logical(document)
    for number, match in found:
        column = match.start() + 1
        if inside((number, column)):
            continue
        alone = not match.string[: match.start()].strip()
        lines = (following[number], following[number]) if alone else (first[number], number)
        yield _comment(Location(document.path, number, column, number, len(match.string) + 1), lines, match["body"])


def _comment(at: Location, lines: tuple[int, int], body: str) -> Comment:
    match = _BODY.match(body)
    if match is None:
        return Comment(at, lines, flaw="it is written `ignore[VG101] reason`")
    rules = tuple(word.strip() for word in match["rules"].split(",") if word.strip())
    if not rules or any(not re.fullmatch(r"VG\d{3}", rule, re.ASCII) for rule in rules):
        return Comment(at, lines, flaw="it names no rule id, such as VG101, in the brackets")
    dates = _UNTIL.findall(match["rest"])
    if len(dates) > 1:
        return Comment(at, lines, rules, flaw="it says `until=` twice")
    until = _date(dates[0]) if dates else None
    if dates and until is None:
        return Comment(at, lines, rules, flaw=f"`{dates[0]}` is no date such as 2027-01-31")
    if until is None and "VG118" in rules:
        return Comment(at, lines, rules, flaw="an advisory is looked at again: VG118 needs `until=YYYY-MM-DD`")
    reason = _UNTIL.sub(" ", match["rest"]).strip(" \t-—:,")
    return Comment(at, lines, rules, reason, until, "" if reason else "it gives no reason")


def _date(text: str) -> date | None:
    """A date written YYYY-MM-DD, and in no other way."""
    try:
        return date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None


def _logical(document: Document) -> tuple[list[int], list[int]]:
    """For each line, where its logical line starts, and the next line that is no comment of its own."""
    lines = ["", *document.lines]
    first, following = list(range(len(lines))), list(range(1, len(lines) + 1))
    for number in range(2, len(lines)):
        if document.kind == "requirements" and lines[number - 1].endswith("\\"):
            first[number] = first[number - 1]
    for number in range(len(lines) - 2, 0, -1):
        if lines[number + 1].lstrip().startswith("#"):
            following[number] = following[number + 1]
    return first, following


def _values(document: Document) -> Callable[[tuple[int, int]], bool]:
    """Whether a line and column lie inside a text value or a key, where a comment's look-alike has no effect."""
    if document.kind in _LINES:
        return lambda _: False
    if document.kind == "python":
        real = _python_comments(document.text)
        return lambda place: place not in real
    places = document.places.items()
    spans = {place.key for keys, place in places if keys and isinstance(keys[-1], str)}
    spans |= {place.value for keys, place in places if isinstance(under(document.value, keys), str)}
    ordered = sorted(((span.line, span.column), (span.end_line, span.end_column)) for span in spans)

    def inside(place: tuple[int, int]) -> bool:
        before = bisect_right(ordered, place, key=lambda span: span[0])
        return before > 0 and place < ordered[before - 1][1]

    return inside


def _python_comments(text: str) -> set[tuple[int, int]]:
    """Where comments begin, as far as the text is Python: a string may look like one."""
    found = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                found.add((token.start[0], token.start[1] + 1))
    except (tokenize.TokenError, SyntaxError):  # the rest is no Python; what came before is
        pass
    return found


class Outcome(NamedTuple):
    """Findings that stand, findings that are accepted, and what is wrong with the exemptions, by rule id."""

    kept: list[Finding]
    suppressed: list[Suppressed]
    problems: list[tuple[str, Problem]]


def apply(
    findings: Iterable[Finding], written: Iterable[Comment], configuration: Configuration, known: frozenset[str]
) -> Outcome:
    """Sort findings by the exemptions that hold today. `known`: the ids of the rules that were judged."""
    today = datetime.now(UTC).date()
    exemptions = [*(_of_comment(comment, today) for comment in written)]
    exemptions += [_of_waiver(waiver, configuration, today) for waiver in configuration.settings.waiver]
    exemptions += [_of_evidence(table, configuration, today) for table in configuration.settings.evidence]
    kept, suppressed = [], []
    for finding in findings:
        holder = next((item for item in exemptions if not item.flaw and item.covers(finding)), None)
        if holder is None:
            kept.append(finding)
        else:
            holder.used = True
            suppressed.append(Suppressed(finding, holder.reason, holder.at, holder.written))
    return Outcome(kept, suppressed, [problem for item in exemptions for problem in item.problems(known)])


@dataclass(slots=True)
class _Exemption:
    """A comment or a waiver at work: whether it holds, and whether it was needed."""

    at: Location
    rules: tuple[str, ...]
    reason: str
    flaw: str
    covers: Callable[[Finding], bool]
    written: bool
    where: str = "line or path"
    used: bool = False

    def problems(self, known: frozenset[str]) -> Iterator[tuple[str, Problem]]:
        """What is wrong with the exemption: it does not hold (VG000), or there was nothing to accept (VG002)."""
        subject = f"{','.join(self.rules)} {self.reason}"
        if self.flaw:
            yield "VG000", Problem(self.at, {"reason": self.flaw}, subject=subject)
        elif not self.used and any(name.startswith(self.rules) for name in known):
            reason = f"no finding of {', '.join(self.rules)} on this {self.where}"
            yield "VG002", Problem(self.at, {"reason": reason}, subject=subject)


def _of_comment(comment: Comment, today: date) -> _Exemption:
    flaw = comment.flaw or _lapsed(comment.until, today)
    return _Exemption(comment.at, comment.rules, comment.reason, flaw, comment.covers, written=True)


def _of_waiver(waiver: Waiver, configuration: Configuration, today: date) -> _Exemption:
    matches = matcher(waiver.paths)

    def covers(finding: Finding) -> bool:
        meant = not waiver.advisories or not set(waiver.advisories).isdisjoint(finding.data.get("advisories", ()))
        return finding.id.startswith(waiver.rules) and meant and matches(finding.at.path)

    flaw = _lapsed(waiver.until, today)
    return _Exemption(configuration.at("waiver"), waiver.rules, waiver.reason, flaw, covers, written=False)


def _of_evidence(table: EvidenceTable, configuration: Configuration, today: date) -> _Exemption:
    """What is met elsewhere: it covers what a named surface lacks, and nothing that is written wrongly here."""

    def covers(finding: Finding) -> bool:
        surface = finding.data.get("surface")
        return finding.id.startswith(table.rules) and surface is not None and fnmatchcase(surface, table.surface)

    reason = f"met in {table.where}, as {table.reviewer} has seen"
    at, flaw = configuration.at("evidence"), _lapsed(table.until, today)
    return _Exemption(at, table.rules, reason, flaw, covers, written=False, where="surface")


def _lapsed(until: date | None, today: date) -> str:
    return f"it lapsed on {until}" if until and until < today else ""
