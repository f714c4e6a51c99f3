"""What a TARGET names: a config.json, a folder that holds one, a deployment at FILE:LINE, or a model of the hub."""

from __future__ import annotations

import dataclasses
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vramguard import engine
from vramguard.checks.vram import VramBudget, question
from vramguard.discover import WorkTree
from vramguard.facts import Deployment
from vramguard.link.models import place
from vramguard.link.names import is_hub_id
from vramguard.memory.curves import curves
from vramguard.planned import plan_deployment
from vramguard.schema import ConfigError
from vramguard.scope import Scope, find_scope
from vramguard.source import Location, kind_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from vramguard.engine import Proven
    from vramguard.facts import Facts
    from vramguard.memory import Tracing
    from vramguard.memory.curves import Curve
    from vramguard.planned import Asked, Planned


PROOF = frozenset(("vram-budget",))  # the kind of check whose parameters a proof is asked by


class Terms(NamedTuple):
    """How a target is proved, beside its own words: configuration file, share of the card, method."""

    config: str | None
    budget: Fraction | None
    method: str = "analytic"  # or trace
    online: bool = False  # whether the hub may be asked


def _tracing(method: str) -> Tracing | None:
    """What runs forward passes; `ConfigError` where the extra `trace` is not installed as the proof needs it."""
    if method != "trace":
        return None
    from vramguard.trace import witness

    try:
        witness.require()
    except witness.MissingExtraError as error:
        raise ConfigError(str(error)) from error
    return witness.witness


class Found(NamedTuple):
    """What a target names: a deployment among facts, and who judges it. `nothing` is said where it has no config."""

    facts: Facts
    judge: VramBudget
    deployment: Deployment
    prefix: str = ""
    nothing: str = ""


def prove_target(target: str, terms: Terms, given: dict[str, Any]) -> Proven:
    """Prove what `target` names, with the workload's values in `given`, None for the target's. Raises `ConfigError`."""
    return _proved(target, terms, given)[1]


def draw_target(target: str, terms: Terms, given: dict[str, Any]) -> tuple[Proven, tuple[Curve, ...]]:
    """The proof of `prove_target`, and how its peak grows with context and concurrency. Raises `ConfigError`."""
    found, proven = _proved(target, terms, given)
    return proven, _curves(found, proven)


def _proved(target: str, terms: Terms, given: dict[str, Any]) -> tuple[Found, Proven]:
    tracing = _tracing(terms.method)
    found = _find(target, terms, given)
    return found, _placed(found, engine.prove_deployment(found.facts, found.judge, found.deployment, tracing))


def plan_target(target: str, terms: Terms, given: dict[str, Any], gpus: Sequence[str], asked: Asked) -> Planned:
    """What would fit of what `target` names, on these cards or on every one; `asked` hears of each in turn.

    Raises `ConfigError`.
    """
    return _planned(target, terms, given, gpus, asked)[1]


def draw_plan(
    target: str, terms: Terms, given: dict[str, Any], gpus: Sequence[str], asked: Asked
) -> tuple[Planned, tuple[Curve, ...]]:
    """The plan of `plan_target`, and the curves of the first card that was asked for. Raises `ConfigError`."""
    found, planned = _planned(target, terms, given, gpus, asked)
    return planned, _curves(found, planned.proven)


def _planned(
    target: str, terms: Terms, given: dict[str, Any], gpus: Sequence[str], asked: Asked
) -> tuple[Found, Planned]:
    found = _find(target, terms, given)
    planned = plan_deployment(found.facts, found.judge, found.deployment, gpus, asked)
    return found, planned._replace(proven=_placed(found, planned.proven))


def _curves(found: Found, proven: Proven) -> tuple[Curve, ...]:
    """The curves of a proof; none of one that ran forward passes, which would have to be run at every size."""
    if proven.proof.method == "trace":
        return ()
    placement = place(found.deployment, found.facts, catalogue=found.judge.catalogue)
    what = question(found.facts, placement, found.judge.terms)
    card = proven.proof.device
    return curves(what.judge, what.on(card), card, what.context, proven.proof)


