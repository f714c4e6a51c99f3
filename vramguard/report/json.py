"""The report for programs: `vramguard.report/1`, stable from the first release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vramguard import __version__
from vramguard.checks import Severity
from vramguard.report import proof
from vramguard.report.escape import to_json

if TYPE_CHECKING:
    from vramguard.engine import Report
    from vramguard.policy import Finding, Fix
    from vramguard.report import Context

SCHEMA: Final = "vramguard.report/1"


def render(report: Report, context: Context) -> str:
    """The report as a JSON text."""
    return to_json(as_json(report, context))


def as_json(report: Report, context: Context) -> dict[str, Any]:
    """The report in JSON's types."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "summary": {
            **{severity.label: report.count(severity) for severity in sorted(Severity, reverse=True)},
            "suppressed": len(report.suppressed),
            "files": report.files,
            "not_judged": report.not_judged,
            "baselined": report.baselined,
        },
        "notes": report.notes,
        "findings": [_finding(finding, context) for finding in report.findings],
        "proofs": [proof.as_json(proven, context.prefix) for proven in report.proofs],
    }


def _finding(finding: Finding, context: Context) -> dict[str, Any]:
    at = finding.at
    return {
        "id": finding.id,
        "name": finding.name,
        "demand": finding.demand,
        "severity": finding.severity.label,
        "message": finding.message,
        "path": context.path(at.path),
        "line": at.line,
        "column": at.column,
        "end_line": at.end_line,
        "end_column": at.end_column,
        "help": finding.help,
        "evidence": [
            {"path": context.path(link.at.path), "line": link.at.line, "what": link.what} for link in finding.evidence
        ],
        "fingerprint": finding.fingerprint,
        "fix": None if finding.fix is None else _fix(finding.fix, context),
        "data": finding.data,
    }


def _fix(fix: Fix, context: Context) -> dict[str, Any]:
    """What `--fix` would write: each edit replaces the stretch from `line` and `column` to the exclusive end."""
    edits = [
        {
            "path": context.path(edit.at.path),
            "line": edit.at.line,
            "column": edit.at.column,
            "end_line": edit.at.end_line,
            "end_column": edit.at.end_column,
            "text": edit.text,
        }
        for edit in fix.edits
    ]
    return {"description": fix.what, "edits": edits}
