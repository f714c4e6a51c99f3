"""What TGI's launcher decides before a model is loaded: attention, block size, the largest prefill, the defaults.

(text-generation-inference, launcher/src/main.rs; server/text_generation_server/models/globals.py.)
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.stated import share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.runtime import Device
    from vramguard.memory.verdict import Workload

MODELED_VERSION: Final = "3.3.7"
GRAPHS: Final = (1, 2, 4, 8, 16, 32)
BLOCKS: Final = {"flashinfer": 1, "flashdecoding": 256, "paged": 16}  # tokens, models/globals.py
_WHOLE: Final = Fraction(1)


class Release(NamedTuple):
    """What differs by version: of all memory, and of what the warm-up left of it, the share that the cache may use."""

    read: str
    total_share: Fraction  # TGI_WIGGLE_ROOM since 3.0
    free_share: Fraction  # before
    logits_copies: int  # log_softmax wrote beside its input before 2.4
    automatic: bool  # the length and the prefill follow the card
    resolves: bool = True  # so does the attention, by the size of a head
    gemma2: bool = True  # which flashinfer serves for Gemma 2 as well
    by_speed: bool = True  # a prefill that the card's speed sets, else 4096


_RELEASES: Final = (
    ((2, 0), Release("2.0.4", _WHOLE, Fraction(95, 100), 2, automatic=False, resolves=False)),
    ((2, 1), Release("2.1.1", _WHOLE, Fraction(95, 100), 2, automatic=False, resolves=False)),
    ((2, 2), Release("2.2.0", _WHOLE, Fraction(95, 100), 2, automatic=False, resolves=False)),
    # Sizes as in 2.2, attention as in 3.0, prefixes that stay in blocks nobody else wants (resolve_attention)
    ((2, 3), Release("2.3.1", _WHOLE, Fraction(95, 100), 2, automatic=False, gemma2=False)),
    ((2, 4), Release("2.4.1", _WHOLE, Fraction(90, 100), 1, automatic=True, by_speed=False)),
    ((3, 0), Release("3.0.2", Fraction(95, 100), _WHOLE, 1, automatic=True)),
    ((3, 1), Release("3.1.1", Fraction(93, 100), _WHOLE, 1, automatic=True)),
    ((3, 2), Release("3.2.3", Fraction(93, 100), _WHOLE, 1, automatic=True)),
    ((3, 3), Release("3.3.7", Fraction(90, 100), _WHOLE, 1, automatic=True)),
)
READ: Final = "every release that was read, 2.0 to 3.3"
# launcher/src/main.rs (f16_flop): operations a second, by the names that nvidia-smi gives these cards.
_FLOPS: Final = {
    "h100-sxm5-80gb": 900 * 10**12,
    "h100-nvl-94gb": 900 * 10**12,
    "h200-141gb": 989 * 10**12,
    "a100-sxm4-40gb": 312 * 10**12,
    "a100-sxm4-80gb": 312 * 10**12,
    "a100-pcie-80gb": 312 * 10**12,
    "a40-48gb": 149 * 10**12,
    "a10g-24gb": 125 * 10**12,
    "l4-24gb": 121 * 10**12,
    "l40-48gb": 181 * 10**12,
    "l40s-48gb": 363 * 10**12,
}
_PREFILL: Final = 4096
SHORTEST: Final = 512  # of max_total_tokens: shorter ones make the warm-up's cache larger, not smaller
_LEAST_OPTIMUM: Final = 100
_AMPERE: Final = 8


class Launch(NamedTuple):
    """What the server is started with."""

    release: Release
    attention: str
    block: int  # tokens
    prefill: int  # most tokens of one pass
    prefill_least: int  # of a long prompt's longest pass
    sequences: int  # that run at once, at most
    max_total_tokens: int
    limited: bool  # whether that many must fit
    fraction: Fraction


def release(version: str | None) -> Release:
    """Find the release that a version is of; raises UnprovenError for one that was not read."""
    match = re.match(r"v?(\d+)\.(\d+)", version or MODELED_VERSION)
    found = dict(_RELEASES).get((int(match[1]), int(match[2]))) if match else None
    if found is None:
        known = ", ".join(f"{major}.{minor}" for (major, minor), _ in _RELEASES)
        raise UnprovenError(f"tgi {version} is not supported, {known} are")
    return found


# models/__init__.py, ModelType: the first release that has a class of its own; of the others all have.
_SINCE: Final = {"Gemma2ForCausalLM": (2, 1), "GraniteForCausalLM": (2, 4), "Gemma3ForCausalLM": (3, 2)}


def has(class_name: str, version: str | None) -> bool:
    """Whether a release runs a class by itself; others it leaves to transformers. Of none stated, the newest counts."""
    match = re.match(r"v?(\d+)\.(\d+)", version or MODELED_VERSION)
    return match is None or (int(match[1]), int(match[2])) >= _SINCE.get(class_name, (0, 0))


def distinct() -> tuple[Release, ...]:
    """One release of each behaviour, the newest of it, in order."""
    found = {release._replace(read=""): release for _, release in _RELEASES}
    return tuple(found.values())


def shards(workload: Workload) -> int:
    """Cards that the model is split across: all that are visible, unless num_shard says fewer (find_num_shards).

    Raises UnprovenError where that is open: before 3.3.7 `NVIDIA_VISIBLE_DEVICES=all` counted as one.
    """
    said, cards = workload.tensor_parallel_size, workload.gpus or 1
    if said is None and cards > 1 and workload.engine_version not in (None, MODELED_VERSION):
        raise UnprovenError(
            f"num_shard is not stated, nor is whether tgi {workload.engine_version} counts {cards} GPUs"
        )
    return said or cards


def launch(config: Mapping[str, Any], network: Architecture, workload: Workload, device: Device) -> Launch:
    """Fill in the launcher's defaults; raises UnprovenError."""
    found = release(workload.engine_version)
    attention = workload.attn_implementation or _attention(config, found, device)
    block = BLOCKS[attention]
    if workload.block_size not in (None, block):
        raise UnprovenError(f"block_size {workload.block_size}: tgi's {attention} attention has {block}")
    if workload.max_model_len is not None and workload.max_model_len < SHORTEST:
        raise UnprovenError(f"max_model_len {workload.max_model_len}: below {SHORTEST} tgi's warm-up is not modelled")
    total = workload.max_model_len or (network.context if found.automatic else min(network.context or 4096, 4096))
    asked = workload.max_num_batched_tokens
    prefill = asked or _prefill(config, found, total, shards(workload), device)
    sequences = max(workload.max_num_seqs or 128, workload.concurrency or 1)
    return Launch(
        release=found,
        attention=attention,
        block=block,
        prefill=-(-prefill // block) * block + (sequences if found.automatic else 0),  # chunks: one more of each
        prefill_least=prefill if asked or not found.automatic else 1,
        sequences=sequences,
        max_total_tokens=total,
        limited=workload.max_model_len is not None or not found.automatic,
        fraction=share("gpu_memory_utilization", workload.gpu_memory_utilization or "1"),
    )


def _attention(config: Mapping[str, Any], found: Release, device: Device) -> str:
    """By the size of a head, where the config tells it (resolve_attention)."""
    if not found.resolves:
        return "paged"
    if _head_size(config) in (64, 128, 256) and (found.gemma2 or config.get("model_type") != "gemma2"):
        return "flashinfer"
    return "flashdecoding" if device.generation >= _AMPERE else "paged"


def _integer(config: Mapping[str, Any], *names: str) -> int | None:
    """The first of those keys that the launcher finds."""
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v >= 0), None)


