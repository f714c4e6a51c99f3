"""Answers the proof's questions by running transformers: what `--method trace` passes to `memory.prove`."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

from vramguard.memory import UnprovenError
from vramguard.memory.engines.transformers import MODELED_VERSION
from vramguard.memory.traced import Pass, Traced
from vramguard.trace.allocator import replay
from vramguard.trace.record import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vramguard.trace.record import Trace

TORCH_VERSION: Final = "2.13.0"  # the allocator's rules and what operations allocate were read there
_MODELED: Final = {"torch": TORCH_VERSION, "transformers": MODELED_VERSION}
EXTRA: Final = "pip install 'vramguard[trace]'"


class MissingExtraError(Exception):
    """What a trace runs is not installed, or not in the version that the proof models; the message says what to do."""


def require() -> None:
    """Raise MissingExtraError unless torch and transformers are here in the versions modelled. Imports neither."""
    for name, modeled in _MODELED.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            raise MissingExtraError(f"--method trace runs {name}, which is not installed: {EXTRA}") from None
        if installed.partition("+")[0] != modeled:
            raise MissingExtraError(f"--method trace models {name} {modeled}, and {installed} is installed: {EXTRA}")


def witness(config: Mapping[str, object], run: Pass) -> Traced:
    """Trace one pass and replay the allocator over it; UnprovenError where the pass cannot be run."""
    from vramguard.trace.forward import trace

    try:
        seen = trace(
            config,
            run.tokens,
            run.sequences,
            implementation=run.implementation,
            dtype=run.dtype,
            class_name=run.class_name,
        )
    except TraceError as error:
        raise UnprovenError(f"the pass cannot be traced: {error}") from error
    return _traced(seen)


def _traced(seen: Trace) -> Traced:
    """The worse of two ways to load: weight by weight, or cut from one block (from_pretrained with a device_map)."""
    replays = [replay(seen.weights, seen.allocations, warm=warm) for warm in (False, True)]
    worst = max(replays, key=lambda item: item.fragmentation_bytes)
    return Traced(
        peak_bytes=seen.peak_bytes,
        cache_bytes=seen.cache_bytes,
        allocated_bytes=worst.allocated_bytes,
        reserved_bytes=worst.reserved_bytes,
        mask_heads=seen.mask_heads,
        source=_source(),
        assumed=seen.assumed,
    )


@lru_cache(maxsize=1)
def _source() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("transformers", "torch"))
    return f"{versions}: the forward pass under fake tensors"
