"""What was asked for and what was found: the words that the cache, the hub's client and the lock share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from vramguard.link.names import key_of
from vramguard.source import Unreadable, read

CONFIG: Final = "config.json"
INDEX: Final = "model.safetensors.index.json"
PIPELINE: Final = "model_index.json"  # of diffusers
MAX_CONFIG: Final = 4 << 20  # bytes; the largest configs are lists of labels
MAX_INDEX: Final = 32 << 20

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")
# What no proof reads, and what makes up most of a config: names of labels, settings of tasks, where it was trained.
_BULKY: Final = frozenset(("id2label", "label2id", "_name_or_path", "name_or_path", "task_specific_params"))
_LABELS: Final = ("ForSequenceClassification", "ForTokenClassification")  # heads whose size is the number of labels


class HubError(Exception):
    """Why a model could not be resolved, in one line that names it."""


class Asked(NamedTuple):
    """A model's id and the revision that is wanted of it; None for the default branch."""

    model: str
    revision: str | None = None

    def __str__(self) -> str:
        return self.model if self.revision is None else f"{self.model}@{self.revision}"

    @property
    def key(self) -> tuple[str, str | None]:
        """By which two ways to ask for the same are the same."""
        return key_of(self.model, self.revision)


class Found(NamedTuple):
    """What stands under a model's id. Of a repository without a config.json there is no config."""

    asked: Asked
    commit: str | None  # None for a folder
    source: str  # hub, cache, local
    config: Mapping[str, Any] | None
    config_sha256: str | None
    total_size: int | None = None  # bytes of all weights
    index_sha256: str | None = None
    tensors: Mapping[str, Any] | None = None


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash."""
    return revision is not None and _FULL_COMMIT.fullmatch(revision) is not None


def found(asked: Asked, commit: str | None, source: str, config: bytes, index: bytes | None = None) -> Found:
    """What a config's bytes and those of its index say. Raises `HubError` for bytes that are no JSON object."""
    said = Found(asked, commit, source, parsed(asked, CONFIG, config), hashlib.sha256(config).hexdigest())
    if index is None:
        return said
    return said._replace(total_size=_total(parsed(asked, INDEX, index)), index_sha256=hashlib.sha256(index).hexdigest())


def parsed(asked: Asked, name: str, data: bytes) -> Mapping[str, Any]:
    """A JSON object that a model's repository holds. Raises `HubError`."""
    document = read(name, data, kind="json")
    if isinstance(document, Unreadable):
        raise HubError(f"`{asked}`: its {name} cannot be read: {document.reason}")
    if not isinstance(document.value, Mapping):
        raise HubError(f"`{asked}`: its {name} is no JSON object")
    return document.value


def _total(index: Mapping[str, Any]) -> int | None:
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, float) and total.is_integer():  # some writers have it as 1.6e10
        total = int(total)
    return total if type(total) is int and total >= 0 else None


def slim(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without its bulky keys, sorted, so that two locks can be compared line by line. Nulls stay: they say
    something.
    """
    classes = config.get("architectures")
    counted = isinstance(classes, list) and any(str(name).endswith(_LABELS) for name in classes)
    left_out = _BULKY - {"id2label"} if counted else _BULKY
    return {
        key: slim(value) if isinstance(value, Mapping) else value
        for key, value in sorted(config.items())
        if key not in left_out
    }
