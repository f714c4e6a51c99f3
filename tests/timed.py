"""A bound on the time that a block takes, in the pace of the machine that runs it."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

REFERENCE: Final = 0.02  # seconds that the loop takes where the bounds were set


def _loop() -> float:
    """The processor time that a small loop takes now."""
    start, total = time.process_time(), 0
    for number in range(500_000):
        total += number % 7
    return time.process_time() - start


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block takes at most so much of this process's own time, as the machine that set the bounds would take it.

    What such a test catches takes minutes. What else takes longer on another machine is a slower or busier processor,
    which slows a small loop just as much, and the heap that thousands of earlier tests have left, through which every
    full collection of garbage goes: both say nothing about the block.
    """
    gc.collect()
    gc.freeze()
    try:
        before, start = _loop(), time.process_time()
        yield
        taken, after = time.process_time() - start, _loop()
    finally:
        gc.unfreeze()
    pace = max(1.0, max(before, after) / REFERENCE)
    assert taken <= seconds * pace, f"took {taken:.2f} s, and {seconds:g} s are allowed at a pace of {pace:.2f}"
