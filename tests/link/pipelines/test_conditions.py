"""Conditions of jobs: which events let one run, and which run whatever went wrong."""

from __future__ import annotations

import pytest

from vramguard.link.pipelines.conditions import lets, whatever


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ("", True),
        ("github.event_name == 'schedule'", True),
        ("${{ github.event_name == 'push' }}", False),
        ("'push' == github.event_name", False),
        ("github.event_name != 'schedule'", False),
        ("github.event_name != 'push'", True),
        ("github.event_name == 'push' || github.event_name == 'schedule'", True),
        ("(github.event_name == 'push' || github.event_name == 'schedule') && inputs.go == 'true'", False),
        ("github.event_name == 'push' && contains(github.event.head_commit.message, '[x] || y')", False),
        ("github.event.inputs.go == 'true'", False),
        ("github.event.inputs.go != 'false'", True),
        ("!inputs.skip", True),
        ("github.ref == 'refs/heads/main'", True),
        ("!(github.event_name == 'schedule')", False),
        ("needs.a.outputs.b == 'c'", True),
        ("github.event.workflow_run.conclusion == 'success'", False),
        ("((((((", True),
        ("!" * 3000, True),
        ("(" * 1000 + "github.event_name == 'push'" + ")" * 900, True),
    ],
)
def test_what_a_schedule_runs(condition: str, runs: bool) -> None:  # noqa: FBT001 - of the table
    assert lets(condition, "schedule") is runs


def test_what_runs_whatever_went_wrong() -> None:
    assert whatever("always() && needs.x.result == 'success'")
    assert whatever("${{ !cancelled() }}")
    assert whatever("success() || failure()")
    assert not whatever("success()")
    assert not whatever("github.ref == 'always'")
