"""Demand 2, written down: a committed certificate must still be the proof of what it is of."""

from __future__ import annotations

import posixpath
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard import data, verifier
from vramguard.certificate import (
    CONFIG,
    Subject,
    UncertifiedError,
    asked_of,
    certify,
    differences,
    subject_of,
)
from vramguard.checks import Evidence, Problem, check
from vramguard.checks.vram import Judging, VramBudget
from vramguard.facts import Certificate, Deployment, ModelConfig
from vramguard.schema import ConfigError
from vramguard.source import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from vramguard.facts import Facts

_SHOWN: Final = 3  # differences of one certificate that are spelt out
_CAUSES: Final = ("config", "workload", "device", "model")
_CHANGED: Final = "the config.json is another than the one that was proved"


class Difference(NamedTuple):
    """Where a certificate is not the proof of today, by its keys, and how."""

    keys: tuple[str | int, ...]
    what: str


@check("stale-proof")
@dataclass(frozen=True)
class StaleProof(Judging):
    """A committed certificate must hold together, and be what the proof of its config or deployment gives today."""

    def find(self, facts: Facts) -> Iterator[Problem]:
        for found in facts.of(Certificate):
            if facts.classify(found.at.path) not in self.unjudged:
                yield from self._judge(found, facts)

    def _judge(self, found: Certificate, facts: Facts) -> Iterator[Problem]:
        refused = refusals(found.text.encode(), None)
        if refused:
            yield Problem(found.at, {"what": refused[0]}, subject="refused")
            return
        value, folder = verifier.parse(found.text.encode()), posixpath.dirname(found.at.path)
        wrong = reproved(self, facts, value, lambda path: posixpath.normpath(posixpath.join(folder, path)))
        if wrong:
            said = "; ".join(one.what for one in wrong[:_SHOWN])
            more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
            at = next((found.places[one.keys] for one in wrong if one.keys in found.places), found.at)
            yield Problem(at, {"what": f"{said}{more}"}, tuple(_evidence(value, folder, facts)), subject="stale")


def _evidence(value: Mapping[str, Any], folder: str, facts: Facts) -> Iterator[Evidence]:
    for kind, name in value["of"].items():
        path = posixpath.normpath(posixpath.join(folder, str(name)))
        if path in facts.paths:
            yield Evidence(Location(path), f"this is the {kind} that it is of")


@cache
def _cards() -> dict[str, dict[str, Any]]:
    return {name: asdict(row) for name, row in data.gpus().items()}


def refusals(text: bytes, config: bytes | None) -> list[str]:
    """What the verifier, which shares nothing with the prover, says against a certificate."""
    try:
        return verifier.refusals(text, config, _cards())
    except verifier.NotACertificateError as error:
        return [str(error)]


def reproved(
    judging: Judging, facts: Facts, value: Mapping[str, Any], within: Callable[[str], str]
) -> list[Difference]:
    """Where a certificate differs from today's proof of what it is of; none where it is that proof.

    `within` gives the path from the repository's root of one that is written relative to the certificate.
    """
    try:
        found = list(_candidates(facts, subject_of(value), within))
        return min((_compared(judging, facts, value, one, within) for one in found), key=len)
    except (UncertifiedError, ConfigError) as error:
        return [Difference(("of",), str(error))]


def _candidates(facts: Facts, subject: Subject, within: Callable[[str], str]) -> Iterator[Deployment]:
    """The deployments that a certificate may be of: one of its config alone, or all that its file holds."""
    path = within(subject.path)
    configs = {one.at.path for one in facts.of(ModelConfig) if one.origin == "file"}
    for needed in dict.fromkeys((subject.path, subject.config or subject.path)):
        if within(needed) not in facts.paths and within(needed) not in configs:
            raise UncertifiedError(f"`{needed}` is gone, which it is the proof of")
    if subject.kind == CONFIG:
        yield Deployment(Location(path), declared=True, config=path)
        return
    deployments = [one for one in facts.of(Deployment) if one.at.path == path]
    if not deployments:
        raise UncertifiedError(f"no deployment stands in `{subject.path}` any more, which it is the proof of")
    yield from deployments


def _compared(
    judging: Judging, facts: Facts, old: Mapping[str, Any], deployment: Deployment, within: Callable[[str], str]
) -> list[Difference]:
    """Where a certificate differs from the proof of one deployment, asked what the certificate says."""
    subject, asked = subject_of(old), asked_of(old)
    judge = VramBudget(judging.budget, judging.gpu, judging.concurrency, judging.unjudged, judging.catalogue)
    proof, at, sha256, _ = judge.prove_one(facts, replace(deployment, **asked))
    of_file = any(one.at.path == at.path and one.origin == "file" for one in facts.of(ModelConfig))
    same = subject.config is not None and within(subject.config) == at.path
    config = (subject.config if same else at.path) if of_file else None
    try:
        new = certify(proof, subject._replace(config=config, sha256=sha256), asked)
    except UncertifiedError as error:
        new = dict(old, config={"path": config, "sha256": sha256}, answer=str(error))
    return sorted(map(_told, differences(old, new)), key=_rank)


def _told(found: tuple[tuple[str | int, ...], str]) -> Difference:
    keys, what = found
    return Difference(keys, _CHANGED if keys == ("config", "sha256") else what)


def _rank(found: Difference) -> int:
    """What is the cause of other differences comes first."""
    return _CAUSES.index(found.keys[0]) if found.keys[0] in _CAUSES else len(_CAUSES)
