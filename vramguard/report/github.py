"""Annotations for GitHub Actions: one workflow command per finding, and nothing that could be read as another.

GitHub shows the first ten of each type in a step and keeps the rest in the log. Hence the worst come first, and a last
notice says how many it does not show. (docs.github.com, workflow commands; actions/runner, ActionCommandManager.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.checks import Severity
from vramguard.report.escape import visible

if TYPE_CHECKING:
    from vramguard.engine import Report
    from vramguard.policy import Finding
    from vramguard.report import Context

SHOWN: Final = 10  # annotations of one type that GitHub shows for a step
_TYPES: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(report: Report, context: Context) -> str:
    """The annotations, the worst first; empty for a report without findings."""
    counts = [report.count(severity) for severity in Severity]
    over = sum(max(0, count - SHOWN) for count in counts)
    findings = sorted(report.findings, key=lambda finding: (-finding.severity, finding.order))
    if not over:
        return "".join(f"{_annotation(finding, context)}\n" for finding in findings)
    notes = report.count(Severity.NOTE)
    hidden = max(0, notes - SHOWN + 1)  # one of the ten notices is the last word itself
    over += hidden - max(0, notes - SHOWN)
    lines = [_annotation(finding, context) for finding in findings[: len(findings) - hidden]]
    return "".join(f"{line}\n" for line in [*lines, _last_word(report, over)])


def _last_word(report: Report, over: int) -> str:
    counts = ", ".join(f"{report.count(severity)} {severity.label}s" for severity in sorted(Severity, reverse=True))
    text = (
        f"{over} more findings than GitHub shows here; in all {counts}. Errors and warnings are all in this step's log."
    )
    return f"::notice title=vramguard::{_data(text)}"


def _annotation(finding: Finding, context: Context) -> str:
    at = finding.at
    properties = {"file": context.path(at.path), "line": str(at.line), "endLine": str(max(at.line, at.end_line))}
    if at.line == at.end_line and at.column < at.end_column:  # the runner takes columns for a single line only
        properties |= {"col": str(at.column), "endColumn": str(at.end_column)}
    properties["title"] = f"{finding.id} {finding.name}"
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    chain = [f"{context.path(link.at.path)}:{link.at.line}: {link.what}" for link in finding.evidence]
    text = "\n".join(visible(line) for line in (finding.message, *chain, f"help: {finding.help}"))
    return f"::{_TYPES[finding.severity]} {written}::{_data(text)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(visible(text)).replace(":", "%3A").replace(",", "%2C")
