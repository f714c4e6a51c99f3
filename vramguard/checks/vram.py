"""Demand 2: a proof of peak VRAM within the budget, for every model that meets hardware."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard import data
from vramguard.checks import Problem, Severity, changes, check, once
from vramguard.checks.shared import unknown_gpu
from vramguard.checks.words import evidence_of, guilty_line, subject_of, values_of
from vramguard.facts import Deployment, PathClass, Unknown
from vramguard.link import kaito
from vramguard.link.advisories import advised
from vramguard.link.judging import UNSERVED, judged
from vramguard.link.models import (
    Placement,
    class_of,
    is_language_model,
    other_kind,
    place,
    placements,
    supposed,
    undeclared,
)
from vramguard.memory import Answer, Depth, Device, Proof, Prover, Workload, prove, share, weigh
from vramguard.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.memory import Judge, Tracing
    from vramguard.source import Location

DEFAULT_GPU = "h100-sxm5-80gb"


class Judged(NamedTuple):
    """A placement and its proof."""

    placement: Placement
    proof: Proof


@dataclass(frozen=True)
class Terms:
    """What the policy supplies where a deployment is silent."""

    budget: Fraction
    gpu: str
    concurrency: int
    unjudged: tuple[PathClass, ...]
    catalogue: bool = True


@dataclass(frozen=True)
class Judging:
    """What every rule about a proof is told: what to suppose where a deployment is silent, and what not to judge.

    `catalogue`: whether the shipped catalogue may say what a model is whose config is nowhere else.
    """

    budget: Fraction = Fraction(4, 5)
    gpu: str = DEFAULT_GPU
    concurrency: int = 1
    unjudged: tuple[PathClass, ...] = UNSERVED
    catalogue: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.budget <= 1:
            raise ValueError(f"budget {float(self.budget):g} is not above 0 and at most 1")
        if self.concurrency < 1:
            raise ValueError(f"concurrency {self.concurrency} is not a positive number")
        if data.gpu(self.gpu) is None:
            raise ValueError(unknown_gpu(self.gpu))

    @property
    def terms(self) -> Terms:
        """What a proof is asked by."""
        return Terms(self.budget, self.gpu, self.concurrency, self.unjudged, self.catalogue)

    def judged(self, facts: Facts) -> tuple[Judged, ...]:
        """Every model that meets hardware, with its proof."""
        return _prove_all(facts, self.terms)


@check("vram-budget")
@dataclass(frozen=True)
class VramBudget(Judging):
    """The proof of each placement must not give one of these `answers`.

    `undeclared` weighs configs that no deployment names and whose proof is UNKNOWN: nobody has said that they are
    served.
    """

    answers: tuple[Answer, ...] = ()
    undeclared: Severity = Severity.ERROR

    def find(self, facts: Facts) -> Iterator[Problem]:
        asked = (one for one in self.judged(facts) if one.proof.answer in self.answers and not one.proof.mismatch)
        yield from once(self._problem(facts, *one) for one in asked)

    def proofs(self, facts: Facts) -> list[tuple[Proof, Location, str, str | None]]:
        """Every proof, the place of its config (or deployment), the config's digest, and the model's name."""
        return [(proof, *identity(placement)) for placement, proof in self.judged(facts)]

    def prove_one(
        self, facts: Facts, deployment: Deployment, tracing: Tracing | None = None
    ) -> tuple[Proof, Location, str, str | None]:
        """The proof of one deployment, which need not be among the facts; by `tracing` where it is given."""
        placement = place(deployment, facts, catalogue=self.catalogue)
        return _prove(facts, placement, self.terms, tracing), *identity(placement)

    def _problem(self, facts: Facts, placement: Placement, proof: Proof) -> Problem:
        found = changes.to_fit(question(facts, placement, self.terms), proof)
        unknown = proof.answer is Answer.UNKNOWN
        undeclared = self.undeclared if placement.deployment is None and unknown else None
        trains = placement.deployment is not None and placement.deployment.training
        return Problem(
            at=guilty_line(placement, proof),
            values=values_of(placement, proof, found),
            evidence=tuple(evidence_of(placement)),
            severity=Severity.NOTE if unknown and trains else undeclared,
            amount=proof.totals.peak_lower_bytes if proof.totals and proof.answer is Answer.EXCEEDS else 1,
            subject=subject_of(placement),
            data={"answer": proof.answer.value, "headroom_bytes": proof.headroom_bytes, **changes.listed(found)},
            proof=proof,
        )


@lru_cache(maxsize=4)  # VG201, VG202 and the report ask for the same proofs; Facts are compared by identity
def _prove_all(facts: Facts, terms: Terms) -> tuple[Judged, ...]:
    found = [Judged(item, _prove(facts, item, terms)) for item in _judged(facts, terms)]
    cards: dict[str, list[Judged]] = defaultdict(list)  # deployments that name the same card share it
    for item in found:
        if item.placement.deployment and item.placement.deployment.card:
            cards[str(item.placement.deployment.card)].append(item)
    return tuple(Judged(item.placement, share(item.proof, _neighbours(item, cards))) for item in found)


def _judged(facts: Facts, terms: Terms) -> Iterator[Placement]:
    """Every placement but those of deployments that cannot be judged from the text, or are not to be."""
    unjudged = frozenset(terms.unjudged)
    chosen = {id(deployment) for deployment in judged(facts, unjudged)}
    placed = placements(facts, unjudged, catalogue=terms.catalogue)
    mine = (item for item in placed if item.deployment is None or id(item.deployment) in chosen)
    return (item for item in mine if not other_kind(item))


def _neighbours(one: Judged, cards: Mapping[str, list[Judged]]) -> list[Proof]:
    """Proofs of the other deployments that name the same card."""
    card = one.placement.deployment.card if one.placement.deployment else None
    return [other.proof for other in cards.get(str(card), ()) if other is not one] if card else []


def _prove(facts: Facts, placement: Placement, terms: Terms, tracing: Tracing | None = None) -> Proof:
    deployment = placement.deployment
    workload, card, unknown = _asked(deployment, terms)
    missing = placement.missing or unknown or _advised(facts, placement, card)
    if missing or placement.config is None:
        return replace(prove({}, workload, card, terms.budget), reason=missing)
    config = placement.config.config
    if tracing:
        proof = prove(config, workload, card, terms.budget, tracing)
    else:
        proof = _proved(json.dumps(config), workload, card, terms.budget)
    if proof.parameters is None and placement.config.tensors:
        proof = weigh(proof, placement.config.config, placement.config.tensors)
    assumed = (*(deployment.assumed if deployment else ()), *supposed(placement.config))
    return _grown(_uncounted(replace(proof, assumptions=(*proof.assumptions, *assumed)), deployment), deployment)


class Question(NamedTuple):
    """A placement as it may be asked anew, of other workloads and cards: `judge` answers as its proof was answered."""

    judge: Judge
    workload: Workload
    card: Device
    context: int  # of the config, 0 where it names none or nothing is known of it
    packed: bool  # the checkpoint is quantized already

    def on(self, card: Device) -> Workload:
        """The workload on a card, by its name where it is another."""
        return self.workload if card == self.card else replace(self.workload, gpu=card.name)

    def larger(self) -> list[Device]:
        """Every card of the catalogue with more memory, the smallest first."""
        found = (card for card in map(device, data.gpus()) if card.capacity_bytes > self.card.capacity_bytes)
        return sorted(found, key=lambda card: (card.capacity_bytes, card.name))


def question(facts: Facts, placement: Placement, terms: Terms) -> Question:
    """What is asked of a placement, with all that its files say beside the workload."""
    workload, card, unknown = _asked(placement.deployment, terms)
    config = placement.config.config if placement.config else {}
    prover, barred = _prover(json.dumps(config), terms.budget), placement.missing or unknown

    def judge(asked: Workload, on: Device, depth: Depth) -> Proof:
        proof = prover(asked, on, depth)
        missing = barred or _advised(facts, placement, on)
        if missing or placement.config is None:
            return replace(proof, answer=Answer.UNKNOWN, reason=missing, totals=None, pool=None, parameters=None)
        if proof.parameters is None and placement.config.tensors:
            proof = weigh(proof, config, placement.config.tensors)
        return _grown(_uncounted(proof, placement.deployment), placement.deployment)

    packed = bool(config.get("quantization_config") or config.get("compression_config"))
    return Question(judge, workload, card, prover.context, packed)


@lru_cache(maxsize=64)
def _prover(config: str, budget: Fraction) -> Prover:
    """The prover of a config, given as JSON so that equal ones are told to be."""
    return Prover(json.loads(config), budget)


@lru_cache(maxsize=1024)  # a model is often served alike in many places
def _proved(config: str, workload: Workload, card: Device, budget: Fraction) -> Proof:
    """The proof for a config, given as JSON so that equal ones are told to be."""
    return _prover(config, budget)(workload, card, Depth.WHOLE)


def _grown(proof: Proof, deployment: Deployment | None) -> Proof:
    """A proof where KAITO decides how many machines there are: what exceeds those written may fit what it adds."""
    share = kaito.share(deployment)
    if share is not None:
        words = f"gpu_memory_utilization is {share}, as KAITO passes where none is written"
        proof = replace(proof, assumptions=(*proof.assumptions, words))
    if not kaito.decides(deployment) or proof.answer is not Answer.EXCEEDS:
        return proof
    return replace(proof, answer=Answer.UNKNOWN, reason=kaito.GROWS, pool=None)


# What adds buffers, adapters or tenants to a card, and takes nothing off it.
_ONLY_MORE: Final = (
    *("--kv-transfer-config", "--enable-lora", "--lora", "--disaggregation", "--kv-offloading", "--enable-sleep-mode"),
    *("a share of a card", "PeftModel"),
)


def _uncounted(proof: Proof, deployment: Deployment | None) -> Proof:
    """A proof for a deployment that asks for what no field holds: only an excess stands, beside what takes more."""
    unread = deployment.unread if deployment else ()
    if proof.answer is Answer.EXCEEDS:
        unread = tuple(words for words in unread if not words.startswith(_ONLY_MORE))
    if not unread or proof.answer is Answer.UNKNOWN:
        return proof
    reason = f"`{unread[0]}` may change the peak, and no proof here counts it"
    return replace(proof, answer=Answer.UNKNOWN, reason=reason, min_fitting_gpus=None, max_fitting_model_len=None)


def _advised(facts: Facts, placement: Placement, card: Device) -> str:
    """Why no peak can be proved in the environment of a deployment; empty where no advisory speaks of it."""
    row = data.gpu(card.name)
    if placement.deployment is None or row is None:
        return ""
    near = tuple(place.at for place in (placement.deployment, placement.config) if place is not None)
    found = advised(facts, near, row)
    if found is None:
        return ""
    advisory, path = found
    return f"advisory {advisory.id} ({advisory.kind}): `{path}` has it: {advisory.what}"


def _asked(deployment: Deployment | None, terms: Terms) -> tuple[Workload, Device, str]:
    """Workload and card of a deployment, the policy's where it is silent; and which of its values is not knowable."""
    given: dict[str, Any] = {}
    unknown = ""
    for field in fields(Workload):
        value = getattr(deployment, field.name, None)
        if isinstance(value, Unknown) and field.name == "engine_version":
            continue  # not stated, as far as can be told: every release that was read
        if isinstance(value, Unknown):
            unknown = unknown or f"`{field.name}` is `{value.text}`, which only a renderer knows"
        elif value is not None:
            given[field.name] = value
    if (share := kaito.share(deployment)) is not None:
        given["gpu_memory_utilization"] = share
    if terms.concurrency > 1:  # one is what the proof assumes, and says so
        given.setdefault("concurrency", terms.concurrency)
    gpu = given.get("gpu")
    if gpu and data.gpu(gpu) is None and deployment and not deployment.declared:
        unknown = unknown or f"its card is `{gpu}`, which no row of the GPU catalogue is"
        gpu = given["gpu"] = None
    return Workload(**given), device(gpu or terms.gpu, _place(deployment, "gpu")), unknown


