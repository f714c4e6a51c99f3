"""Queries by Prometheus' own grammar, with what a renderer and Grafana put between."""

from __future__ import annotations

import pytest
from timed import within

from vramguard.link.telemetry.promql import read, seconds


@pytest.mark.parametrize(
    ("text", "metrics"),
    [
        ("rate(vllm:a_total[5m])", ("vllm:a_total",)),
        ('a{b="DCGM_FI_DEV_GPU_TEMP"} / a', ("a",)),
        ('{__name__="a:b", c="d"}', ("a:b",)),
        ('{__name__=~"^vllm:num_requests_waiting$"}', ("vllm:num_requests_waiting",)),
        ('{__name__=~"a|b"}', ()),
        ('{__name__!="a"}', ()),
        ("rate(a[$__rate_interval])", ("a",)),
        ("rate(a[${__interval}]) > $threshold", ("a",)),
        ("topk($n, a)", ("a",)),
        ("sum by ([[group]]) (a)", ("a",)),
        ("DCGM_FI_DEV_$field", ()),
        ('a{namespace="{{ .Values.namespace }}"}', ("a",)),
        ("rate({{ .Values.metric }}[5m])", ()),
        ("sum(<<.Series>>{<<.LabelMatchers>>})", ()),
        ("a offset $shift", ("a",)),
    ],
)
def test_the_names_of_metrics(text: str, metrics: tuple[str, ...]) -> None:
    assert read(text).metrics == metrics


@pytest.mark.parametrize(
    "text", ["rate(a[5m]", 'a{b="c"', "a > ", "sum(a)) > 1", "rate(a)", 'a{b="c}', "a > 5%", "a and"]
)
def test_what_no_prometheus_reads_is_an_error(text: str) -> None:
    assert read(text).error


@pytest.mark.parametrize(
    "text",
    [
        "a > 1",
        "info(a)",
        "brand_new(a)",  # a function of a later release
        "rate(a[5m * 2])",  # sums of times, Prometheus 3
        "increase(a[1h]) keep_metric_names",  # of VictoriaMetrics
        "a default 0",
        '{job="x"} |= "failed"',  # of Loki
        "a{b=$c}",
        "rate(a[{{ .Values.x }}]",
        "",
    ],
)
def test_what_another_reader_reads_is_none(text: str) -> None:
    assert not read(text).error


def test_a_query_with_variables_is_not_whole() -> None:
    assert read("a[5m]").whole
    assert not read("rate(a[$__interval])").whole
    assert not read("a > {{ .Values.x }}").whole


@pytest.mark.parametrize(
    ("text", "range_s"),
    [
        ("a > 1", 0.0),
        ("rate(a[5m])", 300.0),
        ("max_over_time(rate(a[1m])[10m:1m])", 60.0),
        ("rate(a[1h]) > 1 and rate(a[5m]) > 1", 300.0),
    ],
)
def test_of_two_windows_the_quick_one_counts(text: str, range_s: float) -> None:
    assert read(text).range_s == range_s


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "a" + ")" * 5000,
        "a" + "+a" * 3000,
        "-" * 5900 + "a",
        "a" + " or a" * 1100,
        "a" * 3_000_000,
        "[[" * 2000,
        "{{" * 2900,
        '"' + "\\" * 5000,
        "$" * 5000,
        "\0\ud800 ",
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    with within(1):
        read(text)


@pytest.mark.parametrize(("text", "number"), [("5m", 300.0), ("1h30m", 5400.0), ("0s", 0.0), ("x", None), ("", None)])
def test_durations(text: str, number: float | None) -> None:
    assert seconds(text) == number


def test_durations_of_a_cloud() -> None:
    assert [seconds(text) for text in ("PT10M", "PT1H30S", "P1D")] == [600, 3630, 86400]
