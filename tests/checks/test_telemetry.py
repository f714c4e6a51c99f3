"""VG603-VG610 as problems: parameters, weights, words."""

from __future__ import annotations

import pytest
from watched import alert, monitor, problems, server

from vramguard.checks import Severity
from vramguard.checks.telemetry import DeadMetric, GpuAlerts, GpuTelemetry, LateAlert, NanCounter

SLOW = alert("avg(rate(model_latency_seconds_sum[5m])) > 1", "3m")


def test_absences_name_their_surface() -> None:
    files = {"s.yaml": server(), "m.yaml": monitor("database"), "a.yml": alert("up == 0")}
    for check in (GpuTelemetry(), GpuAlerts(), NanCounter()):
        assert {problem.data["surface"] for problem in problems(check, files)} == {"Deployment/llama"}


def test_no_telemetry_weighs_more_where_monitoring_is_managed() -> None:
    assert [one.severity for one in problems(GpuTelemetry(), {"s.yaml": server()})] == [Severity.WARNING]
    managed = {"s.yaml": server(), "m.yaml": monitor("database")}
    assert [one.severity for one in problems(GpuTelemetry(), managed)] == [None]
    example = {"example/s.yaml": server(), "m.yaml": monitor("database")}
    assert [one.severity for one in problems(GpuTelemetry(), example)] == [Severity.WARNING]


def test_the_longest_wait_is_a_parameter() -> None:
    assert problems(LateAlert(), {"a.yml": SLOW})
    assert problems(LateAlert(longest=480), {"a.yml": SLOW}) == []


def test_a_mistake_in_a_query_is_an_error() -> None:
    (one,) = problems(LateAlert(), {"a.yml": alert("rate(vllm:x[5m] > 0")})
    assert one.severity is Severity.ERROR


@pytest.mark.parametrize(
    ("metric", "severity"),
    [("DCGM_FI_DEV_GPU_TEMPERATURE", None), ("vllm:gpu_cache_usage_perc", Severity.WARNING)],
)
def test_the_kinds_of_dead_metrics_weigh_apart(metric: str, severity: Severity | None) -> None:
    (one,) = problems(DeadMetric(), {"a.yml": alert(f"{metric} > 1")})
    assert one.severity is severity
    (every,) = problems(DeadMetric(errors=("misspelt", "renamed")), {"a.yml": alert(f"{metric} > 1")})
    assert every.severity is None


def test_tests_are_not_judged() -> None:
    files = {"test/a.yml": alert("vllm:gpu_cache_usage_perc > 1"), "test/b.yml": SLOW}
    assert problems(DeadMetric(), files) == []
    assert problems(LateAlert(), files) == []
