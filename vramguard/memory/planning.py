"""A proof turned round: what would fit, where an asked workload does not, or by how much it does.

Every answer is asked of the prover: a largest value fits and the next one does not, a smallest number of cards fits and
no smaller one does. The peak does not fall as context and concurrency grow, so what the search brackets is the edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.engines import DEFAULT, TRAINING, carriers
from vramguard.memory.proof import Depth
from vramguard.memory.runtime import Device
from vramguard.memory.verdict import Answer, Proof, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

Judge = Callable[[Workload, Device, Depth], Proof]

NODE: Final = 8  # cards of one node
# Part of the name of a slice of a card. Slices do not speak to each other: no P2P, no IPC between them, and CUDA lists
# one of them to a process (NVIDIA, Multi-Instance GPU User Guide, application considerations).
SLICE: Final = "-mig-"
_SEARCHED: Final = 1 << 16  # sequences at once, beyond which nobody asks
_TOKENS: Final = 1 << 22  # likewise of a context, where the config names none
# Quantizers that pack an unpacked checkpoint while an engine loads it; llama-quantize makes a file of each type.
_LOADED: Final = {
    "transformers": ("fp8", "bnb-int8", "bnb-nf4", "torchao-int8"),
    "vllm": ("fp8", "torchao-int8", "torchao-int4"),
    "sglang": ("fp8",),
    "llama.cpp": ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"),
}
# Formats that somebody has to pack first: the shapes in their files are no function of the config alone.
_PACKED: Final = ("awq", "gptq", "compressed-tensors", "modelopt")
_SERVED_PACKED: Final = ("transformers", "vllm", "sglang", "tgi", "tensorrt-llm")


class Largest(NamedTuple):
    """The largest value that fits. `limit` says what stops it: budget, else the name of what allows no more.

    `value` is None where not even the least is shown to fit: `answer` and `reason` are then those of the least, else
    of the next value, which does not fit.
    """

    value: int | None
    limit: str
    answer: Answer | None = None
    reason: str | None = None


class Cards(NamedTuple):
    """The fewest cards that fit it, as a grid; `gpus` is None where no grid of one node is shown to.

    `answer` and `reason` are then those of a grid that may fit, else of the largest that the engine takes.
    """

    gpus: int | None
    tensor_parallel_size: int | None = None
    pipeline_parallel_size: int | None = None
    answer: Answer | None = None
    reason: str | None = None


class Quantized(NamedTuple):
    """What the prover says of a quantization."""

    method: str
    answer: Answer
    reason: str | None


@dataclass(frozen=True, slots=True)
class Row:
    """What fits on one kind of card. `asked` is the workload as it stands."""

    asked: Proof
    max_model_len: Largest
    concurrency: Largest
    cards: Cards
    quantized: tuple[Quantized, ...]


def fits(proof: Proof) -> bool:
    """Whether it is shown to."""
    return proof.answer is Answer.FITS


def row(judge: Judge, workload: Workload, device: Device, context: int, *, packed: bool = False) -> Row:
    """Ask for everything on one kind of card. `context` is the config's own, 0 where it names none.

    `packed`: the config's checkpoint is quantized already, so that no other quantizer takes it.
    """
    asked = judge(workload, device, Depth.POOL)
    if asked.parameters is None:  # the network itself is not known: nothing is proved, whatever its size
        nothing = Largest(None, "unproven", asked.answer, asked.reason)
        return Row(asked, nothing, nothing, Cards(None, answer=asked.answer, reason=asked.reason), ())
    return Row(
        asked,
        longest(judge, workload, device, context),
        most(judge, workload, device, asked),
        fewest(judge, workload, device),
        _quantized(judge, workload, device, packed),
    )


def longest(judge: Judge, workload: Workload, device: Device, context: int) -> Largest:
    """The largest max_model_len, in tokens, up to the config's own context."""

    def at(tokens: int) -> Proof:
        return judge(replace(workload, max_model_len=tokens), device, Depth.ANSWER)

    return largest(at, context or _TOKENS, "config" if context else "search")


def batch(workload: Workload) -> str:
    """The field that says how many sequences there are at once: of a training, in a micro-batch of one card."""
    return "per_device_train_batch_size" if workload.mode == TRAINING else "concurrency"


def batched(workload: Workload, sequences: int) -> Workload:
    """The workload with so many sequences at once."""
    asking: Workload = replace(workload, **{batch(workload): sequences})  # type: ignore[arg-type]
    return asking


def divided(workload: Workload) -> bool:
    """Whether it is a training whose cards share weights, gradients or states, so that more of them need less each."""
    return workload.mode == TRAINING and bool(workload.zero_stage or workload.fsdp)