def _head_size(config: Mapping[str, Any]) -> int | None:
    said, hidden = _integer(config, "head_dim"), _integer(config, "hidden_size", "n_embd")
    heads = _integer(config, "num_attention_heads")
    if said is not None or not hidden or not heads:
        return said
    return hidden // heads if hidden % heads == 0 else None


def _prefill(config: Mapping[str, Any], found: Release, total: int, cards: int, device: Device) -> int:
    """The most that max_batch_prefill_tokens becomes; the launcher may lower it by its own estimate of memory."""
    if not found.automatic:
        return total - 1 + 50
    flops = _operations(config) if found.by_speed else 0
    optimum = _FLOPS.get(device.name, 0) * cards // flops if flops else 0
    default = max(optimum, _PREFILL) if optimum > _LEAST_OPTIMUM and found.read != MODELED_VERSION else optimum
    chosen = default if default > _LEAST_OPTIMUM else _PREFILL
    longest = _integer(config, "max_position_embeddings", "max_seq_len", "n_positions")
    return min(chosen, longest) if longest else chosen


def _operations(config: Mapping[str, Any]) -> int:
    """Operations for a token as the launcher counts them, 0 where a key is missing (Config::flop)."""
    heads, layers = _integer(config, "num_attention_heads"), _integer(config, "num_hidden_layers")
    hidden, inner = _integer(config, "hidden_size", "n_embd"), _integer(config, "intermediate_size")
    size = _head_size(config)
    keys = _integer(config, "num_key_value_heads")
    if "vision_config" in config or heads is None or layers is None or hidden is None or inner is None:
        return 0
    experts = (_integer(config, "num_experts_per_tok") or 1) + (_integer(config, "n_shared_experts") or 0)
    attention = 2 * (3 * heads + 2 * (heads if keys is None else keys)) * (size or 0) * hidden
    return layers * (attention + 6 * hidden * inner * experts)


def assumptions(workload: Workload, made: Launch, tokens: int) -> Iterator[str]:
    """One sentence for each value that the launcher decided, or that means less than it seems to."""
    if workload.engine_version != made.release.read:
        yield f"tgi {workload.engine_version} allocates as {made.release.read}, which was read"
    defaults = {
        "max_model_len": f"max_total_tokens is not stated; at most {tokens}, and fewer where the cache is smaller",
        "max_num_batched_tokens": f"max_batch_prefill_tokens is not stated; its default is at most {made.prefill} here",
        "max_num_seqs": f"max_concurrent_requests is not stated; {made.sequences} sequences at once at most",
        "attn_implementation": f"ATTENTION is not stated; {made.attention} with blocks of {made.block} is chosen",
        "concurrency": "concurrency is not stated; one sequence of the full length at a time is assumed",
        "gpu_memory_utilization": "cuda_memory_fraction is not stated; 1.0 is assumed",
    }
    yield from (sentence for name, sentence in defaults.items() if getattr(workload, name) is None)
    if workload.tensor_parallel_size is None and shards(workload) > 1:
        yield f"num_shard is not stated; the model is split across all {shards(workload)} GPUs"
    yield "max_input_tokens is max_total_tokens - 1, which is the largest"
    yield "gpu_memory_utilization is tgi's cuda_memory_fraction"
    if workload.enforce_eager:
        yield "enforce_eager: the row of the process still counts CUDA graphs"
    if workload.swap_space is not None:
        yield f"swap_space {workload.swap_space} has no effect on tgi"
