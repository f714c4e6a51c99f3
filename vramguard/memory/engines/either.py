"""Several plans of which one is the case: each row of the ledger holds the most and the least of all of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from vramguard.memory.engines import Holding, Plan
from vramguard.memory.ledger import Ledger, Term, bound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.memory.verdict import Workload


def widest(variants: Iterable[Iterable[Term]]) -> Iterator[Term]:
    """Each row as the variant has it that needs most, and at least what the one has that needs least.

    Rows are the same where their names are; of several alike in one variant the first are, then the second.
    """
    rows: dict[tuple[str, int], list[Term]] = {}
    count = 0
    for found in variants:
        count += 1
        seen: Counter[str] = Counter()
        for term in found:
            rows.setdefault((term.name, seen[term.name]), []).append(term)
            seen[term.name] += 1
    for same in rows.values():
        most = max(same, key=lambda term: (term.upper_bytes, term.lower_bytes))
        least = min(term.lower_bytes for term in same) if len(same) == count else 0
        if least == most.lower_bytes:
            yield most
        else:
            yield bound(most.name, most.formula, {**most.inputs, "least": least}, lower="least", source=most.source)


@dataclass(frozen=True)
class Either:
    """Plans of releases that a deployment may be of, the newest last; cards of each are dealt alike."""

    plans: tuple[Plan, ...]
    releases: str  # in words

    @property
    def tokens(self) -> int:
        """The context that is asked for, or the longest of the defaults."""
        return max(plan.tokens for plan in self.plans)

    @property
    def limit(self) -> int:
        """The longest context worth asking for."""
        return max(plan.limit for plan in self.plans)

    @property
    def model_weight_bytes(self) -> int:
        """Bytes of the whole model's weights, each once."""
        return max(plan.model_weight_bytes for plan in self.plans)

    @property
    def kv_cache_bytes_per_token(self) -> int:
        """Bytes of the whole model's cache for one more token."""
        return max(plan.kv_cache_bytes_per_token for plan in self.plans)

    @property
    def spill_bytes(self) -> int:
        """Bytes of weights that end up on the host unasked."""
        return max(plan.spill_bytes for plan in self.plans)

    @property
    def offload_bytes(self) -> int:
        """Bytes of weights that each card may leave on the host in every release."""
        return min(plan.offload_bytes for plan in self.plans)

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """Demand of each card, in whichever release needs most; at least that of the shortest default context."""
        found = [plan.ledgers(tokens) for plan in self.plans]
        found += [plan.ledgers(plan.tokens) for plan in self.plans if plan.tokens < tokens <= self.tokens]
        return tuple(Ledger(tuple(widest(cards))) for cards in zip(*found, strict=True))

    def holding(self, tokens: int) -> Holding | None:
        """The most that is taken, and the least room of any."""
        held = [one for one in (plan.holding(tokens) for plan in self.plans) if one is not None]
        if not held:
            return None
        least = min(held, key=lambda one: Fraction(*one.concurrency))
        starts = {one.starts for one in held}
        return replace(
            least,
            reserved_bytes=max(one.reserved_bytes for one in held),
            outside_bytes=max(one.outside_bytes for one in held),
            lower_bytes=min(one.lower_bytes for one in held),
            upper_bytes=max(one.upper_bytes for one in held),
            tokens=min(one.tokens for one in held),
            starts=starts.pop() if len(starts) == 1 else None,
        )

    def resolved(self, tokens: int) -> Workload:
        """The newest release's workload, which none is stated of."""
        return replace(self.plans[-1].resolved(tokens), engine_version=None)

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What is not stated, then what the newest rests on."""
        yield f"engine_version is not stated; each row is the largest of {self.releases}"
        yield from self.plans[-1].assumptions(tokens)
