"""What the tests of serving engines share: a card, a proof, a log beside the tests of receipts."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from vramguard.checks.vram import device as catalogued
from vramguard.memory import Device, Proof, Workload, prove

GIB = 1 << 30
LOGS = Path(__file__).parents[2] / "receipts" / "logs"


def device(name: str = "h100-sxm5-80gb") -> Device:
    return catalogued(name)


def proof(config: dict[str, Any], workload: Workload, budget: Fraction = Fraction(4, 5)) -> Proof:
    return prove(config, workload, device(workload.gpu or "h100-sxm5-80gb"), budget)


def rows(found: Proof) -> dict[str, tuple[int, int]]:
    return {term.name: (term.lower_bytes, term.upper_bytes) for term in found.ledger}


def read(log: str, pattern: str) -> str:
    """The last group that a log's line gives for a pattern."""
    found = re.findall(pattern, (LOGS / log).read_text(encoding="utf-8"))
    assert found, f"{log}: no line has {pattern}"
    return str(found[-1])
