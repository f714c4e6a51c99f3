"""Demand 2, of deployments as they are written: weights that spill without a word, GPUs that nobody asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check, once
from vramguard.checks.vram import Judging
from vramguard.checks.words import assumed, evidence_of, name_of, reason_of, subject_of
from vramguard.facts import Deployment
from vramguard.link.cluster.surfaces import RUNNING, SERVING
from vramguard.link.judging import serves, withheld
from vramguard.memory import Answer
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.checks.vram import Judged
    from vramguard.facts import Facts

# transformers' device maps that are computed from what is free, and put the rest on the host or on disk.
_SPILLS = frozenset(("auto", "balanced", "balanced_low_0", "sequential"))
# What runs on GPUs alone, or falls back to a CPU without a word.
_OF_GPUS = frozenset(("vllm", "sglang", "tgi", "tensorrt-llm", "nim", "triton"))
_POD = ("kubernetes", "compose")  # places that have to ask for their cards themselves


@check("unbounded-device-map")
@dataclass(frozen=True)
class UnboundedDeviceMap(Judging):
    """A `device_map` that is computed needs `max_memory`, unless the proof shows that the first card holds it all.

    `unproven` weighs a model that nobody knows the size of, or of which no part is shown to spill.
    """

    unproven: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        yield from once(self._found(facts))

    def _found(self, facts: Facts) -> Iterator[Problem]:
        proved = {id(item.placement.deployment): item for item in self.judged(facts)}
        for found in facts.of(Deployment):
            if not self._asked(found, facts):
                continue
            judged = proved.get(id(found))
            if judged is None and not withheld(found):
                continue  # another kind of model
            if judged is None or judged.proof.answer is not Answer.FITS:
                yield self._problem(found, judged)

    def _asked(self, deployment: Deployment, facts: Facts) -> bool:
        spills = deployment.device_map in _SPILLS and deployment.max_memory is None and not deployment.training
        return spills and (deployment.declared or serves(deployment, facts, frozenset(self.unjudged)))

    def _problem(self, deployment: Deployment, judged: Judged | None) -> Problem:
        known = judged is not None and judged.proof.answer is Answer.EXCEEDS and judged.proof.spill_bytes
        return Problem(
            at=deployment.places.get("device_map", deployment.at),
            values={"map": deployment.device_map, "spill": _spill(judged) if judged else _UNSAID},
            evidence=tuple(evidence_of(judged.placement)) if judged else (),
            severity=None if known else self.unproven,
            subject=subject_of(judged.placement) if judged else f"{deployment.model}",
            proof=judged.proof if judged else None,
        )


_UNSAID = "what the first card cannot hold goes to the CPU or to disk silently, and the model is named elsewhere"


def _spill(judged: Judged) -> str:
    """What goes where, in numbers where they are known."""
    proof = judged.proof
    card = f"{proof.device.name}{assumed(proof)}"
    if proof.totals is None or not proof.spill_bytes:
        reason = reason_of(proof) or "it is over the budget"
        return f"`{name_of(judged.placement)}` is not shown to fit one {card}: {reason}"
    weights, size = gib(proof.totals.weights_bytes), gib(proof.device.capacity_bytes)
    spill = f"{gib(proof.spill_bytes)} GiB spill to the CPU silently"
    return f"{weights} GiB of weights on one {card} of {size} GiB: {spill}"


@check("gpu-declared")
@dataclass(frozen=True)
class GpuDeclared(Judging):
    """An engine that needs a GPU must ask for one where its place has to ask: a service's devices, a job's limits.

    The limits of pods that serve are `gpu-limit`'s: it knows what overlays and controllers add to them.
    """

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in facts.of(Deployment):
            asks = found.gpus is not None or "gpus" in found.places or _is_of_pods(found)
            if found.form in _POD and found.engine in _OF_GPUS and not asks and self._serves(found, facts):
                where = "a pod has none unless its limits name it" if found.form == _POD[0] else "a container sees none"
                values = {"name": found.name, "engine": found.engine, "where": where}
                yield Problem(found.places.get("engine", found.at), values, subject=found.name)

    def _serves(self, found: Deployment, facts: Facts) -> bool:
        return not found.training and serves(found, facts, frozenset(self.unjudged))


def _is_of_pods(found: Deployment) -> bool:
    """Whether it is an object of a cluster whose pods are asked as long as they run."""
    return found.form == _POD[0] and found.name.partition("/")[0] in {*SERVING, *RUNNING}
