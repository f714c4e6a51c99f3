"""Weights that a person can review: what the files of a model hold, value by value, without torch.

`review` reads safetensors and GGUF from end to end, in blocks: statistics, what is not finite, a digest of every tensor
and of them all, and what has changed since other weights. Pickles are never opened. It needs numpy, the extra
`weights`, and nothing else does: it is imported in `review` alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.schema import ConfigError
from vramguard.units import plural
from vramguard.weights.results import (
    INCOMPLETE,
    KINDS,
    Change,
    File,
    Gap,
    Problem,
    Review,
    Side,
    Statistics,
    Tensor,
    brief,
)
from vramguard.weights.stores import Store, find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = [
    "KINDS",
    "Change",
    "File",
    "Gap",
    "Problem",
    "Review",
    "Side",
    "Statistics",
    "Tensor",
    "brief",
    "digest_of",
    "review",
]


def review(target: Path, against: Path | None = None) -> Review:
    """Review a file, an index or a folder of weights. Raises `ConfigError` where there are none, or without numpy."""
    try:
        from vramguard.weights.scanning import Scanner
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise ConfigError("`weights` needs numpy, which is not installed: pip install 'vramguard[weights]'") from error
    store = find(target)
    other = find(against) if against else None
    scanner = Scanner(store, other)
    scanner.run()
    side = _side(store, scanner.tensors)
    problems = [*_non_finite(side.tensors), *store.problems]
    notes = list(store.notes)
    if other is None:
        return Review(side, _sorted(problems), tuple(notes))
    problems += (replace(problem, of_against=True) for problem in other.problems)
    notes += (replace(note, of_against=True) for note in other.notes)
    was = _side(other, scanner.before)
    changes = [*scanner.changes, *_others(store, other, scanner.tensors, scanner.before)]
    both = len(scanner.tensors.keys() & scanner.before.keys())
    unchanged = both - sum(change.kind not in {"added", "removed"} for change in changes)
    return Review(side, _sorted(problems), tuple(notes), was, tuple(sorted(changes, key=_order)), unchanged)


def _order(change: Change) -> tuple[str, str]:
    return change.name, change.kind


def _sorted(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    ranks = {kind: rank for rank, kind in enumerate(KINDS)}
    key = lambda problem: (ranks[problem.kind], problem.of_against, problem.file or "", problem.tensor or "")  # noqa: E731
    return tuple(sorted(problems, key=key))


def _side(store: Store, tensors: Mapping[str, Tensor]) -> Side:
    found = tuple(tensors[name] for name in sorted(tensors))
    whole = store.files and not any(problem.kind in INCOMPLETE for problem in store.problems)
    return Side(store.target, tuple(store.files), found, digest_of(found) if whole else None)


def digest_of(tensors: Iterable[Tensor]) -> str:
    """The digest of weights, whatever files they are spread over.

    The SHA-256 of one line for each tensor, in the order of the names' code points: a JSON array of name, dtype, shape
    and SHA-256 of its bytes, without spaces, in ASCII, ended by a line feed.
    """
    found = hashlib.sha256()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        line = [tensor.name, tensor.dtype, tensor.shape, tensor.sha256]
        found.update(f"{json.dumps(line, separators=(',', ':'))}\n".encode())
    return f"sha256:{found.hexdigest()}"


def _non_finite(tensors: Iterable[Tensor]) -> Iterator[Problem]:
    for tensor in tensors:
        found = tensor.statistics
        if found is None or not found.non_finite:
            continue
        counts = {"NaN": found.nan, "+Inf": found.positive_inf, "-Inf": found.negative_inf}
        words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        of = "scale" if tensor.examined == "scales" else "value"
        message = f"{words} of {plural(found.values, of)}, the first at {tensor.place(found.first or 0)}"
        yield Problem("non-finite", message, tensor.file, tensor.name)


def _others(store: Store, other: Store, after: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> Iterator[Change]:
    """What only one side has, or has in another shape. What could not be read says nothing."""
    for name, tensor in after.items():
        if name not in other.pieces:
            yield Change("added", name, None, tensor)
        elif name in before and before[name].shape != tensor.shape:
            yield Change("reshaped", name, before[name], tensor)
    for name, tensor in before.items():
        if name not in store.pieces:
            yield Change("removed", name, tensor, None)
