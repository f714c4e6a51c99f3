"""The words of vLLM's KV cache: what a layer keeps, what of the options decides its layout, what differs by version.

vLLM calls a `Spec` a KVCacheSpec: how the cache of one layer is cut into pages on one rank. Sizes are bytes, lengths
are tokens. (v1/kv_cache_interface.py in every version.)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from vramguard.memory.architecture import UnprovenError


class Kind(StrEnum):
    """What decides how many blocks a request holds in a layer."""

    FULL = "full"
    LATENT = "latent"  # MLA: one vector of a token, whatever the number of heads
    SLIDING = "sliding"
    CHUNKED = "chunked"
    STATES = "states"  # Mamba, delta rules, convolutions: a page is one state
    CROSS = "cross"  # keys and values of the encoder's tokens


@dataclass(frozen=True, slots=True)
class Spec:
    """The cache of one layer on one rank; equal specs may share a block table."""

    kind: Kind
    block_size: int = 0  # tokens of a page; of states, the tokens that one stands for, 0 where it is all of them
    token_bytes: int = 0  # of one token in a page
    state_bytes: int = 0
    padded: int = 0  # bytes that the page is raised to
    window: int = 0  # tokens a sliding or chunked layer attends to; of the encoder, where it is cross attention
    states: int = 0  # that one request has beside those of its blocks, at most
    least: int = 0  # tokens of the encoder, or states, that one request has at least
    role: str = ""  # tells the caches of one layer apart where they differ in nothing else

    @property
    def page(self) -> int:
        """Bytes of one block in one layer."""
        return self.padded or self.state_bytes or self.block_size * self.token_bytes


class Layers(NamedTuple):
    """`copies` layers with one spec; their numbers in the network, None where the config does not tell them."""

    spec: Spec
    copies: int
    numbers: tuple[int, ...] | None = None


class Check(StrEnum):
    """What must fit before vLLM starts: one request of max_model_len."""

    LAYERS = "layers"  # the pages of each layer, no padding layers counted
    FIRST_GROUP = "first group"  # of the whole network, whatever the stage
    STAGE_GROUP = "first group of the stage"
    GROUPS = "groups"
    USABLE = "usable"  # the groups beside the null block


class Unify(StrEnum):
    """What is done about layers of several kinds whose pages differ."""

    REFUSED = "refused"
    MULTIPLE = "multiple"  # smaller pages take more tokens where the largest is a multiple
    PADDED = "padded"  # or are raised to the largest where it is none


@dataclass(frozen=True, slots=True)
class Manager:
    """What differs between versions of vLLM; `managers.py` has the rows with their sources."""

    hybrid: bool = True  # layers of several kinds stay so; else each keeps every token
    merges_windows: bool = False  # which makes one kind of layers of several windows too
    chunked: bool = False  # chunked layers keep their chunk by default
    interleaved: frozenset[str] | None = None  # model types whose layers may have windows of their own; None: as newer
    in_flight: bool = False  # batches that are not settled yet keep their blocks in sliding and chunked layers
    even: tuple[int, int] = (0, 1)  # kinds whose counts differ by less than this ratio get groups of the larger count
    global_groups: bool = True  # groups are made of the whole network and then cut into stages
    one_type: bool = True  # layers that need equally many tokens share a group, whatever their sizes
    cuts_sizes: bool = True  # and a stage counts only those of them that it has
    unify: Unify = Unify.MULTIPLE
    check: Check = Check.GROUPS
    hybrid_prefix_caching: bool = False  # prefix caching is on by default where states stand beside attention
    aligned_states: bool = True  # prefix caching of states exists
    all_states: bool = True  # and its mode "all", which keeps a state for each block
    default_all: bool = True  # which is the default of the classes that support it, else "align" is
    speculative_states: bool = True  # a state is kept for each speculative token
    checkpoints: frozenset[str] = frozenset()  # recurrences that keep one more within a prefill: kda, mamba2, delta
    aligned_to_block: bool = False  # blocks beside states are a multiple of --block-size, not of 16 tokens
    latent_alignment: int = 0  # tokens that a block of latent layers beside states is a multiple of
    latent_blocks: tuple[tuple[int, int], ...] = ()  # (compute capability, block size) of latent layers, else 16
    flashinfer_latent: tuple[int, ...] = ()  # qk_nope_head_dim that FlashInfer takes on Blackwell
    flashinfer_latent_block: int = 0  # block size of those
    wide_step: int = 0  # tokens that blocks beside states are a multiple of on Blackwell, for heads of 256
    quantized_latent_block: int = 0  # on Hopper with elements of one byte, 0 where that makes no difference
    shares_indexers: bool = False  # sparse layers without an indexer of their own use that of the layer before
    sliding_block: int = 0  # block size of sliding layers, whatever --block-size says; 0: that of the others
    scales: bool = False  # per-token-head caches and nvfp4 exist
    nemotron_scan: str | None = None  # dtype of Nemotron-H's states where its config names none; None: the model's
    cohere_window: int = 0  # tokens added to the window of Cohere 2
    encoder_batch: bool = True  # cross attention is sized by max_num_batched_tokens, not by the encoder's tokens
    latent_types: frozenset[str] = frozenset()  # model types that run with latent attention
    prints_capacity: bool = False  # "GPU KV cache size" is concurrency x max_model_len, not blocks x block size


BLOCK_SIZE = 16  # CacheConfig.DEFAULT_BLOCK_SIZE in every version
# --kv-cache-dtype -> bytes of an element.
ONE_BYTE = frozenset(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc"))
SCALED = frozenset(("fp8_per_token_head", "int8_per_token_head"))


@dataclass(frozen=True, slots=True)
class Options:
    """What of a deployment decides the layout of its cache, by vLLM's own names."""

    max_num_batched_tokens: int
    dtype_bytes: int = 2  # of the model's dtype
    kv_cache_dtype: str = "auto"
    block_size: int | None = None
    disable_hybrid_kv_cache_manager: bool = False
    enable_prefix_caching: bool | None = None
    mamba_cache_mode: str | None = None
    mamba_cache_bytes: int | None = None  # --mamba-cache-dtype, None: auto
    mamba_ssm_cache_bytes: int | None = None  # --mamba-ssm-cache-dtype, None: auto
    speculative_tokens: int = 0
    async_scheduling: bool = True  # matters only where the version counts batches in flight, as does the next
    concurrent_batches: int | None = None  # None: at most, one for each stage and one more if asynchronous
    capability: int = 9  # the GPU's major compute capability
    chunked_local: bool = False  # VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE
    state_checkpoints: bool | None = None  # FlashInfer computes the delta rule; None: on Hopper only that is known
    context_parallel: int = 1  # decode x prefill context parallel size

    def __post_init__(self) -> None:
        if self.context_parallel != 1:
            raise UnprovenError("context parallelism of vLLM's cache is not supported yet")

    def element_bytes(self, manager: Manager) -> int:
        """Bytes of one cached element; raises UnprovenError for a format that has no whole bytes."""
        if self.kv_cache_dtype == "auto":
            return self.dtype_bytes
        if self.kv_cache_dtype in ("bfloat16", "float16", "half"):
            return 2
        if self.kv_cache_dtype in ONE_BYTE or (manager.scales and self.kv_cache_dtype in SCALED):
            return 1
        raise UnprovenError(f"kv_cache_dtype {self.kv_cache_dtype} is not supported for this cache")

    def head_bytes(self, manager: Manager, keys: int, values: int) -> int:
        """Bytes of one token in one KV head of `keys` + `values` elements, scales included."""
        if self.kv_cache_dtype == "nvfp4" and manager.scales:
            # Two elements a byte and a scale of one byte for 16 (0.20.0, utils/torch_utils.py, nvfp4_kv_cache_full_dim)
            return sum(size // 2 + size // 16 for size in (keys, values))
        # A float32 scale for keys and one for values (0.20.0, v1/kv_cache_interface.py, AttentionSpec.page_size_bytes)
        scales = 8 if self.kv_cache_dtype in SCALED else 0
        return (keys + values) * self.element_bytes(manager) + scales

    def in_flight_tokens(self, manager: Manager, stages: int) -> int:
        """Tokens scheduled but not settled, at most (0.33.0, config/vllm.py, max_concurrent_batches)."""
        batches = (self.concurrent_batches or stages + self.async_scheduling) if manager.in_flight else 1
        return batches * self.max_num_batched_tokens
