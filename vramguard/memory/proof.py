"""The verdict: whether a config's network, run as a workload says, stays within a share of one card.

Hides how bounds become an answer. Nothing raised by a config or a workload leaves this module: what is not known is
the answer UNKNOWN with its reason.
"""

from __future__ import annotations

from dataclasses import replace
from enum import IntEnum
from fractions import Fraction
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory.architecture import UnprovenError
from vramguard.memory.engines import DEFAULT, TRAINING, Ask, carriers, engine, trainer
from vramguard.memory.engines.footing import footing
from vramguard.memory.engines.shards import ParallelismError
from vramguard.memory.engines.tenancy import Tenancy
from vramguard.memory.expression import FormulaError
from vramguard.memory.families import architecture
from vramguard.memory.ledger import OFFLOAD, Ledger, bound, exact
from vramguard.memory.verdict import Answer, Pool, Proof, Totals, decimal, hundredths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from vramguard.memory.architecture import Architecture
    from vramguard.memory.engines import Engine, Holding
    from vramguard.memory.runtime import Device
    from vramguard.memory.traced import Tracing
    from vramguard.memory.verdict import Workload

_FOLLOWS: Final = ("tgi",)  # engines whose batch, where nobody says it, follows the context
_NODE: Final = (1, 2, 4, 8)  # cards of one node that a layer may be split across


class Depth(IntEnum):
    """How much of a proof is asked for."""

    ANSWER = 0  # the ledger and what it decides
    POOL = 1  # and what the engine takes at start
    WHOLE = 2  # and what would fit


def prove(
    config: Mapping[str, object],
    workload: Workload,
    device: Device,
    budget: Fraction,
    tracing: Tracing | None = None,
) -> Proof:
    """Judge the peak of `workload` against `budget` of the card's capacity; ValueError for a budget outside 0 to 1.

    `tracing` runs forward passes: where it is given, their peaks stand in the ledger instead of computed ones.
    """
    return Prover(config, budget, tracing)(workload, device, Depth.WHOLE)


class Prover:
    """Proofs of one config, which share its network, and the ledgers of cards that stand alike."""

    def __init__(self, config: Mapping[str, object], budget: Fraction, tracing: Tracing | None = None) -> None:
        """Raise ValueError for a budget outside 0 to 1."""
        if not 0 < budget <= 1:
            raise ValueError(f"budget {budget} is not a share of a card")
        self._config, self._budget = config, budget
        self._trace = None if tracing is None else lru_cache(partial(tracing, config))
        self._demands: dict[tuple[Any, ...], _Demand] = {}
        self._pools: dict[tuple[Workload, Device], Proof] = {}

    @cached_property
    def network(self) -> Architecture:
        """The network of the config; raises UnprovenError or FormulaError."""
        return architecture(self._config)

    @property
    def context(self) -> int:
        """Positions that the config declares; 0 where it names none, or its network is not known."""
        try:
            return self.network.context
        except (UnprovenError, FormulaError):
            return 0

    def __call__(self, workload: Workload, device: Device, depth: Depth = Depth.ANSWER) -> Proof:
        """Judge the peak of `workload` on `device`."""
        if depth is not Depth.POOL:
            return self._proof(workload, device, depth)
        if (workload, device) not in self._pools:
            self._pools[workload, device] = self._proof(workload, device, depth)
        return self._pools[workload, device]

    def _proof(self, workload: Workload, device: Device, depth: Depth) -> Proof:
        empty = Proof(
            answer=Answer.UNKNOWN,
            reason=None,
            workload=workload,
            device=device,
            budget_fraction=decimal(self._budget),
            budget_bytes=device.capacity_bytes * self._budget.numerator // self._budget.denominator,
            gpu_assumed=workload.gpu is None,
            method="analytic" if self._trace is None else "trace",
        )
        try:
            network = self.network
            known = replace(
                empty,
                model_type=network.model_type,
                architecture=network.name,
                parameters=network.parameters,
                active_parameters=network.active_parameters,
            )
        except (UnprovenError, FormulaError) as error:
            return replace(empty, reason=str(error))
        try:
            ask = Ask(self._config, network, workload, device, self._trace)
            return _judge(ask, known, _Way(depth, self._demands))
        except ParallelismError as error:
            return replace(known, reason=str(error), mismatch=str(error))
        except (UnprovenError, FormulaError) as error:
            return replace(known, reason=str(error))


