"""Dashboards and lists of counters: files of their own, or texts that an object holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from vramguard.facts import Manifest
from vramguard.facts.nodes import Node
from vramguard.source import Document, Unreadable, read
from vramguard.source.dashboard import is_dashboard

if TYPE_CHECKING:
    from collections.abc import Iterator

DASHBOARD: Final = "dashboard"  # forms of a Manifest
COUNTERS: Final = "counters"
_COUNTER: Final = re.compile(r"^[ \t]*DCGM_(?:FI|EXP)_\w+[ \t]*,", re.MULTILINE)


def extract(document: Document) -> Iterator[Manifest]:
    """The dashboard, or the list of counters, that a file is."""
    if document.value is not None:
        yield _manifest(Node(document, (), document.value), document.kind)


def held(text: Node, overlay: str = "") -> Iterator[Manifest]:
    """The dashboard or the list that a text of another document is: a ConfigMap's, a GrafanaDashboard's."""
    word = text.word()
    if word is None or not isinstance(text.value, str):
        return
    form = DASHBOARD if is_dashboard(word.text) else COUNTERS if _COUNTER.search(word.text) else ""
    if not form:
        return
    inner = read(text.document.path, word.text.encode("utf-8", "surrogatepass"), kind=form)
    if isinstance(inner, Document) and inner.value is not None and not isinstance(inner, Unreadable):
        yield _manifest(Node(inner, (), inner.value, word), form, overlay)


def _manifest(node: Node, form: str, overlay: str = "") -> Manifest:
    if form == COUNTERS:
        return Manifest(node.get(0).at, form, node, overlay=overlay)
    title = node.get("title") or node.get("displayName") or node.get("dashboard", "title")
    return Manifest(title.at if title else node.at, form, node, name=title.text, overlay=overlay)
