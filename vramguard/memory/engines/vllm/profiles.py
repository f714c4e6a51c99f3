"""What vLLM decides and counts by itself, release by release: defaults, what a utilization covers, what is profiled.

The rows stand in data/engines.toml, each with what changed since the one before and where that was read; classes.json,
which scripts/record_vllm_classes.py writes, has the classes, quantizations and cache types of each release. Both are
read when they are first asked for, as files: this package imports no other part of vramguard.

A release that is stated exactly has one profile. A minor number alone has those of its releases, and what is no release
(none stated, `latest`, a range, a nightly, a release candidate) has all: a bound must hold in each of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import tomli

from vramguard.memory.architecture import UnprovenError

Release = tuple[int, ...]

_ROWS: Final = Path(__file__).parents[3] / "data" / "engines.toml"
_CLASSES: Final = Path(__file__).with_name("classes.json")
_GIB: Final = 1 << 30
_EXACT: Final = re.compile(r"v?(\d+(?:\.\d+){1,3})(?:\.post\d+)?(?:\+[\w.]+)?")
_LAST: Final = 1 << 30  # beyond every number of a release

# Bytes of a logit beyond itself that sampling keeps alive at once. By torch's sort: the float32 copy (4), sorted values
# (4) and indices (8), and in the sort reversed indices (8) and cub's buffers (12); between 2 and 127 rows two int2
# arrays (16) and keys (4) in the place of the reversed indices. PyTorch, aten/src/ATen/native/cuda/SortStable.cu
# (segmented_sort_pairs, segmented_sort_pairs_by_full_sort). Start-up logs of 0.16 agree with 36 to 0.4 %. In Triton, or
# with FlashInfer: the copy, probabilities and noise or masked logits. v1/sample/ops/topk_topp_sampler.py.
_SORTED: Final = 36
_SORTED_FEW: Final = 48
_FEW: Final = 128
_MASKED: Final = 12


class Tier(NamedTuple):
    """Batch defaults on cards of at least so much memory, but for one name or capability."""

    at_least_gib: int
    max_num_seqs: int
    server_tokens: int  # max_num_batched_tokens of `vllm serve`
    library_tokens: int  # and of the LLM class
    not_name: str = ""
    not_capability: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One stretch of releases in which all of this is the same. Sizes of buffers are bytes on each card."""

    versions: str
    # Defaults
    gpu_memory_utilization: str
    block_size: int  # the least: attention backends and Mamba layers raise it
    batch: tuple[Tier, ...]
    seqs_within_tokens: bool  # the default max_num_seqs is at most max_num_batched_tokens
    tokens_within_lengths: bool  # the default max_num_batched_tokens is at most max_num_seqs * max_model_len
    throughput_doubles: bool  # --performance-mode throughput doubles both
    swap_space_gib: int  # of the host
    v0_engine: bool  # may fall back to the V0 engine, which is not modelled
    async_scheduling: bool  # on, unless a feature forbids it
    in_flight: str  # tokens for which sliding layers reserve beyond their window: those of one batch (scheduled), or of
    # every concurrent batch (concurrent)
    auto_max_model_len: bool  # max_model_len -1: the longest that fits
    kv_cache_memory_bytes: bool  # --kv-cache-memory-bytes is known; it replaces the utilization
    hybrid_prefix_caching: bool  # prefix caching is on for models with Mamba layers too
    max_items_per_prompt: int  # of each modality, where --limit-mm-per-prompt is silent
    lora_extra_vocab: int  # rows that --enable-lora adds to embeddings, which are then padded to lora_vocab_padding
    lora_vocab_padding: int
    vocab_padding: int
    mrope_positions: int  # times max_position_embeddings: rows of a multimodal rope table
    deepseek_rope_bytes: int  # of an element of DeepSeek's rope table where FlashInfer is installed; 0: the model's
    # CUDA graphs
    capture_max: int
    capture_max_blackwell: int
    capture_max_gpt_oss: int  # 0: as other models
    capture_step: int  # above 256
    capture_twice_seqs: bool  # no size above 2 * max_num_seqs
    capture_counts_drafts: bool  # ... of sequences with their drafted tokens
    capture_adds_tokens: bool  # max_num_batched_tokens itself, if no more than the largest
    capture_adds_seqs: bool  # max_num_seqs itself, if no more than the largest
    capture_adds_drafts: bool  # each number of sequences times the tokens of a drafted step
    # Which model runner: never, `listed dense` (listed classes, no experts, no quantization), listed, `dense or listed`
    # (generating models without experts and without Mamba layers, and listed classes), all
    v2_runner: str
    v2_classes: tuple[str, ...]
    # What is counted. The baseline is measured after: everything (there is none: all that is on the card counts),
    # context (communicators count), distributed (NCCL and all-reduce buffers do not), libraries (nor cuBLAS handles)
    baseline: str
    requested: str  # total * utilization, rounded up (ceil) or cut at the end (product)
    consumed: str  # torch's allocated peak and growth outside torch (peak), or what became less free (free)
    graphs_within_v1: bool  # the estimate of graphs is subtracted from the cache; else they come on top of utilization
    graphs_within_v2: bool
    # What the profile run and the start allocate
    sampler: str  # sort or triton
    sampler_rows: int  # triton from so many rows on
    flashinfer_sampler: str  # where installed, where asked for, by default
    v2_samples_at_profile: bool  # the V2 runner samples with every parameter; before, its sampler is not profiled
    v2_encodes_at_profile: bool  # it also runs the encoder of a multimodal model; before, that is not profiled
    moe_chunk_tokens: int  # experts see no more tokens at once; 0: all
    shared_workspace: bool  # buffers of experts belong to the process and stay
    custom_all_reduce_bytes: int  # at tensor parallel 2, 4, 6, 8; its signals come on top
    symmetric_memory: bool  # all-reduce buffers in symmetric memory: `symmetric_memory_bytes`
    flashinfer_all_reduce: bool  # by default, at capability 9.0 and 10.x
    fused_all_reduce: bool  # workspace of FlashInfer's fused all-reduce and norm, by default at 9.0 and 10.x
    flashinfer_workspace_bytes: int  # where FlashInfer is the attention backend
    mla_flashinfer_workspace_bytes: int  # where it prefills latent attention (capability 10.x)
    mxfp4_trtllm_intermediate: int  # what the TRT-LLM kernels round the intermediate size up to
    split_limit_bytes: int  # torch splits no larger block while weights load and at the profile run; 0: any
    sources: Mapping[str, str] = field(hash=False)  # of each field, in the release that it last changed in

    @property
    def span(self) -> tuple[Release, Release]:
        """First release, and the first that is no longer of the profile."""
        low, _, high = self.versions.partition(",")
        return _numbers(low.removeprefix(">=")), _numbers(high.removeprefix("<"))

    def batch_defaults(self, capacity_bytes: int, name: str, capability: str, *, server: bool) -> tuple[int, int]:
        """`max_num_seqs` and `max_num_batched_tokens` on a card, neither stated; before either bounds the other."""
        for tier in self.batch:
            barred = (tier.not_name and tier.not_name in name.lower()) or capability == tier.not_capability
            if capacity_bytes >= tier.at_least_gib * _GIB and not barred:
                return tier.max_num_seqs, tier.server_tokens if server else tier.library_tokens
        raise AssertionError(self.versions)  # the last tier is of every card

    def capture_sizes(
        self, seqs: int, tokens: int, *, drafts: int = 0, blackwell: bool = False, gpt_oss: bool = False
    ) -> tuple[int, ...]:
        """Batch sizes in tokens that graphs are captured for, ascending, where none are stated, nor eager mode."""
        query = 1 + drafts
        largest = self.capture_max_blackwell if blackwell else self.capture_max
        if self.capture_twice_seqs:
            largest = min(2 * seqs * (query if self.capture_counts_drafts else 1), largest)
        special = gpt_oss and self.capture_max_gpt_oss > 0
        largest = self.capture_max_gpt_oss if special else largest
        step = 16 if special else self.capture_step
        sizes = {1, 2, 4, *range(8, min(largest + 1, 256), 8), *range(256, largest + 1, step)}
        if self.capture_adds_tokens and tokens <= largest:
            sizes.add(tokens)
        if self.capture_adds_seqs and not drafts and seqs <= largest and not special:
            sizes.add(seqs)
        if self.capture_adds_drafts and drafts and not special:
            counts = {1, 2, 4, seqs, *range(8, min(seqs + 1, 256), 8), *range(256, seqs + 1, 16)}
            sizes |= {count * query for count in counts if count <= seqs}
        if self.capture_step == 8:  # noqa: PLR2004 - the older rule, in which the smallest are always captured
            largest = max(largest, 4)
        return tuple(sorted(size for size in sizes if size <= min(largest, tokens)))

    def runners(
        self,
        class_name: str,
        *,
        experts: bool,
        quantized: bool,
        recurrent: bool,
        generates: bool = True,
        odd: bool = False,
    ) -> tuple[str, ...]:
        """Model runner, v1 or v2, that serves a class; both where `odd`.

        Odd is what some releases do on the V1 runner alone: drafts but EAGLE's and MTP's, batch overlap, an external
        launcher with pipeline stages (config/vllm.py, VllmConfig._get_v2_model_runner_unsupported_features).
        """
        listed = class_name in self.v2_classes
        chosen = {
            "never": False,
            "listed dense": generates and listed and not experts and not quantized,
            "listed": generates and listed,
            "dense or listed": generates and (listed or not (experts or recurrent)),
            "all": True,
        }[self.v2_runner]
        return ("v1",) if not chosen else ("v1", "v2") if odd else ("v2",)

    def batches(self, stages: int, runner: str) -> int:
        """Batches at once for which sliding layers reserve blocks: times max_num_batched_tokens each."""
        if self.in_flight == "scheduled":
            return 1
        if not self.async_scheduling:
            return stages
        return stages + 1 if runner == "v2" or stages == 1 else stages

    def sampler_bytes(self, rows: int) -> int:
        """Bytes of a logit beyond the model's own dtype that sampling so many rows keeps alive, at most."""
        if self.sampler == "triton" and rows >= self.sampler_rows:
            return _MASKED
        return _SORTED_FEW if 1 < rows < _FEW else _SORTED

    def sampled_bytes(self, rows: int) -> int:
        """Bytes beyond the logits that sampling so many rows, or fewer, keeps alive for each word, at most.

        Fewer rows may take more: 127 that are sorted as much as 169 of a larger batch.
        """
        edges = (rows, _FEW - 1, self.sampler_rows - 1)  # the most rows that are sampled in one way
        return max(edge * self.sampler_bytes(edge) for edge in edges if edge <= rows)

    def sampler_buffer_rows(self, rows: int, multiprocessors: int) -> int:
        """Rows of float32 logits that the Triton sampler keeps for good (topk_topp_triton.py, _TRITON_BUFFER_CACHE)."""
        if self.sampler != "triton" or rows < self.sampler_rows:
            return 0
        programs = min(multiprocessors, rows)
        return min(1 << (programs - 1).bit_length(), multiprocessors)


