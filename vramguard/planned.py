"""What fits of one deployment, card by card: the proof of it, turned round."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vramguard import data
from vramguard.checks.vram import device, identity, question
from vramguard.engine import Proven
from vramguard.link.models import place
from vramguard.memory import Depth
from vramguard.memory.planning import needs_checkpoint, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vramguard.checks.vram import VramBudget
    from vramguard.facts import Deployment, Facts
    from vramguard.memory import Device, Workload
    from vramguard.memory.planning import Row

    Asked = Callable[[str], None]  # hears the name of each card before it is asked for


class Planned(NamedTuple):
    """The rows of a plan, the smallest card first. `asked` are the cards that were asked for, `proven` is of the first.

    `packed`: the checkpoint is quantized already. `needs_checkpoint`: formats that somebody has to pack first.
    """

    proven: Proven
    workload: Workload
    asked: tuple[str, ...]
    rows: tuple[Row, ...]
    packed: bool
    needs_checkpoint: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether the deployment fits as it stands, on one of the cards that were asked for."""
        return any(row.asked.answer.value == "FITS" for row in self.rows if row.asked.device.name in self.asked)


def plan_deployment(
    facts: Facts, judge: VramBudget, deployment: Deployment, gpus: Sequence[str], asked: Asked
) -> Planned:
    """What would fit of one deployment, on the cards of `gpus` or on every one. Raises `ConfigError`."""
    placement = place(deployment, facts, catalogue=judge.catalogue)
    what = question(facts, placement, judge.terms)
    named = tuple(device(name) for name in dict.fromkeys(gpus)) or (what.card,)
    rows = []
    for card in _ordered(named if gpus else {*named, *map(device, data.gpus())}):
        asked(card.name)
        rows.append(row(what.judge, what.on(card), card, what.context, packed=what.packed))
    return Planned(
        Proven(what.judge(what.on(named[0]), named[0], Depth.POOL), *identity(placement)),
        what.workload,
        tuple(card.name for card in named),
        tuple(rows),
        what.packed,
        () if what.packed else needs_checkpoint(what.workload),
    )


def _ordered(cards: Iterable[Device]) -> list[Device]:
    return sorted(cards, key=lambda card: (card.capacity_bytes, card.name))
