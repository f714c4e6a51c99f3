"""Values of a YAML document by the name of their key, wherever they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from vramguard.source import Document, KeyPath

_MAX: Final = 200_000  # values; a document of more is data


def tops(document: Document) -> list[Node]:
    """The values at a document's top."""
    return [Node(document, (number,), value) for number, value in enumerate(document.value or ())]


def every(nodes: Iterable[Node], keys: Collection[str]) -> Iterator[Node]:
    """Every value under one of these keys, in the order of the text; none inside of another that was found."""
    for top in nodes:
        found = None
        for node in _walked(top):
            inside = found is not None and node.keys[: len(found)] == found
            if not inside and len(node.keys) > len(top.keys) and node.keys[-1] in keys:
                found = node.keys
                yield node


def scalars(nodes: Iterable[Node]) -> Iterator[Node]:
    """Every text, in the order in which they stand."""
    return (node for top in nodes for node in _walked(top) if isinstance(node.value, str))


def _walked(top: Node) -> Iterator[Node]:
    """A value and all within it; `None` stands for nothing."""
    pending: list[tuple[KeyPath, Any]] = [(top.keys, top.value)]
    for _ in range(_MAX):
        if not pending:
            return
        way, value = pending.pop()
        yield Node(top.document, way, value, top.inside)
        if isinstance(value, dict):
            held = [((*way, key), inner) for key, inner in value.items() if isinstance(key, str | int)]
        else:
            held = [((*way, number), inner) for number, inner in enumerate(value)] if isinstance(value, list) else []
        pending.extend(reversed([pair for pair in held if pair[1] is not None]))
