"""Which vLLM it may be: the releases that a version names, each with its profile, cache manager and model runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm.managers import MANAGERS
from vramguard.memory.engines.vllm.managers import manager as manager_of
from vramguard.memory.engines.vllm.profiles import Profile, profiles, releases
from vramguard.memory.engines.vllm.specs import latent_attention

if TYPE_CHECKING:
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.vllm.layout import Manager
    from vramguard.memory.weights import Loaded

FIRST: Final = "0.10.1"  # release whose cache manager was read
LAST: Final = "0.33.0"


class Sizes(NamedTuple):
    """The largest batch: sequences, tokens, and tokens that each sequence guesses ahead."""

    sequences: int
    tokens: int
    drafts: int


class Variant(NamedTuple):
    """One way in which the stated version may behave."""

    profile: Profile
    manager: Manager
    runner: str  # v1 or v2

    def sizes(self, ask: Ask, context: int) -> Sizes:
        """The largest batch at a context; raises UnprovenError for one that vLLM refuses."""
        workload, device, profile = ask.workload, ask.device, self.profile
        sequences, tokens = profile.batch_defaults(
            device.capacity_bytes, device.name, device.compute_capability, server=True
        )
        if workload.max_num_batched_tokens is not None:
            tokens = workload.max_num_batched_tokens
        if workload.max_num_seqs is not None:
            sequences = workload.max_num_seqs
        elif profile.seqs_within_tokens:
            sequences = min(sequences, tokens)
        if workload.max_num_batched_tokens is None and profile.tokens_within_lengths:
            tokens = min(tokens, sequences * context)
        if sequences > tokens:
            raise UnprovenError(f"vllm refuses max_num_seqs {sequences} above max_num_batched_tokens {tokens}")
        return Sizes(sequences, tokens, workload.num_speculative_tokens or 0)


def variants(ask: Ask, loaded: Loaded) -> tuple[Variant, ...]:
    """Every variant that the version may be, the newest last; raises UnprovenError for releases that were not read."""
    found = dict.fromkeys(
        Variant(profile, manager, runner)
        for profile in profiles(ask.workload.engine_version)
        if not _falls_back(profile, loaded, ask)
        for manager in _managers(ask.workload.engine_version, profile)
        for runner in _runners(profile, loaded, ask)
    )
    if not found and any(_falls_back(profile, loaded, ask) for profile in profiles(ask.workload.engine_version)):
        raise UnprovenError(
            f"vllm {ask.workload.engine_version} has no {ask.workload.kv_cache_dtype} cache on this card"
        )
    if not found:
        raise UnprovenError(f"vllm {ask.workload.engine_version} is not supported, {FIRST} to {LAST} are")
    return tuple(found)


def _falls_back(profile: Profile, loaded: Loaded, ask: Ask) -> bool:
    """Whether a release turns to its V0 engine, which was not read: for an fp8 cache that its kernels have not.

    vLLM 0.10.2, engine/arg_utils.py, EngineArgs._is_v1_supported_oracle, and platforms/cuda.py,
    is_kv_cache_dtype_supported: FlashAttention has one on Hopper alone, every backend of Blackwell has.
    """
    if not profile.v0_engine or not str(ask.workload.kv_cache_dtype).startswith("fp8"):
        return False
    return not latent_attention(loaded.network) and ask.device.compute_capability not in ("9.0", "10.0")


def _runners(profile: Profile, loaded: Loaded, ask: Ask) -> tuple[str, ...]:
    network = loaded.network
    return profile.runners(
        network.name,
        experts=any(tensor.kind == "experts" for tensor in network.tensors),
        quantized=loaded.scheme is not None,
        recurrent=any(cache.states for cache in network.caches),
        odd=ask.workload.speculative_method not in (None, "mtp", "eagle", "eagle3"),
    )


def _managers(version: str | None, profile: Profile) -> tuple[Manager, ...]:
    """The managers of the releases of a profile that a version may be; none before the first that was read."""
    low, high = profile.span
    exact = releases(version)
    if exact[0] == exact[1]:
        found = manager_of(exact[0])
        return () if found is None else (found,)
    starts = [low, *(first for first in _FIRST_RELEASES if low < first < high)]
    return tuple(dict.fromkeys(found for found in map(manager_of, starts) if found is not None))


_FIRST_RELEASES: Final = tuple(tuple(map(int, first.split("."))) for first in MANAGERS)