def _placed(found: Found, proven: Proven) -> Proven:
    """The proof with its place as the caller's folder has it; `ConfigError` for a model that nobody knows."""
    if found.nothing and not proven.sha256:
        raise ConfigError(f"{found.nothing}; as a model of the hub: {proven.proof.reason}")
    shown = proven.at.path if found.nothing else posixpath.normpath(posixpath.join(found.prefix, proven.at.path))
    return proven._replace(at=proven.at._replace(path=shown))


def _find(target: str, terms: Terms, given: dict[str, Any]) -> Found:
    given = {key: value for key, value in given.items() if value is not None}
    file, line = file_of(target)
    if not file.is_file():
        return _named(target, terms, given)
    if line is None and kind_of(file.name) not in (None, "json", "records"):
        raise ConfigError(f"`{target}` is no config.json; a deployment in it is named with its line: `{target}:LINE`")
    scope = find_scope([file])
    terms = terms._replace(config=None if terms.config is None else scope.below(Path(terms.config)))
    if line is None or file.suffix == ".json":
        found = _config(scope, file, terms, given)
    else:
        found = _deployment(scope, file, line, terms, given)
    return found._replace(prefix=scope.prefix)


def file_of(target: str) -> tuple[Path, int | None]:
    """The file that a target names, there or not, and the line of a deployment in it."""
    place = re.fullmatch(r"(.+):(\d+)", target)
    path = Path(target)
    if place and Path(place[1]).is_file():
        return Path(place[1]), int(place[2])
    return path / "config.json" if path.is_dir() else path, None


def _named(target: str, terms: Terms, given: dict[str, Any]) -> Found:
    """A model of the hub, `ID` or `ID@REVISION`, as a lock here, the cache, the hub or the catalogue knows it."""
    model, _, revision = target.partition("@")
    nothing = f"`{target}` is no config.json, no folder that holds one, and no FILE:LINE of a deployment"
    if not is_hub_id(model) or Path(model.partition("/")[0]).exists():
        raise ConfigError(nothing)
    scope = find_scope([])
    terms = terms._replace(config=None if terms.config is None else scope.below(Path(terms.config)))
    at = Location(f"{model}/config.json")
    deployment = Deployment(at, declared=True, model=model, revision=revision or None, **given)
    return _declared(scope.root, deployment, terms)._replace(nothing=nothing)


def _config(scope: Scope, file: Path, terms: Terms, given: dict[str, Any]) -> Found:
    name = scope.below(file)
    deployment = Deployment(at=Location(name), declared=True, config=name, **given)
    return _declared(scope.root, deployment, terms)


def _deployment(scope: Scope, file: Path, line: int, terms: Terms, given: dict[str, Any]) -> Found:
    """The deployment at the line, else nearest above, else the first below: declared in a configuration, or found."""
    name = scope.below(file)
    judging = terms._replace(config=terms.config or (name if file.suffix == ".toml" else None))
    tree, policy = _policy(scope.root, judging)
    _, facts = engine.gather(tree, policy.configuration, without=engine.CODE)
    there = [item for item in facts.of(Deployment) if item.at.path == name]
    above = [item for item in there if item.at.line <= line]
    if not there or line < 1:
        raise ConfigError(f"no deployment at `{file}:{line}`; `vramguard inspect` lists them")
    # A command in a script stands below the first line of its container, at which a person may well point.
    chosen = max(above, key=lambda item: item.at.line) if above else min(there, key=lambda item: item.at.line)
    return Found(facts, judge(policy), dataclasses.replace(chosen, **given))


def _declared(root: Path, deployment: Deployment, terms: Terms) -> Found:
    tree, policy = _policy(root, terms)
    configuration = dataclasses.replace(policy.configuration, deployments=(deployment,))
    _, facts = engine.gather(tree, configuration, without=engine.CODE)
    return Found(facts, judge(policy), deployment)


def _policy(root: Path, terms: Terms) -> tuple[WorkTree, engine.Policy]:
    tree = WorkTree(root)
    return tree, engine.load_policy(tree, terms.config, PROOF, budget=terms.budget, online=terms.online)


def judge(policy: engine.Policy) -> VramBudget:
    """The check whose terms a policy judges proofs by."""
    return next((rule.check for rule in policy.rules if isinstance(rule.check, VramBudget)), VramBudget())
