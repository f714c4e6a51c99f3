"""What is said of a proof: the line whose change would mend it, the chain that led there, the words' values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from vramguard.checks import Evidence
from vramguard.checks.changes import first, sentence
from vramguard.link.models import told
from vramguard.memory import CONFIRMED, Answer
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.checks.changes import Change
    from vramguard.link.models import Placement
    from vramguard.memory import Proof
    from vramguard.source import Location


def subject_of(placement: Placement) -> str:
    """What a problem of it is about, however its lines move."""
    deployment = placement.deployment
    return f"{deployment.config or deployment.model}" if deployment else "default workload"


def guilty_line(placement: Placement, proof: Proof) -> Location:
    """The line whose change would mend it: the context's where the weights alone would fit, else the card's; where
    nothing is proved, that of what the reason names.
    """
    places = placement.deployment.places if placement.deployment else {}
    names = _heavy(proof) if proof.answer is not Answer.UNKNOWN or _is_between(proof) else _unproven(placement, proof)
    return next((places[name] for name in names if name in places), placement.at)


def _heavy(proof: Proof) -> tuple[str, ...]:
    shorter = ("max_model_len", "concurrency") if proof.max_fitting_model_len else ()
    return (*shorter, "gpus", "tensor_parallel_size", "gpu", "config", "model")


# What a reason may name by its value, the narrowest first.
_REASONS = (
    "kv_cache_dtype", "quantization", "dtype", "speculative_method", "attn_implementation", "device_map", "gpu",
    "engine_version", "engine", "model",
)  # fmt: skip


def _unproven(placement: Placement, proof: Proof) -> tuple[str, ...]:
    """The fields that a reason is about: a model without a config, those it names, and those whose value it has."""
    deployment, reason = placement.deployment, proof.reason or ""
    if deployment is None or (deployment.unread and reason.startswith(f"`{deployment.unread[0]}`")):
        return ()
    if placement.config is None:
        return ("config", "model")
    words = frozenset(re.split(r"[\s`,:;()]+", reason))
    named = (name for name in deployment.places if f"`{name}`" in reason)
    return (*named, *(name for name in _REASONS if str(getattr(deployment, name)) in words), "engine", "model")


def evidence_of(placement: Placement) -> Iterator[Evidence]:
    """The chain from a deployment to its card, where another file names it, and to its config."""
    deployment = placement.deployment
    if deployment and placement.config:
        yield Evidence(deployment.at, "this deployment places the model")
        cards = (deployment.places[name] for name in ("gpu", "gpus") if name in deployment.places)
        elsewhere = next((place for place in cards if place.path != deployment.at.path), None)
        if elsewhere is not None:
            yield Evidence(elsewhere, "this gives it its card")
        config, kind = placement.config, placement.config.config.get("model_type")
        yield Evidence(config.at, f"this is its config ({kind})" if config.origin == "file" else told(config))


def values_of(placement: Placement, proof: Proof, changes: tuple[Change, ...]) -> Mapping[str, Any]:
    """The words' values; bytes stay integers, the words say how to show them. `changes` are those that pass."""
    totals = proof.totals
    peak = totals.peak_lower_bytes if totals else 0
    return {
        "model": name_of(placement),
        "gpu": proof.device.name,
        "assumed": assumed(proof),
        "reason": reason_of(proof),
        "peak": peak,
        "over": peak - proof.budget_bytes,
        "budget": proof.budget_bytes,
        "fraction": proof.budget_fraction,
        "capacity": proof.device.capacity_bytes,
        "weights": totals.weights_bytes if totals else 0,
        "cache": totals.kv_cache_bytes if totals else 0,
        "context": proof.workload.max_model_len or 0,
        "spill": _spill_words(proof),
        "mend": _mend(placement, proof, changes),
        "change": first(changes),
    }


def reason_of(proof: Proof) -> str:
    """Why nothing is proved, a peak between two bounds in the unit that everybody reads."""
    totals = proof.totals
    if totals is None:
        return proof.reason or ""
    if proof.answer is Answer.EXCEEDS:
        return (
            f"it needs at least {gib(totals.peak_lower_bytes)} GiB of the {gib(proof.budget_bytes)} that are the budget"
        )
    if not _is_between(proof):
        return proof.reason or ""
    low, high = gib(totals.peak_lower_bytes), gib(totals.peak_upper_bytes)
    budget = f"the {gib(proof.budget_bytes)} GiB that are the budget of one {proof.device.name}{assumed(proof)}"
    return f"it lies between {low} and {high} GiB, and {budget} are between them"


def _is_between(proof: Proof) -> bool:
    """Whether all that is missing is a closer bound."""
    return proof.totals is not None and (proof.reason or "").startswith("the peak lies between")


def assumed(proof: Proof) -> str:
    """What is said beside a card that the policy supplies."""
    return " (assumed, as nobody names a card)" if proof.gpu_assumed else ""


def name_of(placement: Placement) -> str:
    """The model as its deployment calls it, else its file."""
    if placement.deployment:
        return str(placement.deployment.model or placement.deployment.config)
    return placement.at.path


def _spill_words(proof: Proof) -> str:
    """What `device_map` would do silently with weights that the card cannot hold."""
    if not proof.spill_bytes or not proof.workload.device_map:
        return ""
    return (
        f'; device_map="{proof.workload.device_map}" would not fail but place '
        f"{gib(proof.spill_bytes)} GiB of weights on the CPU or on disk without a word"
    )


def _mend(placement: Placement, proof: Proof, changes: tuple[Change, ...]) -> str:
    """What passes instead: the smallest changes; why it takes another card, where nothing else does."""
    said = sentence(changes)
    if said and changes[0].field != "gpu":
        return said if placement.deployment else f"In a deployment: {said[0].lower()}{said[1:]}"
    why = _hopeless(placement, proof)
    return f"{why}. {said}" if said else why


def _hopeless(placement: Placement, proof: Proof) -> str:
    if proof.max_fitting_model_len:
        key = "max_model_len" if placement.deployment else "a deployment with max_model_len"
        return f"Set {key} to {proof.max_fitting_model_len:,} or less"
    if any(term.name == CONFIRMED for term in proof.ledger):  # of a network of which only the least is known
        return "It takes a bigger card, more cards, fewer bits per weight, or a shorter context"
    if proof.totals and proof.totals.weights_bytes <= proof.budget_bytes:  # it may fit, and is not shown to
        return "No shorter context is shown to fit: it takes a bigger card, more cards, or fewer bits per weight"
    return "No context fits: the weights need a bigger card, more cards, or fewer bits per weight"