def _place(deployment: Deployment | None, name: str) -> Location | None:
    return deployment.places.get(name) if deployment else None


def device(name: str, at: Location | None = None) -> Device:
    """The card of that name, as the proof engine wants it. Raises `ConfigError` for one that the catalogue lacks."""
    row = data.gpu(name)
    if row is None:
        raise ConfigError(unknown_gpu(name), at)
    return Device(**{field.name: getattr(row, field.name) for field in fields(Device)})


def capacity(name: str | None) -> int:
    """Bytes of the card of that name (the default card for None); 0 for one that the catalogue lacks."""
    row = data.gpu(name or DEFAULT_GPU)
    return row.capacity_bytes if row else 0


def identity(placement: Placement) -> tuple[Location, str, str | None]:
    at = placement.config.at if placement.config else placement.at
    model = placement.deployment.model if placement.deployment else None
    return at, placement.config.sha256 if placement.config else "", model if isinstance(model, str) else None


@check("language-models-only")
@dataclass(frozen=True)
class NotALanguageModel:
    """Another kind of model (encoder, vision, diffusion, adapter), of a config or where it is deployed, is said not to
    be judged.
    """

    unjudged: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        unjudged = frozenset(self.unjudged)
        for found in undeclared(facts, unjudged):
            if not is_language_model(found.config):
                yield Problem(found.at, {"kind": class_of(found.config)})
        for deployment in judged(facts, unjudged):
            kind = other_kind(place(deployment, facts))
            if kind:
                yield Problem(deployment.places.get("model", deployment.at), {"kind": kind}, subject=kind)
