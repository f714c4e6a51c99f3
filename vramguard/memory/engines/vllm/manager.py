"""vLLM's KV-cache manager without vLLM: specs -> groups -> bytes of a block -> blocks, requests and concurrency.

All layers share one pool of blocks. A block belongs to one group of layers at a time, and is as wide as the widest
group, so that padding layers cost what real ones cost. (v1/core/kv_cache_utils.py; 0.33.0: kv_cache_planning.py.)
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines.vllm.layout import Check, Kind, Layers, Manager, Options, Spec, Unify
from vramguard.memory.expression import ceil_div, evaluate, names
from vramguard.memory.ledger import Term, bound, exact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vramguard.memory.engines.shards import Rank

_SOURCE: Final = "vLLM, v1/kv_cache_interface.py, max_memory_usage_bytes of the spec"
_FULL: Final = (Kind.FULL, Kind.LATENT)  # an MLAAttentionSpec is a FullAttentionSpec
_LOCAL: Final = (Kind.SLIDING, Kind.CHUNKED)
_EVERY_TOKEN: Final = ("ceil_div(tokens, block_size)", None)
# Blocks of one request in a group: at most, as vLLM counts them, and at least where that is less.
_HELD: Final[dict[Kind, tuple[str, str | None]]] = {
    Kind.FULL: _EVERY_TOKEN,
    Kind.LATENT: _EVERY_TOKEN,
    # One more, for a window does not begin where a block does.
    Kind.SLIDING: (
        "(ceil_div(min(window - 1 + in_flight, tokens), block_size) + 1)",
        "ceil_div(min(window, tokens), block_size)",
    ),
    Kind.CHUNKED: ("ceil_div(min(window + in_flight, tokens), block_size)", "1"),
    Kind.STATES: ("states", "least"),
    Kind.CROSS: ("ceil_div(window, block_size)", "ceil_div(least, block_size)"),
}
_STATES_OF_BLOCKS: Final = ("(ceil_div(tokens, block_size) + states)", "1")

Numbers = tuple[int | None, ...]  # of layers; None where the config does not tell them
Placed = list[tuple[Spec, Numbers]]  # layers by what they keep


class Group(NamedTuple):
    """Layers that share a block table, as far as they are on this rank: how many have each spec."""

    members: tuple[tuple[Spec, int], ...]

    @property
    def spec(self) -> Spec:
        """The spec that stands for all: they need equally many blocks."""
        return self.members[0][0]

    @property
    def page(self) -> int:
        """Bytes of one block in all layers."""
        return sum(spec.page * count for spec, count in self.members)


@dataclass(frozen=True, slots=True)
class KVCache:
    """The manager's plan for one rank. Ranks share one number of blocks, the least of all of theirs."""

    groups: tuple[Group, ...]
    manager: Manager
    in_flight: int  # tokens that are scheduled and not settled, at most
    checked: tuple[tuple[int, Spec], ...] = ()  # bytes of a block, for each block that must be there at start

    @property
    def bytes_per_block(self) -> int:
        """Bytes that one block takes of this rank's pool."""
        return max((group.page for group in self.groups), default=0)

    def needed(self, tokens: int) -> int:
        """Blocks that vLLM counts for one request of `tokens` tokens: the divisor of its maximum concurrency."""
        return sum(self._blocks(group.spec, tokens) for group in self.groups)

    def blocks(self, available_bytes: int) -> int:
        """Blocks of the pool, with the null block that no request gets."""
        return max(available_bytes, 0) // self.bytes_per_block if self.bytes_per_block else 1

    def max_concurrency(self, blocks: int, tokens: int) -> Fraction:
        """Requests of `tokens` tokens at once: what "Maximum concurrency" prints with max_model_len = `tokens`."""
        if not self.groups:
            raise UnprovenError("vLLM knows no concurrency of a network without a cache")
        return Fraction(blocks, self.needed(tokens))

    def capacity(self, blocks: int, tokens: int) -> int:
        """Tokens that "GPU KV cache size" prints with max_model_len = `tokens`."""
        if self.manager.prints_capacity:
            return int(self.max_concurrency(blocks, tokens) * tokens)
        return blocks // len(self.groups) * min(group.spec.block_size or tokens for group in self.groups)

    def required(self, tokens: int) -> int:
        """Bytes that must be available, or vLLM does not start with max_model_len = `tokens`."""
        null = self.bytes_per_block if self.manager.check is Check.USABLE else 0
        return null + sum(page * self._blocks(spec, tokens) for page, spec in self.checked)

    def terms(self, tokens: int, concurrency: int) -> tuple[Term, ...]:
        """Bytes of `concurrency` requests of `tokens` tokens each, and of the null block, by kind of layer."""
        if not self.groups:
            return ()
        alike = Counter(group.spec for group in self.groups)
        kinds = Counter(spec.kind for spec in alike)
        rows = []
        for spec, count in alike.items():
            name = f"kv_cache/{spec.kind}" + (f"_{spec.window}" if kinds[spec.kind] > 1 else "")
            rows.append(self._term(name, spec, {"groups": count, "sequences": concurrency}, tokens))
        per_block = {"block_bytes": self.bytes_per_block}
        return (*rows, exact("kv_cache/null_block", "block_bytes", per_block, "vLLM, v1/core/block_pool.py, BlockPool"))

    def _term(self, name: str, spec: Spec, counts: dict[str, int], tokens: int) -> Term:
        most, least = _held(spec)
        known = {**counts, **self._sizes(spec, tokens), "block_bytes": self.bytes_per_block}
        upper, lower = (f"groups * sequences * {blocks} * block_bytes" for blocks in (most, least or most))
        read = names(upper) | names(lower)
        inputs = {key: value for key, value in known.items() if key in read}
        if least is None:
            return exact(name, upper, inputs, _SOURCE)
        return bound(name, upper, inputs, lower=lower, source=_SOURCE)

    def _blocks(self, spec: Spec, tokens: int) -> int:
        return evaluate(_held(spec)[0], self._sizes(spec, tokens))

    def _sizes(self, spec: Spec, tokens: int) -> dict[str, int]:
        sizes = {"block_size": spec.block_size, "window": spec.window, "states": spec.states, "least": spec.least}
        return {"tokens": tokens, "in_flight": self.in_flight, **sizes}


