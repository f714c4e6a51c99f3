"""The smallest changes that would make a demand pass, each an alternative and each proved: one step less does not."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from vramguard.memory import Answer, Depth
from vramguard.memory.engines import DEFAULT, TRAINING, carriers
from vramguard.memory.planning import NODE, SLICE, batch, batched, divided, largest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from vramguard.checks.vram import Question
    from vramguard.memory import Proof, Workload

    Passes = Callable[[Proof], bool]

_SHARE: Final = "gpu_memory_utilization"
_WIDEST: Final = 16  # the largest size of a grid that is proposed where the asked one does not divide the network


class Change(NamedTuple):
    """One field's new value, and what has to follow it. `said` is what the engine calls the field, where it differs."""

    field: str
    old: int | str | None
    new: int | str
    beside: tuple[tuple[str, int, int], ...] = ()
    said: str = ""

    def __str__(self) -> str:
        """As a person would write it down."""
        also = "".join(f" with {name}: {old} -> {new}" for name, old, new in self.beside)
        return f"{self.said or self.field}: {self.old} -> {self.new}{also}"

    @property
    def data(self) -> dict[str, Any]:
        """In JSON's types."""
        also = [{"field": name, "from": old, "to": new} for name, old, new in self.beside]
        return {"field": self.field, "from": self.old, "to": self.new} | ({"with": also} if also else {})


def sentence(changes: tuple[Change, ...]) -> str:
    """Changes in words, without a full stop; empty where there is none."""
    named = " or ".join(f"`{change}`" for change in changes)
    if len(changes) < 2:  # noqa: PLR2004 - one is no choice
        return f"The smallest change that passes is {named}" if changes else ""
    return f"The smallest changes that pass, each by itself: {named}"


def first(changes: tuple[Change, ...]) -> str:
    """The sentence to begin others with; empty where there is no change."""
    return f"{sentence(changes)}. " if changes else ""


def listed(changes: tuple[Change, ...]) -> Mapping[str, Any]:
    """Changes as a part of a finding's data."""
    return {"changes": [change.data for change in changes]}


def fits(proof: Proof) -> bool:
    """Whether the budget is kept, and nothing leans on the host for it."""
    return proof.answer is Answer.FITS and not proof.offload_bytes


def keeps(proof: Proof) -> bool:
    """Whether what the engine takes at start is within the budget."""
    return proof.pool is not None and proof.pool.within_budget


def starts(proof: Proof) -> bool:
    """Whether the engine is shown to start."""
    return proof.pool is not None and proof.pool.starts is True and proof.pool.refusal is None


def to_fit(question: Question, proof: Proof) -> tuple[Change, ...]:
    """What makes a peak stay within the budget; none where `proof` is not what the question's judge says."""
    if proof.totals is None:
        return ()
    asked = question.judge(question.workload, question.card, Depth.ANSWER)
    if asked.answer is not proof.answer or asked.totals != proof.totals:
        return ()
    found = (
        _context(question, proof, fits),
        _spread(question, proof, fits),
        _fewer(question, proof),
        _recomputing(question, proof),
    )
    changes = tuple(change for change in found if change is not None)
    other = None if changes else _card(question, proof)
    return changes if other is None else (other,)


