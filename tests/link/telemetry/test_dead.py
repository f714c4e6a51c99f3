"""Metrics that nobody exports, and the many that somebody does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from timed import within
from watched import alert, facts_of, rules, server

from vramguard.link.telemetry.dead import dead

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTERS = "# a list\nDCGM_FI_DEV_GPU_TEMP, gauge, temperature\n# DCGM_FI_DEV_XID_ERRORS, gauge, faults\n"
EXPORTER = """\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: dcgm}
spec:
  template:
    spec:
      containers: [{name: e, image: nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3, args: [ARGS]}]
"""


def kinds(files: Mapping[str, str]) -> dict[str, str]:
    return {one.metric: one.kind for one in dead(facts_of(files))}


def test_a_field_that_the_list_comments_out() -> None:
    (found,) = dead(facts_of({"dcgm.csv": COUNTERS, "a.yml": alert("changes(DCGM_FI_DEV_XID_ERRORS[1m]) > 0")}))
    assert (found.kind, found.at.line, found.at.column) == ("left-out", 5, 23)
    assert [(step.at.path, step.at.line) for step in found.steps] == [("dcgm.csv", 2)]


def test_a_list_in_a_configmap() -> None:
    text = "".join(f"    {line}\n" for line in COUNTERS.splitlines())
    held = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  metrics: |\n{text}"
    (found,) = dead(facts_of({"c.yaml": held, "a.yml": alert("DCGM_FI_DEV_FB_USED > 1")}))
    assert found.steps[0].at.line == 7


@pytest.mark.parametrize(
    "files",
    [
        {"a.yml": alert("DCGM_FI_DEV_XID_ERRORS > 0")},  # no list stands here
        {"dcgm.csv": COUNTERS, "a.yml": alert("DCGM_FI_DEV_GPU_TEMP > 85")},
        {"dcgm.csv": COUNTERS, "a.yml": alert("DCGM_FI_DEV_XID_ERRORS > 0"), "e.yaml": EXPORTER},  # the image's own
        {"test/dcgm.csv": COUNTERS, "a.yml": alert("DCGM_FI_DEV_FB_USED > 1")},
        {"a.yml": alert("some_metric_of_theirs > 1")},
        {"a.yml": alert("vllm_custom > 1")},
        {"a.yml": alert("vllm:num_requests_waiting > 1")},
        {"a.yml": alert("rate(vllm:prompt_tokens_total[1m]) > 1")},
        {"a.yml": alert("vllm:time_to_first_token_seconds_bucket > 1")},
        {"a.yml": alert("vllm:avg_latency > 1")},  # of a router
        {"a.yml": alert("tgi_batch_current_size > 1")},
        {"a.yml": alert('a{b="vllm:gpu_cache_usage_perc"} > 1')},
        {"a.yml": alert('"DCGM_FI_DEV_{{ .Values.x }} > 1"')},
        {"a.yml": rules("- record: vllm:own:rate", "  expr: a", "- alert: A", "  expr: vllm:own:rate > 1")},
        {"a.yml": alert("vllm:own_thing > 1"), "e.py": 'NAMES = ["vllm:own_thing"]\n'},
        {"a.yml": alert("vllm:gpu_cache_usage_perc > 1"), "e.py": 'from prometheus_client import Gauge\n'
         'g = Gauge("vllm:gpu_cache_usage_perc", "of ours")\n'},
        {"a.yml": alert("vllm:gpu_cache_usage_perc > 1"), "s.yaml": server("vllm/vllm-openai:v0.8.5")},
    ],
)  # fmt: skip
def test_what_may_be_exported(files: Mapping[str, str]) -> None:
    assert kinds(files) == {}


def test_an_exporter_with_a_list_of_its_own_leaves_the_list_in_force() -> None:
    told = EXPORTER.replace("ARGS", "-f, /etc/own/counters.csv")
    files = {"dcgm.csv": COUNTERS, "a.yml": alert("DCGM_FI_DEV_FB_USED > 1"), "e.yaml": told}
    assert kinds(files) == {"DCGM_FI_DEV_FB_USED": "left-out"}


@pytest.mark.parametrize(
    ("metric", "kind", "instead"),
    [
        ("DCGM_FI_DEV_GPU_TEMPERATURE", "misspelt", ""),
        ("DCGM_FI_DEV_GPU_UTILS", "misspelt", "DCGM_FI_DEV_GPU_UTIL"),
        ("vllm:gpu_cache_usage_perc", "renamed", "vllm:kv_cache_usage_perc"),
        ("vllm:time_per_output_token_seconds_bucket", "renamed", "vllm:inter_token_latency_seconds"),
        ("vllm:num_request_waiting", "misspelt", "vllm:num_requests_waiting"),
        ("sglang:total_retracted_reqs", "renamed", "sglang:num_retracted_requests_total"),
        ("tgi_request_latency_p99", "unknown", ""),
    ],
)
def test_what_nobody_exports(metric: str, kind: str, instead: str) -> None:
    (found,) = dead(facts_of({"a.yml": alert(f"{metric} > 1")}))
    assert found.kind == kind
    assert not instead or found.instead == instead


def test_a_mention_in_python_exports_nothing() -> None:
    files = {"a.yml": alert("vllm:gpu_cache_usage_perc > 1"), "e.py": 'WATCHED = "vllm:gpu_cache_usage_perc"\n'}
    assert kinds(files) == {"vllm:gpu_cache_usage_perc": "renamed"}


def test_the_releases_that_run_here_decide() -> None:
    late = {"a.yml": alert("vllm:gpu_cache_usage_perc > 1"), "s.yaml": server("vllm/vllm-openai:v0.28.0")}
    early = {"a.yml": alert("vllm:kv_cache_usage_perc > 1"), "s.yaml": server("vllm/vllm-openai:v0.8.5")}
    unnamed = {"a.yml": alert("vllm:kv_cache_usage_perc > 1"), "s.yaml": server("vllm/vllm-openai:latest")}
    assert list(kinds(late).values()) == ["renamed"]
    assert list(kinds(early).values()) == ["unborn"]
    assert kinds(unnamed) == {}


SCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: llama}}
spec:
  metrics:
    - type: Pods
      pods:
        metric: {{name: "{name}"}}
"""


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("vllm:gpu_cache_usage_perc", "renamed"),
        ("gpu_cache_usage_perc", "renamed"),  # AIBrix looks it up so
        ("prometheus.googleapis.com|vllm:gpu_cache_usage_perc|gauge", "renamed"),
        ("prometheus.googleapis.com|vllm:num_requests_waiting|gauge", None),
        ("tgi_request_latency", None),  # an adapter may call anything so
        ("vllm:num_request_waiting", "misspelt"),
        ("queue_depth", None),
        ("DCGM_FI_DEV_GPU_UTIL_AVG", None),  # what an adapter makes of a field
        ("DCGM_FI_DEV_GPU_UTILL", None),
        ("DCGM_FI_DEV_GPU_UTL", "misspelt"),
    ],
)
def test_what_an_autoscaler_names(name: str, kind: str | None) -> None:
    assert list(kinds({"h.yaml": SCALER.format(name=name)}).values()) == ([kind] if kind else [])


