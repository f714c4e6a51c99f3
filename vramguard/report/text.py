"""The report for people: each finding with its place, its reason and its remedy; then the proofs and one verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby
from typing import TYPE_CHECKING, Final

from vramguard.checks import Severity
from vramguard.report.ledger import print_ledger
from vramguard.report.page import TIMES, Page, written
from vramguard.units import gib, percent, plural

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from vramguard.engine import Proven, Report
    from vramguard.policy import Finding
    from vramguard.report import Context
    from vramguard.source import Location

_FOLD: Final = 3  # notes that say the same are listed up to this many, and counted beyond
_ANSWERS: Final = {"FITS": "green", "EXCEEDS": "bold red", "UNKNOWN": "bold yellow"}


def render(report: Report, context: Context) -> str:
    """The report as it would stand in a file: no colours, lines of 120."""
    return written(lambda console: print_report(report, context, console))


def print_report(report: Report, context: Context, console: Console) -> None:
    """The whole report."""
    out = Page(console)
    shown, folded = _fold(report.findings, context)
    for _, findings in groupby(shown, key=lambda finding: finding.at.path):
        _file(out, list(findings), context)
        out.blank()
    for group in folded:
        _folded(out, group, context)
        out.blank()
    if report.proofs:
        _proofs(out, report.proofs, context, console)
    if _remarks(out, report, context):
        out.blank()
    _verdict(out, report, context)


def _fold(findings: Iterable[Finding], context: Context) -> tuple[list[Finding], list[list[Finding]]]:
    """Findings to show one by one, and groups of many notes that say the same."""
    findings = list(findings)
    notes: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.severity is Severity.NOTE and not context.verbose:
            notes[finding.id, finding.message].append(finding)
    many = {key: group for key, group in notes.items() if len(group) > _FOLD}
    shown = [item for item in findings if item.severity > Severity.NOTE or (item.id, item.message) not in many]
    return shown, list(many.values())


def _file(out: Page, findings: list[Finding], context: Context) -> None:
    """The findings of one file. A rule's remedy stands under its last finding in the file, unless all are asked for."""
    last = {finding.id: number for number, finding in enumerate(findings)}
    for number, finding in enumerate(findings):
        _finding(out, finding, context)
        if context.verbose or finding.evidence or last[finding.id] == number:
            out.write(("help: ", "bold green"), finding.help, indent=4, hang=10)


def _finding(out: Page, finding: Finding, context: Context) -> None:
    severity = (finding.severity.label, Page.style(finding.severity))
    out.line((_place(finding.at, context), "bold"), ": ", severity, " ", (finding.id, "bold"), f" {finding.name}")
    out.write(finding.message, indent=4)
    for link in finding.evidence:
        out.write(("because ", "dim"), (_place(link.at, context), "bold"), f": {link.what}", indent=4, hang=12)


def _place(at: Location, context: Context) -> str:
    """`path:line:column`; the path alone for what concerns the whole file."""
    path = context.path(at.path)
    whole = (at.line, at.column, at.end_line, at.end_column) == (1, 1, 1, 1)
    return path if whole else f"{path}:{at.line}:{at.column}"


def _folded(out: Page, group: list[Finding], context: Context) -> None:
    first = group[0]
    severity = (first.severity.label, Page.style(first.severity))
    out.write(plural(len(group), "time"), ": ", severity, " ", (first.id, "bold"), f" {first.name}", hang=4)
    out.write(first.message, indent=4)
    names = [_place(finding.at, context) for finding in group[:_FOLD]]
    out.write(("in ", "dim"), ", ".join(names), f" and {len(group) - _FOLD:,} more (--verbose lists them)", indent=4)


def _proofs(out: Page, proofs: list[Proven], context: Context, console: Console) -> None:
    """One paragraph for each model; with `verbose` the whole ledger."""
    if context.verbose:
        for proven in proofs:
            print_ledger(proven, console)
            out.blank()
        return
    out.write(("Peak VRAM", "bold"))
    for proven in proofs:
        _proof(out, proven, context)
    out.blank()


def _proof(out: Page, proven: Proven, context: Context) -> None:
    proof, totals = proven.proof, proven.proof.totals
    name = proven.model or context.path(proven.at.path)
    answer = (f"{proof.answer.value:<8}", _ANSWERS[proof.answer.value])
    out.write(answer, (name, "bold"), _asked(proven), indent=2, hang=10)
    if totals is None:
        out.write(proof.reason or "the peak is not known", indent=10)
        return
    low, high = totals.peak_lower_bytes, totals.peak_upper_bytes
    peak = {
        "FITS": f"at most {gib(high)}",
        "EXCEEDS": f"at least {gib(low)}",
        "UNKNOWN": f"between {gib(low)} and {gib(high)}",
    }[proof.answer.value]
    share = f"{percent(proof.budget_fraction)} of {proof.device.name}"
    out.write(f"{peak} GiB against {gib(proof.budget_bytes)} GiB ({share})", indent=10)


def _asked(proven: Proven) -> str:
    work = proven.proof.workload
    if work.max_model_len is None:
        return ""
    sequences = f" {TIMES} {work.concurrency:,}" if work.concurrency and work.concurrency > 1 else ""
    return f" at {work.max_model_len:,} tokens{sequences}"


def _remarks(out: Page, report: Report, context: Context) -> bool:
    """What a reader has to know beside the findings; False if there is nothing."""
    if report.suppressed:
        _suppressed(out, report, context)
    deployments = report.not_judged - report.templates
    if report.templates:
        out.write(f"not judged: {plural(report.templates, 'template')}, which a renderer has to fill in first")
    if deployments:
        out.write(
            f"not judged: {plural(deployments, 'deployment')}, which train or have values that are filled in elsewhere"
        )
    if report.baselined:
        out.write(f"known before: {plural(report.baselined, 'finding')} of the base or the baseline, not counted here")
    for note in report.notes:
        out.write(("note: ", "cyan"), note, hang=6)
    return bool(report.suppressed or report.not_judged or report.baselined or report.notes)


def _suppressed(out: Page, report: Report, context: Context) -> None:
    out.write(f"suppressed: {plural(len(report.suppressed), 'finding')}, with a reason each", hang=4)
    if context.verbose:
        for item in report.suppressed:
            out.line((_place(item.finding.at, context), "bold"), f": {item.finding.id} {item.finding.name}", indent=2)
            out.write(item.reason, ("  (", "dim"), (_place(item.at, context), "dim"), (")", "dim"), indent=6)
        return
    for (name, reason), count in Counter((item.finding.id, item.reason) for item in report.suppressed).items():
        out.write(f"{count:,} {TIMES} {name}: {reason}", indent=2, hang=6)


def _verdict(out: Page, report: Report, context: Context) -> None:
    if not report.files and not report.findings:
        out.write(f"vramguard: nothing to judge in {context.root}")
        return
    counts = ", ".join(
        plural(report.count(severity), severity.label)
        for severity in sorted(Severity, reverse=True)
        if report.count(severity)
    )
    files = plural(report.files, "file")
    if context.fails(report):
        out.write("vramguard: ", ("do not merge", "bold red"), f": {counts} in {files}")
    elif counts:
        out.write("vramguard: ", ("merge", "bold green"), f": {counts} in {files}, none at the level that blocks")
    else:
        fit = sum(proven.proof.answer.value == "FITS" for proven in report.proofs)
        proved = f", {plural(fit, 'model')} proved to fit" if fit else ""
        out.write("vramguard: ", ("clean", "bold green"), f": {files} judged{proved}")
