"""Suppression comments: what is one, what it holds for, and what is only prose."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from timed import within

from vramguard.checks import Severity
from vramguard.policy import Finding
from vramguard.settings import Configuration, EvidenceTable, Settings, Waiver
from vramguard.source import Document, Location, read
from vramguard.suppression import Comment, Outcome, apply, comments

KNOWN = frozenset({"VG101", "VG102", "VG201"})


def found(text: str, path: str = "requirements.txt") -> list[Comment]:
    document = read(path, text.encode())
    assert isinstance(document, Document), document
    return list(comments(document))


def finding(line: int, rule: str = "VG101", path: str = "requirements.txt", end: int | None = None) -> Finding:
    return Finding(rule, "name", 1, Severity.ERROR, "message", Location(path, line, 1, end or line, 9), "help")


def outcome(text: str, *findings: Finding) -> Outcome:
    return apply(findings, found(text), Configuration(), KNOWN)


def test_a_comment_speaks_for_its_line() -> None:
    (comment,) = found("a==1\ntorch>=2  # vramguard: ignore[VG101, VG102] the base image ships it\n")
    assert comment.rules == ("VG101", "VG102")
    assert comment.reason == "the base image ships it"
    assert comment.at == Location("requirements.txt", 2, 11, 2, 68)
    result = outcome("torch>=2 # vramguard: ignore[VG101] why\n", finding(1), finding(1, "VG102"), finding(2))
    assert [(item.id, item.at.line) for item in result.kept] == [("VG102", 1), ("VG101", 2)]
    assert [item.reason for item in result.suppressed] == ["why"]
    assert result.problems == []


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("# vramguard: ignore[VG101] r\ntorch>=2\n", (2, 2)),
        ("# vramguard: ignore[VG101] r\n# more words\n  # and more\ntorch>=2\n", (4, 4)),
        ("torch>=2 \\\n  --hash=sha256:0 \\\n  --hash=sha256:1 # vramguard: ignore[VG101] r\n", (1, 3)),
        ("a==1\ntorch>=2 # vramguard: ignore[VG101] r\n", (2, 2)),
        ("a==1 # vramguard: ignore[VG101] r", (1, 1)),
        ("# vramguard: ignore[VG101] at the end", (2, 2)),
    ],
)
def test_the_lines_that_a_comment_speaks_for(text: str, lines: tuple[int, int]) -> None:
    assert [comment.lines for comment in found(text)] == [lines]


def test_a_backslash_continues_a_line_in_requirements_only() -> None:
    (comment,) = found("a: C:\\\nb: 1 # vramguard: ignore[VG101] r\n", "a.yaml")
    assert comment.lines == (2, 2)


@pytest.mark.parametrize(
    ("body", "flaw"),
    [
        ("ignore", "it is written"),
        ("ignore this file, it is fine", "it is written"),
        ("ignore VG101 because", "it is written"),
        ("Ignore[VG101] because", "it is written"),
        ("ingore[VG101] because", "it is written"),
        ("ignore [VG101] because", "it is written"),
        ("ignore[VG101 because", "it is written"),
        ("ignore[] because", "it names no rule id"),
        ("ignore[ , ] because", "it names no rule id"),
        ("ignore[VG1] because", "it names no rule id"),
        ("ignore[VG101 VG102] because", "it names no rule id"),
        ("ignore[VG10\u0661] because", "it names no rule id"),
        ("ignore[VG101]", "it gives no reason"),
        ("ignore[VG101] - ", "it gives no reason"),
        ("ignore[VG101] until=2999-01-01", "it gives no reason"),
        ("ignore[VG101] until=2999-02-30 r", "is no date"),
        ("ignore[VG101] until=29990101 r", "is no date"),
        ("ignore[VG101] until=tomorrow r", "is no date"),
        ("ignore[VG101] until= r", "is no date"),
        ("ignore[VG101] r until=2999-1-1", "is no date"),
        ("ignore[VG101] until=2999-01-01 until=2998-01-01 r", "twice"),
    ],
)
def test_what_does_not_hold_says_why_and_suppresses_nothing(body: str, flaw: str) -> None:
    text = f"torch>=2 # vramguard: {body}\n"
    (comment,) = found(text)
    assert flaw in comment.flaw
    result = outcome(text, finding(1))
    assert len(result.kept) == 1
    assert [name for name, _ in result.problems] == ["VG000"]


@pytest.mark.parametrize(
    "text",
    [
        "# see vramguard: docs",
        "# vramguard: https://example.invalid/docs",
        "# vramguard: this model is checked every night",
        "# vramguard: ignored by nobody",
        "#vramguard",
        "# about vramguard: ignore[VG101] would do here",
        "torch>=2 #vramguarded: ignore[VG101] r",
        "a @ https://x.invalid/a#vramguard:ignore[VG101]",
    ],
)
def test_prose_is_no_suppression(text: str) -> None:
    assert found(f"{text}\n") == []


@pytest.mark.parametrize("days", [-1, 0, 1])
@pytest.mark.parametrize("before", [True, False])
def test_a_date_is_enforced_wherever_it_stands(days: int, before: bool) -> None:  # noqa: FBT001
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    words = f"until={until} the reason" if before else f"the reason until={until}"
    text = f"torch>=2 # vramguard: ignore[VG101] {words}\n"
    assert [(item.until, item.reason) for item in found(text)] == [(until, "the reason")]
    result = outcome(text, finding(1))
    assert len(result.suppressed) == (days >= 0)
    assert [problem.values["reason"] for _, problem in result.problems] == (
        [] if days >= 0 else [f"it lapsed on {until}"]
    )


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.yaml", 'a: "x # vramguard: ignore[VG101] r"\n'),
        ("a.yaml", "a: |\n  x # vramguard: ignore[VG101] r\n  y\n"),
        ("a.yaml", "a: >-\n\n  # vramguard: ignore[VG101] r\n"),
        ("a.yaml", '"k # vramguard: ignore[VG101] r": 1\n'),
        ("a.yaml", "a: 'one\n  # vramguard: ignore[VG101] r'\n"),
        ("a.toml", 'a = "x # vramguard: ignore[VG101] r"\n'),
        ("a.toml", "a = '''\n# vramguard: ignore[VG101] r\n'''\n"),
        ("a.toml", '"k # vramguard: ignore[VG101] r" = 1\n'),
        ("config.json", '{"a": 1}\n'),
    ],
)
def test_a_look_alike_inside_a_text_has_no_effect(path: str, text: str) -> None:
    assert found(text, path) == []


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("a.yaml", "a: |\n  x\n# vramguard: ignore[VG101] r\nb: 1\n", 4),
        ("a.yaml", "a: 'x' # vramguard: ignore[VG101] r\n", 1),
        ("a.toml", 'a = [\n  "x", # vramguard: ignore[VG101] r\n]\n', 2),
        ("a.toml", 'a = [\n  [ "x", # vramguard: ignore[VG101] r\n  "y"],\n]\n', 2),
        ("a.toml", "[a] # vramguard: ignore[VG101] r\n", 1),
        ("a.toml", 'a = """x""" # vramguard: ignore[VG101] r\n', 1),
    ],
)
def test_a_comment_beside_a_text_has_its_effect(path: str, text: str, line: int) -> None:
    assert [comment.lines for comment in found(text, path)] == [(line, line)]


def test_what_nothing_needs_is_unused_unless_its_rule_was_not_judged() -> None:
    result = outcome("a==1 # vramguard: ignore[VG101] r\nb==1 # vramguard: ignore[VG105] r\n")
    assert [(name, problem.at.line) for name, problem in result.problems] == [("VG002", 1)]


def test_a_finding_of_several_lines_is_covered_by_each_of_them() -> None:
    result = outcome("torch>=2 \\\n --x # vramguard: ignore[VG101] r\n", finding(2, end=4), finding(3, end=4))
    assert len(result.suppressed) == 1


def test_waivers_go_by_path_and_prefix() -> None:
    waiver = Waiver(rules=("VG1",), paths=("old/",), reason="to be deleted", until=date(2999, 1, 1))
    lapsed = Waiver(rules=("VG2",), paths=("*.json",), reason="once", until=date(2020, 1, 1))
    configuration = Configuration(Settings(waiver=(waiver, lapsed)))
    findings = [finding(1, path="old/a.txt"), finding(1, path="a.txt"), finding(1, "VG201", "config.json")]
    result = apply(findings, [], configuration, KNOWN)
    assert [item.finding.at.path for item in result.suppressed] == ["old/a.txt"]
    assert not result.suppressed[0].written
    assert [item.at.path for item in result.kept] == ["a.txt", "config.json"]
    assert [(name, problem.values["reason"]) for name, problem in result.problems] == [
        ("VG000", "it lapsed on 2020-01-01")
    ]


def lacking(surface: str | None, rule: str = "VG402") -> Finding:
    found = finding(1, rule, "deploy.yaml")
    return replace(found, data={} if surface is None else {"surface": surface})


def evidence(until: date, surface: str = "Deployment/llama*") -> EvidenceTable:
    return EvidenceTable(("VG4",), surface, "mesh-config//istio/llama.yaml@6f1c", "@sre", until)


def test_evidence_accepts_what_a_named_surface_lacks_and_nothing_else() -> None:
    findings = [lacking("Deployment/llama-8b"), lacking("Deployment/mistral"), lacking(None)]
    findings.append(lacking("Deployment/llama-8b", "VG603"))
    result = apply(findings, [], Configuration(Settings(evidence=(evidence(date(2999, 1, 1)),))), KNOWN)
    assert [item.finding for item in result.suppressed] == findings[:1]
    assert result.suppressed[0].reason == "met in mesh-config//istio/llama.yaml@6f1c, as @sre has seen"
    assert result.kept == findings[1:]
    assert result.problems == []


def test_evidence_lapses_and_is_missed_where_nothing_needs_it() -> None:
    tables = (evidence(date(2020, 1, 1)), evidence(date(2999, 1, 1), "Deployment/gone"))
    result = apply([lacking("Deployment/llama")], [], Configuration(Settings(evidence=tables)), KNOWN | {"VG402"})
    assert len(result.kept) == 1
    assert [(name, problem.values["reason"]) for name, problem in result.problems] == [
        ("VG000", "it lapsed on 2020-01-01"),
        ("VG002", "no finding of VG4 on this surface"),
    ]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("requirements.txt", "# vramguard: ignore[VG101] r\n" * 60_000),
        ("requirements.txt", "x # vramguard: ignore[VG101] r \\\n" * 60_000),
        ("a.yaml", "a: x # vramguard: ignore[VG101] r\n" * 20_000),
        ("requirements.txt", "#" + " " * 1_000_000 + "vramguard" + " " * 1_000_000 + "ignore"),
        ("requirements.txt", "# vramguard:" * 100_000),
    ],
    ids=["alone", "continued", "beside values", "spaces", "one line"],
)
def test_many_comments_are_read_in_linear_time(path: str, text: str) -> None:
    document = read(path, text.encode())
    assert isinstance(document, Document)
    with within(6):
        list(comments(document))


@pytest.mark.parametrize("path", ["serve.sh", "Dockerfile", "Makefile", ".env", "serve.py"])
def test_code_and_scripts_have_comments_too(path: str) -> None:
    (comment,) = found("x = 1  # vramguard: ignore[VG201] measured on the card\n", path)
    assert (comment.lines, comment.reason) == ((1, 1), "measured on the card")


def test_a_string_of_python_is_no_comment() -> None:
    text = 'words = """\n # vramguard: ignore[VG201] why\n"""\nx = (1,  # vramguard: ignore[VG208] why\n)\n'
    assert [comment.rules for comment in found(text, "serve.py")] == [("VG208",)]


def test_broken_python_keeps_the_comments_before_the_fault() -> None:
    text = "x = 1  # vramguard: ignore[VG201] why\ny = (\n"
    assert [comment.rules for comment in found(text, "serve.py")] == [("VG201",)]