class _Demand(NamedTuple):
    """Ledgers of the cards that differ, and bytes of weights that each may leave on the host."""

    ledgers: tuple[Ledger, ...]
    offload_bytes: int


class _Way(NamedTuple):
    """How deep a proof goes, and what others have found."""

    depth: Depth
    demands: dict[tuple[Any, ...], _Demand]


def _judge(ask: Ask, empty: Proof, way: _Way) -> Proof:
    """Proof for a known network; where the dtype is open, the one that decides whatever the dtype is."""
    _refuse(ask.network, ask.workload)
    asked, ask = ask.workload, ask._replace(workload=carriers.resolve(ask.workload))
    runs = trainer() if ask.workload.mode == TRAINING else engine(ask.workload.engine)
    if ask.trace is not None and ask.workload.engine not in (None, DEFAULT):
        raise UnprovenError(f"method trace runs {DEFAULT}; of {ask.workload.engine} only the analytic method knows")
    runs.refuse(ask.network, ask.workload)
    dtypes = runs.dtypes(ask.network, ask.workload)
    decide = _decide if way.depth > Depth.ANSWER else _answered
    proofs = [decide(runs, ask, dtype, replace(empty, workload=asked), way) for dtype in dtypes]
    if len(proofs) == 1:
        return proofs[0]
    largest = max(proofs, key=_upper)
    if all(proof.answer is Answer.EXCEEDS for proof in proofs):
        return _open_dtype(min(proofs, key=_upper), dtypes, "the one that needs least is shown")
    shown = _open_dtype(largest, dtypes, "the one that needs most is shown")
    if largest.answer is Answer.FITS:
        return shown
    name = ask.workload.engine or DEFAULT
    reason = f"neither the workload nor the config names a dtype: {name} then takes the checkpoint's own"
    return replace(shown, answer=Answer.UNKNOWN, reason=reason, min_fitting_gpus=None)


def _upper(proof: Proof) -> int:
    return proof.totals.peak_upper_bytes if proof.totals else 0


def _open_dtype(proof: Proof, dtypes: tuple[str, ...], sentence: str) -> Proof:
    first = f"dtype is named nowhere and becomes the checkpoint's own, one of {', '.join(dtypes)}: {sentence}"
    return replace(proof, assumptions=(first, *proof.assumptions))


_SIZES: Final = (
    "gpus",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "max_model_len",
    "concurrency",
    "max_num_seqs",
    "max_num_batched_tokens",
    "processes_per_gpu",
    "num_speculative_tokens",
    "max_loras",
    "max_lora_rank",
    "block_size",
    "kv_cache_memory_bytes",
    "num_gpu_blocks_override",
)


def _refuse(network: Architecture, workload: Workload) -> None:
    """Raise UnprovenError for what no engine can be asked; the message names it."""
    if workload.mode not in (None, "inference", TRAINING):
        raise UnprovenError(f"mode {workload.mode} is not supported, inference and {TRAINING} are")
    for name in _SIZES:
        value = getattr(workload, name)
        if value is not None and value < 1:
            raise UnprovenError(f"{name} {value} is not a positive number")
    if not network.context and workload.max_model_len is None:
        raise UnprovenError(f"neither the workload nor the config of a {network.model_type} names a context")


def _answered(runs: Engine, ask: Ask, dtype: str, empty: Proof, way: _Way) -> Proof:
    """The answer alone: the ledger of a card that stands alike is as good as this one's."""
    asked = replace(empty.workload, gpu=None)
    key = (asked, dtype, footing(ask.workload, ask.device))
    if key not in way.demands:
        plan = runs.plan(ask, dtype)
        ledgers = Tenancy(plan, empty.workload, ask.device).ledgers(plan.tokens)
        way.demands[key] = _Demand(ledgers, plan.offload_bytes)
    return _weighed(way.demands[key], empty)


