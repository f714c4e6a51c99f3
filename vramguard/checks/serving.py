"""Demand 2, where an engine fills the card: what it reserves, whether it starts, and how it is spread over cards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vramguard.checks import Problem, Severity, changes, check
from vramguard.checks.vram import Judging, question
from vramguard.checks.words import assumed, evidence_of, name_of, subject_of
from vramguard.link.kaito import shortens
from vramguard.memory import Answer
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.checks.changes import Change
    from vramguard.checks.vram import Judged
    from vramguard.facts import Deployment, Facts
    from vramguard.memory import Pool, Proof


@check("engine-reservation")
@dataclass(frozen=True)
class EngineReservation(Judging):
    """What an engine takes at start, whatever is asked of it, must be within the budget."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for judged in self.judged(facts):
            pool = judged.proof.pool
            if pool is not None and not pool.within_budget:
                asked = question(facts, judged.placement, self.terms)
                found = changes.to_keep(asked, judged.proof, _utilization(judged.proof))
                values = {**_values(judged.proof), "mend": changes.sentence(found) or _mend(judged.proof, pool)}
                yield _problem(judged, values, "utilization", found=found)


def _mend(proof: Proof, pool: Pool) -> str:
    asked = proof.workload
    if asked.kv_cache_memory_bytes or asked.num_gpu_blocks_override:
        return "Ask for a smaller cache: it is asked for in bytes or blocks, whatever the share"
    if pool.largest_utilization is None:
        return f"Lower {_utilization(proof)}, and measure what is taken: no share is shown here to keep the budget"
    return f"Set {_utilization(proof)} to {pool.largest_utilization} or less"


def _utilization(proof: Proof) -> str:
    return _SHARES.get(proof.workload.engine or "", "gpu_memory_utilization")


# What each engine calls its share of the card.
_SHARES = {
    "sglang": "mem_fraction_static",
    "tgi": "cuda_memory_fraction",
    "tensorrt-llm": "kv_cache_free_gpu_memory_fraction",
}


@check("engine-starts")
@dataclass(frozen=True)
class EngineStarts(Judging):
    """An engine must be shown to start: its cache holds one sequence of the longest context.

    `unshown` weighs an engine that may start, and is not shown to.
    """

    unshown: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        for judged in self.judged(facts):
            pool = judged.proof.pool
            if pool is not None and (pool.refusal or not pool.starts) and not shortens(judged.placement.deployment):
                certain = bool(pool.refusal) or pool.starts is False
                verdict = "will not serve" if certain else "is not shown to serve"
                values = {**_values(judged.proof), "verdict": verdict, "reason": _refusal(judged.proof, pool)}
                line = "utilization" if not pool.refusal and _holds_one(judged.proof, pool) else "context"
                asked = question(facts, judged.placement, self.terms)
                found = changes.to_start(asked, judged.proof, _utilization(judged.proof))
                yield _problem(judged, values, line, None if certain else self.unshown, found)


def _refusal(proof: Proof, pool: Pool) -> str:
    if pool.refusal:
        return pool.refusal
    if _holds_one(proof, pool):
        share = proof.workload.gpu_memory_utilization or "share"
        verb = "is not" if pool.starts is False else "is not shown to be"
        return f"its {_utilization(proof)} asks for {share} of the card, which {verb} free when it starts"
    verb = "cannot hold" if pool.starts is False else "cannot be shown to hold"
    return (
        f"the cache of {gib(pool.kv_cache_bytes)} GiB, {pool.kv_cache_tokens:,} tokens, {verb} one sequence "
        f"of {proof.workload.max_model_len:,}"
    )


def _holds_one(proof: Proof, pool: Pool) -> bool:
    """Whether the cache has room for one sequence, so that what is missing is room for the share itself."""
    return 0 < (proof.workload.max_model_len or 0) <= pool.kv_cache_tokens


