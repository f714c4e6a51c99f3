"""A plan on a console: one line for each card, what the columns mean, and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.engines import TRAINING
from vramguard.memory.planning import batch
from vramguard.report.ledger import verdict
from vramguard.report.page import TIMES, Page
from vramguard.units import percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console

    from vramguard.memory import Answer
    from vramguard.memory.planning import Cards, Largest, Row
    from vramguard.planned import Planned
    from vramguard.report.page import Part

_STYLES: Final = {"FITS": "green", "EXCEEDS": "red", "UNKNOWN": "yellow"}
_COLUMNS: Final = (  # head, width; the last takes what is left
    ("  card", 27),
    ("GiB", 6),
    ("as it is", 9),
    ("context", 9),
    ("at once", 8),
    ("share", 6),
    ("cards", 6),
)
_WIDE: Final = 100  # columns from which quantizations stand by their names


def print_cards(planned: Planned, console: Console) -> None:
    """The whole plan."""
    out = Page(console)
    _heading(out, planned)
    out.blank()
    heads = "".join(_cell(head, width, left=not place) for place, (head, width) in enumerate(_COLUMNS))
    quantized = next((row.quantized for row in planned.rows if row.quantized), ())
    names = [one.method for one in quantized]
    labels = {name: name if out.width >= _WIDE else str(place) for place, name in enumerate(names, 1)}
    out.line((f"{heads}  {'packed' if quantized else ''}", "bold"))
    for row in planned.rows:
        _row(out, row, labels, asked=row.asked.device.name in planned.asked)
    out.blank()
    for sentence in _legend(planned, labels):
        out.write((sentence, "dim"))
    out.blank()
    for row in planned.rows:
        if row.asked.device.name in planned.asked:
            out.write((row.asked.answer.value, _STYLES[row.asked.answer.value]), f": {verdict(row.asked)}")


def _heading(out: Page, planned: Planned) -> None:
    proven, work = planned.proven, planned.workload
    proof = proven.proof
    sequences = (proof.workload if work.mode == TRAINING else work).concurrency or 1
    name = proven.model or proof.architecture or proof.model_type or "model"
    out.line((name, "bold"), "  ", proven.at.path)
    tokens = proof.workload.max_model_len
    said = (
        f"{work.engine or 'transformers'} {work.engine_version or ''}".strip(),
        f"{tokens:,} tokens {TIMES} {sequences}" if tokens else "",
        f"{work.gpus} GPUs" if (work.gpus or 1) > 1 else "",
        f"{work.quantization}" if work.quantization else "",
        f"within {percent(proof.budget_fraction)} of each card",
    )
    out.write(", ".join(word for word in said if word), indent=2)


def _row(out: Page, row: Row, labels: Mapping[str, str], *, asked: bool) -> None:
    proof, answer = row.asked, row.asked.answer.value
    share = proof.pool.largest_utilization if proof.pool else None
    cells: list[Part] = [
        (_cell(f"{'>' if asked else ' '} {proof.device.name}", _COLUMNS[0][1], left=True), "bold" if asked else ""),
        _cell(f"{proof.device.capacity_bytes / 2**30:.1f}", _COLUMNS[1][1]),
        (_cell(_WORDS[answer], _COLUMNS[2][1]), _STYLES[answer]),
        _cell(largest(row.max_model_len), _COLUMNS[3][1]),
        _cell(largest(row.concurrency), _COLUMNS[4][1]),
        _cell(share or ("-" if proof.pool is None else "none"), _COLUMNS[5][1]),
        _cell(fewest(row.cards), _COLUMNS[6][1]),
    ]
    width = sum(width for _, width in _COLUMNS)
    out.write(*cells, f"  {_quantized(row, labels)}", hang=width + 2)


def _quantized(row: Row, labels: Mapping[str, str]) -> str:
    fitting = [labels[one.method] for one in row.quantized if one.answer.value == "FITS"]
    if not fitting:
        return nothing(*(one.answer for one in row.quantized))
    return "all" if len(fitting) == len(row.quantized) else " ".join(fitting)


_WORDS: Final = {"FITS": "fits", "EXCEEDS": "exceeds", "UNKNOWN": "unknown"}


def _cell(text: str, width: int, *, left: bool = False) -> str:
    return f"{text:<{width}}" if left else f"{text:>{width}}"


def largest(found: Largest) -> str:
    """The largest value that fits, with a + where something but the budget stops it."""
    if found.value is None:
        return nothing(found.answer)
    return f"{found.value:,}{'' if found.limit == 'budget' else '+'}"


def nothing(*answers: Answer | None) -> str:
    """`none` is proved; without a proof it is not known."""
    if not answers:
        return ""
    return "none" if all(answer is not None and answer.value == "EXCEEDS" for answer in answers) else "?"


def fewest(found: Cards) -> str:
    """The fewest cards, as a grid where they are a pipeline."""
    if found.gpus is None:
        return nothing(found.answer)
    if found.pipeline_parallel_size == 1:
        return f"{found.gpus}"
    return f"{found.tensor_parallel_size}{TIMES}{found.pipeline_parallel_size}"


def _legend(planned: Planned, labels: Mapping[str, str]) -> Iterator[str]:
    """What the columns say, and what they do not."""
    yield (
        f"context, at once: the largest max_model_len and {batch(planned.workload)} that fit, each with all else as it "
        "is; one more is not shown to fit, but for a +, where the config or the engine allows no more."
    )
    yield "none: that nothing fits is proved. ?: nothing is shown to fit; the JSON has the reason."
    yield "share: the largest gpu_memory_utilization within the budget; - where the engine reserves nothing."
    yield f"cards: the fewest of one node that fit it; 4{TIMES}2 is tensor_parallel_size 4, pipeline_parallel_size 2."
    if labels:
        named = ", ".join(name if name == label else f"{label} {name}" for name, label in labels.items())
        yield f"packed: which of {named} fits with all else as it is, made while the checkpoint is loaded."
    if planned.packed:
        yield "The checkpoint is quantized already; another quantization is another checkpoint."
    elif planned.needs_checkpoint:
        yield f"{', '.join(planned.needs_checkpoint)} need a checkpoint that is packed: plan for its config.json."
