"""`vramguard.lock`: what stood on the hub, under each model's id, on the day the lock was written.

A lock that is not what `vramguard lock` writes is unreadable, row by row: a proof from half a row would be a guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from vramguard.facts import LockedModel, LockedTensor
from vramguard.source import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.source import Document

SCHEMA: Final = "vramguard.lock/1"
SOURCES: Final = ("hub", "cache", "local")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 62  # bytes or copies: beyond is no model, and would only make long numbers


class _FlawError(Exception):
    """What is wrong with a row, and under which of its keys."""

    def __init__(self, what: str, *keys: str | int) -> None:
        super().__init__(what)
        self.keys = keys


def extract(document: Document) -> Iterator[LockedModel | Unreadable]:
    """Every row, in the file's order."""
    value = document.value
    if not isinstance(value, Mapping) or value.get("schema") != SCHEMA:
        yield Unreadable(
            document.at("schema"), f'no `"schema": "{SCHEMA}"`: `vramguard lock` of this version writes it'
        )
        return
    rows = value.get("models")
    if not isinstance(rows, list):
        yield Unreadable(document.at("models"), "`models` is to be a list; `vramguard lock` writes it anew")
        return
    for number, row in enumerate(rows):
        try:
            yield _row(document, number, row)
        except _FlawError as flaw:
            what = f"row {number + 1} of the lock: {flaw}; `vramguard lock` writes it anew"
            yield Unreadable(document.at("models", number, *flaw.keys), what)


def _row(document: Document, number: int, row: object) -> LockedModel:
    if not isinstance(row, Mapping):
        raise _FlawError("it is to be an object")
    config, weights = row.get("config"), row.get("weights")
    if config is not None and not isinstance(config, Mapping):
        raise _FlawError("`config` is to be an object or null", "config")
    if weights is not None and not isinstance(weights, Mapping):
        raise _FlawError("`weights` is to be an object or null", "weights")
    weights = weights or {}
    return LockedModel(
        at=document.at("models", number, "model"),
        model=_text(row, "model") or _refuse("`model` is missing", "model"),
        revision=_text(row, "revision"),
        commit=_text(row, "commit", _COMMIT),
        source=_source(row),
        config=config,
        config_sha256=_text(row, "config_sha256", _DIGEST, needed=config is not None),
        total_size=_number(weights, "total_size", "weights"),
        index_sha256=_text(weights, "sha256", _DIGEST),
        tensors=_tensors(row.get("tensors")),
    )


def _refuse(what: str, *keys: str | int) -> str:
    raise _FlawError(what, *keys)


def _text(
    row: Mapping[str, Any], key: str, pattern: re.Pattern[str] | None = None, *, needed: bool = False
) -> str | None:
    value = row.get(key)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not value or (pattern and not pattern.fullmatch(value)):
        kind = {_COMMIT: "a full commit hash", _DIGEST: "a sha256"}.get(pattern, "text") if pattern else "text"
        raise _FlawError(f"`{key}` is to be {kind}", key)
    return value


def _source(row: Mapping[str, Any]) -> str:
    value = row.get("source")
    if value not in SOURCES:
        raise _FlawError(f"`source` is to be one of {', '.join(SOURCES)}", "source")
    return str(value)


def _number(row: Mapping[str, Any], key: str, *keys: str) -> int | None:
    value = row.get(key)
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise _FlawError(f"`{key}` is to be a number of bytes", *keys, key)
    return value


def _tensors(table: object) -> tuple[LockedTensor, ...] | None:
    """The table of tensors: `{name: [shape, dtype, copies]}`."""
    if table is None:
        return None
    if not isinstance(table, Mapping):
        raise _FlawError("`tensors` is to be an object or null", "tensors")
    return tuple(_tensor(name, value) for name, value in table.items())


def _tensor(name: str, value: object) -> LockedTensor:
    match value:
        case [list(shape), str(dtype), int(copies)] if 0 < copies < _LARGEST and all(map(_is_size, shape)):
            return LockedTensor(name, tuple(shape), dtype, copies)
    raise _FlawError(f"the tensor `{name}` is to be [shape, dtype, copies]", "tensors", name)


def _is_size(number: object) -> bool:
    return type(number) is int and 0 <= number < _LARGEST