@check("parallelism")
@dataclass(frozen=True)
class Parallelism(Judging):
    """The grid of cards must be one that the engine takes, and as large as the cards that are asked for.

    `idle` weighs cards that are asked for and not used.
    """

    idle: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        for judged in self.judged(facts):
            if judged.proof.mismatch:
                found = changes.to_spread(question(facts, judged.placement, self.terms), judged.proof)
                values = {"model": name_of(judged.placement), "reason": judged.proof.mismatch}
                yield _problem(judged, values, "grid", found=found)
        for judged in self.judged(facts):
            yield from self._counted(facts, judged)

    def _counted(self, facts: Facts, judged: Judged) -> Iterator[Problem]:
        deployment = judged.placement.deployment
        if deployment is None or not isinstance(deployment.gpus, int):
            return
        sizes = [_size(deployment, name) for name in _GRID]
        if None in sizes or all(getattr(deployment, name) is None for name in _GRID):
            return
        used = 1
        for size in sizes:
            used *= size or 1
        if used == deployment.gpus:
            return
        words = " x ".join(f"{name} {size}" for name, size in zip(_GRID, sizes, strict=True) if size != 1)
        said = f"{words or 'a grid of one card'} {'needs' if used > deployment.gpus else 'uses'} {used}"
        reason = f"{said} of {deployment.gpus} GPUs"
        if used < deployment.gpus and deployment.form == "ray":
            return  # the most pods that a cluster may grow to, which are not there until somebody asks for them
        severity = None if used > deployment.gpus else self.idle
        found = changes.to_count(question(facts, judged.placement, self.terms), deployment.gpus, used)
        yield _problem(judged, {"model": name_of(judged.placement), "reason": reason}, "count", severity, found)


_GRID = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")


def _size(deployment: Deployment, name: str) -> int | None:
    """A size of the grid: 1 where it is absent, None where only a renderer knows it."""
    value = getattr(deployment, name)
    return 1 if value is None else value if isinstance(value, int) else None


@check("offload")
@dataclass(frozen=True)
class Offload(Judging):
    """A model must fit without the host's memory."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for judged in self.judged(facts):
            if judged.proof.answer is Answer.FITS and judged.proof.offload_bytes:
                yield _problem(judged, {**_values(judged.proof), "offload": judged.proof.offload_bytes}, "offload")


def _problem(
    judged: Judged,
    values: Mapping[str, Any],
    what: str,
    severity: Severity | None = None,
    found: tuple[Change, ...] = (),
) -> Problem:
    placement, proof = judged
    names = {
        "utilization": ("gpu_memory_utilization", "kv_cache_memory_bytes", "num_gpu_blocks_override", "engine"),
        "context": ("max_model_len", "gpu_memory_utilization", "gpu"),
        "grid": ("tensor_parallel_size", "pipeline_parallel_size", "gpus"),
        "count": ("gpus", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        "offload": ("cpu_offload_gb", "swap_space", "device_map"),
    }[what]
    places = placement.deployment.places if placement.deployment else {}
    return Problem(
        at=next((places[name] for name in names if name in places), placement.at),
        values={"model": name_of(placement), "change": changes.first(found), **values},
        evidence=tuple(evidence_of(placement)),
        severity=severity,
        subject=subject_of(placement),
        data={"answer": proof.answer.value, **(changes.listed(found) if what != "offload" else {})},
        proof=proof,
    )


def _values(proof: Proof) -> Mapping[str, Any]:
    """The words' values; bytes stay integers, the words say how to show them."""
    reserved = min(proof.pool.reserved_bytes, proof.device.capacity_bytes) if proof.pool else 0
    return {
        "gpu": proof.device.name,
        "assumed": assumed(proof),
        "engine": proof.workload.engine or "",
        "reserved": reserved,
        "over": max(0, reserved - proof.budget_bytes),
        "budget": proof.budget_bytes,
        "fraction": proof.budget_fraction,
        "capacity": proof.device.capacity_bytes,
        "utilization": proof.workload.gpu_memory_utilization or "",
    }