def most(judge: Judge, workload: Workload, device: Device, asked: Proof) -> Largest:
    """The largest number of full-length sequences at once, up to as many as the engine runs."""

    def at(sequences: int) -> Proof:
        return judge(batched(workload, sequences), device, Depth.ANSWER)

    engine, runs = asked.workload.engine, asked.workload.max_num_seqs
    if runs is None or engine in (None, DEFAULT) or runs < (workload.concurrency or 1):
        return largest(at, _SEARCHED, "search")
    return largest(at, runs, "max_num_seqs")


def largest(
    at: Callable[[int], Proof], high: int, limit: str, passes: Callable[[Proof], bool] = fits, low: int = 1
) -> Largest:
    """The largest number from `low` to `high` whose proof passes: the next one's does not, unless it is `high`.

    The least is where the engine begins to be modelled. Two ends, of which one passes and the other does not, close in
    on the edge: by the line between their peaks, and by halves in turn.
    """
    above = at(high)
    if passes(above):
        return Largest(high, limit)
    below = at(low)
    while below.totals is None and 2 * low < high:  # too little for the engine to start with, as it is modelled
        low, below = 2 * low, at(2 * low)
    if high <= low or not passes(below):
        return Largest(None, "budget", below.answer, below.reason)
    step = 0
    while high - low > 1:
        middle = (low + high) // 2 if step % 3 == 2 else _crossing(low, below, high, above)  # noqa: PLR2004 - every third
        found, step = at(middle), step + 1
        if passes(found):
            low, below = middle, found
        else:
            high, above = middle, found
    return Largest(low, "budget", above.answer, above.reason)


def _crossing(low: int, below: Proof, high: int, above: Proof) -> int:
    """Where the line between two peaks meets the budget, strictly between the two; the middle where it does not."""
    middle = (low + high) // 2
    if below.totals is None or above.totals is None:
        return middle
    start, rise = below.totals.peak_upper_bytes, above.totals.peak_upper_bytes - below.totals.peak_upper_bytes
    if rise <= 0:
        return middle
    found = low + (below.budget_bytes - start) * (high - low) // rise
    return max(low + 1, min(found, high - 1))


def fewest(judge: Judge, workload: Workload, device: Device) -> Cards:
    """The fewest cards of one node that fit it: the tensor parallelism that is largest first, then pipelines."""
    taken = refused = None
    for asked in spreads(workload, 1 if SLICE in device.name else NODE):
        found = judge(asked, device, Depth.ANSWER)
        if fits(found):
            tensor, stages = asked.tensor_parallel_size or 1, asked.pipeline_parallel_size or 1
            return Cards(asked.gpus, tensor, stages, Answer.FITS)
        if found.mismatch:
            refused = found
        elif taken is None or taken.answer is Answer.EXCEEDS:
            taken = found
    last = taken or refused
    return Cards(None, answer=last.answer if last else None, reason=last.reason if last else None)


def spreads(workload: Workload, node: int) -> Iterator[Workload]:
    """The workload on every grid of one node that its engine could be asked for, by the number of cards."""
    if carriers.inside(workload) == DEFAULT:
        spread = divided(workload) if workload.mode == TRAINING else workload.device_map
        counts = range(1, node + 1) if spread else (1,)
        yield from (replace(workload, gpus=count) for count in counts)
        return
    replicas = workload.data_parallel_size or 1
    for count in range(1, node // replicas + 1):
        for tensor in range(count, 0, -1):
            if count % tensor == 0:
                yield replace(
                    workload,
                    gpus=count * replicas,
                    tensor_parallel_size=tensor,
                    pipeline_parallel_size=count // tensor,
                )


def _quantized(judge: Judge, workload: Workload, device: Device, packed: bool) -> tuple[Quantized, ...]:  # noqa: FBT001
    """Each quantization that the engine makes of an unpacked checkpoint while it loads it."""
    if packed:
        return ()
    found = ((name, judge(replace(workload, quantization=name), device, Depth.ANSWER)) for name in methods(workload))
    return tuple(Quantized(name, proof.answer, proof.reason) for name, proof in found)


def methods(workload: Workload) -> tuple[str, ...]:
    """Quantizations that need no checkpoint that is packed already, but the one that is asked for."""
    asked = (workload.quantization or "").lower()
    return tuple(name for name in _LOADED.get(carriers.inside(workload), ()) if name.lower() != asked)


def needs_checkpoint(workload: Workload) -> tuple[str, ...]:
    """Formats that the engine loads, of which nothing can be said before somebody has packed the checkpoint."""
    served = workload.mode != TRAINING and carriers.inside(workload) in _SERVED_PACKED
    return _PACKED if served else ()
