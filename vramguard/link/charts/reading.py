"""What filled templates say: the objects in their text, each value at the place where it was written."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from vramguard.extract.objects import of_node
from vramguard.facts.nodes import Node
from vramguard.link.charts.pieces import MARK, Written
from vramguard.source import Document, Location, read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from vramguard.facts import Manifest
    from vramguard.link.charts.pieces import Piece

RELEASE: Final = "release-name"  # as helm calls a release that nobody names
NAMESPACE: Final = "release-namespace"
_SPLIT: Final = re.compile(r"^---[^\n]*$", re.MULTILINE)
_MAX_PARTS: Final = 500  # objects of one template
_MAX_TRIES: Final = 12  # marks of a part that are put otherwise until it is YAML


@dataclass(frozen=True, slots=True)
class _Part:
    """One document of a filled template: where it begins in the text, and where its lines do."""

    written: Written
    path: str
    start: int
    lines: tuple[int, ...]

    def offset(self, line: int, column: int) -> int:
        """Where a place of the document is in the filled text."""
        return self.start + self.lines[min(line, len(self.lines)) - 1] + column - 1


@dataclass(frozen=True, slots=True)
class Filled(Node):
    """A value of a filled template; its place is that of the value it is made of, or else its template's."""

    part: _Part | None = None

    def _plain(self) -> Node:
        return Node(self.document, self.keys, self.value, self.inside)

    def get(self, *keys: str | int) -> Node:
        """What stands under these keys."""
        found = self._plain().get(*keys)
        return Filled(found.document, found.keys, found.value, found.inside, self.part)

    @property
    def at(self) -> Location:
        """Where it was written."""
        at = self._plain().at
        if self.part is None:
            return at
        start, end = self.part.offset(at.line, at.column), self.part.offset(at.end_line, at.end_column)
        return self.part.written.at(start, max(end, start)) or Location(self.part.path)

    @property
    def sources(self) -> frozenset[Location]:
        """Where the values stand that a scalar is made of."""
        if self.part is None or self.value is None or isinstance(self.value, dict | list):
            return frozenset()
        at = self._plain().at
        start, end = self.part.offset(at.line, at.column), self.part.offset(at.end_line, at.end_column)
        return self.part.written.values(start, max(end, start))

    def _first(self, text: str) -> tuple[int, int] | None:
        first = self._plain()._first(text)  # noqa: SLF001 - of its own class
        if first is None or self.part is None:
            return first
        start = self.part.offset(*first)
        at = self.part.written.verbatim(start, start + len(text.partition("\n")[0]))
        return (at.line, at.column) if at is not None and at.path == self.part.path else None

    def parsed(self) -> Iterator[Node]:
        """The documents of a text that is YAML itself."""
        for node in self._plain().parsed():
            yield Filled(node.document, node.keys, node.value, node.inside, self.part)


def objects(path: str, pieces: Iterable[Piece], overlay: str, *, guessed: bool = True) -> Iterator[Manifest]:
    """Every object that a filled template writes; none of what is no YAML. `overlay`: the chart's folder."""
    written = Written(pieces)
    start = 0
    bounds = [(match.start(), match.end()) for match in _SPLIT.finditer(written.text)][:_MAX_PARTS]
    for before, after in [*bounds, (len(written.text), len(written.text))]:
        text = written.text[start:before]
        if "kind:" in text and (document := _document(path, text)):
            part = _Part(written, path, start, _starts(text))
            for number, value in enumerate(document.value):
                if isinstance(value, dict):
                    found = of_node(Filled(document, (number,), value, None, part), overlay)
                    yield from _named(found, path, guessed=guessed)
        start = after


def _named(found: Iterable[Manifest], path: str, *, guessed: bool) -> Iterator[Manifest]:
    """Manifests as those of a template: guessed, of its file, in whatever namespace their release is put."""
    for one in found:
        namespace = "" if one.namespace == NAMESPACE or MARK.search(one.namespace) else one.namespace
        at = one.at if one.at.path == path else Location(path)
        yield replace(one, guessed=guessed, namespace=namespace, at=at)


def _starts(text: str) -> tuple[int, ...]:
    return (0, *(match.end() for match in re.finditer("\n", text)))


_ENTRY: Final = re.compile(r"^([ \t]*)(<%[\w.]*%>): <%[\w.]*%>[ \t]*$", re.MULTILINE)
_ITEM: Final = re.compile(r"^[ \t]*- <%[\w.]*%>[ \t]*$", re.MULTILINE)


def _document(path: str, text: str) -> Document | None:
    """A part as YAML. A mark of several lines is an entry; if it stands in a list, an item; else it is left out."""
    for _ in range(_MAX_TRIES):
        document = read(path, text.encode("utf-8", "replace"), kind="yaml")
        if isinstance(document, Document):
            return document
        line = document.at.line
        changed = _otherwise(text, line)
        if changed is None:
            return None
        text = changed
    return None


def _otherwise(text: str, line: int) -> str | None:
    """The text with the mark that is nearest to a wrong line put another way; None where there is none."""
    starts = _starts(text)
    wrong = starts[min(line, len(starts)) - 1]
    marks = [match for pattern in (_ENTRY, _ITEM) for match in pattern.finditer(text)]
    if not marks:
        return None
    match = min(marks, key=lambda found: abs(found.start() - wrong))
    size = len(match[0])
    changed = f"{match[1]}- {match[2]}".ljust(size) if match.re is _ENTRY else " " * size
    return text[: match.start()] + changed + text[match.end() :]
