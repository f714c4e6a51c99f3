"""Names that look like those of what runs here, and of what nothing here exports; and the many that may be exported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from watched import alert, facts_of, monitor, server

from vramguard.link.telemetry.dead import dead

if TYPE_CHECKING:
    from collections.abc import Mapping

TRITON = server("nvcr.io/nvidia/tritonserver:25.10-py3", arguments="tritonserver, --model-repository=/models")
DCGM = """
resource "helm_release" "dcgm" {
  name  = "dcgm-exporter"
  chart = "dcgm-exporter"
  set = [{ name = "serviceMonitor.enabled", value = "true" }]
}
"""
APP = """
from prometheus_client import Counter, Histogram, make_asgi_app
asked = Counter("router_requests_total", "x", ["backend"])
failed = Counter("router_errors_total", "x")
slow = Histogram("router_latency_seconds", "x")
"""


def kinds(files: Mapping[str, str]) -> dict[str, str]:
    return {one.metric: one.kind for one in dead(facts_of(files))}


def instead(files: Mapping[str, str]) -> dict[str, str]:
    return {one.metric: one.instead for one in dead(facts_of(files))}


def test_the_names_of_triton() -> None:
    asked = alert("triton_server_inference_count / nv_model_ready_state > nv_gpu_utilization")
    files = {"s.yaml": TRITON, "a.yml": asked}
    assert kinds(files) == {"triton_server_inference_count": "misspelt", "nv_model_ready_state": "unknown"}
    assert instead(files)["triton_server_inference_count"] == "nv_inference_count"
    assert kinds({"a.yml": asked}) == {}


def test_a_counter_has_no_buckets() -> None:
    bucket, summary = "nv_inference_request_duration_us_bucket", "nv_inference_request_summary_us_sum"
    files = {"s.yaml": TRITON, "a.yml": alert(f"rate({bucket}[1m]) > rate({summary}[1m])")}
    assert kinds(files) == {bucket: "misspelt"}
    assert kinds({**files, "b.py": f'name = "{bucket}"  # a metric'}) == {}


@pytest.mark.parametrize("also", [
    {"otel-collector.yaml": "receivers: {}"}, {"router/main.go": "package main"},
    {"x.py": "NAMES = ['vllm_num_requests_running']  # metrics"},
    {"m.yaml": monitor("llama") + "  relabelings: [{targetLabel: __name__}]\n"},
])  # fmt: skip
def test_the_underscore_of_vllm(also: Mapping[str, str]) -> None:
    files = {"s.yaml": server(), "a.yml": alert("vllm_num_requests_running > 4")}
    assert instead(files) == {"vllm_num_requests_running": "vllm:num_requests_running"}
    assert kinds({**files, **also}) == {}
    assert kinds({"a.yml": files["a.yml"]}) == {}


def test_other_exporters_of_cards() -> None:
    files = {"m.tf": DCGM, "a.yml": alert("nvidia_gpu_duty_cycle > 90")}
    assert kinds(files) == {"nvidia_gpu_duty_cycle": "unknown"}
    other = DCGM.replace("dcgm", "nvidia-gpu")
    assert kinds({**files, "n.tf": other}) == {}
    assert kinds({"a.yml": files["a.yml"]}) == {}


def test_what_no_list_of_an_image_has() -> None:
    files = {"m.tf": DCGM, "a.yml": alert("DCGM_FI_DEV_FB_USED / DCGM_FI_DEV_FB_TOTAL > 0.9")}
    assert kinds(files) == {"DCGM_FI_DEV_FB_TOTAL": "left-out"}
    own = DCGM.replace("serviceMonitor.enabled", "customMetrics")
    assert kinds({**files, "m.tf": own}) == {}
    assert kinds({**files, "n.tf": DCGM.replace("dcgm-exporter", "gpu-operator")}) == {}
    assert kinds({**files, "dcgm.csv": "DCGM_FI_DEV_FB_TOTAL, gauge, x\n"}) == {}


def test_a_script_that_installs_the_exporter() -> None:
    script = "#!/bin/bash\nhelm upgrade --install dcgm nvidia/dcgm-exporter \\\n  --set resources.limits.memory=1Gi\n"
    files = {"up.sh": script, "a.yml": alert("DCGM_FI_DEV_FB_TOTAL > 1")}
    run = (
        'resource "null_resource" "gpu" {\n  provisioner "local-exec" {\n    command = <<-EOT\nTEXT\n    EOT\n  }\n}\n'
    )
    assert kinds({**files, "up.sh": ""}) == {}
    assert kinds({"m.tf": run.replace("TEXT", script), "a.yml": files["a.yml"]}) == {"DCGM_FI_DEV_FB_TOTAL": "left-out"}
    assert kinds({"m.tf": run.replace("TEXT", script.replace("--set", "-f")), "a.yml": files["a.yml"]}) == {}


@pytest.mark.parametrize("also", [
    {"cmd/main.go": "package main"}, {"gateway/server.ts": "import x"}, {"otel.yaml": "x: 1"},
    {"more.py": "from prometheus_client import Counter\nx = Counter(NAME, 'x')\n"},
    {"more.py": "from prometheus_client import Counter\nx = Counter('http_requests_total', 'x', namespace='router')\n"},
    {"more.py": "import prometheus_client\nrow = f'router_http_requests_total {n}'\n"},
    {"more.py": "from opentelemetry import metrics\nx = metrics.get_meter('x').create_counter('x')\n"},
])  # fmt: skip
def test_names_of_this_repositorys_own_service(also: Mapping[str, str]) -> None:
    asked = alert("rate(router_http_requests_total[1m]) > rate(router_latency_seconds_count[1m])")
    files = {"app.py": APP, "a.yml": asked, "frontend/app.ts": ""}
    assert kinds(files) == {"router_http_requests_total": "unknown"}
    assert kinds({**files, **also}) == {}


def test_a_first_word_that_many_share_says_nothing() -> None:
    files = {"app.py": APP.replace("router_", "model_"), "a.yml": alert("model_http_requests_total > 1")}
    assert kinds(files) == {}


def test_rules_of_a_clouds_prometheus() -> None:
    text = """
resource "azurerm_monitor_alert_prometheus_rule_group" "a" {
  rule {
    record     = "job:latency:p95"
    expression = "histogram_quantile(0.95, rate(vllm_request_latency_seconds_bucket[5m]))"
  }
  rule {
    alert      = "Slow"
    expression = "job:latency:p95 > 5"
    for        = "PT10M"
  }
}
resource "aws_prometheus_rule_group_namespace" "b" {
  data = <<-EOT
groups:
  - name: g
    rules:
      - alert: Busy
        expr: vllm_num_requests_running > 4
EOT
}
"""
    found = dead(facts_of({"s.yaml": server(), "m.tf": text}))
    names = ["vllm_request_latency_seconds_bucket", "vllm_num_requests_running"]
    assert [(one.metric, one.at.line) for one in found] == [(names[0], 5), (names[1], 19)]


@pytest.mark.parametrize(
    "above",
    [
        "additionalPrometheusRules:\n- name: a\n  ",
        "prometheusRule:\n  ",
        "serverFiles:\n  alerting_rules.yml:\n    ",
    ],
)
def test_rules_among_the_values_of_a_chart(above: str) -> None:
    value = above + json.dumps({"groups": [{"rules": [{"alert": "A", "expr": "vllm_num_requests_running > 1"}]}]})[1:-1]
    assert list(kinds({"s.yaml": server(), "values.yaml": value})) == ["vllm_num_requests_running"]
