"""What nobody collects, shows or is woken by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from watched import alert, facts_of, monitor, rules, server

from vramguard.link.telemetry import gaps

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: llama, labels: {team: chat}, annotations: {NOTE: "true"}}
spec: {selector: {app: llama}}
"""
OTHER = alert("rate(node_network_receive_errs_total[1m]) > 1")
CPU = server().replace("nvidia.com/gpu: 1", "cpu: 1")


def unwatched(files: Mapping[str, str]) -> list[tuple[str, int, bool]]:
    return [(one.at.path, one.at.line, one.weak) for one in gaps.unwatched(facts_of(files))]


def test_a_card_that_nobody_collects_from() -> None:
    assert unwatched({"s.yaml": server()}) == [("s.yaml", 2, True)]
    assert unwatched({"s.yaml": server(), "z.yaml": server().replace("llama", "other")}) == [("s.yaml", 2, True)]


def test_it_weighs_more_where_monitoring_is_managed() -> None:
    (found,) = gaps.unwatched(facts_of({"s.yaml": server(), "m.yaml": monitor("database")}))
    assert not found.weak
    assert [(step.at.path, step.at.line) for step in found.steps] == [("s.yaml", 16), ("m.yaml", 2)]


@pytest.mark.parametrize(
    "files",
    [
        {"s.yaml": CPU},
        {"test/s.yaml": server()},
        {"m.yaml": monitor(), "s.yaml": server()},
        {"m.yaml": monitor("gpu-stuff", "ServiceMonitor"), "s.yaml": server()},
        {"m.yaml": monitor("x", "PodMonitoring", "nvidia-dcgm-exporter"), "s.yaml": server()},
        {"m.yaml": monitor("chat").replace("app: chat", "team: chat"), "s.yaml": server(), "v.yaml": SERVICE},
        {"s.yaml": server(), "v.yaml": SERVICE.replace("NOTE", "prometheus.io/scrape")},
        {"s.yaml": server().replace("{labels:", '{annotations: {prometheus.io/scrape: "true"}, labels:')},
        {"s.yaml": server(), "p.yml": "scrape_configs:\n  - job_name: vllm\n"},
        {"s.yaml": server(), "d.yaml": server("nvcr.io/nvidia/k8s/dcgm-exporter:4").replace("llama", "d")},
        {"s.yaml": server(), "dcgm.csv": "DCGM_FI_DEV_GPU_TEMP, gauge, t\n"},
        {"s.yaml": server(), "compose.yaml": "services: {gpu: {image: nvidia/dcgm-exporter:4}}\n"},
        {"s.yaml": server(), "c/templates/podmonitor.yaml": "{{ if .x }}\nkind: PodMonitor\n"},  # cannot be read
        {"s.yaml": server(), "c/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n"
         "dependencies: [{name: gpu-operator, version: 1.0.0, repository: https://x}]\n"},
        {"s.yaml": server(), "p.yaml": "apiVersion: nvidia.com/v1\nkind: ClusterPolicy\nmetadata: {name: p}\n"},
    ],
)  # fmt: skip
def test_somebody_collects(files: Mapping[str, str]) -> None:
    assert unwatched(files) == []


def test_a_platform_that_watches_what_it_runs() -> None:
    truss = "model_name: m\nresources: {accelerator: H100}\nbase_image: {image: vllm/vllm-openai:v0.28.0}\n"
    truss += "docker_server: {start_command: vllm serve org/model --port 8000, server_port: 8000}\n"
    assert unwatched({"t/config.yaml": truss}) == []


def test_a_service_of_compose() -> None:
    text = "services:\n  llm:\n    image: vllm/vllm-openai:v0.28.0\n    command: --model org/model\n"
    text += "    deploy: {resources: {reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}}\n"
    assert unwatched({"compose.yaml": text}) == [("compose.yaml", 2, True)]


@pytest.mark.parametrize("job", ["node", "kafka"])
def test_a_job_for_others_is_none(job: str) -> None:
    assert unwatched({"s.yaml": server(), "p.yml": f"scrape_configs:\n  - job_name: {job}\n"})


ALL = (
    "DCGM_FI_DEV_FB_USED > 1",
    "torch_inactive_split_bytes > 1",
    "DCGM_FI_DEV_GPU_TEMP > 85",
    "changes(DCGM_FI_DEV_XID_ERRORS[1m]) > 0",
    "increase(vllm:corrupted_requests_total[1m]) > 0",
    "avg(vllm:inter_token_latency_seconds_sum) > 1",
)


def alerts(*queries: str) -> str:
    return rules(*(line for query in queries for line in ("- alert: A", f"  expr: {query}")))


def missing(files: Mapping[str, str]) -> tuple[str, bool] | None:
    found = list(gaps.unalerted(facts_of(files)))
    assert len(found) < 2
    return (found[0].what, found[0].weak) if found else None


