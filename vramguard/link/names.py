"""Names of models: which are ids on the hub, and when two are the same."""

from __future__ import annotations

import posixpath
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.facts import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.facts import Deployment, Facts

# A model's id on the hub (huggingface_hub 2.4.0, utils/_validators.py, validate_repo_id).
_ID = re.compile(r"(?=.{1,96}$)(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*(?<![-.])", re.ASCII)
# First words of paths that look like an id: folders that a checkpoint is mounted, saved or copied to.
_FOLDERS: Final = frozenset(
    (
        "app", "artifacts", "cache", "checkpoint", "checkpoints", "ckpt", "ckpts", "content", "data", "dist",
        "downloads", "experiments", "export", "exports", "home", "llm", "llms", "local", "logs", "lora", "loras", "mnt",
        "model", "model-cache", "model-store", "model_cache", "models", "my-model", "opt", "out", "output", "outputs",
        "path", "pretrained", "results", "root", "run", "runs", "saved", "saved_model", "saved_models", "srv", "tmp",
        "trained", "training", "usr", "var", "volume", "weights", "workspace"
    )
)  # fmt: skip


class Named(NamedTuple):
    """A model on the hub that a deployment names. Ids are compared without case; no revision is the default branch."""

    deployment: Deployment
    model: str
    revision: str | None

    @property
    def key(self) -> tuple[str, str | None]:
        """By which two deployments name the same."""
        return key_of(self.model, self.revision)


def key_of(model: str, revision: str | None) -> tuple[str, str | None]:
    """By which two ways to name a model are the same."""
    return model.casefold(), None if revision == "main" else revision


def on_hub(deployment: Deployment, facts: Facts) -> Named | None:
    """The model on the hub that a deployment names; None for a path, and for what only a renderer knows."""
    if deployment.holds is not None:
        name, _, at = deployment.holds.partition("@")
        return Named(deployment, name, at or None) if is_hub_id(name) else None
    model, revision = deployment.model, deployment.revision
    if not isinstance(model, str) or isinstance(revision, Unknown):
        return None
    model = model.removeprefix("hf://").removeprefix("https://huggingface.co/").rstrip("/")
    return Named(deployment, model, revision) if is_hub_id(model) and not _is_path(deployment, model, facts) else None


def is_hub_id(text: str) -> bool:
    """Whether the hub could have a model of that id, and it is no path by its first word."""
    owner, slash, _ = text.partition("/")
    return _ID.fullmatch(text) is not None and not (slash and owner.lower() in _FOLDERS) and ".." not in text


def above(path: str) -> Iterator[str]:
    """Folders in which what a file says may run, the nearest first: its own, and those above it; empty for the root."""
    while path:
        path = posixpath.dirname(path)
        yield path


def _is_path(deployment: Deployment, model: str, facts: Facts) -> bool:
    """Whether the repository has such a folder, seen from where the deployment may run: what it holds is loaded."""
    return any(posixpath.join(folder, model) in _folders(facts) for folder in above(deployment.at.path))


@lru_cache(maxsize=4)  # Facts are compared by identity
def _folders(facts: Facts) -> frozenset[str]:
    """Every folder of the repository."""
    found = set[str]()
    for path in facts.paths:
        for folder in above(path):
            if folder in found:
                break
            found.add(folder)
    return frozenset(found)
