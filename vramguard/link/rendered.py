"""What helm wrote, as facts whose places are the chart's: the value that a text came from, or else its template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vramguard.extract.kubernetes import of_manifest
from vramguard.extract.objects import of_node
from vramguard.facts.nodes import Node
from vramguard.source import Document, Location, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vramguard.facts import Launch, Manifest, PythonModule, Texts

_PART = re.compile(r"^---[ \t]*$", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: ([^\n]+)$", re.MULTILINE)
_SHORT = 2  # characters of a text that says too little to be found again
_MAX_DEPTH = 40
Places = Mapping[str, Location]


@dataclass(frozen=True, slots=True)
class _Rendered(Node):
    """A value that helm wrote; `places` are those of the values' texts, `template` where the file itself is."""

    places: Places | None = None
    template: Location | None = None

    def get(self, *keys: str | int) -> Node:
        inner = Node(self.document, self.keys, self.value, self.inside).get(*keys)
        return _Rendered(inner.document, inner.keys, inner.value, inner.inside, self.places, self.template)

    @property
    def at(self) -> Location:
        template = self.template or Location(self.document.path)
        if not self.places or self.value is None or isinstance(self.value, dict | list | bool):
            return template
        text = str(self.value)
        return self.places.get(text) or self.places.get(text.rpartition("=")[2]) or template

    def _first(self, text: str) -> None:  # noqa: ARG002 - its lines stand in no file
        return None

    def parsed(self) -> Iterator[Node]:
        for node in Node(self.document, self.keys, self.value, self.inside).parsed():
            yield _Rendered(node.document, node.keys, node.value, node.inside, self.places, self.template)


def places_of(values: Node | None) -> Places:
    """Where each text among the values stands that is there once and says enough to be known again."""
    found: dict[str, Location | None] = {}
    pending = [(values, 0)] if values is not None else []
    while pending:
        node, depth = pending.pop()
        if isinstance(node.value, dict | list):
            inner = [child for _, child in node.items()] or list(node.list())
            pending += [(child, depth + 1) for child in inner if depth < _MAX_DEPTH]
        elif isinstance(node.value, str | int | float) and not isinstance(node.value, bool):
            text = str(node.value)
            found[text] = None if text in found else node.at
    return {text: at for text, at in found.items() if at is not None and len(text) >= _SHORT}


def facts_of(
    text: str, chart: str, path_of: Callable[[str], str], places: Places
) -> Iterator[Launch | Texts | PythonModule | Manifest]:
    """What the objects of a rendering say. `path_of`: where a file of the chart stands in the repository."""
    for part in _PART.split(text):
        source = _SOURCE.search(part)
        if source is None:
            continue
        name = source[1].strip()
        path = path_of(name.removeprefix(f"{chart}/") if name.startswith(f"{chart}/") else name.partition("/")[2])
        document = read(path, part.encode("utf-8", "replace"), kind="yaml")
        if isinstance(document, Document):
            for number, value in enumerate(document.value):
                if isinstance(value, dict):
                    node = _Rendered(document, (number,), value, None, places, Location(path))
                    yield from of_manifest(node)
                    yield from of_node(node, chart)
