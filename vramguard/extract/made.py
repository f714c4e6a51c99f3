"""Values that stand in several places, or nowhere as they are: what a chart or an overlay makes of what files say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from vramguard.facts.nodes import Node

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Made(Node):
    """A mapping or a list whose parts are values of other places, each with its own."""

    parts: Mapping[str | int, Node] | None = None

    def get(self, *keys: str | int) -> Node:
        """What stands under these keys, at its own place."""
        if not keys or self.parts is None:
            return self
        part = self.parts.get(keys[0])
        return Node(self.document, self.keys, None, self.inside) if part is None else part.get(*keys[1:])


Part = Node | dict[str, Any] | list[Any] | str | int | bool | None


def made(anchor: Node, part: Part) -> Node:
    """Mappings, lists and scalars of ours, with nodes of files between them; ours stand where `anchor` does.

    What has no value is left out of mappings and lists.
    """
    if isinstance(part, Node):
        return part
    if isinstance(part, dict):
        return mapping(anchor, {key: made(anchor, value) for key, value in part.items()})
    if isinstance(part, list):
        return listed(anchor, [made(anchor, value) for value in part])
    return replace(scalar(anchor), value=part)


def scalar(node: Node) -> Node:
    """A plain node at the place of any."""
    return Node(node.document, node.keys, node.value, node.inside)


def mapping(anchor: Node, parts: Mapping[str, Node]) -> Node:
    """A mapping of nodes, those without a value left out."""
    held: dict[str | int, Node] = {key: node for key, node in parts.items() if node.value is not None}
    value = {key: node.value for key, node in held.items()}
    return Made(anchor.document, anchor.keys, value, anchor.inside, held)


def listed(anchor: Node, nodes: list[Node]) -> Node:
    """A list of nodes, those without a value left out."""
    held = [node for node in nodes if node.value is not None]
    return Made(anchor.document, anchor.keys, [node.value for node in held], anchor.inside, dict(enumerate(held)))


def children(node: Node) -> dict[str, Node]:
    """The entries of a mapping by their keys."""
    return dict(node.items())


def count(value: object) -> int:
    """How many values a value is, itself and all that it holds; a long text counts as several."""
    if isinstance(value, dict):
        return 1 + sum(map(count, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(count, value))
    return 1 + len(value) // 40 if isinstance(value, str | bytes) else 1


def overlaid(base: Node, over: Node) -> Node:
    """Helm's merge of values: mappings key by key, null takes a key away, anything else replaces.

    Helm 3.19, pkg/chart/common/util/coalesce.go, coalesceTablesFullKey.
    """
    return _merged(base, over, overlaid)


def _merged(base: Node, over: Node, entry: Callable[[Node, Node], Node]) -> Node:
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    result = children(base)
    for key, node in over.items():
        if node.value is None:
            result.pop(key, None)
        else:
            result[key] = entry(result[key], node) if key in result else node
    return mapping(over, result)
