"""A proof and a plan as pictures: one HTML page that needs no network, and Markdown for a pull request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vramguard.engine import Proven
    from vramguard.memory.curves import Curve
    from vramguard.planned import Planned


def proof(name: str, proven: Proven, curves: Sequence[Curve]) -> str:
    """The proof as `markdown` or `html`."""
    if name == "markdown":
        from vramguard.report.pictures.markdown import markdown

        return markdown(proven, curves)
    from vramguard.report.pictures.page import html

    return html(proven, curves)


def svg(proven: Proven, curves: Sequence[Curve]) -> str:
    """The pictures of a proof alone, as one file for a page of documentation."""
    from vramguard.report.pictures.page import alone

    return alone(proven, curves)


def plan(name: str, planned: Planned, curves: Sequence[Curve]) -> str:
    """The plan as `markdown` or `html`."""
    from vramguard.report.pictures import cards

    return cards.markdown(planned, curves) if name == "markdown" else cards.html(planned, curves)
