"""Servers that carry another's engine: which one, and what they take on the card beside it.

A carrier takes the engine's own options; where it may run several engines, its name says which one after a colon, as
`triton:vllm`. Alone it stands for what it runs unless told otherwise, or for nothing that can be proven.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound, measured
from vramguard.memory.runtime import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.runtime import Device
    from vramguard.memory.verdict import Workload


class Carrier(NamedTuple):
    """`engines` are those that it runs; `default` is the one where nothing is said, None where that decides nothing."""

    engines: tuple[str, ...]
    default: str | None
    missing: str  # what must be said where there is no default, and what the default rests on where there is one
    source: str
    pool_mib: int = 0  # of CUDA memory that its own process takes on each card, beside a context


CARRIERS: Final = {
    "ray-serve": Carrier(
        ("vllm", "sglang"),
        "vllm",
        "ray-serve: llm_engine is vLLM, its default, and engine_kwargs are vLLM's options",
        "Ray, ray.serve.llm.configs.LLMConfig: llm_engine = 'VLLM', engine_kwargs forwarded to it (docs.ray.io)",
    ),
    "kserve": Carrier(
        ("vllm", "transformers"),
        "vllm",
        "kserve: the Hugging Face runtime with the backend auto takes vLLM, and transformers for a class that vLLM "
        "does not have; kserve:transformers is --backend=huggingface",
        "KServe, generative inference: vLLM by default, the Hugging Face backend as a failsafe (kserve.github.io)",
    ),
    "nim": Carrier(
        ("vllm", "tensorrt-llm", "sglang"),
        None,
        "nim chooses a profile by the card it finds: NIM_MODEL_PROFILE, or nim:vllm, nim:tensorrt-llm, nim:sglang, "
        "must say which engine it starts",
        "NVIDIA NIM for LLMs, model profiles: tensorrt_llm, vllm and sglang backends (docs.nvidia.com/nim)",
    ),
    "triton": Carrier(
        ("vllm", "tensorrt-llm"),
        None,
        "triton runs the backend that a model's config.pbtxt names: triton:vllm or triton:tensorrt-llm must say which",
        "Triton Inference Server, --cuda-memory-pool-byte-size: 64 MB a card by default, beside the backends' own",
        pool_mib=64,
    ),
}


def carried(workload: Workload) -> Carrier | None:
    """The carrier that the workload's engine names; None where it names an engine itself."""
    return CARRIERS.get((workload.engine or "").partition(":")[0])


def inside(workload: Workload) -> str:
    """The engine that runs it, as far as its name says: transformers where none is named."""
    carrier = carried(workload)
    if carrier is None:
        return workload.engine or "transformers"
    return (workload.engine or "").partition(":")[2] or carrier.default or ""


def resolve(workload: Workload) -> Workload:
    """The workload of the engine inside; raises UnprovenError naming what must be said.

    A version is the engine's own, never the carrier's: it is dropped where only the carrier is named.
    """
    carrier = carried(workload)
    if carrier is None:
        return workload
    _, colon, inside = (workload.engine or "").partition(":")
    if not colon and carrier.default is None:
        raise UnprovenError(carrier.missing)
    if colon and inside not in carrier.engines:
        raise UnprovenError(f"engine {workload.engine!r:.60}: it runs {', '.join(carrier.engines)}")
    version = workload.engine_version if colon else None
    return replace(workload, engine=inside if colon else carrier.default, engine_version=version)


def beside(workload: Workload, device: Device) -> Iterator[Term]:
    """Rows of what the carrier's own process takes on each card: its pool of CUDA memory, and a context for it."""
    carrier = carried(workload)
    if carrier is None or not carrier.pool_mib:
        return
    pool = {"pool": carrier.pool_mib * MIB}
    yield bound("runtime/carrier_pool", "pool", pool, source=carrier.source)
    yield measured("runtime/carrier_context", 0, device.context_upper_bytes, device.context_source)


def assumptions(workload: Workload) -> Iterator[str]:
    """What the choice of the engine rests on."""
    carrier = carried(workload)
    if carrier is None:
        return
    _, colon, _ = (workload.engine or "").partition(":")
    if not colon:
        yield carrier.missing
        if workload.engine_version is not None:
            yield f"engine_version {workload.engine_version} is the carrier's; the engine's own is not stated"
    if carrier.pool_mib:
        yield "one model on a card, in one instance (instance_group); --cuda-memory-pool-byte-size is not set"
        yield "triton's tensorrt-llm is a model of the LLM API, not a built engine"
