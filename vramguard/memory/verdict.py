"""What a proof is asked and what it answers: values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from vramguard.memory.ledger import Ledger
from vramguard.memory.runtime import Device

if TYPE_CHECKING:
    from fractions import Fraction

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
    data_parallel_size: int | None = None
    enable_expert_parallel: bool | None = None
    enforce_eager: bool | None = None
    block_size: int | None = None  # tokens of one block of the cache
    kv_cache_memory_bytes: int | None = None
    num_gpu_blocks_override: int | None = None
    disable_hybrid_kv_cache_manager: bool | None = None
    enable_chunked_prefill: bool | None = None  # prompts may be split across batches
    kv_connector: str | None = None  # what hands the cache on, by the name of vLLM's class
    kv_events: bool | None = None  # what the cache holds is published
    max_loras: int | None = None  # adapters in one batch; given or not, none is loaded where both are None
    max_lora_rank: int | None = None
    num_speculative_tokens: int | None = None
    speculative_method: str | None = None
    language_model_only: bool | None = None  # no picture and no sound is taken
    cpu_offload_gb: str | None = None  # decimal, GiB of weights on the host
    swap_space: str | None = None  # decimal, GiB of cache on the host
    processes_per_gpu: int | None = None  # that load the model on each card
    device_map: str | None = None
    n_gpu_layers: int | None = None  # layers on the card, the output as one; -1 is all
    # What trains: names of transformers' TrainingArguments, peft's LoraConfig and DeepSpeed.
    optim: str | None = None
    per_device_train_batch_size: int | None = None
    gradient_accumulation_steps: int | None = None
    gradient_checkpointing: bool | None = None
    bf16: bool | None = None  # mixed precision, by autocast
    fp16: bool | None = None
    lora_rank: int | None = None  # adapters are trained, the weights are not
    lora_target_modules: str | None = None  # names, separated by commas, or all-linear
    zero_stage: int | None = None
    fsdp: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Upper bounds of each group, and both bounds of the peak."""

    weights_bytes: int
    kv_cache_bytes: int
    activation_bytes: int
    runtime_bytes: int
    peak_lower_bytes: int
    peak_upper_bytes: int
    gradient_bytes: int = 0  # these two of training alone
    optimizer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """What an engine reserves for its cache; None in a proof of an engine that reserves nothing."""

    reserved_bytes: int
    kv_cache_bytes: int
    kv_cache_tokens: int
    max_concurrency: str
    within_budget: bool
    largest_utilization: str | None = None  # the share at which the reservation would be within the budget
    starts: bool | None = True  # False: the engine refuses to start; None: it may
    refusal: str | None = None  # why, where it is not the cache


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
    mismatch: str | None = None  # sizes of the grid of cards that the engine refuses, in words
    gpu_assumed: bool = False  # nobody stated the card
    spill_bytes: int = 0  # weights that device_map="auto" would place outside the card
    offload_bytes: int = 0  # what it leans on to fit: weights kept on the host
    assumptions: tuple[str, ...] = ()


def decimal(share: Fraction) -> str:
    """Exact decimal of at least two places where there is one, else the fraction itself."""
    for places in range(2, 19):
        scaled = share * 10**places
        if scaled.denominator == 1:
            whole, rest = divmod(scaled.numerator, 10**places)
            return f"{whole}.{rest:0{places}d}"
    return str(share)


def hundredths(numerator: int, denominator: int) -> str:
    """A quotient in two decimal places, rounded down."""
    whole, rest = divmod(100 * numerator // max(denominator, 1), 100)
    return f"{whole}.{rest:02d}"
