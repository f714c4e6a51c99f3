"""Elements of HTML and SVG, escaped by construction: a plain text is never markup."""

from __future__ import annotations

import html
from typing import Final

from vramguard.report.escape import visible

_EMPTY: Final = frozenset(("meta", "rect", "line", "path", "circle", "polyline", "polygon", "br", "wbr"))


class Markup(str):
    """Text that is markup already, made by `element` or by a constant of ours."""

    __slots__ = ()


Child = str | Markup | None


def text(content: str) -> Markup:
    """A text of any origin, as it stands between tags or in an attribute; what cannot be seen is spelt out."""
    return Markup(html.escape(visible(content), quote=True))


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    return Markup("".join(child if isinstance(child, Markup) else text(child) for child in children if child))


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """One element. `aria_label` is written aria-label, `class_` class; an attribute that is None is left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY and not children:
        return Markup(f"<{name}{said}/>")
    return Markup(f"<{name}{said}>{join(*children)}</{name}>")


def _value(value: str | float) -> str:
    """Numbers of a picture to a hundredth, without idle zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