def test_an_adapter_may_give_a_bare_name() -> None:
    adapter = "rules:\n  - seriesQuery: 'vllm:kv_cache_usage_perc'\n    name: {as: gpu_cache_usage_perc}\n"
    files = {"h.yaml": SCALER.format(name="gpu_cache_usage_perc"), "adapter.yaml": adapter}
    assert kinds(files) == {}


def test_a_histogram_once_for_each_query_of_a_dashboard() -> None:
    series = "vllm:time_per_output_token_seconds"
    targets = [
        {"expr": f"rate({series}_sum[1m]) / rate({series}_count[1m])"},
        {"expr": f"rate({series}_sum[$__interval])"},
    ]
    text = json.dumps({"title": "t", "panels": [{"targets": targets}]}, indent=1)
    found = dead(facts_of({"grafana/d.json": text}))
    assert [one.at.line for one in found] == [7, 10]


def test_a_dashboard_of_google_cloud() -> None:
    text = json.dumps({"displayName": "t", "tiles": [{"prometheusQuery": "vllm:gpu_cache_usage_perc"}]}, indent=1)
    assert list(kinds({"dashboard.json": text}).values()) == ["renamed"]


def test_other_queries() -> None:
    keda = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: a}\nspec:\n  triggers:\n"
    keda += "    - {type: prometheus, metadata: {query: 'avg(vllm:gpu_cache_usage_perc)'}}\n"
    analysis = "apiVersion: argoproj.io/v1alpha1\nkind: AnalysisTemplate\nmetadata: {name: a}\nspec:\n  metrics:\n"
    analysis += "    - provider: {prometheus: {query: 'avg(vllm:gpu_cache_usage_perc)'}}\n"
    for text in (keda, analysis):
        assert list(kinds({"o.yaml": text}).values()) == ["renamed"]


def test_a_dashboard_of_thousands_of_costly_queries_takes_no_time() -> None:
    panels = [{"expr": "+".join(["a"] * 140) + f" + b{number}"} for number in range(3000)]
    facts = facts_of({"grafana/d.json": json.dumps({"title": "t", "panels": panels})})
    with within(20):
        dead(facts)


def test_numbers_of_a_fork_are_no_releases_of_the_engine() -> None:
    files = {"a.yml": alert("vllm:kv_cache_usage_perc > 1"), "s.yaml": server("lmcache/vllm-openai:v0.3.7")}
    assert kinds(files) == {}