def _held(spec: Spec) -> tuple[str, str | None]:
    most, least = _STATES_OF_BLOCKS if spec.kind is Kind.STATES and spec.block_size else _HELD[spec.kind]
    certain = spec.kind is Kind.STATES and not spec.block_size and spec.states == spec.least
    return most, None if certain else least


def plan(layers: Sequence[Layers], manager: Manager, options: Options, rank: Rank) -> KVCache:
    """Lay out the cache of a network on one rank; raises UnprovenError, also where vLLM refuses to start.

    `layers` are those of the whole network, as large as one rank has them; those of a draft model may follow.
    (0.19.0, v1/core/kv_cache_utils.py, get_kv_cache_configs and get_kv_cache_groups.)
    """
    placed = [(one.spec, _numbers(one)) for one in layers if one.copies]
    if not manager.global_groups:
        placed = [(spec, _staying(numbers, rank)) for spec, numbers in placed]
    placed = _merged(placed)
    mixed = manager.hybrid and not options.disable_hybrid_kv_cache_manager
    kept = placed if mixed else _promoted(placed, manager)
    groups = _groups(kept, manager) if kept else []
    if rank.stages > 1 and not manager.cuts_sizes and any(len(group) > 1 for group in groups):
        raise UnprovenError("this version of vLLM counts layers of several sizes on every pipeline stage")
    mine = tuple(Group(tuple((spec, len(_staying(numbers, rank))) for spec, numbers in group)) for group in groups)
    cache = KVCache(mine, manager, options.in_flight_tokens(manager, rank.stages))
    return replace(cache, checked=_checked(cache, placed, groups, rank))