# v1/worker/gpu/sample: each sequence that the V2 runner may hold has counts of its output tokens (int32) and a bit for
# each token of its prompt, of the whole vocabulary (penalties.py); allowed and biased tokens and biases (1024 each),
# stop tokens (128), bad words (1024 tokens, 129 offsets) and asked log-probabilities (128), all of four bytes.
V2_BYTES_PER_SEQUENCE: Final = 4 * (3 * 1024 + 128 + 1024 + 129 + 128)

# distributed/device_communicators/all_reduce_utils.py, SYMM_MEM_ALL_REDUCE_MAX_SIZES (0.33.0): the largest of any
# release, by capability and tensor parallel size, in MiB.
_SYMMETRIC: Final[Mapping[str, Mapping[int, int]]] = {
    "9.0": {2: 64, 4: 32, 6: 64, 8: 64},
    "10.0": {2: 8, 4: 32, 6: 128, 8: 128},
    "10.3": {2: 4, 4: 32, 6: 32, 8: 64},
    "10.7": {2: 4, 4: 32, 6: 32, 8: 64},
}


def symmetric_memory_bytes(capability: str, tensor_parallel: int) -> int:
    """Bytes of the all-reduce buffer in symmetric memory, where a release has it."""
    return _SYMMETRIC.get(capability, {}).get(tensor_parallel, 0) << 20


