"""Deployments and the rows of vramguard.lock that speak for them: those nearest above, by model and revision."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from vramguard.facts import Deployment, LockedModel, Unknown
from vramguard.link.names import key_of, on_hub

if TYPE_CHECKING:
    from vramguard.facts import Facts

LOCK: Final = "vramguard.lock"


@lru_cache(maxsize=4)  # Facts are compared by identity
def lock_paths(facts: Facts) -> tuple[str, ...]:
    """Every lock of models, whether it can be read or not."""
    return tuple(sorted(path for path in facts.paths if posixpath.basename(path) == LOCK))


@lru_cache(maxsize=4)  # likewise
def _rows(facts: Facts) -> dict[tuple[str | None, str], list[LockedModel]]:
    """The rows of each lock, by their models' names without case."""
    found: dict[tuple[str | None, str], list[LockedModel]] = defaultdict(list)
    for row in facts.of(LockedModel):
        found[row.at.path, row.model.casefold()].append(row)
    return dict(found)


def lock_above(path: str, facts: Facts) -> str | None:
    """The lock that speaks for a file: the nearest one in a folder above it."""
    above = [lock for lock in lock_paths(facts) if _is_below(path, posixpath.dirname(lock))]
    return max(above, key=len, default=None)


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def rows_for(deployment: Deployment, facts: Facts) -> list[LockedModel]:
    """What the lock above a deployment says of its model, at whatever revision."""
    model, lock = deployment.model, lock_above(deployment.at.path, facts)
    if not isinstance(model, str):
        return []
    named = on_hub(deployment, facts)
    key = (named.model if named else model).casefold()
    return _rows(facts).get((lock, key), [])


def locked(deployment: Deployment, facts: Facts) -> LockedModel | None:
    """The row of the lock that a deployment's model and revision ask for: by the same words, or by its commit."""
    revision = deployment.revision
    if isinstance(revision, Unknown):
        return None
    rows = rows_for(deployment, facts)
    same = (row for row in rows if key_of(row.model, row.revision)[1] == key_of("", revision)[1])
    return next(same, None) or next((row for row in rows if revision is not None and row.commit == revision), None)


def unused(lock: str, facts: Facts) -> list[LockedModel]:
    """Rows of a lock that no deployment below it names; none where a renderer has yet to say what some of them name."""
    below = [found for found in facts.of(Deployment) if lock_above(found.at.path, facts) == lock]
    if any(isinstance(value, Unknown) for found in below for value in (found.model, found.revision)):
        return []
    used = {id(locked(found, facts)) for found in below}
    return [row for row in facts.of(LockedModel) if row.at.path == lock and id(row) not in used]
