"""What every picture of a proof says, whatever it is written in: the answer in words, groups of the ledger, the bar."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.expression import names
from vramguard.units import gib, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.engine import Proven
    from vramguard.memory import Proof, Term

_LABELS: Final = {"kv_cache": "KV cache", "offload": "kept on the host"}
_SLOTS: Final = ("weights", "kv_cache", "activations", "runtime", "gradients", "optimizer")
COLOURS: Final = 8


class Group(NamedTuple):
    """One group of the ledger, in the order of the ledger. `slot` is its place among the colours."""

    name: str
    label: str
    lower_bytes: int
    upper_bytes: int
    slot: int


class Segment(NamedTuple):
    """One part of the bar, from `start` to `end`, in bytes."""

    group: Group
    start: int
    end: int


def groups(proof: Proof) -> tuple[Group, ...]:
    """The groups as they come; one that no table knows takes the next free colour."""
    found: dict[str, list[Term]] = {}
    for term in proof.ledger:
        found.setdefault(term.group, []).append(term)
    others = iter(range(len(found)))
    return tuple(
        Group(
            name,
            _LABELS.get(name, name.replace("_", " ")),
            sum(term.lower_bytes for term in rows),
            sum(term.upper_bytes for term in rows),
            _SLOTS.index(name) if name in _SLOTS else (len(_SLOTS) + next(others)) % COLOURS,
        )
        for name, rows in found.items()
    )


def segments(proof: Proof) -> tuple[Segment, ...]:
    """What fills the card, from its first byte on; what a negative row takes off, it takes off the first groups."""
    found = groups(proof)
    off = -sum(group.upper_bytes for group in found if group.upper_bytes < 0)
    start, parts = 0, []
    for group in found:
        size = max(group.upper_bytes, 0)
        taken = min(off, size)
        off -= taken
        if size > taken:
            parts.append(Segment(group, start, start + size - taken))
            start += size - taken
    return tuple(parts)


def named(proven: Proven) -> str:
    """The model as a heading has it."""
    return proven.model or proven.proof.architecture or proven.proof.model_type or "model"


def both(size: int) -> str:
    """Bytes in both units."""
    return f"{gib(size)} GiB ({size:,} bytes)"


def answer(proof: Proof) -> str:
    """The answer in one sentence, without its word."""
    totals, budget = proof.totals, f"the budget of {both(proof.budget_bytes)}, {_share(proof)}"
    if totals is None:
        return f"{(proof.reason or 'the peak is not known').rstrip('.')}. No proof, no merge."
    low, high = totals.peak_lower_bytes, totals.peak_upper_bytes
    if proof.answer.value == "FITS":
        return f"the peak is at most {both(high)}, {both(proof.budget_bytes - high)} within {budget}."
    if proof.answer.value == "EXCEEDS":
        return f"the peak is at least {both(low)}, {both(low - proof.budget_bytes)} above {budget}."
    if low <= proof.budget_bytes < high:
        return f"the peak lies between {both(low)} and {both(high)}, and {budget} between them. No proof, no merge."
    return f"{(proof.reason or 'the peak is not known').rstrip('.')}. No proof, no merge."


def _share(proof: Proof) -> str:
    device = proof.device
    return f"{percent(proof.budget_fraction)} of the {gib(device.capacity_bytes)} GiB of one {device.name}"


def share(size: int, capacity: int) -> str:
    """Per cent of the card, to a tenth."""
    tenths = (2000 * size + capacity) // (2 * capacity) if capacity else 0
    return f"{tenths // 10}.{tenths % 10} %"


def workload(proof: Proof) -> Iterator[tuple[str, str]]:
    """What is asked, by the names of its fields; what nobody says is left out."""
    for key, value in dataclasses.asdict(proof.workload).items():
        if isinstance(value, bool):
            yield key, "true" if value else "false"
        elif value is not None:
            yield key, f"{value:,}" if isinstance(value, int) else str(value)


def inputs(term: Term) -> str:
    """The integers of a formula, by their names."""
    used = names(term.formula) | (names(term.lower_formula) if term.lower_formula else set())
    return ", ".join(f"{name}={value:,}" for name, value in term.inputs.items() if name in used)


def formula(term: Term) -> str:
    """What gives the upper bytes: the formula, or their number where it is no more than a name for it."""
    return f"{term.upper_bytes:,}" if term.formula in term.inputs else term.formula


def lower_formula(term: Term) -> str:
    """What gives the lower bytes, where that is another formula."""
    lower = term.lower_formula
    plain = lower is None or lower in term.inputs or lower == str(term.lower_bytes)
    return "" if plain or lower is None else lower


def sources(proof: Proof) -> list[str]:
    """Every source of the ledger once, in the order of its rows."""
    return list(dict.fromkeys(term.source for term in proof.ledger if term.source))


def ordered(proof: Proof) -> Iterator[tuple[str, list[Term]]]:
    """The rows of the ledger by their groups, each run of a group by itself."""
    for name, rows in groupby(proof.ledger, key=lambda term: term.group):
        yield _LABELS.get(name, name.replace("_", " ")), list(rows)


CURVES: Final = {  # field of the workload: what a picture calls it, and its unit
    "max_model_len": ("context", "tokens"),
    "concurrency": ("concurrency", "sequences at once"),
    "per_device_train_batch_size": ("batch size", "sequences in the batch of each GPU"),
}
