"""Which vLLM it may be: the releases that a version names, each with its profile, cache manager and model runner."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm import older
from vramguard.memory.engines.vllm.managers import MANAGERS
from vramguard.memory.engines.vllm.managers import manager as manager_of
from vramguard.memory.engines.vllm.profiles import Profile, profiles, releases

if TYPE_CHECKING:
    from vramguard.memory.engines import Ask
    from vramguard.memory.engines.vllm.layout import Manager
    from vramguard.memory.verdict import Workload
    from vramguard.memory.weights import Loaded

FIRST: Final = "0.8.5"  # release whose cache manager was read
LAST: Final = "0.33.0"
_ASSUMED: Final = (0, 10, 1)  # the first that a version which is not stated may be
# engine/arg_utils.py: before, EngineArgs._set_default_args_v1 splits prompts whatever is asked for; since, the default
# of max_num_batched_tokens makes room for the longest
_SPLITS_IF_TOLD: Final = (0, 11, 1)
_MINOR: Final = re.compile(r"v?\d+\.\d+")


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
        elif workload.enable_chunked_prefill is False and profile.span[0] >= _SPLITS_IF_TOLD:
            tokens = max(tokens, context)
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
    found: dict[Variant, None] = {}
    version, lacking = ask.workload.engine_version, None
    for profile in profiles(version):
        managers = _managers(version, profile)
        lacking = lacking or _lacking(profile, loaded, ask)
        if managers and _lacking(profile, loaded, ask) is None:
            runners = _runners(profile, loaded, ask)
            ways = [way for manager in managers for way in _ways(manager, profile, ask.workload)]
            found |= dict.fromkeys(Variant(profile, way, runner) for way in ways for runner in runners)
    if lacking is not None and (not found or _MINOR.fullmatch(version or "")):
        raise UnprovenError(f"vllm {version} {lacking}")
    if not found:
        raise UnprovenError(f"vllm {version} is not supported, {FIRST} to {LAST} are")
    return tuple(found)


def _ways(manager: Manager, profile: Profile, workload: Workload) -> tuple[Manager, ...]:
    """The manager with layers of several kinds, without, or both: connectors and events of the cache forbid them.

    (config/vllm.py, VllmConfig.__post_init__: whatever is asked for before 0.14; unless they are asked for since;
    since 0.20 events forbid nothing, and since 0.23 a connector decides, KVConnectorFactory.supports_hma_config.)
    """
    said, plain = workload.disable_hybrid_kv_cache_manager, replace(manager, hybrid=False)
    if said or not (workload.kv_connector or workload.kv_events):
        return (manager,)
    first = profile.span[0]
    if first >= (0, 14) and said is False:
        return (manager,)
    if first < (0, 20) or (workload.kv_connector and first < (0, 23)):
        return (plain,)
    return (manager, plain) if workload.kv_connector else (manager,)


def _lacking(profile: Profile, loaded: Loaded, ask: Ask) -> str | None:
    """Return why a release is not proved for a deployment, as the end of a sentence."""
    fallen, unread = older.v0_engine(profile, loaded, ask), older.not_read(profile, loaded, ask)
    if fallen is not None:
        return f"leaves {fallen} to its V0 engine, which is not modelled"
    return None if unread is None else f"was not read for {unread}"


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
    """The managers of the releases of a profile that a version may be; none where one of them was not read."""
    low, high = profile.span
    first, last = releases(version)
    if first == last:
        found = manager_of(first)
        return () if found is None else (found,)
    low = max(low, first, _ASSUMED if first == (0,) else first)
    if low >= high or manager_of(low) is None:
        return ()
    starts = [low, *(each for each in _FIRST_RELEASES if low < each < high)]
    return tuple(dict.fromkeys(found for found in map(manager_of, starts) if found is not None))


_FIRST_RELEASES: Final = tuple(tuple(map(int, first.split("."))) for first in MANAGERS)