def _weighed(demand: _Demand, empty: Proof) -> Proof:
    """What the ledger of the card that decides answers."""
    ledger = _worst(demand.ledgers, empty.budget_bytes)
    credited = _credited(ledger, demand.offload_bytes)
    leans = ledger.upper_bytes() > empty.budget_bytes >= credited.upper_bytes()
    ledger = credited if leans else ledger
    totals = _totals(ledger)
    answer, reason = _answer(totals, empty.budget_bytes)
    return replace(
        empty,
        answer=answer,
        reason=reason,
        ledger=ledger,
        totals=totals,
        headroom_bytes=empty.budget_bytes - totals.peak_upper_bytes,
        offload_bytes=-ledger.upper_bytes(OFFLOAD),
    )


def _decide(runs: Engine, ask: Ask, dtype: str, empty: Proof, way: _Way) -> Proof:
    plan = runs.plan(ask, dtype)
    tokens, card = plan.tokens, Tenancy(plan, empty.workload, ask.device)
    weighed = _weighed(_Demand(card.ledgers(tokens), plan.offload_bytes), empty)
    whole = way.depth >= Depth.WHOLE
    return replace(
        weighed,
        workload=card.resolved(tokens),
        model_weight_bytes=plan.model_weight_bytes,
        kv_cache_bytes_per_token=plan.kv_cache_bytes_per_token,
        pool=_pool(card.holding(tokens), empty),
        max_fitting_model_len=_longest(runs, ask, dtype, card, empty) if whole and ask.trace is None else None,
        min_fitting_gpus=_fewest(runs, ask, dtype, card, empty.budget_bytes) if whole else None,
        spill_bytes=plan.spill_bytes,
        assumptions=(*_card(ask), *card.assumptions(tokens)),
    )


def _card(ask: Ask) -> Iterator[str]:
    if ask.workload.gpu is None:
        yield f"gpu is not stated; {ask.device.name} is assumed"


def _worst(ledgers: tuple[Ledger, ...], budget_bytes: int) -> Ledger:
    """The card that decides: one that is certainly over the budget, else the one that may need most."""
    return max(ledgers, key=lambda ledger: (ledger.lower_bytes() > budget_bytes, ledger.upper_bytes()))


def _credited(ledger: Ledger, offload_bytes: int) -> Ledger:
    """The ledger with weights that stay on the host taken off it."""
    offloaded = min(offload_bytes, ledger.upper_bytes("weights"))
    return Ledger((*ledger, exact(f"{OFFLOAD}/weights_on_host", "0 - offloaded", {"offloaded": offloaded})))


def _answer(totals: Totals, budget_bytes: int) -> tuple[Answer, str | None]:
    if totals.peak_upper_bytes <= budget_bytes:
        return Answer.FITS, None
    if totals.peak_lower_bytes > budget_bytes:
        return Answer.EXCEEDS, f"the peak is at least {totals.peak_lower_bytes} bytes, the budget {budget_bytes}"
    return Answer.UNKNOWN, (
        f"the peak lies between {totals.peak_lower_bytes} and {totals.peak_upper_bytes} bytes, "
        f"the budget of {budget_bytes} between them"
    )


def _totals(ledger: Ledger) -> Totals:
    return Totals(
        weights_bytes=ledger.upper_bytes("weights"),
        kv_cache_bytes=ledger.upper_bytes("kv_cache"),
        activation_bytes=ledger.upper_bytes("activations"),
        runtime_bytes=ledger.upper_bytes("runtime"),
        gradient_bytes=ledger.upper_bytes("gradients"),
        optimizer_bytes=ledger.upper_bytes("optimizer"),
        peak_lower_bytes=ledger.lower_bytes(),
        peak_upper_bytes=ledger.upper_bytes(),
    )


def _pool(holding: Holding | None, empty: Proof) -> Pool | None:
    if holding is None:
        return None
    largest = _largest(holding, empty)
    return Pool(
        reserved_bytes=holding.reserved_bytes,
        kv_cache_bytes=holding.lower_bytes,
        kv_cache_tokens=holding.tokens,
        max_concurrency=f"{hundredths(*holding.concurrency)}",
        within_budget=holding.reserved_bytes <= empty.budget_bytes,
        largest_utilization=decimal(Fraction(largest, 1000)) if largest else None,
        starts=holding.starts,
        refusal=holding.refusal,
    )