def test_alerts_of_everything() -> None:
    assert missing({"s.yaml": server(), "a.yml": alerts(*ALL)}) is None


def test_what_is_missing_is_named_once() -> None:
    assert missing({"s.yaml": server(), "a.yml": alerts(*ALL[:3]), "b.yml": alerts(*ALL[5:])}) == (
        "XID faults, NaN answers",
        True,
    )


def test_no_alert_of_a_card_weighs_most() -> None:
    found = missing({"s.yaml": server(), "a.yml": OTHER})
    assert found is not None
    assert not found[1]


def test_nvlink_where_cards_work_together() -> None:
    split = server(arguments="--model=/models/llama, --tensor-parallel-size=2")
    assert missing({"s.yaml": split, "a.yml": alerts(*ALL)}) == ("NVLink", True)
    assert missing({"s.yaml": split, "a.yml": alerts(*ALL, "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL < 1")}) is None


def test_a_recorded_name_stands_for_what_it_is_made_of() -> None:
    recorded = rules("- record: card:hot", "  expr: DCGM_FI_DEV_GPU_TEMP")
    files = {"s.yaml": server(), "a.yml": alerts(*ALL[:2], *ALL[3:], "card:hot > 85"), "r.yml": recorded}
    assert missing(files) is None


@pytest.mark.parametrize(
    "files",
    [
        {"s.yaml": server()},
        {"a.yml": OTHER},
        {"s.yaml": CPU, "a.yml": OTHER},
        {"s.yaml": server(), "test/a.yml": OTHER},
    ],
)
def test_alerts_that_are_none_of_ours(files: Mapping[str, str]) -> None:
    assert missing(files) is None


def test_alerts_of_an_engine_are_of_a_card() -> None:
    found = missing({"a.yml": alert("vllm:num_requests_waiting > 10")})
    assert found is not None
    assert found[1]


def uncounted(files: Mapping[str, str]) -> list[tuple[int, str]]:
    return [(one.at.line, one.what) for one in gaps.uncounted_nans(facts_of(files))]


SCRIPT = server(env="[{name: A, value: b}]").replace(
    "args: [--model=/models/llama]", "command: [sh, /scripts/start.sh]"
)
TOLD = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: scripts}
data:
  start.sh: |
    export VLLM_COMPUTE_NANS_IN_LOGITS=1
    exec vllm serve /models/llama
