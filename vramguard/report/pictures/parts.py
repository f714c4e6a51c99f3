"""The parts of a page about one proof: the answer, what fills the card, the curves, the ledger, what was asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.report.pictures import figures
from vramguard.report.pictures.bar import bar, key
from vramguard.report.pictures.chart import chart, sayings
from vramguard.report.pictures.figures import CURVES, share
from vramguard.report.pictures.markup import Markup, element, join
from vramguard.units import gib, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from vramguard.engine import Proven
    from vramguard.memory import Pool, Proof, Term, Totals
    from vramguard.memory.curves import Curve

_GLYPHS: Final = {"FITS": "\u2713", "EXCEEDS": "\u2715", "UNKNOWN": "?"}


def word(answer: str) -> Markup:
    """An answer inside a table: its sign and its word, in its colour."""
    return element("span", f"{_GLYPHS[answer]} {answer}", class_=f"word {answer.lower()}")


def heading(proven: Proven, what: str) -> Markup:
    """Which model this is about."""
    proof = proven.proof
    said = [f"{proof.architecture or ''} {f'({proof.model_type})' if proof.model_type else ''}".strip()]
    if proof.parameters:
        active = proof.active_parameters
        some = f", {active:,} of them active" if active and active != proof.parameters else ""
        said.append(f"{proof.parameters:,} parameters{some}")
    said.append(f"method {proof.method}")
    digest = element("p", "config.json, SHA-256 ", code(proven.sha256), class_="dim") if proven.sha256 else None
    return element(
        "header",
        element("p", what, class_="dim"),
        element("h1", figures.named(proven)),
        element("p", code(f"{proven.at.path}"), class_="dim"),
        element("p", "; ".join(part for part in said if part), class_="dim"),
        digest,
    )


def code(content: str) -> Markup:
    """Text that a file or a program holds as it stands."""
    return element("code", content)


def prose(sentence: str) -> Markup:
    """A sentence, in which what stands between backticks is code."""
    pieces = re.split(r"`([^`]+)`", sentence)
    return join(*(code(piece) if place % 2 else piece for place, piece in enumerate(pieces)))


def name_of(content: str) -> Markup:
    """A dotted name that may break after its dots and underscores."""
    pieces = re.findall(r"[^._/]*[._/]|[^._/]+", content)
    return element("code", *(join(element("wbr") if place else None, piece) for place, piece in enumerate(pieces)))


def answer(proof: Proof) -> Markup:
    """The answer first, in one sentence, and the figures that it rests on."""
    totals, kind = proof.totals, proof.answer.value
    pairs = [("budget", proof.budget_bytes), (f"card, {proof.device.name}", proof.device.capacity_bytes)]
    if totals is not None:
        headroom = proof.budget_bytes - totals.peak_upper_bytes
        peak = [("peak, at most", totals.peak_upper_bytes), ("peak, at least", totals.peak_lower_bytes)]
        pairs = [*peak, *pairs, ("headroom", headroom)]
    keys = (element("div", element("dt", name), element("dd", *_size(size))) for name, size in pairs)
    said = figures.answer(proof)
    return element(
        "section",
        element("p", element("strong", f"{_GLYPHS[kind]} {kind}"), prose(f"{said[:1].upper()}{said[1:]}")),
        element("dl", *keys, class_="keys"),
        class_=f"answer {kind.lower()}",
        aria_label="The answer",
    )


def _size(size: int) -> tuple[Markup | str, ...]:
    return f"{gib(size)} GiB", element("small", f"{size:,} bytes")


def card(proof: Proof, totals: Totals, name: str) -> Markup:
    """The bar, and its legend with every value."""
    capacity = proof.device.capacity_bytes
    free = capacity - totals.peak_upper_bytes
    rows = [
        *(
            _bounds(join(key(group.slot), group.label), group.lower_bytes, group.upper_bytes, capacity)
            for group in figures.groups(proof)
        ),
        _bounds("peak", totals.peak_lower_bytes, totals.peak_upper_bytes, capacity, sum_=True),
        _bounds(join(key(None), "free, at least"), None, free, capacity)
        if free >= 0
        else _bounds("over the card", None, -free, capacity),
        _bounds(f"budget, {percent(proof.budget_fraction)}", None, proof.budget_bytes, capacity),
        _bounds("card", None, capacity, capacity),
    ]
    heads = ("group", "at least, GiB", "at most, GiB", "of the card", "at most, bytes")
    return join(
        element("figure", bar(proof, totals, name), class_="stacked"),
        table(heads, rows, "What fills the card, by group, in GiB and bytes", numeric=range(1, 5)),
    )


def _bounds(name: str | Markup, low: int | None, high: int, capacity: int, *, sum_: bool = False) -> Markup:
    cells = ("" if low is None else gib(low), gib(high), share(high, capacity), f"{high:,}")
    figures_ = (element("td", cell, class_="n") for cell in cells)
    return element("tr", element("th", name, scope="row"), *figures_, class_="sum" if sum_ else None)


def table(heads: Sequence[str], rows: Iterable[Markup], label: str, numeric: Iterable[int] = ()) -> Markup:
    """A table that scrolls by itself where the page is narrow."""
    right = frozenset(numeric)
    cells = (
        element("th", head, scope="col", class_="n" if place in right else None) for place, head in enumerate(heads)
    )
    body = element("table", element("thead", element("tr", *cells)), element("tbody", *rows))
    return element("div", body, class_="wide", role="region", aria_label=label, tabindex=0)


def against(found: Sequence[Curve]) -> str:
    """What the curves are over."""
    return f"Peak against {' and '.join(CURVES[curve.field][0] for curve in found)}"


def curves(found: Sequence[Curve], proof: Proof, name: str) -> Markup | None:
    """Every curve with its picture, its sentence and its numbers."""
    if not found:
        return None
    return element("div", *(_curve(curve, proof, f"{name}-{curve.field}") for curve in found), class_="curves")


def _curve(curve: Curve, proof: Proof, name: str) -> Markup:
    shown, unit = CURVES[curve.field]
    rows = (
        element(
            "tr",
            element("th", f"{point.value:,}", scope="row", class_="n"),
            element("td", gib(point.lower_bytes), class_="n"),
            element("td", gib(point.upper_bytes), class_="n"),
            element("td", word(point.answer.value)),
            class_="now" if point.value in (curve.asked, curve.largest.value) else None,
        )
        for point in curve.points
    )
    heads = (unit, "at least, GiB", "at most, GiB", "answer")
    return element(
        "figure",
        element("h3", f"Against {shown}"),
        chart(curve, proof, name),
        element(
            "figcaption",
            "Solid: at most; dashed: at least; shaded: between the two. All else is as asked.",
        ),
        element(
            "details",
            element("summary", f"The {len(curve.points)} values"),
            table(heads, rows, f"Peak against {shown}", numeric=range(3)),
        ),
    )


def ledger(proof: Proof) -> Markup:
    """Every row with its formula and its integers, its bounds, how it is known and by which source."""
    sources = figures.sources(proof)
    heads = ("row", "formula and its integers", "at least, bytes", "at most, bytes", "kind", "source")
    head = element(
        "tr",
        *(
            element("th", name, scope="col", role="columnheader", class_=f"c{place}")
            for place, name in enumerate(heads)
        ),
        role="row",
    )
    body: list[Markup] = []
    for label, rows in figures.ordered(proof):
        body.append(_group(label, rows))
        body.extend(_row(term, sources) for term in rows)
    listed = (element("li", source, id=f"source-{number}") for number, source in enumerate(sources, 1))
    return join(
        element(
            "table",
            element("thead", head, role="rowgroup"),
            element("tbody", *body, role="rowgroup"),
            class_="stack",
            role="table",
            aria_label="The ledger of the worst GPU",
        ),
        join(element("h3", "Sources"), element("ol", *listed, class_="dim")) if sources else None,
    )


def _group(label: str, rows: Sequence[Term]) -> Markup:
    low, high = sum(term.lower_bytes for term in rows), sum(term.upper_bytes for term in rows)
    return element(
        "tr",
        element("th", label, scope="rowgroup", role="rowheader"),
        _cell("", f"{gib(high)} GiB"),
        _cell("at least", f"{low:,}", "n"),
        _cell("at most", f"{high:,}", "n"),
        _cell("", "", "s"),
        _cell("", "", "s"),
        class_="sum",
        role="row",
    )


def _row(term: Term, sources: Sequence[str]) -> Markup:
    number = sources.index(term.source) + 1 if term.source else 0
    mark = element("a", f"[{number}]", href=f"#source-{number}") if number else ""
    lower = figures.lower_formula(term)
    said = [code(figures.formula(term))]
    if lower:
        said.append(join(element("br"), "at least ", code(lower)))
    integers = figures.inputs(term)
    if integers and (lower or term.formula not in term.inputs):
        said.append(element("div", integers, class_="dim"))
    return element(
        "tr",
        element("th", name_of(term.name.partition("/")[2] or term.name), scope="row", role="rowheader"),
        _cell("formula", join(*said)),
        _cell("at least", f"{term.lower_bytes:,}", "n"),
        _cell("at most", f"{term.upper_bytes:,}", "n"),
        _cell("kind", term.kind.value, "s"),
        _cell("source", mark, "s"),
        role="row",
    )


def _cell(label: str, content: str | Markup, class_: str | None = None) -> Markup:
    return element("td", content, class_=class_, data_label=label if label and content else None, role="cell")


def pairs(values: Iterable[tuple[str, str | Markup]], kind: str = "pairs") -> Markup:
    """Names and their values: short ones side by side, or as `rows`."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in values), class_=kind
    )


