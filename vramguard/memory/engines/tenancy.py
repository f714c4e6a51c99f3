"""Everybody on one card: an engine's process, as many like it as are started there, and the server that carries it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vramguard.memory.engines import Plan, carriers
from vramguard.memory.ledger import Ledger, bound
from vramguard.memory.runtime import Device
from vramguard.memory.verdict import Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vramguard.memory.engines import Holding
    from vramguard.memory.ledger import Term


@dataclass(frozen=True)
class Tenancy:
    """A plan as the card sees it. `asked` is the workload before its carrier was resolved."""

    plan: Plan
    asked: Workload
    device: Device

    @property
    def processes(self) -> int:
        """Processes on each card that run the plan."""
        return self.asked.processes_per_gpu or 1

    def ledgers(self, tokens: int) -> tuple[Ledger, ...]:
        """Demand of all of them, of each card that differs from the others."""
        return tuple(Ledger((*ledger, *self._beside(ledger))) for ledger in self.plan.ledgers(tokens))

    def _beside(self, ledger: Ledger) -> Iterator[Term]:
        if self.processes > 1:
            inputs = {"others": self.processes - 1, "peak": ledger.upper_bytes(), "certain": ledger.lower_bytes()}
            yield bound("runtime/other_processes", "others * peak", inputs, lower="others * certain")
        yield from carriers.beside(self.asked, self.device)

    def holding(self, tokens: int) -> Holding | None:
        """What all of them take at start."""
        found = self.plan.holding(tokens)
        if found is None:
            return None
        carried = sum(term.upper_bytes for term in carriers.beside(self.asked, self.device))
        others = (self.processes - 1) * found.reserved_bytes
        utilization, at = (found.utilization, found.reserved_at) if self.processes == 1 else (None, None)
        return replace(
            found,
            reserved_bytes=found.reserved_bytes + others + carried,
            outside_bytes=found.outside_bytes + carried,
            utilization=utilization,
            reserved_at=None if at is None else lambda share: at(share) + carried,
        )

    def resolved(self, tokens: int) -> Workload:
        """The plan's workload, of as many processes as were asked for."""
        return replace(self.plan.resolved(tokens), processes_per_gpu=self.asked.processes_per_gpu)

    def assumptions(self, tokens: int) -> Iterator[str]:
        """What the plan rests on, and what its carrier adds."""
        if self.processes > 1:
            yield f"{self.processes} processes on each card, each with weights, a cache and a batch of its own"
        yield from carriers.assumptions(self.asked)
        yield from self.plan.assumptions(tokens)
