"""A proof as one HTML file: everything inline, nothing fetched, no script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vramguard import __version__
from vramguard.report.pictures import figures, parts
from vramguard.report.pictures.bar import bar
from vramguard.report.pictures.chart import chart
from vramguard.report.pictures.markup import Markup, element, join
from vramguard.report.pictures.style import POLICY, SHEET

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vramguard.engine import Proven
    from vramguard.memory.curves import Curve
    from vramguard.report.pictures.markup import Child


def html(proven: Proven, curves: Sequence[Curve] = ()) -> str:
    """The page of one proof."""
    title = f"{proven.proof.answer.value}: {figures.named(proven)} on {proven.proof.device.name}"
    return document(title, *_sections(proven, curves))


def document(title: str, *content: Child) -> str:
    """A whole file around its sections."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width,initial-scale=1"),
        element("meta", name="generator", content=f"vramguard {__version__}"),
        element("title", title),
        element("style", Markup(SHEET)),
    )
    foot = element("footer", element("p", f"Written by vramguard {__version__}.", class_="dim"))
    return f"<!doctype html>\n{element('html', head, element('body', element('main', *content, foot)), lang='en')}\n"


_WIDTH, _BAR, _CHART = 880, 124, 320  # pixels of a picture that stands alone; two charts are side by side under the bar


def alone(proven: Proven, curves: Sequence[Curve]) -> str:
    """The bar, and under it the curves, as one SVG."""
    proof = proven.proof
    if proof.totals is None:
        raise ValueError(proof.reason)
    charts = [chart(found, proof, f"curve-{found.field}") for found in curves[:2]]
    places = [
        element("svg", bar(proof, proof.totals, "card"), x=16, y=16, width=_WIDTH - 32, height=_BAR),
        *(
            element("svg", picture, x=place * _WIDTH // 2, y=_BAR + 32, width=_WIDTH // 2, height=_CHART)
            for place, picture in enumerate(charts)
        ),
    ]
    height = _BAR + 32 + (_CHART + 16 if charts else 0)
    picture = element(
        "svg",
        element("style", Markup(SHEET)),
        element("rect", width="100%", height="100%", fill="var(--bg)"),
        *places,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_WIDTH} {height}",
        font_family="system-ui, sans-serif",
    )
    return f"{picture}\n"


def _sections(proven: Proven, curves: Sequence[Curve]) -> Iterator[Child]:
    proof = proven.proof
    yield parts.heading(proven, "Proof of peak VRAM")
    yield parts.answer(proof)
    yield parts.besides(proof, curves)
    if proof.totals is not None:
        yield element("h2", "What fills the card")
        yield parts.card(proof, proof.totals, "card")
    if curves:
        yield element("h2", parts.against(curves))
        yield parts.curves(curves, proof, "curve")
    if proof.pool is not None:
        yield join(element("h2", "What the engine reserves"), parts.pool(proof.pool, proof))
    if proof.totals is not None:
        yield join(element("h2", "Ledger of the worst GPU"), parts.ledger(proof))
    yield from parts.asked(proof)
