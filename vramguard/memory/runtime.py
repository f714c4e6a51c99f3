"""Bytes that belong to no tensor of the model: the CUDA context, library workspaces, what the allocator rounds up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.ledger import Term, bound, measured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.memory.architecture import Architecture

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """One card. `capacity_bytes` is what CUDA reports; the context is what a process holds beside the allocator."""

    name: str
    capacity_bytes: int
    source: str
    context_lower_bytes: int
    context_upper_bytes: int
    context_source: str
    compute_capability: str = "9.0"
    multiprocessors: int = 132
    vendor: str = "nvidia"

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability as two numbers. Raises UnprovenError for a card that CUDA does not run."""
        if self.vendor != "nvidia":
            raise UnprovenError(f"GPU {self.name}: what a process takes on cards of {self.vendor} is not known yet")
        major, _, minor = self.compute_capability.partition(".")
        return int(major), int(minor or 0)

    @property
    def generation(self) -> int:
        """Major number of the compute capability: 7 Turing, 8 Ampere and Ada, 9 Hopper, 10 Blackwell."""
        return self.capability[0]


def runtime(network: Architecture, device: Device, weights: Sequence[Term]) -> tuple[Term, ...]:
    """Rows of the ledger for one process on `device`; `weights` are the rows of what it has loaded."""
    return (
        measured("runtime/cuda_context", device.context_lower_bytes, device.context_upper_bytes, device.context_source),
        _workspaces(device),
        _rounding(network, weights),
    )


def _workspaces(device: Device) -> Term:
    """One cuBLAS handle on one stream, and cuBLASLt's own workspace."""
    hopper = device.generation >= 9  # noqa: PLR2004 - see Device.generation
    inputs = {"cublas": 32 * MIB if hopper else 8_519_680, "cublaslt": 32 * MIB if hopper else 4 * MIB}
    return bound(
        "runtime/cublas_workspaces",
        "cublas + cublaslt",
        inputs,
        source="PyTorch, aten/src/ATen/cuda/CublasHandlePool.cpp (getChosenWorkspaceSize); pytorch/pytorch#120925",
    )


def _rounding(network: Architecture, weights: Sequence[Term]) -> Term:
    """What blocks hold beyond their tensors: under 512 bytes each up to 1 MiB, at most 1 MiB each above.

    A block above 1 MiB is split from its segment when more than 1 MiB would be left over. Counted are the weights,
    the cache's tensors (two per layer, and each state or series), 64 transient tensors, and one unfinished segment of
    each pool (20 and 2 MiB).
    """
    blocks = [(term.upper_bytes // term.inputs["copies"], term.inputs["copies"]) for term in weights]
    inputs = {
        "large_weights": sum(copies for size, copies in blocks if size > MIB),
        "small_weights": sum(copies for size, copies in blocks if size <= MIB),
        "cached": sum(c.layers * (2 + len(c.states) + 2 * len(c.series)) for c in network.caches),
    }
    return bound(
        "runtime/allocator_rounding",
        "(large_weights + cached + 64 + 22) * 1048576 + small_weights * 512",
        inputs,
        source="PyTorch, c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize, kSmallSize, kLargeBuffer, kRoundLarge",
    )
