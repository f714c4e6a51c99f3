"""A plan, for programs (`vramguard.plan/1`) and as a table of cards that a person can read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from vramguard.report.escape import to_json
from vramguard.report.proof import model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from vramguard.memory.curves import Curve
    from vramguard.memory.planning import Cards, Largest, Row
    from vramguard.planned import Planned

SCHEMA: Final = "vramguard.plan/1"


def render(name: str, planned: Planned, curves: Sequence[Curve] = ()) -> str:
    """The plan as `json`, `text`, or with the `curves` of its first card as `markdown` or `html`."""
    if name == "json":
        return to_json(as_json(planned))
    if name in ("markdown", "html"):
        from vramguard.report import pictures

        return pictures.plan(name, planned, curves)
    from vramguard.report.page import written

    return written(lambda console: print_plan(planned, console))


def print_plan(planned: Planned, console: Console) -> None:
    """A table of what fits on each card, and the answer for those that were asked for."""
    from vramguard.report.cards import print_cards

    print_cards(planned, console)


def as_json(planned: Planned) -> dict[str, Any]:
    """The plan in JSON's types."""
    proof = planned.proven.proof
    return {
        "schema": SCHEMA,
        "fits": planned.fits,
        "asked": list(planned.asked),
        "assumed": proof.gpu_assumed,
        "budget_fraction": proof.budget_fraction,
        "model": model(planned.proven),
        "workload": {key: value for key, value in dataclasses.asdict(planned.workload).items() if value is not None},
        "parameters": {"total": proof.parameters, "active": proof.active_parameters},
        "quantized": planned.packed,
        "needs_checkpoint": list(planned.needs_checkpoint),
        "gpus": [_row(row) for row in planned.rows],
        "assumptions": list(proof.assumptions),
    }


def _row(row: Row) -> dict[str, Any]:
    proof = row.asked
    totals, pool = proof.totals, proof.pool
    return {
        "gpu": proof.device.name,
        "capacity_bytes": proof.device.capacity_bytes,
        "budget_bytes": proof.budget_bytes,
        "answer": proof.answer.value,
        "reason": proof.reason,
        "peak_lower_bytes": totals.peak_lower_bytes if totals else None,
        "peak_upper_bytes": totals.peak_upper_bytes if totals else None,
        "engine_starts": pool.starts if pool else None,
        "max_model_len": _largest(row.max_model_len),
        "concurrency": _largest(row.concurrency),
        "gpu_memory_utilization": {
            "value": pool.largest_utilization if pool else None,
            "reserves": pool is not None,
        },
        "cards": _cards(row.cards),
        "quantizations": [
            {"quantization": one.method, "answer": one.answer.value, "reason": one.reason} for one in row.quantized
        ],
    }


def _largest(found: Largest) -> dict[str, Any]:
    """`next` is what the next value answers, or the least where there is no value."""
    answer = found.answer.value if found.answer else None
    return {"value": found.value, "limit": found.limit, "next": answer, "reason": found.reason}


def _cards(found: Cards) -> dict[str, Any]:
    return {
        "value": found.gpus,
        "tensor_parallel_size": found.tensor_parallel_size,
        "pipeline_parallel_size": found.pipeline_parallel_size,
        "answer": found.answer.value if found.answer else None,
        "reason": found.reason,
    }
