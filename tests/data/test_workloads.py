"""`data/workloads.toml` and `data/autoscaling.toml`: well formed, and sourced."""

from __future__ import annotations

from vramguard.data import load
from vramguard.link.cluster.pods import BATCH
from vramguard.link.cluster.workloads import is_shallow

GIVES = {"readiness", "startup", "memory", "shm", "grace", "cards"}


def test_every_row_has_its_source_and_says_what_is_understood() -> None:
    held = load("workloads")
    for row in (*held["workload"], *held["endpoint"], *load("autoscaling")["signal"]):
        assert row["source"].strip()
    for row in held["workload"]:
        assert set(row["gives"]) <= GIVES
        assert row["kind"] not in BATCH
        assert row.get("rollout", "") in ("", "surge", "replace")
        assert (row.get("rollout") == "surge") == ("max_surge" in row)
    assert len({(row["kind"], row["group"]) for row in held["workload"]}) == len(held["workload"])
    assert all(path.startswith("/") for row in held["endpoint"] for path in row["paths"])


def test_an_endpoint_is_its_engines() -> None:
    assert is_shallow("/health", "vllm")
    assert is_shallow("/health/", "vllm")
    assert not is_shallow("/health", None)
    assert is_shallow("/v2/health/ready", None)
    assert not is_shallow("/health_generate", "sglang")
    assert not is_shallow("/v1/completions", "vllm")
