"""`vramguard.lock` as text: rows sorted by model and revision, keys in one order, so that a diff shows what changed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from vramguard.extract.model_lock import SCHEMA
from vramguard.hub.found import Asked, Found, slim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vramguard.facts import LockedModel

NAME: Final = "vramguard.lock"
# A list of numbers or of words stands on one line, as its writer had it: a config's lists are layers and shapes.
_FLAT = re.compile(r"\[\s+((?:[^\[\]{}\"]|\"(?:[^\"\\]|\\.)*\")*?)\s+\]")
_WIDTH: Final = 110


def row_of(locked: LockedModel) -> Found:
    """A row that stands in a lock, as one that could be written to it."""
    table = locked.tensors
    tensors = None if table is None else {each.name: [list(each.shape), each.dtype, each.copies] for each in table}
    return Found(
        Asked(locked.model, locked.revision),
        locked.commit,
        locked.source,
        locked.config,
        locked.config_sha256,
        locked.total_size,
        locked.index_sha256,
        tensors,
    )


def render(rows: Iterable[Found]) -> str:
    """The whole file."""
    ordered = sorted(rows, key=lambda row: (row.asked.key[0], row.asked.revision or "", row.asked.model))
    text = json.dumps({"schema": SCHEMA, "models": [_entry(row) for row in ordered]}, indent=1, ensure_ascii=False)
    return _FLAT.sub(_joined, text) + "\n"


def _joined(match: re.Match[str]) -> str:
    line = "[" + re.sub(r",\s+", ", ", match[1]) + "]"
    return line if len(line) <= _WIDTH and '"' not in line else match[0]


def _entry(row: Found) -> dict[str, Any]:
    weights = None if row.total_size is None else {"total_size": row.total_size, "sha256": row.index_sha256}
    return {
        "model": row.asked.model,
        "revision": row.asked.revision,
        "commit": row.commit,
        "source": row.source,
        "config_sha256": row.config_sha256,
        "config": None if row.config is None else slim(row.config),
        "weights": weights,
        "tensors": row.tensors,
    }
