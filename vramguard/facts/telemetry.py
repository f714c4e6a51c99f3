"""What a repository's own Python tells Prometheus."""

from __future__ import annotations

from dataclasses import dataclass

from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class PythonMetrics:
    """One module. `exposes`: where it answers with its metrics; `allocator`: it asks for torch's allocator.

    `exports` are the names that it gives to metrics of its own, `words` all that are spelt like an engine's or DCGM's.
    `imports` are the last names of what it imports, `card`: it imports torch and names CUDA. `open`: it gives metrics
    names that are made when it runs; `named` are all words that may be a metric's name, where it tells Prometheus any.
    """

    at: Location
    exposes: Location | None = None
    allocator: bool = False
    card: bool = False
    exports: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    imports: frozenset[str] = frozenset()
    open: bool = False
    named: frozenset[str] = frozenset()
