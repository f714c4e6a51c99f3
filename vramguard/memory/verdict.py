"""What a proof is asked and what it answers: values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vramguard.memory.ledger import Ledger
from vramguard.memory.runtime import Device

_EMPTY: Final = Ledger()


class Answer(StrEnum):
    """EXCEEDS by the lower bound, FITS by the upper one, UNKNOWN where neither decides or something is not known."""

    FITS = "FITS"
    EXCEEDS = "EXCEEDS"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Workload:
    """What a deployment asks for, in its own words; None is what it does not say."""

    engine: str | None = None
    mode: str | None = None
    gpu: str | None = None
    gpus: int | None = None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    kv_cache_dtype: str | None = None
    max_model_len: int | None = None  # tokens, prompt and answer together
    concurrency: int | None = None  # sequences of that length at once
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: str | None = None  # decimal
    attn_implementation: str | None = None
    engine_version: str | None = None
    device_map: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Upper bounds of each group, and both bounds of the peak."""

    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    runtime_bytes: int
    peak_lower_bytes: int
    peak_upper_bytes: int


@dataclass(frozen=True, slots=True)
class Pool:
    """What an engine reserves for its cache; None in a proof of an engine that reserves nothing."""

    reserved_bytes: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_concurrency: str
    within_budget: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """An answer with all that it rests on; what could not be computed is None or empty."""

    answer: Answer
    reason: str | None
    workload: Workload
    device: Device
    budget_fraction: str
    budget_bytes: int
    method: str = "analytic"
    model_type: str | None = None
    architecture: str | None = None
    parameters: int | None = None
    active_parameters: int | None = None
    model_weight_bytes: int | None = None
    kv_cache_bytes_per_token: int | None = None
    ledger: Ledger = _EMPTY
    totals: Totals | None = None
    pool: Pool | None = None
    headroom_bytes: int | None = None
    max_fitting_model_len: int | None = None
    min_fitting_gpus: int | None = None
    gpu_assumed: bool = False  # nobody stated the card
    spill_bytes: int = 0  # weights that device_map="auto" would place outside the card
    assumptions: tuple[str, ...] = ()
