"""The tables of receipts are whole, agree with themselves, and keep what is held out apart."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import tomli

from vramguard.data import gpus

HERE = Path(__file__).parent / "receipts"
CATALOGUE = Path(__file__).parents[1] / "catalogue"
TABLES = {name: tomli.loads((HERE / f"{name}.toml").read_text("utf-8")) for name in ("receipts", "held_out")}
ROWS = [(name, row) for name, table in TABLES.items() for row in table["receipt"]]
ROUNDING = 0.005 + 1e-9  # of a size, in GiB


@pytest.mark.parametrize(("table", "row"), ROWS, ids=lambda value: value if isinstance(value, str) else value["log"])
def test_a_row_adds_up(table: str, row: dict[str, Any]) -> None:
    """As in gpu_worker.py of vLLM 0.19: requested = total x utilization, cache = requested - all that is measured."""
    assert row["engine"] == "vllm", table
    assert row["version"] == "0.19.0"
    assert row["gpu"] in gpus()
    assert "config" not in row or (CATALOGUE / row["config"]).is_file()
    assert abs(row["total"] * float(row["gpu_memory_utilization"]) - row["requested"]) <= 2 * ROUNDING
    for rank in row.get("ranks", {"": row}).values():
        taken = rank["weights"] + rank["activation"] + rank["non_torch"]
        assert abs(row["requested"] - taken - rank["kv_cache"]) <= 5 * ROUNDING
    if row["kv_cache_tokens"] == 16 * row.get("kv_cache_blocks", 0):  # every layer keeps every token
        requests = Decimal(row["concurrency"]) * row["max_model_len"]
        assert abs(requests - row["kv_cache_tokens"]) <= Decimal("0.005") * row["max_model_len"]


def test_nothing_is_in_both() -> None:
    logs = [row["log"] for _, row in ROWS]
    assert len(set(logs)) == len(logs)
    assert len(TABLES["receipts"]["receipt"]) == 29
    assert len(TABLES["held_out"]["receipt"]) == 31
    assert {len(table["commit"]) for table in TABLES.values()} == {40}