"""
SET = '[{name: VLLM_COMPUTE_NANS_IN_LOGITS, value: "VALUE"}]'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (server(), 11),
        (server(env="[{name: A, value: b}]"), 13),
        (server(env=SET.replace("VALUE", "0")), 13),
        (server("vllm/vllm-openai:latest"), 11),
        (SCRIPT, 13),  # whose image says what the script starts
        (server().replace("nvidia.com/gpu: 1", "cpu: 4"), 11),
        (server(env="[{name: A, value: b}]").replace("nvidia.com/gpu: 1", "cpu: 4"), 13),
    ],
)
def test_vllm_that_counts_no_nan(text: str, line: int) -> None:
    assert [at for at, _ in uncounted({"s.yaml": text, "m.yaml": monitor()})] == [line]


def test_a_service_of_compose_is_told_where_its_variables_stand() -> None:
    service = "services:\n  llm:\n    image: vllm/vllm-openai:v0.28.0\n    command: --model /m\n    gpus: all\n"
    scraped = {"prometheus.yml": "scrape_configs:\n  - job_name: vllm\n    static_configs: [{targets: ['llm:8000']}]\n"}
    for text, line in ((service, 3), (service + "    environment:\n      - HF_TOKEN=${TOKEN}\n", 6)):
        assert [at for at, _ in uncounted({"compose.yaml": text, **scraped})] == [line]


def test_a_release_that_cannot_is_told_of() -> None:
    ((_, said),) = uncounted({"s.yaml": server("vllm/vllm-openai:v0.8.5"), "m.yaml": monitor()})
    assert said.startswith("0.8.5 cannot")


@pytest.mark.parametrize(
    "files",
    [
        {"s.yaml": server()},  # nothing is monitored here
        {"s.yaml": server(env=SET.replace("VALUE", "1")), "m.yaml": monitor()},
        {"s.yaml": server(env=SET.replace('"VALUE"', '"$(COUNT)"')), "m.yaml": monitor()},
        {"s.yaml": server(env="[]\n          envFrom: [{configMapRef: {name: c}}]"), "m.yaml": monitor()},
        {"s.yaml": server("lmsysorg/sglang:v0.5.10", arguments="--model-path=/m"), "m.yaml": monitor()},
        {"s.yaml": server().replace("nvidia.com/gpu", "google.com/tpu"), "m.yaml": monitor()},
        {"test/s.yaml": server(), "m.yaml": monitor()},
        {"s.yaml": SCRIPT, "m.yaml": monitor(), "c.yaml": TOLD},  # perhaps by the script
        {"s.yaml": SCRIPT.replace("vllm/vllm-openai", "acme/server"), "m.yaml": monitor()},
        {"s.yaml": server(), "m.yaml": monitor(),
         "Dockerfile": 'FROM vllm/vllm-openai:v0.28.0\nENV VLLM_COMPUTE_NANS_IN_LOGITS=1\nCMD ["vllm", "serve"]\n'},
    ],
)  # fmt: skip
def test_vllm_that_counts_or_may(files: Mapping[str, str]) -> None:
    assert uncounted(files) == []


def board(*queries: str, title: str = "Llama inference") -> str:
    return json.dumps({"title": title, "panels": [{"targets": [{"expr": query}]} for query in queries]}, indent=1)


def blind(text: str, path: str = "grafana/d.json") -> bool:
    return bool(list(gaps.blind_dashboards(facts_of({"s.yaml": server(), path: text}))))


CPU_QUERY = 'rate(container_cpu_usage_seconds_total{pod=~"x.*"}[1m])'


@pytest.mark.parametrize(
    ("text", "is_blind"),
    [
        (board(CPU_QUERY, "container_memory_rss"), True),
        (board(CPU_QUERY.replace("x.*", "llama.*"), title="Pods"), True),
        (board(CPU_QUERY, title="Nodes of the cluster"), False),
        (board(CPU_QUERY, "vllm:num_requests_waiting"), False),
        (board(CPU_QUERY, "DCGM_FI_DEV_GPU_UTIL"), False),
        (board(CPU_QUERY, "http_request_duration_seconds_sum"), False),
        (board(CPU_QUERY, "$anything"), False),  # nobody knows what it shows
        (board("kube_pod_info"), False),
        (board(), False),
    ],
)
def test_dashboards(text: str, *, is_blind: bool) -> None:
    assert blind(text) == is_blind


def test_a_dashboard_in_a_configmap() -> None:
    text = "".join(f"    {line}\n" for line in board(CPU_QUERY).splitlines())
    held = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  d.json: |\n{text}"
    (found,) = gaps.blind_dashboards(facts_of({"s.yaml": server(), "c.yaml": held}))
    assert (found.at.path, found.at.line) == ("c.yaml", 7)


SERVES = """\
import torch
from prometheus_client import make_asgi_app
app.mount("/metrics", make_asgi_app())
model = torch.jit.load("m").to("cuda")
"""


PLAIN = SERVES.replace("import torch\n", "").replace('.to("cuda")', "")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"app.py": SERVES}, [("app.py", 3)]),
        ({"app.py": SERVES + "g = torch.cuda.memory_stats()\n"}, []),
        ({"app.py": SERVES, "m/stats.py": "from torch.cuda import memory_reserved\n"}, []),
        ({"app.py": SERVES.replace("cuda", "cpu")}, []),
        ({"test/app.py": SERVES}, []),
        ({"app.py": SERVES.replace("app.mount", "# app.mount")}, []),
        ({"app.py": PLAIN, "train.py": "import torch\nx.cuda()\n"}, []),
        ({"app.py": "from model import run\nfrom prometheus_client import start_http_server\nstart_http_server(1)\n",
          "model.py": "import torch\nx.cuda()\n"}, [("app.py", 3)]),
    ],
)  # fmt: skip
def test_servers_that_hide_their_allocator(files: Mapping[str, str], found: list[tuple[str, int]]) -> None:
    assert [(one.at.path, one.at.line) for one in gaps.silent_allocators(facts_of(files))] == found


def test_it_stands_at_the_rules_of_the_first_file_that_speaks_of_cards() -> None:
    card = rules(
        "- record: busy",
        "  expr: avg(DCGM_FI_DEV_GPU_UTIL)",
        "- alert: Down",
        "  expr: up == 0",
        "- alert: Busy",
        "  expr: busy > 90",
    )
    (found,) = gaps.unalerted(facts_of({"s.yaml": server(), "a.yml": OTHER, "b.yml": card}))
    assert (found.at.path, found.at.line) == ("b.yml", 3)


def test_a_clouds_rules_show_that_monitoring_is_managed() -> None:
    rule = 'resource "azurerm_monitor_alert_prometheus_rule_group" "a" {\n  name = "a"\n}\n'
    assert list(gaps.uncounted_nans(facts_of({"s.yaml": server()}))) == []
    assert len(list(gaps.uncounted_nans(facts_of({"s.yaml": server(), "a.tf": rule})))) == 1


def test_an_image_of_ones_own_that_says_what_it_runs() -> None:
    own = server("acme-vllm:7", arguments="--model=m, --max-model-len=4096")
    files = {"m.yaml": monitor("llama")}
    assert len(list(gaps.uncounted_nans(facts_of({**files, "s.yaml": own})))) == 1
    for image in ("acme-vllm-router:7", "acme:7"):
        assert list(gaps.uncounted_nans(facts_of({**files, "s.yaml": own.replace("acme-vllm:7", image)}))) == []
