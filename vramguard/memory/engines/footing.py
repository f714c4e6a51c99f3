"""What of a card the demand on it depends on: cards that stand alike have the same ledgers, whatever their size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vramguard.memory.engines import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Hashable

    from vramguard.memory.runtime import Device
    from vramguard.memory.verdict import Workload


def footing(workload: Workload, device: Device) -> Hashable:
    """Everything of the card that a ledger of the workload, its carrier resolved, is a function of.

    A size or a name that an engine looks at stays: vLLM's default batches do; all of it where an engine is not known
    here to look at less.
    """
    if workload.mode not in (None, "inference"):
        return device
    engine, alike = workload.engine or DEFAULT, replace(device, name="", source="")
    if engine in (DEFAULT, "llama.cpp"):
        return alike if workload.device_map else replace(alike, capacity_bytes=0)
    if engine == "vllm":
        return replace(alike, capacity_bytes=0), _batches(workload.engine_version, device)
    return alike if engine in ("sglang", "tensorrt-llm") else device


def _batches(version: str | None, device: Device) -> tuple[tuple[int, int], ...]:
    """Return the default batches of vLLM on the card, in each release that the version may be."""
    from vramguard.memory.engines.vllm.profiles import profiles

    size, name, capability = device.capacity_bytes, device.name, device.compute_capability
    return tuple(each.batch_defaults(size, name, capability, server=True) for each in profiles(version))
