"""Every family of facts that is read off what Python does, for whoever wants to see them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard.link.code.commits import pushed
from vramguard.link.code.comparators import comparators
from vramguard.link.code.datachecks import blind_validators
from vramguard.link.code.datasets import data_sources, own_outputs
from vramguard.link.code.dtypes import wide_tensors
from vramguard.link.code.fallbacks import fallbacks
from vramguard.link.code.health import health_routes
from vramguard.link.code.latency import latency_guards
from vramguard.link.code.outputs import exposures
from vramguard.link.code.promotions import promotions
from vramguard.link.code.refusals import refusals
from vramguard.link.code.retries import retry_policies
from vramguard.link.code.saves import training_loops
from vramguard.link.code.scraping import web_data
from vramguard.link.code.swallowing import swallowed_errors
from vramguard.link.code.timeouts import outbound_calls, slow_answers
from vramguard.link.code.trainers import leaky_trainers
from vramguard.link.code.triggers import triggers
from vramguard.link.code.weights import fetched_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from vramguard.facts import Facts
    from vramguard.facts.code import CodeFact

FAMILIES: tuple[Callable[[Facts], Iterable[CodeFact]], ...] = (
    *(exposures, refusals, wide_tensors),
    *(training_loops, leaky_trainers),
    *(health_routes, slow_answers, outbound_calls, retry_policies, fallbacks, latency_guards),
    *(triggers, promotions, comparators, pushed, fetched_weights),
    *(data_sources, own_outputs, web_data, blind_validators, swallowed_errors),
)


def found(facts: Facts) -> Iterator[CodeFact]:
    """Everything that the families find."""
    for family in FAMILIES:
        yield from family(facts)
