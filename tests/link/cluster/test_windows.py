"""Hours of the week in which a cron starts something."""

from __future__ import annotations

import pytest

from vramguard.link.cluster.windows import hours_of


@pytest.mark.parametrize(
    ("cron", "hours"),
    [
        ("0 18 * * 5", {(5, 18)}),
        ("0 18 * * fri", {(5, 18)}),
        ("0 6,18 * * 7", {(0, 6), (0, 18)}),
        ("0 */12 * * 1", {(1, 0), (1, 12)}),
        ("0 8-10 * * mon-tue", {(day, hour) for day in (1, 2) for hour in (8, 9, 10)}),
        ("0 3 1 * *", {(day, 3) for day in range(7)}),  # the first of a month may be any day
        ("0 25-30 * * 1", set()),
        ("@daily", set()),
        ("0 x * * 1", set()),
        (f"0 {'1,' * 5000}1 * * 1", {(1, 1)}),
    ],
)
def test_hours_of_a_cron(cron: str, hours: set[tuple[int, int]]) -> None:
    assert hours_of(cron) == hours
