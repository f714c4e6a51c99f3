"""Demand 1: models, data and code that are loaded by a name that moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.checks import Problem, Severity, check
from vramguard.facts import Deployment, PathClass
from vramguard.link.artefacts import artefacts, code_is_loose, loose
from vramguard.link.names import on_hub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Artefact, Facts
    from vramguard.source import Location

_JUDGED = (PathClass.SERVING, PathClass.TRAINING)
_NAMED = "where the model is named"
_WEAKER = (PathClass.EXAMPLE,)  # copied by people, served to nobody: a warning


def unpinned(
    facts: Facts, classes: tuple[PathClass, ...], warnings: tuple[PathClass, ...], said: set[tuple[str, str]]
) -> Iterator[Problem]:
    """What Python and tools' files load by a name that moves, once for each name and file. `said`: those (path, name)
    of which the deployments' own problems speak already.
    """
    said |= {_key(found) for found in artefacts(facts) if _runs_code(found)}  # of which `RemoteCode` speaks
    for found in artefacts(facts):
        where, reason, key = facts.classify(found.at.path), loose(found), _key(found)
        if not reason or where not in (*classes, *warnings) or key in said:
            continue
        said.add(key)
        values = {"model": found.name, "reason": reason, "held": "", "find": "", "pin": _pin(found), "where": _NAMED}
        severity = Severity.WARNING if where in warnings else None
        yield Problem(found.revision_at or found.at, values, (), severity, subject=f"{found.name}@{found.revision}")


def _key(found: Artefact) -> tuple[str, str]:
    return found.at.path, str(found.name).casefold()


def _runs_code(found: Artefact) -> bool:
    return code_is_loose(found.trusted, found.revision, found.code_revision)


def _pin(found: Artefact) -> str:
    """How the name would be written if it did not move."""
    if found.source == "mlflow":
        model = str(found.name).partition("@")[0].removesuffix(f"/{found.revision}")
        return f"{model}/VERSION"
    if found.source == "bucket":
        return str(found.name).rstrip("/").removesuffix("latest") + "VERSION"
    if found.source == "torch-hub":
        return f"{found.name}:COMMIT"
    return "revision: COMMIT" if found.form != "python" else 'revision="COMMIT"'


@check("remote-code-without-revision")
@dataclass(frozen=True)
class RemoteCode:
    """Code that lies beside a model is run (`trust_remote_code`), and no full commit says which."""

    classes: tuple[PathClass, ...] = _JUDGED
    warnings: tuple[PathClass, ...] = _WEAKER

    def find(self, facts: Facts) -> Iterator[Problem]:
        """One problem for each name and file."""
        said = set[tuple[str, str]]()
        for at, name, pin, place in sorted([*_of_deployments(facts), *_of_artefacts(facts)]):
            where = facts.classify(at.path)
            key = (at.path, name.casefold())
            if where not in (*self.classes, *self.warnings) or key in said:
                continue
            said.add(key)
            severity = Severity.WARNING if where in self.warnings else None
            yield Problem(at, {"model": name, "pin": pin, "where": place}, severity=severity, subject=name)


def _of_artefacts(facts: Facts) -> Iterator[tuple[Location, str, str, str]]:
    for found in artefacts(facts):
        if _runs_code(found):
            yield found.trusted_at or found.at, str(found.name), _pin(found), _NAMED


def _of_deployments(facts: Facts) -> Iterator[tuple[Location, str, str, str]]:
    for deployment in facts.of(Deployment):
        named = on_hub(deployment, facts)
        if named is None or "/" not in named.model or not runs_loose_code(deployment):
            continue
        pin = 'revision="COMMIT"' if deployment.form == "python" else "--revision COMMIT"
        yield deployment.places.get("trust_remote_code", deployment.at), named.model, pin, place_of(deployment)


def place_of(deployment: Deployment) -> str:
    """Where a deployment's own language has the revision, in words."""
    inside = deployment.declared or deployment.form in ("python", "truss", "ome")
    return _NAMED if inside else "among the engine's arguments"


def runs_loose_code(deployment: Deployment) -> bool:
    """Whether a deployment runs code that its owner may change."""
    return code_is_loose(deployment.trust_remote_code, deployment.revision, deployment.code_revision)
