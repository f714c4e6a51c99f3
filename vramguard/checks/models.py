"""Demand 1, for models: a name on the hub is a branch, and only a commit is what was tested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard import data
from vramguard.checks import Evidence, Problem, Severity, check, once
from vramguard.checks.artefacts import place_of, runs_loose_code, unpinned
from vramguard.extract.declaration import commit
from vramguard.facts import Deployment, PathClass, Unknown
from vramguard.link.artefacts import downloaded
from vramguard.link.model_lock import lock_above, lock_paths, locked, rows_for, unused
from vramguard.link.models import has_own_config
from vramguard.link.names import on_hub
from vramguard.source import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Facts, LockedModel
    from vramguard.link.names import Named
    from vramguard.source import Location

_JUDGED = (PathClass.SERVING, PathClass.TRAINING)
_WEAKER = (PathClass.EXAMPLE,)  # copied by people, served to nobody: a warning
_UNPINNABLE = ("llama.cpp",)  # its `-hf` takes no revision
_PRESETS = ("kaito",)  # forms of places that take no revision: KAITO's presets pin their own


@check("unpinned-model-revision")
@dataclass(frozen=True)
class UnpinnedModel:
    """A model of the hub without a full commit as its revision; a tokenizer, an adapter, a data set or code of a hub;
    a stage or an alias of MLflow's registry; a folder `latest`.

    `locked` weighs a deployment whose commit a lock holds: the proof then stands on that commit, and what is loaded is
    still whatever the branch holds that day. Where code is run without a commit, `RemoteCode` speaks instead.
    """

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER
    locked: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        said = set[tuple[str, str]]()
        yield from once(self._found(facts, said))
        yield from unpinned(facts, self.classes, self.warnings, said)

    def _found(self, facts: Facts, said: set[tuple[str, str]]) -> Iterator[Problem]:
        """Problems of deployments; `said` gathers the path and the name of each model that one is about."""
        for named in _named(facts, (*self.classes, *self.warnings)):
            fetched = downloaded(facts).get((named.deployment.at.path, named.model.casefold()))
            revision = named.revision or fetched
            reason = "" if isinstance(revision, Unknown) else commit(revision)
            if not reason or not _pins(named.deployment):
                continue
            places = (named.deployment.at, _place(named.deployment, "revision", "model"))
            said |= {(at.path, named.model.casefold()) for at in places}
            if "/" in named.model and runs_loose_code(named.deployment):
                continue
            row = locked(named.deployment, facts)
            held = row if row is not None and row.commit is not None else None
            weaker = facts.classify(named.deployment.at.path) not in self.classes
            yield _unpinned(named, reason, held, Severity.WARNING if weaker else self.locked if held else None)


def _pins(deployment: Deployment) -> bool:
    """Whether a deployment could name a revision where it stands."""
    elsewhere = deployment.holds is not None or deployment.form in _PRESETS
    return deployment.engine not in _UNPINNABLE and not elsewhere


def _named(facts: Facts, classes: tuple[PathClass, ...]) -> Iterator[Named]:
    """Every deployment of these classes that certainly names a model of the hub."""
    for deployment in facts.of(Deployment):
        named = on_hub(deployment, facts)
        if named is not None and facts.classify(deployment.at.path) in classes and _is_certain(named, facts):
            yield named


def _is_certain(named: Named, facts: Facts) -> bool:
    """Whether the name is one of the hub: a single word may as well be a folder, unless it is known there."""
    return "/" in named.model or data.model(named.model) is not None or bool(rows_for(named.deployment, facts))


def _unpinned(named: Named, reason: str, row: LockedModel | None, severity: Severity | None) -> Problem:
    deployment = named.deployment
    commit = row.commit if row and row.commit else "COMMIT"
    values = {
        "model": named.model,
        "reason": reason,
        "held": f"; vramguard.lock holds {row.commit}" if row else "",
        "find": "" if row else "`vramguard lock` finds the commit and proves by it. ",
        "pin": f"hf://{named.model}@{commit}" if deployment.form == "ome" else _pin(deployment, commit),
        "where": place_of(deployment),
    }
    evidence = (Evidence(row.at, "this row of the lock holds its commit"),) if row else ()
    place = _place(deployment, "revision", "model")
    return Problem(place, values, evidence, severity, subject=f"{named.model}@{named.revision}")


def _pin(deployment: Deployment, commit: str) -> str:
    """The commit as the deployment's own language writes it."""
    if deployment.declared:
        return f'revision = "{commit}"'
    if deployment.form == "python":
        return f'revision="{commit}"'
    if deployment.form == "truss":
        return f"revision: {commit}"
    return f"--model_revision={commit}" if deployment.engine == "kserve" else f"--revision {commit}"


def _place(deployment: Deployment, *names: str) -> Location:
    return next((deployment.places[name] for name in names if name in deployment.places), deployment.at)


@check("model-lock-stale")
@dataclass(frozen=True)
class StaleModelLock:
    """A vramguard.lock and the deployments below it that do not name the same models at the same revisions.

    `unused` weighs rows that no deployment names; they say nothing false.
    """

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER
    unused: Severity = Severity.WARNING

    def find(self, facts: Facts) -> Iterator[Problem]:
        broken = {fact.at.path for fact in facts.of(Unreadable)}
        for named in _named(facts, (*self.classes, *self.warnings)):
            lock = lock_above(named.deployment.at.path, facts)
            if lock is None or lock in broken or has_own_config(named.deployment, facts):
                continue
            if locked(named.deployment, facts) is None:
                weaker = facts.classify(named.deployment.at.path) not in self.classes
                yield _lacking(named, lock, rows_for(named.deployment, facts), Severity.WARNING if weaker else None)
        for lock in lock_paths(facts):
            for row in unused(lock, facts) if lock not in broken else ():
                what = f"the lock holds `{_asked(row.model, row.revision)}`, which no deployment names"
                yield Problem(row.at, {"what": what}, severity=self.unused, subject=f"{row.model}@{row.revision}")


def _lacking(named: Named, lock: str, rows: list[LockedModel], severity: Severity | None) -> Problem:
    asked = _asked(named.model, named.revision)
    if rows:
        held = " and ".join(f"`{_asked(row.model, row.revision)}`" for row in rows)
        what = f"`{lock}` holds {held}, and this deployment asks for `{asked}`"
    else:
        what = f"`{lock}` has no row for `{asked}`"
    evidence = tuple(Evidence(row.at, "this is what the lock holds") for row in rows)
    place = _place(named.deployment, *(("revision",) if rows else ()), "model")
    return Problem(place, {"what": what}, evidence, severity, subject=asked)


def _asked(model: str, revision: str | None) -> str:
    return model if revision is None else f"{model}@{revision}"