def _checked(cache: KVCache, placed: Placed, groups: Sequence[Placed], rank: Rank) -> tuple[tuple[int, Spec], ...]:
    """What is summed up to see whether one request fits."""
    check = cache.manager.check
    if check is Check.LAYERS:
        return tuple((spec.page * len(_staying(numbers, rank)), spec) for spec, numbers in placed)
    if check is Check.FIRST_GROUP:
        whole = max((sum(spec.page * len(numbers) for spec, numbers in group) for group in groups), default=0)
        return tuple((whole, group.spec) for group in cache.groups[:1])
    counted = cache.groups[:1] if check is Check.STAGE_GROUP else cache.groups
    return tuple((cache.bytes_per_block, group.spec) for group in counted)


def _numbers(layers: Layers) -> Numbers:
    return layers.numbers if layers.numbers is not None else (None,) * layers.copies


def _staying(numbers: Numbers, rank: Rank) -> Numbers:
    """Those layers that the rank has."""
    if rank.stages == 1:
        return numbers
    if None in numbers:
        raise UnprovenError("the config does not tell which layers have which cache, which pipeline stages depend on")
    first, end = rank.layers
    return tuple(number for number in numbers if number is not None and first <= number < end)


def _merged(placed: Iterable[tuple[Spec, Numbers]]) -> Placed:
    """Bring equal specs together, in the order in which they first appear."""
    alike: dict[Spec, Numbers] = {}
    for spec, numbers in placed:
        if numbers:
            alike[spec] = alike.get(spec, ()) + numbers
    return [*alike.items()]


def _one_type(placed: Placed, manager: Manager) -> bool:
    """Whether all layers need equally many tokens (UniformTypeKVCacheSpecs.is_uniform_type)."""
    types = {(Kind.FULL if s.kind in _FULL else s.kind, s.block_size, s.window, s.states) for s, _ in placed}
    return len(types) == 1 and manager.one_type


def _promoted(placed: Placed, manager: Manager) -> Placed:
    """Without the hybrid manager a layer keeps every token, whatever it attends to (unify_hybrid_kv_cache_specs)."""
    if len(placed) < 2 or _one_type(placed, manager):  # noqa: PLR2004 - two kinds are a hybrid
        return placed
    windows = {kind: {spec.window for spec, _ in placed if spec.kind is kind} for kind in _LOCAL}
    local = [len(each) for each in windows.values() if each]
    alike = local == [1] or (local == [1, 1] and manager.one_type) or (bool(local) and manager.merges_windows)
    if any(spec.kind in _FULL for spec, _ in placed) and alike:
        full = [(replace(s, kind=Kind.FULL, window=0) if s.kind in _LOCAL else s, n) for s, n in placed]
        placed = _merged(full)
    if len(placed) > 1 and not _one_type(placed, manager):
        raise UnprovenError("vLLM without its hybrid cache manager refuses layers that keep more than one kind")
    return placed


def _groups(placed: Placed, manager: Manager) -> list[Placed]:
    """Groups that each share a block table."""
    if len(placed) == 1 or _one_type(placed, manager):
        return [placed]
    placed = _merged(_unified(placed, manager))
    least, most = (extreme(len(numbers) for _, numbers in placed) for extreme in (min, max))
    above, below = manager.even
    width = most if most * below < least * above else least
    groups: list[Placed] = []
    for spec, numbers in placed:
        count = ceil_div(len(numbers), width)
        # Every count-th layer, so that a stage of the pipeline has a share of each group. Before that was so, groups
        # were made of one stage's layers, of which only the number counts.
        groups.extend([(spec, numbers[place::count])] for place in range(count))
    return groups


def _unified(placed: Placed, manager: Manager) -> Placed:
    """Give all layers pages of one size (unify_kv_cache_spec_page_size)."""
    largest = max(spec.page for spec, _ in placed)
    return [(_raised(spec, largest, manager), numbers) for spec, numbers in placed]


def _raised(spec: Spec, page: int, manager: Manager) -> Spec:
    if spec.page == page:
        return spec
    by_tokens = spec.kind is not Kind.STATES
    if by_tokens and page % spec.page == 0 and manager.unify is not Unify.REFUSED:
        return replace(spec, block_size=page // spec.page * spec.block_size)
    if manager.unify is Unify.PADDED and spec.kind is not Kind.LATENT:
        return replace(spec, padded=page)
    raise UnprovenError(
        f"layers of several kinds whose pages of {spec.page} and {page} bytes this version of vLLM cannot unify"
    )
