"""A proof on a console: every term with its formula, what fills the card, the answer, and what it assumes."""

from __future__ import annotations

from fractions import Fraction
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from vramguard.memory.expression import names
from vramguard.report.page import TIMES, Page
from vramguard.units import gib, margin, percent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from vramguard.engine import Proven
    from vramguard.memory import Proof, Term, Totals
    from vramguard.report.page import Part

_STYLES: Final = {"FITS": "bold green", "EXCEEDS": "bold red", "UNKNOWN": "bold yellow"}
_BYTES: Final = 18  # columns of a number of bytes, below 1 TB with its commas
_GIB: Final = 9
_NAMED: Final = 40  # columns below which the ledger's columns have no heads
_NARROW: Final = 60  # columns below which the totals show GiB only


class _Part(NamedTuple):
    """One part of what fills the card, in the order of the bar."""

    name: str
    bytes: int
    fill: str
    style: str


def print_ledger(proven: Proven, console: Console) -> None:
    """The whole proof."""
    out, proof = Page(console), proven.proof
    _heading(out, proven)
    if proof.totals:
        _terms(out, tuple(proof.ledger))
        _totals(out, proof.totals, proof)
        _bar(out, proof, proof.totals)
    _answer(out, proof)
    _beside(out, proof)
    if proof.assumptions:
        out.blank()
        out.write(("It assumes", "bold"))
        for sentence in proof.assumptions:
            out.write("- ", sentence, indent=2, hang=4)


def _heading(out: Page, proven: Proven) -> None:
    proof, work = proven.proof, proven.proof.workload
    name = proven.model or proof.architecture or proof.model_type or "model"
    out.line((name, "bold"), "  ", proven.at.path)
    said = [
        f"{work.engine} {work.engine_version or ''}".strip() if work.engine else "",
        f"{work.gpus or 1} {TIMES} {proof.device.name}{' (assumed)' if proof.gpu_assumed else ''}",
        f"{_count(work.max_model_len)} tokens {TIMES} {_count(work.concurrency or 1)}" if work.max_model_len else "",
        work.dtype or "",
        f"attention {work.attn_implementation}" if work.attn_implementation else "",
        f"{_count(proof.parameters)} parameters" if proof.parameters else "",
        f"method {proof.method}",
    ]
    out.write(", ".join(word for word in said if word), indent=2)


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _terms(out: Page, terms: tuple[Term, ...]) -> None:
    """Each term with its bytes, and under it the formula and the integers that give them; sources as footnotes."""
    sources = list(dict.fromkeys(term.source for term in terms if term.source))
    out.blank()
    title = "Ledger of the worst GPU"
    columns = f"{'bytes':>{max(out.width - len(title) - _GIB, 6)}}{'GiB':>{_GIB}}" if out.width >= _NAMED else ""
    out.line((title, "bold"), (columns, "dim"))
    for group, members in groupby(terms, key=lambda term: term.group):
        rows = list(members)
        _row(out, group, sum(term.upper_bytes for term in rows), indent=0)
        for term in rows:
            _row(out, term.name.removeprefix(f"{group}/"), term.upper_bytes, indent=2)
            _formula(out, term, f"[{sources.index(term.source) + 1}]" if term.source else "")
    out.blank()
    for number, source in enumerate(sources, 1):
        out.write((f"[{number}] {source}", "dim"), indent=2, hang=6)


def _row(out: Page, name: str, size: int, indent: int) -> None:
    """A name at the left and its bytes at the right, on two lines where they do not fit on one."""
    style = "" if indent else "bold"
    figures = f"{size:>{_BYTES},}{gib(size):>{_GIB}}"
    room = out.width - indent - len(figures)
    if len(name) < room:
        out.line((f"{name:<{room}}{figures}", style), indent=indent)
    else:
        out.line((name, style), indent=indent)
        out.line((f"{'':<{room}}{figures}", style), indent=indent)


def _formula(out: Page, term: Term, mark: str) -> None:
    """How a term is known, what it is computed from, and its lower bound where that differs."""
    inputs = ", ".join(f"{name}={value:,}" for name, value in term.inputs.items() if name in names(term.formula))
    said = f"; {inputs}" if inputs and term.formula not in term.inputs else ""
    formula = f"{term.upper_bytes:,}" if term.formula in term.inputs else term.formula
    kind = "exact" if term.kind.value == "exact" else f"{term.kind.value}, at most"
    out.write((f"{kind}: ", "dim"), (formula, "cyan"), (f"{said} {mark}", "dim"), indent=4, hang=6)
    if term.lower_bytes != term.upper_bytes:
        plain = term.lower_formula in (None, str(term.lower_bytes)) or term.lower_formula in term.inputs
        lower = "" if plain else f" = {term.lower_formula}"
        out.write((f"at least {term.lower_bytes:,}{lower}", "dim"), indent=4, hang=6)


def _parts(totals: Totals, capacity: int) -> list[_Part]:
    parts = [
        _Part("weights", totals.weights_bytes, "█", "blue"),
        _Part("KV cache", totals.kv_cache_bytes, "▓", "magenta"),
        *([_Part("gradients", totals.gradient_bytes, "▓", "green")] if totals.gradient_bytes else []),
        *([_Part("optimizer", totals.optimizer_bytes, "▓", "red")] if totals.optimizer_bytes else []),
        _Part("activations", totals.activation_bytes, "▒", "yellow"),
        _Part("runtime", totals.runtime_bytes, "░", "cyan"),
    ]
    return [*parts, _Part("free", max(0, capacity - totals.peak_upper_bytes), "·", "dim")]


