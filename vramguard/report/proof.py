"""A proof, for programs (`vramguard.proof/1`) and as a ledger that a person can follow line by line."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from vramguard.report import Context
from vramguard.report.escape import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from vramguard.engine import Proven
    from vramguard.memory import Term
    from vramguard.memory.curves import Curve

SCHEMA: Final = "vramguard.proof/1"
_OUTSIDE: Final = ("device_map",)  # fields of the workload that are not part of the contract


def render(name: str, proven: Proven, curves: Sequence[Curve] = ()) -> str:
    """The proof as `json`, `text`, or with its `curves` as `markdown` or `html`."""
    if name == "json":
        return to_json(as_json(proven))
    if name in ("markdown", "html"):
        from vramguard.report import pictures

        return pictures.proof(name, proven, curves)
    from vramguard.report.page import written

    return written(lambda console: print_proof(proven, console))


def print_proof(proven: Proven, console: Console) -> None:
    """The ledger, its totals, a picture of the card, the answer and what it assumes."""
    from vramguard.report.ledger import print_ledger

    print_ledger(proven, console)


def as_json(proven: Proven, prefix: str = "") -> dict[str, Any]:
    """The proof in JSON's types; `prefix` is where the judged folder stands."""
    proof = proven.proof
    return {
        "schema": SCHEMA,
        "answer": proof.answer.value,
        "reason": proof.reason,
        "method": proof.method,
        "model": model(proven, prefix),
        "workload": {key: value for key, value in dataclasses.asdict(proof.workload).items() if key not in _OUTSIDE},
        "parameters": {"total": proof.parameters, "active": proof.active_parameters},
        "model_weight_bytes": proof.model_weight_bytes,
        "kv_cache_bytes_per_token": proof.kv_cache_bytes_per_token,
        "ledger": [_row(term) for term in proof.ledger],
        "totals": dataclasses.asdict(proof.totals) if proof.totals else None,
        "pool": dataclasses.asdict(proof.pool) if proof.pool else None,
        "device": {
            "name": proof.device.name,
            "capacity_bytes": proof.device.capacity_bytes,
            "budget_fraction": proof.budget_fraction,
            "budget_bytes": proof.budget_bytes,
            "assumed": proof.gpu_assumed,
        },
        "headroom_bytes": proof.headroom_bytes,
        "max_fitting_model_len": proof.max_fitting_model_len,
        "min_fitting_gpus": proof.min_fitting_gpus,
        "assumptions": list(proof.assumptions),
    }


def model(proven: Proven, prefix: str = "") -> dict[str, Any]:
    """What was judged, by its names and its place."""
    return {
        "id": proven.model,
        "revision": None,
        "model_type": proven.proof.model_type,
        "architecture": proven.proof.architecture,
        "config_sha256": proven.sha256 or None,
        "at": {"path": Context(prefix).path(proven.at.path), "line": proven.at.line},
    }


def _row(term: Term) -> dict[str, Any]:
    return {
        "name": term.name,
        "lower_bytes": term.lower_bytes,
        "upper_bytes": term.upper_bytes,
        "formula": term.formula,
        "lower_formula": term.lower_formula,
        "inputs": dict(term.inputs),
        "kind": term.kind.value,
        "source": term.source,
    }
