"""What is known of names: whose they are, what clients add, which was meant."""

from __future__ import annotations

import pytest

from vramguard import data
from vramguard.link.telemetry import names


@pytest.mark.parametrize(
    ("metric", "engine"),
    [
        ("vllm:num_requests_waiting", "vllm"),
        ("sglang:token_usage", "sglang"),
        ("tgi_queue_size", "tgi"),
        ("nv_inference_count", "triton"),
        ("vllm_num_requests", None),
        ("http_requests_total", None),
    ],
)
def test_the_engine_of_a_name(metric: str, engine: str | None) -> None:
    found = names.family_of(metric)
    assert (found and found.name) == engine


@pytest.mark.parametrize("end", ["_bucket", "_count", "_sum", "_created"])
def test_what_a_client_adds_is_taken_away(end: str) -> None:
    known = frozenset({"vllm:time_to_first_token_seconds"})
    assert names.base(f"vllm:time_to_first_token_seconds{end}", known) == "vllm:time_to_first_token_seconds"


def test_a_name_that_ends_like_an_addition_is_itself() -> None:
    assert (
        names.base("vllm:iteration_tokens_total", {"vllm:iteration_tokens_total": 1}) == "vllm:iteration_tokens_total"
    )


def test_every_span_lies_between_releases_that_were_read() -> None:
    for family in names.families():
        for name, span in family.spans.items():
            assert family.owns(name)
            assert names.version(span.first) <= names.version(span.last)
            assert not span.before or names.version(span.before) < names.version(span.first)
            assert not span.after or names.version(span.after) > names.version(span.last)


def test_what_is_renamed_is_gone_and_its_names_are_known() -> None:
    for family in names.families():
        for old, new in family.renamed.items():
            assert family.spans[names.base(old, family.spans)].after
            if "(" not in new:
                assert not family.spans[names.base(new, family.spans)].after


@pytest.mark.parametrize(
    ("text", "version"),
    [("v0.8.5.post1", (0, 8, 5)), ("0.10.1.1", (0, 10, 1, 1)), ("latest", ()), ("nightly-abc", ()), ("v1", ())],
)
def test_releases(text: str, version: tuple[int, ...]) -> None:
    assert names.version(text) == version


def test_the_default_counters_are_fields() -> None:
    for listed in data.load("metrics")["dcgm"]["files"].values():
        assert names.fields() >= set(listed)


@pytest.mark.parametrize(
    ("metric", "signals"),
    [
        ("DCGM_FI_DEV_FB_USED", {"memory"}),
        ("vllm:kv_cache_usage_perc", {"memory"}),
        ("DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", {"nvlink"}),
        ("DCGM_FI_DEV_GPU_TEMP", {"temperature"}),
        ("DCGM_FI_DEV_XID_ERRORS", {"xid"}),
        ("vllm:corrupted_requests_total", {"nan"}),
        ("model_nan_total", {"nan"}),
        ("vllm:time_to_first_token_seconds_bucket", {"latency"}),
        ("nv_inference_request_duration_us", {"latency"}),
        ("maintenance_windows", set()),
        ("finance_total", set()),
        ("container_memory_working_set_bytes", set()),
    ],
)
def test_signals(metric: str, signals: set[str]) -> None:
    assert names.signals((metric,)) == signals


@pytest.mark.parametrize(
    "metric", ["node_cpu_seconds_total", "container_memory_rss", "up", "process_cpu_seconds_total"]
)
def test_what_tells_of_the_host(metric: str) -> None:
    assert names.of_host(metric)


@pytest.mark.parametrize(
    "metric", ["DCGM_FI_DEV_GPU_UTIL", "vllm:num_requests_running", "node_gpu_util", "upstream_latency"]
)
def test_what_tells_of_more(metric: str) -> None:
    assert not names.of_host(metric)
