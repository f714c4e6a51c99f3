"""A plan as a page and as Markdown: every card in a row, and what fills those that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vramguard.memory.planning import batch
from vramguard.report.cards import fewest, largest, nothing
from vramguard.report.page import TIMES
from vramguard.report.pictures import figures, parts
from vramguard.report.pictures import markdown as md
from vramguard.report.pictures.bar import strip
from vramguard.report.pictures.markup import element, join
from vramguard.report.pictures.page import document
from vramguard.units import gib, percent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.memory import Proof
    from vramguard.memory.curves import Curve
    from vramguard.memory.planning import Row
    from vramguard.planned import Planned
    from vramguard.report.pictures.markup import Child, Markup

_HEADS: Final = (
    "card",
    "capacity, GiB",
    "answer",
    "at most, GiB",
    "context",
    "at once",
    "utilization",
    "cards",
    "quantized",
)


def html(planned: Planned, curves: Sequence[Curve] = ()) -> str:
    """The page of a plan."""
    return document(f"Plan: {figures.named(planned.proven)}", *_sections(planned, curves))


def _sections(planned: Planned, curves: Sequence[Curve]) -> Iterator[Child]:
    proven = planned.proven
    yield parts.heading(proven, "What would fit, card by card")
    for proof in _asked(planned):
        yield parts.answer(proof)
    yield element("h2", "Cards")
    heads = (*_HEADS[:3], "peak and budget", *_HEADS[3:])
    rows = (_row(row, asked=row.asked.device.name in planned.asked) for row in planned.rows)
    yield parts.table(heads, rows, "What fits on each card", numeric=(1, 4, 5, 6, 7, 8))
    yield element("ul", *(element("li", parts.prose(sentence)) for sentence in _legend(planned)), class_="dim")
    for number, proof in enumerate(_asked(planned)):
        if proof.totals is not None:
            yield element("h2", f"What fills {proof.device.name}")
            yield parts.card(proof, proof.totals, f"card-{number}")
    if curves:
        yield element("h2", f"{parts.against(curves)} on {proven.proof.device.name}")
        yield parts.curves(curves, proven.proof, "curve")
    yield from parts.asked(proven.proof)


def _asked(planned: Planned) -> list[Proof]:
    return [row.asked for row in planned.rows if row.asked.device.name in planned.asked]


def _row(row: Row, *, asked: bool) -> Markup:
    proof = row.asked
    name = join(element("strong", proof.device.name), " (asked)") if asked else proof.device.name
    capacity, peak, *others = _figures(row)
    return element(
        "tr",
        element("th", name, scope="row"),
        element("td", capacity, class_="n"),
        element("td", parts.word(proof.answer.value)),
        element("td", strip(proof)),
        *(element("td", cell, class_="n") for cell in (peak, *others)),
        element("td", ", ".join(_quantized(row)), class_="w"),
        class_="now" if asked else None,
    )


def _figures(row: Row) -> tuple[str, ...]:
    """The cells that are numbers, in the order of their heads."""
    proof = row.asked
    share = proof.pool.largest_utilization or "none" if proof.pool else "-"
    return (
        gib(proof.device.capacity_bytes),
        gib(proof.totals.peak_upper_bytes) if proof.totals else "?",
        largest(row.max_model_len),
        largest(row.concurrency),
        share,
        fewest(row.cards),
    )


def _quantized(row: Row) -> list[str]:
    fitting = [one.method for one in row.quantized if one.answer.value == "FITS"]
    return fitting or [nothing(*(one.answer for one in row.quantized))]


def _legend(planned: Planned) -> Iterator[str]:
    yield f"Within {percent(planned.proven.proof.budget_fraction)} of each card, all else as it is asked."
    yield (
        f"context, at once: the largest max_model_len and {batch(planned.workload)} that fit; `+` where the config or "
        "the engine allows no more. utilization: the largest gpu_memory_utilization within the budget, `-` where "
        "nothing is reserved."
    )
    yield f"cards: the fewest of one node that fit it; `4{TIMES}2` is tensor parallel 4, pipeline parallel 2."
    yield "`none`: that nothing fits is proved. `?`: nothing is shown to fit; the JSON has the reason."
    if planned.packed:
        yield "The checkpoint is quantized already; another quantization is another checkpoint."
    elif planned.needs_checkpoint:
        yield f"{', '.join(planned.needs_checkpoint)} need a checkpoint that is packed: plan for its config.json."


def markdown(planned: Planned, curves: Sequence[Curve] = ()) -> str:
    """The plan for a comment; it ends with a newline."""
    return "\n\n".join(block for block in _blocks(planned, curves) if block) + "\n"


def _blocks(planned: Planned, curves: Sequence[Curve]) -> Iterator[str]:
    proven = planned.proven
    yield f"### {'FITS' if planned.fits else 'Does not fit as asked'}: {md.code(figures.named(proven))}"
    for proof in _asked(planned):
        yield f"**{proof.answer.value}** on {md.code(proof.device.name)}: {md.prose(figures.answer(proof))}"
        if proof.totals is not None:
            yield md.fenced(*md.bar(proof, proof.totals))
    yield md.table(_HEADS, (_cells(row, asked=row.asked.device.name in planned.asked) for row in planned.rows))
    yield "\n".join(f"- {md.prose(sentence)}" for sentence in _legend(planned))
    yield md.asked(proven)
    yield from (md.curve(found) for found in curves)
    yield md.assumptions(proven.proof)


def _cells(row: Row, *, asked: bool) -> tuple[str, ...]:
    name = md.code(row.asked.device.name)
    capacity, *numbers = _figures(row)
    quantized = " ".join(md.prose(method) for method in _quantized(row))
    return (f"**{name}**" if asked else name, capacity, row.asked.answer.value, *numbers, quantized)
