"""When alerts fire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from watched import alert, facts_of, rules

from vramguard.link.telemetry.late import Late, late

if TYPE_CHECKING:
    from collections.abc import Mapping

SLOW = "avg(rate(model_latency_seconds_sum[5m])) > 1"


def found(text: str, path: str = "a.yml") -> list[Late]:
    return list(late(facts_of({path: text})))


@pytest.mark.parametrize(
    ("expr", "wait", "seconds"),
    [
        (SLOW, "3m", 480.0),
        (SLOW, "", 300.0),
        (SLOW, "0s", 300.0),
        ("changes(DCGM_FI_DEV_XID_ERRORS[10m]) > 0", "", 600.0),
        ("rate(vllm:corrupted_requests_total[1m]) > 0", "30m", 1860.0),
        ("avg(rate(model_latency_seconds_sum[1h])) > 1 and avg(rate(model_latency_seconds_sum[1m])) > 1", "", 60.0),
    ],
)
def test_how_long_a_fault_stands(expr: str, wait: str, seconds: float) -> None:
    (one,) = found(alert(expr, wait))
    assert (one.kind, one.seconds, one.at.line) == ("slow", seconds, 5)


@pytest.mark.parametrize(
    "text",
    [
        alert("rate(model_drift_score[1h]) > 1", "1h"),
        alert("avg(rate(http_request_duration_seconds_sum[10m])) > 1", "1h"),  # of no model
        alert(SLOW, "{{ .Values.wait }}"),
        alert('"avg(rate(model_latency_seconds_sum[{{ .Values.range }}])) > 1"', "1h"),
        rules("- record: model:latency", f"  expr: {SLOW}"),
        alert("up == 0", "1h"),
    ],
)
def test_what_may_wait(text: str) -> None:
    assert found(text) == []


def test_the_chain_says_what_makes_it_slow() -> None:
    (one,) = found(alert(SLOW, "3m"))
    assert [step.at.line for step in one.steps] == [5, 6]


def test_words_of_the_alert_say_that_it_is_of_a_model() -> None:
    text = rules("- alert: Slow", "  expr: avg(rate(response_time_sum[5m])) > 1", "  for: 5m", "  annotations:",
                 "    summary: Model {{ $labels.name }} is slow")  # fmt: skip
    assert [one.kind for one in found(text)] == ["slow"]


OWN = """\
from prometheus_client import Histogram

took = Histogram("api_latency_seconds", "How long a request takes")
"""
MODEL = "from llama_cpp import Llama\n\nmodel = Llama(model_path='models/sql.gguf')\n"
CLIENT = (
    "from prometheus_fastapi_instrumentator import Instrumentator\n\nInstrumentator().instrument(app).expose(app)\n"
)


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({"app.py": OWN, "model.py": MODEL}, ["slow"]),
        ({"app.py": OWN}, []),  # of a repository in which no model is
        ({"test/app.py": OWN, "model.py": MODEL}, []),  # which nobody runs
        ({"app.py": OWN.replace("api_", "shop_"), "model.py": MODEL}, []),  # somebody else's metric
        ({"app.py": OWN + 'right = Counter("model_predictions_total", "Answers")\n'}, ["slow"]),
    ],
)
def test_latency_of_the_repositorys_own_service_before_its_model(files: Mapping[str, str], kinds: list[str]) -> None:
    text = alert("histogram_quantile(0.95, sum by (le) (rate(api_latency_seconds_bucket[1m]))) > 2", "5m")
    assert [one.kind for one in late(facts_of({"rules.yaml": text, **files}))] == kinds


def test_what_a_client_exports_by_itself_is_the_repositorys_own() -> None:
    text = alert("avg(rate(http_request_duration_seconds_sum[5m])) > 1", "10m")
    assert [one.seconds for one in late(facts_of({"r.yaml": text, "app.py": CLIENT, "model.py": MODEL}))] == [900.0]
    assert list(late(facts_of({"r.yaml": text, "app.py": OWN, "model.py": MODEL}))) == []


def test_another_unit() -> None:
    (one,) = found(alert("DCGM_FI_DEV_FB_USED > 75e9"))
    assert (one.kind, one.at.line, one.at.column) == ("unit", 5, 15)


def test_no_promql_is_said_of_alerts_and_records_alike() -> None:
    for line in ("- alert: A", "- record: a"):
        assert [one.kind for one in found(rules(line, "  expr: rate(vllm:x[5m]"))] == ["syntax"]


def test_what_others_read_is_no_error() -> None:
    rule = "apiVersion: operator.victoriametrics.com/v1beta1\nkind: VMRule\nmetadata: {name: r}\nspec:\n  groups:\n"
    rule += "    - name: g\n      rules: [{alert: A, expr: 'rate(vllm:x[5m] keep'}]\n"
    assert found(rule) == []
    loki = rules("- alert: A", '  expr: \'sum(rate({job="vllm"} |= "failed" [5m])) > 1\'')
    assert found(loki) == []


def test_rules_that_grafana_evaluates() -> None:
    text = rules("- uid: a", "  title: Slow model", "  for: 5m", "  data:", "    - model:", f"        expr: {SLOW}")
    assert [(one.kind, one.at.line) for one in found(text)] == [("slow", 9)]


def test_an_object_of_the_operator() -> None:
    rule = "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {name: r}\nspec:\n  groups:\n"
    rule += (
        f"    - name: g\n      rules:\n        - alert: A\n          expr: |\n            {SLOW}\n          for: 5m\n"
    )
    assert [(one.kind, one.seconds) for one in found(rule)] == [("slow", 600.0)]