def _largest(holding: Holding, empty: Proof) -> int:
    """Largest share, in thousandths, at which what is taken is within the budget; 0 where there is none."""
    if holding.utilization is None:
        return 0
    budget, at = empty.budget_bytes, holding.reserved_at
    if at is None:
        shared = holding.shared_bytes or empty.device.capacity_bytes
        return max(0, min((budget - holding.outside_bytes) * 1000 // shared, 1000))
    return _last(999, lambda thousandths: at(Fraction(thousandths, 1000)) <= budget)


def share(proof: Proof, others: Sequence[Proof]) -> Proof:
    """The proof of one deployment on a card that others are on as well; UNKNOWN where one of theirs is."""
    if proof.totals is None or not others:
        return proof
    if any(other.totals is None for other in others):
        why = "it shares its card with a deployment whose own peak is not proved"
        return replace(proof, answer=Answer.UNKNOWN, reason=why, min_fitting_gpus=None)
    totals = [other.totals for other in others if other.totals is not None]
    most, least = sum(each.peak_upper_bytes for each in totals), sum(each.peak_lower_bytes for each in totals)
    row = bound("runtime/other_deployments", "others", {"others": most, "certain": least}, lower="certain")
    ledger = Ledger((*proof.ledger, row))
    answer, reason = _answer(_totals(ledger), proof.budget_bytes)
    return replace(
        proof,
        answer=answer,
        reason=reason,
        ledger=ledger,
        totals=_totals(ledger),
        headroom_bytes=proof.budget_bytes - ledger.upper_bytes(),
        max_fitting_model_len=None,
        min_fitting_gpus=None,
        assumptions=(
            f"the card is shared with {len(others)} other deployments, which are in the ledger",
            *proof.assumptions,
        ),
    )


def _longest(runs: Engine, ask: Ask, dtype: str, card: Tenancy, empty: Proof) -> int:
    """Largest context, up to the plan's limit, whose upper bound is within the budget; 0 if none is.

    The bound does not fall as the context grows, so bisection finds it.
    """

    def anew(tokens: int) -> bool:
        """Whether a context fits whose own batch the engine makes up."""
        try:
            plan = runs.plan(ask._replace(workload=replace(ask.workload, max_model_len=tokens)), dtype)
        except (UnprovenError, FormulaError):
            return tokens < card.plan.tokens  # too short for what the engine is modelled for
        return _fits(replace(card, plan=plan), tokens, empty.budget_bytes)

    limit = card.plan.limit
    holds = anew if ask.workload.engine in _FOLLOWS else lambda tokens: _fits(card, tokens, empty.budget_bytes)
    return limit if holds(limit) else _last(limit, holds)


def _last(high: int, holds: Callable[[int], bool]) -> int:
    """The largest number up to `high` that `holds`, by bisection, where all below it do; 0 if none does."""
    low = 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def _fits(card: Tenancy, tokens: int, budget_bytes: int) -> bool:
    return all(ledger.upper_bytes() <= budget_bytes for ledger in card.ledgers(tokens))


def _fewest(runs: Engine, ask: Ask, dtype: str, card: Tenancy, budget_bytes: int) -> int | None:
    """Smallest number of cards of one node whose layers, each split across all of them, fit; None if none does."""
    if ask.workload.engine in (None, DEFAULT):
        return 1 if (ask.workload.gpus or 1) == 1 and _fits(card, card.plan.tokens, budget_bytes) else None
    for cards in _NODE:
        workload = replace(ask.workload, gpus=cards, tensor_parallel_size=cards, pipeline_parallel_size=1)
        try:
            runs.refuse(ask.network, workload)
            other = runs.plan(ask._replace(workload=workload), dtype)
            if _fits(replace(card, plan=other), card.plan.tokens, budget_bytes):
                return cards
        except (UnprovenError, FormulaError):
            continue
    return None
