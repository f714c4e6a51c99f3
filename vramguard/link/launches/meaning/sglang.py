"""SGLang: flags that count only beside another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.launches import values
from vramguard.link.launches.meaning import device, experts, nodes

if TYPE_CHECKING:
    from vramguard.link.launches.meaning import Reading


def finish(reading: Reading) -> None:
    """Fields that several flags say together."""
    device(reading)
    nodes(reading)
    experts(reading)
    _chunk(reading)
    _replicas(reading)
    for name in ("drafting", "ep_moe"):
        said = reading.last(name)
        if said is None or (name == "drafting" and (reading.text(name) or "").lower() == "none"):
            continue
        if name == "ep_moe":
            reading.set("enable_expert_parallel", True, said.at)
        else:
            reading.leave_said(said)


def _chunk(reading: Reading) -> None:
    """A chunk of no size means that prompts are not split."""
    said = reading.last("chunk")
    if said is None or said.value is None:
        return
    number = reading.number("chunk")
    if number is not None and number <= 0:
        reading.leave_said(said)
    else:
        reading.set("max_num_batched_tokens", values.value("max_num_batched_tokens", said.value), said.value.at)


def _replicas(reading: Reading) -> None:
    """Replicas have cards of their own; with --enable-dp-attention they share those of the layers."""
    shared, said = reading.last("dp_attention"), reading.last("data_parallel")
    if shared is not None:
        if reading.number("data_parallel") != 1:
            reading.leave_said(shared)
    elif said is not None and said.value is not None:
        reading.set("data_parallel_size", values.value("data_parallel_size", said.value), said.value.at)
