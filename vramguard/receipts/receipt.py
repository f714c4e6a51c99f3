"""What a start-up log says: values only. A size is the range of bytes that would have been printed as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple, Self

# Both engines divide by a power of 1024 whatever they write behind the number: vLLM 0.6.3, worker/model_runner.py,
# "Loading model weights took %.4f GB" of bytes / 2**30; SGLang 0.5.10, mem_cache/memory_pool.py, GB = 1024 ** 3.
UNITS: Final = {"GiB": 1 << 30, "GB": 1 << 30, "MiB": 1 << 20, "MB": 1 << 20}
_DECIMALS: Final = 2  # vLLM's format_gib rounds to two and drops the zeros behind: 60.5 is 60.50


class Size(NamedTuple):
    """Bytes as printed: some number of them from `low` to `high`."""

    low: int
    high: int

    @classmethod
    def printed(cls, number: str, unit: str) -> Self:
        """`14.99` and `GiB`: every number of bytes that is rounded so."""
        scale = UNITS[unit]
        slack = Fraction(scale, 2 * 10 ** max(len(number.partition(".")[2]), _DECIMALS))
        middle = Fraction(number) * scale
        return cls(-((slack - middle) // 1), (middle + slack) // 1)

    @property
    def bytes(self) -> int:
        """The middle, which is what was printed."""
        return (self.low + self.high) // 2

    def plus(self, other: Self) -> Self:
        """The sum of two sizes, each known as well as it was printed."""
        return type(self)(self.low + other.low, self.high + other.high)

    def agrees(self, other: Self) -> bool:
        """Whether both can be the same number of bytes."""
        return self.low <= other.high and other.low <= self.high


class Line(NamedTuple):
    """A line of the log, counted from 1, shortened."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine runs with, in vLLM's words; None is what the log does not say."""

    model: str | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    data_parallel_size: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_model_len: int | None = None
    gpu_memory_utilization: str | None = None  # decimal, as every number that is text here
    mem_fraction_static: str | None = None  # SGLang's
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    block_size: int | None = None
    enforce_eager: bool | None = None
    num_gpu_blocks_override: int | None = None
    kv_cache_memory_bytes: int | None = None
    enable_expert_parallel: bool | None = None
    disable_hybrid_kv_cache_manager: bool | None = None
    enable_lora: bool | None = None
    max_loras: int | None = None
    max_lora_rank: int | None = None
    speculative_method: str | None = None
    num_speculative_tokens: int | None = None
    language_model_only: bool | None = None
    cpu_offload_gb: str | None = None
    swap_space: str | None = None
    async_scheduling: bool | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process printed of its card; None is what it did not print."""

    total: Size | None = None  # of the card, as CUDA reports it
    free: Size | None = None  # before the weights are loaded
    initial: Size | None = None  # taken before the weights: context, libraries, communicators
    requested: Size | None = None  # the engine's budget: utilization x total
    weights: Size | None = None
    loading_peak: Size | None = None  # while the weights are loaded
    activation: Size | None = None  # peak of the profiling run above the weights
    torch_peak: Size | None = None  # weights and activations together, as vLLM 0.6.4 prints them
    non_torch: Size | None = None  # grown outside of PyTorch's allocator during that run
    consumed: Size | None = None  # weights and what is outside of PyTorch, as vLLM prints them since 0.24
    non_kv_cache: Size | None = None  # all that is subtracted from the budget
    graphs_estimated: Size | None = None
    graphs: Size | None = None
    encoder_graphs: Size | None = None
    kv_cache: Size | None = None
    state_cache: Size | None = None  # recurrent states, where they have a pool of their own
    kv_cache_tokens: int | None = None
    kv_cache_blocks: int | None = None
    concurrency: str | None = None  # full-length requests that fit the cache, decimal
    concurrency_tokens: int | None = None  # the length of such a request


# Of several cards the one that binds: the least room, the most of everything that fills it.
_LEAST: Final = frozenset({"total", "free", "requested", "kv_cache", "state_cache"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """A start-up log, read. Where a server started more than once, its last start."""

    engine: str | None = None  # vllm or sglang
    version: str | None = None
    asked: Settings = field(default_factory=Settings)  # what the command line or the caller set
    settings: Settings = field(default_factory=Settings)  # what it runs with: resolved by the engine where it says so
    # By the log's own name of a process, "" for the only one.
    ranks: Mapping[str, Measured] = field(default_factory=lambda: MappingProxyType({}))
    unknown: tuple[Line, ...] = ()  # lines that name bytes of memory in words that no known version uses
    contradictions: tuple[Line, ...] = ()  # lines whose value disagrees with an earlier one, which stands
    cut: int = 0  # lines too long to be read to their end

    @property
    def measured(self) -> Measured:
        """The worst card: for every term the rank that binds."""
        values = {item.name: _worst(item.name, list(self.ranks.values())) for item in fields(Measured)}
        return Measured(**values)  # type: ignore[arg-type]


def _worst(name: str, ranks: list[Measured]) -> Size | int | str | None:
    said = [value for value in (getattr(rank, name) for rank in ranks) if value is not None]
    least = name in _LEAST or (said and not isinstance(said[0], Size))
    found: Size | int | str | None = None
    if said:
        found = min(said, key=Fraction) if name == "concurrency" else min(said) if least else max(said)
    return found