def to_keep(question: Question, proof: Proof, name: str) -> tuple[Change, ...]:
    """What makes a reservation stay within the budget: a smaller share of the card, which the engine calls `name`."""
    pool, asked = proof.pool, proof.workload.gpu_memory_utilization
    if pool is None or asked is None or pool.largest_utilization is None:
        return ()
    guess = int(Fraction(pool.largest_utilization) * 1000)
    found = _edge(lambda share: keeps(_shared(question, share)), guess, -(-Fraction(asked) * 1000 // 1))
    return () if found is None else (Change(_SHARE, asked, _decimal(found), said=name),)


def to_start(question: Question, proof: Proof, name: str) -> tuple[Change, ...]:
    """What makes the cache hold one sequence of the longest context: a shorter one, a larger share, more cards."""
    if proof.pool is None or not _same(question, proof):
        return ()
    found = (_context(question, proof, starts), _share(question, proof, name), _spread(question, proof, starts))
    return tuple(change for change in found if change is not None)


def to_spread(question: Question, proof: Proof) -> tuple[Change, ...]:
    """The nearest sizes of a grid that the engine does take, below and above."""
    if not proof.mismatch:
        return ()
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        size = getattr(question.workload, name) or 1
        ways = (range(size - 1, 0, -1), range(size + 1, max(_WIDEST, 2 * size) + 1))
        found = (next((new for new in way if _divides(question, name, new)), None) for way in ways)
        changes = tuple(_sized(question, name, size, new) for new in found if new is not None)
        if changes:
            return changes
    return ()


def to_count(question: Question, gpus: int, used: int) -> tuple[Change, ...]:
    """What makes a grid as large as the cards that are asked for: as many cards, or a tensor parallelism."""
    found = [Change("gpus", gpus, used)]
    size = question.workload.tensor_parallel_size or 1
    new, rest = divmod(gpus * size, used)
    if not rest and new != size and _divides(question, "tensor_parallel_size", new):
        found.append(Change("tensor_parallel_size", size, new))
    return tuple(found)


def _same(question: Question, proof: Proof) -> bool:
    """Whether the question's judge says of the pool what `proof` says."""
    return question.judge(question.workload, question.card, Depth.POOL).pool == proof.pool


def _depth(passes: Passes) -> Depth:
    return Depth.ANSWER if passes is fits else Depth.POOL


def _context(question: Question, proof: Proof, passes: Passes) -> Change | None:
    tokens = proof.workload.max_model_len

    def at(context: int) -> Proof:
        return question.judge(replace(question.workload, max_model_len=context), question.card, _depth(passes))

    if tokens is None or passes(at(tokens)):
        return None
    if passes is fits:
        new = largest(at, tokens, "", passes).value
    else:
        guess = min(proof.pool.kv_cache_tokens if proof.pool else 0, tokens - 1)
        new = _edge(lambda context: passes(at(context)), guess, tokens)
    return None if new is None else Change("max_model_len", tokens, new)


def _edge(holds: Callable[[int], bool], guess: int, high: int) -> int | None:
    """The largest number below `high`, which does not hold, that does; None where 1 does not. First asks `guess`."""
    low = 1
    if not holds(low):
        return None
    for number in (guess, guess + 1):
        if low < number < high:
            low, high = (number, high) if holds(number) else (low, number)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _fewer(question: Question, proof: Proof) -> Change | None:
    """Fewer sequences at once."""
    sequences = proof.workload.concurrency or 1
    if sequences == 1:
        return None

    def at(number: int) -> Proof:
        return question.judge(batched(question.workload, number), question.card, Depth.ANSWER)

    new = largest(at, sequences, "", fits).value
    return None if new is None else Change(batch(question.workload), sequences, new)


def _recomputing(question: Question, proof: Proof) -> Change | None:
    """Of a training: layers are computed anew in the backward pass, and their activations not kept."""
    if question.workload.mode != TRAINING or proof.workload.gradient_checkpointing:
        return None
    asked = replace(question.workload, gradient_checkpointing=True)
    passes = fits(question.judge(asked, question.card, Depth.ANSWER))
    return Change("gradient_checkpointing", False, True) if passes else None


def _spread(question: Question, proof: Proof, passes: Passes) -> Change | None:
    """The smallest larger tensor parallelism in one node, or more cards of a training that divides its states; none for
    what runs on one card.
    """
    if divided(question.workload):
        return _ranks(question, proof)
    if carriers.inside(question.workload) in (DEFAULT, "llama.cpp") or SLICE in question.card.name:
        return None
    size = proof.workload.tensor_parallel_size or 1
    for new in range(size + 1, NODE + 1):
        asked = _grid(question.workload, "tensor_parallel_size", new)
        if (asked.gpus or 1) > NODE:
            return None
        if passes(question.judge(asked, question.card, _depth(passes))):
            return _sized(question, "tensor_parallel_size", size, new)
    return None


def _ranks(question: Question, proof: Proof) -> Change | None:
    """More cards of one node, among which a training is divided."""
    size = proof.workload.gpus or 1
    if SLICE in question.card.name:
        return None
    for new in range(size + 1, NODE + 1):
        if fits(question.judge(replace(question.workload, gpus=new), question.card, Depth.ANSWER)):
            return Change("gpus", size, new)
    return None


def _grid(workload: Workload, name: str, size: int) -> Workload:
    """The workload with another size of its grid, on as many cards."""
    grid: Workload = replace(workload, **{name: size})  # type: ignore[arg-type]
    tensor, stages = grid.tensor_parallel_size or 1, grid.pipeline_parallel_size or 1
    return replace(grid, gpus=tensor * stages * (grid.data_parallel_size or 1))


def _divides(question: Question, name: str, size: int) -> bool:
    found = question.judge(_grid(question.workload, name, size), question.card, Depth.ANSWER)
    return found.mismatch is None and found.totals is not None


def _sized(question: Question, name: str, old: int, new: int) -> Change:
    gpus, needed = question.workload.gpus, _grid(question.workload, name, new).gpus or 1
    beside = (("gpus", gpus, needed),) if gpus is not None and gpus != needed else ()
    return Change(name, old, new, beside)


def _card(question: Question, proof: Proof) -> Change | None:
    """The smallest card of the catalogue on which it fits, as many of them as are asked for."""
    for card in question.larger():
        if SLICE not in card.name and fits(question.judge(question.on(card), card, Depth.ANSWER)):
            return Change("gpu", proof.device.name, card.name)
    return None


def _shared(question: Question, thousandths: int) -> Proof:
    asked = replace(question.workload, gpu_memory_utilization=_decimal(thousandths))
    return question.judge(asked, question.card, Depth.POOL)


def _decimal(thousandths: int) -> str:
    return f"{thousandths / 1000:g}"


def _share(question: Question, proof: Proof, name: str) -> Change | None:
    """The smallest larger share of the card with which the engine starts, where that is within the budget."""
    asked, most = proof.workload.gpu_memory_utilization, proof.pool.largest_utilization if proof.pool else None
    if asked is None or most is None:
        return None
    low, high = int(Fraction(asked) * 1000), int(Fraction(most) * 1000)
    if high <= low or not (starts(found := _shared(question, high)) and keeps(found)):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if starts(_shared(question, middle)) else (middle, high)
    return Change(_SHARE, asked, _decimal(high), said=name)
