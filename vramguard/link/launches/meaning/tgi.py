"""Text Generation Inference: what the launcher makes of its flags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.link.launches import values

if TYPE_CHECKING:
    from vramguard.link.launches.meaning import Reading

_GRAPHS: Final = frozenset({1, 2, 4, 8, 16, 32})  # server/text_generation_server/models/globals.py, CUDA_GRAPHS


def finish(reading: Reading) -> None:
    """Fields that several flags say together (launcher/src/main.rs, find_num_shards)."""
    sharded = reading.text("sharded")
    if sharded is not None and values.truth(sharded) is False and "tensor_parallel_size" not in reading.fields:
        said = reading.last("sharded")
        reading.set("tensor_parallel_size", 1, said.at if said else None)
    _graphs(reading)
    said = reading.last("speculate")
    if said is not None and reading.number("speculate") != 0:
        reading.leave_said(said)


def _graphs(reading: Reading) -> None:
    said, text = reading.last("graphs"), reading.text("graphs")
    if said is None:
        return
    sizes = [values.count(part.strip()) for part in text.split(",")] if text is not None else [None]
    if sizes == [0]:
        reading.set("enforce_eager", True, said.at)
    elif not set(sizes) <= _GRAPHS:
        reading.leave_said(said)
