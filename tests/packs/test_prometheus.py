"""The pack `prometheus`: promtool takes it, its alerts fire when they should, the exporter exports what they ask."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from packed import COMPOSE, OLD_VLLM, OWN, REPOSITORIES, TRITON, VLLM, objects, plan, promtool, workload, written

from vramguard.packs.parts import table

if TYPE_CHECKING:
    from pathlib import Path

GROUPED = table("alerts")["group"]


def rules(files: dict[str, str]) -> dict[str, Any]:
    """The alerts of a repository by name; of several of one name the last."""
    groups = yaml.safe_load(written(files, "prometheus")["prometheus/rules.yml"])["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_promtool_takes_every_file_and_its_tests_of_the_alerts_pass(name: str, tmp_path: Path) -> None:
    tool = promtool()
    for path, text in written(REPOSITORIES[name], "prometheus").items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    commands = [("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")]
    if name == "compose":
        commands.append(("check", "config", "prometheus.yml"))
    for command in commands:
        done = subprocess.run(
            (tool, *command), cwd=tmp_path / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout
        assert "FAILED" not in done.stdout


def test_promtool_finds_an_alert_that_is_wrong(tmp_path: Path) -> None:
    tool = promtool()
    files = written(REPOSITORIES["vllm"], "prometheus")
    sticky = files["prometheus/rules.yml"].replace(
        "changes(DCGM_FI_DEV_XID_ERRORS[2m]) > 0", "DCGM_FI_DEV_XID_ERRORS > 0"
    )
    assert sticky != files["prometheus/rules.yml"]
    (tmp_path / "rules.yml").write_text(sticky, "utf-8")
    (tmp_path / "rules.test.yml").write_text(files["prometheus/rules.test.yml"], "utf-8")
    done = subprocess.run((tool, "test", "rules", "rules.test.yml"), cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode != 0


@pytest.mark.parametrize("name", REPOSITORIES)
def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent(name: str) -> None:
    files = written(REPOSITORIES[name], "prometheus")
    tests = yaml.safe_load(files["prometheus/rules.test.yml"])["tests"]
    fires = {one["alertname"] for test in tests for one in test["alert_rule_test"] if one["exp_alerts"]}
    named = {
        rule["alert"] for group in yaml.safe_load(files["prometheus/rules.yml"])["groups"] for rule in group["rules"]
    }
    assert named == fires
    for row in table("alerts")["alert"]:
        several = any(len(test["given"]) > len(test.get("fires", ())) for test in row["test"])
        assert several or any(not test.get("fires") for test in row["test"]), f"{row['name']}: always fires"


@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_exporter_exports_what_the_alerts_ask_for(name: str) -> None:
    files = written(REPOSITORIES[name], "prometheus")
    listed = set(re.findall(r"^DCGM_\w+", files["prometheus/dcgm-counters.csv"], re.MULTILINE))
    assert set(re.findall(r"DCGM_\w+", files["prometheus/rules.yml"])) <= listed
    for line in files["prometheus/dcgm-counters.csv"].splitlines():
        assert line.startswith("#") or len(line.split(",")) == 3, "its reader takes three fields"
    if name != "compose":
        counters, *_ = objects(files["prometheus/dcgm-exporter.yaml"])
        assert (
            counters["data"]["metrics"] == counters["data"]["dcgm-metrics.csv"] == files["prometheus/dcgm-counters.csv"]
        )


def test_the_list_of_counters_holds_what_any_alert_may_ask_for() -> None:
    rows = table("alerts")["alert"]
    asked = {name for row in rows for name in re.findall(r"DCGM_\w+", row["expr"])}
    asked |= {name for row in rows for key in ("watches", "watches_nvlink") for name in row.get(key, ())}
    assert asked <= set(table("counters")["kinds"])


def test_the_operators_object_has_the_groups_of_the_file() -> None:
    files = written(REPOSITORIES["many"], "prometheus")
    (held,) = objects(files["prometheus/prometheusrule.yaml"])
    assert held["spec"]["groups"] == yaml.safe_load(files["prometheus/rules.yml"])["groups"]


def test_nvlink_is_watched_where_cards_work_together() -> None:
    assert "NvlinkIdle" in rules({"a.yaml": VLLM})
    assert 'pod=~"llama-[0-9a-z]+-[0-9a-z]{5}"' in rules({"a.yaml": VLLM})["NvlinkIdle"]["expr"]
    assert not [name for name in rules({"a.yaml": OLD_VLLM}) if "Nvlink" in name]
    assert "NVLINK" not in written({"a.yaml": OLD_VLLM}, "prometheus")["prometheus/dcgm-counters.csv"].replace(
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", ""
    )


def test_names_are_those_that_the_release_exports() -> None:
    new, old = rules({"a.yaml": VLLM}), rules({"a.yaml": OLD_VLLM})
    assert (new["KvCacheAlmostFull"]["expr"], old["KvCacheAlmostFull"]["expr"]) == (
        "vllm:kv_cache_usage_perc > 0.95",
        "vllm:gpu_cache_usage_perc > 0.95",
    )
    assert "vllm:corrupted_requests_total" in new["NanAnswers"]["expr"]
    assert "model_nan_outputs_total" in old["NanAnswers"]["expr"]
    assert "model_nan_outputs_total" in rules({"a.yaml": OWN})["NanAnswers"]["expr"]


@pytest.mark.parametrize(
    ("name", "latency"),
    [
        ("vllm", "vllm:time_to_first_token_seconds_bucket"),
        ("sglang", "sglang:time_to_first_token_seconds_bucket"),
        ("tgi", "tgi_request_queue_duration_bucket"),
        ("triton", "nv_inference_request_duration_us"),
        ("own", "http_request_duration_seconds_bucket"),
    ],
)
def test_latency_is_the_engines_own(name: str, latency: str) -> None:
    alerts = rules(REPOSITORIES[name])
    (slow,) = (alerts[one] for one in ("SlowFirstToken", "SlowModel", "HighQueueLatency") if one in alerts)
    assert latency in slow["expr"]
    assert slow["for"] == "10s"


def test_pods_are_found_by_what_selects_them_and_by_the_name_of_the_port() -> None:
    (monitor,) = objects(written({"a.yaml": VLLM}, "prometheus")["prometheus/podmonitors.yaml"])
    assert monitor["metadata"]["namespace"] == "serving"
    assert monitor["spec"]["selector"] == {"matchLabels": {"app": "llama"}}
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == "http"
    (triton,) = objects(written({"a.yaml": TRITON}, "prometheus")["prometheus/podmonitors.yaml"])
    assert triton["spec"]["podMetricsEndpoints"][0]["portNumber"] == 8002
    (kserve,) = objects(written(REPOSITORIES["kserve"], "prometheus")["prometheus/podmonitors.yaml"])
    assert kserve["spec"]["selector"]["matchLabels"] == {"serving.kserve.io/inferenceservice": "ranking"}
    assert kserve["spec"]["podMetricsEndpoints"][0]["portNumber"] == 8080


def test_labels_and_namespace_are_those_by_which_the_repositorys_prometheus_selects() -> None:
    monitor = """
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: shop, namespace: monitoring, labels: {release: kube-prometheus-stack, app: shop}}
spec: {selector: {matchLabels: {app: shop}}, endpoints: [{port: http}]}
"""
    found = plan({"a.yaml": VLLM, "monitor.yaml": monitor}, "prometheus")
    (held,) = objects(next(file.text for file in found.files if file.path.endswith("prometheusrule.yaml")))
    assert held["metadata"]["namespace"] == "monitoring"
    assert held["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    assert "app" not in held["metadata"]["labels"]
    assert not [note for note in found.notes if "release" in note]


def test_compose_has_jobs_and_no_objects() -> None:
    files = written({"compose.yaml": COMPOSE}, "prometheus")
    assert not [path for path in files if path.endswith((".yaml",))]
    jobs = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]
    assert [job["static_configs"][0]["targets"] for job in jobs] == [["dcgm-exporter:9400"], ["llama:8000"]]
    assert "GpuMemoryWithoutPod" not in rules({"compose.yaml": COMPOSE})


def test_what_counts_no_nan_is_said() -> None:
    assert not [note for note in plan({"a.yaml": VLLM}, "prometheus").notes if "NANS" in note]
    silent = workload("llama", "vllm/vllm-openai:v0.33.0", ["--model=meta-llama/Llama-3.1-8B-Instruct"])
    assert [note for note in plan({"a.yaml": silent}, "prometheus").notes if "NANS" in note]


def test_a_repository_without_cards_and_one_of_tests_get_nothing() -> None:
    for files in ({"README.md": "none"}, {"tests/deploy.yaml": VLLM}):
        found = plan(files, "prometheus")
        assert found.files == ()
        assert found.notes


def test_a_name_that_is_none_is_left_out() -> None:
    hostile = VLLM.replace("name: llama", 'name: "llama\\"} or vector(1) #\\nevil: x"')
    assert plan({"a.yaml": hostile}, "prometheus").files == ()
    labels = VLLM.replace("app: llama", 'app: "a: {b"')
    assert "podmonitors.yaml" not in " ".join(written({"a.yaml": labels}, "prometheus"))


def test_the_module_for_the_allocator_exports_what_the_alerts_ask_for() -> None:
    module = written({"a.yaml": OWN}, "prometheus")["prometheus/torch_memory.py"]
    compile(module, "torch_memory.py", "exec")
    names = {rule["expr"] for rule in rules({"a.yaml": OWN}).values()}
    for name in {found for expr in names for found in re.findall(r"torch_\w+|model_nan\w+", expr)}:
        assert name.removesuffix("_total") in module


def test_pods_that_cannot_be_told_apart_by_name_are_said(tmp_path: Path) -> None:
    container = {
        "name": "server",
        "image": "vllm/vllm-openai:v0.33.0",
        "args": ["--model=/m"],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": 8}},
    }
    template = {"metadata": {"labels": {"app": "NAME"}}, "spec": {"containers": [container]}}
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "NAME", "namespace": "serving"},
        "spec": {"replicas": 1, "leaderWorkerTemplate": {"size": 2, "workerTemplate": template}},
    }
    role = yaml.safe_dump(group)
    files = {f"{name}.yaml": role.replace("NAME", name) for name in ("llama", "llama-large")}
    found = plan(files, "prometheus")
    (note,) = [one for one in found.notes if "told from" in one]
    assert note.startswith("LeaderWorkerSet/llama: by their names")
    for file in found.files:
        (tmp_path / file.path.rpartition("/")[2]).write_text(file.text, "utf-8")
    done = subprocess.run(
        (promtool(), "test", "rules", "rules.test.yml"), cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_list_of_counters_keeps_what_the_repository_asks_for_itself() -> None:
    alert = "groups: [{name: a, rules: [{alert: Ecc, expr: 'increase(DCGM_FI_DEV_ECC_DBE_VOL_TOTAL[5m]) > 0'}]}]\n"
    listed = "DCGM_FI_DEV_FAN_SPEED, gauge, Fan.\nDCGM_FI_NONSENSE, gauge, None.\n"
    files = {"a.yaml": VLLM, "alerts.yml": alert, "dcgm-counters.csv": listed}
    counters = written(files, "prometheus")["prometheus/dcgm-counters.csv"]
    assert "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL, counter, " in counters
    assert "DCGM_FI_DEV_FAN_SPEED, gauge, " in counters
    assert "NONSENSE" not in counters
