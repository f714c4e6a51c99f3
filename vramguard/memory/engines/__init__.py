"""The engines that run a network: each turns a workload into a `Plan`, whose ledgers the proof judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from vramguard.memory.architecture import UnprovenError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.ledger import Ledger
    from vramguard.memory.runtime import Device
    from vramguard.memory.traced import Pass, Traced
    from vramguard.memory.verdict import Workload


class Ask(NamedTuple):
    """What a plan is made from."""

    config: Mapping[str, Any]
    network: Architecture
    workload: Workload
    device: Device
    trace: Callable[[Pass], Traced] | None = None  # None: the pass is computed from the config, not traced

    @property
    def method(self) -> str:
        """How the forward pass is known: analytic or trace."""
        return "analytic" if self.trace is None else "trace"


@dataclass(frozen=True, slots=True)
class Holding:
    """Bytes that an engine with a fixed pool takes at start, and what of them it has for its cache, at least and most.

    `outside` does not shrink with `utilization`, the share of the card that the rest is; None where a size in bytes or
    in blocks was asked for instead of a share.
    """

    reserved_bytes: int  # at most
    outside_bytes: int
    lower_bytes: int  # of cache
    upper_bytes: int
    tokens: int  # of the longest context that `lower_bytes` hold together
    concurrency: tuple[int, int]  # numerator and denominator: sequences of that length at once, at least
    starts: bool | None  # whether one such sequence fits, which engines demand at start; None: between the bounds
    utilization: str | None = None
    shared_bytes: int | None = None  # what the share is of, None for the card's capacity
    refusal: str | None = None  # why the engine would not start, whatever the cache
    # Bytes taken at another share below 1; None where `outside_bytes` are the same at each, as they mostly are.
    reserved_at: Callable[[Fraction], int] | None = None


class Plan(Protocol):
    """A workload without open ends: everything that its ledgers are a function of, but the context."""

    @property
    def tokens(self) -> int:
        """The context that the workload asks for, or the engine's default."""
        ...

    @property
    def limit(self) -> int:
        """The longest context worth asking for."""
        ...

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the whole model's weights, on all cards together, each once."""
        ...

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of the whole model's cache for one more token."""
        ...

    @property
    def spill_bytes(self) -> int:
        """Bytes of weights that end up on the host unasked, without failing."""
        ...

    @property
    def offload_bytes(self) -> int:
        """Bytes of weights that each card may leave on the host; the ledgers count them as if they were on the card."""
        ...

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """Demand of each card that differs from the others; raises UnprovenError."""
        ...

    def holding(self, tokens: int) -> Holding | None:
        """What the engine takes, whatever is asked of it; None where it takes only what it needs."""
        ...

    def resolved(self, tokens: int) -> Workload:
        """The workload with every default filled in."""
        ...

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What the ledgers rest on, in sentences."""
        ...


class Deployed:
    """What most plans answer alike; an engine that differs says so in its own property."""

    ask: Ask

    @property
    def tokens(self) -> int:
        """The context that is asked for, else the config's own."""
        return self.ask.workload.max_model_len or self.ask.network.context

    @property
    def limit(self) -> int:
        """The config's own context; what is asked for where it names none."""
        return self.ask.network.context or self.tokens

    @property
    def sequences(self) -> int:
        """Full-length sequences that must fit at once."""
        return self.ask.workload.concurrency or 1

    @property
    def spill_bytes(self) -> int:
        """Weights that do not fit end the process."""
        return 0

    @property
    def offload_bytes(self) -> int:
        """No weights stay on the host."""
        return 0


class Engine(Protocol):
    """What a module of this package offers."""

    def refuse(self, network: Architecture, workload: Workload) -> None:
        """Raise UnprovenError for what the engine is not modelled for; the message names the feature."""
        ...

    def dtypes(self, network: Architecture, workload: Workload) -> tuple[str, ...]:
        """The dtypes that the model may be loaded in: one, or several where only the checkpoint decides."""
        ...

    def plan(self, ask: Ask, dtype: str) -> Plan:
        """The workload without open ends; raises UnprovenError."""
        ...


DEFAULT: Final = "transformers"
TRAINING: Final = "training"  # the mode of a workload that trains
_MODULES: Final = {
    "transformers": "transformers",
    "vllm": "vllm.plan",
    "tgi": "tgi",
    "tensorrt-llm": "tensorrt_llm",
    "sglang": "sglang",
    "llama.cpp": "llama_cpp.plan",
}


def engine(name: str | None) -> Engine:
    """Return the engine of that name, loaded only now; raises UnprovenError for one that is not modelled."""
    module = _MODULES.get(name or DEFAULT)
    if module is None:
        raise UnprovenError(f"engine {name} is not supported yet, {', '.join(_MODULES)} are")
    found: Any = import_module(f"{__name__}.{module}")
    return found  # type: ignore[no-any-return]


def trainer() -> Engine:
    """Return what plans a training, loaded only now."""
    found: Any = import_module("vramguard.memory.training.plan")
    return found  # type: ignore[no-any-return]