def _totals(out: Page, totals: Totals, proof: Proof) -> None:
    capacity = proof.device.capacity_bytes
    rows = [
        *_parts(totals, capacity)[:-1],
        _Part("peak, at most", totals.peak_upper_bytes, " ", "bold"),
        _Part("peak, at least", totals.peak_lower_bytes, " ", "bold"),
        _Part("budget", proof.budget_bytes, " ", ""),
        _Part("card", capacity, " ", ""),
    ]
    out.blank()
    out.write(("Totals", "bold"))
    for row in rows:
        exact = f"{row.bytes:>{_BYTES},}" if out.width >= _NARROW else ""
        share = f"{_share(row.bytes, capacity):>7}"
        out.line((row.fill, row.style), f" {row.name:<15}{exact}{gib(row.bytes):>{_GIB}} GiB", (share, "dim"), indent=2)


def _share(size: int, capacity: int) -> str:
    """Per cent of the card, to the nearest whole one."""
    return f"{(200 * size + capacity) // (2 * capacity)} %" if capacity else ""


def _bar(out: Page, proof: Proof, totals: Totals) -> None:
    """What fills the card, to scale, with the budget marked under it, and the card's end where the peak passes it."""
    capacity = proof.device.capacity_bytes
    width, scale = min(out.width - 4, 100), max(capacity, totals.peak_upper_bytes)
    out.blank()
    out.line(*_cells(_parts(totals, capacity), width, scale), indent=2)
    budget = f"budget {percent(proof.budget_fraction)}"
    marks = [(proof.budget_bytes * width // scale, budget)]
    if scale > capacity:
        marks.append((capacity * width // scale, f"the card ends: {gib(capacity)} GiB"))
    for position, label in marks:
        column = min(position, width - 1)
        left = column >= len(label) + 1
        text = f"{label} ▲".rjust(column + 1) if left else f"{' ' * column}▲ {label}"
        out.line((text, "bold"), indent=2)


def _cells(parts: list[_Part], width: int, scale: int) -> Iterator[Part]:
    """The bar's cells, rounded at their edges, so that they always add up to the whole."""
    edge = done = 0
    for part in parts:
        edge += part.bytes
        cells = edge * width // scale - done
        done += cells
        yield part.fill * cells, part.style
    yield parts[-1].fill * (width - done), parts[-1].style


def _answer(out: Page, proof: Proof) -> None:
    out.blank()
    out.write((proof.answer.value, _STYLES[proof.answer.value]), f": {verdict(proof)}")


def verdict(proof: Proof) -> str:
    """The answer in one sentence, with its margin."""
    totals = proof.totals
    budget = (
        f"the budget of {gib(proof.budget_bytes)} GiB "
        f"({percent(proof.budget_fraction)} of the {gib(proof.device.capacity_bytes)} GiB "
        f"of one {proof.device.name})"
    )
    if totals is None:
        return f"{proof.reason or 'the peak is not known'}. No proof, no merge."
    low, high = totals.peak_lower_bytes, totals.peak_upper_bytes
    if proof.answer.value == "FITS":
        return f"the peak is at most {gib(high)} GiB, {margin(proof.budget_bytes - high)} within {budget}."
    if proof.answer.value == "EXCEEDS":
        return f"the peak is at least {gib(low)} GiB, {margin(low - proof.budget_bytes)} above {budget}."
    if low <= proof.budget_bytes < high:
        return f"the peak lies between {gib(low)} and {gib(high)} GiB, and {budget} between them. No proof, no merge."
    return f"{proof.reason or 'the peak is not known'}. No proof, no merge."


def _beside(out: Page, proof: Proof) -> None:
    for sentence in (*longest(proof), *beside(proof)):
        out.write(sentence)


def longest(proof: Proof) -> Iterator[str]:
    """What context fits: a sentence, where it is known."""
    if proof.max_fitting_model_len:
        asked = proof.workload.max_model_len or 0
        more = f", of {asked:,} asked" if asked > proof.max_fitting_model_len else ""
        yield f"The largest context that fits: {proof.max_fitting_model_len:,} tokens{more}."
    elif proof.max_fitting_model_len == 0:
        yield "No context fits: the weights and the runtime leave no room for one."


def beside(proof: Proof) -> Iterator[str]:
    """How few cards fit, what would spill, what an engine reserves: a sentence each."""
    if proof.min_fitting_gpus and proof.min_fitting_gpus > 1:
        yield f"The fewest GPUs that fit it: {proof.min_fitting_gpus}, by tensor parallelism."
    if proof.spill_bytes and proof.workload.device_map:
        yield (
            f'device_map="{proof.workload.device_map}" would place {gib(proof.spill_bytes)} GiB of weights '
            "on the CPU or on disk, without failing."
        )
    if proof.pool:
        share = Fraction(proof.pool.reserved_bytes, max(proof.device.capacity_bytes, 1))
        yield (
            f"The engine reserves {gib(proof.pool.reserved_bytes)} GiB ({int(share * 100)} % of the card), "
            f"{'within' if proof.pool.within_budget else 'over'} the budget: a cache of "
            f"{proof.pool.kv_cache_tokens:,} tokens, {proof.pool.max_concurrency} full-length sequences."
        )