def v2_state_bytes(vocabulary: int, seqs: int) -> int:
    """Bytes that the V2 runner's sampler holds for `seqs` sequences from its start on."""
    return seqs * (4 * vocabulary + 4 * -(-vocabulary // 32) + V2_BYTES_PER_SEQUENCE)


class Measured(NamedTuple):
    """A quantity that only start-up logs show: bytes between `lower_bytes` and `upper_bytes`, where the row says."""

    name: str
    ranks: str
    versions: str
    lower_bytes: int
    upper_bytes: int
    what: str
    source: str
    date: str


def profiles(version: str | None) -> tuple[Profile, ...]:
    """Profiles that a version may be of; raises UnprovenError for an exact release that was not read."""
    low, high = releases(version)
    return tuple(row for row in _profiles() if low < row.span[1] and row.span[0] <= high)


@cache
def measured(name: str, ranks: str) -> Measured:
    """The row of that name and parallelism; KeyError where nothing was measured."""
    found = (row for row in _table()["measured"] if (row["name"], row["ranks"]) == (name, ranks))
    row = next(found, None)
    if row is None:
        raise KeyError(f"{name} {ranks}")
    return Measured(**row)


def supports(class_name: str, version: str | None) -> bool | None:
    """Whether vLLM's registry has a class; None where the releases that `version` may be disagree.

    A class that it does not have may still run on the Transformers backend, where `trust_remote_code` or transformers
    has it: with other weights in other places, which is not modelled.
    """
    kinds = implementations(class_name, version)
    return None if None in kinds and len(kinds) > 1 else None not in kinds


@cache
def implementations(class_name: str, version: str | None) -> frozenset[str | None]:
    """How each release that `version` may be serves a class.

    generate, multimodal, draft or pooling: a model of vLLM's own. transformers: on the Transformers backend. None: not.
    """
    row = _recorded()["classes"].get(class_name, {})
    return frozenset(_said(row, release) for release in _releases(version))


def quantizations(version: str | None) -> frozenset[str]:
    """Methods of quantization that the newest release of `version` has; an older one without does not start."""
    return _in_newest("quantizations", version)


def least_capability(method: str, version: str | None) -> int | None:
    """Least compute capability that a method asks for, as 80 for 8.0: the largest of the releases; None if unknown."""
    row = _recorded()["quantizations"].get(method, {})
    said = {_said(row, release) for release in _releases(version)} - {None}
    numbers = [int(least) for least in said if least is not None and least.isdecimal()]
    return max(numbers) if numbers and len(numbers) == len(said) else None


def drafting(version: str | None) -> frozenset[str]:
    """Methods of speculative decoding that the newest release of `version` has; empty for 0.8.0, not recorded."""
    return _in_newest("speculative", version)


def cache_dtypes(version: str | None) -> frozenset[str]:
    """Values of --kv-cache-dtype that the newest release of `version` has; empty for 0.8.0, not recorded."""
    return _in_newest("kv_cache_dtypes", version)


@cache
def _in_newest(section: str, version: str | None) -> frozenset[str]:
    newest = _releases(version)[-1:]
    rows: Mapping[str, Mapping[str, str]] = _recorded()[section]
    return frozenset(name for name, row in rows.items() if any(_said(row, release) for release in newest))


def _said(row: Mapping[str, str], release: Release) -> str | None:
    """Which of a row's values was recorded of a release: `0.9.0..0.23.0 0.25.0` names spans of them."""
    for value, spans in row.items():
        for span in spans.split():
            first, _, last = span.partition("..")
            if _numbers(first) <= release <= _numbers(last or first):
                return value
    return None


@cache
def _releases(version: str | None) -> tuple[Release, ...]:
    """Recorded releases that a version may be; of one that was not recorded, those before and after it."""
    low, high = releases(version)
    every = [_numbers(release) for release in _recorded()["releases"]]
    within = [release for release in every if low <= release <= high]
    if low in within or (within and low != high):
        return tuple(within)
    return tuple([*(r for r in every if r < low)][-1:] + [*(r for r in every if r > low)][:1])


def releases(version: str | None) -> tuple[Release, Release]:
    """First and last release that a version may be."""
    exact = _EXACT.fullmatch(version or "")
    if exact is None:
        return (0,), (_LAST,)
    numbers = _numbers(exact[1])
    first, last = _profiles()[0].span[0], _profiles()[-1].span[1]
    if not first <= numbers < last:
        known = f"{'.'.join(map(str, first))} to {'.'.join(map(str, (last[0], last[1] - 1)))}"
        raise UnprovenError(f"vllm {version} is not supported, {known} are")
    return (numbers, numbers) if len(numbers) > 2 else (numbers, (*numbers, _LAST))  # noqa: PLR2004 - a minor number


@cache
def _numbers(release: str) -> Release:
    return tuple(map(int, release.split(".")))


@cache
def _profiles() -> tuple[Profile, ...]:
    """Every profile, in order: each row is the one before with its own values in the place of the older ones."""
    state: dict[str, Any] = {}
    sources: dict[str, str] = {}
    found = []
    names = {one.name for one in fields(Profile)}
    for row in _table()["profile"]:
        sources = sources | row["sources"]
        state = state | {key: _frozen(value) for key, value in row.items() if key in names} | {"sources": sources}
        found.append(Profile(**state))
    return tuple(found)


def _frozen(value: object) -> object:
    if isinstance(value, list):
        return tuple(Tier(**part) if isinstance(part, dict) else part for part in value)
    return value


@cache
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = tomli.loads(_ROWS.read_text(encoding="utf-8"))["vllm"]
    return table


@cache
def _recorded() -> Mapping[str, Any]:
    recorded: Mapping[str, Any] = json.loads(_CLASSES.read_text(encoding="utf-8"))
    return recorded
