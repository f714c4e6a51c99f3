"""TensorRT-LLM: its backend, and experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.launches.meaning import experts

if TYPE_CHECKING:
    from vramguard.link.launches.meaning import Reading


def finish(reading: Reading) -> None:
    """Fields that several flags say together."""
    experts(reading)
    said = reading.last("backend")
    if said is not None and reading.text("backend") != "pytorch":
        reading.leave_said(said)
