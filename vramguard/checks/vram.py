"""Demand 2: a proof of peak VRAM within the budget, for every model that meets hardware."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import data
from vramguard.checks import Evidence, Problem, Severity, check
from vramguard.facts import Deployment, PathClass, Unknown
from vramguard.link.advisories import advised
from vramguard.link.judging import UNSERVED, judged
from vramguard.link.models import Placement, is_language_model, place, placements, supposed, told, undeclared
from vramguard.memory import CONFIRMED, Answer, Device, Proof, Workload, prove, share, weigh
from vramguard.schema import ConfigError, suggestion
from vramguard.units import gib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.facts import Facts
    from vramguard.memory import Tracing
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
            raise ValueError(_unknown_gpu(self.gpu))

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
        for placement, proof in self.judged(facts):
            if proof.answer in self.answers and not proof.mismatch:
                yield self._problem(placement, proof)

    def proofs(self, facts: Facts) -> list[tuple[Proof, Location, str, str | None]]:
        """Every proof, the place of its config (or deployment), the config's digest, and the model's name."""
        return [(proof, *_identity(placement)) for placement, proof in self.judged(facts)]

    def prove_one(
        self, facts: Facts, deployment: Deployment, tracing: Tracing | None = None
    ) -> tuple[Proof, Location, str, str | None]:
        """The proof of one deployment, which need not be among the facts; by `tracing` where it is given."""
        placement = place(deployment, facts, catalogue=self.catalogue)
        return _prove(facts, placement, self.terms, tracing), *_identity(placement)

    def _problem(self, placement: Placement, proof: Proof) -> Problem:
        undeclared = placement.deployment is None and proof.answer is Answer.UNKNOWN
        return Problem(
            at=_guilty_line(placement, proof),
            values=_values(placement, proof),
            evidence=tuple(evidence_of(placement)),
            severity=self.undeclared if undeclared else None,
            amount=proof.totals.peak_lower_bytes if proof.totals and proof.answer is Answer.EXCEEDS else 1,
            subject=subject_of(placement),
            data={"answer": proof.answer.value, "headroom_bytes": proof.headroom_bytes},
            proof=proof,
        )


@lru_cache(maxsize=4)  # VG201, VG202 and the report ask for the same proofs; Facts are compared by identity
def _prove_all(facts: Facts, terms: Terms) -> tuple[Judged, ...]:
    found = [Judged(item, _prove(facts, item, terms)) for item in _judged(facts, terms)]
    return tuple(Judged(item.placement, share(item.proof, _neighbours(item, found))) for item in found)


def _judged(facts: Facts, terms: Terms) -> Iterator[Placement]:
    """Every placement but those of deployments that cannot be judged from the text, or are not to be."""
    unjudged = frozenset(terms.unjudged)
    chosen = {id(deployment) for deployment in judged(facts, unjudged)}
    placed = placements(facts, unjudged, catalogue=terms.catalogue)
    return (item for item in placed if item.deployment is None or id(item.deployment) in chosen)


def _neighbours(one: Judged, found: list[Judged]) -> list[Proof]:
    """Proofs of the other deployments that name the same card."""
    card = one.placement.deployment.card if one.placement.deployment else None
    others = (other for other in found if other is not one and other.placement.deployment)
    return [other.proof for other in others if card and other.placement.deployment.card == card]  # type: ignore[union-attr]


def _prove(facts: Facts, placement: Placement, terms: Terms, tracing: Tracing | None = None) -> Proof:
    deployment = placement.deployment
    workload, card, unknown = _asked(deployment, terms)
    missing = placement.missing or unknown or _advised(facts, placement, card)
    if missing or placement.config is None:
        return replace(prove({}, workload, card, terms.budget), reason=missing)
    proof = prove(placement.config.config, workload, card, terms.budget, tracing)
    if proof.parameters is None and placement.config.tensors:
        proof = weigh(proof, placement.config.config, placement.config.tensors)
    assumed = (*(deployment.assumed if deployment else ()), *supposed(placement.config))
    return _uncounted(replace(proof, assumptions=(*proof.assumptions, *assumed)), deployment)


def _uncounted(proof: Proof, deployment: Deployment | None) -> Proof:
    """A proof for a deployment that asks for what no field holds: it may take more, so that no upper bound holds."""
    if deployment is None or not deployment.unread or proof.answer is not Answer.FITS:
        return proof
    reason = f"`{deployment.unread[0]}` may change the peak, and no proof here counts it"
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
        raise ConfigError(_unknown_gpu(name), at)
    return Device(**{field.name: getattr(row, field.name) for field in fields(Device)})


def _unknown_gpu(name: str) -> str:
    known = [word for card in data.gpus().values() for word in (card.name, *card.aliases)]
    return f"unknown GPU `{name}`{suggestion(name.lower(), known)}"


def capacity(name: str | None) -> int:
    """Bytes of the card of that name (the default card for None); 0 for one that the catalogue lacks."""
    row = data.gpu(name or DEFAULT_GPU)
    return row.capacity_bytes if row else 0


def _identity(placement: Placement) -> tuple[Location, str, str | None]:
    at = placement.config.at if placement.config else placement.at
    model = placement.deployment.model if placement.deployment else None
    return at, placement.config.sha256 if placement.config else "", model if isinstance(model, str) else None


def subject_of(placement: Placement) -> str:
    """What a problem of it is about, however its lines move."""
    deployment = placement.deployment
    return f"{deployment.config or deployment.model}" if deployment else "default workload"


def _guilty_line(placement: Placement, proof: Proof) -> Location:
    """The line whose change would mend it: the context's where the weights alone would fit, else the card's."""
    shorter = ("max_model_len", "concurrency")
    names = (
        *(shorter if proof.max_fitting_model_len else ()),
        "gpus",
        "tensor_parallel_size",
        "gpu",
        "config",
        "model",
    )
    places = placement.deployment.places if placement.deployment else {}
    return next((places[name] for name in names if name in places), placement.at)


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


def _values(placement: Placement, proof: Proof) -> Mapping[str, Any]:
    """The words' values; bytes stay integers, the words say how to show them."""
    totals = proof.totals
    peak = totals.peak_lower_bytes if totals else 0
    return {
        "model": name_of(placement),
        "gpu": proof.device.name,
        "assumed": " (assumed, as nobody names a card)" if proof.gpu_assumed else "",
        "reason": proof.reason or "",
        "peak": peak,
        "over": peak - proof.budget_bytes,
        "budget": proof.budget_bytes,
        "fraction": proof.budget_fraction,
        "capacity": proof.device.capacity_bytes,
        "weights": totals.weights_bytes if totals else 0,
        "cache": totals.kv_cache_bytes if totals else 0,
        "context": proof.workload.max_model_len or 0,
        "spill": _spill_words(proof),
        "mend": _mend(placement, proof),
    }


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


def _mend(placement: Placement, proof: Proof) -> str:
    """What passes instead, from the proof's own inversion."""
    if proof.max_fitting_model_len:
        key = "max_model_len" if placement.deployment else "a deployment with max_model_len"
        return f"Set {key} to {proof.max_fitting_model_len:,} or less"
    if any(term.name == CONFIRMED for term in proof.ledger):  # of a network of which only the least is known
        return "It takes a bigger card, more cards, fewer bits per weight, or a shorter context"
    return "No context fits: the weights need a bigger card, more cards, or fewer bits per weight"


@check("language-models-only")
@dataclass(frozen=True)
class NotALanguageModel:
    """A Hugging Face config of another kind of model (encoder, vision, diffusion, adapter) is said not to be judged."""

    unjudged: tuple[PathClass, ...] = UNSERVED

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in undeclared(facts, frozenset(self.unjudged)):
            if not is_language_model(found.config):
                yield Problem(found.at, {"kind": _kind(found.config)})


def _kind(config: Mapping[str, object]) -> str:
    classes = config.get("architectures")
    first = classes[0] if isinstance(classes, list) and classes else None
    return str(first or config.get("_class_name") or config.get("peft_type") or config.get("model_type"))
