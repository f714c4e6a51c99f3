"""Receipts of real start-ups of vLLM, and what the proof says of each."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import tomli

from vramguard.checks.vram import device
from vramguard.memory import Proof, Workload, prove

HERE: Final = Path(__file__).parent
KEYS: Final = (
    "engine",
    "gpu",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "dtype",
    "kv_cache_dtype",
    "max_model_len",
    "gpu_memory_utilization",
    "max_num_seqs",
    "max_num_batched_tokens",
    "enforce_eager",
)


def receipts(name: str) -> list[dict[str, Any]]:
    """The receipts of one file; those of whose model no config was read have no `config`."""
    found: list[dict[str, Any]] = tomli.loads((HERE / "receipts" / f"{name}.toml").read_text("utf-8"))["receipt"]
    return found


def proved(row: dict[str, Any]) -> Proof:
    """What the proof says of a receipt's workload."""
    config = json.loads((HERE.parent / "catalogue" / row["config"]).read_text("utf-8"))
    asked: dict[str, Any] = {key: row[key] for key in KEYS if key in row}
    workload = Workload(**asked, engine_version=row["version"], quantization=row.get("asked_quantization"))
    return prove(config, workload, device(row["gpu"]), Fraction(4, 5))
