"""Comparisons that cannot be meant, and those that can."""

from __future__ import annotations

import pytest

from vramguard.link.telemetry.promql import read
from vramguard.link.telemetry.units import flaws

USED, FREE = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
SHARE = f"{USED} / ({USED} + {FREE})"
TTFT = "histogram_quantile(0.95, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[1m])))"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (f"{USED} > 75e9", "bytes"),
        (f"sum({USED}) > 8 * 75 * 1000 * 1000 * 1000", "bytes"),
        (f"{USED} > 0.9", "share"),
        (f"{SHARE} > 90", "percents"),
        (f"90 < {SHARE}", "percents"),
        ("vllm:kv_cache_usage_perc > 90", "percents"),
        ("avg(vllm:gpu_cache_usage_perc) >= 80", "percents"),
        ("max_over_time(sglang:token_usage[5m]) > 95", "percents"),
        ("DCGM_FI_PROF_SM_ACTIVE > 80", "percents"),
        ("DCGM_FI_DEV_GPU_UTIL > 0.9", "share"),
        (f"{USED} / {FREE} > 0.9", "no share"),
        (f"90 < 100 * (sum({USED}) / sum({FREE}))", "no share"),
        (f"{TTFT} > 500", "milliseconds"),
        ("DCGM_FI_DEV_XID_ERRORS > 0", "last fault"),
        ("max by (gpu) (DCGM_FI_DEV_XID_ERRORS) != 0", "last fault"),
        ("max_over_time(DCGM_FI_DEV_XID_ERRORS[5m]) > 0", "last fault"),
        ("a == NaN", "never"),
        ("a != NaN", "always"),
    ],
)
def test_what_was_not_meant(text: str, word: str) -> None:
    (flaw,) = flaws(read(text))
    assert word in flaw.why


@pytest.mark.parametrize(
    "text",
    [
        f"{USED} > 75000",
        f"{USED} * 1024 * 1024 > 75e9",
        f"{SHARE} > 0.9",
        f"100 * {SHARE} > 90",
        f"{SHARE} * 100 > 90",
        f"{USED} / 1024 > 70",
        f"{USED} / {FREE} > 9",  # used by free is no share of the whole
        "vllm:kv_cache_usage_perc > 0.9",
        "vllm:kv_cache_usage_perc * 100 > 90",
        "sum(vllm:kv_cache_usage_perc) > 2",  # of several servers
        "vllm:kv_cache_usage_perc == 1",
        "DCGM_FI_DEV_GPU_UTIL > 90",
        "count(DCGM_FI_DEV_GPU_UTIL) < 1",
        f"{TTFT} > 0.5",
        f"{TTFT} * 1000 > 500",
        "changes(DCGM_FI_DEV_XID_ERRORS[2m]) > 0",
        "delta(DCGM_FI_DEV_XID_ERRORS[2m]) != 0",
        "DCGM_FI_DEV_XID_ERRORS == 79",  # a card that has fallen off the bus stays so
        "DCGM_EXP_XID_ERRORS_COUNT > 0",
        "a != a",
        "own_metric > 1e12",
        "rate(vllm:time_to_first_token_seconds_sum[1m]) > 500",
    ],
)
def test_what_may_be_meant(text: str) -> None:
    assert list(flaws(read(text))) == []


def test_more_mebibytes_than_any_card_has() -> None:
    assert [one.metric for one in flaws(read("DCGM_FI_DEV_FB_FREE < 500000"))] == ["DCGM_FI_DEV_FB_FREE"]
    for text in ("sum(DCGM_FI_DEV_FB_FREE) < 500000", "DCGM_FI_DEV_FB_FREE < 5000", "DCGM_FI_DEV_FB_FREE < 250000"):
        assert list(flaws(read(text))) == []
