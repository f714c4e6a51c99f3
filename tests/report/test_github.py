"""Workflow commands: one per finding, escaped as GitHub's runner reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vramguard.checks import Severity
from vramguard.report import Context, render
from vramguard.source import Location

if TYPE_CHECKING:
    from report.conftest import Make

_COMMAND = re.compile(r"::(error|warning|notice) ((?:\w+=[^,:\r\n]*)(?:,\w+=[^,:\r\n]*)*)::([^\r\n]*)")


def parsed(line: str) -> tuple[str, dict[str, str], str]:
    """A command as the runner reads it."""
    match = _COMMAND.fullmatch(line)
    assert match, line
    properties = dict(item.split("=", 1) for item in match[2].split(","))
    return match[1], {name: _unescaped(value) for name, value in properties.items()}, _unescaped(match[3])


def _unescaped(text: str) -> str:
    for escape, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def test_one_finding(make: type[Make]) -> None:
    report = make.report(make.finding(message="80 % is, well: `a`"))
    assert render("github", report, Context(prefix="examples/incident-882")) == (
        "::error file=examples/incident-882/requirements.txt,line=3,endLine=3,col=1,endColumn=9,"
        "title=VG101 unpinned-requirement::80 %25 is, well: `a`%0Ahelp: Write `torch==VERSION`.\n"
    )


def test_nothing_is_printed_for_a_clean_report(make: type[Make]) -> None:
    assert render("github", make.report(), Context()) == ""


def test_evidence_is_part_of_the_message(make: type[Make]) -> None:
    lines = render("github", make.full_report(), Context()).splitlines()
    messages = [parsed(line)[2] for line in lines]
    assert "`m` needs too much\ndeploy.yaml:40: this Deployment holds the GPU\nhelp: Shorten it." in messages


def test_columns_only_where_they_mean_something(make: type[Make]) -> None:
    over_lines = make.finding(at=Location("a.yaml", 2, 5, 4, 1))
    whole_file = make.finding(at=Location("b.yaml"))
    for line in render("github", make.report(over_lines, whole_file), Context()).splitlines():
        assert "col" not in parsed(line)[1]


def test_severities(make: type[Make]) -> None:
    findings = [make.finding(severity=severity) for severity in (Severity.NOTE, Severity.ERROR, Severity.WARNING)]
    lines = render("github", make.report(*findings), Context()).splitlines()
    assert [parsed(line)[0] for line in lines] == ["error", "warning", "notice"]


def test_hostile_text_starts_no_second_command(make: type[Make], hostile: str) -> None:
    finding = make.finding(at=Location(hostile, 1, 1, 1, 2), message=hostile, help=hostile, name=hostile)
    text = render("github", make.report(finding), Context())
    (line,) = text.splitlines()
    kind, properties, _ = parsed(line)
    assert kind == "error"
    assert properties["file"].startswith("a\\x1b[31mred\\x1b[0m\\r\\n::error::pwn %0A")
    assert line.isprintable()
    assert "\x1b" not in text


def test_the_last_line_counts_what_github_hides(make: type[Make]) -> None:
    errors = [make.finding(line=number) for number in range(1, 31)]
    notes = [make.finding("VG004", line=number, severity=Severity.NOTE) for number in range(1, 15)]
    lines = render("github", make.report(*notes, *errors), Context()).splitlines()
    kinds = [parsed(line)[0] for line in lines[:-1]]
    assert kinds == ["error"] * 30 + ["notice"] * 9  # and the tenth notice is the last line
    assert lines[-1] == (
        "::notice title=vramguard::25 more findings than GitHub shows here; in all 30 errors, 0 warnings, 14 notes. "
        "Errors and warnings are all in this step's log."
    )


def test_ten_of_each_are_all_shown(make: type[Make]) -> None:
    findings = [make.finding(line=number, severity=severity) for severity in Severity for number in range(1, 11)]
    lines = render("github", make.report(*findings), Context()).splitlines()
    assert len(lines) == 30
    assert not any("more findings" in line for line in lines)
