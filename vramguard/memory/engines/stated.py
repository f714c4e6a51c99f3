"""Numbers that a deployment states in words: exact, bounded, or refused."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from vramguard.memory.architecture import Architecture
    from vramguard.memory.verdict import Workload

_DECIMAL: Final = re.compile(r"[0-9]{0,9}\.?[0-9]{1,18}|[0-9]{1,9}\.")


def decimal(name: str, said: str) -> Fraction:
    """The number that `said` writes as a decimal without a sign; raises UnprovenError naming it otherwise."""
    if not _DECIMAL.fullmatch(said):
        raise UnprovenError(f"{name} {said:.40} is not a decimal number")
    return Fraction(said)


def share(name: str, said: str) -> Fraction:
    """The share of a card that `said` writes, above 0 and at most 1; raises UnprovenError naming it otherwise."""
    found = decimal(name, said)
    if not 0 < found <= 1:
        raise UnprovenError(f"{name} {said:.40} is not a share of a card")
    return found


def dtype(workload: Workload, default: str | None = None) -> str | None:
    """The dtype that is said, else the default."""
    return workload.dtype if workload.dtype not in (None, "auto") else default


def check_positions(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for a context longer than the positions that a network has learned."""
    tokens = workload.max_model_len
    if network.learned_positions and tokens is not None and tokens > network.context:
        what = f"the {network.context} positions that {network.model_type} has learned"
        raise UnprovenError(f"max_model_len {tokens} is above {what}")
