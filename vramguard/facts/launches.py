"""Facts of what runs: programs that are started, on which cards, and the models that they load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vramguard.facts.values import Reference, Unknown, Word
from vramguard.source import Location


@dataclass(frozen=True, slots=True)
class Hardware:
    """The cards that a place asks for. `gpu` is as written: a label's value, an accelerator, a machine type."""

    gpu: str | Unknown | None = None
    gpus: int | Unknown | None = None  # of one pod, container or machine
    nodes: int | Unknown | None = None  # pods or machines that serve one model together: a leader and its workers
    share: str | None = None  # of a card, where less than one is asked for: "0.5" of Ray, "time-sliced", "mps"
    accelerator: str | None = None  # what is no GPU: tpu, neuron, gaudi, cpu
    places: Mapping[str, Location] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """A place where a program is started: a container, a service, a step, a line of a script.

    What the program is, and whether it loads a model, is for `link/launches` to say. `given` is what the place itself
    states of a deployment, by the names of its fields (`engine`, `model`, `max_model_len` ...): a custom resource, a
    tool's configuration. `command` are the words of the program's start, those of its arguments included; `script` is
    text for a shell instead. `entrypoint`: whether `command` replaces the image's own entry point, or follows it.
    """

    at: Location
    form: str  # kubernetes, kserve, compose, dockerfile, shell, makefile, skypilot, workflow ...
    name: str = ""  # `Deployment/llama`, a service's or a step's name
    command: tuple[Word, ...] = ()
    script: Word | None = None
    entrypoint: bool = True
    env: Mapping[str, Word | Reference] = field(default_factory=dict)
    references: tuple[Reference, ...] = ()  # objects all of whose keys become variables
    mounts: Mapping[str, Reference] = field(default_factory=dict)  # path in the container -> what stands there
    image: Word | None = None
    hardware: Hardware = field(default_factory=Hardware)
    given: Mapping[str, Word] = field(default_factory=dict)
    runtime: bool = False  # a pattern that others fill in (KServe's ServingRuntime): nothing runs until one does
    joins: Mapping[str, str] = field(default_factory=dict)  # names of other objects that complete it: {"runtime": …}
    assumed: tuple[str, ...] = ()  # what its reader had to suppose, in words


@dataclass(frozen=True, slots=True)
class Texts:
    """An object that holds values for others by key: a ConfigMap, a file of variables (`.env`)."""

    at: Location
    form: str  # configmap, dotenv
    name: str
    values: Mapping[str, Word]


@dataclass(frozen=True, slots=True)
class Deployment:
    """A place where a model meets hardware. Field names are vLLM's; None where absent.

    `places` has the location of every value that was found. `name` and `form` say what kind of place it is.
    """

    at: Location
    declared: bool  # in our own configuration, as opposed to found in the repository
    form: str = ""  # that of its Launch, or `python`; empty where it is declared
    name: str = ""
    accelerator: str | None = None  # what is no GPU: tpu, neuron, gaudi, cpu; no VRAM rule judges it
    nodes: int | Unknown | None = None  # pods or machines that serve it together; `gpus` counts them all
    training: bool = False  # it trains: no serving rule judges it
    pattern: bool = False  # a runtime, which services fill in: nothing runs until one does
    unread: tuple[str, ...] = ()  # words of it, as written, that no field holds and that may change the peak
    assumed: tuple[str, ...] = ()  # what its reader had to suppose, in words for the proof's assumptions
    config: str | None = None  # path of its config.json in the repository
    model: str | Unknown | None = None
    holds: str | None = None  # ID[@REVISION] of a path, as our own configuration says; "" for a name not of the hub
    revision: str | Unknown | None = None
    engine: str | Unknown | None = None
    engine_version: str | Unknown | None = None
    mode: str | Unknown | None = None
    gpu: str | Unknown | None = None
    gpus: int | Unknown | None = None
    tensor_parallel_size: int | Unknown | None = None
    pipeline_parallel_size: int | Unknown | None = None
    max_model_len: int | Unknown | None = None
    concurrency: int | Unknown | None = None
    max_num_seqs: int | Unknown | None = None
    max_num_batched_tokens: int | Unknown | None = None
    dtype: str | Unknown | None = None
    quantization: str | Unknown | None = None
    kv_cache_dtype: str | Unknown | None = None
    gpu_memory_utilization: str | Unknown | None = None
    attn_implementation: str | Unknown | None = None
    data_parallel_size: int | Unknown | None = None
    enable_expert_parallel: bool | Unknown | None = None
    enforce_eager: bool | Unknown | None = None
    block_size: int | Unknown | None = None
    kv_cache_memory_bytes: int | Unknown | None = None
    num_gpu_blocks_override: int | Unknown | None = None
    disable_hybrid_kv_cache_manager: bool | Unknown | None = None
    enable_chunked_prefill: bool | Unknown | None = None
    kv_connector: str | Unknown | None = None
    kv_events: bool | Unknown | None = None
    max_loras: int | Unknown | None = None
    max_lora_rank: int | Unknown | None = None
    num_speculative_tokens: int | Unknown | None = None
    speculative_method: str | Unknown | None = None
    language_model_only: bool | Unknown | None = None
    cpu_offload_gb: str | Unknown | None = None
    swap_space: str | Unknown | None = None
    processes_per_gpu: int | Unknown | None = None
    n_gpu_layers: int | Unknown | None = None
    optim: str | Unknown | None = None
    per_device_train_batch_size: int | Unknown | None = None
    gradient_accumulation_steps: int | Unknown | None = None
    gradient_checkpointing: bool | Unknown | None = None
    bf16: bool | Unknown | None = None
    fp16: bool | Unknown | None = None
    lora_rank: int | Unknown | None = None
    lora_target_modules: str | Unknown | None = None
    zero_stage: int | Unknown | None = None
    fsdp: str | Unknown | None = None
    card: str | Unknown | None = None  # a name of ours: deployments of the same card share it
    device_map: str | Unknown | None = None
    trust_remote_code: bool | Unknown | None = None  # whether code that lies beside the weights is run
    code_revision: str | Unknown | None = None  # of that code, where it is asked for by itself
    max_memory: str | Unknown | None = None  # as written: what `device_map` may put on each card
    places: Mapping[str, Location] = field(default_factory=dict)
