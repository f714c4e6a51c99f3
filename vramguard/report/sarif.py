"""SARIF 2.1.0, as GitHub code scanning and other viewers take it.

Every rule is listed, also a silent one: an alert closes only where its rule is known to have been judged. GitHub keeps
the first 5,000 results of a run and refuses more than 25,000, so the worst come first.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from vramguard import __version__
from vramguard.report.escape import to_json, visible
from vramguard.report.rules import demand_name, page, title

if TYPE_CHECKING:
    from vramguard.engine import Report
    from vramguard.policy import Finding, Fix, Rule
    from vramguard.report import Context
    from vramguard.source import Location
    from vramguard.suppression import Suppressed

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS: Final = 25_000
_NO_BYTE: Final = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that stand for no byte of a file name


def render(report: Report, context: Context) -> str:
    """The report as a SARIF log."""
    return to_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report, context)]})


def _run(report: Report, context: Context) -> dict[str, Any]:
    rules = [report.rules[name] for name in sorted(report.rules)]
    index = {rule.id: number for number, rule in enumerate(rules)}
    standing = sorted(report.findings, key=lambda finding: (-finding.severity, finding.order))
    results = [_result(finding, index, context) for finding in standing]
    results += [_suppressed(item, index, context) for item in report.suppressed]
    notes = list(report.notes)
    if len(results) > MAX_RESULTS:
        notes.append(f"{len(results) - MAX_RESULTS} results are left out, the least severe ones")
    return {
        "tool": {"driver": _driver(rules, context)},
        "automationDetails": {"id": posixpath.join("vramguard", _uri(context.path("")), "")},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"%SRCROOT%": {"description": {"text": "The root of the repository."}}},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [{"level": "note", "message": {"text": visible(note)}} for note in notes],
            }
        ],
        "results": results[:MAX_RESULTS],
    }


def _driver(rules: list[Rule], context: Context) -> dict[str, Any]:
    home = {"informationUri": context.home_url} if context.home_url else {}
    words = [_rule(rule, context) for rule in rules]
    return {"name": "vramguard", "version": __version__, "semanticVersion": __version__, **home, "rules": words}


def _rule(rule: Rule, context: Context) -> dict[str, Any]:
    url = {"helpUri": f"{context.rules_url}#{rule.id.lower()}"} if context.rules_url else {}
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": title(rule)},
        "fullDescription": {"text": rule.why.strip()},
        "help": {"text": f"{rule.why.strip()}\n\n{rule.fix.strip()}", "markdown": page(rule)},
        **url,
        "defaultConfiguration": {"level": rule.severity.label},
        "properties": {"tags": [demand_name(rule.demand)], "precision": "high"},
    }


def _result(finding: Finding, index: dict[str, int], context: Context) -> dict[str, Any]:
    result: dict[str, Any] = {"ruleId": finding.id}
    if finding.id in index:
        result["ruleIndex"] = index[finding.id]
    result |= {
        "level": finding.severity.label,
        "message": {"text": visible(f"{finding.message}. {finding.help}")},
        "locations": [{"physicalLocation": _place(finding.at, context)}],
    }
    if finding.fingerprint:
        result["partialFingerprints"] = {"vramguard/v1": finding.fingerprint}
    if finding.evidence:
        result |= _evidence(finding, context)
    if finding.fix is not None:
        result["fixes"] = [_fix(finding.fix, context)]
    return result


def _fix(fix: Fix, context: Context) -> dict[str, Any]:
    """One change of each file; a fix of ours changes one."""
    places = [_place(edit.at, context) for edit in fix.edits]
    replacements = [
        {"deletedRegion": place["region"], "insertedContent": {"text": edit.text}}
        for edit, place in zip(fix.edits, places, strict=True)
    ]
    change = {"artifactLocation": places[0]["artifactLocation"], "replacements": replacements}
    return {"description": {"text": visible(fix.what)}, "artifactChanges": [change]}


def _evidence(finding: Finding, context: Context) -> dict[str, Any]:
    """The chain that led to a finding: as related places, and as a path that ends at the finding itself."""
    steps = [
        {"physicalLocation": _place(link.at, context), "message": {"text": visible(link.what)}}
        for link in finding.evidence
    ]
    last = {"physicalLocation": _place(finding.at, context), "message": {"text": visible(finding.message)}}
    return {
        "relatedLocations": [{"id": number, **step} for number, step in enumerate(steps, 1)],
        "codeFlows": [{"threadFlows": [{"locations": [{"location": step} for step in (*steps, last)]}]}],
    }


def _suppressed(item: Suppressed, index: dict[str, int], context: Context) -> dict[str, Any]:
    suppression = {
        "kind": "inSource" if item.written else "external",
        "status": "accepted",
        "justification": visible(item.reason),
        "location": {"physicalLocation": _place(item.at, context)},
    }
    return {**_result(item.finding, index, context), "suppressions": [suppression]}


def _place(at: Location, context: Context) -> dict[str, Any]:
    artifact = {"uri": _uri(context.path(at.path)), "uriBaseId": "%SRCROOT%"}
    region = {"startLine": at.line}
    if (at.line, at.column) != (at.end_line, at.end_column):  # an empty region is a place in the file, not a span
        region = {
            "startLine": at.line,
            "startColumn": at.column,
            "endLine": at.end_line,
            "endColumn": at.end_column,
        }
    return {"artifactLocation": artifact, "region": region}


def _uri(path: str) -> str:
    """A relative URI reference: the path's bytes, percent-encoded; a colon too, so that no scheme can be read."""
    return quote(_NO_BYTE.sub("\ufffd", path).encode("utf-8", "surrogateescape"), safe="/~")