def pool(found: Pool, proof: Proof) -> Markup:
    """What the engine takes at start, whatever a batch needs."""
    capacity = proof.device.capacity_bytes
    starts = {True: "yes", False: "no", None: "not known"}[found.starts]
    values = [
        ("reserved", f"{figures.both(found.reserved_bytes)}, {share(found.reserved_bytes, capacity)} of the card"),
        ("within the budget", "yes" if found.within_budget else "no"),
        ("of it the cache, at least", figures.both(found.kv_cache_bytes)),
        ("tokens of the cache", f"{found.kv_cache_tokens:,}"),
        ("full-length sequences at once", found.max_concurrency),
        ("largest gpu_memory_utilization within the budget", found.largest_utilization or "none"),
        ("the engine starts", f"{starts}{f': {found.refusal}' if found.refusal else ''}"),
    ]
    return pairs(values, "rows")


def asked(proof: Proof) -> Iterator[Markup]:
    """The workload, the card with where its figures come from, and what is assumed."""
    device = proof.device
    stated = [(name, code(value)) for name, value in figures.workload(proof)]
    if stated:
        yield element("h2", "Workload")
        yield pairs(stated)
    yield element("h2", "Card")
    context = f"{device.context_lower_bytes:,} to {device.context_upper_bytes:,} bytes"
    yield pairs(
        (
            ("name", join(code(device.name), " (assumed: nobody states the card)" if proof.gpu_assumed else None)),
            ("capacity, as CUDA reports it", figures.both(device.capacity_bytes)),
            ("budget", f"{percent(proof.budget_fraction)}: {figures.both(proof.budget_bytes)}"),
            ("source of the capacity", device.source or "not named"),
            ("what a process holds before its first tensor", context),
            ("source of that", device.context_source or "not named"),
        ),
        "rows",
    )
    if proof.assumptions:
        yield element("h2", "It assumes")
        yield element("ul", *(element("li", prose(sentence)) for sentence in proof.assumptions))


def besides(proof: Proof, found: Sequence[Curve]) -> Markup | None:
    """What else there is to say, a sentence each; the curves know what would fit where it is asked for anew."""
    sentences = list(sayings(proof, found))
    return join(*(element("p", prose(sentence)) for sentence in sentences)) if sentences else None
